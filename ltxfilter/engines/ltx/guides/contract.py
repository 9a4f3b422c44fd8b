"""The contract of what defines motion: small pictures drawn between keyframes, warped by others.

A source of guides never sees a picture at full size. It is given stretches of keyframes, reduced,
and draws a grid over them that knows no seconds: every interval has the same number of parts,
however long it lasts. So any output rate and any timing of keyframes are served alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class GuideClip:
    """A stretch of keyframes as a source of guides sees it: context, its own intervals, context.

    Where a shot gives out, time turns round: the stretch is always as long as the source asked.
    """

    keyframes: Tensor  # [3, before + intervals + after + 1, height, width] RGB in -1..1
    times: tuple[Fraction, ...]  # of each keyframe, seconds from the video's first frame
    rate: float  # keyframes per second as the models are told: the shot's mean

    def scene(self, before: int) -> Fraction:
        """Return the time of the first keyframe of its own: what noise and prompt go by."""
        return self.times[before]


class GuideSource(Protocol):
    """Draws guides. One thread at a time; equal clips give equal guides, whatever came before."""

    width: int  # pixels of keyframes and guides; multiples of 32
    height: int
    parts: int  # of an interval: 2, 4, 8 or 16
    intervals: int  # of a clip that guides are returned for; intervals * parts is a multiple of 8
    before: int  # keyframes of context that a clip begins with
    after: int  # and ends with
    batch: int  # clips drawn at a time; it is always given exactly so many

    @property
    def device(self) -> torch.device:
        """What its models run on, and pictures are drawn on."""
        ...

    @property
    def host_bytes(self) -> int:
        """Host memory that it holds and works in."""
        ...

    def draw(self, clips: Sequence[GuideClip]) -> Tensor:
        """Return guides [clips, 3, intervals * parts + 1, height, width], RGB in -1..1.

        Guide g * parts + j lies at tau j / parts of interval g, counted after the context. Those
        at j = 0 are the source's own version of a keyframe: they tell how soft it draws. Any float
        dtype, on the device that the keyframes are on. Raises EngineError.
        """
        ...

    def close(self) -> None:
        """Let go of the models; calling it twice does nothing."""
        ...
