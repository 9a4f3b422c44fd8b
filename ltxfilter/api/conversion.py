"""`convert`: a file in, a file out, with every option by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ltxfilter.api.given import File, Number, Rate, Seconds, Spans, as_given
from ltxfilter.jobs.opening import open_run
from ltxfilter.normalize import named_options, sides_of
from ltxfilter.options import (
    InputOptions,
    JobOptions,
    ModelOptions,
    Options,
    OutputOptions,
    available_threads,
)
from ltxfilter.pipeline.progress import Progress
from ltxfilter.pipeline.run import OnProgress
from ltxfilter.values import SEGMENT_SECONDS
from ltxfilter.view.records import open_record, watched


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
    scale: Number | str | None = None,
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
    provenance: str = "short",
    overwrite: bool = False,
    memory: int | str | None = None,
    threads: int | None = None,
    strict: bool = False,
    report: File | Sequence[File] | None = None,
    live_view: int | None = None,
    resume: bool | str = False,
    workers: int | str | None = None,
    ray: str | None = None,
    segment_seconds: int = SEGMENT_SECONDS,
    work_dir: File | None = None,
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
        scale: 2 or 1.5 makes pictures that many times as wide and high, source frames too; None
            keeps their size.
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
        provenance: What the output's tags say of how it was made: "none"; "short": ltxfilter, its
            version, engine and seed; or "full": options, prompt and names of files too, and each
            frame of H.264 and HEVC says what it is.
        overwrite: Whether an existing output is replaced.
        memory: The most memory to use, in bytes or as text such as "512M". A run that goes 10 %
            beyond it is ended. None takes what the job needs, at most half of the machine's.
        threads: Threads to interpolate with, 1 to 1024; None takes one per CPU.
        strict: Whether damaged input is an error.
        report: A file for what happened: a page named .html, or JSON; or one of each
            (docs/report.md).
        live_view: The port of this machine at which a page shows how it goes; 0 takes a free one,
            which the log says. None shows nothing.
        resume: Whether finished segments are kept, and a later call with the same options carries
            on from them; "restart" begins anew (docs/long-jobs.md).
        workers: Processes that interpolate and encode, or "auto" for as many as pay; None is this
            process alone. A program that uses it needs nothing special, such as a main guard.
        ray: The address of a Ray cluster that interpolates and encodes, or "auto" for the one that
            the program has joined, that runs on this machine, or that is started for the call
            (docs/cluster.md).
        segment_seconds: Seconds of a segment, a multiple of 10.
        work_dir: The folder for segments; None is the output's name with ".part.d" added.
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
            path=as_given(input),
            format=input_format,
            width=width,
            height=height,
            pix_fmt=input_pix_fmt,
            rate=as_given(input_rate),
            start=as_given(start),
            duration=as_given(duration),
            end=as_given(end),
            from_end=as_given(from_end),
            demuxer=as_given(demuxer or {}),
            hwaccel=hwaccel,
            deinterlace=deinterlace,
            autorotate=autorotate,
            threads=decoder_threads,
        ),
        output=OutputOptions(
            path=as_given(output),
            format=output_format,
            overwrite=overwrite,
            codec=as_given(encoder.pop("codec", None)),
            pix_fmt=as_given(encoder.pop("pix_fmt", None)),
            tag=as_given(encoder.pop("tag", None)),
            scale=as_given(scale),
            aspect=as_given(encoder.pop("aspect", None)),
            encoder=as_given(encoder),
            muxer=as_given(muxer or {}),
            audio=audio,
            subtitles=subtitles,
            data=data,
            tags=tags,
            chapters=chapters,
            metadata=metadata or {},
            disposition=disposition or {},
            frames=frames,
            shortest=shortest,
            provenance=provenance,
            maps=as_given(maps),
            color=as_given(color or {}),
        ),
        fps=as_given(fps),
        engine=engine,
        models=models or ModelOptions(),
        speed=as_given(speed),
        cuts=cuts,
        repeats=repeats,
        redraw=as_given(redraw),
        conceal=conceal,
        memory=as_given(memory),
        threads=available_threads() if threads is None else threads,
        strict=strict,
        max_latency=as_given(max_latency),
        report=as_given(report),
        live_view=live_view,
        job=JobOptions(
            resume=as_given(resume),
            workers=as_given(workers),
            ray=ray,
            segment_seconds=segment_seconds,
            work_dir=as_given(work_dir),
        ),
    )
    with watched(options, on_progress) as shown, open_run(options, open_record) as run:
        return run.go(shown)
