"""Text to value: rates, times, sizes, bytes, spans, engine specs. Every parser of options is here.

They raise OptionError with what was given and what is allowed. `normalize.py` reads what a program
gives in place of text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import floor, isfinite, nan
from typing import Any

from ltxfilter.errors import OptionError

Span = tuple[Fraction, Fraction]  # seconds: from the first up to, but not including, the second

MIB = 1 << 20  # bytes
OWN_PROCESS = "LTXFILTER_OWN_PROCESS"  # in the environment of the command line and its workers
MAX_THREADS = 1024  # to interpolate with, or to decode with
LEAST_SPEED = Fraction(1, 100)  # and its inverse is the highest
SCALES = {"2": Fraction(2), "1.5": Fraction(3, 2)}  # how many times larger pictures can become
LEAST_ASPECT = Fraction(1, 100)  # of a display, and its inverse is the highest
LONGEST_REDRAW = Fraction(10)  # seconds of missing frames that can be interpolated in one go
SIZES = {  # FFmpeg's names of picture sizes
    "vga": "640x480",
    "ntsc": "720x480",
    "pal": "720x576",
    "hd480": "852x480",
    "hd720": "1280x720",
    "hd1080": "1920x1080",
    "uhd2160": "3840x2160",
}
NTSC = Fraction(1000, 1001)  # by which rates of NTSC fall short of whole numbers
NAMED = {"ntsc": 30 * NTSC, "pal": Fraction(25), "film": Fraction(24), "ntsc-film": 24 * NTSC}
MAX_RATE = 1000  # frames per second
SEGMENT_SECONDS = 20  # of a segment of a long job, unless told
RESET_SECONDS = 10  # from reset point to reset point of a stream
LEAST_RATE = Fraction(1, 3600)  # frames per second: no frame is shown for longer than an hour
FINEST_RATE = (1 << 31) // MAX_RATE  # denominator: FFmpeg counts in fractions of 32-bit numbers
LONGEST_SHOWN = 80  # characters of a value that messages repeat
LEVELS = {  # FFmpeg's log levels
    "quiet": -8,
    "panic": 0,
    "fatal": 8,
    "error": 16,
    "warning": 24,
    "info": 32,
    "verbose": 40,
    "debug": 48,
    "trace": 56,
}
ADDRESS = re.compile(  # of the network, as FFmpeg can read or write it
    r"(?i)(?P<scheme>https?|ftps?|sftp|rtmp\w*|rtsps?|rtp|srtp?|udp|udplite|tcp|tls|mms\w*|gophers?"
    r"|rist|sctp|smb|icecast|whip|ipfs|ipns|amqp|zmq)://(?P<rest>.*)",
    re.DOTALL,
)
SECRETS = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^/?#@\s'\"]*@")  # user and password in a text
SECRET_OPTIONS = {  # whose values no message and no report shows
    "headers", "cookies", "http_proxy", "post_data", "cryptokey", "decryption_key",
    "decryption_keys", "encryption_key", "activation_bytes", "passphrase", "rtmp_conn",
    "rtmp_playpath",
}  # fmt: skip
HIDDEN = "..."  # stands for what is not shown
SWITCHES = {"1": True, "true": True, "yes": True, "on": True}
SWITCHES |= {"0": False, "false": False, "no": False, "off": False}


def shown(value: object) -> str:
    """Write a value for a message: its repr, shortened where it is long."""
    try:
        text = repr(value)
    except ValueError:  # of a number with thousands of digits
        text = f"a huge {type(value).__name__}"
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def parse_spec(text: str) -> tuple[str, dict[str, str]]:
    r"""Split "name:key=value:key=value"; a colon or backslash in a value is written `\:`, `\\`.

    Raises OptionError.
    """
    parts = re.findall(r"(?s)(?:^|:)((?:\\.|[^:\\])*)", text)
    name, *pairs = parts
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name) or ":".join(parts) != text:
        raise OptionError(f"engine {shown(text)}: write NAME or NAME:key=value:key=value")
    options: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise OptionError(f"engine {shown(text)}: {shown(pair)} is not key=value")
        if key in options:
            raise OptionError(f"engine {shown(text)}: {key} is given twice")
        options[key] = re.sub(r"(?s)\\(.)", r"\1", value)
    return name, options


def parse_specs(text: str) -> tuple[str, ...]:
    r"""Split "flow,auto:with=onnx" at its commas; a comma in a value is written `\,`.

    `parse_spec` reads the parts. Raises OptionError.
    """
    parts = re.findall(r"(?s)(?:^|,)((?:\\.|[^,\\])*)", text)
    if ",".join(parts) != text or not all(parts):
        raise OptionError(
            f"engines {shown(text)}: separate them by commas, as in flow,blend; a comma inside a "
            r"value is written \,"
        )
    for part in parts:
        parse_spec(part)
    return tuple(parts)


def format_spec(name: str, options: Mapping[str, str]) -> str:
    """Write what `parse_spec` reads."""

    def escape(value: str) -> str:
        return re.sub(r"([:\\])", r"\\\1", value)

    return ":".join([name, *(f"{key}={escape(value)}" for key, value in options.items())])


def parse_bytes(text: str) -> int:
    """Read a size such as 512M, 4G, 1.5GiB or 300000000 (bytes). Raises OptionError."""
    pattern = r"(?ai)(\d{1,18}(?:\.\d{1,9})?)\s*([KMGT]?)(?:i?B)?"
    match = re.fullmatch(pattern, text.strip())
    if not match:
        raise OptionError(f"size {shown(text)}: write bytes, or a number with K, M or G: 512M, 4G")
    power = " KMGT".index(match[2].upper() or " ")
    return int(Fraction(match[1]) * 1024**power)


def parse_time(text: str) -> Fraction:
    """Read seconds as FFmpeg writes them: 12.5, 250ms, 01:30, 1:02:03.5. Raises OptionError."""
    pattern = r"(?a)(?:(?:(\d{1,6}):)?(\d{1,6}):)?(\d{1,12}(?:\.\d{1,12})?)(s|ms|us)?"
    match = re.fullmatch(pattern, text.strip())
    if not match or (match[4] and match[2]):
        raise OptionError(f"time {shown(text)}: write seconds or HH:MM:SS.mmm")
    scale = {None: 1, "s": 1, "ms": 1000, "us": 1000000}[match[4]]
    return Fraction(match[3]) / scale + 60 * int(match[2] or 0) + 3600 * int(match[1] or 0)


def scheme_of(path: str) -> str | None:
    """Return how an address of the network begins, in lower case; None for the name of a file."""
    found = ADDRESS.match(path)
    return found["scheme"].lower() if found else None


def shown_name(path: str) -> str:
    """Return the name of a file, or an address without what may be secret in it.

    That is a user and password, a query, and the last part of an address of RTMP, its stream key.
    """
    found = ADDRESS.match(path)
    if not found:
        return path
    place, mark, _ = without_secrets(path).partition("?")
    if found["scheme"].lower().startswith("rtmp") and place.count("/") > 3:
        place = f"{place.rpartition('/')[0]}/{HIDDEN}"
    return f"{place}?{HIDDEN}" if mark else place


def without_secrets(text: str) -> str:
    """Return a text with the user and password hidden in each address of the network in it."""
    return SECRETS.sub(rf"\1{HIDDEN}@", text)


def parse_spans(text: str) -> tuple[Span, ...]:
    """Read 1.5:3.5, or 0:01:30-0:01:32; several are separated by commas. Raises OptionError.

    Both ends are written as `parse_time` reads them; between two with colons a dash is clearer,
    but a colon will do where both have as many fields.
    """
    return tuple(_span(part) for part in text.split(","))


def _span(text: str) -> Span:
    ends = text.split("-")
    if len(ends) == 1:
        fields = text.split(":")
        half, odd = divmod(len(fields), 2)
        ends = [] if odd else [":".join(fields[:half]), ":".join(fields[half:])]
    if len(ends) != 2 or not all(ends):
        raise OptionError(f"span {shown(text)}: write BEGIN:END in seconds, or HH:MM:SS-HH:MM:SS")
    return parse_time(ends[0]), parse_time(ends[1])


def parse_size(text: str) -> tuple[int, int]:
    """Read a picture size in pixels: 1920x1080, or FFmpeg's name for one. Raises OptionError."""
    match = re.fullmatch(r"(?a)(\d{1,6})x(\d{1,6})", SIZES.get(text, text))
    if not match or 0 in (int(match[1]), int(match[2])):
        raise OptionError(f"size {shown(text)}: write WIDTHxHEIGHT, such as 1920x1080")
    return int(match[1]), int(match[2])


def parse_lora(text: str) -> tuple[str, float]:
    """Read PATH or PATH:STRENGTH. Raises OptionError."""
    path, _, tail = text.rpartition(":")
    if not path or not re.fullmatch(r"(?a)[-+]?\d*\.?\d+", tail):
        path, tail = text, "1"
    if not path or not isfinite(float(tail)):
        raise OptionError("write PATH or PATH:STRENGTH, such as style.safetensors:0.8")
    return path, float(tail)


def parse_threads(text: str) -> int:
    """Read the value of -threads; auto is 0, as ffmpeg has it. Raises OptionError."""
    if text == "auto":
        return 0
    if not re.fullmatch(r"(?a)\d{1,6}", text) or int(text) > MAX_THREADS:
        raise OptionError(
            f"{_plain(text)}: write a whole number from 1 to {MAX_THREADS}, or 0 to have it chosen"
        )
    return int(text)


def parse_fraction(text: str) -> Fraction:
    """Read 50, 5/2 or 0.5, without exponents: 1e999999999 would take forever.

    Raises ValueError, ZeroDivisionError.
    """
    if "e" in text.lower():
        raise ValueError(text)
    return Fraction(text)


def parse_rate(text: str) -> Fraction:
    """Read a frame rate: an integer, a fraction, an FFmpeg name, or a decimal.

    Decimals within 1e-4 of n * 1000/1001 mean that: 59.94 is 60000/1001. Raises OptionError.
    """
    if text in NAMED:
        return NAMED[text]
    try:
        rate = parse_fraction(text.replace(":", "/"))
    except (ValueError, ZeroDivisionError):
        raise OptionError(
            f"frame rate {shown(text)} is not a number; use 50, 60000/1001 or 59.94"
        ) from None
    if not 0 < rate <= MAX_RATE:
        raise OptionError(f"frame rate {_plain(text)} must be above 0 and at most {MAX_RATE}")
    if rate < LEAST_RATE:
        raise OptionError(f"frame rate {_plain(text)} must be at least {LEAST_RATE}, one per hour")
    if rate.denominator != 1 and "/" not in text.replace(":", "/"):
        ntsc = round_half_up(rate / NTSC) * NTSC
        if ntsc and abs(rate - ntsc) < Fraction(6, 1000) and abs(rate - ntsc) <= ntsc / 10**4:
            return ntsc
    return rate.limit_denominator(FINEST_RATE)


def _plain(text: str) -> str:
    """Write text for a message without quotes, shortened where it is long."""
    return shown(text)[1:-1] if len(text) <= LONGEST_SHOWN - 2 else shown(text)[1:]


def round_half_up(value: Fraction) -> int:
    """Round to the nearest integer, halves up."""
    return floor(value + Fraction(1, 2))


def parse_speed(text: str) -> Fraction:
    """Read a factor from 0.01 to 100, such as 0.5 or 1/3. Raises OptionError."""
    try:
        speed = parse_fraction(text)
    except (ValueError, ZeroDivisionError):
        speed = Fraction(0)
    if not LEAST_SPEED <= speed <= 1 / LEAST_SPEED:
        raise OptionError(f"{_plain(text)}: write a number from 0.01 to 100, such as 0.5 or 1/3")
    return speed


def parse_scale(text: str) -> Fraction:
    """Read how many times larger pictures become: 2x or 1.5x, or 2 or 1.5. Raises OptionError."""
    factor = SCALES.get(text.removesuffix("x"))
    if factor is None:
        raise OptionError(
            f"{_plain(text)}: write 2x or 1.5x; for other sizes, scale in the ffmpeg that follows"
        )
    return factor


def parse_aspect(text: str) -> Fraction:
    """Read a display aspect, width over height: 16:9, 16/9 or 1.78. Raises OptionError."""
    try:
        aspect = parse_fraction(text.replace(":", "/"))
    except (ValueError, ZeroDivisionError):
        aspect = Fraction(0)
    if not LEAST_ASPECT <= aspect <= 1 / LEAST_ASPECT:
        raise OptionError(
            f"{_plain(text)}: write width over height from 0.01 to 100, such as 16:9 or 1.78"
        )
    return aspect


def parse_level(text: str) -> int:
    """Return the number of a log level by its name; flags such as "repeat+level+" are skipped.

    Raises OptionError.
    """
    name = text.rpartition("+")[2]
    if name in LEVELS:
        return LEVELS[name]
    if not re.fullmatch(r"(?a)-?\d{1,3}", name):
        raise OptionError(f"{_plain(text)}: use one of {', '.join(LEVELS)}")
    return int(name)


def parse_switch(text: str) -> bool:
    """Read 1, true, yes or on, and 0, false, no or off. Raises OptionError."""
    if text.lower() not in SWITCHES:
        raise OptionError(
            f"{shown(text)} is neither yes nor no; write 1 or 0, yes or no, on or off"
        )
    return SWITCHES[text.lower()]


def check_multiple(text: str) -> Fraction:
    """Read the factor of "2x" or "5/2x". Raises OptionError."""
    try:
        factor = parse_fraction(text.removesuffix("x"))
    except (ValueError, ZeroDivisionError):
        factor = Fraction(0)
    if factor <= 0:
        raise OptionError(f"frame rate {shown(text)} is not a multiple; use 2x or 5/2x")
    return factor


def merge_spans(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return the spans in order, those that meet joined. Raises OptionError for an unusable one."""
    joined: list[Span] = []
    for begin, end in sorted(spans):
        if not 0 <= begin < end:
            raise OptionError(f"span {span_text((begin, end))}: it must end after it begins")
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((begin, end))
    for begin, end in joined:
        if end - begin > LONGEST_REDRAW:
            raise OptionError(
                f"span {span_text((begin, end))}: at most {LONGEST_REDRAW} s in one go can be "
                "interpolated from the frames around them"
            )
    return tuple(joined)


def span_text(span: Span) -> str:
    """Write a span as `parse_spans` reads it."""
    return f"{float(span[0]):g}:{float(span[1]):g}"


def parse_scalar(kind: type[Any], text: str) -> Any:
    """Read text as a bool, int, float or str. Raises OptionError."""
    if kind is bool:
        return parse_switch(text)
    try:
        value = kind(text)
    except ValueError:
        value = nan
    if isinstance(value, float) and not isfinite(value):
        raise OptionError(f"{shown(text)} is no {kind.__name__}")
    return value
