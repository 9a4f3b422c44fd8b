"""Means over clips, and the tables of a comparison: as Markdown, and in README.md."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

Row = dict[str, Any]
COLUMNS = {  # key of a row -> head of a column and the format of a cell
    "psnr": ("PSNR-Y, dB", ".2f"),
    "p10": ("10th percentile", ".2f"),
    "worst": ("worst frame", ".2f"),
    "ssim": ("SSIM", ".4f"),
    "vmaf": ("VMAF", ".1f"),
    "flicker": ("flicker, codes", ".3f"),
    "cpu s": ("CPU s", ".1f"),
    "wall s": ("wall s", ".1f"),
}
SHOWN = "psnr", "worst", "ssim", "vmaf", "flicker", "cpu s"  # in README.md
MEASURED = tuple(COLUMNS)
BEGIN = "<!-- peers: `python -m benchmarks.peers --readme` writes what follows -->"
END = "<!-- peers: end -->"
WIDTH = 110  # letters of a line of README.md


def shared_clips(rows: list[Row]) -> list[str]:
    """Return the clips of which every peer that made any clip made frames."""
    made: dict[str, set[str]] = {}
    for row in rows:
        if "missing" not in row:
            made.setdefault(row["clip"], set()).add(row["peer"])
    peers = set().union(*made.values())
    return [clip for clip, seen in made.items() if seen == peers]


def means(rows: list[Row]) -> list[Row]:
    """Return the mean of every score per peer, over the clips that all peers made."""
    clips = shared_clips(rows)
    found = []
    for peer in dict.fromkeys(row["peer"] for row in rows):
        own = [row for row in rows if row["peer"] == peer and row["clip"] in clips]
        own = [row for row in own if "missing" not in row]
        if own:
            found.append({"peer": peer, **{key: _mean(own, key) for key in MEASURED}})
    return found


def _mean(rows: list[Row], key: str) -> float | None:
    values = [row[key] for row in rows]
    return None if None in values else float(np.mean(values))


def grid(head: list[str], rows: list[list[str]]) -> str:
    """Format a table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def mean_table(result: Row, columns: tuple[str, ...] = MEASURED) -> str:
    """Format the means of a result."""
    labels = {peer["name"]: peer["label"] for peer in result["peers"]}
    rows = [
        [labels[row["peer"]], *(_cell(row[key], COLUMNS[key][1]) for key in columns)]
        for row in result["means"]
    ]
    return grid(["", *(COLUMNS[key][0] for key in columns)], rows)


def clip_table(result: Row, key: str) -> str:
    """Format one score of every peer on every clip."""
    found = {(row["clip"], row["peer"]): row.get(key) for row in result["rows"]}
    peers = [row["peer"] for row in result["means"]]
    rows = [
        [f"`{clip}`", *(_cell(found.get((clip, peer)), COLUMNS[key][1]) for peer in peers)]
        for clip in result["clips"]
    ]
    return grid([COLUMNS[key][0], *(f"`{peer}`" for peer in peers)], rows)


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def absences(result: Row) -> list[str]:
    """Say what is not in the tables, and why."""
    said = [f"{name}: {reason}" for name, reason in result["missing"].items()]
    said += [f"{name}: {reason}" for name, reason in result["clips left out"].items()]
    said += [
        f"{row['peer']} on {row['clip']}: {row['missing']}"
        for row in result["rows"]
        if "missing" in row
    ]
    return said + ([f"VMAF: {result['no vmaf']}"] if result["no vmaf"] else [])


def markdown(result: Row) -> str:
    """Return everything as Markdown: means, a table of clips per score, what is missing."""
    count = len(shared_clips(result["rows"]))
    parts = [f"Mean of {count} clips, {result['frames']} frames each at most", mean_table(result)]
    if result["means"]:
        parts += [clip_table(result, key) for key in ("psnr", "ssim", "vmaf", "cpu s")]
    if said := absences(result):
        parts.append("Not measured:\n" + "\n".join(f"- {line}" for line in said))
    return "\n\n".join(parts)


def readme(result: Row) -> str:
    """Return what README.md says: one paragraph and the table of means."""
    count = len(shared_clips(result["rows"]))
    said = [
        f"In {count} clips every second frame was left out and interpolated again, of "
        f"{result['frames']} frames each at most. The table has means over clips; flicker is how "
        "far the mean luma is from that of the true frame, and CPU seconds are of the whole "
        f"process per clip, its start included ({result['machine']['cores']} cores)."
    ]
    said += [f"`{name}` is not in it: {reason}." for name, reason in result["missing"].items()]
    said += [result["note"]] if result["note"] else []
    said += ["`make bench-peers CLIPS=FOLDER` repeats it on any folder of clips."]
    paragraph = fill(" ".join(said), WIDTH, break_long_words=False, break_on_hyphens=False)
    return f"{paragraph}\n\n{mean_table(result, SHOWN)}"


def rewritten(page: str, result: Row) -> str:
    """Return a page with the part between its two marks written anew.

    Raises:
        ValueError: The page has no such marks.
    """
    pattern = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", re.S)
    if not pattern.search(page):
        raise ValueError(f"no part between {BEGIN} and {END}")
    return pattern.sub(lambda _: f"{BEGIN}\n{readme(result)}\n\n{END}", page)


def update(path: Path, result: Row) -> None:
    """Write the part of a page anew."""
    path.write_text(rewritten(path.read_text(), result))
