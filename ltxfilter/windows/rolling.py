"""RollingWindow: source frames in, windows out; it holds no more frames than one window needs."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from typing import Protocol

from ltxfilter.errors import InputError
from ltxfilter.frame import Frame
from ltxfilter.values import RESET_SECONDS
from ltxfilter.windows.missing import MissingFrames, MissingRun
from ltxfilter.windows.timeline import LONGEST_PAUSE, Place, Timeline, UsualInterval
from ltxfilter.windows.window import Interval, Join, Slot, Window, WindowShape

log = logging.getLogger("ltxfilter.window")

LONGEST_RUN = 3  # equal frames, two of them duplicates, that `repeats="smooth"` takes as one
REPEATED_SLOTS = 64  # most slots of a window in which frames are only repeated


class Shots(Protocol):
    """Says whether two neighbours belong to one shot; `cuts.CutDetector` does."""

    def join(self, left: Frame, right: Frame, reset: bool) -> Join:
        """Return INTERPOLATE, CUT or DUPLICATE; called once per pair of neighbours, in order."""
        ...


@dataclass(slots=True)
class WindowCounts:
    """How often each thing was seen between source frames."""

    duplicates: int = 0  # source frames that show the same picture as the one before
    cuts: int = 0  # scene cuts
    pauses: int = 0  # pauses of the source
    missing_interpolated: int = 0  # missing source frames in whose place frames are interpolated
    missing_repeated: int = 0  # missing source frames in whose place the nearest one is repeated


class RollingWindow:
    """Turns source frames, pushed one by one, into windows."""

    def __init__(
        self,
        shape: WindowShape,
        rate: Fraction | None,
        shots: Shots,
        interval: Fraction | None = None,
        repeats: str = "report",
        *,
        missing: MissingFrames | None = None,
        start: Fraction | None = None,
        end: Fraction | None = None,
    ) -> None:
        """Begin a stream, or a segment of one.

        shape: the windows that the engine wants. rate: output frames per second; None keeps the
        source's own timeline, doubled. interval: usual seconds between source frames; None takes
        the median since the last reset. repeats: "report" shows duplicates as they are, "smooth"
        takes a run of up to LONGEST_RUN equal frames as one that lasts longer. missing: decides
        which frames are missing; None takes hidden and damaged ones. start: seconds at which the
        stream begins, where the first frame that is pushed begins a later segment of it. The frames
        missing there belong to the segment before. end: seconds; no windows are made from the first
        keyframe at or after it on.
        """
        self.has_ended = False  # all windows before `end` are made
        self.counts = WindowCounts()
        self.frames = 0  # that were pushed
        self.damaged = 0  # of those
        self._seen_counts = self.counts  # where what is seen is counted
        self._ends = end
        self.duration = Fraction(0)  # seconds from the first frame to the end of the latest
        self._shape = shape
        self._shots = shots
        self._smooth = repeats == "smooth"
        self._missing = missing or MissingFrames()
        self._usual = UsualInterval(_believed(interval))  # since the last reset
        self._timeline = Timeline(rate, start or Fraction(0))
        self._continues = start is not None  # an earlier segment leads up to the first good frame
        self._seen: Fraction | None = None  # time of the latest good frame before the segment
        self._keyframes: list[Frame] = []
        self._intervals: list[Interval] = []  # [i] lies between _keyframes[i] and [i + 1]
        self._run: list[tuple[Frame, Interval]] = []  # duplicates whose run may still be short
        self._long_run = False
        self._latest: Frame | None = None  # the source frame before, missing or not
        self._reset_next = True  # the interval that begins at the latest frame is a reset
        self._reset_time = Fraction(0)  # the first frame at or after it begins a reset
        self._first = 0  # position of the keyframe that the next window begins at
        self._index = 0  # of the next window
        self._lead: deque[Iterator[Window]] = deque()  # windows before the first good frame

    def push(self, frame: Frame) -> Iterator[Window]:
        """Take the next source frame and return the windows that are complete by now.

        The frame is taken at once. Windows that you do not take now come with the next call.
        Raises InputError.
        """
        self._take(frame)
        return self._ready(final=False)

    def pass_by(self, frame: Frame) -> None:
        """Take a frame that is shown before the segment, to know how long damage has lasted."""
        if not self._missing.is_missing(frame, self._seen, self._timeline.start):
            self._seen = frame.time

    def finish(self) -> Iterator[Window]:
        """Yield the remaining windows; the last one shows the last frame for its own duration.

        Raises InputError if every frame was missing.
        """
        if self._latest is None:
            return
        if not self._keyframes:
            if self._continues:
                return
            self._admit_first(*self._missing.stand_in())
        yield from self._ready(final=True)
        if self._is_over():
            return
        last = self._usual.last(self._latest.duration, self._timeline.rate)
        end = self._latest.time + last
        self.duration = end - self._timeline.start
        run = self._missing.close_run()
        if run is not None:
            self._count_repeated(run, end, "the video ends")
        tail = self._timeline.tail(self._keyframes[-1].time, end, run.times if run else ())
        yield from self._repeating(self._first, self._first, tail)

    def _take(self, frame: Frame) -> None:
        """Admit a source frame as a keyframe, or add it to the missing ones."""
        step = self._step(frame)
        good = self._good()
        if self._ends is None or frame.time < self._ends:
            self.frames += 1
            self.damaged += frame.corrupt or frame.lost
        if self._ends is not None and good is not None and good.time >= self._ends:
            self._seen_counts = WindowCounts()
        since = good.time if good else self._seen
        if self._missing.is_missing(frame, since, self._timeline.start):
            self._missing.add(frame, good, paused=self._usual.is_pause(step))
            if step:  # of the first frame there is none
                self._usual.add(step)
            return
        run = self._missing.close_run(frame)
        if good is None:
            self._admit_first(frame, run)
            if self._continues or frame.time >= self._reset_time:
                self._pass_reset(frame.time)
            return
        interval = self._interval(good, frame, step, run)
        self._reset_next = interval.join not in (Join.INTERPOLATE, Join.DUPLICATE)
        if frame.time >= self._reset_time:
            self._pass_reset(frame.time)
        self._admit(frame, interval)

    def _ready(self, *, final: bool) -> Iterator[Window]:
        """Yield the windows that are complete, in order."""
        while self._lead:
            yield from self._lead[0]
            self._lead.popleft()
        yield from self._complete(final=final)

    def _is_over(self) -> bool:
        """Return True if what follows belongs to the next segment."""
        if self._ends is None:
            return False
        if self._first < len(self._keyframes):
            self.has_ended = self._keyframes[self._first].time >= self._ends
        return self.has_ended

    def _step(self, frame: Frame) -> Fraction:
        """Return the seconds since the source frame before. Raises InputError."""
        latest, self._latest = self._latest, frame
        if latest is None:
            if not self._continues:
                self._timeline.start = frame.time
            self._reset_time = self._next_reset(frame.time)
            return Fraction(0)
        step = frame.time - latest.time
        if 0 < step.numerator <= LONGEST_PAUSE * step.denominator:  # faster than fractions compare
            return step
        if step <= 0:
            raise InputError(
                f"a frame at {float(frame.time):.3f} s follows one at {float(latest.time):.3f} s; "
                "the times of frames have to ascend"
            )
        raise InputError(
            f"the time jumps by {float(step):.0f} s at {float(latest.time):.3f} s, and no "
            f"frame is shown for over {LONGEST_PAUSE} s: the timestamps are damaged; "
            "-r RATE before -i stamps the frames anew"
        )

    def _good(self) -> Frame | None:
        """Return the latest frame that is not missing."""
        if self._run:
            return self._run[-1][0]
        return self._keyframes[-1] if self._keyframes else None

    def _interval(
        self, left: Frame, right: Frame, step: Fraction, run: MissingRun | None
    ) -> Interval:
        """Return what lies between two neighbours, and count it. run: the frames missing there."""
        join = self._join(left, right, step, run)
        self._usual.add(step)
        if run is None:
            return Interval(join, self._reset_next)
        if join is Join.INTERPOLATE:
            self._seen_counts.missing_interpolated += len(run.times)
        else:
            self._count_repeated(run, right.time, join.value)
        return Interval(join, self._reset_next, tuple(run.times), run.switch_time(right.time))

    def _join(self, left: Frame, right: Frame, step: Fraction, run: MissingRun | None) -> Join:
        seen = self._shots.join(left, right, self._reset_next)
        if seen is Join.CUT and run is not None and run.in_one_shot:
            seen = Join.INTERPOLATE
        if seen is Join.DUPLICATE and run is None:
            self._seen_counts.duplicates += 1
        if right.spliced or (run and run.spliced):
            return Join.SPLICE
        damaged = right.lost or (run is not None and run.damaged)
        if left.corrupt or right.corrupt or ((run or damaged) and self._is_long(left, right)):
            return Join.CORRUPT
        if not damaged and (self._usual.is_pause(step) or (run and run.paused)):
            self._seen_counts.pauses += 1
            return Join.PAUSE
        if seen is Join.CUT:
            self._seen_counts.cuts += 1
        return seen

    def _is_long(self, left: Frame, right: Frame) -> bool:
        """Return True if good frames are too far apart to interpolate what is missing between."""
        return right.time - left.time > self._missing.longest + 2 * (self._usual.usual or 0)

    def _count_repeated(self, run: MissingRun, end: Fraction, why: str) -> None:
        """Count missing frames in whose place others are repeated; say so the first time."""
        if not self._seen_counts.missing_repeated:
            log.warning(
                "the frames missing from %.3f s to %.3f s cannot be interpolated (%s): the nearest "
                "frame is repeated",
                float(run.times[0]),
                float(end),
                why,
            )
        self._seen_counts.missing_repeated += len(run.times)

    def _admit_first(self, first: Frame, run: MissingRun | None) -> None:
        """Admit the first good frame; where frames before it are missing it is shown early."""
        self._keyframes.append(first)
        if run is not None and not self._continues:
            self._count_repeated(run, first.time, "the video begins")
            places = self._timeline.between(run.start, first.time, run.times[1:])
            self._lead.append(self._showing_early(0, places))

    def _pass_reset(self, now: Fraction) -> None:
        """Begin anew at `now`, the first frame at or after a multiple of RESET_SECONDS."""
        self._reset_next = True
        self._usual.forget()
        self._reset_time = self._next_reset(now)

    def _next_reset(self, now: Fraction) -> Fraction:
        """Return the multiple of RESET_SECONDS from the stream's start that follows `now`."""
        past = (now - self._timeline.start) // RESET_SECONDS
        return self._timeline.start + (past + 1) * RESET_SECONDS

    def _admit(self, frame: Frame, interval: Interval) -> None:
        """Append a keyframe, or set a duplicate aside until the length of its run is known."""
        duplicate = interval.join is Join.DUPLICATE
        if self._smooth and duplicate and not self._reset_next and not interval.missing:
            self._run.append((frame, interval))
            if self._long_run or len(self._run) >= LONGEST_RUN:
                self._long_run = True
                self._keyframes += [same for same, _ in self._run]
                self._intervals += [before for _, before in self._run]
                self._run.clear()
            return
        reset = interval.reset or any(before.reset for _, before in self._run)
        self._run.clear()
        self._long_run = False
        self._keyframes.append(frame)
        self._intervals.append(
            interval if reset == interval.reset else replace(interval, reset=reset)
        )

    def _complete(self, *, final: bool) -> Iterator[Window]:
        """Yield every window whose keyframes and context are there."""
        while not self._is_over() and (last := self._end(final=final)) is not None:
            first = self._first
            if self._intervals[first].draws:
                yield self._window(first, last, self._slots(first, last))
            else:
                yield from self._not_interpolated(first, last)
            done = max(last - self._shape.before, 0)
            del self._keyframes[:done], self._intervals[:done]
            self._first = last - done

    def _end(self, *, final: bool) -> int | None:
        """Return the last keyframe of the window that begins at _first, or None to wait."""
        first, newest = self._first, len(self._keyframes) - 1
        if first >= newest:
            return None
        if not self._intervals[first].draws:
            return first + 1
        last, limit = first + 1, first + self._shape.keyframes - 1
        while last < min(limit, newest):
            following = self._intervals[last]
            if following.reset or not following.draws:
                break
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

    def _between(self, first: int) -> Iterator[Place]:
        """Yield the places of the output times between a keyframe and the next."""
        left, right = self._keyframes[first : first + 2]
        return self._timeline.between(left.time, right.time, self._intervals[first].missing)

    def _not_interpolated(self, first: int, last: int) -> Iterator[Window]:
        """Yield windows that repeat the earlier keyframe, from `switch_time` on the later one."""
        places, switch_time = self._between(first), self._intervals[first].switch_time
        if switch_time is None:
            yield from self._repeating(first, last, places)
            return
        known = list(places)
        earlier = sum(time < switch_time for _, time, _ in known)
        yield from self._repeating(first, last, iter(known[:earlier]))
        yield from self._showing_early(last, iter(known[earlier:]))

    def _showing_early(self, key: int, places: Iterator[Place]) -> Iterator[Window]:
        """Yield windows that show a keyframe before its own time; taus count back from it."""
        while group := tuple(islice(places, REPEATED_SLOTS)):
            slots = tuple(Slot(index, time, 0, tau - 1) for index, time, tau in group)
            yield self._numbered((self._keyframes[key],), 0, 0, (), slots)

    def _repeating(self, first: int, last: int, places: Iterator[Place]) -> Iterator[Window]:
        """Yield windows that only show keyframe `first`, a bounded number of slots each."""
        left = min(first, self._shape.before)
        while group := tuple(islice(places, REPEATED_SLOTS)):
            slots = tuple(Slot(index, time, left, tau) for index, time, tau in group)
            yield self._window(first, last, slots)

    def _window(self, first: int, last: int, slots: tuple[Slot, ...]) -> Window:
        begin = max(first - self._shape.before, 0)
        end = min(last + self._shape.after, len(self._keyframes) - 1)
        keyframes, intervals = self._keyframes[begin : end + 1], self._intervals[begin:end]
        return self._numbered(
            tuple(keyframes), first - begin, last - begin, tuple(intervals), slots
        )

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


def _believed(interval: Fraction | None) -> Fraction | None:
    """Return a stream's usual interval, seconds; None for one that no stream of pictures has."""
    if interval is None or interval <= LONGEST_PAUSE:
        return interval
    log.warning(
        "the source says that its frames are %.0f s apart, and no frame is shown for longer than "
        "%d s: that is not believed",
        float(interval),
        LONGEST_PAUSE,
    )
    return None
