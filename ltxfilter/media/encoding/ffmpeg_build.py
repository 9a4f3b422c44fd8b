"""Which FFmpeg libraries PyAV brings, which encoders they have, and which find their device."""

from __future__ import annotations

import re
from collections.abc import Iterable
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


def library_versions() -> str:
    """Return PyAV's version and those of the FFmpeg libraries in it."""
    libraries = ", ".join(
        f"{name} {'.'.join(map(str, av.library_versions[name]))}"
        for name in ("libavcodec", "libavformat")
    )
    return f"{av.__version__} with {libraries}"


def encoders(names: Iterable[str]) -> list[str]:
    """Return those of the encoders `names` that FFmpeg was built with; hardware may be missing."""
    built = []
    for name in names:
        try:
            av.Codec(name, "w")
        except av.codec.codec.UnknownCodecError:
            continue
        built.append(name)
    return built


def missing_device(codec: str, cause: str) -> str | None:
    """Say what an encoder needs and does not find here; None if it opens without any option.

    codec: FFmpeg's name of an encoder that did not open. cause: what it said about that.
    """
    found = NAME.fullmatch(codec)
    if found is None or _opens(codec):
        return None
    needs = DEVICES[found["kind"]]
    return f"{codec} needs {needs}, which is not found here ({cause}){software_way(codec)}"


def software_way(codec: str) -> str:
    """Return "; use -c:v NAME" for an encoder of hardware that has a twin without, else nothing."""
    found = NAME.fullmatch(codec)
    software = SOFTWARE.get(found["codec"]) if found else None
    return f"; use -c:v {software}" if software else ""


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
