"""Encoders that need a device: whether it is there, and which encoder does without."""

from __future__ import annotations

import re
from fractions import Fraction

import av
import av.logging

DEVICES = {  # how names of encoders end -> what they need
    "nvenc": "an NVIDIA GPU with its driver",
    "qsv": "an Intel GPU with its driver",
    "vaapi": "a GPU with a VAAPI driver, and frames in its memory",
    "amf": "an AMD GPU with its driver",
    "v4l2m2m": "a video device of the kernel",
    "videotoolbox": "macOS",
    "vulkan": "a GPU with Vulkan, and frames in its memory",
    "mf": "Windows",
}
SOFTWARE = {  # codec -> encoder that needs no device
    "h264": "libx264",
    "hevc": "libx265",
    "av1": "libsvtav1",
    "vp9": "libvpx-vp9",
    "vp8": "libvpx",
    "mpeg2": "mpeg2video",
    "mpeg4": "mpeg4",
    "mjpeg": "mjpeg",
}
NAME = re.compile(rf"(?P<codec>\w+)_(?P<kind>{'|'.join(DEVICES)})")
TRIAL = (640, 480)  # pixels; small ones are refused by hardware for their size


def missing_device(codec: str, cause: str) -> str | None:
    """Say what an encoder needs and does not find here; None if it opens without any option.

    codec: FFmpeg's name of an encoder that did not open. cause: what it said about that.
    """
    found = NAME.fullmatch(codec)
    if found is None or _opens(codec):
        return None
    software = SOFTWARE.get(found["codec"])
    way = f"use -c:v {software}" if software else "choose another encoder"
    return f"{codec} needs {DEVICES[found['kind']]}, which is not found here ({cause}); {way}"


def _opens(codec: str) -> bool:
    """Return True if an encoder opens for plain video."""
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height = TRIAL
    formats = [each.name for each in context.codec.video_formats or ()]
    context.pix_fmt = next((name for name in ("yuv420p", "nv12") if name in formats), formats[0])
    context.framerate, context.time_base = Fraction(25), Fraction(1, 25)
    try:
        with av.logging.Capture():
            context.open()
    except (av.FFmpegError, ValueError):
        return False
    return True
