"""Plan, on small pictures of an interval, how a picture between its keyframes is warped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

import cv2
import numpy as np

from ltxfilter.motion.grid import Floats, Luma
from ltxfilter.motion.guided.chain import (
    Chain,
    FlowPair,
    fetch,
    flow_to_keyframes,
    place,
    straight,
)

Small = Mapping[str, Sequence[Floats]]  # by plane: the chain's pictures, [H, W] in 8-bit codes

SIGMAS = (0.0, 0.35, 0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 2.5)  # samples; how soft guides may be
NEAR = 1.0  # samples, sigma of the Gaussian that residuals and changes are averaged over
WIDE = 1.5  # samples, sigma of the one that decides between two flows
CREDIT = 0.2  # codes that even motion may fail by more than what guides say
DOUBT = 0.25  # codes; temperature of the softmax between two flows
PATIENCE = 2.0  # codes that a static picture may fail by more than what was warped
APART = 2.0  # codes that keyframes may differ by along even motion
GROUND = 4.0  # codes^2 of residual that mean nothing
USUAL = 1.5  # times the noise of guides; residuals beyond that are errors
MISSED = 4.0  # how many times the square of a residual the square of its error is
LEAST_GAIN, MOST_GAIN = 0.8, 1.25  # of a guide's contrast


@dataclass(frozen=True, slots=True, eq=False)
class WarpPlan:
    """How the picture at a moment is made at full size; fields are [H, W] and cover all of it."""

    flows: FlowPair  # where both keyframes are seen, in samples of the fields
    share: Floats  # 0..1 of the left keyframe
    trust: Floats  # 0..1 in what was warped; the rest is what the guide shows
    static: Floats  # 0..1: how far the guide agrees that samples are static
    change: Mapping[str, Floats]  # by plane: 8-bit codes to add to what was warped
    shown: Mapping[
        str, Floats
    ]  # by plane: 8-bit codes that the guide shows, in the keyframes' tone


def plan_warp(
    chain: Chain, small: Small, bright: str, tau: float, lost: tuple[Floats, Floats]
) -> WarpPlan:
    """Return how to draw the picture at `tau` (0..1) of the interval.

    small: by plane, the chain's pictures, those of keyframes as soft as the others. bright: the
    plane that the chain is made of. lost: of both keyframes, see `detail_lost`.
    """
    here = place(chain, tau * (len(chain.pictures) - 1))
    seen = {name: here.seen_in(pictures) for name, pictures in small.items()}
    ends = small[bright][0], small[bright][-1]
    guided = flow_to_keyframes(chain, here, to_codes(seen[bright]))
    flows = _steadied(guided, straight(chain, tau), ends, seen[bright])
    left = {name: fetch(pictures[0], flows.to_left) for name, pictures in small.items()}
    right = {name: fetch(pictures[-1], flows.to_right) for name, pictures in small.items()}
    share, least = _share(left[bright], right[bright], seen[bright], tau)
    steady = least <= 1.5 * np.median(least) + 1
    for name in small:
        mixed = _mixed(left[name], right[name], share)
        seen[name] = _in_tone(seen[name], mixed, steady)
    share, least = _share(left[bright], right[bright], seen[bright], tau)
    warped = {name: _mixed(left[name], right[name], share) for name in small}
    change = {name: _change(seen[name] - warped[name]) for name in small}
    static = _static(ends, seen[bright], warped[bright], tau)
    detail = _mixed(fetch(lost[0], flows.to_left), fetch(lost[1], flows.to_right), share)
    return WarpPlan(flows, share, _trust(least, detail), static, change, seen)


def softness(keyframe: Floats, drawn: Floats) -> float:
    """Return the sigma in samples that makes `keyframe` as soft as a source draws it.

    drawn: the source's own version of it, [H, W] like it.
    """
    wanted = drawn - drawn.mean()

    def error(sigma: float) -> float:
        soft = soften(keyframe, sigma)
        return float(np.square(soft - soft.mean() - wanted).mean())

    return min(SIGMAS, key=error)


def detail_lost(whole: Luma, soft: Floats) -> Floats:
    """Return [H, W]: mean square, in codes, of what a keyframe shows and a guide of it would not.

    whole: the keyframe's bright plane at full size, 8 bits; soft: small, as soft as guides are.
    """
    shown = cv2.resize(to_codes(soft), whole.shape[::-1], interpolation=cv2.INTER_LINEAR)
    lacking = cv2.absdiff(whole, shown)
    square = cv2.multiply(lacking, lacking, dtype=cv2.CV_16U)
    mean = cv2.resize(square, soft.shape[::-1], interpolation=cv2.INTER_AREA)
    return soften(mean.astype(np.float32), WIDE)


def soften(picture: Floats, sigma: float) -> Floats:
    """Return a picture [H, W] under a Gaussian of `sigma` samples."""
    return cv2.GaussianBlur(picture, (0, 0), sigma) if sigma else picture


def to_codes(picture: Floats) -> Luma:
    """Return a picture in whole 8-bit codes."""
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _steadied(
    guided: FlowPair, even: FlowPair, ends: tuple[Floats, Floats], seen: Floats
) -> FlowPair:
    """Return flows along guides, or of even motion where the guide does not contradict it.

    Guides are noisy and keyframes are not: where things are static or move evenly, the motion
    found between the keyframes alone is the better one.
    """
    by_guide, _ = _failure(guided, ends, seen)
    by_even, apart = _failure(even, ends, seen)
    doubt = np.clip((by_even - by_guide - np.float32(CREDIT)) / np.float32(DOUBT), -20, 20)
    even_share = soften(np.exp(-np.square(apart / np.float32(APART))) / (1 + np.exp(doubt)), 1.0)
    return FlowPair(
        *(
            along + (straight_on - along) * even_share[..., None]
            for along, straight_on in (
                (guided.to_left, even.to_left),
                (guided.to_right, even.to_right),
            )
        )
    )


def _failure(flows: FlowPair, ends: tuple[Floats, Floats], seen: Floats) -> tuple[Floats, Floats]:
    """Return by how much keyframes fail to look like what is seen there, and like each other."""
    left, right = fetch(ends[0], flows.to_left), fetch(ends[1], flows.to_right)
    off, other, apart = (
        soften(cv2.absdiff(*pair), WIDE) for pair in ((left, seen), (right, seen), (left, right))
    )
    return np.minimum(off, other) / 2 + (off + other) / 4, apart


def _share(left: Floats, right: Floats, seen: Floats, tau: float) -> tuple[Floats, Floats]:
    """Return the left keyframe's share, by how well both match, and the error of the better one."""
    off_left, off_right = (soften(cv2.absdiff(side, seen), NEAR) for side in (left, right))
    a = (1 - tau) / (off_left * off_left + np.float32(GROUND))
    b = tau / (off_right * off_right + np.float32(GROUND))
    return a / (a + b), np.minimum(off_left, off_right)


def _mixed(left: Floats, right: Floats, share: Floats | np.float32) -> Floats:
    return right + (left - right) * share


def _in_tone(seen: Floats, warped: Floats, where: Floats) -> Floats:
    """Return what a guide shows in the tone of what was warped: its gain and bias drift."""
    x, y = seen[where], warped[where]
    spread = float(x.var())
    gain = 1.0
    if spread > 25:
        gain = float(((x - x.mean()) * (y - y.mean())).mean()) / spread
        gain = min(max(gain, LEAST_GAIN), MOST_GAIN)
    return seen * np.float32(gain) + np.float32(float(y.mean()) - gain * float(x.mean()))


def _change(difference: Floats) -> Floats:
    """Return how light and texture changed: what a guide differs by where that is beyond noise."""
    smooth = soften(difference, NEAR)
    noise = 1.4826 * float(np.median(np.abs(smooth))) + 0.3
    beyond = np.maximum(np.abs(smooth) - 2 * noise, 0) / (2 * noise + 1)
    return smooth * (1 - np.exp(-beyond * beyond))


def _trust(residual: Floats, lost: Floats) -> Floats:
    """Return 0..1: how far what was warped is believed over what the guide shows.

    Both are mixed by their errors, as independent measurements are. A guide's error is its noise
    and the detail that it lacks. The error of what was warped is its residual beyond noise; the
    larger that is, the less its own detail is in place.
    """
    noise = float(np.median(residual)) + 0.5
    beyond = np.square(np.maximum(residual - np.float32(USUAL * noise), 0))
    guide = lost + np.float32(noise * noise)
    misplaced = lost / np.float32(9 * noise * noise)  # all of it, where that is 3 times the noise
    return guide / (guide + beyond * (MISSED + misplaced))


def _static(ends: tuple[Floats, Floats], seen: Floats, warped: Floats, tau: float) -> Floats:
    """Return 0..1: whether a guide looks like keyframes in place as much as like warped ones."""
    off_in_place = soften(cv2.absdiff(_mixed(*ends, np.float32(1 - tau)), seen), NEAR)
    off_warped = soften(cv2.absdiff(warped, seen), NEAR)
    doubt = np.clip((off_in_place - off_warped - np.float32(PATIENCE)) / np.float32(DOUBT), -20, 20)
    return 1 / (1 + np.exp(doubt))


def estimate_psnr(apart: float) -> float:
    """Return the PSNR in dB to expect of a picture whose keyframes are `apart` codes, RMS.

    A fit to the development clips with the oracle of benchmarks/oracle.py, 2, 4 and 8 dropped.
    """
    return 50.6 - 8.0 * log(apart + 0.05)
