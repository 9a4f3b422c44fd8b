"""Seconds around chosen moments, made as a run makes them and shown slowly beside the source."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from fractions import Fraction
from time import perf_counter

from ltxfilter.compare.candidates import as_host
from ltxfilter.compare.pictures.video import PanelsVideo
from ltxfilter.compare.preview.hardest import hardest_moments
from ltxfilter.errors import InputError, OptionError
from ltxfilter.frame import Frame, VideoInfo
from ltxfilter.media.base import Source
from ltxfilter.media.opening import open_source
from ltxfilter.media.output_name import RunFile, refuse_shared
from ltxfilter.options import InputOptions, ModelOptions, Options
from ltxfilter.pipeline.frame_path import FramePath
from ltxfilter.pipeline.progress import Progress
from ltxfilter.refusals import refusals_named
from ltxfilter.windows.timeline import output_rate

log = logging.getLogger("ltxfilter.compare")

BEFORE = "before"  # label of the source
LONGEST = Fraction(60)  # seconds around one moment
MOST_MOMENTS = 20
OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewOptions:
    """What `ltxfilter preview` is asked to do."""

    input: str
    """The video to look at."""

    output: str
    """The file to write."""

    engines: tuple[str, ...]
    """Specs, as --engine takes them; one or more."""

    at: tuple[Fraction, ...] = ()
    """Moments, seconds as -ss counts them."""

    worst: int = 0
    """How many moments to find besides, those that the estimate finds hardest."""

    seconds: Fraction = Fraction(3)
    """How much is shown around each moment."""

    speed: Fraction = Fraction(1, 4)
    """How fast it is shown; 1 is as in the video."""

    fps: str = "auto"
    """The output's rate, as a run takes it, before it is slowed down."""

    overwrite: bool = False
    """Whether an existing file is replaced."""

    models: ModelOptions = field(default_factory=ModelOptions)
    """Files for engines."""

    def __post_init__(self) -> None:
        """Refuse what makes no preview. Raises OptionError."""
        if not self.at and not self.worst:
            raise OptionError("name a moment with --at 00:01:20, or find some with --worst")
        if not 0 < self.seconds <= LONGEST:
            raise OptionError(f"--seconds {float(self.seconds):g}: write up to {LONGEST} seconds")
        if not 0 <= self.worst <= MOST_MOMENTS:
            raise OptionError(f"--worst {self.worst}: write a whole number up to {MOST_MOMENTS}")
        if self.fps == "source":
            raise OptionError("--fps source: a preview needs one rate; write 2x, or 60")
        if not self.engines:
            raise OptionError("name at least one engine with --engines")


@refusals_named()
def make_preview(
    options: PreviewOptions, on_progress: OnProgress | None = None
) -> tuple[Fraction, ...]:
    """Write the preview; return its moments, in seconds, in the order in which they are shown.

    on_progress: called with the running counts. Raises LtxFilterError.
    """
    moments = list(options.at)
    refuse_shared([RunFile(options.output, "the output")], [RunFile(options.input, "the input")])
    _check_moments(options)
    if options.worst:
        moments += hardest_moments(options.input, options.worst, options.seconds, on_progress)
    with ExitStack() as stack:
        writer: _Writer | None = None
        for moment in moments:
            begin = max(moment - options.seconds / 2, Fraction(0))
            reading = InputOptions(
                path=options.input, start=begin, duration=options.seconds, autorotate=True
            )
            with closing(open_source(reading)) as source:
                if writer is None:
                    writer = _Writer(options, source.info, len(moments))
                    stack.enter_context(writer.video)
                writer.add(source, on_progress)
        assert writer is not None
        writer.video.finish()
    return tuple(moments)


def _check_moments(options: PreviewOptions) -> None:
    """Raise InputError for a moment at which the video has ended, as far as that is known."""
    with closing(open_source(InputOptions(path=options.input))) as source:
        duration, name = source.duration, source.name
    for moment in options.at:
        if duration is not None and moment >= duration:
            raise InputError(
                f"{name}: lasts {time_text(float(duration))}; --at {time_text(float(moment))} is "
                "beyond its end"
            )


class _Writer:
    """Runs the engines over one stretch after another."""

    def __init__(self, options: PreviewOptions, info: VideoInfo, count: int) -> None:
        """Claim the file. info: of the source. count: of stretches. Raises OutputError."""
        rate = output_rate(options.fps, info.rate)
        assert rate is not None  # PreviewOptions refuses what has none
        self._rate = rate
        if rate == info.rate:
            log.warning(
                "%s has %g frames per second already, and --fps %s adds none; try --fps 2x",
                options.input,
                rate,
                options.fps,
            )
        self._options, self._info = options, info
        self._names = (BEFORE, *options.engines)
        self._wanted = count * options.seconds * self._rate  # frames, about
        self._count = 0
        self._began = perf_counter()
        self.video = PanelsVideo(
            options.output,
            options.input,
            info,
            len(self._names),
            self._rate * options.speed,
            overwrite=options.overwrite,
        )

    def add(self, source: Source, on_progress: OnProgress | None) -> None:
        """Add the frames of a stretch. Raises LtxFilterError."""
        with ExitStack() as stack:
            paths = [stack.enter_context(closing(self._path(name))) for name in self._names]
            waiting: list[list[Frame]] = [[] for _ in paths]
            for frame in source.frames():
                for path, queue in zip(paths, waiting, strict=True):
                    queue += path.push(frame)
                self._write(source.clock, waiting)
                self._report(on_progress)
            for path, queue in zip(paths, waiting, strict=True):
                queue += path.finish()
            self._write(source.clock, waiting)

    def _path(self, name: str) -> FramePath:
        engine = "hold" if name == BEFORE else name
        return FramePath(
            self._info, self._rate, Options(engine=engine, models=self._options.models)
        )

    def _write(self, clock: Fraction, waiting: Sequence[list[Frame]]) -> None:
        """Write the frames that all paths have delivered. clock: see `Source`."""
        ready = min(map(len, waiting))
        for row in zip(*(queue[:ready] for queue in waiting), strict=True):
            labels = [f"{BEFORE}, {time_text(float(row[0].time - clock))}"]
            for name, frame in zip(self._names[1:], row[1:], strict=True):
                labels.append(f"{name}, {_mark(frame)}")
            self.video.write([as_host(frame.planes) for frame in row], labels)
            self._count += 1
        for queue in waiting:
            del queue[:ready]

    def _report(self, on_progress: OnProgress | None) -> None:
        if on_progress is not None:
            on_progress(
                Progress(
                    passed=self._count,
                    out_time=self._count / self._rate,
                    duration=self._wanted / self._rate,
                    rate=self._rate,
                    elapsed=perf_counter() - self._began,
                )
            )


def _mark(frame: Frame) -> str:
    """Return what is to be said of an output frame."""
    if frame.psnr_db is None:
        return frame.made.value
    return f"{frame.made.value}, estimate {frame.psnr_db:.0f} dB"


def time_text(seconds: float) -> str:
    """Write a time of the video as MM:SS.mmm, or as HH:MM:SS.mmm."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours:02d}:{minutes:02d}:{rest:06.3f}" if hours else f"{minutes:02d}:{rest:06.3f}"
