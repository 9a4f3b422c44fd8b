"""argv as ffmpeg's users write it -> Options; opens nothing and prints nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fractions import Fraction
from typing import Any, TypeVar

from ltxfilter.cli.flags import (
    COLOR,
    DEMUXER,
    ENCODER,
    FLAGS,
    MODEL,
    MUXER,
    MUXER_PREFIXES,
    MUXER_UNLISTED,
    REFUSED,
    Flag,
    Side,
)
from ltxfilter.errors import OptionError
from ltxfilter.media.format_names import RAW_FORMATS, RAW_SUFFIXES, STDIN_NAMES, STDOUT_NAMES
from ltxfilter.normalize import fps_of
from ltxfilter.options import InputOptions, ModelOptions, Options, OutputOptions
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


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a command line asks for: the run, and how to talk about it."""

    options: Options
    level: int = LEVELS["info"]  # FFmpeg's number; messages above it are left out
    stats: bool | None = None  # the progress line; None: on a terminal
    progress: str | None = None  # where key=value blocks go
    show: str | None = None  # "help" or "version" instead of a run


@dataclass(frozen=True, slots=True)
class Word:
    """One option or file name of a command line."""

    flag: Flag | None  # None: a file name, or an option for the encoder
    name: str  # as written, without dashes and stream specifier; "" for a file name
    value: str = ""


@dataclass(slots=True)
class Given:
    """Words sorted by what they describe; the last one of a name counts."""

    input: dict[str, str] = field(default_factory=dict)
    output: dict[str, str] = field(default_factory=dict)
    general: dict[str, str] = field(default_factory=dict)
    encoder: dict[str, str] = field(default_factory=dict)
    maps: list[str] = field(default_factory=list)
    loras: list[str] = field(default_factory=list)
    redraw: list[str] = field(default_factory=list)


def parse(argv: Sequence[str]) -> Arguments:
    """Understand a command line without its program name. Raises OptionError."""
    words = list(_words(argv))
    shown = next((word.name for word in words if word.flag and word.flag.side is Side.SHOW), None)
    if shown:
        return Arguments(Options(), show="version" if shown == "version" else "help")
    given = _sort(words)
    general = given.general
    options = Options(
        input=_input(given),
        output=_output(given),
        **_interpolation(given),
        models=_models(given),
        strict="xerror" in general,
        report=general.get("report"),
    )
    return Arguments(
        options,
        level=_read("loglevel", parse_level, general.get("loglevel", "info")),
        stats=None if "stats" not in general else general["stats"] == "stats",
        progress=general.get("progress"),
    )


def _words(argv: Sequence[str]) -> Iterator[Word]:
    """Split a command line into options with their values, and file names."""
    rest = iter(argv)
    for text in rest:
        if not text.startswith("-") or text == "-":
            yield Word(None, "", text)
            continue
        double = text.startswith("--")
        name, equals, value = text[2:].partition("=") if double else (text[1:], "", "")
        base, _, stream = name.partition(":")
        flag = _known(name) or _known(base)
        if flag is None:
            _check_unknown(text, name, double)
        elif stream and flag.name == base:
            _check_stream(text, flag, stream)
        if flag is not None and not flag.metavar:
            if equals:
                raise OptionError(f"{text}: {flag.dashed} takes no value")
        elif not equals:
            value = _next(rest, text)
        yield Word(flag, base if flag is None else flag.name, value)


def _next(rest: Iterator[str], text: str) -> str:
    try:
        return next(rest)
    except StopIteration:
        raise OptionError(f"{text} needs a value") from None


def _known(name: str) -> Flag | None:
    return BY_NAME.get(name) or BY_NAME.get(name.replace("-", "_"))


def _check_unknown(text: str, name: str, double: bool) -> None:
    """Let through what may be an encoder's option: one dash, a plausible name."""
    base = name.partition(":")[0]
    reason = REFUSED.get(name) or REFUSED.get(base)
    if reason:
        raise OptionError(f"{text} is not supported: {reason}")
    misspelt = get_close_matches(base, OURS, n=1, cutoff=0.85)
    if double or misspelt or not re.fullmatch(r"(?a)[\w-]*[A-Za-z][\w-]*", base):
        hint = f"; a file of that name is written ./{text}" if "." in text else suggestion(base)
        raise OptionError(f"no option {text}{hint}")


def _check_stream(text: str, flag: Flag, stream: str) -> None:
    if flag.side is not Side.OUTPUT or stream.split(":")[0] not in ("v", "V"):
        raise OptionError(f"{text}: only video is encoded, the other streams are copied")


def suggestion(name: str) -> str:
    """Return "; did you mean --NAME?" for a name close to a known one, else nothing."""
    close = get_close_matches(name.replace("-", "_"), BY_NAME, n=1, cutoff=0.6)
    return f"; did you mean {BY_NAME[close[0]].dashed}?" if close else ""


def _sort(words: Sequence[Word]) -> Given:
    """Tell input from output: by the place relative to -i, or for standard input by the name."""
    inputs = [at for at, word in enumerate(words) if word.flag and word.flag.name == "i"]
    if len(inputs) > 1:
        raise OptionError("-i is given twice; ltxfilter reads one input")
    geometry = [at for at, word in enumerate(words) if word.flag and word.name in ("s", "r")]
    given = Given()
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
    """File one word under what it describes."""
    flag = word.flag
    if flag is None and not word.name:
        if "path" in given.output:
            raise OptionError(
                f"two file names, {given.output['path']} and {word.value}: "
                "the input is written -i FILE, and there is one output"
            )
        given.output["path"] = word.value
        return
    side = flag.side if flag else Side.OUTPUT
    if side is Side.OUTPUT and explicit and describes_input:
        raise OptionError(
            f"-{word.name} stands before -i, where it describes the input; write it after"
        )
    if flag is None or flag.name in ENCODER:
        given.encoder[word.name] = word.value
    elif flag.name == "map":
        given.maps.append(word.value)
    elif flag.name == "lora":
        given.loras.append(word.value)
    elif flag.name == "redraw":
        given.redraw.append(word.value)
    elif side in (Side.GENERAL, Side.INTERPOLATE, Side.MODEL):
        given.general[flag.key] = word.value or flag.name
    elif side is Side.INPUT or (side is Side.EITHER and describes_input):
        given.input[flag.key] = word.value or flag.name
    else:
        given.output[flag.key] = word.value or flag.name


def _input(given: Given) -> InputOptions:
    text = given.input
    width, height = _read("s", parse_size, text["s"]) if "s" in text else (None, None)
    if "t" in text and "to" in text:
        raise OptionError("-t and -to contradict each other; give one of them")
    path = text.get("i", "-")
    return InputOptions(
        path="-" if path in STDIN_NAMES else path,
        format=text.get("f"),
        width=width,
        height=height,
        pix_fmt=text.get("pix_fmt"),
        rate=_read("r", parse_rate, text["r"]) if "r" in text else None,
        start=_time(text, "ss"),
        duration=_time(text, "t"),
        end=_time(text, "to"),
        hwaccel=text.get("hwaccel"),
        deinterlace=_choice(text, "deinterlace", ("auto", "on", "off")),
        autorotate=text["autorotate"] == "autorotate" if "autorotate" in text else None,
        threads=_read("threads", parse_threads, text["threads"]) if "threads" in text else None,
        demuxer={name: text[name] for name in DEMUXER if name in text},
    )


def _output(given: Given) -> OutputOptions:
    text = given.output
    if "s" in text:
        raise OptionError("-s after -i: ltxfilter does not scale; do that in the next ffmpeg")
    _check_copied(text)
    path = text.get("path", "-")
    output = OutputOptions(
        path="-" if path in STDOUT_NAMES else path,
        format=text.get("f"),
        overwrite={"y": True, "n": False}.get(given.general.get("y", "")),
        codec=text.get("c:v"),
        pix_fmt=text.get("pix_fmt"),
        tag=text.get("tag"),
        aspect=_read("aspect", parse_aspect, text["aspect"]) if "aspect" in text else None,
        encoder={name: text for name, text in given.encoder.items() if not _is_muxers(name)},
        muxer={
            **{name: text[name] for name in MUXER if name in text},
            **{name: text for name, text in given.encoder.items() if _is_muxers(name)},
        },
        audio="an" not in text,
        subtitles="sn" not in text,
        data="dn" not in text,
        maps=tuple(given.maps),
        color={name: text[name] for name in COLOR if name in text},
    )
    if output.format == "null" and output.codec is None:  # ffmpeg's way to write nothing
        output = replace(output, path=os.devnull, format="rawvideo", overwrite=True)
    if raw(output):
        _check_raw(output)
    return output


def _is_muxers(name: str) -> bool:
    """Return True for an option that is not listed, but by its name is the container's."""
    return name.startswith(MUXER_PREFIXES) or name in MUXER_UNLISTED


def _check_copied(text: dict[str, str]) -> None:
    """Refuse to encode anything but video, and to copy video."""
    for name in ("c", "c:a", "c:s", "c:d"):
        if text.get(name, "copy") != "copy":
            raise OptionError(
                f"-{name} {text[name]}: streams other than video are copied; encode them in an "
                "ffmpeg that follows, or leave them out with -an, -sn, -dn"
            )
    if text.get("c:v") == "copy":
        raise OptionError(
            "-c:v copy: the output has frames that are interpolated, so it has to be encoded"
        )


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
            if _known(left[0]) is None
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


def _spans(text: str) -> tuple[Span, ...]:
    return merge_spans(parse_spans(text))


def _models(given: Given) -> ModelOptions:
    named = {name: given.general[name] for name in MODEL if name in given.general}
    distilled = given.general.get("distilled_lora")
    return ModelOptions(
        **named,
        loras=tuple(_read("lora", parse_lora, text) for text in given.loras),
        distilled_lora=None
        if distilled is None
        else _read("distilled_lora", parse_lora, distilled),
    )


def _read(name: str, read: Callable[[str], T], text: str) -> T:
    """Read the value of a flag. Raises OptionError that names the flag."""
    try:
        return read(text)
    except OptionError as error:
        colon = "" if str(error).startswith(text) else ":"
        raise OptionError(f"{BY_NAME[name].dashed}{colon} {error}") from None


def _time(text: dict[str, str], name: str) -> Fraction | None:
    return _read(name, parse_time, text[name]) if name in text else None


def _choice(text: dict[str, str], name: str, choices: tuple[str, ...]) -> str:
    value = text.get(name, choices[0])
    if value not in choices:
        raise OptionError(f"--{name} {value}: use one of {', '.join(choices)}")
    return value


BY_NAME = {name: flag for flag in FLAGS for name in (flag.name, *flag.aliases)}
OURS = [name for name, flag in BY_NAME.items() if flag.side is not Side.OUTPUT]
