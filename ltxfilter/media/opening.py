"""Which source reads an input and which sink writes an output.

What decides is -f, then the first bytes, then the file's name.
"""

from __future__ import annotations

import io
import os
import stat
from contextlib import ExitStack, closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from ltxfilter.errors import InputError, OptionError
from ltxfilter.media.base import Sink, Source
from ltxfilter.media.carried.edits import Edits
from ltxfilter.media.carried.items import RULES, Kind, OutputFormat, name_losses
from ltxfilter.media.color_tags import warn_of_lost_tags
from ltxfilter.media.encoding.encoded_video import tagged
from ltxfilter.media.format_names import (
    DEMUXERS,
    RAW,
    RAW_SUFFIXES,
    STDIN_NAMES,
    STDOUT_NAMES,
    WEBP,
    Y4M,
    format_name,
)
from ltxfilter.media.many_files.names import as_sequence
from ltxfilter.media.pipe.libav_io import Writer
from ltxfilter.media.pipe.nut_aspect import telling_aspect
from ltxfilter.media.pipe.sniff import SNIFF_BYTES, foreign, identify, moov_comes_last
from ltxfilter.media.pipe.stdio import (
    PipeInput,
    file_behind,
    open_file,
    open_stdin,
    open_stdout,
)
from ltxfilter.media.raw import rawvideo, upstream_ffmpeg, y4m
from ltxfilter.media.raw.base import log
from ltxfilter.options import InputOptions, OutputOptions
from ltxfilter.values import scheme_of

MP4_ON_PIPE = (
    "an mp4 whose index comes last cannot be read from a pipe; pass the file with -i, or write it "
    "with -movflags frag_keyframe+empty_moov"
)


def open_source(options: InputOptions) -> Source:
    """Open what `options` names. Raises InputError, OptionError, Stopped."""
    if options.path in STDIN_NAMES:
        return _open_stdin(replace(options, path="-"))
    if scheme_of(options.path) is not None:
        return _open_address(options)
    options = as_sequence(options)
    if _reads_once(options):
        return _open_pipe(open_file(options.path), options)
    kind = format_name(options.format) or _format_of_file(options)
    if kind == WEBP:
        return _open_pipe(open_file(options.path), options)
    if kind not in (Y4M, RAW):
        from ltxfilter.media.container import ContainerSource

        return ContainerSource(options, format=kind)
    with ExitStack() as opening:
        stream = opening.enter_context(closing(open_file(options.path)))
        source = _raw_source(stream, kind, options)
        opening.pop_all()
        return source


def _open_address(options: InputOptions) -> Source:
    """Open an address of the network. Raises InputError, OptionError, Stopped."""
    from ltxfilter.media.container import ContainerSource
    from ltxfilter.media.network.interrupts import Interrupt, wait_for
    from ltxfilter.media.network.protocols import check_input

    check_input(options)
    interrupt = Interrupt()

    def opened() -> Source:
        with interrupt.watched():
            return ContainerSource(options, format=format_name(options.format), interrupt=interrupt)

    return wait_for(opened, interrupt.set)


def open_sink(options: OutputOptions, source: Source, rate: Fraction | None) -> Sink:
    """Open the output that `options` name, for frames of `source`; name what it will not keep.

    rate: frames per second; None lets the frames keep their own times. Raises OutputError,
    OptionError.
    """
    sink = _open_sink(options, source, rate)
    name_losses(Edits.of(options).edited(source.carries), sink.output_format, sink.name)
    return sink


def _open_sink(options: OutputOptions, source: Source, rate: Fraction | None) -> Sink:
    kind = _output_format(options, source)
    if kind == Y4M:
        return y4m.open_sink(options, source, rate)
    if kind == RAW:
        return rawvideo.open_sink(options, source, rate)
    from ltxfilter.media.container import ContainerSink

    to_stdout = options.path in STDOUT_NAMES
    if not to_stdout:
        return ContainerSink(options, source, rate, format=kind)
    output = open_stdout()
    if kind != "nut":
        return ContainerSink(options, source, rate, file=Writer(output), format=kind)
    info = tagged(source.info, options)
    warn_of_lost_tags("nut", info.color, siting=True, range=True)
    file = telling_aspect(Writer(output), info.sample_aspect)
    return ContainerSink(options, source, rate, file=file, format=kind)


def open_trial(options: OutputOptions, source: Source, rate: Fraction | None) -> Sink:
    """Open a sink that checks what `open_sink` checks and leaves no file; see its `plan`.

    Raises OutputError, OptionError.
    """
    kind = _output_format(options, source)
    if kind in (Y4M, RAW):
        return open_sink(replace(options, path=os.devnull, format=kind), source, rate)
    from ltxfilter.media.container import ContainerSink

    sink = ContainerSink(options, source, rate, file=io.BytesIO(), format=kind)
    name_losses(Edits.of(options).edited(source.carries), sink.output_format, sink.name)
    return sink


def encodes(options: OutputOptions, source: Source) -> bool:
    """Return True if an output is made by an encoder, False if it holds frames as they are."""
    return _output_format(options, source) not in (Y4M, RAW)


def says_rotation(options: OutputOptions) -> bool:
    """Return True if the output that `options` name can say how its pictures are to be turned.

    Raises OutputError for an output whose format is not known.
    """
    kind = _named_format(options)
    if kind in (Y4M, RAW) or (kind is None and options.path in STDOUT_NAMES):
        return False  # a pipe without -f is NUT or raw
    from ltxfilter.media.many_files.muxers import muxer_name

    return RULES[Kind.ROTATION].keeps(OutputFormat(muxer_name(options, kind)))


def _output_format(options: OutputOptions, source: Source) -> str | None:
    """Return FFmpeg's name of the format of an output; None lets libav go by the file's name.

    Raises OptionError for an address that cannot be written.
    """
    kind = _named_format(options)
    if kind is None and options.path in STDOUT_NAMES:
        return source.pipe_format
    return kind


def _named_format(options: OutputOptions) -> str | None:
    """Return FFmpeg's name of the format that -f, an address or a raw file's name asks for.

    Raises OptionError for an address that cannot be written.
    """
    kind = format_name(options.format)
    if scheme_of(options.path) is None:
        return kind or RAW_SUFFIXES.get(Path(options.path).suffix.lower())
    from ltxfilter.media.network.protocols import check_output, format_by_address

    check_output(options)
    return kind or format_by_address(options.path)


def _open_stdin(options: InputOptions) -> Source:
    """Open what arrives on standard input. Raises InputError, OptionError, Stopped."""
    stream = open_stdin()
    if path := file_behind(stream.fd):  # ltxfilter < in.mp4: a file after all, with seeking
        stream.close()
        return open_source(replace(options, path=path))
    return _open_pipe(stream, options)


def _open_pipe(stream: PipeInput, options: InputOptions) -> Source:
    """Open what arrives on `stream`, and close it if that fails. Raises like `open_source`."""
    with ExitStack() as opening:
        opening.enter_context(closing(stream))
        source = _sniffed_source(stream, options)
        opening.pop_all()
        return source


def _sniffed_source(stream: PipeInput, options: InputOptions) -> Source:
    """Open a source that goes by -f or by the first bytes of `stream`."""
    kind = format_name(options.format)
    prefix = stream.sniff(SNIFF_BYTES, lambda data: kind is not None or identify(data))
    if not prefix:
        raise InputError(f"{stream.name} is empty")
    kind = kind or identify(prefix)
    if kind is None and (what := foreign(prefix)):
        raise InputError(f"{stream.name} is {what}, not video")
    if kind == WEBP:
        return _webp_source(stream, options)
    if kind in (None, RAW, Y4M):
        return _raw_source(stream, kind or RAW, options)
    return _container_on_pipe(stream, prefix, options, kind)


def _raw_source(stream: PipeInput, kind: str, options: InputOptions) -> Source:
    """Read y4m or headerless video from `stream`. Raises InputError, OptionError, Stopped."""
    if kind == Y4M:
        return y4m.Y4mSource(stream, options)
    return rawvideo.RawvideoSource(stream, _geometry(options, stream), options)


def _webp_source(stream: PipeInput, options: InputOptions) -> Source:
    """Read an animated WebP. Raises InputError, Stopped."""
    from ltxfilter.media.container.webp_source import WebpSource
    from ltxfilter.media.pipe.animated_webp import AnimatedWebp

    return WebpSource(options, AnimatedWebp(stream, stream.name))


def _container_on_pipe(
    stream: PipeInput, prefix: bytes, options: InputOptions, kind: str | None
) -> Source:
    """Let libav read from a pipe. Raises InputError, with a hint for an mp4 made for files."""
    from ltxfilter.media.container import ContainerSource

    if kind == "mov" and moov_comes_last(prefix):
        raise InputError(f"{stream.name}: {MP4_ON_PIPE}")
    stream.enlarge()
    try:
        return ContainerSource(options, file=stream, format=kind)
    except InputError as error:
        hint = f" ({MP4_ON_PIPE})" if kind == "mov" else ""
        raise InputError(f"{error}{hint}") from error


def _geometry(options: InputOptions, stream: PipeInput) -> rawvideo.Geometry:
    """Return the geometry of headerless video: declared, or its writer's. Raises OptionError."""
    declared = rawvideo.geometry_from(options)
    if declared is not None:
        return declared
    upstream = upstream_ffmpeg.find_video(stream.fd)
    if upstream is None:
        raise OptionError(f"{stream.name} has no header that says what it holds. {rawvideo.ADVICE}")
    geometry = replace(upstream.geometry, rate=options.rate or upstream.geometry.rate)
    log.warning(
        "%s has no header; ffmpeg makes it from %s: taken as -s %dx%d -pix_fmt %s -r %s",
        stream.name,
        upstream.name,
        geometry.width,
        geometry.height,
        geometry.pix_fmt,
        geometry.rate,
    )
    return geometry


def _reads_once(options: InputOptions) -> bool:
    """Return True for a path that can be read only once and in order: a named pipe, a device.

    Where -f names a demuxer for devices, the device is left to that.
    """
    try:
        mode = os.stat(options.path).st_mode  # noqa: PTH116  (a Path raises for some names)
    except (OSError, ValueError):
        return False
    ours = options.format is None or format_name(options.format) in {*DEMUXERS, Y4M, RAW}
    return stat.S_ISFIFO(mode) or (ours and stat.S_ISCHR(mode))


def _format_of_file(options: InputOptions) -> str | None:
    """Return Y4M, RAW, WEBP or None for a file, by its first bytes, then its name."""
    try:
        with Path(options.path).open("rb") as file:
            kind = identify(file.read(SNIFF_BYTES)) if Path(options.path).is_file() else None
    except OSError:
        return None
    if kind == WEBP:
        return kind
    declared = options.width or options.pix_fmt
    suffix = RAW_SUFFIXES.get(Path(options.path).suffix.lower())
    if kind == Y4M or (kind is None and (suffix or declared)):
        return kind or suffix or RAW
    return None
