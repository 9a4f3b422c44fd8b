"""yuv4mpegpipe: YUV frames behind a one-line header, read and written without libav."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from ltxfilter.errors import InputError, OptionError
from ltxfilter.frame import ColorInfo, VideoInfo
from ltxfilter.media.base import UNSTATED_RATE, Source
from ltxfilter.media.color_tags import warn_of_lost_tags
from ltxfilter.media.encoding.encoded_video import tagged
from ltxfilter.media.format_names import Y4M
from ltxfilter.media.pipe.stdio import PipeInput
from ltxfilter.media.raw.base import (
    RawSink,
    RawSource,
    check_size,
    log,
    output_rate,
    refuse_encoding,
)
from ltxfilter.media.raw.packing import SampleLayout
from ltxfilter.options import InputOptions, OutputOptions

MAGIC = b"YUV4MPEG2"
MARKER = b"FRAME\n"
MAX_HEADER = 4096  # bytes of the stream's or a frame's header line

LEFT, CENTRE, TOP_LEFT = 1, 2, 3  # chroma locations
SITINGS = {"420jpeg": CENTRE, "420mpeg2": LEFT, "420paldv": TOP_LEFT}
DEPTHS = (9, 10, 12, 14, 16)
FORMATS = (  # colour space tag -> pixel format
    dict.fromkeys(("420", *SITINGS), "yuv420p")
    | {"411": "yuv411p", "422": "yuv422p", "444": "yuv444p", "444alpha": "yuva444p"}
    | {"mono": "gray"}
    | {f"{c}p{bits}": f"yuv{c}p{bits}le" for c in ("420", "422", "444") for bits in DEPTHS}
    | {f"mono{bits}": f"gray{bits}le" for bits in DEPTHS}
)
TAGS = {  # pixel format -> colour space tag
    name: tag for tag, name in FORMATS.items() if tag not in SITINGS and tag != "444alpha"
} | {"yuv420p": "420jpeg"}
RANGES = {"LIMITED": 1, "FULL": 2}


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a stream."""

    width: int
    """Pixels."""

    height: int
    """Pixels."""

    rate: Fraction | None
    """Frames per second; None if unknown (F0:0)."""

    pix_fmt: str = "yuv420p"
    """FFmpeg's name."""

    interlace: str = "p"
    """p progressive, t top field first, b bottom field first."""

    sample_aspect: Fraction | None = None
    """Width of a pixel over its height; None if unknown (A0:0)."""

    range: int = 0
    """As in ColorInfo."""

    chroma_location: int = 0
    """As in ColorInfo."""

    def line(self) -> bytes:
        """Write it as FFmpeg does, line feed included."""
        rate, aspect = self.rate or Fraction(0), self.sample_aspect
        tag = TAGS[self.pix_fmt]
        if tag == "420jpeg":
            tag = {LEFT: "420mpeg2", TOP_LEFT: "420paldv"}.get(self.chroma_location, tag)
        words = [
            MAGIC.decode(),
            f"W{self.width}",
            f"H{self.height}",
            f"F{rate.numerator}:{rate.denominator if rate else 0}",
            f"I{self.interlace}",
            f"A{aspect.numerator}:{aspect.denominator}" if aspect else "A0:0",
            f"C{tag}",
        ]
        if not tag.startswith("mono"):
            words.append(f"XYSCSS={tag.upper()}")
        words += [f"XCOLORRANGE={word}" for word, code in RANGES.items() if code == self.range]
        return " ".join(words).encode() + b"\n"


def parse_header(line: bytes, name: str) -> Header:
    """Read a stream's first line, without its line feed. Raises InputError naming the field."""
    words = line.split(b" ")
    if words[0] != MAGIC:
        raise InputError(f"{name}: not y4m, it does not begin with {MAGIC.decode()}")
    fields: dict[str, str] = {}
    extra: dict[str, str] = {}
    for word in filter(None, words[1:]):
        text = word.decode("latin-1")
        if text[0] == "X":
            key, _, value = text[1:].partition("=")
            extra[key] = value.upper()
        else:
            fields[text[0]] = text[1:]
    width, height = _size(fields, name)
    tag = fields.get("C", extra.get("YSCSS", "420").lower())
    if tag.lower() not in FORMATS:
        raise InputError(f"{name}: y4m colour space C{printable(tag)} is not supported")
    interlace = fields.get("I", "?")
    if interlace not in ("?", "p", "t", "b"):
        raise InputError(
            f"{name}: y4m interlacing I{printable(interlace)} is not supported; It, Ib and Ip are"
        )
    return Header(
        width,
        height,
        _ratio(fields.get("F", "0:0"), "F", name),
        FORMATS[tag.lower()],
        "p" if interlace == "?" else interlace,
        _ratio(fields.get("A", "0:0"), "A", name),
        RANGES.get(extra.get("COLORRANGE", ""), 0),
        SITINGS.get(tag.lower(), 0),
    )


class Y4mSource(RawSource):
    """Frames of a y4m stream."""

    marker = MARKER

    def __init__(self, stream: PipeInput, options: InputOptions) -> None:
        """Read the header. Raises InputError, Stopped."""
        line = _first_line(stream)
        self.header = parse_header(line, stream.name)
        header = self.header
        byte_layout = SampleLayout(header.pix_fmt, header.width, header.height)
        info = _video_info(header, byte_layout, options, stream.name)
        super().__init__(stream, info, byte_layout, options)
        self.duration = self.duration_of(stream.size - len(line) - 1, len(MARKER))
        self.bottom_first = header.interlace == "b"
        if header.interlace != "p":
            self.interlaced = True
            if options.deinterlace == "off":
                raise InputError(f"{self.name}: interlaced y4m; leave --deinterlace at auto")

    def read_marker(self) -> bool:
        """Consume "FRAME", its parameters and the line feed; return False at the end."""
        line = self._buffered.readline(MAX_HEADER)
        if line == MARKER or (line.startswith(b"FRAME ") and line.endswith(b"\n")):
            return True
        if line and not MARKER.startswith(line):
            raise InputError(f"{self.name}: y4m frame {self.read} does not begin with FRAME")
        if line:
            self.note_incomplete(len(line))
        return False

    def note_incomplete(self, count: int) -> None:
        """Warn that the last frame is not whole."""
        log.warning(
            "%s: truncated: the last %d bytes are no whole frame (%d bytes) and are left out",
            self.name,
            count,
            self.byte_layout.frame_bytes,
        )


def open_sink(options: OutputOptions, source: Source, rate: Fraction | None) -> RawSink:
    """Open a y4m output for frames of `source`. Raises OutputError, OptionError."""
    info = tagged(source.info, options)
    refuse_encoding(options, "yuv4mpegpipe")
    if info.pix_fmt not in TAGS:
        raise OptionError(f"y4m cannot hold {info.pix_fmt} (no alpha, no RGB); use -f nut")
    if options.pix_fmt not in (None, info.pix_fmt):
        raise OptionError(
            f"-pix_fmt {options.pix_fmt}: raw frames keep their format ({info.pix_fmt}); "
            "convert in the ffmpeg that follows"
        )
    exact = output_rate(info, rate, "y4m")
    header = Header(
        info.width,
        info.height,
        exact,
        info.pix_fmt,
        sample_aspect=info.sample_aspect,
        range=info.color.range,
        chroma_location=info.color.chroma_location,
    )
    warn_of_lost_tags("y4m", info.color, siting=info.depth > 8)
    return RawSink(options, source, exact, Y4M, header=header.line(), marker=MARKER)


def _first_line(stream: PipeInput) -> bytes:
    """Consume the header line; return it without its line feed."""
    ahead = stream.sniff(MAX_HEADER, lambda data: b"\n" in data or not data.startswith(MAGIC[:1]))
    line, feed, _ = ahead.partition(b"\n")
    if not line.startswith(MAGIC):
        raise InputError(f"{stream.name}: not y4m, it does not begin with {MAGIC.decode()}")
    if not feed:
        raise InputError(f"{stream.name}: the y4m header does not end within {len(ahead)} bytes")
    stream.read(len(line) + 1)
    return line


def _video_info(
    header: Header, byte_layout: SampleLayout, options: InputOptions, name: str
) -> VideoInfo:
    """Return what the header says, with -r in place of its rate; name: for messages."""
    rate = options.rate or header.rate
    if rate is None:
        log.warning(
            "%s: y4m without a frame rate; taken as %s (say it with -r)", name, UNSTATED_RATE
        )
        rate = UNSTATED_RATE
    return VideoInfo(
        header.width,
        header.height,
        header.pix_fmt,
        byte_layout.layout,
        rate,
        1 / rate,
        ColorInfo(range=header.range, chroma_location=header.chroma_location),
        header.sample_aspect or Fraction(1),
    )


def _size(fields: dict[str, str], name: str) -> tuple[int, int]:
    """Return width and height. Raises InputError."""
    for key, what in (("W", "width"), ("H", "height")):
        text = fields.get(key, "")
        if not re.fullmatch("[0-9]{1,9}", text):
            raise InputError(f"{name}: y4m {what} {key}{printable(text)} is not a number of pixels")
    width, height = int(fields["W"]), int(fields["H"])
    check_size(name, width, height)
    return width, height


def _ratio(text: str, key: str, name: str) -> Fraction | None:
    """Read A:B; None if it is 0:0, unknown. Raises InputError."""
    match = re.fullmatch("([0-9]{1,9}):([0-9]{1,9})", text)
    if not match or (int(match[2]) == 0) != (int(match[1]) == 0):
        raise InputError(f"{name}: y4m field {key}{printable(text)} is not a ratio such as 25:1")
    return Fraction(int(match[1]), int(match[2])) if int(match[2]) else None


def printable(text: str) -> str:
    """Return a piece of a foreign header so that it can stand in a message."""
    return "".join(char if char.isprintable() else "?" for char in text[:40])
