"""Generate, interpolate, encode, all in memory: after_generation.py "a boat sails by" out.mp4.

Needs the ltx extra, a GPU, and LTXFILTER_CHECKPOINT (a distilled one), LTXFILTER_SPATIAL_UPSAMPLER
and LTXFILTER_GEMMA. With LTXFILTER_TEMPORAL_UPSAMPLER it interpolates by LTX-2 as well, and frames
do not leave the GPU before they are encoded; else by optical flow.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

import av

import ltxfilter

RATE = 24  # frames per second that are generated


def generated(prompt: str) -> Iterable[Any]:
    """Return what a pipeline of ltx_pipelines returns: tensors [F, H, W, 3] of 8 bits."""
    from ltx_core.model.video_vae import TilingConfig
    from ltx_pipelines.distilled import DistilledPipeline

    pipeline = DistilledPipeline(
        distilled_checkpoint_path=os.environ["LTXFILTER_CHECKPOINT"],
        gemma_root=os.environ["LTXFILTER_GEMMA"],
        spatial_upsampler_path=os.environ["LTXFILTER_SPATIAL_UPSAMPLER"],
        loras=[],
    )
    chunks, _ = pipeline(
        prompt=prompt,
        seed=0,
        height=512,
        width=768,
        num_frames=121,
        frame_rate=RATE,
        images=[],
        tiling_config=TilingConfig.default(),
    )
    return chunks


def save(chunks: Iterable[Any], path: str, fps: int = 2 * RATE, engine: str = "flow") -> int:
    """Interpolate generated frames as they come, encode them; return how many."""
    pictures = (picture for chunk in chunks for picture in chunk)
    count = 0
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", fps)
        for picture in ltxfilter.interpolate(pictures, RATE, fps, engine=engine):
            if not count:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture.cpu().numpy(), "rgb24")
            container.mux(stream.encode(frame))
            count += 1
        container.mux(stream.encode())
    return count


if __name__ == "__main__":
    engine = "ltx-temporal" if "LTXFILTER_TEMPORAL_UPSAMPLER" in os.environ else "flow"
    count = save(generated(sys.argv[1]), sys.argv[2], engine=engine)
    print(f"{count} frames at {2 * RATE} per second")
