"""argv as ffmpeg's users write it -> Options; opens nothing and prints nothing."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, TypeVar

from ltxfilter.cli.ffmpeg_options.objections import sift
from ltxfilter.cli.ffmpeg_options.passed_on import DECODER_OPTIONS, is_demuxers, is_muxers
from ltxfilter.cli.ffmpeg_options.trimming import TIMES, trimmed
from ltxfilter.cli.flag import Side
from ltxfilter.cli.flags import COLOR, DEMUXER, ENCODER, JOB, MODEL, MUXER
from ltxfilter.cli.words import BY_NAME, Word, split, suggestion
from ltxfilter.errors import OptionError
from ltxfilter.media.format_names import RAW_FORMATS, RAW_SUFFIXES, STDIN_NAMES, STDOUT_NAMES
from ltxfilter.normalize import (
    fps_of,
    optional,
    port_of,
    resume_of,
    scale_of,
    segment_seconds_of,
    whole_of,
    workers_of,
)
from ltxfilter.options import InputOptions, JobOptions, ModelOptions, Options, OutputOptions
from ltxfilter.values import (
    LEVELS,
    Span,
    merge_spans,
    parse_aspect,
    parse_bytes,
    parse_level,
    parse_lora,
    parse_rate,
    parse_size,
    parse_spans,
    parse_speed,
    parse_threads,
    parse_time,
)

T = TypeVar("T")
STREAMS = re.compile(r"(?a)|g|s(:[vVasdt])?(:\d{1,4})?")  # whose tags can be set
LISTS = {
    "lora": "loras",
    "redraw": "redraw",
    "report": "report",
}  # flags that add up, and where they are filed


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a command line asks for: the run, and how to talk about it."""

    options: Options
    level: int = LEVELS["info"]  # FFmpeg's number; messages above it are left out
    stats: bool | None = None  # the progress line; None: on a terminal
    progress: str | None = None  # where key=value blocks go
    show: str | None = None  # "help" or "version" instead of a run


@dataclass(slots=True)
class Given:
    """Words sorted by what they describe; the last one of a name counts."""

    argv: Sequence[str] = ()  # all of the line, for messages
    input: dict[str, str] = field(default_factory=dict)
    output: dict[str, str] = field(default_factory=dict)
    general: dict[str, str] = field(default_factory=dict)
    encoder: dict[str, str] = field(default_factory=dict)
    demuxer: dict[str, str] = field(default_factory=dict)
    muxer: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    disposition: dict[str, str] = field(default_factory=dict)
    maps: list[str] = field(default_factory=list)
    loras: list[str] = field(default_factory=list)
    redraw: list[str] = field(default_factory=list)
    report: list[str] = field(default_factory=list)


def parse(argv: Sequence[str]) -> Arguments:
    """Understand a command line without its program name. Raises OptionError."""
    words = split(argv)
    shown = next((word.name for word in words if word.flag and word.flag.side is Side.SHOW), None)
    if shown:
        return Arguments(Options(), show="version" if shown == "version" else "help")
    given = _sort(sift(words), argv)
    general = given.general
    options = Options(
        input=_input(given),
        output=_output(given),
        **_interpolation(given),
        models=_models(given),
        strict="xerror" in general,
        report=tuple(given.report),
        live_view=_read("live_view", optional(port_of), general.get("live_view")),
        job=_job(given),
    )
    return Arguments(
        options,
        level=_read("loglevel", parse_level, general.get("loglevel", "info")),
        stats=None if "stats" not in general else general["stats"] == "stats",
        progress=general.get("progress"),
    )


def _sort(words: Sequence[Word], argv: Sequence[str]) -> Given:
    """Tell input from output: by the place relative to -i, or for standard input by the name."""
    inputs = [at for at, word in enumerate(words) if word.flag and word.flag.name == "i"]
    geometry = [at for at, word in enumerate(words) if word.flag and word.name in ("s", "r")]
    given = Given(argv)
    for at, word in enumerate(words):
        if inputs:
            describes_input = at < inputs[0]
        else:
            repeated = any(later.name == word.name for later in words[at + 1 :])
            describes_input = word.name in ("s", "r") or (
                repeated
                or (word.name == "pix_fmt" and word.name not in given.input)
                or (word.name == "f" and any(at < place for place in geometry))
            )
        _put(given, word, describes_input, explicit=bool(inputs))
    return given


def _put(given: Given, word: Word, describes_input: bool, explicit: bool) -> None:
    """File one word under what it describes. explicit: there is an -i, before or behind it."""
    flag = word.flag
    if word.is_file or word.is_flag("o"):
        _put_path(given, word, explicit)
    elif flag is None:
        _put_unlisted(given, word, describes_input, explicit)
    elif flag.side is Side.OUTPUT:
        _refuse_place(word, explicit and describes_input)
        _put_output(given, word)
    elif flag.name in LISTS:
        getattr(given, LISTS[flag.name]).append(word.value)
    elif flag.side in (Side.GENERAL, Side.INTERPOLATE, Side.MODEL, Side.JOB):
        given.general[flag.key] = word.value or flag.name
    elif flag.name in TIMES and word.after_input and explicit:
        given.output[flag.key] = word.value
    elif flag.side is Side.INPUT or describes_input:
        given.input[flag.key] = word.value or flag.name
    else:
        given.output[flag.key] = word.value or flag.name


def _put_output(given: Given, word: Word) -> None:
    """File a flag that describes the output."""
    flag = word.flag
    assert flag is not None
    if flag.name in ENCODER:
        given.encoder[flag.name] = word.value
    elif flag.name == "map":
        given.maps.append(word.value)
    elif flag.name in ("metadata", "timecode"):
        _put_tag(given, word)
    elif flag.name == "disposition":
        given.disposition[word.stream] = word.value
    else:
        given.output[flag.key] = word.value or flag.name


def _put_unlisted(given: Given, word: Word, describes_input: bool, explicit: bool) -> None:
    """File an option that libav takes itself."""
    decodes = word.name in DECODER_OPTIONS
    if is_demuxers(word.name) and (describes_input if explicit else not decodes):
        given.demuxer[word.name] = word.value
        return
    if explicit and describes_input and not is_muxers(word.name):
        raise OptionError(
            f"no option -{word.name} for the input; what describes the output stands after -i"
        )
    _refuse_place(word, explicit and describes_input)
    if is_muxers(word.name):
        given.muxer[word.name] = word.value
    elif is_demuxers(word.name) and not decodes:
        raise OptionError(f"-{word.name} stands after -i; it describes the input: write it before")
    else:
        given.encoder[word.name] = word.value


def _refuse_place(word: Word, before_input: bool) -> None:
    """Refuse what describes the output before -i."""
    if before_input:
        raise OptionError(
            f"-{word.name} stands before -i, where it describes the input; write it after"
        )


def _put_path(given: Given, word: Word, explicit: bool) -> None:
    """File the name of the output; there is one."""
    first = given.output.setdefault("path", word.value)
    if first is word.value:
        return
    message = f"two file names, {first} and {word.value}: "
    if explicit:
        raise OptionError(f"{message}there is one output; run ltxfilter once for each")
    line = list(given.argv)
    line.insert(line.index(first), "-i")
    raise OptionError(
        f"{message}the input is written -i FILE, and there is one output; did you mean "
        f"{shlex.join(['ltxfilter', *line])}?"
    )


def _put_tag(given: Given, word: Word) -> None:
    """File a tag to set, under the streams and the name that it has."""
    text = f"timecode={word.value}" if word.is_flag("timecode") else word.value
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise OptionError(f"{' '.join(word.written)}: write KEY=VALUE, such as title=Sunset")
    if not STREAMS.fullmatch(word.stream):
        raise OptionError(f"{word.written[0]}: write -metadata, -metadata:s:v or -metadata:s:a:0")
    given.metadata[f"{word.stream}:{key}" if word.stream else key] = value


def _input(given: Given) -> InputOptions:
    text = given.input
    width, height = _read("s", parse_size, text["s"]) if "s" in text else (None, None)
    path = local(text.get("i", "-"))
    return InputOptions(
        path="-" if path in STDIN_NAMES else path,
        format=text.get("f"),
        width=width,
        height=height,
        pix_fmt=text.get("pix_fmt"),
        rate=_read("r", parse_rate, text["r"]) if "r" in text else None,
        **trimmed(
            {name: _time(text, name) for name in TIMES},
            {name: _time(given.output, name) for name in TIMES},
            _time(text, "sseof", negative=True),
        ),
        hwaccel=text.get("hwaccel"),
        hwaccel_device=text.get("hwaccel_device"),
        deinterlace=_choice(text, "deinterlace", ("auto", "on", "off")),
        autorotate=text["autorotate"] == "1" if "autorotate" in text else None,
        threads=_read("threads", parse_threads, text["threads"]) if "threads" in text else None,
        demuxer={**{name: text[name] for name in DEMUXER if name in text}, **given.demuxer},
        pace=_pace(text.get("readrate")),
        keep_times="copyts" in given.general,
    )


def _pace(text: str | None) -> Fraction | None:
    """Read the value of -readrate, where 0 is no bound; -re is 1."""
    if text in (None, "0"):
        return None
    return Fraction(1) if text == "re" else _read("readrate", parse_speed, text or "")


def _output(given: Given) -> OutputOptions:
    text = given.output
    path = local(text.get("path", "-"))
    output = OutputOptions(
        path="-" if path in STDOUT_NAMES else path,
        format=text.get("f"),
        overwrite={"y": True, "n": False}.get(given.general.get("y", "")),
        codec=text.get("c:v"),
        pix_fmt=text.get("pix_fmt"),
        tag=text.get("tag"),
        scale=_read("scale", optional(scale_of), given.general.get("scale")),
        aspect=_read("aspect", parse_aspect, text["aspect"]) if "aspect" in text else None,
        encoder=given.encoder,
        muxer={**{name: text[name] for name in MUXER if name in text}, **given.muxer},
        audio="an" not in text,
        subtitles="sn" not in text,
        data="dn" not in text,
        maps=tuple(given.maps),
        color={name: text[name] for name in COLOR if name in text},
        tags=text.get("map_metadata") != "-1",
        chapters=text.get("map_chapters") != "-1",
        metadata=given.metadata,
        disposition=given.disposition,
        frames=_read("frames", whole_of, text["frames"]) if "frames" in text else None,
        shortest="shortest" in text,
        provenance=given.general.get("provenance", "short").removeprefix("no_provenance") or "none",
    )
    if output.format == "null" and output.codec is None:  # ffmpeg's way to write nothing
        output = replace(output, path=os.devnull, format="rawvideo", overwrite=True)
    if raw(output):
        _check_raw(output)
        output = replace(output, encoder={})
    return output


def local(path: str) -> str:
    """Return the name of a file that is written as a URL, as file:NAME."""
    named = path.startswith("file:") and not os.path.lexists(path)
    return path.removeprefix("file:") if named else path


def raw(output: OutputOptions) -> bool:
    """Return True if the frames are written as they are, without an encoder."""
    if output.format is not None:
        return output.format in RAW_FORMATS
    return output.path == "-" or output.path.endswith(tuple(RAW_SUFFIXES))


def _check_raw(output: OutputOptions) -> None:
    """Refuse encoder options where nothing is encoded; `-strict -1` is a habit, let it pass."""
    where = "standard output" if output.path == "-" else output.path
    hint = "" if output.format else "; name a container with -f, for example -f matroska"
    if output.codec not in (None, "rawvideo", "wrapped_avframe"):
        raise OptionError(f"-c:v {output.codec}: {where} takes frames as they are{hint}")
    left = [name for name in output.encoder if name not in ("strict", "threads")]
    if left:
        raise OptionError(
            f"no option -{left[0]}{suggestion(left[0])}"
            if left[0] not in BY_NAME
            else f"-{left[0]}: {where} takes frames as they are, without an encoder{hint}"
        )


def _interpolation(given: Given) -> dict[str, Any]:
    text = given.general
    found: dict[str, Any] = {}
    rates = {rate for rate in (text.get("fps"), given.output.get("r")) if rate is not None}
    if len(rates) > 1:
        raise OptionError("--fps and an -r after -i both name the output's rate; give one of them")
    if rates:
        found["fps"] = _read("fps", fps_of, rates.pop())
    if "speed" in text:
        found["speed"] = _read("speed", parse_speed, text["speed"])
    if "memory" in text:
        found["memory"] = _read("memory", parse_bytes, text["memory"])
    if "engine" in text:
        found["engine"] = text["engine"]
    if "threads" in given.output:
        found["threads"] = _read("threads", parse_threads, given.output["threads"])
    return {
        **found,
        "cuts": text.get("cuts") != "no_cuts",
        "conceal": text.get("conceal") != "no_conceal",
        "repeats": _choice(text, "repeats", ("report", "smooth")),
        "max_latency": _time(text, "max_latency"),
        "redraw": _read("redraw", _spans, ",".join(given.redraw)) if given.redraw else (),
    }


def _job(given: Given) -> JobOptions:
    """Return how the job is cut and who works on it."""
    named = {name: given.general[name] for name in JOB if name in given.general}
    read: dict[str, Any] = {
        "resume": resume_of,
        "workers": workers_of,
        "ray": str,
        "segment_seconds": segment_seconds_of,
        "work_dir": str,
    }
    values = {name: _read(name, read[name], text) for name, text in named.items()}
    return JobOptions(**values, command=tuple(given.argv))


def _spans(text: str) -> tuple[Span, ...]:
    return merge_spans(parse_spans(text))


def _models(given: Given) -> ModelOptions:
    named = {name: given.general[name] for name in MODEL if name in given.general}
    distilled = given.general.get("distilled_lora")
    return ModelOptions(
        **named,
        loras=tuple(_read("lora", parse_lora, text) for text in given.loras),
        distilled_lora=_read("distilled_lora", parse_lora, distilled) if distilled else None,
    )


def _read(name: str, read: Callable[[Any], T], text: str | None) -> T:
    """Read the value of a flag. Raises OptionError that names the flag."""
    try:
        return read(text)
    except OptionError as error:
        colon = "" if str(error).startswith(str(text)) else ":"
        raise OptionError(f"{BY_NAME[name].dashed}{colon} {error}") from None


def _time(text: dict[str, str], name: str, *, negative: bool = False) -> Fraction | None:
    """Read a time; negative: it is written with a sign, which is left out."""
    if name not in text:
        return None
    if negative and not text[name].startswith("-"):
        raise OptionError(f"-{name} {text[name]}: write how long before the end, such as -10")
    return _read(name, parse_time, text[name].removeprefix("-") if negative else text[name])


def _choice(text: dict[str, str], name: str, choices: tuple[str, ...]) -> str:
    value = text.get(name, choices[0])
    if value not in choices:
        raise OptionError(f"--{name} {value}: use one of {', '.join(choices)}")
    return value
