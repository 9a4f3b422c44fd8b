"""What a run is asked to do, and the `name:key=value:key=value` language for engines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from ltxfilter.errors import OptionError
from ltxfilter.values import MAX_THREADS, Span

DEFAULT_MEMORY = 2 << 30  # bytes
LEAST_SPEED = Fraction(1, 100)


@dataclass(frozen=True, slots=True)
class EngineOption:
    """One option of an engine: how it is written, checked and explained."""

    name: str
    default: Any  # its type is the option's: bool, int, float or str
    help: str  # with the unit where there is one
    choices: tuple[str, ...] = ()
    low: float | None = None  # smallest number allowed
    high: float | None = None  # largest number allowed
    expert: bool = False  # True: only `ltxfilter engines --all` lists it

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
