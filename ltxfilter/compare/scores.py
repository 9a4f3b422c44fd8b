"""The scores of every compared frame, and what they are on average."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import isnan, nan
from typing import Any

import numpy as np

from ltxfilter.compare import measures
from ltxfilter.compare.candidates import Attempt
from ltxfilter.compare.comparison import ComparedFrame

MEASURES = ("psnr", "ssim", "vmaf", "flicker", "pulse")  # in the order of tables


@dataclass(slots=True)
class Scores:
    """What one candidate reached: a number per measure and scored frame; NaN where unknown.

    8 bytes per number: about 5 MB for an hour at 30 frames per second.
    """

    name: str
    """The candidate's."""

    vmaf_missing: str = ""
    """Why there is no VMAF; empty if there is."""

    index: array[int] = field(default_factory=lambda: array("q"))
    """Numbers of the scored frames, ascending."""

    time: array[float] = field(default_factory=lambda: array("d"))
    """Seconds at which they are shown."""

    values: dict[str, array[float]] = field(
        default_factory=lambda: {name: array("d") for name in (*MEASURES, "estimate")}
    )
    """By measure: psnr and estimate in dB, ssim 0..1, vmaf 0..100, flicker in codes, pulse."""

    equal: int = 0
    """How many of the scored frames have equal first planes."""

    repeated: int = 0
    """How many of the scored frames are source frames that were shown again."""

    def add(self, compared: ComparedFrame, depth: int, around: tuple[float, float] | None) -> None:
        """Score what the candidate shows for a frame.

        depth: bits of the clip. around: sharpness of the true frames before and after; None if
        there is none.
        """
        attempt, true = compared.attempts[self.name], compared.frame.planes[0]
        own = attempt.planes[0]
        found = {
            "psnr": measures.psnr(own, true, depth),
            "ssim": measures.ssim(own, true, depth),
            "flicker": measures.flicker(own, true),
            "pulse": nan if around is None else measures.pulse(measures.sharpness(own), *around),
            "vmaf": nan,  # `set_vmaf` fills it in
            "estimate": _known(attempt),
        }
        self.index.append(compared.index)
        self.time.append(float(compared.time))
        self.equal += np.array_equal(own, true)
        self.repeated += attempt.made == "repeated"
        for name, value in found.items():
            self.values[name].append(value)

    def set_vmaf(self, values: Sequence[float], missing: str) -> None:
        """Take the VMAF of each scored frame, or why there is none."""
        if missing or len(values) != len(self.index):
            self.vmaf_missing = missing or f"libvmaf scored {len(values)} of {len(self.index)}"
            return
        self.values["vmaf"] = array("d", values)

    def latest(self, measure: str) -> float:
        """Return the value of the frame that was scored last."""
        return self.values[measure][-1]

    def summary(self) -> dict[str, float | None]:
        """Return the mean of each measure, and p10: the PSNR that 10 % of frames stay below.

        None where nothing is known.
        """
        found: dict[str, float | None] = {}
        for name in MEASURES:
            found[name] = _mean(self.values[name])
            if name == "psnr":
                levels = self.values[name]
                found["p10"] = float(np.percentile(levels, 10)) if levels else None
        return found

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the scores of one frame after another; None where one is unknown."""
        for at, (index, time) in enumerate(zip(self.index, self.time, strict=True)):
            row: dict[str, Any] = {"frame": index, "time": round(time, 6), "candidate": self.name}
            for name, values in self.values.items():
                row[name] = None if isnan(values[at]) else values[at]
            yield row


def _known(attempt: Attempt) -> float:
    return nan if attempt.psnr_db is None else attempt.psnr_db


def _mean(values: array[float]) -> float | None:
    known = np.array(values)
    known = known[~np.isnan(known)]
    return float(np.mean(known)) if known.size else None
