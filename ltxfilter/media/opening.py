"""Which reader and which writer: by -f, by the first bytes, by the file's name, in that order."""

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
from ltxfilter.media.color_tags import warn_of_lost_tags
from ltxfilter.media.container.demux import DEMUXERS
from ltxfilter.media.pipe.libav_io import Writer
from ltxfilter.media.pipe.nut_aspect import AspectWriter
from ltxfilter.media.pipe.sniff import RAW, SNIFF_BYTES, Y4M, foreign, identify, moov_comes_last
from ltxfilter.media.pipe.stdio import (
    STDIN_NAMES,
    STDOUT_NAMES,
    PipeInput,
    file_behind,
    open_file,
    open_stdin,
    open_stdout,
)
from ltxfilter.media.raw import rawvideo, upstream_ffmpeg, y4m
from ltxfilter.media.raw.base import BareSource, log
from ltxfilter.options import InputOptions, OutputOptions

ALIASES = {"y4m": Y4M, "raw": RAW}
BARE_SUFFIXES = {".y4m": Y4M, ".yuv": RAW, ".rgb": RAW, ".raw": RAW}


def open_source(options: InputOptions) -> Source:
    """Open what `options` names. Raises InputError, OptionError, Stopped."""
    if options.path in STDIN_NAMES:
        return _open_stdin(replace(options, path="-"))
    if _streams(options):
        return _open_pipe(open_file(options.path), options)
    kind = _named(options.format) or _kind_of_file(options)
    if kind not in (Y4M, RAW):
        from ltxfilter.media.container import ContainerSource

        return ContainerSource(options, format=kind)
    with ExitStack() as opening:
        stream = opening.enter_context(closing(open_file(options.path)))
        source: BareSource
        if kind == Y4M:
            source = y4m.Y4mSource(stream, options)
        else:
            source = rawvideo.RawSource(stream, _declared(options, stream), options)
        opening.pop_all()
        return source


def open_sink(options: OutputOptions, source: Source, rate: Fraction | None) -> Sink:
    """Open an output; see ltxfilter.media.open_sink."""
    kind = _sink_kind(options, source)
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
    warn_of_lost_tags("nut", source.info.color, siting=True, range=True)
    file = Writer(AspectWriter(output, source.info.sample_aspect))
    return ContainerSink(options, source, rate, file=file, format=kind)


def open_trial(options: OutputOptions, source: Source, rate: Fraction | None) -> Sink:
    """Open a sink that checks what `open_sink` checks and leaves no file; see its `plan`.

    Raises OutputError, OptionError.
    """
    kind = _sink_kind(options, source)
    if kind in (Y4M, RAW):
        return open_sink(replace(options, path=os.devnull, format=kind), source, rate)
    from ltxfilter.media.container import ContainerSink

    return ContainerSink(options, source, rate, file=io.BytesIO(), format=kind)


def _sink_kind(options: OutputOptions, source: Source) -> str | None:
    """Return the format of an output; None goes by the file's name."""
    kind = _named(options.format)
    if kind is not None:
        return kind
    if options.path in STDOUT_NAMES:
        return _answer(source)
    return BARE_SUFFIXES.get(Path(options.path).suffix.lower())


def _open_stdin(options: InputOptions) -> Source:
    """Open what arrives on standard input. Raises InputError, OptionError, Stopped."""
    stream = open_stdin()
    if path := file_behind(stream.fd):  # ltxfilter < in.mp4: a file after all, with seeking
        stream.close()
        return open_source(replace(options, path=path))
    return _open_pipe(stream, options)


def _open_pipe(stream: PipeInput, options: InputOptions) -> Source:
    """Open what arrives on `stream`, closing it if that fails. Raises like `open_source`."""
    with ExitStack() as opening:
        opening.enter_context(closing(stream))
        source = _open_stream(stream, options)
        opening.pop_all()
        return source


def _open_stream(stream: PipeInput, options: InputOptions) -> Source:
    kind = _named(options.format)
    prefix = stream.sniff(SNIFF_BYTES, lambda data: kind is not None or identify(data))
    if not prefix:
        raise InputError(f"{stream.name} is empty")
    kind = kind or identify(prefix)
    if kind is None and (what := foreign(prefix)):
        raise InputError(f"{stream.name} is {what}, not video")
    if kind == Y4M:
        return y4m.Y4mSource(stream, options)
    if kind in (None, RAW):
        return rawvideo.RawSource(stream, _declared(options, stream), options)
    return _open_container(stream, prefix, options, kind)


def _open_container(
    stream: PipeInput, prefix: bytes, options: InputOptions, kind: str | None
) -> Source:
    """Let libav read from a pipe. Raises InputError, with a hint for an mp4 made for files."""
    from ltxfilter.media.container import ContainerSource

    hint = (
        "an mp4 whose index comes last cannot be read from a pipe; pass the file with -i, or write "
        "it with -movflags frag_keyframe+empty_moov"
    )
    if kind == "mov" and moov_comes_last(prefix):
        raise InputError(f"{stream.name}: {hint}")
    stream.enlarge()
    try:
        return ContainerSource(options, file=stream, format=kind)
    except InputError as error:
        raise InputError(f"{error} ({hint})" if kind == "mov" else str(error)) from error


def _declared(options: InputOptions, stream: PipeInput) -> rawvideo.Geometry:
    """Return the geometry of headerless video: declared, or its writer's. Raises OptionError."""
    geometry = rawvideo.geometry_from(options)
    if geometry is not None:
        return geometry
    found = upstream_ffmpeg.geometry(stream.fd)
    if found is None:
        raise OptionError(f"{stream.name} has no header that says what it holds. {rawvideo.ADVICE}")
    geometry = replace(found.geometry, rate=options.rate or found.geometry.rate)
    log.warning(
        "%s has no header; ffmpeg makes it from %s: taken as -s %dx%d -pix_fmt %s -r %s",
        stream.name,
        found.name,
        geometry.width,
        geometry.height,
        geometry.pix_fmt,
        geometry.rate,
    )
    return geometry


def _named(name: str | None) -> str | None:
    return ALIASES.get(name, name) if name else None


def _streams(options: InputOptions) -> bool:
    """Return True for a path that can be read only once and in order: a named pipe, a device.

    Where -f names a demuxer for devices, the device is left to that.
    """
    try:
        mode = os.stat(options.path).st_mode  # noqa: PTH116  (a Path raises for some names)
    except (OSError, ValueError):
        return False
    ours = options.format is None or _named(options.format) in {*DEMUXERS, Y4M, RAW}
    return stat.S_ISFIFO(mode) or (ours and stat.S_ISCHR(mode))


def _kind_of_file(options: InputOptions) -> str | None:
    """Tell our own two formats from libav's, by the first bytes and then by the name."""
    try:
        with Path(options.path).open("rb") as file:
            kind = identify(file.read(SNIFF_BYTES)) if Path(options.path).is_file() else None
    except OSError:
        return None
    declared = options.width or options.pix_fmt
    suffix = BARE_SUFFIXES.get(Path(options.path).suffix.lower())
    if kind == Y4M or (kind is None and (suffix or declared)):
        return kind or suffix or RAW
    return None


def _answer(source: Source) -> str:
    """Return the format that a pipe answers in."""
    return Y4M if isinstance(source, BareSource) else "nut"
