"""What a run is asked to do: every option with its unit and range, normalised and checked once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from ltxfilter.errors import OptionError
from ltxfilter.normalize import (
    aspect_of,
    bytes_of,
    choice_of,
    fps_of,
    instance_of,
    lora_of,
    loras_of,
    mapping_of,
    normalize_fields,
    optional,
    path_of,
    paths_of,
    port_of,
    rate_of,
    resume_of,
    scale_of,
    seconds_of,
    segment_seconds_of,
    spans_of,
    speed_of,
    switch_of,
    text_of,
    texts_of,
    threads_of,
    whole_of,
    workers_of,
)
from ltxfilter.values import (
    HIDDEN,
    SECRET_OPTIONS,
    SEGMENT_SECONDS,
    Span,
    parse_scalar,
    scheme_of,
    shown_name,
)


@dataclass(frozen=True, slots=True)
class EngineOption:
    """One option of an engine: how it is written, checked and explained."""

    name: str
    default: Any  # its type is the option's: bool, int, float or str
    help: str  # a whole sentence, with the unit where there is one
    choices: tuple[str, ...] = ()
    low: float | None = None  # smallest number allowed
    high: float | None = None  # largest number allowed
    expert: bool = False  # True: only `ltxfilter engines --all` lists it

    def parse(self, text: str) -> Any:
        """Turn `text` into a value. Raises OptionError naming the option and what is allowed."""
        kind = type(self.default)
        try:
            value = parse_scalar(kind, text)
        except OptionError:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class InputOptions:
    """What to read, and how to understand it."""

    path: str = "-"  # "-" is standard input
    format: str | None = None  # FFmpeg's demuxer name; None goes by the first bytes
    width: int | None = None  # pixels, of headerless video
    height: int | None = None  # pixels, of headerless video
    pix_fmt: str | None = None  # FFmpeg's name, of headerless video
    rate: Fraction | None = None  # frames per second; the file's own time stamps are ignored then
    start: Fraction | None = None  # -ss, seconds
    duration: Fraction | None = None  # -t, seconds
    end: Fraction | None = None  # -to, seconds
    from_end: Fraction | None = (
        None  # -sseof without its sign: start so many seconds before the end
    )
    hwaccel: str | None = None  # FFmpeg's name of a hardware decoder; auto takes what works
    hwaccel_device: str | None = None  # which of several devices: a number, or a name in /dev
    deinterlace: str = "auto"  # auto, on or off
    autorotate: bool | None = None  # turn pictures; None: where the output cannot say how they lie
    threads: int | None = None  # decoder threads; None or 0 lets us choose
    demuxer: Mapping[str, str] = field(default_factory=dict)  # probesize, start_number, ...
    maps: tuple[str, ...] = ()  # stream specifiers among which the video is; a run has its output's
    pace: Fraction | None = None  # read at most so many times as fast as it plays; None: at once
    shortest: bool = False  # end with the shortest of video and sound
    keep_times: bool = False  # -copyts: refuse an input whose times the output would not have

    def __post_init__(self) -> None:
        """Normalise every field. Raises OptionError."""
        normalize_fields(
            self,
            {
                "path": path_of,
                "format": optional(text_of),
                "width": optional(whole_of),
                "height": optional(whole_of),
                "pix_fmt": optional(text_of),
                "rate": optional(rate_of),
                "start": optional(seconds_of),
                "duration": optional(seconds_of),
                "end": optional(seconds_of),
                "from_end": optional(seconds_of),
                "hwaccel": optional(text_of),
                "hwaccel_device": optional(text_of),
                "deinterlace": choice_of("auto", "on", "off"),
                "autorotate": optional(switch_of),
                "threads": optional(threads_of),
                "demuxer": mapping_of,
                "maps": texts_of,
                "pace": optional(speed_of),
                "shortest": switch_of,
                "keep_times": switch_of,
            },
        )
        if self.threads == 0:
            object.__setattr__(self, "threads", None)
        if self.duration is not None and self.end is not None:
            raise OptionError("options duration and end contradict each other; give one of them")
        if self.from_end is not None and (self.start, self.end) != (None, None):
            raise OptionError("option from_end: give no start or end with it")

    @property
    def shown(self) -> str:
        """The path as messages show it: an address without its secrets."""
        return shown_name(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """What to write, and how."""

    path: str = "-"  # "-" is standard output
    format: str | None = None  # FFmpeg's muxer name; None goes by the file's name
    overwrite: bool | None = None  # None refuses, and says how to allow it
    codec: str | None = None  # FFmpeg's video encoder name; None goes by the container
    pix_fmt: str | None = None  # None: the stream's own, or what players of the container take
    tag: str | None = None  # four characters by which the container calls the codec, such as hvc1
    scale: Fraction | None = None  # output side over source side: 2 or 3/2; None keeps the size
    aspect: Fraction | None = None  # of the display, width over height; None keeps the source's
    encoder: Mapping[str, str] = field(default_factory=dict)  # crf, preset, b, g, x265-params, ...
    muxer: Mapping[str, str] = field(default_factory=dict)  # movflags, ...
    audio: bool = True  # False leaves audio streams out
    subtitles: bool = True  # False leaves subtitles out
    data: bool = True  # False leaves data streams out
    maps: tuple[str, ...] = ()  # FFmpeg's stream specifiers: "0", "0:a:1", "-0:s"
    color: Mapping[str, str] = field(default_factory=dict)  # colorspace, color_range, ...
    tags: bool = True  # False leaves out the input's tags: of the file, its streams and chapters
    chapters: bool = True  # False leaves chapters out
    metadata: Mapping[str, str] = field(default_factory=dict)  # title, s:a:0:language, ...
    disposition: Mapping[str, str] = field(default_factory=dict)  # a:0 -> default, s -> 0, ...
    frames: int | None = None  # end after so many output frames
    shortest: bool = False  # end with the shortest of video and sound
    provenance: str = "short"  # what tags say of how it was made: none, short, or full
    made_by: str = ""  # that text; a run fills it in

    def __post_init__(self) -> None:
        """Normalise every field. Raises OptionError."""
        normalize_fields(
            self,
            {
                "path": path_of,
                "format": optional(text_of),
                "overwrite": optional(switch_of),
                "codec": optional(text_of),
                "pix_fmt": optional(text_of),
                "tag": optional(text_of),
                "scale": optional(scale_of),
                "aspect": optional(aspect_of),
                "encoder": mapping_of,
                "muxer": mapping_of,
                "audio": switch_of,
                "subtitles": switch_of,
                "data": switch_of,
                "maps": texts_of,
                "color": mapping_of,
                "tags": switch_of,
                "chapters": switch_of,
                "metadata": mapping_of,
                "disposition": mapping_of,
                "frames": optional(whole_of),
                "shortest": switch_of,
                "provenance": choice_of("none", "short", "full"),
                "made_by": text_of,
            },
        )

    @property
    def shown(self) -> str:
        """The path as messages show it: an address without its secrets."""
        return shown_name(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Where engines find their models, and what runs them."""

    models: str | None = None  # folder that is searched for what the other fields leave open
    checkpoint: str | None = None  # file: an LTX-2 checkpoint, of one or several parts
    transformer: str | None = None  # file or folder: goes before the checkpoint's transformer
    vae: str | None = None  # file or folder: goes before the checkpoint's autoencoder
    text_projection: str | None = None  # file or folder: goes before the checkpoint's
    spatial_upsampler: str | None = None  # file: the spatial latent upsampler
    temporal_upsampler: str | None = None  # file: the temporal latent upsampler
    context: str | None = None  # file: an encoded prompt
    prompt: str | None = None  # text that is encoded for the run, in place of a context
    tiny_vae: str | None = None  # file: a small autoencoder for the checkpoint's latents
    gemma: str | None = None  # folder or file of the text encoder
    loras: tuple[tuple[str, float], ...] = ()  # files and strengths, fused in this order
    distilled_lora: tuple[str, float] | None = None  # fused as well, for the last steps alone
    onnx_model: str | None = None  # file: a two-frame network in ONNX, for the engine onnx
    device: str | None = None  # auto (default), cpu, cuda or cuda:N

    def __post_init__(self) -> None:
        """Normalise every field. Raises OptionError."""
        paths = (
            "models", "checkpoint", "transformer", "vae", "text_projection", "spatial_upsampler",
            "temporal_upsampler", "context", "tiny_vae", "gemma", "onnx_model",
        )  # fmt: skip
        normalize_fields(
            self,
            {
                **dict.fromkeys(paths, optional(path_of)),
                "loras": loras_of,
                "distilled_lora": optional(lora_of),
                **dict.fromkeys(("device", "prompt"), optional(text_of)),
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """How a long job is cut into segments, and what works on them."""

    resume: str = "no"  # no, yes: keep what is done and carry on, restart: begin anew
    workers: int | None = None  # processes; 0: as many as pay; None: this one, unless resume or ray
    ray: str | None = None  # the address of a Ray cluster; auto starts or joins one
    segment_seconds: int = SEGMENT_SECONDS  # of a segment, a multiple of 10
    work_dir: str | None = None  # where segments are kept; None: beside the output
    command: tuple[str, ...] = field(default=(), compare=False)  # to carry on, for messages

    def __post_init__(self) -> None:
        """Normalise every field. Raises OptionError."""
        normalize_fields(
            self,
            {
                "resume": resume_of,
                "workers": optional(workers_of),
                "ray": optional(text_of),
                "segment_seconds": segment_seconds_of,
                "work_dir": optional(path_of),
                "command": texts_of,
            },
        )

    @property
    def wanted(self) -> bool:
        """True if the run is cut into segments."""
        return self.resume != "no" or self.workers is not None or self.ray is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything that a run is asked to do; normalised and checked once, here.

    Every field takes the text that the command line takes for it, too: `memory="512M"`.
    """

    input: InputOptions = field(default_factory=InputOptions)
    output: OutputOptions = field(default_factory=OutputOptions)
    fps: str = "auto"  # auto, source, a multiple such as 2x, or a rate
    engine: str = "auto"  # NAME or NAME:key=value
    models: ModelOptions = field(default_factory=ModelOptions)
    speed: Fraction = Fraction(1)  # 0.01..100; below 1 plays slower
    cuts: bool = True  # False interpolates across scene cuts
    repeats: str = "report"  # report, or smooth: a run of up to 3 equal frames counts as one
    redraw: tuple[Span, ...] = ()  # seconds as -ss counts them: frames to interpolate anew; merged
    conceal: bool = True  # interpolate source frames anew that the decoder calls damaged
    memory: int | None = None  # bytes; None takes what the job needs, within the machine's bounds
    threads: int = field(default_factory=lambda: available_threads())  # to interpolate; 0: per CPU
    strict: bool = False  # True: damaged input is an error
    max_latency: Fraction | None = None  # seconds that a live source's output may be late
    report: tuple[str, ...] = ()  # files that say what happened: JSON, or pages named .html
    live_view: int | None = None  # the port of this machine at which a run shows how it goes
    job: JobOptions = field(default_factory=JobOptions)

    def __post_init__(self) -> None:
        """Normalise every field and refuse what contradicts itself. Raises OptionError."""
        normalize_fields(
            self,
            {
                "input": instance_of(InputOptions),
                "output": instance_of(OutputOptions),
                "fps": fps_of,
                "engine": text_of,
                "models": instance_of(ModelOptions),
                "speed": speed_of,
                "cuts": switch_of,
                "repeats": choice_of("report", "smooth"),
                "redraw": spans_of,
                "conceal": switch_of,
                "memory": optional(bytes_of),
                "threads": threads_of,
                "strict": switch_of,
                "max_latency": optional(seconds_of),
                "report": paths_of,
                "live_view": optional(port_of),
                "job": instance_of(JobOptions),
            },
        )
        if self.threads == 0:
            object.__setattr__(self, "threads", available_threads())
        if self.job.wanted and self.input.pace is not None:
            raise OptionError("-re is for live video; leave out --resume, --workers and --ray")
        if self.job.wanted:
            self._refuse_addresses()
        if self.max_latency is None:
            return
        if self.job.wanted:
            raise OptionError("--max-latency is for live video; leave out --resume and --workers")
        if self.max_latency <= 0:
            given = f"{float(self.max_latency):g}"
            raise OptionError(f"--max-latency {given}: give seconds above 0, or 500ms")
        if self.speed != 1:
            raise OptionError("--max-latency is for live video, which --speed cannot keep up with")

    def _refuse_addresses(self) -> None:
        """Refuse a job whose input cannot be read again, or whose output cannot be joined."""
        for path in (self.input.path, self.output.path):
            if scheme_of(path) is not None:
                raise OptionError(
                    f"{shown_name(path)}: an address of the network is read or written once; leave "
                    "out --resume, --workers and --ray"
                )

    @property
    def target(self) -> OutputOptions:
        """The output as it can be made: at another speed sound and subtitles would not fit."""
        if self.speed == 1:
            return self.output
        return replace(self.output, audio=False, subtitles=False, data=False)

    @property
    def shareable(self) -> Options:
        """The same without secrets: users, passwords, keys and headers of addresses are hidden."""
        read, written = self.input, self.output
        return replace(
            self,
            input=replace(read, path=read.shown, demuxer=_hidden(read.demuxer)),
            output=replace(written, path=written.shown, muxer=_hidden(written.muxer)),
            job=replace(self.job, command=()),
        )

    @property
    def longest_redraw(self) -> Fraction:
        """Seconds of the longest span of `redraw`; 0 if there is none."""
        return max((end - begin for begin, end in self.redraw), default=Fraction(0))


def _hidden(options: Mapping[str, str]) -> dict[str, str]:
    """Return options of libav without the values that are secret."""
    return {name: HIDDEN if name in SECRET_OPTIONS else value for name, value in options.items()}


def available_threads() -> int:
    """Return how many CPUs this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows
        return os.cpu_count() or 1
