"""What a run is asked to do, and the `name:key=value:key=value` language for engines."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from ltxfilter.errors import OptionError

Span = tuple[Fraction, Fraction]  # seconds: from the first up to, but not including, the second

MIB = 1 << 20
DEFAULT_MEMORY = 2 << 30  # bytes
LEAST_SPEED = Fraction(1, 100)
MAX_THREADS = 1024  # to draw with, or to decode with
SIZES = {
    "vga": "640x480",
    "ntsc": "720x480",
    "pal": "720x576",
    "hd480": "852x480",
    "hd720": "1280x720",
    "hd1080": "1920x1080",
    "uhd2160": "3840x2160",
}


@dataclass(frozen=True, slots=True)
class EngineOption:
    """One option of an engine: how it is written, checked and explained."""

    name: str
    default: Any  # its type is the option's: bool, int, float or str
    help: str  # with the unit where there is one
    choices: tuple[str, ...] = ()
    low: float | None = None  # smallest number allowed
    high: float | None = None  # largest number allowed

    def parse(self, text: str) -> Any:
        """Turn `text` into a value. Raises OptionError naming the option and what is allowed."""
        kind = type(self.default)
        try:
            value = _boolean(text) if kind is bool else kind(text)
        except ValueError:
            raise OptionError(f"option {self.name}={text}: not {self.allowed()}") from None
        outside = kind in (int, float) and not (
            (self.low is None or value >= self.low) and (self.high is None or value <= self.high)
        )
        if outside or (self.choices and value not in self.choices):
            raise OptionError(f"option {self.name}={text}: not {self.allowed()}")
        return value

    def allowed(self) -> str:
        """Describe the values it takes."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        kind = {bool: "0 or 1", int: "a whole number", float: "a number", str: "a text"}
        text = kind[type(self.default)]
        if self.low is not None and self.high is not None:
            return f"{text} from {self.low:g} to {self.high:g}"
        return text if self.low is None else f"{text} of at least {self.low:g}"


def _boolean(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True}
    known |= {"0": False, "false": False, "no": False, "off": False}
    if text.lower() not in known:
        raise ValueError(text)
    return known[text.lower()]


def parse_spec(text: str) -> tuple[str, dict[str, str]]:
    r"""Split "name:key=value:key=value"; a colon or backslash in a value is written `\:`, `\\`.

    Raises OptionError.
    """
    parts = re.findall(r"(?s)(?:^|:)((?:\\.|[^:\\])*)", text)
    name, *pairs = parts
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name) or ":".join(parts) != text:
        raise OptionError(f"engine {text!r}: write NAME or NAME:key=value:key=value")
    options: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise OptionError(f"engine {text!r}: {pair!r} is not key=value")
        if key in options:
            raise OptionError(f"engine {text!r}: {key} is given twice")
        options[key] = re.sub(r"(?s)\\(.)", r"\1", value)
    return name, options


def format_spec(name: str, options: Mapping[str, str]) -> str:
    """Write what `parse_spec` reads."""

    def escape(value: str) -> str:
        return re.sub(r"([:\\])", r"\\\1", value)

    return ":".join([name, *(f"{key}={escape(value)}" for key, value in options.items())])


def parse_bytes(text: str) -> int:
    """Read a size such as 512M, 4G, 1.5GiB or 300000000 (bytes). Raises OptionError."""
    pattern = r"(?ai)(\d{1,18}(?:\.\d{1,9})?)\s*([KMGT]?)(?:i?B)?"
    match = re.fullmatch(pattern, text.strip())
    if not match:
        raise OptionError(f"size {text!r}: write bytes, or a number with K, M or G: 512M, 4G")
    power = " KMGT".index(match[2].upper() or " ")
    return int(Fraction(match[1]) * 1024**power)


def parse_time(text: str) -> Fraction:
    """Read seconds as FFmpeg writes them: 12.5, 250ms, 01:30, 1:02:03.5. Raises OptionError."""
    pattern = r"(?a)(?:(?:(\d{1,6}):)?(\d{1,6}):)?(\d{1,12}(?:\.\d{1,12})?)(s|ms|us)?"
    match = re.fullmatch(pattern, text.strip())
    if not match or (match[4] and match[2]):
        raise OptionError(f"time {text!r}: write seconds or HH:MM:SS.mmm")
    scale = {None: 1, "s": 1, "ms": 1000, "us": 1000000}[match[4]]
    return Fraction(match[3]) / scale + 60 * int(match[2] or 0) + 3600 * int(match[1] or 0)


def parse_spans(text: str) -> tuple[Span, ...]:
    """Read 1.5:3.5, or 0:01:30-0:01:32; several are separated by commas. Raises OptionError.

    Both ends are written as `parse_time` reads them; between two with colons a dash is clearer,
    but a colon will do where both have as many fields.
    """
    return tuple(_span(part) for part in text.split(","))


def spans_of(value: str | Iterable[Sequence[object]]) -> tuple[Span, ...]:
    """Read spans as a program gives them: as text, or as pairs of seconds. Raises OptionError."""
    if isinstance(value, str):
        return parse_spans(value)
    try:
        return tuple((seconds_of(begin), seconds_of(end)) for begin, end in value)
    except OptionError:
        raise
    except (TypeError, ValueError):
        raise OptionError(f"spans {value!r}: give pairs of seconds, as [(1.5, 3.5)]") from None


def seconds_of(value: object) -> Fraction:
    """Read seconds as a program gives them: a number, or text as for `parse_time`.

    Raises OptionError.
    """
    if isinstance(value, (int, float, Fraction)):
        try:
            return Fraction(value).limit_denominator(10**9)
        except (ValueError, OverflowError):
            raise OptionError(f"time {value}: give seconds") from None
    return parse_time(str(value))


def _span(text: str) -> Span:
    ends = text.split("-")
    if len(ends) == 1:
        fields = text.split(":")
        half, odd = divmod(len(fields), 2)
        ends = [] if odd else [":".join(fields[:half]), ":".join(fields[half:])]
    if len(ends) != 2 or not all(ends):
        raise OptionError(f"span {text!r}: write BEGIN:END in seconds, or HH:MM:SS-HH:MM:SS")
    return parse_time(ends[0]), parse_time(ends[1])


def parse_size(text: str) -> tuple[int, int]:
    """Read a picture size in pixels: 1920x1080, or FFmpeg's name for one. Raises OptionError."""
    match = re.fullmatch(r"(?a)(\d{1,6})x(\d{1,6})", SIZES.get(text, text))
    if not match or 0 in (int(match[1]), int(match[2])):
        raise OptionError(f"size {text!r}: write WIDTHxHEIGHT, such as 1920x1080")
    return int(match[1]), int(match[2])


def parse_lora(text: str) -> tuple[str, float]:
    """Read PATH or PATH:STRENGTH. Raises OptionError."""
    path, _, tail = text.rpartition(":")
    if not path or not re.fullmatch(r"(?a)[-+]?\d*\.?\d+", tail):
        path, tail = text, "1"
    if not path:
        raise OptionError("--lora: write PATH or PATH:STRENGTH, such as style.safetensors:0.8")
    return path, float(tail)


def parse_threads(text: str) -> int:
    """Read the value of -threads. Raises OptionError."""
    if not re.fullmatch(r"(?a)\d{1,6}", text) or not 1 <= int(text) <= MAX_THREADS:
        raise OptionError(f"-threads {text}: write a whole number from 1 to {MAX_THREADS}")
    return int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputOptions:
    """What to read, and how to understand it."""

    path: str = "-"  # "-" is standard input
    format: str | None = None  # FFmpeg's demuxer name; None sniffs
    width: int | None = None  # pixels, of headerless video
    height: int | None = None
    pix_fmt: str | None = None  # of headerless video
    rate: Fraction | None = None  # frames per second; stamps in the file are not believed then
    start: Fraction | None = None  # -ss, seconds
    duration: Fraction | None = None  # -t, seconds
    end: Fraction | None = None  # -to, seconds
    hwaccel: str | None = None
    deinterlace: str = "auto"  # auto, on, off
    threads: int | None = None  # decoder threads


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """What to write, and how."""

    path: str = "-"  # "-" is standard output
    format: str | None = None  # FFmpeg's muxer name; None goes by the file's name
    overwrite: bool | None = None  # None refuses, and says how to allow it
    codec: str | None = None  # FFmpeg's video encoder name; None goes by the container
    pix_fmt: str | None = None  # None keeps the stream's own if the encoder takes it
    encoder: Mapping[str, str] = field(default_factory=dict)  # crf, preset, b, g, x265-params, ...
    muxer: Mapping[str, str] = field(default_factory=dict)  # movflags, ...
    audio: bool = True
    subtitles: bool = True
    data: bool = True
    maps: tuple[str, ...] = ()  # FFmpeg's stream specifiers: "0", "0:a:1", "-0:s"
    color: Mapping[str, str] = field(default_factory=dict)  # colorspace, color_range, ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Where the LTX engines find their models, and what runs them."""

    checkpoint: str | None = None  # an LTX-2 checkpoint
    spatial_upsampler: str | None = None
    temporal_upsampler: str | None = None
    context: str | None = None  # an encoded prompt
    tiny_vae: str | None = None  # a small autoencoder for the checkpoint's latents
    gemma: str | None = None  # folder of the text encoder
    loras: tuple[tuple[str, float], ...] = ()  # file and strength, fused in this order
    distilled_lora: tuple[str, float] | None = None  # fused too, for the last steps alone
    device: str | None = None  # auto (default), cpu, cuda or cuda:N


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything that a run is asked to do."""

    input: InputOptions = field(default_factory=InputOptions)
    output: OutputOptions = field(default_factory=OutputOptions)
    fps: str = "auto"  # auto, source, 2x or a rate
    engine: str = "auto"  # NAME or NAME:key=value
    models: ModelOptions = field(default_factory=ModelOptions)
    speed: Fraction = Fraction(1)  # below 1 plays slower
    cuts: bool = True
    repeats: str = "report"  # report, smooth
    redraw: tuple[Span, ...] = ()  # of the input, on -ss's clock: frames to draw anew
    conceal: bool = True  # draw source frames anew that the decoder calls damaged
    memory: int = DEFAULT_MEMORY  # bytes
    threads: int = field(default_factory=lambda: available_threads())
    strict: bool = False  # damaged input is an error
    max_latency: Fraction | None = None  # seconds that a live source's output may be late
    report: str | None = None  # the file that says what happened, as JSON

    def __post_init__(self) -> None:
        """Refuse what a program may ask for by mistake. Raises OptionError."""
        if not 1 <= self.threads <= MAX_THREADS:
            raise OptionError(f"threads {self.threads}: give a number from 1 to {MAX_THREADS}")
        if not LEAST_SPEED <= self.speed <= 1 / LEAST_SPEED:
            raise OptionError(f"speed {self.speed}: give a number from 0.01 to 100")
        if self.max_latency is not None:
            self._check_latency(self.max_latency)
        if self.repeats not in ("report", "smooth"):
            raise OptionError(f"repeats {self.repeats!r}: give report or smooth")

    def _check_latency(self, bound: Fraction) -> None:
        if bound <= 0:
            raise OptionError(f"--max-latency {float(bound):g}: give seconds above 0, or 500ms")
        if self.speed != 1:
            raise OptionError("--max-latency is for live video, which --speed cannot keep up with")

    @property
    def target(self) -> OutputOptions:
        """The output as it can be made: at another speed sound and subtitles would not fit."""
        if self.speed == 1:
            return self.output
        return replace(self.output, audio=False, subtitles=False, data=False)


def available_threads() -> int:
    """Return how many CPUs this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        return os.cpu_count() or 1
