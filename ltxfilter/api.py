"""The same path for frames already in Python: push and pull, or iterate; no files, no threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, Self

from ltxfilter.errors import InputError, OptionError
from ltxfilter.frame import Frame, VideoInfo
from ltxfilter.media.python_pictures import ArrayPictures, FramePictures
from ltxfilter.options import InputOptions, ModelOptions, Options, OutputOptions
from ltxfilter.pipeline.latency import Live
from ltxfilter.pipeline.progress import Progress
from ltxfilter.pipeline.run import OnProgress, run
from ltxfilter.pipeline.stages import drawn
from ltxfilter.values import parse_rate, seconds_of, spans_of
from ltxfilter.windows.cuts import CutDetector
from ltxfilter.windows.missing import LONGEST_MISSING, MissingFrames, hidden, merged
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.timeline import output_rate


class FramePath:
    """Frames in, output frames out, in this thread: the core of everything below."""

    def __init__(self, info: VideoInfo, rate: Fraction | None, options: Options) -> None:
        live = Live(options)
        self._spans = merged(options.redraw)
        self._worker = live.open_worker(info, rate)
        self.latency = live.latency(self._worker.shape, info).seconds
        bound = live.longest_hole(self._worker, info)
        longest = LONGEST_MISSING if bound is None else bound
        detector = CutDetector(info, cuts=options.cuts)
        self._rolling = RollingWindow(
            self._worker.shape,
            rate,
            detector,
            info.interval,
            options.repeats,
            hiding=MissingFrames(options.conceal, longest, detector.apart),
        )

    def push(self, frame: Frame) -> Iterator[Frame]:
        """Yield the output frames that `frame` completes."""
        return drawn(self._rolling.push(hidden(frame, self._spans)), self._worker)

    def finish(self) -> Iterator[Frame]:
        """Yield the rest."""
        return drawn(self._rolling.finish(), self._worker)

    def close(self) -> None:
        """Release the engine."""
        self._worker.close()


class Interpolator:
    """Raises the frame rate of `av.VideoFrame`s, pushed and pulled as in `av.filter.Graph`.

    fps: "auto", "source", "2x", or a rate as int, Fraction or text. fps_in: the source's rate,
    where frames do not tell their duration. Source frames come back with untouched samples; all
    that come back have pts counted in 1 / fps. models: files for the ltx engines. redraw: spans of
    the frames' own time, as pairs of seconds, to draw anew. conceal: draw frames anew that their
    decoder calls damaged. max_latency: seconds that `pull` may be behind `push`; what an engine
    cannot do without more is refused with OptionError at the first frame.
    """

    def __init__(
        self,
        fps: object = "auto",
        *,
        fps_in: object = None,
        engine: str = "auto",
        cuts: bool = True,
        repeats: str = "report",
        models: ModelOptions | None = None,
        redraw: str | Iterable[Sequence[object]] = (),
        conceal: bool = True,
        max_latency: object = None,
    ) -> None:
        self._fps = str(fps)
        self._fps_in = None if fps_in is None else parse_rate(str(fps_in))
        self._options = Options(
            engine=engine,
            cuts=cuts,
            repeats=repeats,
            models=models or ModelOptions(),
            redraw=merged(spans_of(redraw)),
            conceal=conceal,
            max_latency=None if max_latency is None else seconds_of(max_latency),
            threads=1,
        )
        self._path: FramePath | None = None
        self._ready: deque[Frame] = deque()
        self._ended = False
        self._kind = FramePictures()
        self._info: VideoInfo | None = None
        self._rate: Fraction | None = None
        self._count = 0  # frames pushed without a time of their own
        self._given = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def push(self, frame: Any) -> None:
        """Take the next source frame, or None at the end of the stream.

        Raises InputError for a frame unlike the first one or out of order, EOFError after None.
        """
        if self._ended:
            raise EOFError("the end of the stream was pushed already")
        if frame is None:
            self._ended = True
            if self._path is not None:
                self._ready.extend(self._path.finish())
            return
        path = self._path or self._open(frame)
        assert self._info is not None
        self._ready.extend(path.push(self._kind.frame(frame, self._time(frame), self._info)))

    def pull(self) -> Any:
        """Return the next output frame, its pts set.

        Raises BlockingIOError if more input is needed first, EOFError after the last frame.
        """
        if not self._ready or self._info is None:
            if self._ended:
                raise EOFError("no frame is left")
            raise BlockingIOError("push the next frame first")
        frame = self._ready.popleft()
        number, self._given = self._given, self._given + 1
        picture = self._kind.picture(frame, self._info)
        if self._rate is None:
            picture.time_base = Fraction(frame.origin.time_base) / 2
            picture.pts = round(frame.time / picture.time_base)
        else:
            picture.pts, picture.time_base = number, 1 / self._rate
        return picture

    def frames(self) -> Iterator[Any]:
        """Yield the output frames that are ready."""
        while self._ready:
            yield self.pull()

    @property
    def latency(self) -> Fraction | None:
        """Seconds from a frame's push until it is sure to be there; None before the first one."""
        return None if self._path is None else self._path.latency

    def close(self) -> None:
        """Release the engine; calling it twice does nothing."""
        if self._path is not None:
            self._path.close()

    def _open(self, frame: Any) -> FramePath:
        self._info = self._kind.info(frame, self._fps_in)
        self._rate = output_rate(self._fps, self._info.rate)
        self._path = FramePath(self._info, self._rate, self._options)
        return self._path

    def _time(self, frame: Any) -> Fraction:
        """Return when `frame` is shown, counting frames that do not say."""
        if frame.pts is not None and frame.time_base:
            return Fraction(frame.pts * frame.time_base)
        assert self._info is not None
        if self._info.rate is None:
            raise InputError("frames without pts need fps_in")
        self._count += 1
        return (self._count - 1) / self._info.rate


def interpolate(
    frames: Iterable[Any],
    fps_in: object,
    fps_out: object = "auto",
    *,
    engine: str = "auto",
    cuts: bool = True,
    repeats: str = "report",
    models: ModelOptions | None = None,
    redraw: str | Iterable[Sequence[object]] = (),
) -> Iterator[Any]:
    """Yield pictures at `fps_out` from pictures at `fps_in`.

    frames: numpy arrays or torch tensors of one shape, [H, W], [H, W, C] or [C, H, W] with C of
    1, 3 (RGB) or 4 (RGBA); uint8, uint16, or floats from 0 to 1. Source pictures come back as the
    same objects, drawn ones as the same kind on the same device. models: files for the ltx
    engines. redraw: spans from the first picture, as pairs of seconds, to draw anew. Raises
    InputError, OptionError.
    """
    rate_in = parse_rate(str(fps_in))
    rate_out = output_rate(str(fps_out), rate_in)
    if rate_out is None:
        raise OptionError('fps_out="source" needs frames with times; use "2x"')
    options = Options(
        engine=engine,
        cuts=cuts,
        repeats=repeats,
        models=models or ModelOptions(),
        redraw=merged(spans_of(redraw)),
        threads=1,
    )
    kind, path, info = ArrayPictures(), None, None
    try:
        for number, picture in enumerate(frames):
            if path is None or info is None:
                info = kind.info(picture, rate_in)
                path = FramePath(info, rate_out, options)
            for frame in path.push(kind.frame(picture, number / rate_in, info)):
                yield kind.picture(frame, info)
        if path is not None and info is not None:
            for frame in path.finish():
                yield kind.picture(frame, info)
    finally:
        if path is not None:
            path.close()


def convert(
    input: str | FramePath,  # noqa: A002
    output: str | FramePath,
    *,
    fps: object = "auto",
    engine: str = "auto",
    video: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    on_progress: OnProgress | None = None,
    **options: Any,
) -> Progress:
    """Raise the frame rate of a file; audio and everything else in the container is kept.

    fps: "auto", "source", "2x", or a rate as int, Fraction or text. engine: "NAME:key=value".
    video: "codec", "pix_fmt", and the encoder's own options, as {"codec": "libx265", "crf": 18}.
    overwrite: replace an existing output. on_progress: called with the running counts, at most ten
    times a second. options: further fields of Options, such as memory (bytes), threads, cuts,
    repeats, speed, redraw (pairs of seconds), report (a file), max_latency (seconds). Returns
    the counts. Raises LtxFilterError.
    """
    chosen = {key: str(value) for key, value in (video or {}).items()}
    target = OutputOptions(
        path=str(output),
        overwrite=overwrite,
        codec=chosen.pop("codec", None),
        pix_fmt=chosen.pop("pix_fmt", None),
        encoder=chosen,
    )
    if "speed" in options:
        options["speed"] = Fraction(options["speed"])
    if "redraw" in options:
        options["redraw"] = spans_of(options["redraw"])
    if options.get("max_latency") is not None:
        options["max_latency"] = seconds_of(options["max_latency"])
    if "report" in options:
        options["report"] = options["report"] and str(options["report"])
    try:
        asked = Options(
            input=InputOptions(path=str(input)),
            output=target,
            fps=str(fps),
            engine=engine,
            **options,
        )
    except TypeError as error:
        raise OptionError(str(error)) from None
    return run(asked, on_progress)
