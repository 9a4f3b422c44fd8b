"""Draw the README's picture: a moving scene before and after, side by side, slowed down.

    python -m benchmarks.picture docs/picture.webp

The scene is drawn here, so nobody's licence stands in the way. On the right
`ltxfilter.interpolate` makes three frames between each two of the source.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

import ltxfilter

Picture = NDArray[np.uint8]

WIDTH, HEIGHT = 384, 240
SOURCE, OUTPUT = 12, 48  # frames per second
COUNT = 22  # source frames
GAP = 8  # pixels between both sides
SLOWER = 2  # than it is
COLORS = ((222, 92, 60), (250, 236, 214), (238, 176, 62), (176, 58, 72))  # of the ball, RGB


def scene() -> Iterator[Picture]:
    """Yield the source: hills that pass by, and a ball that rolls and jumps over them."""
    chance = np.random.default_rng(7)
    noise = cv2.GaussianBlur(chance.normal(size=(HEIGHT, 900)).astype(np.float32), (0, 0), 5)
    noise = cv2.normalize(noise, None, -1, 1, cv2.NORM_MINMAX)
    x = np.arange(900)
    for number in range(COUNT):
        t = number / SOURCE
        left = 60 + round(120 * t)
        sky = np.linspace(225, 165, HEIGHT)[:, None] + 14 * noise[:, left : left + WIDTH]
        picture = np.stack([0.55 * sky, 0.8 * sky, sky], -1)
        for depth, (color, height) in enumerate((((96, 132, 128), 150), ((58, 98, 74), 185))):
            at = left * (0.6 + 0.6 * depth) + x[:WIDTH]
            top = height + 14 * np.sin(at / 37) + 9 * np.sin(at / 17 + depth)
            hill = np.arange(HEIGHT)[:, None] > top
            shade = 1 + 0.22 * noise[:, left : left + WIDTH, None]
            picture = np.where(hill[..., None], np.array(color) * shade, picture)
        canvas = np.ascontiguousarray(np.clip(picture, 0, 255).astype(np.uint8))
        ball(canvas, t)
        yield canvas


def ball(canvas: Picture, t: float) -> None:
    """Draw a ball at `t` seconds, in four colours."""
    place = (60 + 140 * t, 150 - 82 * abs(np.sin(2.6 * t)))
    center = tuple(round(16 * value) for value in place)
    start = np.degrees(2.2 * t)
    for color, angle in zip(COLORS, (100, 60, 130, 70), strict=True):
        cv2.ellipse(canvas, center, (560, 560), 0, start, start + angle, color, -1, cv2.LINE_AA, 4)
        start += angle
    cv2.circle(canvas, center, 16 * 9, (70, 48, 60), -1, cv2.LINE_AA, 4)


def labelled(picture: Picture, text: str) -> Picture:
    """Return a copy with a line of text in its corner."""
    copy = picture.copy()
    cv2.putText(copy, text, (10, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (25, 35, 50), 1, cv2.LINE_AA)
    return copy


def main() -> None:
    """Write the picture to the file that the first argument names."""
    source = list(scene())
    made = list(ltxfilter.interpolate(source, fps_in=SOURCE, fps_out=OUTPUT))
    each = OUTPUT // SOURCE
    with av.open(sys.argv[1], "w", format="webp", options={"loop": "0"}) as output:
        stream = output.add_stream("libwebp_anim", rate=Fraction(OUTPUT, SLOWER))
        stream.width, stream.height, stream.pix_fmt = 2 * WIDTH + GAP, HEIGHT, "yuv420p"
        stream.options = {"quality": "82", "compression_level": "4"}
        for number, after in enumerate(made[: each * (COUNT - 1) + 1]):
            before = labelled(source[number // each], f"source, {SOURCE} fps")
            between = np.full((HEIGHT, GAP, 3), 255, np.uint8)
            sides = [before, between, labelled(np.asarray(after), f"ltxfilter, {OUTPUT} fps")]
            frame = av.VideoFrame.from_ndarray(np.hstack(sides), "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(SLOWER, OUTPUT)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    print(f"{sys.argv[1]}: {Path(sys.argv[1]).stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
