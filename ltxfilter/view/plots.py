"""The timeline of a report: plots that a script draws of embedded numbers, and the same as tables.

Browsers draw the plots with uPlot (assets/uPlot.iife.min.js, MIT); everything that they show can be
read without them: a slider tells each moment in words, and tables hold the numbers.
"""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import Any

from ltxfilter.frame import Made
from ltxfilter.view.components import Cell, folded, paragraph, table
from ltxfilter.view.document import Section, embedded_data
from ltxfilter.view.timeline import Bucket, RunTimeline, TimelineEvent

MOST_ROWS = 60  # of the table that stands for the plots
SERIES = 5  # colours of the style sheet: --series-1 and so on
PLOTS = (
    ("made", "Output frames by where they come from, in %"),
    ("quality", "Estimated PSNR of interpolated frames, in dB"),
    ("difficulty", "Difficulty for flow, 0 to 1"),
    ("events", "What happened"),
)


def timeline_section(timeline: RunTimeline) -> Section:
    """Return the section that shows a run along its time."""
    names = made_names(timeline)
    kinds = sorted(timeline.happened)
    shown = [
        (name, title)
        for name, title in PLOTS
        if (name != "quality" or timeline.low)
        and (name != "events" or kinds)
        and (name != "difficulty" or any(b.difficulty is not None for b in timeline.buckets))
    ]
    plots = "".join(_plot(name, title, names) for name, title in shown)
    body = (
        (_reading(timeline) + plots if timeline.buckets else paragraph("There is no output frame."))
        + folded("The plots as a table", _table(timeline, names))
        + _events(timeline)
        + embedded_data("timeline-data", plotted(timeline))
    )
    return Section("timeline", "Timeline", body)


def made_names(timeline: RunTimeline) -> list[str]:
    """Return where output frames come from: source, the engines by their share, repeated."""
    total: Counter[str] = Counter()
    for bucket in timeline.buckets:
        total += bucket.made
    fixed = [Made.SOURCE.value, Made.REPEATED.value]
    drawn = [name for name, _ in total.most_common() if name not in fixed]
    return [name for name in (fixed[0], *drawn, fixed[1]) if total[name]]


def plotted(timeline: RunTimeline) -> dict[str, Any]:
    """Return the numbers of the plots."""
    buckets = timeline.buckets
    start = timeline.start or 0.0
    return {
        "x": [round(start + at * timeline.width, 3) for at in range(len(buckets))],
        "width": timeline.width,
        "made": {name: [b.made[name] for b in buckets] for name in made_names(timeline)},
        "mean": [_mean(b) for b in buckets],
        "min": [b.psnr_min for b in buckets],
        "difficulty": [b.difficulty for b in buckets],
        "events": {kind: [b.events[kind] for b in buckets] for kind in sorted(timeline.happened)},
    }


def clock_text(seconds: float) -> str:
    """Write seconds as [H:]MM:SS.mmm."""
    whole, milli = divmod(round(seconds * 1000), 1000)
    hours, rest = divmod(whole, 3600)
    text = f"{rest // 60:02d}:{rest % 60:02d}.{milli:03d}"
    return f"{hours}:{text}" if hours else text


def _plot(name: str, title: str, names: list[str]) -> str:
    keys = {"made": names, "quality": ["mean", "worst"]}.get(name, [])
    swatches = "".join(
        f'<li><svg viewBox="0 0 10 10" aria-hidden="true"><rect width="10" height="10" '
        f'fill="var(--series-{at % SERIES + 1})"/></svg>{escape(key)}</li>'
        for at, key in enumerate(keys)
    )
    listed = f'<ul class="chart-key">{swatches}</ul>' if keys else ""
    told = f"Plot: {title}. The table below has its numbers."
    return (
        f"<h3>{escape(title)}</h3>{listed}"
        f'<div class="plot" data-plot="{name}" role="img" aria-label="{escape(told)}"></div>'
    )


def _reading(timeline: RunTimeline) -> str:
    return (
        '<div class="reading"><label for="moment">Moment</label>'
        f'<input type="range" id="moment" min="0" max="{len(timeline.buckets) - 1}" value="0" '
        'data-moment><output for="moment" data-reading aria-live="polite"></output></div>'
    )


def _table(timeline: RunTimeline, names: list[str]) -> str:
    step = max(-(-len(timeline.buckets) // MOST_ROWS), 1)
    rows = []
    for at in range(0, len(timeline.buckets), step):
        joined = Bucket()
        for bucket in timeline.buckets[at : at + step]:
            joined = joined.merged(bucket)
        rows.append(_row(clock_text((timeline.start or 0.0) + at * timeline.width), joined, names))
    head = ["From", *(name.capitalize() for name in names), "Mean dB", "Worst dB", "Hardest"]
    caption = f"Output frames of every {step * timeline.width:g} s, by where they come from"
    return table([*head, "What happened"], rows, caption, numeric=range(1, len(head)))


def _row(begin: str, bucket: Bucket, names: list[str]) -> list[Cell]:
    happened = ", ".join(f"{kind} {count}" for kind, count in sorted(bucket.events.items()))
    numbers: list[Cell] = [bucket.made[name] for name in names]
    return [begin, *numbers, _mean(bucket), bucket.psnr_min, bucket.difficulty, happened or None]


def _events(timeline: RunTimeline) -> str:
    """Return the list of what happened, with the reasons."""
    if not timeline.events:
        return paragraph("No cut, duplicate, pause, fallback or damage was seen.")
    events = sorted(timeline.events, key=lambda each: each.begin)
    rows: list[list[Cell]] = [
        [_span(each), each.kind, each.count if each.count > 1 else None, each.reason]
        for each in events
    ]
    told = sum(each.count for each in events)
    all_of_them = sum(timeline.happened.values())
    rest = f", {all_of_them - told} more are counted only" if all_of_them > told else ""
    counts = ", ".join(f"{kind} {count}" for kind, count in sorted(timeline.happened.items()))
    listed = table(["When", "What", "Times", "Why"], rows, f"What happened{rest}", numeric=[2])
    return paragraph(f"In all: {counts}.") + folded(
        f"What happened, in order ({len(rows)})", listed
    )


def _span(event: TimelineEvent) -> str:
    begin = clock_text(event.begin)
    return begin if event.end == event.begin else f"{begin} to {clock_text(event.end)}"


def _mean(bucket: Bucket) -> float | None:
    return round(bucket.psnr_sum / bucket.psnr_count, 2) if bucket.psnr_count else None
