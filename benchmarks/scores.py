"""How near interpolated frames come to the true ones: PSNR, SSIM, VMAF, steadiness."""

from __future__ import annotations

import json
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from benchmarks.clips import Clip, ffmpeg_with_vmaf, write_y4m
from ltxfilter.frame import Plane, Planes


def psnr(a: Plane, b: Plane, depth: int, where: Plane | None = None) -> float:
    """Return PSNR in dB of two planes, at most 70; where: a mask of the samples that count."""
    error = np.square(a.astype(np.float32) - b)
    mean = float(error[where].mean() if where is not None else error.mean())
    return float(10 * np.log10(((1 << depth) - 1) ** 2 / max(mean, 1e-7 * (1 << 2 * depth))))


def ssim(a: Plane, b: Plane, depth: int) -> float:
    """Return the mean SSIM with an 11x11 Gaussian (Wang et al., IEEE TIP 2004)."""
    x, y = a.astype(np.float32), b.astype(np.float32)
    top = float((1 << depth) - 1)

    def mean(values: Plane) -> Plane:
        return cv2.GaussianBlur(values, (11, 11), 1.5)

    mx, my = mean(x), mean(y)
    vx, vy, both = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    light = (2 * mx * my + (0.01 * top) ** 2) / (mx * mx + my * my + (0.01 * top) ** 2)
    detail = (2 * both + (0.03 * top) ** 2) / (vx + vy + (0.03 * top) ** 2)
    return float((light * detail).mean())


def sharpness(plane: Plane) -> float:
    """Return the mean absolute gradient."""
    values = plane.astype(np.float32)
    return float(np.abs(np.diff(values, axis=0)).mean() + np.abs(np.diff(values, axis=1)).mean())


def pulse(drawn: list[Planes], before: list[Planes], after: list[Planes]) -> float:
    """Return the mean |ln| of the sharpness of frames over that of the frames around them."""
    ratios = [
        2 * sharpness(now[0]) / max(sharpness(a[0]) + sharpness(b[0]), 1e-6)
        for now, a, b in zip(drawn, before, after, strict=True)
    ]
    return float(np.mean(np.abs(np.log(np.maximum(ratios, 1e-6)))))


def flicker(drawn: list[Planes], true: list[Planes]) -> float:
    """Return by how many codes the mean luma of frames differs from that of the true ones."""
    pairs = zip(drawn, true, strict=True)
    return float(np.mean([abs(float(a[0].mean()) - float(b[0].mean())) for a, b in pairs]))


def vmaf(drawn: list[Planes], true: list[Planes], clip: Clip) -> float | None:
    """Return the mean VMAF of 8-bit frames; None for deeper ones or without libvmaf."""
    exe = ffmpeg_with_vmaf()
    if exe is None or clip.info.depth > 8:
        return None
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("drawn.y4m", "true.y4m", "log.json")]
        write_y4m(paths[0], drawn, clip.info, Fraction(25))
        write_y4m(paths[1], true, clip.info, Fraction(25))
        command = [exe, "-v", "error", "-i", str(paths[0]), "-i", str(paths[1]), "-lavfi"]
        command += [f"libvmaf=log_fmt=json:log_path={paths[2]}:n_threads=2", "-f", "null", "-"]
        subprocess.run(command, check=True)
        found: float = json.loads(paths[2].read_text())["pooled_metrics"]["vmaf"]["mean"]
    return found


def overlay(frames: list[Planes], depth: int) -> Plane | None:
    """Return a mask of burned-in graphics: detail that is static while the rest moves.

    None if the clip is short, mostly static, or has hardly any such graphics.
    """
    if len(frames) < 40:
        return None
    lumas = [planes[0] for planes in frames]
    low, high = lumas[0].copy(), lumas[0].copy()
    for luma in lumas[1:]:
        np.minimum(low, luma, out=low)
        np.maximum(high, luma, out=high)
    change = (high - low) >> (depth - 8)
    if float((change > 24).mean()) < 0.5:
        return None
    detail = cv2.morphologyEx(
        lumas[0] >> (depth - 8), cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)
    )
    mask = (change < 14) & (detail > 60)
    return mask if float(mask.mean()) > 0.001 else None
