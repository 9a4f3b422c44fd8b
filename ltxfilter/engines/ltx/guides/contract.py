"""The contract of a source of guides: small generated pictures that show how things move.

`ltx-motion` estimates the motion between guides and warps the keyframes along it. A source of
guides never sees a frame at full size and knows no times: it is given clips of downscaled keyframes
and divides every interval between them into the same number of parts, however long the interval
lasts. So one source serves any output rate and any timing of keyframes.
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
    """A clip of keyframes for a source of guides: context, its own intervals, context.

    Every clip of a run has the number of keyframes that the source asks for. At the ends of a shot
    keyframes are used again in reverse order.
    """

    keyframes: Tensor  # [3, before + intervals + 1 + after, height, width] float32 RGB in -1..1
    times: tuple[Fraction, ...]  # of each keyframe, in seconds after the stream's first frame
    rate: float  # keyframes per second that the models are told: the mean of the shot

    def start_time(self, before: int) -> Fraction:
        """Return the time of the keyframe that its own intervals begin with.

        before: keyframes of context. The prompt and the noise depend on this time.
        """
        return self.times[before]


class GuideSource(Protocol):
    """Makes guides for one thread at a time; equal clips give equal guides in any order."""

    width: int  # pixels of keyframes and guides, a multiple of 32
    height: int  # pixels, a multiple of 32
    parts: int  # that each interval is divided into: 2, 4, 8 or 16
    intervals: int  # of a clip; intervals * parts is a multiple of 8
    before: int  # keyframes of context at the beginning of a clip
    after: int  # keyframes of context at the end of a clip
    batch: int  # clips of each call, exactly

    @property
    def device(self) -> torch.device:
        """The device that the models run on, and that frames are warped on."""
        ...

    @property
    def host_bytes(self) -> int:
        """Bytes of host memory that the models and their work take."""
        ...

    @property
    def device_bytes(self) -> int:
        """Bytes of a GPU's memory that the models take; 0 on a CPU."""
        ...

    def seconds_per_guide(self) -> float | None:
        """Return the seconds of work per guide, at least, by a small trial; None: not known."""
        ...

    def draw(self, clips: Sequence[GuideClip]) -> Tensor:
        """Return guides [clips, 3, intervals * parts + 1, height, width], RGB in -1..1.

        Guide i * parts + j lies at tau j / parts of a clip's own interval i. The guides at j = 0
        are the source's versions of keyframes and show how much it blurs. Guides have any
        floating-point dtype and lie on the device of the keyframes. Raises EngineError.
        """
        ...

    def cancel(self) -> None:
        """Make `draw`, also one under way, raise Stopped soon; from any thread, at any time."""
        ...

    def close(self) -> None:
        """Release the models; calling it twice does nothing."""
        ...
