"""Options of ffmpeg's command lines that are refused: why, and which ffmpeg does it instead."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ltxfilter.cli.flags import Flag, Side


class Helper(Enum):
    """Which ffmpeg does what ltxfilter does not."""

    BEFORE = "the ffmpeg that feeds it"
    AFTER = "the ffmpeg that follows"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class RefusedFlag(Flag):
    """A flag that ltxfilter knows and does not take; `help` says why."""

    helper: Helper = Helper.NONE


def _refused(names: str, reason: str, helper: Helper, metavar: str = "VALUE") -> list[RefusedFlag]:
    return [
        RefusedFlag(name, metavar, reason, Side.REFUSED, helper=helper) for name in names.split()
    ]


FILTERS = "put filters into the ffmpeg before or after ltxfilter"
AUDIO = "streams other than video are copied"
TIMING = "the output's rate is constant and exact; choose it with --fps"
_STREAMS = "chosen and changed in the ffmpeg that follows"
REFUSED_FLAGS = (
    *_refused(
        "vf af filter filter_complex filter_complex_script filter_script lavfi bsf vbsf absf",
        FILTERS,
        Helper.AFTER,
    ),
    *_refused(
        "ab ar ac aq af_preset sample_fmt ch_layout channel_layout guess_layout_max vol async "
        "aframes map_channel atag",
        AUDIO,
        Helper.AFTER,
    ),
    *_refused("fix_sub_duration", AUDIO, Helper.AFTER, metavar=""),
    *_refused("attach dump_attachment target canvas_size", _STREAMS, Helper.AFTER),
    *_refused("pass passlogfile", "ltxfilter encodes in one pass, by -crf or -b:v", Helper.AFTER),
    *_refused(
        "force_key_frames",
        "I-frames come at most -g frames apart; -g 50 -keyint_min 50 sets one in 50",
        Helper.AFTER,
    ),
    *_refused("fpsmax enc_time_base", TIMING, Helper.NONE),
    *_refused("copytb", TIMING, Helper.NONE),
    *_refused("protocol_whitelist", "ltxfilter reads files and nothing else", Helper.BEFORE),
    *_refused("noaccurate_seek", "reading starts exactly at -ss", Helper.NONE, metavar=""),
    *_refused("copy_unknown", "streams of unknown kind are left out", Helper.AFTER, metavar=""),
    *_refused("vn", "ltxfilter is about video; ffmpeg alone does this", Helper.NONE, metavar=""),
)
