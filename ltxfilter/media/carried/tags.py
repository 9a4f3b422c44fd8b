"""Metadata: which tags still hold, and which of them a container keeps."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from functools import lru_cache

import av

from ltxfilter.media.pyav_compat import open_input, open_output

STALE_TAGS = re.compile(
    r"(major_brand|minor_version|compatible_brands|encoder|vendor_id|duration|bps|number_of_.*"
    r"|_statistics_.*|source_id|ltxfilter)(-[a-z]{3})?",
    re.IGNORECASE,
)
TECHNICAL_TAGS = re.compile(  # about the old file, or carried as something else
    r"(timecode|handler_name|.*_umid|.*_ul|uid|generation_uid|company_name|product_.*"
    r"|application_platform|toolkit_version.*|modification_date|software|metadatacreator|service_.*"
    r"|hasvideo|hasaudio|.*datarate|audiocodecid|videocodecid|.*size|framerate|stereo)",
    re.IGNORECASE,
)
ALL_TAGS = frozenset({"matroska", "webm", "nut", "flv", "ogg", "wtv"})  # muxers that take any
SOME_TAGS = {"mp4": "h264", "mov": "h264", "ipod": "h264", "f4v": "h264", "avi": "mpeg4",
             "asf": "mpeg4"}  # fmt: skip  # muxers that take some, with a codec to ask them by
ANY_NAME = "use_metadata_tags"  # a movflag
OWN_TAG = "ltxfilter"
HANDLER = "handler_name"  # of a track, where programs put their name
HANDLER_MUXERS = frozenset({"mp4", "mov", "ipod", "3gp", "3g2", "psp", "f4v"})
DEVICE_TAGS = "com."  # how tags of cameras begin, which only that flag keeps


def lasting_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata that still holds once the video is another."""
    return {key: value for key, value in tags.items() if not STALE_TAGS.fullmatch(key)}


def telling_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata that somebody would miss."""
    return {
        key: value for key, value in lasting_tags(tags).items() if not TECHNICAL_TAGS.fullmatch(key)
    }


def maker_tag(muxer: str, *, any_name: bool = False) -> tuple[str, bool] | None:
    """Return the tag that can say what made an output, and True if the video stream has it.

    None if there is none. muxer: FFmpeg's name of the format. any_name: as `is_any_name` says.
    """
    if muxer in ALL_TAGS or any_name:
        return OWN_TAG, False
    if muxer in HANDLER_MUXERS:
        return HANDLER, True
    return ("comment", False) if not lost_tags({"comment": "x"}, muxer) else None


def is_any_name(muxer_options: Mapping[str, str]) -> bool:
    """Return True if the options of a muxer let it write tags of any name."""
    return ANY_NAME in muxer_options.get("movflags", "")


def lost_tags(tags: Mapping[str, str], muxer: str, *, any_name: bool = False) -> list[str]:
    """Return the names of the tags that a container does not keep.

    muxer: FFmpeg's name of its format. any_name: as `is_any_name` says.
    """
    if muxer in ALL_TAGS:
        return []
    if muxer not in SOME_TAGS:
        return sorted(tags)
    kept = _kept(tuple(sorted(tags.items())), muxer, any_name)
    return sorted(name for name in tags if name.lower() not in kept)


@lru_cache(maxsize=32)
def _kept(tags: tuple[tuple[str, str], ...], muxer: str, any_name: bool) -> frozenset[str]:
    """Return which tags are found again in a file without a frame that a muxer writes to memory."""
    options = {"movflags": ANY_NAME} if any_name else {}
    buffer = io.BytesIO()
    try:
        with open_output(buffer, format=muxer, container_options=options) as output:
            output.add_mux_stream(SOME_TAGS[muxer], rate=25, width=64, height=48)
            output.metadata.update(dict(tags))
            output.start_encoding()
        buffer.seek(0)
        with open_input(buffer) as found:
            return frozenset(name.lower() for name in found.metadata)
    except (av.FFmpegError, ValueError):
        return frozenset()
