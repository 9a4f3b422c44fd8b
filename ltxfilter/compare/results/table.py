"""The result as text, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

from ltxfilter import __version__
from ltxfilter.compare.scores import Scores

FORMAT, VERSION = "ltxfilter comparison", 1  # docs/compare.md; raised where readers must know
TITLES = {  # measure -> heading, with its unit
    "psnr": "PSNR dB",
    "p10": "p10 dB",
    "ssim": "SSIM",
    "vmaf": "VMAF",
    "flicker": "flicker",
    "pulse": "pulse",
}
NEARER = "PSNR, p10, SSIM, VMAF: higher is nearer to {}. p10: one frame in ten is below."
FLICKER = "flicker: codes by which the mean brightness is off; 0 is steady."
PULSE = "pulse: change of sharpness against the frames around; 0 is steady."
DIGITS = 3  # after the point, in text and on pages


@dataclass(frozen=True, slots=True)
class Comparisons:
    """What a comparison found."""

    clip: str
    """Name of the clip with the true frames."""

    about: dict[str, Any]
    """Facts of the clip and of the comparison, as JSON knows them."""

    scores: Sequence[Scores]
    """One per candidate."""

    notes: Sequence[str] = ()
    """What a reader must know to trust the numbers, whole sentences."""

    is_hdr: bool = False
    """True if samples stand for more brightness than pictures on a page can show."""

    @property
    def frames(self) -> int:
        """How many frames were scored."""
        return len(self.scores[0].index)

    @property
    def measures(self) -> list[str]:
        """The keys of TITLES that a candidate has a value of, or lacks for a reason."""
        summaries = [each.summary() for each in self.scores]
        known = {key for key in TITLES if any(found[key] is not None for found in summaries)}
        return [key for key in TITLES if key in known or (key == "vmaf" and self.without_vmaf)]

    @property
    def reference(self) -> str:
        """What the candidates are compared with, as part of a sentence."""
        return "the true frames" if self.about["step"] > 1 else f"{self.about['true']}"

    @property
    def legend(self) -> list[str]:
        """What the columns of the table mean, whole sentences."""
        pulse = [PULSE] if "pulse" in self.measures else []
        return [NEARER.format(self.reference), FLICKER, *pulse]

    @property
    def without_vmaf(self) -> list[str]:
        """Why there is no VMAF, each reason once."""
        return list(dict.fromkeys(each.vmaf_missing for each in self.scores if each.vmaf_missing))


def as_text(found: Comparisons) -> str:
    """Return the table as lines for a terminal, and what its columns mean."""
    keys = found.measures
    rows = [["", *(TITLES[key] for key in keys)]]
    for scores in found.scores:
        summary = scores.summary()
        rows.append([scores.name, *(number(summary[key]) for key in keys)])
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]
    reasons = [f"VMAF is missing: {reason}" for reason in found.without_vmaf]
    return "\n".join([*lines, "", *found.legend, *reasons, *found.notes]) + "\n"


def number(value: float | None) -> str:
    """Return a score as text; a dash where there is none."""
    return "-" if value is None else f"{value:.{DIGITS}f}"


def as_csv(found: Comparisons) -> str:
    """Return the table as CSV: a row per candidate."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["candidate", "frames", *TITLES, "vmaf_missing"])
    for scores in found.scores:
        summary = scores.summary()
        values = ["" if summary[key] is None else summary[key] for key in TITLES]
        writer.writerow([scores.name, len(scores.index), *values, scores.vmaf_missing])
    return text.getvalue()


def frames_as_csv(found: Comparisons) -> Iterator[bytes]:
    """Yield the scores of every frame as CSV, piece by piece: a row per frame and candidate."""
    names = ["frame", "time", "candidate", *found.scores[0].values]
    yield (",".join(names) + "\n").encode()
    for scores in found.scores:
        for row in scores.rows():
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerow(
                ["" if row[name] is None else row[name] for name in names]
            )
            yield text.getvalue().encode()


def as_json(found: Comparisons) -> Iterator[bytes]:
    """Yield everything as JSON, piece by piece: the table, and lists of the frames' scores."""
    head = {
        "format": FORMAT,
        "version": VERSION,
        "ltxfilter": __version__,
        "clip": found.clip,
        **found.about,
        "frames": found.frames,
        "notes": list(found.notes),
    }
    yield json.dumps(head, indent=1).removesuffix("\n}").encode() + b',\n "candidates": ['
    for at, scores in enumerate(found.scores):
        yield b",\n  {" if at else b"\n  {"
        facts = {"name": scores.name, **scores.summary(), "repeated": scores.repeated}
        if scores.vmaf_missing:
            facts["vmaf_missing"] = scores.vmaf_missing
        yield json.dumps(facts)[1:-1].encode() + b', "per_frame": {'
        columns: dict[str, Iterable[float]] = {"frame": scores.index, "time": scores.time}
        columns |= scores.values
        for number_of, (name, values) in enumerate(columns.items()):
            text = json.dumps([None if isnan(value) else value for value in values])
            yield f'{", " if number_of else ""}"{name}": {text}'.encode()
        yield b"}}"
    yield b"\n ]\n}\n"
