"""Which pixel format is encoded: the stream's own, what players take, or what loses least."""

from __future__ import annotations

from functools import lru_cache

import av
import av.codec.codec

from ltxfilter.errors import OptionError
from ltxfilter.frame import VideoInfo
from ltxfilter.media.encoding.defaults import PLAYED
from ltxfilter.media.encoding.encoded_video import has_role
from ltxfilter.media.many_files.picture_formats import picture_pix_fmt
from ltxfilter.media.pixfmt import planar_name

Encoder = av.codec.codec.Codec

UNUSABLE = {  # encoder -> formats that FFmpeg lists, but that the encoder or players do not take
    "libx265": ("yuva420p", "yuva420p10le"),
    "libvpx-vp9": ("yuva422p", "yuva444p", "gbrap"),
}
# Codec -> formats that ordinary players decode, or that are nearest to those at their depth.
PLAYABLE = {
    "h264": ("yuv420p", "yuv420p10le"),
    "hevc": ("yuv420p", "yuv420p10le"),
    "vp8": ("yuv420p", "yuva420p"),
    "vp9": ("yuv420p", "yuv420p10le", "yuva420p"),
    "av1": ("yuv420p", "yuv420p10le"),
}


def known_formats(encoder: Encoder) -> list[str]:
    """Return FFmpeg's names of the formats that `encoder` takes; empty: it takes all."""
    names = [fmt.name for fmt in encoder.video_formats or ()]
    return [name for name in names if name not in UNUSABLE.get(encoder.name, ())]


def playable_pix_fmt(encoder: Encoder, muxer: str, info: VideoInfo) -> str | None:
    """Return the format in which players decode a stream like `info`; None if that does not count.

    It counts in PLAYED containers. Players take 4:2:0 of 8 bits, and of 10 where there are more.
    """
    if muxer not in PLAYED:
        return None
    played = PLAYABLE.get(encoder.canonical_name, ())
    wanted = ["yuv420p" if info.depth <= 8 else "yuv420p10le", "yuv420p"]
    if has_role(info, "a"):
        wanted.insert(0, "yuva420p")
    known = known_formats(encoder)
    return next((name for name in wanted if name in played and name in known), None)


def choose_pix_fmt(encoder: Encoder, info: VideoInfo, wanted: str | None) -> str:
    """Return the pixel format to encode in: the stream's own, or the one that loses least.

    Raises OptionError if `wanted` is not one that the encoder takes.
    """
    known = known_formats(encoder)
    if wanted is not None:
        if known and wanted not in known:
            raise OptionError(f"-pix_fmt {wanted}: {encoder.name} takes {', '.join(known)}")
        return wanted
    if pictures := picture_pix_fmt(encoder.name, info):
        return pictures
    if not known or info.pix_fmt in known:
        return info.pix_fmt
    for name in known:
        if planar_name(name) == info.pix_fmt and name != "pal8":
            return name
    best, _ = av.codec.codec.find_best_pix_fmt_of_list(
        _alike(known, info) or known, info.pix_fmt, has_role(info, "a")
    )
    if best is None:
        raise OptionError(f"-c:v {encoder.name}: takes {', '.join(known)}, not {info.pix_fmt}")
    return str(best.name)


def loses_alpha(info: VideoInfo, pix_fmt: str) -> bool:
    """Return True if `info` has alpha and `pix_fmt` has none."""
    return has_role(info, "a") and not _traits(pix_fmt)[1]


def _alike(known: list[str], info: VideoInfo) -> list[str]:
    """Return those formats that are related best to `info`: RGB to RGB, YUV to YUV.

    Gray has no chroma to lose, so 4:2:0 is as good to it as 4:4:4.
    """
    usable = [name for name in known if not name.startswith("yuvj") and name != "pal8"]
    families: dict[str, list[str]] = {"rgb": [], "yuv": [], "gray": []}
    for name in usable:
        families[_traits(name)[0]].append(name)
    if has_role(info, "r"):
        return families["rgb"] or families["yuv"] or usable
    if has_role(info, "u"):
        return families["yuv"] or families["rgb"] or usable
    subsampled = [name for name in families["yuv"] if "420" in name]
    return [*families["gray"], *subsampled] or families["yuv"] or usable


@lru_cache(maxsize=256)
def _traits(name: str) -> tuple[str, bool]:
    """Return "rgb", "yuv" or "gray" for a pixel format, and whether it has alpha."""
    fmt = av.VideoFormat(name, 64, 64)
    count = len(fmt.components)
    if fmt.is_rgb or name == "pal8":
        return "rgb", count == 4 or name == "pal8"
    return ("gray", count == 2) if count < 3 else ("yuv", count == 4)
