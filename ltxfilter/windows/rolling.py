"""RollingWindow: source frames in, windows out; holds no more than one window needs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from typing import Protocol

from ltxfilter.errors import InputError
from ltxfilter.frame import Frame
from ltxfilter.windows.missing import MissingFrames, MissingRun
from ltxfilter.windows.timeline import LONGEST_PAUSE, Slot, Timeline, UsualInterval
from ltxfilter.windows.window import Interval, Join, Window, WindowShape

log = logging.getLogger("ltxfilter.window")
RESET_SECONDS = 10  # state that engines carry is dropped this often, counted from the start
LONGEST_RUN = 3  # equal frames that `repeats="smooth"` treats as one
HELD_SLOTS = 64  # slots of one window that only holds


class Shots(Protocol):
    """Tells neighbours of one shot from those across a cut; `cuts.CutDetector` is one."""

    def join(self, left: Frame, right: Frame, reset: bool) -> Join:
        """Return INTERPOLATE, CUT or DUPLICATE; called once per pair of neighbours, in order."""
        ...


@dataclass(slots=True)
class WindowCounts:
    """What the windows were cut at."""

    repeats: int = 0
    cuts: int = 0
    pauses: int = 0
    redrawn: int = 0  # hidden source frames in whose place an engine draws
    covered: int = 0  # hidden source frames in whose place the nearest good frame is held


class RollingWindow:
    """Turns source frames, pushed one by one, into windows; holds no more than one window needs.

    rate: output frames per second; None keeps the source's own timeline, doubled.
    interval: usual seconds between source frames; None takes the median since the last reset.
    repeats: "report" shows equal frames as they are; "smooth" treats a run of up to 3 as one.
    hiding: which frames to treat as missing; None hides those marked so, and damaged ones.
    """

    def __init__(
        self,
        shape: WindowShape,
        rate: Fraction | None,
        shots: Shots,
        interval: Fraction | None = None,
        repeats: str = "report",
        *,
        hiding: MissingFrames | None = None,
    ) -> None:
        self.counts = WindowCounts()
        self.duration = Fraction(0)  # seconds from the first frame to the end of the latest
        self._shape = shape
        self._shots = shots
        self._smooth = repeats == "smooth"
        self._hiding = hiding or MissingFrames()
        self._usual = UsualInterval(interval)  # since the last reset
        self._timeline = Timeline(rate, Fraction(0))
        self._keys: list[Frame] = []
        self._intervals: list[Interval] = []  # _intervals[i] lies between _keys[i] and _keys[i + 1]
        self._run: list[tuple[Frame, Interval]] = []  # repeats of _keys[-1] not yet decided upon
        self._long_run = False
        self._latest: Frame | None = None  # hidden or not
        self._reset_next = True  # the interval that begins at the latest frame is a reset
        self._reset_time = Fraction(0)  # the first frame at or after it begins a reset
        self._first = 0  # position of the keyframe that the next window draws from
        self._index = 0

    def push(self, frame: Frame) -> Iterator[Window]:
        """Take the next source frame; yield the windows that are complete. Raises InputError."""
        step = self._step(frame)
        good = self._good()
        since = good.time if good else None
        if self._hiding.hides(frame, since, self._timeline.start):
            self._hiding.hide(frame, good, self._usual.is_pause(step))
            self._usual.add(step)
            return
        missing = self._hiding.take(frame)
        if good is None:
            yield from self._lead_in(frame, missing)
            return
        interval = self._interval(good, frame, step, missing)
        self._reset_next = interval.join not in (Join.INTERPOLATE, Join.DUPLICATE)
        if frame.time >= self._reset_time:
            self._pass_reset(frame.time)
        self._admit(frame, interval)
        yield from self._complete(final=False)

    def finish(self) -> Iterator[Window]:
        """Yield the remaining windows; the last one holds the last frame for its own duration.

        Raises InputError if every frame was hidden.
        """
        if self._latest is None:
            return
        if not self._keys:
            yield from self._lead_in(*self._hiding.stand_in())
        yield from self._complete(final=True)
        last = self._usual.last(self._latest.duration, self._timeline.rate)
        end = self._latest.time + last
        self.duration = end - self._timeline.start
        missing = self._hiding.take()
        if missing is not None:
            self._cover(missing, end, "the video ends")
        times = self._timeline.tail(self._keys[-1].time, end, missing.times if missing else ())
        yield from self._held(self._first, self._first, times)

    def _step(self, frame: Frame) -> Fraction:
        """Return the seconds since the source frame before. Raises InputError."""
        latest, self._latest = self._latest, frame
        if latest is None:
            self._timeline.start = frame.time
            self._reset_time = frame.time + RESET_SECONDS
            return Fraction(0)
        step = frame.time - latest.time
        if step > LONGEST_PAUSE:
            raise InputError(
                f"the time jumps by {float(step):.0f} s at {float(latest.time):.3f} s; "
                "the timestamps are damaged"
            )
        return step

    def _good(self) -> Frame | None:
        """Return the latest frame that was not hidden."""
        if self._run:
            return self._run[-1][0]
        return self._keys[-1] if self._keys else None

    def _interval(
        self, left: Frame, right: Frame, step: Fraction, missing: MissingRun | None
    ) -> Interval:
        """Say how two neighbours hang together, and count it."""
        join = self._join(left, right, step, missing)
        self._usual.add(step)
        if missing is None:
            return Interval(join, self._reset_next)
        if join is Join.INTERPOLATE:
            self.counts.redrawn += len(missing.times)
        else:
            self._cover(missing, right.time, join.value)
        return Interval(
            join, self._reset_next, tuple(missing.times), missing.switch_time(right.time)
        )

    def _join(self, left: Frame, right: Frame, step: Fraction, missing: MissingRun | None) -> Join:
        seen = self._shots.join(left, right, self._reset_next)
        if seen is Join.CUT and missing is not None and missing.whole:
            seen = Join.INTERPOLATE
        if seen is Join.DUPLICATE and missing is None:
            self.counts.repeats += 1
        if right.spliced or (missing and missing.spliced):
            return Join.SPLICE
        damaged = right.lost or (missing is not None and missing.damaged)
        if left.corrupt or right.corrupt or ((missing or damaged) and self._is_long(left, right)):
            return Join.CORRUPT
        if not damaged and (self._usual.is_pause(step) or (missing and missing.paused)):
            self.counts.pauses += 1
            return Join.PAUSE
        if seen is Join.CUT:
            self.counts.cuts += 1
        return seen

    def _is_long(self, left: Frame, right: Frame) -> bool:
        """Return True if good frames are too far apart to draw all that is missing between them."""
        return right.time - left.time > self._hiding.longest + 2 * (self._usual.usual or 0)

    def _cover(self, missing: MissingRun, end: Fraction, why: str) -> None:
        """Count hidden frames in whose place others are held, and say so the first time."""
        if not self.counts.covered:
            log.warning(
                "the frames hidden from %.3f s to %.3f s cannot be drawn (%s): the nearest is held",
                float(missing.times[0]),
                float(end),
                why,
            )
        self.counts.covered += len(missing.times)

    def _lead_in(self, first: Frame, missing: MissingRun | None) -> Iterator[Window]:
        """Admit the first good frame; yield windows that hold it from the stream's start on."""
        self._keys.append(first)
        if missing is not None:
            self._cover(missing, first.time, "the video begins")
            times = self._timeline.between(missing.start, first.time, missing.times[1:])
            yield from self._held_before(0, times)

    def _pass_reset(self, now: Fraction) -> None:
        """Begin anew at `now`, the first frame at or after a multiple of RESET_SECONDS."""
        self._reset_next = True
        self._usual.forget()
        past = (now - self._timeline.start) // RESET_SECONDS
        self._reset_time = self._timeline.start + (past + 1) * RESET_SECONDS

    def _admit(self, frame: Frame, interval: Interval) -> None:
        """Append a keyframe, or set a repeat aside until the length of its run is known."""
        if (
            self._smooth
            and interval.join is Join.DUPLICATE
            and not (self._reset_next or interval.hidden)
        ):
            self._run.append((frame, interval))
            if self._long_run or len(self._run) >= LONGEST_RUN:
                self._long_run = True
                self._keys += [repeat for repeat, _ in self._run]
                self._intervals += [before for _, before in self._run]
                self._run.clear()
            return
        reset = interval.reset or any(before.reset for _, before in self._run)
        self._run.clear()
        self._long_run = False
        self._keys.append(frame)
        self._intervals.append(
            interval if reset == interval.reset else replace(interval, reset=reset)
        )

    def _complete(self, *, final: bool) -> Iterator[Window]:
        """Yield every window whose keyframes and context are there."""
        while (last := self._end(final=final)) is not None:
            first = self._first
            if self._intervals[first].draws:
                yield self._window(first, last, self._slots(first, last))
            else:
                yield from self._not_drawn(first, last)
            done = max(last - self._shape.before, 0)
            del self._keys[:done], self._intervals[:done]
            self._first = last - done

    def _end(self, *, final: bool) -> int | None:
        """Return the last keyframe of the window that begins at _first, or None to wait."""
        first, newest = self._first, len(self._keys) - 1
        if first >= newest:
            return None
        if not self._intervals[first].draws:
            return first + 1
        last, limit = first + 1, first + self._shape.keyframes - 1
        while (
            last < min(limit, newest)
            and self._intervals[last].draws
            and not self._intervals[last].reset
        ):
            last += 1
        if not final and (last + self._shape.after > newest or (last == newest and last < limit)):
            return None
        return last

    def _slots(self, first: int, last: int) -> tuple[Slot, ...]:
        """Return the slots between two keyframes, in order."""
        left = min(first, self._shape.before)  # position of `first` in the window
        return tuple(
            Slot(index, time, left + number, tau)
            for number in range(last - first)
            for index, time, tau in self._between(first + number)
        )

    def _between(self, first: int) -> Iterator[tuple[int, Fraction, Fraction]]:
        """Yield (index, time, tau) of the output times between a keyframe and the next."""
        left, right = self._keys[first : first + 2]
        return self._timeline.between(left.time, right.time, self._intervals[first].hidden)

    def _not_drawn(self, first: int, last: int) -> Iterator[Window]:
        """Yield windows that repeat the earlier keyframe, from `switch_time` on the later one."""
        times, switch_time = self._between(first), self._intervals[first].switch_time
        if switch_time is None:
            yield from self._held(first, last, times)
            return
        known = list(times)
        near = sum(time < switch_time for _, time, _ in known)
        yield from self._held(first, last, iter(known[:near]))
        yield from self._held_before(last, iter(known[near:]))

    def _held_before(
        self, key: int, times: Iterator[tuple[int, Fraction, Fraction]]
    ) -> Iterator[Window]:
        """Yield windows that show a keyframe before its own time; taus count back from it."""
        while part := tuple(islice(times, HELD_SLOTS)):
            slots = tuple(Slot(index, time, 0, tau - 1) for index, time, tau in part)
            yield self._numbered((self._keys[key],), 0, 0, (), slots)

    def _held(
        self, first: int, last: int, times: Iterator[tuple[int, Fraction, Fraction]]
    ) -> Iterator[Window]:
        """Yield windows that only show keyframe `first`, a bounded number of slots each."""
        left = min(first, self._shape.before)
        while part := tuple(islice(times, HELD_SLOTS)):
            yield self._window(first, last, tuple(Slot(i, t, left, tau) for i, t, tau in part))

    def _window(self, first: int, last: int, slots: tuple[Slot, ...]) -> Window:
        begin = max(first - self._shape.before, 0)
        end = min(last + self._shape.after, len(self._keys) - 1)
        keys, intervals = self._keys[begin : end + 1], self._intervals[begin:end]
        return self._numbered(tuple(keys), first - begin, last - begin, tuple(intervals), slots)

    def _numbered(
        self,
        keyframes: tuple[Frame, ...],
        first: int,
        last: int,
        intervals: tuple[Interval, ...],
        slots: tuple[Slot, ...],
    ) -> Window:
        self._index += 1
        start = self._timeline.start
        return Window(self._index - 1, keyframes, first, last, intervals, slots, start)
