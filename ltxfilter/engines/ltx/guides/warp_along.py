"""From guides to frames: the keyframes of a window are warped along the motion of its guides."""

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
from ltxfilter.engines.ltx.diffusion.shots import shot_bounds
from ltxfilter.engines.ltx.guides.clips import ClipSpan
from ltxfilter.engines.ltx.guides.contract import GuideClip, GuideSource
from ltxfilter.engines.ltx.guides.downscale import FloatPlanes, GuideCanvas
from ltxfilter.frame import Planes, VideoInfo
from ltxfilter.motion import kernels
from ltxfilter.motion.grid import Floats, Luma
from ltxfilter.motion.guided import warp_plan
from ltxfilter.motion.guided.chain import Chain, link
from ltxfilter.motion.guided.renderer import Ends, Renderer
from ltxfilter.windows.window import Window

log = logging.getLogger("ltxfilter.engines")

STATIC_CHANGE = 3  # 8-bit codes by which a static sample may change over three or four keyframes
EDGE_CONTRAST = 60  # 8-bit codes by which letters differ from their surroundings, at least
NEIGHBOURS = np.ones((5, 5), np.uint8)  # which samples are near to one
CHAIN_BYTES = 64  # host bytes per sample of a downscaled picture: codes, floats and flows


@dataclass(slots=True, eq=False)
class WindowKeyframes:
    """A window's keyframes, downscaled or on the device as they are needed."""

    window: Window
    low: int  # positions of the first and the last keyframe of its shot
    high: int
    small: dict[int, Planes] = field(default_factory=dict)  # downscaled planes by position
    whole: dict[int, tuple[Tensor, ...]] = field(default_factory=dict)  # on the device, at most two


@dataclass(frozen=True, slots=True, eq=False)
class GuideChain:
    """The pictures of one interval, from keyframe to keyframe, and the flow between them."""

    chain: Chain
    small: warp_plan.Small
    lost: tuple[Floats, Floats]  # detail of the two keyframes that guides lack, see `detail_lost`


def static_edges(lumas: Sequence[Luma], static_mask: Luma) -> Luma:
    """Return a mask [H, W] uint8 of static edges near static areas: 255 where there is one, else 0.

    The edges of letters are too thin for `static_mask` to find them. lumas: a few keyframes in a
    row, [H, W] uint8. static_mask: 255 where a sample is static in all of them.
    """
    low = high = lumas[0]
    for luma in lumas[1:]:
        low, high = cv2.min(low, luma), cv2.max(high, luma)
    same = cv2.compare(cv2.subtract(high, low), STATIC_CHANGE, cv2.CMP_LE)
    contrast = cv2.morphologyEx(lumas[0], cv2.MORPH_GRADIENT, NEIGHBOURS)
    edges = cv2.compare(contrast, EDGE_CONTRAST, cv2.CMP_GE)
    return same & edges & cv2.dilate(static_mask, NEIGHBOURS)


class GuideWarper:
    """Makes the frames of one stream along guides; pure, for any number of threads at once."""

    def __init__(self, video: VideoInfo, source: GuideSource, *, protect_static: bool) -> None:
        """Prepare for a stream. protect_static: show static parts of the picture unwarped."""
        self._source = source
        self._protect_static = protect_static
        self._canvas = GuideCanvas(video, source.width, source.height, source.device)
        self._renderer = Renderer(video.layout, self._canvas.bright, source.device)
        roles = [shape.role for shape in video.layout]
        self._bright = roles.index(self._canvas.bright)
        self._depth = video.depth
        self._frame_bytes = video.frame_bytes
        self._samples = video.width * video.height
        self._warned = False

    @property
    def draw_bytes(self) -> int:
        """Bytes of host memory that one window takes beside its own frames."""
        source = self._source
        pictures = source.batch * (
            source.intervals * (source.parts + 1) + source.before + source.after
        )
        chains = CHAIN_BYTES * source.width * source.height * pictures
        masks = self._samples * (6 + 4 * (self._depth > 8))  # or the squares of lost detail
        rest = self._renderer.draw_bytes if source.device.type == "cpu" else 2 * self._frame_bytes
        return chains + masks + rest

    def keyframes(self, window: Window) -> WindowKeyframes:
        """Return the keyframes of a window, of which nothing is read yet."""
        return WindowKeyframes(window, *shot_bounds(window))

    def guides(
        self, keyframes: WindowKeyframes, spans: Sequence[ClipSpan]
    ) -> list[list[Planes] | None]:
        """Return the guides of each clip as downscaled planes, None for a clip with NaN in them."""
        size = self._source.batch
        guides: list[list[Planes] | None] = []
        for start in range(0, len(spans), size):
            batch = spans[start : start + size]
            clips = [self._clip(keyframes, span) for span in batch]
            clips += [clips[-1]] * (size - len(clips))  # a source always gets a whole batch
            with torch.inference_mode():
                drawn = self._source.draw(clips)[: len(batch)]
                guides += [self._planes(clip) for clip in drawn]
        return guides

    def _clip(self, keyframes: WindowKeyframes, span: ClipSpan) -> GuideClip:
        window, low, high = keyframes.window, keyframes.low, keyframes.high
        keys = window.keyframes
        rgb = {key: self._canvas.rgb(self._small(keyframes, key)) for key in set(span.keyframes)}
        return GuideClip(
            torch.stack([rgb[key] for key in span.keyframes], 1),
            tuple(keys[key].time - window.start for key in span.keyframes),
            float((high - low) / (keys[high].time - keys[low].time)),
        )

    def _small(self, keyframes: WindowKeyframes, key: int) -> Planes:
        if key not in keyframes.small:
            keyframes.small[key] = self._canvas.downscale(keyframes.window.keyframes[key].planes)
        return keyframes.small[key]

    def _planes(self, guides: Tensor) -> list[Planes] | None:
        if not bool(torch.isfinite(guides).all()):
            return None
        return [self._canvas.planes(guide) for guide in guides.unbind(1)]

    def draw(
        self, keyframes: WindowKeyframes, span: ClipSpan, guides: list[Planes] | None
    ) -> Iterator[Drawn]:
        """Yield the picture of each slot of a clip. guides: what `guides` returned for it."""
        chain, ends, left = None, None, -1
        for slot in span.slots:
            if guides is None:
                self._warn(slot.time)
                yield Drawn(())
                continue
            if chain is None or ends is None or slot.left != left:
                left = slot.left
                chain = self._chain(keyframes, left, left - span.first, guides)
                ends = self._ends(keyframes, left)
            tau = float(slot.tau)
            bright = self._canvas.bright
            plan = warp_plan.plan_warp(chain.chain, chain.small, bright, tau, chain.lost)
            picture = self._renderer.draw(ends, plan, tau)
            yield Drawn(picture.planes, warp_plan.estimate_psnr(picture.apart))

    def _chain(
        self, keyframes: WindowKeyframes, left: int, interval: int, guides: Sequence[Planes]
    ) -> GuideChain:
        """Return an interval's pictures: its keyframes, as blurred as guides, around its guides.

        left: position of the interval's first keyframe. interval: its number in the clip.
        """
        parts, canvas = self._source.parts, self._canvas
        first = interval * parts
        pictures = [canvas.as_floats(guide) for guide in guides[first : first + parts + 1]]
        pictures[0], pictures[-1] = (
            self._softened(canvas.as_floats(self._small(keyframes, key)), guide)
            for key, guide in ((left, pictures[0]), (left + 1, pictures[-1]))
        )
        chain = link([warp_plan.to_codes(picture[canvas.bright]) for picture in pictures])
        small = {role: [picture[role] for picture in pictures] for role in pictures[0]}
        first_lost, last_lost = (
            warp_plan.detail_lost(self._luma(keyframes, key), picture[canvas.bright])
            for key, picture in ((left, pictures[0]), (left + 1, pictures[-1]))
        )
        return GuideChain(chain, small, (first_lost, last_lost))

    def _luma(self, keyframes: WindowKeyframes, key: int) -> Luma:
        """Return the plane of a keyframe in which motion is estimated, [H, W] uint8."""
        luma = keyframes.window.keyframes[key].planes[self._bright]
        if self._depth > 8:
            return cv2.convertScaleAbs(luma, alpha=0.5 ** (self._depth - 8))
        return luma

    def _softened(self, keyframe: FloatPlanes, guide: FloatPlanes) -> FloatPlanes:
        """Return a downscaled keyframe blurred as the source blurs it."""
        bright = self._canvas.bright
        sigma = warp_plan.softness(keyframe[bright], guide[bright])
        return {role: warp_plan.soften(plane, sigma) for role, plane in keyframe.items()}

    def _whole(self, keyframes: WindowKeyframes, key: int) -> tuple[Tensor, ...]:
        """Return a keyframe's planes on the device, where the last two stay."""
        whole = keyframes.whole
        if key not in whole:
            for old in sorted(whole)[:-1]:
                del whole[old]
            whole[key] = self._renderer.upload(keyframes.window.keyframes[key].planes)
        return whole[key]

    def _ends(self, keyframes: WindowKeyframes, left: int) -> Ends:
        """Return the keyframes of an interval with the mask of what is static around it.

        Two keyframes alone may be equal where something moved between them, so that the mask is
        sure only with a third one; else the guides have to agree.
        """
        pair = self._whole(keyframes, left), self._whole(keyframes, left + 1)
        if not self._protect_static:
            return self._renderer.ends(*pair, None)
        around = range(max(left - 1, keyframes.low), min(left + 2, keyframes.high) + 1)
        lumas = [self._luma(keyframes, key) for key in around]
        mask, count = kernels.static_mask(tuple(lumas))
        sure = len(lumas) > 2
        if count and sure:
            mask |= static_edges(lumas, mask)
        return self._renderer.ends(*pair, mask if count else None, sure=sure)

    def _warn(self, time: Fraction) -> None:
        """Say once that the guides are not finite."""
        if not self._warned:
            log.warning("the model's output is NaN or infinite before %.3f s", float(time))
            self._warned = True
