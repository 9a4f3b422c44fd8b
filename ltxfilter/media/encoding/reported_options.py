"""What an encoder was really asked: it says so itself, once presets and parameters are applied.

libx264 and libx265 write the options in force into the stream they make. A narrow encoder of the
same height, with the same options, is opened for that; it has as many threads as the real one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from fractions import Fraction

import av
import av.logging

from ltxfilter.media.encoding.process_state import ordinary_priority

REPORTING = ("libx264", "libx265")
NARROW = 256  # pixels; libx265 needs three blocks of 64 beside each other to use all its threads
OPTIONS = re.compile(rb"options: ([ -~]+)")

log = logging.getLogger("ltxfilter.media")


def reported_options(
    codec: str,
    options: Mapping[str, str],
    size: tuple[int, int],
    pix_fmt: str,
    rate: Fraction,
) -> dict[str, str]:
    """Return the options that an encoder has in force, by its own names; none if it does not say.

    codec: FFmpeg's name. options: as libavcodec takes them. size: width and height, pixels. A
    switch has the value "1", or "0" where the encoder writes no-NAME.
    """
    if codec not in REPORTING:
        return {}
    try:
        written = _written(codec, options, size, pix_fmt, rate)
    except (av.FFmpegError, ValueError, OverflowError) as error:
        log.debug("%s does not tell its options: %s", codec, error)
        return {}
    found = OPTIONS.search(written)
    return dict(map(_named, found[1].decode().split())) if found else {}


def _written(
    codec: str,
    options: Mapping[str, str],
    size: tuple[int, int],
    pix_fmt: str,
    rate: Fraction,
) -> bytes:
    """Return what a narrow encoder writes: its header, and one frame where that is needed.

    Raises av.FFmpegError, ValueError, OverflowError.
    """
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = min(size[0], NARROW), size[1], pix_fmt
    context.framerate, context.time_base = rate, 1 / rate
    context.options = dict(options)
    if codec == "libx265":
        quiet = [options.get("x265-params", ""), "log-level=none", "info=1"]
        context.options = {**options, "x265-params": ":".join(filter(None, quiet))}
        context.flags |= int(av.codec.context.Flags.global_header)
    level = av.logging.get_level()
    av.logging.set_level(av.logging.PANIC)
    try:
        with ordinary_priority():
            context.open()
        if codec == "libx265":  # its header tells
            return bytes(context.extradata or b"")
        frame = av.VideoFrame(context.width, context.height, pix_fmt)
        for plane in frame.planes:  # libx264 aborts on samples with more bits than they have
            plane.update(bytes(plane.buffer_size))
        frame.pts = 0
        return b"".join(
            bytes(packet) for given in (frame, None) for packet in context.encode(given)
        )
    finally:
        av.logging.set_level(level)


def _named(word: str) -> tuple[str, str]:
    """Return the name and the value of one option as an encoder writes it."""
    name, equals, value = word.partition("=")
    if equals:
        return name.replace("-", "_"), value
    return name.removeprefix("no-").replace("-", "_"), "0" if name.startswith("no-") else "1"
