"""`Interpolator` and `interpolate`: frames that are in memory already."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from fractions import Fraction
from typing import Any, Self

from ltxfilter.api.given import Rate, Seconds, Spans, as_given
from ltxfilter.errors import InputError, OptionError
from ltxfilter.frame import Frame, VideoInfo
from ltxfilter.media.python_pictures.arrays import ArrayPictures
from ltxfilter.media.python_pictures.frames import FramePictures
from ltxfilter.media.python_pictures.kinds import HandedOut, is_one_batch
from ltxfilter.normalize import named_options, optional, rate_of
from ltxfilter.options import ModelOptions, Options
from ltxfilter.pipeline.frame_path import FramePath
from ltxfilter.windows.timeline import output_rate


class Interpolator:
    """Raises the frame rate of `av.VideoFrame`s, pushed and pulled as in `av.filter.Graph`.

    Source frames come back with untouched samples. All frames that come back have pts counted in
    units of 1 / fps, or of half the pushed frames' time base where `fps` is "source".
    """

    @named_options
    def __init__(
        self,
        fps: Rate = "auto",
        *,
        fps_in: Rate | None = None,
        engine: str = "auto",
        cuts: bool = True,
        repeats: str = "report",
        models: ModelOptions | None = None,
        redraw: Spans = (),
        conceal: bool = True,
        max_latency: Seconds | None = None,
    ) -> None:
        """Take the options; the engine opens at the first frame.

        Args:
            fps: The output's frames per second, as for `convert`.
            fps_in: Frames per second of the source, where its frames do not tell their duration.
            engine: NAME or "NAME:key=value:key=value".
            cuts: Whether scene cuts are looked for.
            repeats: What becomes of duplicates: "report" or "smooth".
            models: Files for the LTX engines and `onnx`.
            redraw: Spans of the frames' own time, in seconds, to interpolate anew.
            conceal: Whether frames that their decoder calls damaged are interpolated anew.
            max_latency: Seconds that `pull` may be behind `push`. An engine that needs more is
                refused with OptionError at the first frame.

        Raises:
            OptionError: An option cannot be used.
        """
        self._fps_in = optional(rate_of)(fps_in)
        self._options = Options(
            fps=as_given(fps),
            engine=engine,
            cuts=cuts,
            repeats=repeats,
            models=models or ModelOptions(),
            redraw=as_given(redraw),
            conceal=conceal,
            max_latency=as_given(max_latency),
            threads=1,
        )
        self._path: FramePath | None = None
        self._ready: deque[Frame] = deque()
        self._ended = False
        self._kind = FramePictures()
        self._info: VideoInfo | None = None
        self._rate: Fraction | None = None
        self._count = 0  # frames pushed without a time of their own
        self._pulled = 0  # frames given back

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def push(self, frame: Any) -> None:
        """Take the next source frame, or None at the end of the stream.

        The frame's samples are not copied: leave them alone until its output frames came back.
        Raises InputError for a frame unlike the first one or out of order, EOFError after None and
        after `close`.
        """
        if self._ended:
            raise EOFError("the stream has ended; begin another Interpolator")
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
        number, self._pulled = self._pulled, self._pulled + 1
        return self._kind.stamped_picture(frame, self._info, number, self._rate)

    def frames(self) -> Iterator[Any]:
        """Yield the output frames that are ready."""
        while self._ready:
            yield self.pull()

    @property
    def latency(self) -> Fraction | None:
        """Seconds from a frame's push until its output is ready; None before the first push."""
        return None if self._path is None else self._path.latency

    def close(self) -> None:
        """Release the engine; calling it twice does nothing."""
        self._ended = True
        if self._path is not None:
            self._path.close()

    def _open(self, frame: Any) -> FramePath:
        self._info = self._kind.info(frame, self._fps_in)
        self._rate = output_rate(self._options.fps, self._info.rate)
        self._path = FramePath(self._info, self._rate, self._options)
        return self._path

    def _time(self, frame: Any) -> Fraction:
        """Return when `frame` is shown, counting frames that do not say."""
        time = self._kind.time_of(frame)
        if time is not None:
            return time
        assert self._info is not None
        if self._info.rate is None:
            raise InputError("frames without pts need fps_in")
        self._count += 1
        return (self._count - 1) / self._info.rate


@named_options
def interpolate(
    frames: Iterable[Any],
    fps_in: Rate,
    fps_out: Rate = "auto",
    *,
    engine: str = "auto",
    cuts: bool = True,
    repeats: str = "report",
    models: ModelOptions | None = None,
    redraw: Spans = (),
) -> Any:
    """Return pictures at `fps_out` from pictures at `fps_in`, of the kind that was given.

    Args:
        frames: Pictures of one shape, one after the other: NumPy arrays or torch tensors, [H, W],
            [H, W, C] or [C, H, W] with C of 1, 3 (RGB) or 4 (RGBA); uint8, uint16, or floats from 0
            to 1, where NaN counts as 0. Or images of Pillow (L, RGB, RGBA, I;16), arrays of
            decord, frames of torchcodec. Or batches of them, [N, H, W, C] or [N, C, H, W], such as
            the chunks of a decoder; or one batch, which holds the whole video.
        fps_in: Frames per second of `frames`.
        fps_out: Frames per second to make, as `fps` of `convert`, without "source".
        engine, cuts, repeats, models: As for `convert`.
        redraw: Spans in seconds, counted from the first picture, to interpolate anew.

    Returns:
        Of one batch: a batch of the whole output. Of anything else: an iterator that takes pictures
        as it needs them; of batches it yields batches, each with the pictures that one completes.
        Source pictures come back as the very objects that were given, or as copies if they were
        written into meanwhile, as where one buffer serves every picture. The others are new ones of
        the same kind, tensors on the same device. Frames of torchcodec come back with their new
        times, counted from the first one's.

    Raises:
        OptionError: An option cannot be used, or `frames` is one picture, or several videos; at
            once, before a picture is taken.
        LtxFilterError: Something else is wrong; while iterating. What `frames` itself raises is
            passed on.
    """
    one_batch = is_one_batch(frames)
    try:
        items = iter([frames] if one_batch else frames)
    except TypeError:
        raise OptionError(
            f"frames: {type(frames).__name__} is not iterable; give pictures"
        ) from None
    rate_in = rate_of(fps_in)
    options = Options(
        fps=as_given(fps_out),
        engine=engine,
        cuts=cuts,
        repeats=repeats,
        models=models or ModelOptions(),
        redraw=as_given(redraw),
        threads=1,
    )
    rate_out = output_rate(options.fps, rate_in)
    if rate_out is None:
        raise OptionError('fps_out="source" needs frames with times; use "2x"')
    handed = HandedOut(rate_out)
    if not one_batch:
        return _interpolated(items, handed, rate_in, rate_out, options)
    outputs = list(_Stream(rate_in, rate_out, options).all(handed.pictures(frames, is_batch=True)))
    return handed.batch(outputs, frames) if outputs else frames


def _interpolated(
    items: Iterator[Any],
    handed: HandedOut,
    rate_in: Fraction,
    rate_out: Fraction,
    options: Options,
) -> Iterator[Any]:
    """Yield the output in the items that it is handed out in."""
    stream = _Stream(rate_in, rate_out, options)
    item = None
    with closing(stream):
        for item in items:
            yield from handed.given_back(item, stream.push(handed.pictures(item)))
        if item is not None:
            yield from handed.given_back(item, stream.finish())


class _Stream:
    """Pictures of one rate in, pictures of another out."""

    def __init__(self, rate_in: Fraction, rate_out: Fraction, options: Options) -> None:
        """Take the rates, in frames per second; the engine opens at the first picture."""
        self._rate_in, self._rate_out, self._options = rate_in, rate_out, options
        self._kind = ArrayPictures()
        self._path: FramePath | None = None
        self._info: VideoInfo | None = None
        self._count = 0  # pictures pushed

    def all(self, pictures: Iterable[Any]) -> Iterator[Any]:
        """Yield the output of pictures that are all there is, and close."""
        with closing(self):
            yield from self.push(pictures)
            yield from self.finish()

    def push(self, pictures: Iterable[Any]) -> Iterator[Any]:
        """Yield the output pictures that some more pictures complete. Raises LtxFilterError."""
        for picture in pictures:
            if self._path is None or self._info is None:
                self._info = self._kind.info(picture, self._rate_in)
                self._path = FramePath(self._info, self._rate_out, self._options)
            time, self._count = self._count / self._rate_in, self._count + 1
            for frame in self._path.push(self._kind.frame(picture, time, self._info)):
                yield self._kind.picture(frame, self._info)

    def finish(self) -> Iterator[Any]:
        """Yield the rest."""
        if self._path is not None and self._info is not None:
            for frame in self._path.finish():
                yield self._kind.picture(frame, self._info)

    def close(self) -> None:
        """Release the engine."""
        if self._path is not None:
            self._path.close()
