"""Generate, interpolate, encode, all in memory: after_generation.py "a boat sails by" out.mp4.

Needs the ltx extra, a GPU, and LTXFILTER_CHECKPOINT (a distilled one), LTXFILTER_SPATIAL_UPSAMPLER
and LTXFILTER_GEMMA. With LTXFILTER_TEMPORAL_UPSAMPLER it interpolates by LTX-2 as well, and frames
do not leave the GPU before they are encoded; else by optical flow.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import av

import ltxfilter

RATE = 24  # frames per second that are generated


def without_autograd(make: Callable[[], Iterable[Any]]) -> Iterator[Any]:
    """Yield what `make` returns, made without the memory that training would need.

    The pipeline does not see to that itself. The mode is on while a chunk is made, and off while
    the caller works with it.
    """
    import torch

    @torch.inference_mode()
    def chunks() -> Iterator[Any]:
        yield from make()

    return chunks()


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
    settings = {"seed": 0, "height": 512, "width": 768, "num_frames": 121, "frame_rate": RATE}
    tiles = TilingConfig.default()

    def make() -> Iterable[Any]:
        return pipeline(prompt=prompt, **settings, images=[], tiling_config=tiles)[0]

    return without_autograd(make)


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
