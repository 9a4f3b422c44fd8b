"""Colour tags by the names that ffmpeg's options take, for what a pipe format cannot carry."""

from __future__ import annotations

import logging

from ltxfilter.frame import ColorInfo

log = logging.getLogger("ltxfilter.media")

MATRICES = {
    1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020nc",
    10: "bt2020c",
}  # fmt: skip
PRIMARIES = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020",
    10: "smpte428", 11: "smpte431", 12: "smpte432", 22: "ebu3213",
}  # fmt: skip
TRANSFERS = {
    1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear",
    11: "iec61966-2-4", 13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084",
    18: "arib-std-b67",
}  # fmt: skip
LOCATIONS = {1: "left", 2: "center", 3: "topleft", 4: "top", 5: "bottomleft", 6: "bottom"}
RANGES = {1: "tv", 2: "pc"}


def warn_of_lost_tags(
    kind: str,
    color: ColorInfo,
    *,
    siting: bool = False,
    range: bool = False,  # noqa: A002
) -> None:
    """Warn of the tags of `color` that the pipe format `kind` drops, and name the options for them.

    Matrix, primaries and transfer are always dropped. siting, range: True if the format drops the
    chroma location or the code range too.
    """
    if flags := flags_for(color, siting=siting, range=range):
        log.warning(
            "%s carries no colour tags; give them to the next ffmpeg, before its -i: %s",
            kind,
            flags,
        )


def flags_for(color: ColorInfo, *, siting: bool = False, range: bool = False) -> str:  # noqa: A002
    """Return ffmpeg's options for what is tagged in `color`, separated by blanks.

    siting, range: include the chroma location, the code range. The options belong before -i: after
    it, ffmpeg from 7.1 on converts the samples instead.
    """
    named = (
        ("colorspace", MATRICES.get(color.matrix)),
        ("color_primaries", PRIMARIES.get(color.primaries)),
        ("color_trc", TRANSFERS.get(color.transfer)),
        ("color_range", RANGES.get(color.range) if range else None),
        ("chroma_sample_location", LOCATIONS.get(color.chroma_location) if siting else None),
    )
    return " ".join(f"-{key} {value}" for key, value in named if value)
