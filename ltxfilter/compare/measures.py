"""How near one picture comes to the true one: PSNR, SSIM, flicker, sharpness.

All of them look at the first plane: luma, gray, or the green of RGB. Values are of one picture;
a clip's is the mean. VMAF needs whole clips and is in `vmaf.py`.
"""

from __future__ import annotations

import cv2
import numpy as np

from ltxfilter.frame import Plane

HIGHEST_PSNR = 70  # dB, about; of equal planes
SMALLEST = 1e-6  # sharpness, and a ratio of two, that is still told from nothing


def psnr(a: Plane, b: Plane, depth: int, where: Plane | None = None) -> float:
    """Return the PSNR of two planes in dB, at most 70, which equal planes have.

    Args:
        a, b: Codes [H, W].
        depth: Significant bits of a code; the peak is its largest value.
        where: Mask [H, W] of the samples that count; None counts all.
    """
    error = np.square(a.astype(np.float32) - b)
    mean = float(error[where].mean() if where is not None else error.mean())
    return float(10 * np.log10(((1 << depth) - 1) ** 2 / max(mean, 1e-7 * (1 << 2 * depth))))


def ssim(a: Plane, b: Plane, depth: int) -> float:
    """Return the mean SSIM of two planes, at most 1, with an 11x11 Gaussian.

    Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE
    TIP 2004, equation 13. a, b: codes [H, W]. depth: significant bits of a code.
    """
    x, y = a.astype(np.float32), b.astype(np.float32)
    top = float((1 << depth) - 1)

    def mean(values: Plane) -> Plane:
        return cv2.GaussianBlur(values, (11, 11), 1.5)

    mx, my = mean(x), mean(y)
    vx, vy, both = mean(x * x) - mx * mx, mean(y * y) - my * my, mean(x * y) - mx * my
    light = (2 * mx * my + (0.01 * top) ** 2) / (mx * mx + my * my + (0.01 * top) ** 2)
    detail = (2 * both + (0.03 * top) ** 2) / (vx + vy + (0.03 * top) ** 2)
    return float((light * detail).mean())


def flicker(drawn: Plane, true: Plane) -> float:
    """Return by how many codes the mean of a plane [H, W] differs from that of the true one."""
    return abs(float(drawn.mean()) - float(true.mean()))


def sharpness(plane: Plane) -> float:
    """Return the mean absolute difference of neighbouring codes of a plane [H, W]."""
    values = plane.astype(np.float32)
    return float(np.abs(np.diff(values, axis=0)).mean() + np.abs(np.diff(values, axis=1)).mean())


def pulse(drawn: float, before: float, after: float) -> float:
    """Return |ln| of the sharpness of a picture over that of the true ones around it.

    0 is as sharp as they are. drawn, before, after: what `sharpness` returns of the three.
    """
    ratio = 2 * drawn / max(before + after, SMALLEST)
    return float(np.abs(np.log(np.maximum(ratio, SMALLEST))))
