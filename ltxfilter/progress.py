"""How a run is going and how it went: the numbers, and how they are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from ltxfilter.scheduler import StageStats


@dataclass(slots=True)
class Progress:
    """Where a run stands; updated in place by whoever drives it."""

    frames_in: int = 0  # source frames decoded
    passed: int = 0  # source frames in the output
    drawn: int = 0
    held: int = 0
    repeats: int = 0  # source frames equal to the one before
    cuts: int = 0
    gaps: int = 0  # pauses too long to draw across
    corrupt: int = 0  # damaged packets and frames in the source
    out_of_order: int = 0  # source frames dropped because their time did not advance
    fallbacks: int = 0  # drawn frames that failed the check and were drawn again more simply
    out_time: Fraction = Fraction(0)  # seconds of output written
    duration: Fraction | None = None  # seconds the output will have, when known
    rate: Fraction | None = None  # output frames per second
    elapsed: float = 0.0  # seconds since the start
    stages: tuple[StageStats, ...] = ()  # in the order frames travel, filled in at the end
    memory: Mapping[str, int] = field(default_factory=dict)  # budgeted bytes by part

    @property
    def frames_out(self) -> int:
        """Output frames written."""
        return self.passed + self.drawn + self.held
