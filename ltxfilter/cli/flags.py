"""The vocabulary of the command line: every flag, what it describes and what it means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from ltxfilter.errors import OptionError


class Side(Enum):
    """What a flag describes."""

    INPUT = "Input"
    EITHER = "Input before -i, output after it"
    DRAW = "Drawing"
    MODEL = "Models of the ltx engines"
    OUTPUT = "Output"
    GENERAL = "General"
    SHOW = "Instead of a run"


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag, written with one dash or two."""

    name: str
    metavar: str  # "" for a switch
    help: str
    side: Side
    aliases: tuple[str, ...] = ()
    group: str = ""  # flags of one group overwrite each other; "" is the name

    @property
    def key(self) -> str:
        """What its value is filed under."""
        return self.group or self.name

    @property
    def dashed(self) -> str:
        """How it is written: ffmpeg's own with one dash, ours with two."""
        ours = self.side in (Side.DRAW, Side.MODEL) or self.name in (
            "help",
            "version",
            "deinterlace",
        )
        return "--" + self.name.replace("_", "-") if ours else "-" + self.name


INPUT_FLAGS = (
    Flag("i", "FILE", "read FILE; - or no -i at all is standard input", Side.INPUT),
    Flag("ss", "TIME", "start at TIME: seconds or HH:MM:SS.mmm", Side.INPUT),
    Flag("t", "TIME", "stop after TIME of the input", Side.INPUT),
    Flag("to", "TIME", "stop at TIME of the input", Side.INPUT),
    Flag("hwaccel", "NAME", "decode on hardware if it can: cuda, vaapi, videotoolbox", Side.INPUT),
    Flag("deinterlace", "WHEN", "auto, on or off; auto asks the stream", Side.INPUT),
)

EITHER_FLAGS = (
    Flag(
        "f",
        "FORMAT",
        "container or pipe format; from standard input, the output's unless -s or -r follows or "
        "it is given twice",
        Side.EITHER,
    ),
    Flag(
        "pix_fmt", "NAME", "pixel format; from standard input, the headerless input's", Side.EITHER
    ),
    Flag("s", "WxH", "size of headerless input, in pixels", Side.EITHER, ("video_size",)),
    Flag(
        "r",
        "RATE",
        "frames per second of the input, whatever its stamps say; after -i the same as --fps",
        Side.EITHER,
        ("framerate",),
    ),
    Flag("threads", "N", "before -i to decode with, after it to draw with", Side.EITHER),
)

DRAW_FLAGS = (
    Flag(
        "fps",
        "RATE",
        "frames per second of the output: auto (default: 50, 60000/1001 or 60), a rate, "
        "2x, or source (every source interval halved)",
        Side.DRAW,
    ),
    Flag("engine", "NAME", "auto (default), or NAME:key=value; see ltxfilter engines", Side.DRAW),
    Flag(
        "speed",
        "FACTOR",
        "play slower (0.5) or faster (2), without sound; libvpx's own -speed is -cpu-used",
        Side.DRAW,
    ),
    Flag("cuts", "", "never draw across a cut between shots (default)", Side.DRAW),
    Flag("no_cuts", "", "draw across everything", Side.DRAW, ("nocuts",), group="cuts"),
    Flag(
        "repeats",
        "HOW",
        "repeated source frames: report them (default), or smooth them over",
        Side.DRAW,
    ),
    Flag(
        "redraw",
        "BEGIN:END",
        "draw the source frames from BEGIN to END anew, as if they were missing; in seconds, or "
        "HH:MM:SS-HH:MM:SS; several with commas; repeatable",
        Side.DRAW,
    ),
    Flag(
        "max_latency",
        "TIME",
        "for live video: be at most TIME late, such as 500ms or 0.5; engines look less far ahead, "
        "or are refused",
        Side.DRAW,
    ),
    Flag("conceal", "", "draw damaged source frames anew (default)", Side.DRAW),
    Flag("no_conceal", "", "show damaged source frames as decoded", Side.DRAW, group="conceal"),
    Flag("memory", "SIZE", "use at most SIZE, such as 512M or 4G (default 2G)", Side.DRAW),
)

MODEL_FLAGS = (
    Flag("checkpoint", "FILE", "the LTX-2 checkpoint, .safetensors", Side.MODEL),
    Flag("spatial_upsampler", "FILE", "the spatial latent upsampler", Side.MODEL),
    Flag("temporal_upsampler", "FILE", "the temporal latent upsampler", Side.MODEL),
    Flag("context", "FILE", "an encoded prompt", Side.MODEL),
    Flag("tiny_vae", "FILE", "a tiny autoencoder, for ltx-motion:vae=tiny", Side.MODEL),
    Flag("gemma", "FOLDER", "the text encoder", Side.MODEL),
    Flag("lora", "FILE[:STRENGTH]", "add a LoRA to the transformer; repeatable", Side.MODEL),
    Flag(
        "distilled_lora",
        "FILE[:STRENGTH]",
        "add it for the last steps alone, where the checkpoint is no distilled one",
        Side.MODEL,
    ),
    Flag("device", "NAME", "what runs the models: auto (default), cpu, cuda or cuda:N", Side.MODEL),
)

ENCODER_FLAGS = (
    Flag("crf", "N", "constant quality, lower is better", Side.OUTPUT),
    Flag("preset", "NAME", "the encoder's speed", Side.OUTPUT),
    Flag("tune", "NAME", "the encoder's tuning", Side.OUTPUT),
    Flag("profile", "NAME", "the codec's profile", Side.OUTPUT),
    Flag("level", "N", "the codec's level", Side.OUTPUT),
    Flag("b", "RATE", "bit rate, as -b:v 5M", Side.OUTPUT, ("vb",)),
    Flag("maxrate", "RATE", "peak bit rate", Side.OUTPUT),
    Flag("bufsize", "SIZE", "rate control buffer", Side.OUTPUT),
    Flag("q", "N", "fixed quantizer, as -q:v 3", Side.OUTPUT, ("qscale",)),
    Flag("qp", "N", "constant quantizer", Side.OUTPUT),
    Flag("g", "N", "frames from I-frame to I-frame at most", Side.OUTPUT),
    Flag("bf", "N", "B-frames in a row at most", Side.OUTPUT),
    Flag("x264-params", "A=B:C=D", "libx264's own options", Side.OUTPUT, ("x264_params",)),
    Flag("x265-params", "A=B:C=D", "libx265's own options", Side.OUTPUT, ("x265_params",)),
    Flag("svtav1-params", "A=B:C=D", "libsvtav1's own options", Side.OUTPUT, ("svtav1_params",)),
)

MUXER_FLAGS = tuple(
    Flag(name, metavar, text, Side.OUTPUT)
    for name, metavar, text in (
        ("movflags", "FLAGS", "mp4 and mov: +faststart, ..."),
        ("brand", "NAME", "mp4 and mov: major brand"),
        ("cluster_time_limit", "MS", "mkv: longest cluster"),
        ("mpegts_flags", "FLAGS", "ts: flags"),
        ("muxdelay", "SECONDS", "ts: delay between packet and picture"),
    )
)

COLOR_FLAGS = tuple(
    Flag(name, "NAME", text, Side.OUTPUT)
    for name, text in (
        ("colorspace", "tag the matrix, such as bt709, bt2020nc"),
        ("color_range", "tag the range: tv, pc"),
        ("color_primaries", "tag the primaries, such as bt709, bt2020"),
        ("color_trc", "tag the transfer, such as bt709, smpte2084"),
    )
)

OUTPUT_FLAGS = (
    Flag("c:v", "NAME", "video encoder, such as libx264", Side.OUTPUT, ("vcodec", "codec:v")),
    *ENCODER_FLAGS,
    *COLOR_FLAGS,
    *MUXER_FLAGS,
    Flag("c", "copy", "copy every other stream (default)", Side.OUTPUT, ("codec",)),
    Flag("c:a", "copy", "copy audio (default)", Side.OUTPUT, ("acodec", "codec:a")),
    Flag("c:s", "copy", "copy subtitles (default)", Side.OUTPUT, ("scodec", "codec:s")),
    Flag("c:d", "copy", "copy data (default)", Side.OUTPUT, ("dcodec", "codec:d")),
    Flag("an", "", "leave audio out", Side.OUTPUT),
    Flag("sn", "", "leave subtitles out", Side.OUTPUT),
    Flag("dn", "", "leave data streams out", Side.OUTPUT),
    Flag("map", "STREAMS", "choose streams: 0, 0:a:1, -0:s", Side.OUTPUT),
)

GENERAL_FLAGS = (
    Flag("y", "", "overwrite the output", Side.GENERAL),
    Flag("n", "", "never overwrite the output (default)", Side.GENERAL, group="y"),
    Flag("xerror", "", "fail on damaged input instead of going on", Side.GENERAL),
    Flag(
        "loglevel", "LEVEL", "quiet, error, warning, info (default) or debug", Side.GENERAL, ("v",)
    ),
    Flag("stats", "", "show progress even when not on a terminal", Side.GENERAL),
    Flag("nostats", "", "never show progress", Side.GENERAL, group="stats"),
    Flag(
        "progress",
        "TO",
        "write progress as key=value blocks to a file, pipe:N, or - (standard output; "
        "standard error while frames go to standard output)",
        Side.GENERAL,
    ),
    Flag("report", "FILE", "write to FILE, as JSON, what happened to each window", Side.GENERAL),
    Flag("hide_banner", "", "accepted; there is no banner", Side.GENERAL),
    Flag("nostdin", "", "accepted; keys are never read", Side.GENERAL),
)

SHOW_FLAGS = (
    Flag("help", "", "show this text", Side.SHOW, ("h",)),
    Flag("version", "", "show the version", Side.SHOW),
)

FLAGS = (
    *INPUT_FLAGS,
    *EITHER_FLAGS,
    *DRAW_FLAGS,
    *MODEL_FLAGS,
    *OUTPUT_FLAGS,
    *GENERAL_FLAGS,
    *SHOW_FLAGS,
)

ENCODER = frozenset(flag.name for flag in ENCODER_FLAGS)
MODEL = tuple(flag.name for flag in MODEL_FLAGS if "lora" not in flag.name)
MUXER = tuple(flag.name for flag in MUXER_FLAGS)
COLOR = tuple(flag.name for flag in COLOR_FLAGS)

LEVELS = {
    "quiet": -8,
    "panic": 0,
    "fatal": 8,
    "error": 16,
    "warning": 24,
    "info": 32,
    "verbose": 40,
    "debug": 48,
    "trace": 56,
}


def parse_level(text: str) -> int:
    """Return the number of a log level by its name; flags such as "repeat+level+" are skipped.

    Raises OptionError.
    """
    name = text.rpartition("+")[2]
    if name in LEVELS:
        return LEVELS[name]
    if not re.fullmatch(r"(?a)-?\d{1,3}", name):
        raise OptionError(f"-loglevel {text}: use one of {', '.join(LEVELS)}")
    return int(name)


_FILTERS = "put filters into the ffmpeg before or after ltxfilter"
_TIMING = "the output's rate is constant and exact; choose it with --fps"
_METADATA = "metadata and chapters are copied; change them in an ffmpeg that follows"
_COPIES = "streams other than video are copied; change them in an ffmpeg that follows"

REFUSED = {  # what ffmpeg's users will try, and what to do instead
    "vf": _FILTERS,
    "af": _FILTERS,
    "filter": _FILTERS,
    "filter_complex": _FILTERS,
    "lavfi": _FILTERS,
    "vsync": _TIMING,
    "fps_mode": _TIMING,
    "copyts": _TIMING,
    "metadata": _METADATA,
    "map_metadata": _METADATA,
    "map_chapters": _METADATA,
    "disposition": _METADATA,
    "ab": _COPIES,
    "ar": _COPIES,
    "ac": _COPIES,
    "aq": _COPIES,
    "vn": "ltxfilter is about video",
    "frames": "end early with -t",
    "vframes": "end early with -t",
    "shortest": "audio and video keep their lengths",
    "stream_loop": "repeat the input in an ffmpeg before it",
    "itsoffset": "shift streams in an ffmpeg before or after it",
    "pass": "use constant quality (-crf) or a bit rate in one pass",
    "passlogfile": "use constant quality (-crf) or a bit rate in one pass",
}
