"""PSNR along the clip, as an SVG of the page and as a table."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil, floor

import numpy as np

from ltxfilter.compare.results.table import number
from ltxfilter.compare.scores import Scores
from ltxfilter.view.components import Cell, folded, table
from ltxfilter.view.plots import SERIES

WIDTH, HEIGHT = 640, 220  # units of the SVG
LEFT, RIGHT, TOP, BOTTOM = 36, 6, 8, 24  # margins, in the same units
MOST_POINTS, MOST_ROWS = 250, 40  # of a line, and of the table
TOLD = "Plot: PSNR along the clip, in dB. The table below has its numbers."
STYLE = "min-width:30rem;max-width:56rem;width:100%"  # narrower, it scrolls; words stay legible
LINES = 4  # of the grid, about
DASHES = ("", "8 4", "2 3", "8 3 2 3", "14 5")  # so that lines differ without colours too


def psnr_plot(scores: Sequence[Scores]) -> str:
    """Return a plot of each candidate's PSNR along the clip, and its numbers, as HTML."""
    times, levels = averaged(scores, MOST_POINTS)
    known = [level for line in levels for level in line]
    step = _step(min(known), max(known))
    low, high = floor(min(known) / step) * step, ceil(max(known) / step) * step
    high = max(high, low + step)
    begin, end = times[0], max(times[-1], times[0] + 1e-3)

    def x(time: float) -> float:
        return LEFT + (time - begin) / (end - begin) * (WIDTH - LEFT - RIGHT)

    def y(level: float) -> float:
        return TOP + (high - level) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = []
    for at in range(round((high - low) / step) + 1):
        parts.append(_grid_line(y(low + at * step), f"{low + at * step:g}"))
    for time, anchor in ((begin, "start"), (end, "end")):
        parts.append(_words(x(time), HEIGHT - 6, f"{time:.3f} s", anchor))
    for at, line in enumerate(levels):
        points = " ".join(f"{x(t):.1f},{y(v):.1f}" for t, v in zip(times, line, strict=True))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="var(--series-{at % SERIES + 1})" '
            f'stroke-width="1.5" stroke-dasharray="{DASHES[at % len(DASHES)]}"/>'
        )
    plot = (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" style="{STYLE}" role="img" aria-label="{TOLD}">'
        f"{''.join(parts)}</svg>"
    )
    return (
        f"{_key([each.name for each in scores])}"
        f'<div class="scrolls" role="region" tabindex="0" aria-label="Plot">{plot}</div>'
        f"{_table(scores)}"
    )


def averaged(scores: Sequence[Scores], most: int) -> tuple[list[float], list[list[float]]]:
    """Return up to `most` times in seconds, and each candidate's mean PSNR from each on."""
    count = len(scores[0].index)
    edges = np.unique(np.linspace(0, count, min(most, count) + 1).astype(int))
    times = [scores[0].time[at] for at in edges[:-1]]
    lengths = np.diff(edges)
    levels = []
    for each in scores:
        values = np.asarray(each.values["psnr"])
        levels.append([float(mean) for mean in np.add.reduceat(values, edges[:-1]) / lengths])
    return times, levels


def _step(low: float, high: float) -> float:
    """Return a round distance of grid lines, in dB."""
    wanted = max(high - low, 0.1) / LINES
    return next(step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if step >= wanted or step == 20)


def _grid_line(y: float, text: str) -> str:
    line = f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="var(--edge)"/>'
    return line + _words(LEFT - 6, y + 5, text, "end")


def _words(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="13" '
        f'fill="var(--soft)">{escape(text)}</text>'
    )


def _key(names: Sequence[str]) -> str:
    items = "".join(
        '<li><svg viewBox="0 0 24 10" style="width:1.8rem" aria-hidden="true"><path d="M0 5H24" '
        f'stroke="var(--series-{at % SERIES + 1})" stroke-width="3" '
        f'stroke-dasharray="{DASHES[at % len(DASHES)]}"/></svg>{escape(name)}</li>'
        for at, name in enumerate(names)
    )
    return f'<ul class="chart-key">{items}</ul>'


def _table(scores: Sequence[Scores]) -> str:
    times, levels = averaged(scores, MOST_ROWS)
    rows: list[list[Cell]] = [
        [f"{time:.3f}", *(number(line[at]) for line in levels)] for at, time in enumerate(times)
    ]
    head = ["From s", *(each.name for each in scores)]
    caption = "Mean PSNR in dB from each time on"
    return folded("The plot as a table", table(head, rows, caption, numeric=range(len(head))))
