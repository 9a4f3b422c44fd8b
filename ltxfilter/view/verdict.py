"""What needs a look, in order: the first thing that a report says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ltxfilter.pipeline.record.signs import PATTERN, TEXT
from ltxfilter.view.timeline import DROP, PARTNER_FAILED, REJECTED, RunTimeline

BAD, WARN, NOTE = "bad", "warn", "note"
VERY_LOW_DB, LOW_DB = 20, 25  # estimated PSNR below which faults are likely to be seen
FEW = 0.005  # of the interpolated frames


@dataclass(frozen=True, slots=True)
class Look:
    """One thing to look at."""

    level: str  # BAD, WARN or NOTE
    text: str  # plain, a whole sentence
    section: str  # of the page, where more is said
    time: float | None = None  # seconds where it begins, if it has a place


def findings(
    statistics: Mapping[str, Any], timeline: RunTimeline, ended: str, error: str | None
) -> list[Look]:
    """Return what needs a look, the worst first.

    Args:
        statistics: As the JSON report has them.
        timeline: What happened when.
        ended: complete, stopped or failed.
        error: What ended the run early.
    """
    found = [
        *_of_the_end(ended, error),
        *_of_the_source(statistics, timeline),
        *_of_engines(statistics, timeline),
        *_of_quality(statistics, timeline),
        *_of_memory(statistics),
    ]
    return sorted(found, key=lambda each: (BAD, WARN, NOTE).index(each.level))


def _of_the_end(ended: str, error: str | None) -> Iterator[Look]:
    if ended == "failed":
        yield Look(BAD, f"The run failed and the output is not complete: {error}", "what")
    elif ended == "stopped":
        yield Look(BAD, f"The run was ended early: {error}", "what")


def _of_the_source(statistics: Mapping[str, Any], timeline: RunTimeline) -> Iterator[Look]:
    if count := statistics["altered"]:
        text = f"{_counted(count, 'source frame')} reached the output with other samples."
        yield Look(BAD, text, "proof")
    if count := statistics["corrupt"]:
        text = f"The source is damaged: {count} packets or frames did not decode as they should."
        yield Look(BAD, text, "timeline", _first(timeline, "corrupt", "missing frames"))
    if count := statistics["missing_repeated"]:
        text = (
            f"{_counted(count, 'source frame')} are missing, and others are shown in their place."
        )
        yield Look(WARN, text, "timeline", _first(timeline, "missing frames", "corrupt"))
    if count := statistics["out_of_order"]:
        text = f"{_counted(count, 'source frame')} were left out, since their time did not advance."
        yield Look(WARN, text, "what")
    if count := statistics["missing_interpolated"]:
        text = f"{_counted(count, 'missing source frame')} were interpolated."
        yield Look(NOTE, text, "timeline", _first(timeline, "missing frames"))
    if count := statistics["pauses"]:
        text = f"The source makes {_counted(count, 'pause')}; nothing is interpolated there."
        yield Look(NOTE, text, "timeline", _first(timeline, "pause"))


def _reasons(timeline: RunTimeline, kind: str) -> str:
    """Return up to three reasons of what happened."""
    reasons = {each.reason for each in timeline.events if each.kind == kind}
    return "; ".join(sorted(reasons)[:3])


def _of_engines(statistics: Mapping[str, Any], timeline: RunTimeline) -> Iterator[Look]:
    made = statistics["interpolated"]
    if count := timeline.happened[REJECTED]:
        text = (
            f"{_counted(count, 'interpolated frame')} of {made} failed the check and were made by "
            f"a fallback ({_reasons(timeline, REJECTED)})."
        )
        yield Look(WARN, text, "timeline", _first(timeline, REJECTED))
    if count := timeline.happened[PARTNER_FAILED]:
        text = (
            f"For {_counted(count, 'interpolated frame')} the engine that was asked for what is "
            f"hard made nothing ({_reasons(timeline, PARTNER_FAILED)})."
        )
        yield Look(WARN, text, "engines", _first(timeline, PARTNER_FAILED))


def _of_quality(statistics: Mapping[str, Any], timeline: RunTimeline) -> Iterator[Look]:
    if count := timeline.happened[DROP]:
        text = (
            f"In {_counted(count, 'place')} the estimated quality drops for a single interval, as "
            "at a scene cut that was not recognised."
        )
        yield Look(WARN, text, "doubts", _first(timeline, DROP))
    estimated = sum(timeline.low.values())
    very = sum(count for db, count in timeline.low.items() if db < VERY_LOW_DB)
    low = sum(count for db, count in timeline.low.items() if db < LOW_DB)
    if low:
        level = WARN if very or low > FEW * estimated else NOTE
        worst = min(timeline.low)
        text = (
            f"{low} of {estimated} estimated frames are expected below {LOW_DB} dB, {very} of them "
            f"below {VERY_LOW_DB} dB; the worst at {worst} dB."
        )
        yield Look(level, text, "doubts")
    advice = {
        PATTERN: "a wrong match fits as well as the right one there, so no estimate shows it",
        TEXT: "it stays while the picture moves; see whether it stands still between, too",
    }
    for kind, why in advice.items():
        if timeline.happened[kind]:
            first = next(each for each in timeline.events if each.kind == kind)
            text = f"{kind.capitalize()} {first.reason}: {why}."
            yield Look(WARN, text, "timeline", first.begin)
    if not statistics["interpolated"]:
        yield Look(NOTE, "No frame was interpolated.", "what")


def _of_memory(statistics: Mapping[str, Any]) -> Iterator[Look]:
    if statistics["memory_exceeded"]:
        yield Look(WARN, "More memory was in use than was set aside.", "time")
    if count := len(statistics["warnings"]):
        yield Look(NOTE, f"The run gave {_counted(count, 'warning')}.", "messages")


def _first(timeline: RunTimeline, *kinds: str) -> float | None:
    """Return when something of these kinds happened first."""
    return min((each.begin for each in timeline.events if each.kind in kinds), default=None)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
