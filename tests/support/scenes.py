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


def crowd(
    count: int, seed: int = 0, size: tuple[int, int] = (256, 144)
) -> list[tuple[np.ndarray, ...]]:
    """Return frames that are hard for flow: textured tiles that cross each other over a pan.

    size: width and height of the 8-bit 4:2:0 planes.
    """
    width, height = size
    chance = np.random.default_rng(seed)
    ground = scene(seed)
    tiles = [scene(10 + k)[:40, :40] for k in range(12)]
    starts = chance.uniform(0, (width - 40, height - 40), (len(tiles), 2))
    speeds = chance.uniform(-14, 14, (len(tiles), 2))
    turns = chance.uniform(-1, 1, (len(tiles), 2))
    frames = []
    for k in range(count):
        luma = ground[20 : 20 + height, 20 + 2 * k : 20 + 2 * k + width].copy()
        for tile, start, speed, turn in zip(tiles, starts, speeds, turns, strict=True):
            room = np.array((width - 40, height - 40))
            x, y = np.abs((start + speed * k + turn * k * k / 2) % (2 * room) - room)  # bounces
            luma[int(y) : int(y) + 40, int(x) : int(x) + 40] = tile
        chroma = cv2.resize(luma, (width // 2, height // 2), interpolation=cv2.INTER_AREA) / 2 + 60
        planes = (luma, chroma, 255 - chroma)
        frames.append(tuple(np.clip(np.rint(plane), 0, 255).astype(np.uint8) for plane in planes))
    return frames
