"""Which FFmpeg libraries PyAV brings, which encoders they have, and which find their device."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
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


def on_hardware(names: Iterable[str]) -> list[str]:
    """Return those of the encoders `names`, on hardware, that find their device here."""
    return [name for name in encoders(names) if _why_not(name) is None]


def is_on_hardware(codec: str) -> bool:
    """Return True for an encoder that works on a device, by its name."""
    return NAME.fullmatch(codec) is not None


def missing_device(codec: str) -> str | None:
    """Say what an encoder needs and does not find here; None if it opens without any option.

    codec: FFmpeg's name of an encoder that did not open.
    """
    found = NAME.fullmatch(codec)
    cause = None if found is None else _why_not(codec)
    if found is None or cause is None:
        return None
    needs = DEVICES[found["kind"]]
    return f"{codec} needs {needs}, which is not found here ({cause}){software_way(codec)}"


def software_way(codec: str) -> str:
    """Return "; use -c:v NAME" for an encoder of hardware that has a twin without, else nothing."""
    found = NAME.fullmatch(codec)
    software = SOFTWARE.get(found["codec"]) if found else None
    return f"; use -c:v {software}" if software else ""


def _why_not(codec: str) -> str | None:
    """Return why an encoder does not open for plain video; None if it does."""
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height = TRIAL
    formats = [each.name for each in context.codec.video_formats or ()]
    usual = ("yuv420p", "nv12")
    context.pix_fmt = next((name for name in usual if name in formats), [*formats, usual[0]][0])
    context.framerate, context.time_base = Fraction(25), Fraction(1, 25)
    return why_not(context.open)


def why_not(opens: Callable[[], object]) -> str | None:
    """Return why what opens a device or an encoder fails, as FFmpeg logs it; None if it does not.

    Raises what is no error of FFmpeg's.
    """
    level, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.WARNING)
    av.logging.set_skip_repeated(False)  # or a second try is told nothing
    try:
        with av.logging.Capture() as said:
            opens()
    except (av.FFmpegError, ValueError) as error:
        causes = [text.strip() for _, _, text in said]
        return (causes or [getattr(error, "strerror", None) or str(error)])[0]
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skips)
    return None
