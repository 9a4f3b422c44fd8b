"""What a model generates, interpolated and encoded, never on disk: generated_video.py out.mp4."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import av
import torch

import ltxfilter


def generated() -> Iterator[torch.Tensor]:
    """Yield chunks [F, H, W, 3] uint8, as the pipelines of ltx_pipelines return them.

    With a model, in place of this:  chunks, audio = DistilledPipeline(...)(prompt, ...)
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    x = torch.arange(192, device=device) / 12
    y = torch.arange(128, device=device)[:, None] / 12
    shades = torch.tensor([0.0, 2.0, 4.0], device=device)
    for start in range(0, 25, 8):
        times = torch.arange(start, min(start + 8, 25), device=device) / 6
        waves = torch.sin(x - times[:, None, None])[..., None] + torch.cos(y[..., None] + shades)
        yield ((waves + 2) * 63).to(torch.uint8)


def frames(chunks: Iterable[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Yield the pictures of chunks one by one; they stay on their device."""
    for chunk in chunks:
        yield from chunk


with av.open(sys.argv[1], "w") as container:
    stream = container.add_stream("libx264", rate=50, options={"crf": "18"})
    stream.width, stream.height, stream.pix_fmt = 192, 128, "yuv420p"
    for picture in ltxfilter.interpolate(frames(generated()), fps_in=25, fps_out=50):
        frame = av.VideoFrame.from_ndarray(picture.cpu().numpy(), format="rgb24")
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
print(f"{stream.frames} frames")
