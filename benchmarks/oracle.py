"""An oracle in place of LTX: guides made of the true frames, reduced, blurred, noisy.

It shows what `ltx-motion` makes of guides whose motion is right; LTX's own is only plausible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from typing import Any, ClassVar

import cv2
import numpy as np
import torch

from ltxfilter.engines.ltx.guides.contract import GuideClip, GuideSource
from ltxfilter.engines.ltx.guides.downscale import GuideCanvas
from ltxfilter.engines.ltx.motion import LtxMotion
from ltxfilter.frame import Plane, Planes, VideoInfo
from ltxfilter.options import EngineOption

LUMA_RANGE = 219  # codes from black to white


@dataclass(frozen=True, slots=True)
class Degradation:
    """What is wrong with guides, as it was measured with in the reference."""

    blur: float = 0.0  # samples, sigma
    noise: float = 0.0  # 8-bit codes, sigma
    drift: float = 0.0  # of the gain from guide to guide, sigma
    vae: bool = False  # weak detail shrunk, tone off by a smooth field


LEVELS = (
    Degradation(),
    Degradation(blur=0.5, noise=1),
    Degradation(blur=1.0, noise=2, drift=0.01),
    Degradation(blur=1.5, noise=4, drift=0.02),
    Degradation(blur=1.0, noise=2, drift=0.01, vae=True),
)


@dataclass(frozen=True, slots=True)
class Truth:
    """All frames of a clip, the dropped ones too."""

    frames: Sequence[Planes]
    rate: Fraction  # of the frames, per second; the first is at 0

    def at(self, time: Fraction) -> Planes:
        """Return the frame at or nearest before a time."""
        return self.frames[min(max(int(time * self.rate), 0), len(self.frames) - 1)]


class Oracle:
    """A source of guides that knows the truth; keeps to `GuideSource`."""

    before = after = 0

    def __init__(
        self, video: VideoInfo, truth: Truth, size: tuple[int, int], parts: int, level: int
    ) -> None:
        self.width, self.height = size
        self.parts, self.intervals, self.batch = parts, max(8 // parts, 1), 1
        self.device = torch.device("cpu")
        self.host_bytes = self.device_bytes = 0
        self._truth = truth
        self._how = LEVELS[level]
        self._canvas = GuideCanvas(video, *size, self.device)

    def seconds_per_guide(self) -> float | None:
        """Return None: true frames cost nothing."""
        return None

    def draw(self, clips: Sequence[GuideClip]) -> torch.Tensor:
        """Return guides of the frames that were dropped."""
        return torch.stack([self._clip(clip) for clip in clips])

    def close(self) -> None:
        """Hold nothing."""

    def _clip(self, clip: GuideClip) -> torch.Tensor:
        times = [
            left + (right - left) * part / self.parts
            for left, right in zip(clip.times, clip.times[1:], strict=False)
            for part in range(self.parts)
        ]
        return torch.stack([self._guide(time) for time in [*times, clip.times[-1]]], 1)

    def bright(self, time: Fraction) -> Plane:
        """Return the guide of a moment as the plane that motion is found in, small."""
        return self._canvas.by_role(self._canvas.planes(self._guide(time)))[self._canvas.bright]

    def _guide(self, time: Fraction) -> torch.Tensor:
        picture = self._canvas.rgb(self._canvas.downscale(self._truth.at(time))).numpy()
        seed = np.random.default_rng([time.numerator, time.denominator])
        return torch.from_numpy(degraded(picture, self._how, seed))


def degraded(picture: Any, how: Degradation, seed: np.random.Generator) -> Any:
    """Return a picture [3, H, W] in -1..1 as a poor source would draw it."""
    unit = 2 / LUMA_RANGE
    parts = [_like_vae(part, unit, seed) if how.vae else part for part in picture]
    if how.blur:
        parts = [cv2.GaussianBlur(part, (0, 0), how.blur) for part in parts]
    gain = 1 + seed.normal(0, how.drift) if how.drift else 1.0
    noise = seed.normal(0, how.noise * unit, picture.shape[1:]) if how.noise else 0.0
    return np.clip((np.stack(parts) + 1) * gain - 1 + noise, -1, 1).astype(np.float32)


def _like_vae(part: Any, unit: float, seed: np.random.Generator) -> Any:
    """Shrink weak coefficients of 8x8 blocks, then shift the tone by a smooth field."""
    out = np.empty_like(part)
    for y in range(0, part.shape[0], 8):
        for x in range(0, part.shape[1], 8):
            block = cv2.dct(np.ascontiguousarray(part[y : y + 8, x : x + 8]))
            block[np.abs(block) < 12 * unit] *= 0.3
            out[y : y + 8, x : x + 8] = cv2.idct(block)
    size = part.shape[1] // 16 + 1, part.shape[0] // 16 + 1
    field = seed.normal(0, 3 * unit, size[::-1]).astype(np.float32)
    return out + cv2.resize(field, part.shape[::-1], interpolation=cv2.INTER_CUBIC)


class OracleMotion(LtxMotion):
    """`ltx-motion` with the oracle as its source; set `truth` first."""

    name: ClassVar[str] = "oracle-motion"
    files: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[tuple[EngineOption, ...]] = (
        *LtxMotion.options,
        EngineOption("level", 2, "of degradation, by LEVELS", low=0, high=len(LEVELS) - 1),
    )
    truth: ClassVar[Truth | None] = None

    @classmethod
    def unavailable(cls) -> str | None:
        """Return what is missing beside LTX, which it does without."""
        return None if find_spec("torch") else "torch is missing"

    def open_source(self, video: VideoInfo, pace: Fraction) -> GuideSource:
        """Open the oracle at the size and parts that a source of LTX would have."""
        from ltxfilter.engines.ltx.guides.ltx_source import choose_grid

        assert self.truth is not None, "OracleMotion.truth is not set"
        grid = choose_grid(self._options, (video.width, video.height), pace)
        return Oracle(
            video, self.truth, (grid.width, grid.height), grid.parts, self._options["level"]
        )
