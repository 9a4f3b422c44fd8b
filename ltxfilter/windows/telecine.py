"""Film that was made into video by repeating fields or frames in a pattern of five (hard telecine).

What was repeated is in the pictures, not in their times, so nothing here undoes it. It is told.
"""

from __future__ import annotations

import logging
from collections import deque
from fractions import Fraction
from itertools import pairwise

import numpy as np

from ltxfilter.frame import Plane

log = logging.getLogger("ltxfilter.window")

PERIOD = 5  # frames of video that hold four of film, or pictures that show two of film
LOOK = 5 * PERIOD  # pairs of frames that a pattern has to explain
EXCEPTIONS = 1  # pairs among them that need not fit
RATES = ((29, 31), (59, 61))  # frames per second of video that film is made into
STILL = 0.3  # 8-bit codes; a mean difference below it is no motion
REPEATED = 0.4  # times what the other field changed, of which a repeated one changes less
ROWS, COLUMNS = 4, 2  # every so many of a field are looked at

FIELDS, FRAMES = "fields", "frames"  # kinds of pattern
ADVICE = {
    FIELDS: "this is film in video (hard telecine): 2 frames of 5 mix the fields of two pictures, "
    "and motion judders; take it out before: ffmpeg -i IN -vf fieldmatch,decimate -f nut "
    "-c:v rawvideo - | ltxfilter",
    FRAMES: "this is film in video (hard telecine): frames are repeated in a pattern of 5, and "
    "motion judders; take it out before: ffmpeg -i IN -vf mpdecimate -f nut -c:v rawvideo "
    "-fps_mode vfr - | ltxfilter",
}


class TelecineWatch:
    """Looks for the pattern in the luma of neighbouring frames."""

    def __init__(self, rate: Fraction | None, depth: int) -> None:
        """Begin a stream. rate: frames per second; None when variable. depth: bits of luma."""
        self._active = rate is None or any(low <= rate <= high for low, high in RATES)
        self._code = 1 << (depth - 8)  # of luma, per code of 8 bits
        self._recent: deque[str] = deque(maxlen=LOOK)

    def add(self, left: Plane, right: Plane, time: Fraction) -> None:
        """Take two neighbours, and warn the first time that the pattern is certain.

        time: seconds on the source's clock, for the message.
        """
        if not self._active:
            return
        self._recent.append(self._kind(left, right))
        found = self._pattern() if len(self._recent) == LOOK else None
        if found is not None:
            self._active = False
            log.warning("up to %.3f s %s", float(time), ADVICE[found])

    def _kind(self, left: Plane, right: Plane) -> str:
        """Return which fields repeat: t(op), b(ottom), d(uplicate: both), or - for none."""
        top, bottom = (self._change(left[first::2], right[first::2]) for first in (0, 1))
        if max(top, bottom) < STILL:
            return "d"
        if min(top, bottom) < REPEATED * max(top, bottom):
            return "t" if top < bottom else "b"
        return "-"

    def _change(self, left: Plane, right: Plane) -> float:
        one, other = (field[::ROWS, ::COLUMNS].astype(np.int32) for field in (left, right))
        return float(np.abs(one - other).mean()) / self._code

    def _pattern(self) -> str | None:
        places = [
            max("-tbd", key=list(self._recent)[place::PERIOD].count) for place in range(PERIOD)
        ]
        strange = sum(kind != places[number % PERIOD] for number, kind in enumerate(self._recent))
        if strange > EXCEPTIONS:
            return None
        kinds = "".join(sorted(places))
        if kinds == "---bt":
            return FIELDS
        apart = all({a, b} != {"-"} for a, b in pairwise([*places, places[0]]))
        if kinds == "----d" or (kinds == "--ddd" and apart):
            return FRAMES
        return None
