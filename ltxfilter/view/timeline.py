"""A run along its time, in bounded memory: buckets of equal length, and a list of what happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ltxfilter.frame import Made
from ltxfilter.pipeline.report import ReportedWindow
from ltxfilter.windows.cuts import Note
from ltxfilter.windows.window import Join

MOST_BUCKETS = 600  # whenever there are more, neighbours are merged
SHORTEST = 0.125  # seconds of a bucket at the beginning
MOST_EVENTS = 300  # of one kind that are listed; the others are counted
TOGETHER = 1.0  # seconds between two events of one kind that are told as one, at most
DROP_DB, DROP_BELOW_DB = 8.0, 24.0  # by how much, and below what, one interval is worse than both
REJECTED, PARTNER_FAILED, DROP = "fallback", "partner failed", "sudden drop in quality"
MISSING = "missing frames"


@dataclass(slots=True)
class Bucket:
    """What became of the output frames of a stretch of time."""

    made: Counter[str] = field(default_factory=Counter)  # source, repeated, or an engine -> frames
    events: Counter[str] = field(default_factory=Counter)  # kind -> how often
    psnr_sum: float = 0.0  # dB, of the frames with an estimate
    psnr_count: int = 0
    psnr_min: float | None = None
    difficulty: float | None = None  # the greatest

    def merged(self, other: Bucket) -> Bucket:
        """Return both as one."""
        return Bucket(
            self.made + other.made,
            self.events + other.events,
            self.psnr_sum + other.psnr_sum,
            self.psnr_count + other.psnr_count,
            _extreme(min, self.psnr_min, other.psnr_min),
            _extreme(max, self.difficulty, other.difficulty),
        )


@dataclass(slots=True)
class TimelineEvent:
    """Something that happened, once or many times in a row."""

    begin: float  # seconds
    end: float  # seconds
    kind: str
    reason: str
    count: int = 1


class RunTimeline:
    """Takes windows in order; what it holds does not grow with the length of the run."""

    def __init__(self) -> None:
        self.width = SHORTEST  # seconds of a bucket
        self.start: float | None = None  # seconds: time of the first output frame
        self.buckets: list[Bucket] = []
        self.events: list[TimelineEvent] = []
        self.happened: Counter[str] = Counter()  # kind -> how often, those that are not listed too
        self.engines: Counter[str] = Counter()  # frames by the engine that made them
        self.low: Counter[int] = Counter()  # whole dB -> interpolated frames with that estimate
        self._latest: dict[tuple[str, str], TimelineEvent] = {}  # by kind and reason
        self._listed: Counter[str] = Counter()  # events in the list, by kind
        self._seen = float("-inf")  # seconds: the last keyframe whose interval was counted
        self._window = -1
        self._drops: list[tuple[float, float]] = []  # time and worst estimate of late intervals

    def add(self, part: ReportedWindow, notes: Iterable[Note] = ()) -> None:
        """Take a window, or a part of its slots."""
        for frame in part.frames:
            self._add_frame(frame)
        if part.window != self._window:
            self._window = part.window
            self._add_intervals(part.outline)
        self._watch_drops(part)
        for note in notes:
            self.happen(float(note.time), note.kind, "seen, and not a cut")
        for sign in part.signs:
            reason = f"in about {_percent(sign.share)} of the picture"
            self.happen(sign.time, sign.kind, reason, merge=sign.kind)

    def happen(self, time: float, kind: str, reason: str, merge: str | None = None) -> None:
        """Note an event. merge: what events that may be told as one have in common."""
        self.happened[kind] += 1
        if self.start is not None:
            self._bucket(time).events[kind] += 1
        key = (kind, reason if merge is None else merge)
        latest = self._latest.get(key)
        if latest is not None and time - latest.end <= TOGETHER * (2 if merge else 1):
            latest.end, latest.count = max(latest.end, time), latest.count + 1
            return
        if self._listed[kind] >= MOST_EVENTS:
            return
        self._listed[kind] += 1
        self._latest[key] = event = TimelineEvent(time, time, kind, reason)
        self.events.append(event)

    def _add_frame(self, frame: Mapping[str, Any]) -> None:
        time = frame["time"]
        if self.start is None:
            self.start = time
        bucket = self._bucket(time)
        if frame["made"] != Made.INTERPOLATED.value:
            bucket.made[frame["made"]] += 1
            return
        engine = frame.get("engine", "unknown")
        bucket.made[engine] += 1
        self.engines[engine] += 1
        psnr = frame.get("psnr_db")
        if psnr is not None:
            self.low[int(psnr)] += 1
            bucket.psnr_sum += psnr
            bucket.psnr_count += 1
            bucket.psnr_min = _extreme(min, bucket.psnr_min, psnr)
        bucket.difficulty = _extreme(max, bucket.difficulty, frame.get("difficulty"))
        if why := frame.get("rejected"):
            self.happen(time, REJECTED, f"{engine} made it: {why}")
        gate = frame.get("gate") or {}
        if gate.get("failed"):
            why = gate.get("reason") or "it made no picture"
            self.happen(time, PARTNER_FAILED, f"{gate['tried']}: {why}")

    def _add_intervals(self, outline: Mapping[str, Any]) -> None:
        """Note what lies between the keyframes of a window that no window before had."""
        keys, first = outline["keyframes"], outline["first"]
        for at, join in enumerate(outline["intervals"]):
            left, right = keys[first + at], keys[first + at + 1]
            if left > self._seen:
                self._seen = left
                if join != Join.INTERPOLATE.value:
                    self.happen(right, join, REASONS[join])
        for time in outline.get("missing", ()):
            if time > self._missing_until():
                self.happen(time, MISSING, "hidden or damaged in the source")

    def _missing_until(self) -> float:
        latest = self._latest.get((MISSING, "hidden or damaged in the source"))
        return float("-inf") if latest is None else latest.end

    def _watch_drops(self, part: ReportedWindow) -> None:
        """Note an interval whose estimate is far below that of both its neighbours."""
        known = [each["psnr_db"] for each in part.frames if each.get("psnr_db") is not None]
        if not known:
            return
        self._drops.append((part.frames[0]["time"], min(known)))
        if len(self._drops) < 3:
            return
        (_, before), (time, worst), (_, after) = self._drops = self._drops[-3:]
        if worst < DROP_BELOW_DB and min(before, after) - worst > DROP_DB:
            reason = f"{worst:.0f} dB between {before:.0f} and {after:.0f}: a cut that was missed?"
            self.happen(time, DROP, reason)

    def _bucket(self, time: float) -> Bucket:
        """Return the bucket of a time, seconds; make room for it."""
        assert self.start is not None
        place = max(int((time - self.start) / self.width), 0)
        while place >= MOST_BUCKETS:
            pairs = zip(self.buckets[::2], [*self.buckets[1::2], Bucket()], strict=False)
            self.buckets = [one.merged(two) for one, two in pairs]
            self.width *= 2
            place //= 2
        while place >= len(self.buckets):
            self.buckets.append(Bucket())
        return self.buckets[place]


REASONS = {
    Join.CUT.value: "a scene cut: nothing is interpolated across it",
    Join.DUPLICATE.value: "the source shows the same picture again",
    Join.PAUSE.value: "the source showed nothing new for longer than usual",
    Join.CORRUPT.value: "damaged source: nothing is interpolated from it",
    Join.SPLICE.value: "the picture's size changes",
}


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.1f} %"


def _extreme(choose: Any, one: float | None, other: float | None) -> float | None:
    """Return the smaller or the larger of two numbers; None where neither is known."""
    known = [value for value in (one, other) if value is not None]
    return choose(known) if known else None
