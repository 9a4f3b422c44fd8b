"""The kinds of things that a source carries, and the table of the outputs that keep them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from ltxfilter.media.carried.captions import CAPTION_CODECS
from ltxfilter.media.carried.tags import DEVICE_TAGS, lost_tags

log = logging.getLogger("ltxfilter.media")

MOV_FAMILY = frozenset({"mp4", "mov", "ipod", "3gp", "3g2", "psp", "f4v"})
MATROSKA = frozenset({"matroska", "webm"})
STREAM_TAGS = MATROSKA | {"nut", "ogg"}  # muxers that keep any tag of a stream
STEREO_ENCODERS = frozenset({"libx264", "mpeg2video"})
CHAPTER_MUXERS = MOV_FAMILY | MATROSKA | {"nut", "asf"}
HDR_ENCODERS = frozenset({"libx264", "libx265", "libsvtav1"})
NO_WAY = "no output of ltxfilter keeps that"


class Kind(Enum):
    """What can be carried; the values are for programs."""

    ROTATION = "rotation"
    STEREO = "stereo"
    SPHERICAL = "spherical"
    HDR_STATIC = "hdr"
    HDR_DYNAMIC = "dynamic-hdr"
    CAPTIONS = "captions"
    ICC = "icc"
    EXIF = "exif"
    ENHANCEMENT = "enhancement"
    FRAMING = "framing"
    PICTURE_TIMECODE = "picture-timecode"
    TIMECODE = "timecode"
    TAGS = "tags"
    CHAPTERS = "chapters"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a source carries."""

    kind: Kind

    what: str
    """For messages: "captions", "2 chapters"."""

    tags: tuple[tuple[str, str], ...] = ()
    """Names and values of metadata, for the kind TAGS."""


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """What an output is, as far as it decides what it can carry."""

    muxer: str
    """FFmpeg's name of its format."""

    encoder: str = "rawvideo"
    """FFmpeg's name of the encoder."""

    codec: str = "rawvideo"
    """FFmpeg's name of what that makes."""

    tag_option: bool = False
    """True if the muxer was told to write tags of any name."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Which targets keep a kind, and what to use otherwise."""

    keeps: Callable[[OutputFormat], bool]
    way: str


def _never(target: OutputFormat) -> bool:  # noqa: ARG001
    return False


RULES: dict[Kind, Rule] = {
    Kind.ROTATION: Rule(
        lambda target: target.muxer in MOV_FAMILY | MATROSKA, "write .mp4, .mov or .mkv"
    ),
    Kind.STEREO: Rule(
        lambda target: target.muxer in STREAM_TAGS or target.encoder in STEREO_ENCODERS,
        "write .mkv, or use -c:v libx264",
    ),
    Kind.SPHERICAL: Rule(_never, f"{NO_WAY}; a tool for spherical video puts it back"),
    Kind.HDR_STATIC: Rule(
        lambda target: target.encoder in HDR_ENCODERS, "use -c:v libx265 or libsvtav1"
    ),
    Kind.HDR_DYNAMIC: Rule(_never, NO_WAY),
    Kind.CAPTIONS: Rule(
        lambda target: target.codec in CAPTION_CODECS,
        "use -c:v libx264, libx265 or mpeg2video",
    ),
    Kind.ICC: Rule(_never, NO_WAY),
    Kind.EXIF: Rule(_never, NO_WAY),
    Kind.ENHANCEMENT: Rule(_never, NO_WAY),
    Kind.FRAMING: Rule(_never, NO_WAY),
    Kind.PICTURE_TIMECODE: Rule(_never, NO_WAY),
    Kind.TIMECODE: Rule(
        lambda target: target.muxer in {"mov", "mp4", "mxf"} | STREAM_TAGS,
        "write .mov, .mp4, .mxf or .mkv",
    ),
    Kind.CHAPTERS: Rule(lambda target: target.muxer in CHAPTER_MUXERS, "write .mkv or .mp4"),
}


def has_device_tags(items: Iterable[Item]) -> bool:
    """Return True if there are tags of a camera, such as com.apple.quicktime.make."""
    return any(name.startswith(DEVICE_TAGS) for item in items for name, _ in item.tags)


def lost_items(items: Iterable[Item], target: OutputFormat) -> list[tuple[Item, str]]:
    """Return what a target does not keep, each with what to do about it."""
    lost = []
    for item in items:
        if item.kind is Kind.TAGS:
            names = lost_tags(dict(item.tags), target.muxer, any_name=target.tag_option)
            if names:
                way = "write .mkv"
                if target.muxer in MOV_FAMILY:
                    way = "add -movflags use_metadata_tags, or write .mkv"
                lost.append((Item(Kind.TAGS, f"the tags {', '.join(names)}"), way))
        elif not RULES[item.kind].keeps(target):
            lost.append((item, RULES[item.kind].way))
    return lost


def name_losses(items: Iterable[Item], target: OutputFormat, output: str) -> None:
    """Warn of each item that an output does not keep. output: what messages call it."""
    for item, way in lost_items(items, target):
        log.warning("%s: %s: left out; %s", output, item.what, way)
