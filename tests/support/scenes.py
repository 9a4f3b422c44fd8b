"""Textured pictures larger than a frame, to pan over."""

from __future__ import annotations

import cv2
import numpy as np

WIDTH, HEIGHT = 320, 180  # of the frames that pan over a scene


def scene(seed: int) -> np.ndarray:
    """Return a textured picture, larger than the frame on all sides."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((HEIGHT + 200, WIDTH + 400), np.float32)
    for size, strength in ((4, 0.3), (16, 0.5), (80, 2)):
        shape = picture.shape[0] // size + 2, picture.shape[1] // size + 2
        coarse = rng.uniform(0, strength, shape).astype(np.float32)
        picture += cv2.resize(coarse, picture.shape[::-1], interpolation=cv2.INTER_CUBIC)
    picture = cv2.normalize(picture, None, 0, 1, cv2.NORM_MINMAX)
    return picture * rng.uniform(120, 200) + rng.uniform(0, 50)
