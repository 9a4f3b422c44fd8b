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
from ltxfilter.compare import measures
from ltxfilter.compare.measures import psnr, sharpness, ssim
from ltxfilter.frame import Plane, Planes

__all__ = ["flicker", "overlay", "psnr", "pulse", "sharpness", "ssim", "vmaf"]


def pulse(drawn: list[Planes], before: list[Planes], after: list[Planes]) -> float:
    """Return the mean of `measures.pulse` over the frames; before, after: the frames around."""
    return float(
        np.mean(
            [
                measures.pulse(*(sharpness(planes[0]) for planes in three))
                for three in zip(drawn, before, after, strict=True)
            ]
        )
    )


def flicker(drawn: list[Planes], true: list[Planes]) -> float:
    """Return the mean of `measures.flicker` over the frames."""
    pairs = zip(drawn, true, strict=True)
    return float(np.mean([measures.flicker(a[0], b[0]) for a, b in pairs]))


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
