"""Frames that stay in a GPU's memory, from file to file: cuda_frames.py in.mp4 out.mp4 [CODEC].

Without a GPU all of it happens on the CPU. GPUs for computing, such as A100, H100 and H200, decode
but have no encoder: name one for the CPU, such as libx264, for which frames are downloaded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import av
from av.codec.hwaccel import HWAccel

import ltxfilter


def opened(path: str) -> tuple[av.container.InputContainer, bool]:
    """Return a container, and True if its frames will stay on the GPU.

    It is opened before anything else uses the GPU: FFmpeg shares a context with torch only where
    it comes first.
    """
    accel = HWAccel("cuda", allow_software_fallback=False, is_hw_owned=True)
    try:
        return av.open(path, hwaccel=accel), True
    except (av.FFmpegError, RuntimeError):  # no GPU, or none that decodes this
        return av.open(path), False


def main(source: str, target: str, codec: str | None = None) -> None:
    """Write a video with 50 frames per second."""
    container, on_gpu = opened(source)
    codec = codec or ("h264_nvenc" if on_gpu else "libx264")
    engine = "flow:device=cuda" if on_gpu else "flow"
    video, count = container.streams.video[0], 0
    with (
        container,
        av.open(target, "w") as out,
        ltxfilter.Interpolator(fps=50, engine=engine) as interpolator,
    ):
        stream = out.add_stream(codec, rate=50, width=video.width, height=video.height)
        stream.pix_fmt = "cuda" if on_gpu and codec.endswith("nvenc") else "yuv420p"

        def write(frames: Iterable[av.VideoFrame]) -> int:
            written = 0
            for frame in frames:
                ready = frame if stream.pix_fmt == "cuda" else frame.reformat(format="yuv420p")
                out.mux(stream.encode(ready))
                written += 1
            return written

        for frame in container.decode(video):
            interpolator.push(frame)
            count += write(interpolator.frames())
        interpolator.push(None)
        count += write(interpolator.frames())
        out.mux(stream.encode(None))
    print(f"{count} frames, {'on the GPU' if on_gpu else 'on the CPU'}, {codec}")


if __name__ == "__main__":
    main(*sys.argv[1:])
