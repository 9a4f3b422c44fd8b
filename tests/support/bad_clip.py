"""A clip with what a report has to tell: a cut, stripes, text that stays, damage, sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from support.media import tone

SIZE = WIDTH, HEIGHT = 256, 144
PART = 50  # frames of each of its three parts; the cuts are between them


def write_bad_clip(path: Path) -> Path:
    """Write texture, then moving stripes, then texture under still letters, damaged at its end."""
    with av.open(str(path), "w", format="mpegts") as container:
        video = container.add_stream("libx264", rate=25, options={"g": "10", "crf": "12"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.time_base = Fraction(1, 25)
        sound = container.add_stream("mp2", rate=48000)
        for index in range(3 * PART):
            frame = av.VideoFrame(WIDTH, HEIGHT, "gray")
            rows = np.frombuffer(frame.planes[0], np.uint8).reshape(HEIGHT, -1).copy()
            rows[:, :WIDTH] = _picture(index)
            frame.planes[0].update(rows.tobytes())
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        container.mux(tone(sound, Fraction(3 * PART, 25)))
    data = bytearray(path.read_bytes())
    packets = range(len(data) * 94 // 100 // 188 * 188, len(data) * 98 // 100, 188)
    for start in packets:  # the middle of packets of the transport stream
        data[start + 90 : start + 96] = b"\x5a" * 6
    path.write_bytes(data)
    return path


def _picture(index: int) -> np.ndarray:
    part, number = divmod(index, PART)
    if part == 1:
        shifted = np.arange(WIDTH) + 5 * number
        return np.broadcast_to(np.where(shifted % 12 < 6, 40, 200), (HEIGHT, WIDTH))
    wide = _texture(part)
    picture = wide[:, 6 * number : 6 * number + WIDTH].copy()
    if part == 2:
        letters = np.arange(180) // 7 % 2 == 0
        picture[100:124, 20:200][:, letters] = 235
    return picture


def _texture(seed: int) -> np.ndarray:
    wide = np.random.default_rng(seed).normal(0, 1, (HEIGHT, WIDTH + 6 * PART))
    for axis in (0, 1):
        wide = sum(np.roll(wide, shift, axis) for shift in range(-3, 4))
    return np.clip(128 + 40 * wide / wide.std(), 0, 255).astype(np.uint8)
