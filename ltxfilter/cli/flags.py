"""The vocabulary of the command line: every flag, what it describes and what it means."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Side(Enum):
    """What a flag describes."""

    INPUT = "Input"
    EITHER = "Input before -i, output after it"
    INTERPOLATE = "Interpolation"
    MODEL = "Models of the LTX engines"
    OUTPUT = "Output"
    GENERAL = "General"
    SHOW = "Information"
    ACCEPTED = "Accepted from ffmpeg's command lines, since it changes nothing"
    REFUSED = "Refused"


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
        ours = self.side in (Side.INTERPOLATE, Side.MODEL) or self.name in (
            "help",
            "version",
            "deinterlace",
        )
        return "--" + self.name.replace("_", "-") if ours else "-" + self.name


INPUT_FLAGS = (
    Flag("i", "FILE", "Read FILE. Use -, or leave out -i, for standard input.", Side.INPUT),
    Flag("ss", "TIME", "Start at TIME: seconds, or HH:MM:SS.mmm.", Side.INPUT),
    Flag("t", "TIME", "Stop after TIME of the input.", Side.INPUT),
    Flag("to", "TIME", "Stop at TIME of the input; after -i, TIME of the output.", Side.INPUT),
    Flag("sseof", "-TIME", "Start TIME before the end of the input, as -sseof -10.", Side.INPUT),
    Flag("re", "", "Read no faster than the input plays.", Side.INPUT, group="readrate"),
    Flag("readrate", "FACTOR", "Read at most FACTOR times as fast as that.", Side.INPUT),
    Flag(
        "pattern_type",
        "TYPE",
        "Say how pictures are named: sequence (%06d), or glob ('*.png', with -f image2).",
        Side.INPUT,
    ),
    Flag(
        "hwaccel",
        "NAME",
        "Decode on hardware where that is possible: auto, cuda, vaapi, videotoolbox.",
        Side.INPUT,
    ),
    Flag("hwaccel_device", "NAME", "Choose one of several such devices.", Side.INPUT),
    Flag(
        "deinterlace",
        "WHEN",
        "Deinterlace: auto (default, as the stream says), on or off.",
        Side.INPUT,
    ),
    Flag(
        "autorotate",
        "[0|1]",
        "Turn pictures as the input says. Default: where the output cannot say how they lie.",
        Side.INPUT,
    ),
    Flag(
        "noautorotate",
        "",
        "Never turn pictures.",
        Side.INPUT,
        group="autorotate",
    ),
)

EITHER_FLAGS = (
    Flag(
        "f",
        "FORMAT",
        "Name the container or pipe format. Without -i it is the output's, unless -s or -r follows "
        "or it is given twice.",
        Side.EITHER,
    ),
    Flag(
        "pix_fmt",
        "NAME",
        "Name the pixel format. Without -i it is the headerless input's.",
        Side.EITHER,
    ),
    Flag("s", "WxH", "Give the size of headerless input, in pixels.", Side.EITHER, ("video_size",)),
    Flag(
        "r",
        "RATE",
        "Take the input at RATE frames per second, whatever its time stamps say. After -i it means "
        "the same as --fps.",
        Side.EITHER,
        ("framerate",),
    ),
    Flag("start_number", "N", "Begin numbered pictures at N.", Side.EITHER),
    Flag(
        "threads",
        "N",
        "Use N threads, or as many as fit with 0: before -i to decode, after it, or without -i, to "
        "interpolate.",
        Side.EITHER,
    ),
)

INTERPOLATE_FLAGS = (
    Flag(
        "fps",
        "RATE",
        "Make RATE frames per second: auto (default: 50, 60000/1001 or 60; a source of 50 or more "
        "keeps its rate), a rate, 2x, or source (every source interval is halved).",
        Side.INTERPOLATE,
    ),
    Flag(
        "engine",
        "NAME",
        "Choose the engine: NAME or NAME:key=value (default auto); see ltxfilter engines.",
        Side.INTERPOLATE,
    ),
    Flag(
        "speed",
        "FACTOR",
        "Play slower (0.5) or faster (2), without sound. To set libvpx's own -speed, use "
        "-cpu-used.",
        Side.INTERPOLATE,
    ),
    Flag("cuts", "", "Never interpolate across a scene cut (default).", Side.INTERPOLATE),
    Flag(
        "no_cuts",
        "",
        "Interpolate across scene cuts too.",
        Side.INTERPOLATE,
        ("nocuts",),
        group="cuts",
    ),
    Flag(
        "repeats",
        "HOW",
        "What to do with duplicates: report them (default), or smooth, which interpolates over "
        "them.",
        Side.INTERPOLATE,
    ),
    Flag(
        "redraw",
        "BEGIN:END",
        "Take the source frames from BEGIN to END as missing, and interpolate them. Write seconds, "
        "or HH:MM:SS-HH:MM:SS. Separate several spans with commas, or repeat the option.",
        Side.INTERPOLATE,
    ),
    Flag(
        "max_latency",
        "TIME",
        "For live video: be at most TIME late, such as 500ms or 0.5. Look-ahead is turned off if "
        "needed, and an engine that is still too late is refused.",
        Side.INTERPOLATE,
    ),
    Flag(
        "conceal",
        "",
        "Take damaged source frames as missing, and interpolate them (default).",
        Side.INTERPOLATE,
    ),
    Flag(
        "no_conceal",
        "",
        "Show damaged source frames as they decode.",
        Side.INTERPOLATE,
        group="conceal",
    ),
    Flag(
        "memory",
        "SIZE",
        "Use at most SIZE of memory, such as 512M or 4G. The default is what the job needs, up to "
        "half of the machine's.",
        Side.INTERPOLATE,
    ),
)

MODEL_FLAGS = (
    Flag("models", "FOLDER", "Search FOLDER for models, by what is in the files.", Side.MODEL),
    Flag("checkpoint", "FILE", "Load the LTX-2 checkpoint from FILE.", Side.MODEL),
    Flag("transformer", "FILE", "Load the transformer from FILE.", Side.MODEL),
    Flag("vae", "FILE", "Load the video autoencoder from FILE.", Side.MODEL),
    Flag("text_projection", "FILE", "Load the text projection from FILE.", Side.MODEL),
    Flag("spatial_upsampler", "FILE", "Load the spatial latent upsampler from FILE.", Side.MODEL),
    Flag("temporal_upsampler", "FILE", "Load the temporal latent upsampler from FILE.", Side.MODEL),
    Flag("context", "FILE", "Load an encoded prompt from FILE.", Side.MODEL),
    Flag("prompt", "TEXT", "Encode TEXT for the run, in place of --context.", Side.MODEL),
    Flag("tiny_vae", "FILE", "Load a tiny autoencoder, for ltx-motion:vae=tiny.", Side.MODEL),
    Flag("gemma", "FOLDER", "Load the text encoder from FOLDER, or from a file.", Side.MODEL),
    Flag(
        "lora",
        "FILE[:STRENGTH]",
        "Add a LoRA to the transformer. Repeat the option for another one.",
        Side.MODEL,
    ),
    Flag(
        "distilled_lora",
        "FILE[:STRENGTH]",
        "Add a LoRA for the last steps alone, where the checkpoint is not a distilled one.",
        Side.MODEL,
    ),
    Flag(
        "device",
        "NAME",
        "Run the models on NAME: auto (default), cpu, cuda or cuda:N.",
        Side.MODEL,
    ),
)

ENCODER_FLAGS = (
    Flag("crf", "N", "Encode at constant quality N; lower is better.", Side.OUTPUT),
    Flag("preset", "NAME", "Choose the encoder's speed.", Side.OUTPUT),
    Flag("tune", "NAME", "Choose the encoder's tuning.", Side.OUTPUT),
    Flag("profile", "NAME", "Choose the codec's profile.", Side.OUTPUT),
    Flag("level", "N", "Choose the codec's level.", Side.OUTPUT),
    Flag("b", "RATE", "Encode at a bit rate, as -b:v 5M.", Side.OUTPUT, ("vb",)),
    Flag("maxrate", "RATE", "Bound the peak bit rate.", Side.OUTPUT),
    Flag("bufsize", "SIZE", "Set the size of the rate control buffer.", Side.OUTPUT),
    Flag("q", "N", "Use a fixed quantizer, as -q:v 3.", Side.OUTPUT, ("qscale",)),
    Flag("qp", "N", "Use a constant quantizer.", Side.OUTPUT),
    Flag("g", "N", "Set the longest distance between I-frames, in frames.", Side.OUTPUT),
    Flag("bf", "N", "Use at most N B-frames in a row.", Side.OUTPUT),
    Flag("x264-params", "A=B:C=D", "Pass libx264's own options.", Side.OUTPUT, ("x264_params",)),
    Flag("x265-params", "A=B:C=D", "Pass libx265's own options.", Side.OUTPUT, ("x265_params",)),
    Flag(
        "svtav1-params", "A=B:C=D", "Pass libsvtav1's own options.", Side.OUTPUT, ("svtav1_params",)
    ),
)

MUXER_FLAGS = tuple(
    Flag(name, metavar, text, Side.OUTPUT)
    for name, metavar, text in (
        ("movflags", "FLAGS", "Set flags of mp4 and mov, such as +faststart."),
        ("brand", "NAME", "Set the major brand of mp4 and mov."),
        ("cluster_time_limit", "MS", "Bound the clusters of mkv, in milliseconds."),
        ("mpegts_flags", "FLAGS", "Set flags of ts."),
        ("hls_time", "SECONDS", "Set the least length of a segment of .m3u8."),
        ("hls_list_size", "N", "Keep N segments in the playlist of .m3u8; 0 keeps all."),
        ("hls_segment_filename", "NAME", "Name the segments of .m3u8, as out%03d.ts."),
        ("hls_segment_type", "TYPE", "Make segments of .m3u8 of mpegts (default) or fmp4."),
        ("seg_duration", "SECONDS", "Set the least length of a segment of .mpd."),
        ("segment_time", "SECONDS", "Set the least length of a file of -f segment."),
        ("segment_list", "FILE", "Write a list of the files of -f segment."),
        ("loop", "N", "Repeat an animation N times; 0 (default) forever, of GIF -1 never."),
        ("plays", "N", "Show an .apng N times; 0 (default) forever."),
        ("muxdelay", "SECONDS", "Set the delay between packet and picture in ts, in seconds."),
    )
)

COLOR_FLAGS = tuple(
    Flag(name, "NAME", text, Side.OUTPUT)
    for name, text in (
        ("colorspace", "Tag the matrix, such as bt709 or bt2020nc."),
        ("color_range", "Tag the range: tv or pc."),
        ("color_primaries", "Tag the primaries, such as bt709 or bt2020."),
        ("color_trc", "Tag the transfer, such as bt709 or smpte2084."),
    )
)

TAG_FLAGS = (
    Flag(
        "metadata",
        "KEY=VALUE",
        "Set a tag of the file, or of streams: -metadata:s:a:0 language=eng.",
        Side.OUTPUT,
    ),
    Flag(
        "map_metadata",
        "N",
        "Copy the input's tags (0, the default), or leave them out (-1).",
        Side.OUTPUT,
    ),
    Flag(
        "map_chapters", "N", "Copy chapters (0, the default), or leave them out (-1).", Side.OUTPUT
    ),
    Flag(
        "disposition",
        "FLAGS",
        "Set what streams are for, as -disposition:a:0 default.",
        Side.OUTPUT,
    ),
    Flag("timecode", "HH:MM:SS:FF", "Set the timecode of the first frame.", Side.OUTPUT),
)

OUTPUT_FLAGS = (
    Flag("o", "FILE", "Write FILE. The name alone will do.", Side.OUTPUT),
    Flag(
        "c:v",
        "NAME",
        "Choose the video encoder, such as libx264.",
        Side.OUTPUT,
        ("vcodec", "codec:v"),
    ),
    Flag(
        "tag",
        "FOURCC",
        "Set the codec's four characters in the container, as -tag:v hvc1.",
        Side.OUTPUT,
        ("vtag",),
    ),
    Flag("aspect", "W:H", "Set the aspect of the display, such as 16:9.", Side.OUTPUT),
    *ENCODER_FLAGS,
    *COLOR_FLAGS,
    *MUXER_FLAGS,
    Flag("c", "copy", "Copy all streams except video (default).", Side.OUTPUT, ("codec",)),
    Flag("c:a", "copy", "Copy audio (default).", Side.OUTPUT, ("acodec", "codec:a")),
    Flag("c:s", "copy", "Copy subtitles (default).", Side.OUTPUT, ("scodec", "codec:s")),
    Flag("c:d", "copy", "Copy data streams (default).", Side.OUTPUT, ("dcodec", "codec:d")),
    Flag("c:t", "copy", "Copy attachments (default).", Side.OUTPUT, ("codec:t",)),
    *TAG_FLAGS,
    Flag(
        "frames",
        "N",
        "End after N output frames.",
        Side.OUTPUT,
        ("vframes",),
    ),
    Flag("shortest", "", "End with the shortest of video and sound.", Side.OUTPUT),
    Flag("an", "", "Leave audio out.", Side.OUTPUT),
    Flag("sn", "", "Leave subtitles out.", Side.OUTPUT),
    Flag("dn", "", "Leave data streams out.", Side.OUTPUT),
    Flag(
        "map",
        "STREAMS",
        "Choose streams: 0, 0:v:1, 0:a:1, 0:p:2, 0:m:language:eng, 0:#0x101, -0:s. The first video "
        "that is named is interpolated, further ones are copied.",
        Side.OUTPUT,
    ),
)

GENERAL_FLAGS = (
    Flag("y", "", "Overwrite the output.", Side.GENERAL),
    Flag("n", "", "Never overwrite the output (default).", Side.GENERAL, group="y"),
    Flag("xerror", "", "Fail on damaged input instead of going on.", Side.GENERAL),
    Flag(
        "loglevel",
        "LEVEL",
        "Say more or less: quiet, error, warning, info (default) or debug.",
        Side.GENERAL,
        ("v",),
    ),
    Flag("stats", "", "Show progress even where standard error is no terminal.", Side.GENERAL),
    Flag("nostats", "", "Never show progress.", Side.GENERAL, group="stats"),
    Flag(
        "progress",
        "TO",
        "Write progress as key=value blocks to a file, to pipe:N, or to - (standard output, or "
        "standard error while frames go to standard output).",
        Side.GENERAL,
    ),
    Flag("report", "FILE", "Write to FILE, as JSON, what happened to each window.", Side.GENERAL),
    Flag("copyts", "", "Fail where the output would not keep the input's times.", Side.GENERAL),
)

SHOW_FLAGS = (
    Flag("help", "", "Show this text.", Side.SHOW, ("h",)),
    Flag("version", "", "Show the version.", Side.SHOW),
)

FLAGS = (
    *INPUT_FLAGS,
    *EITHER_FLAGS,
    *INTERPOLATE_FLAGS,
    *MODEL_FLAGS,
    *OUTPUT_FLAGS,
    *GENERAL_FLAGS,
    *SHOW_FLAGS,
)

ENCODER = frozenset(flag.name for flag in ENCODER_FLAGS)
MODEL = tuple(flag.name for flag in MODEL_FLAGS if "lora" not in flag.name)
MUXER = (*(flag.name for flag in MUXER_FLAGS), "start_number")
DEMUXER = ("start_number", "pattern_type")
COLOR = tuple(flag.name for flag in COLOR_FLAGS)
