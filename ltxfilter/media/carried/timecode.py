"""SMPTE timecodes at another frame rate (SMPTE ST 12-1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

TIMECODE = re.compile(r"(\d\d):([0-5]\d):([0-5]\d)([:;.])(\d{2,3})")
KEY = "timecode"  # of the tag that holds one
DAY = 86400  # seconds


def at_rate(text: str, before: Fraction, after: Fraction, passed: Fraction = Fraction(0)) -> str:
    """Return the timecode of the same moment, counted at another rate; unknown text as it is.

    before, after: frames per second. passed: seconds from that moment to the wanted one.
    """
    match = TIMECODE.fullmatch(text.strip())
    if match is None:
        return text
    hours, minutes, seconds, frames = (int(match[number]) for number in (1, 2, 3, 5))
    drops = match[4] != ":"
    nominal = round(before)
    count = ((hours * 60 + minutes) * 60 + seconds) * nominal + frames
    if drops:
        count -= _dropped(nominal) * (hours * 60 + minutes - (hours * 60 + minutes) // 10)
    moment = count / before + passed
    return _text(round(moment * after), after, drops=drops and _may_drop(after))


def converted(
    tags: Mapping[str, str], before: Fraction | None, after: Fraction | None, passed: Fraction
) -> dict[str, str]:
    """Return tags whose timecode is counted at another rate; left out if a rate is unknown."""
    found = dict(tags)
    for key in [key for key in found if key.lower() == KEY]:
        if before and after:
            found[key] = at_rate(found[key], before, after, passed)
        else:
            del found[key]
    return found


def _text(count: int, rate: Fraction, *, drops: bool) -> str:
    nominal = round(rate)
    if drops:  # frame numbers that are left out: the first ones of a minute, but not of every tenth
        skipped = _dropped(nominal)
        minute, ten = 60 * nominal - skipped, 600 * nominal - 9 * skipped
        tens, rest = divmod(count, ten)
        count += 9 * skipped * tens
        if rest >= skipped:
            count += skipped * ((rest - skipped) // minute)
    count %= DAY * nominal
    seconds, frames = divmod(count, nominal)
    digits = 3 if nominal > 100 else 2
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{clock}{';' if drops else ':'}{frames:0{digits}}"


def _dropped(nominal: int) -> int:
    """Return how many frame numbers a minute leaves out at a nominal rate: 2 at 30, 4 at 60."""
    return nominal // 15


def _may_drop(rate: Fraction) -> bool:
    return rate.denominator == 1001 and round(rate) % 30 == 0
