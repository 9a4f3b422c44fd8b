"""Windows: the keyframes of one shot that an engine sees at once, plus the slots between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from itertools import islice
from statistics import median
from typing import Protocol

from ltxfilter.errors import InputError
from ltxfilter.frame import Frame
from ltxfilter.timeline import Slot, Timeline

RESET_SECONDS = 10  # state that engines carry is dropped this often, counted from the start
GAP_FACTOR = Fraction(5, 2)  # times the usual interval: a longer pause is not drawn across
LONGEST_GAP = 3600  # seconds; a longer one is a damaged timestamp
LONGEST_RUN = 3  # equal frames that `repeats="smooth"` treats as one
HELD_SLOTS = 64  # slots of one window that only holds


class Join(Enum):
    """How two neighbouring keyframes hang together; only DRAW is drawn across."""

    DRAW = "draw"
    CUT = "cut"  # a new shot begins
    REPEAT = "repeat"  # the same picture again
    GAP = "gap"  # the source paused
    CORRUPT = "corrupt"  # one of the two is damaged
    SPLICE = "splice"  # the picture's size changed


@dataclass(frozen=True, slots=True)
class Gap:
    """What lies between a keyframe and the next."""

    join: Join
    reset: bool  # nothing that earlier gaps left behind may be used from here on

    @property
    def draws(self) -> bool:
        """True if an engine may draw in it, or look across it."""
        return self.join is Join.DRAW


@dataclass(frozen=True, slots=True)
class WindowShape:
    """What an engine wants to see at once, and what it costs."""

    keyframes: int = 2  # keyframes to draw between in one window, >= 2
    before: int = 0  # context: earlier keyframes
    after: int = 0  # context: later keyframes, which is latency
    slots: int = 8  # most slots in one draw; further ones are drawn apart; 0: all at once
    work_bytes: int = 0  # resident working memory, however many windows are in flight
    draw_bytes: int = 0  # memory of one window in flight beyond its own frames


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Keyframes plus the slots to produce between two of them."""

    index: int  # from 0, in order
    keyframes: tuple[Frame, ...]  # ascending time, context included
    first: int  # position of the keyframe it draws from
    last: int  # position of the keyframe it draws up to; equal to first at the stream's end
    gaps: tuple[Gap, ...]  # gaps[i] lies between keyframes[i] and keyframes[i + 1]
    slots: tuple[Slot, ...]  # keyframes[first].time <= slot.time < keyframes[last].time

    @property
    def reset(self) -> bool:
        """True if nothing may be carried into the first gap that it draws."""
        return self.first == self.last or self.gaps[self.first].reset

    def draws(self, slot: Slot) -> bool:
        """Return True if the engine draws this slot; else a source frame is shown."""
        return slot.tau != 0 and slot.left < len(self.gaps) and self.gaps[slot.left].draws

    def to_draw(self) -> Iterator[Slot]:
        """Yield the slots that an engine draws, in order."""
        return (slot for slot in self.slots if self.draws(slot))


class Shots(Protocol):
    """Tells neighbours of one shot from those across a cut; `cuts.CutDetector` is one."""

    def join(self, left: Frame, right: Frame, reset: bool) -> Join:
        """Return DRAW, CUT or REPEAT; called once per pair of neighbours, in order."""
        ...


@dataclass(slots=True)
class WindowCounts:
    """What the windows were cut at."""

    repeats: int = 0
    cuts: int = 0
    gaps: int = 0


class RollingWindow:
    """Turns source frames, pushed one by one, into windows; holds no more than one window needs.

    rate: output frames per second; None keeps the source's own timeline, doubled.
    interval: usual seconds between source frames; None takes the median since the last reset.
    repeats: "report" shows equal frames as they are; "smooth" treats a run of up to 3 as one.
    """

    def __init__(
        self,
        shape: WindowShape,
        rate: Fraction | None,
        shots: Shots,
        interval: Fraction | None = None,
        repeats: str = "report",
    ) -> None:
        self.counts = WindowCounts()
        self.duration = Fraction(0)  # seconds from the first frame to the end of the latest
        self._shape = shape
        self._shots = shots
        self._smooth = repeats == "smooth"
        self._nominal = interval
        self._recent: deque[Fraction] = deque(maxlen=31)  # intervals since the last reset
        self._timeline = Timeline(rate, Fraction(0))
        self._keys: list[Frame] = []
        self._gaps: list[Gap] = []  # _gaps[i] lies between _keys[i] and _keys[i + 1]
        self._run: list[tuple[Frame, Gap]] = []  # repeats of _keys[-1] not yet decided upon
        self._long_run = False
        self._latest: Frame | None = None
        self._reset_next = True  # the gap that begins at the latest frame is a reset
        self._reset_time = Fraction(0)  # the first frame at or after it begins a reset
        self._first = 0  # position of the keyframe that the next window draws from
        self._index = 0

    def push(self, frame: Frame) -> Iterator[Window]:
        """Take the next source frame; yield the windows that are complete. Raises InputError."""
        latest, self._latest = self._latest, frame
        if latest is None:
            self._timeline.start = frame.time
            self._reset_time = frame.time + RESET_SECONDS
            self._keys.append(frame)
            return
        step = frame.time - latest.time
        gap = Gap(self._join(latest, frame, step), self._reset_next)
        if self._nominal is None:
            self._recent.append(step)
        self._reset_next = gap.join not in (Join.DRAW, Join.REPEAT)
        if frame.time >= self._reset_time:
            self._pass_reset(frame.time)
        self._admit(frame, gap)
        yield from self._complete(final=False)

    def finish(self) -> Iterator[Window]:
        """Yield the remaining windows; the last one holds the last frame for its own duration."""
        if self._latest is None:
            return
        yield from self._complete(final=True)
        self.duration = self._latest.time + self._last_interval() - self._timeline.start
        times = self._timeline.tail(self._keys[-1].time, self._timeline.start + self.duration)
        yield from self._held(self._first, self._first, times)

    def _join(self, left: Frame, right: Frame, step: Fraction) -> Join:
        """Say how two neighbours hang together, and count it. Raises InputError."""
        if step > LONGEST_GAP:
            raise InputError(
                f"the time jumps by {float(step):.0f} s at {float(left.time):.3f} s; "
                "the timestamps are damaged"
            )
        seen = self._shots.join(left, right, self._reset_next)
        if seen is Join.REPEAT:
            self.counts.repeats += 1
        if right.spliced:
            return Join.SPLICE
        if left.corrupt or right.corrupt:
            return Join.CORRUPT
        if self._is_pause(step):
            self.counts.gaps += 1
            return Join.GAP
        if seen is Join.CUT:
            self.counts.cuts += 1
        return seen

    def _is_pause(self, step: Fraction) -> bool:
        if self._nominal is not None and step <= self._nominal:  # the common case, cheaply
            return False
        usual = self._usual_interval()
        return usual is not None and step > GAP_FACTOR * usual

    def _usual_interval(self) -> Fraction | None:
        if self._nominal is not None or not self._recent:
            return self._nominal
        return median(self._recent)

    def _last_interval(self) -> Fraction:
        """Return how long the last frame is shown, seconds."""
        assert self._latest is not None
        declared, usual = self._latest.duration, self._usual_interval()
        if usual is None:
            rate = self._timeline.rate
            usual = declared or (1 / rate if rate else Fraction(1, 25))
        if declared is None or declared < usual / 2 or declared > LONGEST_GAP:
            return usual
        return declared

    def _pass_reset(self, now: Fraction) -> None:
        """Begin anew at `now`, the first frame at or after a multiple of RESET_SECONDS."""
        self._reset_next = True
        self._recent.clear()
        past = (now - self._timeline.start) // RESET_SECONDS
        self._reset_time = self._timeline.start + (past + 1) * RESET_SECONDS

    def _admit(self, frame: Frame, gap: Gap) -> None:
        """Append a keyframe, or set a repeat aside until the length of its run is known."""
        if self._smooth and gap.join is Join.REPEAT and not self._reset_next:
            self._run.append((frame, gap))
            if self._long_run or len(self._run) >= LONGEST_RUN:
                self._long_run = True
                self._keys += [repeat for repeat, _ in self._run]
                self._gaps += [before for _, before in self._run]
                self._run.clear()
            return
        reset = gap.reset or any(before.reset for _, before in self._run)
        self._run.clear()
        self._long_run = False
        self._keys.append(frame)
        self._gaps.append(gap if reset == gap.reset else Gap(gap.join, reset))

    def _complete(self, *, final: bool) -> Iterator[Window]:
        """Yield every window whose keyframes and context are there."""
        while (last := self._end(final=final)) is not None:
            first = self._first
            if self._gaps[first].draws:
                yield self._window(first, last, self._slots(first, last))
            else:
                span = self._keys[first].time, self._keys[last].time
                yield from self._held(first, last, self._timeline.between(*span))
            done = max(last - self._shape.before, 0)
            del self._keys[:done], self._gaps[:done]
            self._first = last - done

    def _end(self, *, final: bool) -> int | None:
        """Return the last keyframe of the window that begins at _first, or None to wait."""
        first, newest = self._first, len(self._keys) - 1
        if first >= newest:
            return None
        if not self._gaps[first].draws:
            return first + 1
        last, limit = first + 1, first + self._shape.keyframes - 1
        while last < min(limit, newest) and self._gaps[last].draws and not self._gaps[last].reset:
            last += 1
        if not final and (last + self._shape.after > newest or (last == newest and last < limit)):
            return None
        return last

    def _slots(self, first: int, last: int) -> tuple[Slot, ...]:
        """Return the slots between two keyframes, in order."""
        left = min(first, self._shape.before)  # position of `first` in the window
        return tuple(
            Slot(index, time, left + number, tau)
            for number, (a, b) in enumerate(
                zip(self._keys[first:last], self._keys[first + 1 : last + 1], strict=True)
            )
            for index, time, tau in self._timeline.between(a.time, b.time)
        )

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
        window = Window(
            index=self._index,
            keyframes=tuple(self._keys[begin : end + 1]),
            first=first - begin,
            last=last - begin,
            gaps=tuple(self._gaps[begin:end]),
            slots=slots,
        )
        self._index += 1
        return window
