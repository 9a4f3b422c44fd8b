"""From guides to pictures: the keyframes of a window are warped along the motion of its guides."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import cv2
import numpy as np
import torch
from torch import Tensor

from ltxfilter.engines.base import Drawn
from ltxfilter.engines.ltx.diffusion.grids import shot
from ltxfilter.engines.ltx.guides.clips import ClipSpan
from ltxfilter.engines.ltx.guides.contract import GuideClip, GuideSource
from ltxfilter.engines.ltx.guides.downscale import Parts, SmallCanvas
from ltxfilter.frame import Planes, VideoInfo
from ltxfilter.motion import kernels
from ltxfilter.motion.grid import Floats, Luma
from ltxfilter.motion.guided import warp_plan
from ltxfilter.motion.guided.chain import Chain, link
from ltxfilter.motion.guided.renderer import Ends, Renderer
from ltxfilter.windows.window import Window

log = logging.getLogger("ltxfilter.engines")

STEADY = 3  # 8-bit codes that a sample may change by over three or four keyframes
CONTRAST = 60  # codes that letters stand out from what is around
AROUND = np.ones((5, 5), np.uint8)
SMALL_BYTES = 64  # per sample of a small picture of a chain: planes as codes and floats, flows


@dataclass(slots=True, eq=False)
class View:
    """A window's keyframes, small and on the device, as far as they were asked for."""

    window: Window
    low: int  # the keyframes that belong to its shot
    high: int
    small: dict[int, Planes] = field(default_factory=dict)
    whole: dict[int, tuple[Tensor, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class GuideChain:
    """The chain of one interval and what its pictures show."""

    chain: Chain
    small: warp_plan.Small
    lost: tuple[Floats, Floats]  # by the guides, of both keyframes: warp_plan.detail_lost


def steady(lumas: Sequence[Luma], still: Luma) -> Luma:
    """Return 255 where samples near what stands still are the same in every keyframe, else 0.

    Rims of letters: too few of them stand still around one another to be told by that alone.
    """
    low = high = lumas[0]
    for luma in lumas[1:]:
        low, high = cv2.min(low, luma), cv2.max(high, luma)
    same = cv2.compare(cv2.subtract(high, low), STEADY, cv2.CMP_LE)
    contrast = cv2.morphologyEx(lumas[0], cv2.MORPH_GRADIENT, AROUND)
    rims = cv2.compare(contrast, CONTRAST, cv2.CMP_GE)
    return same & rims & cv2.dilate(still, AROUND)


class GuideWarper:
    """Draws the pictures of one stream along guides; pure, any number of threads at once."""

    def __init__(self, video: VideoInfo, source: GuideSource, *, still: bool) -> None:
        self._source = source
        self._still = still
        self._canvas = SmallCanvas(video, source.width, source.height, source.device)
        self._renderer = Renderer(video.layout, self._canvas.bright, source.device)
        roles = [shape.role for shape in video.layout]
        self._bright = roles.index(self._canvas.bright)
        self._depth = video.depth
        self._frame_bytes = video.frame_bytes
        self._samples = video.width * video.height
        self._warned = False

    @property
    def draw_bytes(self) -> int:
        """Bytes of host memory that drawing a window takes beside its pictures."""
        source = self._source
        pictures = source.batch * (
            source.intervals * (source.parts + 1) + source.before + source.after
        )
        small = SMALL_BYTES * source.width * source.height * pictures
        whole = self._samples * (6 + 4 * (self._depth > 8))  # squares of detail, or masks
        rest = self._renderer.draw_bytes if source.device.type == "cpu" else 2 * self._frame_bytes
        return small + whole + rest

    def view(self, window: Window) -> View:
        """Return a window, nothing of it read yet."""
        return View(window, *shot(window))

    def guides(self, view: View, stretches: Sequence[ClipSpan]) -> list[list[Planes] | None]:
        """Return the guides of each stretch as small planes; None where they hold no numbers."""
        size = self._source.batch
        found: list[list[Planes] | None] = []
        for start in range(0, len(stretches), size):
            part = stretches[start : start + size]
            clips = [self._clip(view, stretch) for stretch in part]
            clips += [clips[-1]] * (size - len(clips))  # a batch always has one size
            with torch.inference_mode():
                drawn = self._source.draw(clips)[: len(part)]
                found += [self._planes(guides) for guides in drawn]
        return found

    def _clip(self, view: View, stretch: ClipSpan) -> GuideClip:
        keys = view.window.keyframes
        read = {key: self._canvas.rgb(self._small(view, key)) for key in set(stretch.keyframes)}
        span = keys[view.high].time - keys[view.low].time
        return GuideClip(
            torch.stack([read[key] for key in stretch.keyframes], 1),
            tuple(keys[key].time - view.window.start for key in stretch.keyframes),
            float((view.high - view.low) / span),
        )

    def _small(self, view: View, key: int) -> Planes:
        if key not in view.small:
            view.small[key] = self._canvas.reduce(view.window.keyframes[key].planes)
        return view.small[key]

    def _planes(self, guides: Tensor) -> list[Planes] | None:
        if not bool(torch.isfinite(guides).all()):
            return None
        return [self._canvas.planes(guide) for guide in guides.unbind(1)]

    def draw(self, view: View, stretch: ClipSpan, guides: list[Planes] | None) -> Iterator[Drawn]:
        """Yield the picture of each slot of a stretch."""
        strand, ends, left = None, None, -1
        for slot in stretch.slots:
            if guides is None:
                self._warn(slot.time)
                yield Drawn(())
                continue
            if strand is None or ends is None or slot.left != left:
                left = slot.left
                strand = self._strand(view, left, left - stretch.own, guides)
                ends = self._ends(view, left)
            tau = float(slot.tau)
            bright = self._canvas.bright
            how = warp_plan.plan_warp(strand.chain, strand.small, bright, tau, strand.lost)
            picture = self._renderer.draw(ends, how, tau)
            yield Drawn(picture.planes, warp_plan.estimate_psnr(picture.apart))

    def _strand(self, view: View, left: int, interval: int, guides: Sequence[Planes]) -> GuideChain:
        """Return an interval's chain: keyframes as soft as the source draws them, and guides."""
        parts, canvas = self._source.parts, self._canvas
        first = interval * parts
        shown = [canvas.parts(guide) for guide in guides[first : first + parts + 1]]
        shown[0], shown[-1] = (
            self._softened(canvas.parts(self._small(view, key)), own)
            for key, own in ((left, shown[0]), (left + 1, shown[-1]))
        )
        chain = link([warp_plan.to_codes(picture[canvas.bright]) for picture in shown])
        small = {role: [picture[role] for picture in shown] for role in shown[0]}
        first_lost, last_lost = (
            warp_plan.detail_lost(self._luma(view, key), picture[canvas.bright])
            for key, picture in ((left, shown[0]), (left + 1, shown[-1]))
        )
        return GuideChain(chain, small, (first_lost, last_lost))

    def _luma(self, view: View, key: int) -> Luma:
        """Return a keyframe's bright plane at 8 bits."""
        luma = view.window.keyframes[key].planes[self._bright]
        if self._depth > 8:
            return cv2.convertScaleAbs(luma, alpha=0.5 ** (self._depth - 8))
        return luma

    def _softened(self, keyframe: Parts, own: Parts) -> Parts:
        bright = self._canvas.bright
        sigma = warp_plan.softness(keyframe[bright], own[bright])
        return {role: warp_plan.soften(part, sigma) for role, part in keyframe.items()}

    def _whole(self, view: View, key: int) -> tuple[Tensor, ...]:
        """Return a keyframe on the device, the last two kept."""
        if key not in view.whole:
            for old in sorted(view.whole)[:-1]:
                del view.whole[old]
            view.whole[key] = self._renderer.upload(view.window.keyframes[key].planes)
        return view.whole[key]

    def _ends(self, view: View, left: int) -> Ends:
        """Return the keyframes of an interval, and where those around it stand still.

        Two keyframes alone may look still where something moved between them: guides decide then.
        """
        pair = self._whole(view, left), self._whole(view, left + 1)
        if not self._still:
            return self._renderer.ends(*pair, None)
        around = range(max(left - 1, view.low), min(left + 2, view.high) + 1)
        lumas = [self._luma(view, key) for key in around]
        mask, count = kernels.still_mask(tuple(lumas))
        sure = len(lumas) > 2
        if count and sure:
            mask |= steady(lumas, mask)
        return self._renderer.ends(*pair, mask if count else None, sure=sure)

    def _warn(self, time: Fraction) -> None:
        if not self._warned:
            log.warning("the model drew no numbers (NaN) before %.3f s", float(time))
            self._warned = True
