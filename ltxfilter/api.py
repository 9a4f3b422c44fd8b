"""What a program calls: `convert` for files, `Interpolator` and `interpolate` for frames in memory.

Every option is a named parameter with a type, and also accepts the text of the command line. What
is wrong raises an `LtxFilterError`; a wrong option raises `OptionError`, which names the
option, what was given and what is allowed. `options.py` documents each option's unit and range.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, Self

from ltxfilter.errors import InputError, OptionError
from ltxfilter.frame import Frame, VideoInfo
from ltxfilter.media.python_pictures import ArrayPictures, FramePictures
from ltxfilter.normalize import named_options, optional, rate_of, sides_of
from ltxfilter.options import (
    InputOptions,
    ModelOptions,
    Options,
    OutputOptions,
    available_threads,
)
from ltxfilter.pipeline.frame_path import FramePath
from ltxfilter.pipeline.progress import Progress
from ltxfilter.pipeline.run import OnProgress, run
from ltxfilter.windows.timeline import output_rate

File = str | os.PathLike[str]
Number = int | float | Fraction
Seconds = Number | str  # seconds, or text such as "1:02:03.5"
Rate = Number | str  # frames per second, or text such as "60000/1001"
Spans = str | Iterable[Sequence[Seconds]]  # pairs of seconds, or text such as "1.5:3.5"


@named_options
def convert(  # long, since it names every option with its type
    input: File,  # noqa: A002
    output: File,
    *,
    fps: Rate = "auto",
    engine: str = "auto",
    models: ModelOptions | None = None,
    input_format: str | None = None,
    start: Seconds | None = None,
    duration: Seconds | None = None,
    end: Seconds | None = None,
    from_end: Seconds | None = None,
    shortest: bool = False,
    demuxer: Mapping[str, str | Number] | None = None,
    input_rate: Rate | None = None,
    size: tuple[int, int] | None = None,
    input_pix_fmt: str | None = None,
    hwaccel: str | None = None,
    deinterlace: str = "auto",
    autorotate: bool | None = None,
    decoder_threads: int | None = None,
    speed: Number | str = 1,
    cuts: bool = True,
    repeats: str = "report",
    redraw: Spans = (),
    conceal: bool = True,
    max_latency: Seconds | None = None,
    video: Mapping[str, str | Number] | None = None,
    output_format: str | None = None,
    muxer: Mapping[str, str | Number] | None = None,
    color: Mapping[str, str] | None = None,
    audio: bool = True,
    subtitles: bool = True,
    data: bool = True,
    tags: bool = True,
    chapters: bool = True,
    metadata: Mapping[str, str] | None = None,
    disposition: Mapping[str, str] | None = None,
    frames: int | None = None,
    maps: Sequence[str] = (),
    overwrite: bool = False,
    memory: int | str | None = None,
    threads: int | None = None,
    strict: bool = False,
    report: File | None = None,
    on_progress: OnProgress | None = None,
) -> Progress:
    """Raise the frame rate of a file; audio and everything else in the container is kept.

    Args:
        input: The file to read, or "-" for standard input.
        output: The file to write, or "-" for standard output.
        fps: The output's frames per second: "auto" (50, 60000/1001 or 60), "source" (every source
            interval halved), a multiple such as "2x", or a rate. With "auto" a source of 50 or more
            keeps its rate.
        engine: NAME or "NAME:key=value:key=value".
        models: Files for the LTX engines and `onnx`.
        input_format: FFmpeg's demuxer name; None goes by the first bytes.
        start, duration, end: The part of the input to read, in seconds; duration or end, not both.
        from_end: Start so many seconds before the end, instead.
        shortest: Whether the output ends with the shortest of video and sound.
        frames: How many frames the output has at most; None has no bound.
        input_rate: Frames per second of the input, whatever its time stamps say.
        size, input_pix_fmt: Width and height in pixels, and pixel format, of headerless video.
        hwaccel: FFmpeg's name of a hardware decoder.
        deinterlace: "auto" (as the stream says), "on" or "off".
        autorotate: Whether pictures are turned as the input says; None turns them where the output
            cannot say how they lie.
        decoder_threads: Threads to decode with, 1 to 1024; None chooses.
        speed: 0.01 to 100; 0.5 plays half as fast. Sound is left out at any other speed than 1.
        cuts: Whether scene cuts are looked for, so that nothing is interpolated across them.
        repeats: What becomes of duplicates: "report", or "smooth" to interpolate over them.
        redraw: Spans of the input, in seconds, whose frames are taken as missing and interpolated.
        conceal: Whether damaged source frames are taken as missing and interpolated.
        max_latency: Seconds that the output of a live source may be late.
        video: "codec", "pix_fmt", "tag", "aspect" of the display, and the encoder's own options:
            {"codec": "libx265", "crf": 18}.
        output_format: FFmpeg's muxer name; None goes by the output's name.
        demuxer, muxer: Options of containers: {"probesize": "50M"}, {"movflags": "+faststart"}.
        color: Colour tags, such as {"colorspace": "bt709"}.
        audio, subtitles, data, tags, chapters: Whether such streams, and such things, are copied.
        metadata: Tags to set: {"title": "Sunset", "s:a:0:language": "eng"}; "" removes one.
        disposition: What streams are for: {"a:0": "default"}; "0" is nothing.
        maps: FFmpeg's stream specifiers, such as "0:a:1" or "-0:s".
        overwrite: Whether an existing output is replaced.
        memory: The most memory to use, in bytes or as text such as "512M". A run that goes 10 %
            beyond it is ended. None takes what the job needs, at most half of the machine's.
        threads: Threads to interpolate with, 1 to 1024; None takes one per CPU.
        strict: Whether damaged input is an error.
        report: A file for what happened, as JSON (docs/report.md).
        on_progress: Called with the run's `Progress` so far, at most ten times a second.

    Returns:
        The counts of the run.

    Raises:
        LtxFilterError: OptionError, InputError, OutputError or EngineError.
    """
    width, height = (None, None) if size is None else sides_of(size)
    encoder = dict(video or {})
    options = Options(
        input=InputOptions(
            path=_as_given(input),
            format=input_format,
            width=width,
            height=height,
            pix_fmt=input_pix_fmt,
            rate=_as_given(input_rate),
            start=_as_given(start),
            duration=_as_given(duration),
            end=_as_given(end),
            from_end=_as_given(from_end),
            demuxer=_as_given(demuxer or {}),
            hwaccel=hwaccel,
            deinterlace=deinterlace,
            autorotate=autorotate,
            threads=decoder_threads,
        ),
        output=OutputOptions(
            path=_as_given(output),
            format=output_format,
            overwrite=overwrite,
            codec=_as_given(encoder.pop("codec", None)),
            pix_fmt=_as_given(encoder.pop("pix_fmt", None)),
            tag=_as_given(encoder.pop("tag", None)),
            aspect=_as_given(encoder.pop("aspect", None)),
            encoder=_as_given(encoder),
            muxer=_as_given(muxer or {}),
            audio=audio,
            subtitles=subtitles,
            data=data,
            tags=tags,
            chapters=chapters,
            metadata=metadata or {},
            disposition=disposition or {},
            frames=frames,
            shortest=shortest,
            maps=_as_given(maps),
            color=_as_given(color or {}),
        ),
        fps=_as_given(fps),
        engine=engine,
        models=models or ModelOptions(),
        speed=_as_given(speed),
        cuts=cuts,
        repeats=repeats,
        redraw=_as_given(redraw),
        conceal=conceal,
        memory=_as_given(memory),
        threads=available_threads() if threads is None else threads,
        strict=strict,
        max_latency=_as_given(max_latency),
        report=_as_given(report),
    )
    return run(options, on_progress)


def _as_given(value: Any) -> Any:
    """Return the value: `Options` normalises it, so its type may differ from the field's."""
    return value


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
            fps=_as_given(fps),
            engine=engine,
            cuts=cuts,
            repeats=repeats,
            models=models or ModelOptions(),
            redraw=_as_given(redraw),
            conceal=conceal,
            max_latency=_as_given(max_latency),
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
) -> Iterator[Any]:
    """Yield pictures at `fps_out` from pictures at `fps_in`.

    Args:
        frames: NumPy arrays or torch tensors of one shape, [H, W], [H, W, C] or [C, H, W] with C of
            1, 3 (RGB) or 4 (RGBA); uint8, uint16, or floats from 0 to 1, where NaN counts as 0.
            Source pictures come back as the very objects that were given, or as copies if they
            were written into meanwhile, as where one buffer serves every picture. The others are
            new ones of the same kind, tensors on the same device.
        fps_in: Frames per second of `frames`.
        fps_out: Frames per second to yield, as `fps` of `convert`, without "source".
        engine, cuts, repeats, models: As for `convert`.
        redraw: Spans in seconds, counted from the first picture, to interpolate anew.

    Raises:
        OptionError: An option cannot be used; at once, before a picture is taken.
        LtxFilterError: Something else is wrong; while iterating. What `frames` itself raises is
            passed on.
    """
    try:
        pictures = iter(frames)
    except TypeError:
        raise OptionError(
            f"frames: {type(frames).__name__} is not iterable; give pictures"
        ) from None
    rate_in = rate_of(fps_in)
    options = Options(
        fps=_as_given(fps_out),
        engine=engine,
        cuts=cuts,
        repeats=repeats,
        models=models or ModelOptions(),
        redraw=_as_given(redraw),
        threads=1,
    )
    rate_out = output_rate(options.fps, rate_in)
    if rate_out is None:
        raise OptionError('fps_out="source" needs frames with times; use "2x"')
    return _interpolated(pictures, rate_in, rate_out, options)


def _interpolated(
    pictures: Iterator[Any], rate_in: Fraction, rate_out: Fraction, options: Options
) -> Iterator[Any]:
    kind, path, info = ArrayPictures(), None, None
    try:
        for number, picture in enumerate(pictures):
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
