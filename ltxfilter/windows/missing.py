"""Missing frames: source frames that are hidden or damaged, and the runs that they form."""

from __future__ import annotations

import logging
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from operator import itemgetter
from typing import TYPE_CHECKING

from ltxfilter.errors import InputError
from ltxfilter.values import LONGEST_REDRAW, Span, span_text

if TYPE_CHECKING:
    from ltxfilter.frame import Frame

log = logging.getLogger("ltxfilter.redraw")

LONGEST_WAIT = Fraction(1)  # seconds that a stream's first good frame is waited for


@dataclass(slots=True)
class MissingRun:
    """The missing frames since the last good frame."""

    start: Fraction  # seconds: time of the good frame before it, or of the stream's first frame
    times: list[Fraction] = field(default_factory=list)  # seconds, ascending: of the frames in it
    paused: bool = False  # True if the source paused within it
    damaged: bool = False  # True if frames may be lost within it, so that it is no pause
    spliced: bool = False  # True if the picture's size changed within it
    cuts: list[Fraction] | None = None  # times at which shots seem to begin; None: nobody looked

    @property
    def in_one_shot(self) -> bool:
        """True if somebody looked for scene cuts within it and found none."""
        return self.cuts is not None and not self.cuts

    def switch_time(self, end: Fraction) -> Fraction:
        """Return the time from which the good frame after the run is shown where nothing is made.

        end: time of that frame. It is the run's only scene cut, or else the middle.
        """
        if self.cuts is not None and len(self.cuts) == 1:
            return self.cuts[0]
        return (self.start + end) / 2


@dataclass(slots=True)
class MissingFrames:
    """Decides which frames of a stream are missing, and keeps the run that is open.

    A hidden frame is always missing. A damaged frame is missing as well, unless the damage lasts
    longer than `longest`: what cannot be interpolated from frames near it is shown as it is.
    Good frames on both sides of a long run look as if there were a scene cut between them; hidden
    frames can tell whether there is one, while damaged frames cannot.
    """

    conceal: bool = True  # False: damaged frames are not missing
    longest: Fraction = LONGEST_REDRAW  # seconds from one good frame to the next
    is_cut: Callable[[Frame, Frame], bool] | None = None  # does a shot begin at the second frame?
    run: MissingRun | None = None  # open since the last good frame
    damaged: Frame | None = None  # the run's latest damaged frame, shown if no good one ever comes
    _given_up: bool = False
    _latest: Frame | None = None  # the frame before the next one, while a run is open

    def is_missing(self, frame: Frame, good: Fraction | None, start: Fraction) -> bool:
        """Return True if `frame` is missing; a frame that is not closes the run by `close_run`.

        good: time of the latest good frame, None if there was none. start: time of the first frame.
        """
        if frame.hidden:
            return True
        if not frame.corrupt or not self.conceal:
            self._given_up = False
            return False
        limit = min(self.longest, LONGEST_WAIT) if good is None else self.longest
        self._given_up |= frame.time - (start if good is None else good) > limit
        return not self._given_up

    def add(self, frame: Frame, good: Frame | None, *, paused: bool) -> None:
        """Add a missing frame to the run, with what it says of the stream.

        good: the latest good frame. paused: the source paused before `frame`.
        """
        if self.run is None:
            self.run = MissingRun((good or frame).time)
            self._latest = good
        self._look_for_cut(self.run, frame)
        self.run.times.append(frame.time)
        self.run.paused |= paused
        self.run.spliced |= frame.spliced
        self.run.damaged |= frame.corrupt or frame.lost
        if not frame.hidden:
            self.damaged = frame

    def close_run(self, good: Frame | None = None) -> MissingRun | None:
        """Return the run that ends at a good frame, or at the stream's end; None if none is."""
        run, self.run, self.damaged = self.run, None, None
        if run is not None and good is not None:
            self._look_for_cut(run, good)
        self._latest = None
        return run

    def _look_for_cut(self, run: MissingRun, frame: Frame) -> None:
        """Note the time of `frame` if a shot begins there."""
        if self.is_cut is not None and self._latest is not None:
            run.cuts = run.cuts or []
            if self.is_cut(self._latest, frame):
                run.cuts.append(frame.time)
        self._latest = frame

    def stand_in(self) -> tuple[Frame, MissingRun | None]:
        """Return a damaged frame for want of any good one, and the run before it.

        Raises InputError if there is no damaged frame either.
        """
        run, damaged = self.run, self.damaged
        if run is None or damaged is None:
            raise InputError("no source frame is left to show: --redraw hides all of them")
        earlier = [time for time in run.times if time < damaged.time]
        later = [time for time in run.times if time > damaged.time]
        self.run = MissingRun(damaged.time, later) if later else None
        return damaged, MissingRun(run.start, earlier) if earlier else None


def hide(frames: Iterable[Frame], spans: Sequence[Span], clock: Fraction) -> Iterator[Frame]:
    """Yield the frames; those with `begin <= time - clock < end` of a span are marked as hidden.

    spans: seconds, ascending and apart, as `values.merge_spans` returns them. clock: the time, in
    seconds, that the spans call 0.
    """
    met: set[int] = set()
    for frame in frames:
        number = _span_number(frame.time - clock, spans)
        if number is None:
            yield frame
        else:
            met.add(number)
            yield replace(frame, hidden=True)
    for number, span in enumerate(spans):
        if number not in met:
            log.warning("--redraw %s: no source frame is shown then", span_text(span))


def hidden(frame: Frame, spans: Sequence[Span]) -> Frame:
    """Return one frame, marked as hidden if a span holds its time."""
    return frame if _span_number(frame.time, spans) is None else replace(frame, hidden=True)


def _span_number(time: Fraction, spans: Sequence[Span]) -> int | None:
    """Return the number of the span that holds `time`, None if none does."""
    number = bisect(spans, time, key=itemgetter(0)) - 1
    return number if number >= 0 and time < spans[number][1] else None
