"""Options of ffmpeg's command lines that are refused: why, and which ffmpeg does it instead."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ltxfilter.cli.flag import Flag, Side


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
_LOOKING = "ltxfilter does not measure streams; ffmpeg and ffprobe do"
_STREAMS = "chosen and changed in the ffmpeg that follows"
REFUSED_FLAGS = (
    *_refused(
        "vf af filter filter_complex filter_complex_script filter_script lavfi bsf vbsf absf",
        FILTERS,
        Helper.AFTER,
    ),
    *_refused(
        "ab ar ac aq af_preset sample_fmt ch_layout channel_layout guess_layout_max vol async "
        "aframes map_channel atag adrift_threshold",
        AUDIO,
        Helper.AFTER,
    ),
    *_refused("fix_sub_duration", AUDIO, Helper.AFTER, metavar=""),
    *_refused(
        "attach dump_attachment target canvas_size fs apad program streamid stag dframes timestamp "
        "time_base sdp_file rc_override intra_matrix inter_matrix chroma_intra_matrix pre vpre "
        "apre spre fpre",
        _STREAMS,
        Helper.AFTER,
    ),
    *_refused("copyinkf copypriorss", _STREAMS, Helper.AFTER, metavar=""),
    *_refused("itsscale isync", "times are not changed", Helper.BEFORE),
    *_refused("pass passlogfile", "ltxfilter encodes in one pass, by -crf or -b:v", Helper.AFTER),
    *_refused(
        "force_key_frames",
        "I-frames come at most -g frames apart; -g 50 -keyint_min 50 sets one in 50",
        Helper.AFTER,
    ),
    *_refused("fpsmax enc_time_base copytb frame_drop_threshold", TIMING, Helper.NONE),
    *_refused("force_fps", TIMING, Helper.NONE, metavar=""),
    *_refused("skip_frame skip_idct discard", "all frames of the input are read", Helper.NONE),
    *_refused("vstats_file vstats_version", _LOOKING, Helper.NONE),
    *_refused("psnr vstats qphist debug_ts dump hex", _LOOKING, Helper.NONE, metavar=""),
    *_refused("bitexact", "write -fflags +bitexact -flags +bitexact", Helper.NONE, metavar=""),
    *_refused("cpuflags cpucount max_alloc", "FFmpeg's libraries see to that", Helper.NONE),
    *_refused(
        "dts_delta_threshold dts_error_threshold", "jumps of a clock are always joined", Helper.NONE
    ),
    *_refused("recast_media", "streams keep their kind", Helper.NONE, metavar=""),
    *_refused("top", "the stream says which field comes first", Helper.NONE),
    *_refused("sources sinks", "name a device by -f and -i", Helper.NONE),
    *_refused("timelimit", "write timeout 60 ltxfilter ... for a minute", Helper.NONE),
    *_refused("abort_on max_error_rate", "-xerror fails on damaged input", Helper.NONE),
    *_refused("stdin", "keys are never read", Helper.NONE, metavar=""),
    *_refused(
        "L buildconf formats muxers demuxers devices codecs decoders encoders bsfs protocols "
        "filters pix_fmts layouts sample_fmts dispositions colors hwaccels",
        "ffmpeg lists what FFmpeg has; ltxfilter doctor says what of it is used here",
        Helper.NONE,
        metavar="",
    ),
    *_refused("noaccurate_seek", "reading starts exactly at -ss", Helper.NONE, metavar=""),
    *_refused("copy_unknown", "streams of unknown kind are left out", Helper.AFTER, metavar=""),
    *_refused("vn", "ltxfilter is about video; ffmpeg alone does this", Helper.NONE, metavar=""),
)
