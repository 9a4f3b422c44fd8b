"""Source frames that are not to be seen: which ones are hidden, and the holes that they leave."""

from __future__ import annotations

import logging
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from operator import itemgetter
from typing import TYPE_CHECKING

from ltxfilter.errors import InputError, OptionError
from ltxfilter.values import Span

if TYPE_CHECKING:
    from ltxfilter.frame import Frame

log = logging.getLogger("ltxfilter.redraw")

LONGEST_MISSING = Fraction(10)  # seconds from one good frame to the next that are drawn across
LONGEST_WAIT = Fraction(1)  # seconds for a first good frame, where there is none to hold


@dataclass(slots=True)
class MissingRun:
    """What was hidden since the last good frame."""

    start: Fraction  # seconds: the good frame before it, or the first hidden one of the stream
    times: list[Fraction] = field(default_factory=list)  # of the hidden frames
    paused: bool = False  # the source paused within it
    damaged: bool = False  # frames may be lost within it, which is no pause
    spliced: bool = False  # the picture's size changed within it
    cuts: list[Fraction] | None = None  # where shots seem to begin in it; None: nobody looked

    @property
    def whole(self) -> bool:
        """True if it lies within one shot for all that is known."""
        return self.cuts is not None and not self.cuts

    def switch_time(self, end: Fraction) -> Fraction:
        """Return from when on the good frame at its `end` is nearer, or of the same shot."""
        if self.cuts is not None and len(self.cuts) == 1:
            return self.cuts[0]
        return (self.start + end) / 2


@dataclass(slots=True)
class MissingFrames:
    """Tells which frames of a stream to treat as missing, and keeps the missing that they leave.

    Damaged frames are, unless the damage goes on for more than `longest` seconds: what cannot be
    drawn from anything near is better shown as it is.

    apart: tells whether a shot begins at the second of two neighbours. Good frames far apart look
    as if there was a cut between them; what is hidden can tell, unless it is mere damage.
    """

    conceal: bool = True  # damaged frames too
    longest: Fraction = LONGEST_MISSING
    apart: Callable[[Frame, Frame], bool] | None = None
    missing: MissingRun | None = None  # open since the last good frame
    damaged: Frame | None = (
        None  # the latest in the missing, which stands in if there is no good one
    )
    _given_up: bool = False
    _latest: Frame | None = None  # the neighbour of the next frame, while a missing is open

    def hides(self, frame: Frame, good: Fraction | None, start: Fraction) -> bool:
        """Say whether `frame` is missing. good: when the latest good frame was; start: the first.

        A frame that is not hidden leaves its missing to `take`.
        """
        if frame.hidden:
            return True
        if not frame.corrupt or not self.conceal:
            self._given_up = False
            return False
        limit = min(self.longest, LONGEST_WAIT) if good is None else self.longest
        self._given_up |= frame.time - (start if good is None else good) > limit
        return not self._given_up

    def hide(self, frame: Frame, good: Frame | None, paused: bool) -> None:
        """Add `frame` to the missing; what it says of the stream counts all the same."""
        if self.missing is None:
            self.missing = MissingRun((good or frame).time)
            self._latest = good
        self._compare(self.missing, frame)
        self.missing.times.append(frame.time)
        self.missing.paused |= paused
        self.missing.spliced |= frame.spliced
        self.missing.damaged |= frame.corrupt or frame.lost
        if not frame.hidden:
            self.damaged = frame

    def take(self, good: Frame | None = None) -> MissingRun | None:
        """Return the missing that a good frame closes, or the end of the stream, if any."""
        missing, self.missing, self.damaged = self.missing, None, None
        if missing is not None and good is not None:
            self._compare(missing, good)
        self._latest = None
        return missing

    def _compare(self, missing: MissingRun, frame: Frame) -> None:
        """Look for a cut between the latest frame and this one."""
        if self.apart is not None and self._latest is not None:
            missing.cuts = missing.cuts or []
            if self.apart(self._latest, frame):
                missing.cuts.append(frame.time)
        self._latest = frame

    def stand_in(self) -> tuple[Frame, MissingRun | None]:
        """Return a damaged frame for want of any good one, and the missing before it.

        Raises InputError if there is none.
        """
        missing, damaged = self.missing, self.damaged
        if missing is None or damaged is None:
            raise InputError("no source frame is left to show: --redraw hides all of them")
        earlier = [time for time in missing.times if time < damaged.time]
        later = [time for time in missing.times if time > damaged.time]
        self.missing = MissingRun(damaged.time, later) if later else None
        return damaged, MissingRun(missing.start, earlier) if earlier else None


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return the spans in order, those that meet joined. Raises OptionError for an unusable one."""
    joined: list[Span] = []
    for begin, end in sorted(spans):
        if not 0 <= begin < end:
            raise OptionError(f"--redraw {_text(begin, end)}: it must end after it begins")
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((begin, end))
    for begin, end in joined:
        if end - begin > LONGEST_MISSING:
            raise OptionError(
                f"--redraw {_text(begin, end)}: at most {LONGEST_MISSING} s in one go can be drawn "
                "from what lies around them"
            )
    return tuple(joined)


def longest(spans: Sequence[Span]) -> Fraction:
    """Return how many seconds the longest span lasts; 0 if there is none."""
    return max((end - begin for begin, end in spans), default=Fraction(0))


def hide(frames: Iterable[Frame], spans: Sequence[Span], clock: Fraction) -> Iterator[Frame]:
    """Yield the frames, those with `begin <= time - clock < end` of a span marked as hidden.

    spans: seconds, ascending, as `merged` returns them. clock: the time that they call 0.
    """
    met: set[int] = set()
    for frame in frames:
        at = _within(frame.time - clock, spans)
        if at is None:
            yield frame
        else:
            met.add(at)
            yield replace(frame, hidden=True)
    for number, span in enumerate(spans):
        if number not in met:
            log.warning("--redraw %s: no source frame is shown then", _text(*span))


def hidden(frame: Frame, spans: Sequence[Span]) -> Frame:
    """Return one frame, marked if a span holds its time."""
    return frame if _within(frame.time, spans) is None else replace(frame, hidden=True)


def _within(time: Fraction, spans: Sequence[Span]) -> int | None:
    """Return the number of the span that holds `time`."""
    at = bisect(spans, time, key=itemgetter(0)) - 1
    return at if at >= 0 and time < spans[at][1] else None


def _text(begin: Fraction, end: Fraction) -> str:
    return f"{float(begin):g}:{float(end):g}"
