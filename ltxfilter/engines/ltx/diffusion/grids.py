"""Which grid of latent frames makes which slots of a window, conditioned on which keyframes.

A grid is 8k + 1 frames at the output's own times: its first latent frame stands for one frame, each
further one for eight. All grids of a run have one size, at a shot's end as in its middle. Where a
grid reaches beyond the last keyframe of a shot, time is reflected there: the keyframes before it
are used again in reverse order, so that the model never extrapolates.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from math import ceil, floor, gcd

from ltxfilter.engines.ltx.diffusion.shots import GridSpan, grid_spans
from ltxfilter.engines.ltx.latent_shape import TEMPORAL_COMPRESSION, frame_count
from ltxfilter.frame import USUAL_INTERVAL
from ltxfilter.windows.window import Slot, Window, WindowShape

MAX_MODEL_RATE = Fraction(60)  # frames per second; above it the model is told a slower motion
LEAST_LATENTS, MOST_LATENTS = 2, 6  # latent frames after the first, of grids that end on keyframes
UNALIGNED_LATENTS = 3  # latent frames after the first, where no such grid ends on a keyframe
IN_PLACE = 2  # output frames per interval where the source's own timeline is doubled


def frames_per_interval(rate: Fraction | None, interval: Fraction | None) -> Fraction:
    """Return how many output frames there are per interval between keyframes.

    rate: output frames per second; None where the source's own timeline is doubled. interval: usual
    seconds between keyframes; None takes USUAL_INTERVAL.
    """
    return Fraction(IN_PLACE) if rate is None else rate * (interval or USUAL_INTERVAL)


@dataclass(frozen=True, slots=True)
class KeyframeToken:
    """A keyframe that conditions a grid."""

    keyframe: int  # position in window.keyframes
    at: Fraction  # its time in grid frames after the grid's first keyframe


@dataclass(frozen=True, slots=True)
class LatentGrid:
    """What is denoised at once: latent frames, the keyframes that condition them, the slots."""

    latents: int  # latent frames, k + 1
    offset: Fraction  # from the first keyframe to the grid's first frame, in grid frames
    rate: Fraction  # grid frames per second
    time: Fraction  # seconds on the source's clock, of the grid's first frame
    keyframes: tuple[KeyframeToken, ...]  # in ascending order of time
    slots: tuple[tuple[Slot, int], ...]  # each slot and the number of its frame in the grid
    start: Fraction = Fraction(0)  # seconds on the source's clock, of the stream's first frame

    @property
    def frames(self) -> int:
        """The number of its frames, 8k + 1."""
        return frame_count(self.latents)

    @property
    def model_rate(self) -> Fraction:
        """The frames per second that the model is told, at most MAX_MODEL_RATE."""
        return min(self.rate, MAX_MODEL_RATE)

    @property
    def prompt_time(self) -> Fraction:
        """The time of its first slot, in seconds after the stream's first frame.

        The prompt of that time is used. The frames before the first slot do not count.
        """
        return (self.slots[0][0].time if self.slots else self.time) - self.start

    def enclosing_keyframes(self, frame: int) -> tuple[Fraction, Fraction]:
        """Return the places of the keyframes before and after a frame, in grid frames.

        frame: number of the frame in the grid. The places count from the grid's first frame.
        """
        at = frame + self.offset
        later = next(n for n, key in enumerate(self.keyframes) if key.at > at)
        left, right = self.keyframes[later - 1 : later + 1]
        return left.at - self.offset, right.at - self.offset

    def repeated_keyframes(self) -> Iterator[int]:
        """Yield for each frame the position of the latest keyframe that is not after it."""
        at = self.offset
        for _ in range(self.frames):
            yield next(key.keyframe for key in reversed(self.keyframes) if key.at <= at)
            at += 1

    def keyframe_time(self, key: KeyframeToken) -> Fraction:
        """Return the time at which a keyframe conditions, in seconds on the source's clock."""
        return self.time + (key.at - self.offset) / self.rate

    def latent_time(self, latent: int) -> Fraction:
        """Return the time of the last frame of a latent frame, in seconds on the source's clock."""
        return self.time + TEMPORAL_COMPRESSION * latent / self.rate


@dataclass(frozen=True, slots=True)
class GridPlanner:
    """Plans the grids for the windows of one stream.

    The first latent frame of a grid stands for a single frame, unlike all others, and can be seen
    where a grid follows another. With `lead` above 1 the grid begins that many latent frames
    earlier, and those are dropped.
    """

    rate: Fraction | None  # output frames per second; None doubles the source's timeline in place
    latents: int  # k: latent frames after the first, in grids of 8k + 1 frames
    lead: int  # latent frames before the first slot; at least 1, the first latent frame itself
    keyframes: int  # keyframes of a part of a window that is planned alone, both ends included
    before: int  # keyframes of context that the lead reaches back to
    after: int  # keyframes of context that a grid reaches if it cannot end on a keyframe
    least_keyframes: int  # each grid is conditioned on at least so many keyframes
    batch: int = 1  # parts of a window

    @classmethod
    def choose(
        cls,
        rate: Fraction | None,
        interval: Fraction | None,
        latents: int = 0,
        lead: int = 1,
        batch: int = 1,
    ) -> GridPlanner:
        """Return the planner for a stream.

        rate, interval: as of `frames_per_interval`. latents: 0 chooses grids that begin and end on
        keyframes if there are any of reasonable size. batch: how many times as long a window is,
        which changes no grid.
        """
        pace = frames_per_interval(rate, interval)
        latents = max(latents or _default_latents(pace), lead)
        new_frames = TEMPORAL_COMPRESSION * (latents - lead + 1)
        whole = (new_frames / pace).denominator == 1
        intervals = max(floor((new_frames if whole else new_frames + 1) / pace), 1)
        if whole and lead == 1:
            least_keyframes = intervals + 1
        elif lead == 1:
            least_keyframes = ceil((new_frames + 1) / pace) + 1
        else:
            least_keyframes = ceil(TEMPORAL_COMPRESSION * latents / pace) + 2
        return cls(
            rate,
            latents,
            lead,
            intervals + 1,
            before=ceil(TEMPORAL_COMPRESSION * (lead - 1) / pace),
            after=0 if whole else max(ceil((new_frames + 1) / pace) - intervals, 0),
            least_keyframes=least_keyframes,
            batch=batch,
        )

    def shape(self) -> WindowShape:
        """Return the windows that it plans; their memory is not stated yet."""
        return WindowShape(self.batch * (self.keyframes - 1) + 1, self.before, self.after, slots=0)

    def plan(self, window: Window) -> tuple[LatentGrid, ...]:
        """Return grids that hold every slot of `window.to_draw()` once, in order."""
        spans = grid_spans(window, self.keyframes - 1, self.before, self.after)
        return tuple(grid for span in spans for grid in self._plan_span(span))

    def _plan_span(self, span: GridSpan) -> Iterator[LatentGrid]:
        slots = span.to_draw()
        if not slots:
            return
        axis = FrameAxis(span, self.rate)
        reach = TEMPORAL_COMPRESSION * (self.latents - self.lead + 1)
        while slots:
            start = axis.grid_start(slots[0])
            taken = [slot for slot in slots if axis.place(slot) <= start + reach]
            slots = slots[len(taken) :]
            yield self._grid(axis, start - TEMPORAL_COMPRESSION * (self.lead - 1), taken)

    def _grid(self, axis: FrameAxis, start: Fraction, slots: Sequence[Slot]) -> LatentGrid:
        end = start + TEMPORAL_COMPRESSION * self.latents
        enclosing = axis.enclosing_keyframes(start, end, self.least_keyframes)
        zero = enclosing[0][1]
        return LatentGrid(
            latents=self.latents + 1,
            offset=start - zero,
            rate=axis.rate,
            time=axis.time(start),
            keyframes=tuple(KeyframeToken(number, at - zero) for number, at in enclosing),
            slots=tuple((slot, int(axis.place(slot) - start)) for slot in slots),
            start=axis.video_start,
        )


def _default_latents(pace: Fraction) -> int:
    """Return how many latent frames follow the first if the user does not say."""
    aligned = pace.numerator // gcd(TEMPORAL_COMPRESSION, pace.numerator)
    latents = aligned * ceil(Fraction(LEAST_LATENTS, aligned))
    return latents if latents <= MOST_LATENTS else UNALIGNED_LATENTS


class FrameAxis:
    """The time axis of a part of a window, in output frames after the part's first keyframe."""

    def __init__(self, span: GridSpan, rate: Fraction | None) -> None:
        """Place the keyframes of the part's shot on the axis.

        rate: output frames per second; None where the source's own timeline is doubled, so that
        intervals of any length take IN_PLACE frames each, also those between hidden frames.
        """
        window, first = span.window, span.first
        keys = window.keyframes
        low, high = span.shot()
        self.video_start = window.start
        self._start = keys[first].time
        numbers = range(low, high + 1)
        if rate is None:
            sources = [len(interval.missing) + 1 for interval in window.intervals]
            self._times = [keys[low].time]  # seconds, of all source frames, hidden ones included
            for key in range(low, high):
                self._times += [*window.intervals[key].missing, keys[key + 1].time]
            self._zero = sum(sources[low:first])  # source frames before the part's first keyframe
            self.rate = IN_PLACE * sum(sources[low:high]) / (keys[high].time - keys[low].time)
            places = [Fraction(IN_PLACE * (sum(sources[low:n]) - self._zero)) for n in numbers]
        else:
            self._times = []
            self._zero = 0
            self.rate = rate
            places = [(keys[number].time - self._start) * rate for number in numbers]
        self._keyframes = list(zip(numbers, places, strict=True))

    def place(self, slot: Slot) -> Fraction:
        """Return the place of a slot."""
        if not self._times:
            return (slot.time - self._start) * self.rate
        number = bisect(self._times, slot.time) - 1
        begin, end = self._times[number : number + 2]
        return IN_PLACE * (number - self._zero + (slot.time - begin) / (end - begin))

    def grid_start(self, slot: Slot) -> Fraction:
        """Return the place at which a grid should begin whose first slot is `slot`.

        That is the keyframe before the slot if it falls on an output time, else the slot.
        """
        place = self.place(slot)
        left = next(at for number, at in self._keyframes if number == slot.left)
        return left if place - left == 1 else place

    def time(self, place: Fraction) -> Fraction:
        """Return the time of a place, in seconds on the source's clock."""
        return self._start + place / self.rate

    def enclosing_keyframes(
        self, start: Fraction, end: Fraction, least: int
    ) -> list[tuple[int, Fraction]]:
        """Return the positions and places of keyframes from `start` or before to `end` or after.

        least: the smallest number of keyframes to return. Beyond the shot's first and last keyframe
        time is reflected.
        """
        keys = self._keyframes
        while keys[0][1] > start:
            keys = [*self._reflected(keys, keys[0][1]), *keys[1:]]
        while keys[-1][1] < end:
            keys = [*keys[:-1], *self._reflected(keys, keys[-1][1])]
        begin = max(n for n, (_, at) in enumerate(keys) if at <= start)
        stop = next(n for n in count(begin) if keys[n][1] >= end)
        while stop - begin + 1 < least:
            if stop + 1 == len(keys):
                keys = [*keys[:-1], *self._reflected(keys, keys[-1][1])]
            stop += 1
        return keys[begin : stop + 1]

    def _reflected(
        self, keys: Sequence[tuple[int, Fraction]], mirror: Fraction
    ) -> Iterator[tuple[int, Fraction]]:
        return ((number, 2 * mirror - at) for number, at in reversed(keys))
