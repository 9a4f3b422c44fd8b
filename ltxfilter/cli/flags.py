"""The vocabulary of the command line: every flag, what it describes and what it means."""

from __future__ import annotations

from ltxfilter.cli.flag import Flag, Side
from ltxfilter.cli.output_flags import COLOR_FLAGS, ENCODER_FLAGS, MUXER_FLAGS, OUTPUT_FLAGS

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
    Flag(
        "scale",
        "FACTOR",
        "Make pictures 2x or 1.5x as wide and high, source frames too. Sides become even.",
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
    Flag("onnx_model", "FILE", "Load a network for the engine onnx from FILE (.onnx).", Side.MODEL),
    Flag(
        "device",
        "NAME",
        "Run the models on NAME: auto (default), cpu, cuda or cuda:N.",
        Side.MODEL,
    ),
)

JOB_FLAGS = (
    Flag(
        "resume",
        "[restart]",
        "Keep finished segments, and carry on from them when the same command is run again; "
        "--resume=restart begins anew.",
        Side.JOB,
    ),
    Flag(
        "workers",
        "N",
        "Interpolate and encode in N processes, or as many as pay with auto.",
        Side.JOB,
    ),
    Flag(
        "ray",
        "ADDRESS",
        "Interpolate and encode on a Ray cluster, or with auto on the one that runs here or is "
        "started; --workers N limits its actors.",
        Side.JOB,
    ),
    Flag(
        "segment_seconds",
        "N",
        "Cut the video every N seconds: a multiple of 10 (default 20). For --resume, --workers and "
        "--ray.",
        Side.JOB,
    ),
    Flag("work_dir", "FOLDER", "Keep segments in FOLDER (default: NAME.part.d).", Side.JOB),
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
    Flag(
        "report",
        "FILE",
        "Write what happened: FILE.html is a page to look at, any other name gets JSON. Give it "
        "twice for both.",
        Side.GENERAL,
    ),
    Flag(
        "live_view",
        "PORT",
        "While it works, show progress and the newest frames at http://127.0.0.1:PORT, which only "
        "this machine can open (0: a free port, which is said).",
        Side.GENERAL,
    ),
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
    *JOB_FLAGS,
    *SHOW_FLAGS,
)

ENCODER = frozenset(flag.name for flag in ENCODER_FLAGS)
MODEL = tuple(flag.name for flag in MODEL_FLAGS if "lora" not in flag.name)
MUXER = (*(flag.name for flag in MUXER_FLAGS), "start_number")
JOB = tuple(flag.name for flag in JOB_FLAGS)
DEMUXER = ("start_number", "pattern_type")
COLOR = tuple(flag.name for flag in COLOR_FLAGS)
