"""What a program gives to an option -> the one value that everything else works with.

Each `X_of(value)` takes the text that the command line would take, or a value that already is of
the right kind, and raises OptionError with what was given and what is allowed. `options.py` names
the reader of every option, adds the option's name to the message, and calls them once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from fractions import Fraction
from functools import wraps
from inspect import signature
from math import isfinite
from typing import Any, ParamSpec, TypeVar

from ltxfilter.errors import OptionError
from ltxfilter.values import (
    MAX_THREADS,
    RESET_SECONDS,
    Span,
    check_multiple,
    merge_spans,
    parse_aspect,
    parse_bytes,
    parse_lora,
    parse_rate,
    parse_scale,
    parse_spans,
    parse_speed,
    parse_switch,
    parse_time,
    shown,
)

LARGEST = 10**18  # no number that is given is as large
FINEST_BITS = 1100  # of a denominator; those of floats have fewer

P = ParamSpec("P")
T = TypeVar("T")


def number_of(value: object) -> Fraction | None:
    """Return a number below LARGEST, no text and no truth value, as a Fraction, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Fraction)):
        return None
    if isinstance(value, float) and not isfinite(value):
        return None
    number = Fraction(value)
    usable = abs(number) < LARGEST and number.denominator.bit_length() <= FINEST_BITS
    return number if usable else None


def seconds_of(value: object) -> Fraction:
    """Read seconds: a number, rounded to the nanosecond, or text as for `parse_time`.

    Raises OptionError.
    """
    if isinstance(value, str):
        return parse_time(value)
    number = number_of(value)
    if number is None:
        raise OptionError(
            f"time {shown(value)}: give seconds as a number, or text such as '1:02:03.5'"
        )
    return number.limit_denominator(10**9)


def spans_of(value: object) -> tuple[Span, ...]:
    """Read spans: text as for `parse_spans`, or pairs of seconds; merged. Raises OptionError."""
    if isinstance(value, str):
        return merge_spans(parse_spans(value))
    try:
        pairs = [(begin, end) for begin, end in value]  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise OptionError(f"spans {shown(value)}: give pairs of seconds, as [(1.5, 3.5)]") from None
    return merge_spans((seconds_of(begin), seconds_of(end)) for begin, end in pairs)


def bytes_of(value: object) -> int:
    """Read a size in bytes: a whole number above 0, or text as for `parse_bytes`.

    Raises OptionError.
    """
    size = parse_bytes(value) if isinstance(value, str) else number_of(value)
    if size is None or size <= 0 or size != int(size):
        raise OptionError(
            f"size {shown(value)}: give bytes above 0, or text such as '512M' or '4G'"
        )
    return int(size)


def rate_of(value: object) -> Fraction:
    """Read frames per second: a number, or text as for `parse_rate`. Raises OptionError."""
    if not isinstance(value, str) and number_of(value) is None:
        raise OptionError(f"frame rate {shown(value)} is not a number; use 50, 60000/1001 or 59.94")
    return parse_rate(str(value))


def fps_of(value: object) -> str:
    """Read an output rate: "auto", "source", a multiple such as "2x", or a rate.

    Returns it as text. Raises OptionError.
    """
    text = str(value) if number_of(value) is not None else value
    if not isinstance(text, str):
        raise OptionError(
            f"frame rate {shown(value)}: give 'auto', 'source', '2x' or a rate such as 60"
        )
    if text.endswith("x"):
        check_multiple(text)
    elif text not in ("auto", "source"):
        parse_rate(text)
    return text


def speed_of(value: object) -> Fraction:
    """Read a factor from 0.01 to 100: a number, or text as for `parse_speed`.

    Raises OptionError.
    """
    if not isinstance(value, str) and number_of(value) is None:
        raise OptionError(f"{shown(value)}: give a number from 0.01 to 100, such as 0.5 or '1/3'")
    return parse_speed(str(value))


def scale_of(value: object) -> Fraction:
    """Read how many times larger pictures become: 2 or 1.5, or text as for `parse_scale`.

    Raises OptionError.
    """
    number = None if isinstance(value, str) else number_of(value)
    return parse_scale(f"{float(number):g}" if number is not None else str(value))


def aspect_of(value: object) -> Fraction:
    """Read width over height: a number from 0.01 to 100, or text as for `parse_aspect`.

    Raises OptionError.
    """
    if not isinstance(value, str) and number_of(value) is None:
        raise OptionError(
            f"{shown(value)}: give width over height, such as '16:9' or Fraction(16, 9)"
        )
    return parse_aspect(str(value))


def threads_of(value: object) -> int:
    """Read a number of threads, up to MAX_THREADS; 0 has it chosen. Raises OptionError."""
    text = value if isinstance(value, str) else str(number_of(value))
    if text == "auto":
        return 0
    if not re.fullmatch(r"(?a)\d{1,6}", text) or int(text) > MAX_THREADS:
        raise OptionError(
            f"{shown(value)}: give a whole number from 1 to {MAX_THREADS}, or 0 to have it chosen"
        )
    return int(text)


def resume_of(value: object) -> str:
    """Read whether a job is carried on: a truth value or "restart". Raises OptionError."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return choice_of("no", "yes", "restart")({"1": "yes", "0": "no"}.get(str(value), value))


def workers_of(value: object) -> int:
    """Read how many processes work on a job; 0 and "auto" mean as many as pay.

    Raises OptionError.
    """
    try:
        return threads_of(0 if value == "auto" else value)
    except OptionError:
        raise OptionError(f"{shown(value)}: give a number of processes, or auto") from None


def segment_seconds_of(value: object) -> int:
    """Read the seconds of a segment, a multiple of RESET_SECONDS. Raises OptionError."""
    seconds = seconds_of(value)
    if seconds <= 0 or seconds % RESET_SECONDS:
        raise OptionError(
            f"{float(seconds):g}: give a multiple of {RESET_SECONDS}, where frames depend on "
            "nothing earlier"
        )
    return int(seconds)


def whole_of(value: object) -> int:
    """Read a whole number above 0. Raises OptionError."""
    text = value if isinstance(value, str) else str(number_of(value))
    if not re.fullmatch(r"(?a)\d{1,6}", text) or not int(text):
        raise OptionError(f"{shown(value)} is no whole number above 0")
    return int(text)


def sides_of(value: Any) -> tuple[Any, Any]:
    """Return the width and the height of a pair, unread. Raises OptionError."""
    try:
        width, height = value
    except (TypeError, ValueError):
        raise OptionError(
            f"option size: {value!r}: give width and height, as (1920, 1080)"
        ) from None
    return width, height


def switch_of(value: object) -> bool:
    """Read True or False, 1 or 0, or text as for `parse_switch`. Raises OptionError."""
    if isinstance(value, str):
        return parse_switch(value)
    if not isinstance(value, (bool, int)) or value not in (0, 1):
        raise OptionError(f"{shown(value)} is neither yes nor no; give True or False")
    return bool(value)


def text_of(value: object) -> str:
    """Read text. Raises OptionError."""
    if not isinstance(value, str):
        raise OptionError(f"{shown(value)} is no text")
    return value


def path_of(value: object) -> str:
    """Read the name of a file: text or an object with `__fspath__`. Raises OptionError."""
    try:
        path = os.fspath(value)  # type: ignore[call-overload]
    except TypeError:
        path = None
    if not isinstance(path, str) or not path:
        raise OptionError(f"{shown(value)} is no file name; give text or a Path")
    return path


def paths_of(value: object) -> tuple[str, ...]:
    """Read the name of one file, of several, or None for no file. Raises OptionError."""
    if value is None:
        return ()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(map(path_of, value))
    return (path_of(value),)


def port_of(value: object) -> int:
    """Read the number of a port, 0 to 65535; 0 lets the system choose. Raises OptionError."""
    text = value.strip() if isinstance(value, str) else value
    number = number_of(
        int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else text
    )
    if number is None or number != int(number) or not 0 <= number <= 65535:
        raise OptionError(f"port {shown(value)}: give a whole number from 0 to 65535")
    return int(number)


def texts_of(value: object) -> tuple[str, ...]:
    """Read one text, or several. Raises OptionError."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Sequence):
        raise OptionError(f"{shown(value)} is neither a text nor a list of texts")
    return tuple(map(text_of, value))


def mapping_of(value: object) -> Mapping[str, str]:
    """Read options by name, with texts or numbers as values; a truth value becomes 1 or 0.

    Raises OptionError.
    """
    if not isinstance(value, Mapping):
        raise OptionError(f"{shown(value)} is no mapping; give {{'crf': 18}}")
    return {text_of(key): _scalar_text(key, item) for key, item in value.items()}


def _scalar_text(key: object, value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if not isinstance(value, str) and number_of(value) is None:
        raise OptionError(f"{key}={shown(value)}: give a text or a number")
    return str(value)


def lora_of(value: object) -> tuple[str, float]:
    """Read a LoRA: text as for `parse_lora`, or a file and its strength. Raises OptionError."""
    if isinstance(value, str):
        return parse_lora(value)
    try:
        path, strength = value  # type: ignore[misc]
    except (TypeError, ValueError):
        path, strength = value, 1
    number = number_of(strength)
    if number is None:
        raise OptionError(f"{shown(value)}: give a file, or a pair of file and strength")
    return path_of(path), float(number)


def loras_of(value: object) -> tuple[tuple[str, float], ...]:
    """Read several LoRAs, in a list. Raises OptionError."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise OptionError(f"{shown(value)} is no list; give [(file, strength)]")
    return tuple(map(lora_of, value))


def choice_of(*choices: str) -> Callable[[object], str]:
    """Return a reader of one of `choices`."""

    def read(value: object) -> str:
        if value not in choices:
            raise OptionError(f"{shown(value)} is none of {', '.join(choices)}")
        return str(value)

    return read


def optional(read: Callable[[object], T]) -> Callable[[object], T | None]:
    """Return a reader that also takes None, which means that nothing was given."""
    return lambda value: None if value is None else read(value)


def instance_of(kind: type[T]) -> Callable[[object], T]:
    """Return a reader of objects of one class."""

    def read(value: object) -> T:
        if not isinstance(value, kind):
            raise OptionError(f"{shown(value)} is no {kind.__name__}")
        return value

    return read


def normalize_fields(options: Any, readers: Mapping[str, Callable[[object], Any]]) -> None:
    """Replace every field of a frozen dataclass by what its reader makes of it, once.

    Raises OptionError that names the option, what was given and what is allowed.
    """
    for name, read in readers.items():
        try:
            value = read(getattr(options, name))
        except OptionError as error:
            raise OptionError(f"option {name}: {error}") from None
        object.__setattr__(options, name, value)


def named_options(function: Callable[P, T]) -> Callable[P, T]:
    """Make a misspelt or missing argument an OptionError, as every other wrong option is."""
    parameters = signature(function)

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            parameters.bind(*args, **kwargs)
        except TypeError as error:
            raise OptionError(f"{function.__name__}: {error}{_hint(kwargs)}") from None
        return function(*args, **kwargs)

    def _hint(given: Mapping[str, Any]) -> str:
        known = list(parameters.parameters)
        unknown = [name for name in given if name not in known]
        close = get_close_matches(unknown[0], known, n=1) if unknown else []
        return f"; did you mean {close[0]}?" if close else ""

    return checked
