"""Pictures to train on: of every clip, some dropped frames, drawn back, beside the truth.

What the network will see, and what may be mixed, is what the package itself computes; only the
truth is added. Of each picture some of its uncertain tiles are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from ltxfilter.engines.flow import Flow
from ltxfilter.frame import Frame, Planes, VideoInfo
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.motion.fusion import Fusion, mark, most_tiles
from ltxfilter.motion.kernels.fusion_sizes import BLOCKS
from ltxfilter.motion.kernels.numpy_tiles import block_share
from ltxfilter.motion.plane_drawer import PlaneDrawer, warp_tau
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.window import Join, Window

Array = NDArray[Any]

RATE = Fraction(25)  # nominal, of the kept frames
PIECES = 24  # runs of frames that are taken of a clip
PAIRS = 4  # of kept frames in each
TILES = 64  # of a picture
MARKED = 0.15  # of a picture's tiles: more than are marked later, so that all kinds are seen
SIDE = 16  # samples along a tile: only pictures whose tiles are as large are learned from
MOST_PIXELS = 921_600  # larger clips are shrunk
BIG_RATE = 45  # frames per second from which more are dropped
MOST_ERROR = 800.0  # squared codes: beyond is a cut
STANDING = 0.12  # codes: the mean difference of frames that are the same


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """Some tiles of one picture. Luma is in codes of 8 bits."""

    clip: str
    preset: str
    features: Array  # [N, 16, FEATURES] int16
    shown: Array  # [N, SAMPLES, 16, 16] uint8: what may be mixed
    true: Array  # [N, 16, 16] uint8
    moves: Array  # [N, 16, 16] bool: not static, and inside the picture
    share: Array  # [N, 16] float32, of the left end
    place: Array  # [N] float32: which share of the picture is more uncertain than the tile
    error: float  # of the whole picture as flow draws it, squared codes
    stands_for: float  # the share of the picture that a tile stands for, those of its kind included


class _OneShot:
    """Draws across everything: pieces are chosen without cuts."""

    def join(self, *_: Any) -> Join:
        """Return that frames may be interpolated."""
        return Join.INTERPOLATE


def examples(path: Path) -> Iterator[Example]:
    """Yield what is learned of a clip; the same on every run."""
    digest = hashlib.sha256(path.name.encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:4], "big"))
    count, fps = _length(path)
    runs = []
    for number in range(PIECES):
        gap = int(rng.choice([2, 4] if fps > BIG_RATE else [2, 2, 2, 3]))
        if count < PAIRS * gap + 1:
            gap = 2
        length = min(PAIRS * gap + 1, count)
        start = int((count - length) * (number + rng.random() * 0.8) / PIECES)
        runs.append((start, length, gap))
    info, pieces = _decoded(path, [(start, length) for start, length, _ in runs])
    for number, ((_, _, gap), frames) in enumerate(zip(runs, pieces, strict=True)):
        preset = ("best", "balanced")[number % 2]
        if len(frames) > 2 * gap and not _stands(frames):
            yield from _of_piece(path.stem, preset, info, frames, gap, rng)


def _length(path: Path) -> tuple[int, float]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or 25)
        return sum(1 for packet in container.demux(stream) if packet.size), rate


def _decoded(path: Path, runs: list[tuple[int, int]]) -> tuple[VideoInfo, list[list[Planes]]]:
    wanted = {at for start, length in runs for at in range(start, start + length)}
    found: dict[int, Planes] = {}
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for number, frame in enumerate(container.decode(video=0)):
            if number > max(wanted):
                break
            if number in wanted:
                name = "yuv420p10le" if frame.format.components[0].bits > 8 else "yuv420p"
                width, height = _size(frame.width, frame.height)
                found[number] = _planes(
                    frame.reformat(width, height, name, interpolation="AREA"), name
                )
    info = VideoInfo(width, height, name, plane_shapes(name, width, height), RATE)
    return info, [
        [found[at] for at in range(start, start + length) if at in found] for start, length in runs
    ]


def _size(width: int, height: int) -> tuple[int, int]:
    if width * height <= MOST_PIXELS:
        return width // 2 * 2, height // 2 * 2
    shrink = (MOST_PIXELS / (width * height)) ** 0.5
    return round(width * shrink / 4) * 4, round(height * shrink / 4) * 4


def _planes(frame: av.VideoFrame, name: str) -> Planes:
    dtype = np.uint8 if name == "yuv420p" else np.uint16
    return tuple(
        np.ascontiguousarray(
            np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)[:, : plane.width]
        )
        for plane in frame.planes
    )


def _stands(frames: list[Planes]) -> bool:
    """Whether a frame equals the one before it."""
    lumas = [frame[0].astype(np.float32) for frame in frames]
    scale = 4.0 if frames[0][0].dtype == np.uint16 else 1.0
    return any(np.abs(b - a).mean() < STANDING * scale for a, b in pairwise(lumas))


def _of_piece(  # noqa: PLR0917
    clip: str, preset: str, info: VideoInfo, frames: list[Planes], gap: int, rng: Any
) -> Iterator[Example]:
    engine = Flow(preset=preset, fuse=0)
    shape = engine.open(info, RATE * gap)
    rolling = RollingWindow(shape, RATE * gap, _OneShot(), 1 / RATE)
    chosen = {pair * gap + int(rng.integers(1, gap)) for pair in range((len(frames) - 1) // gap)}
    for window in _windows(rolling, frames[::gap]):
        motion = engine.prepare(window)
        if motion is None:
            continue
        for slot in window.to_draw():
            if slot.index in chosen:
                ends = motion.pair.left.planes, motion.pair.right.planes
                picture = _Picture(engine, info, motion, float(slot.tau), ends)
                example = picture.example(clip, preset, frames[slot.index], rng)
                if example is not None:
                    yield example
    engine.close()


def _windows(rolling: RollingWindow, kept: list[Planes]) -> Iterator[Window]:
    for number, planes in enumerate(kept):
        yield from rolling.push(Frame(number / RATE, planes))
    yield from rolling.finish()


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    """One picture that flow draws."""

    engine: Flow
    info: VideoInfo
    motion: Any
    tau: float
    ends: tuple[Planes, Planes]

    def example(self, clip: str, preset: str, truth: Planes, rng: Any) -> Example | None:
        """Return some of its marked blocks, or None if there is nothing to learn."""
        grid, static = self.engine.grid, self.motion.static_mask
        at = self.engine.estimate(self.motion, self.tau).at
        drawn, squares = PlaneDrawer(self.info, grid).draw(*self.ends, at, static, self.tau)
        marked = mark(at, squares, grid, most_tiles(grid, MARKED))
        unit = 1 << (self.info.depth - 8)
        error = float(np.square(drawn[0].astype(np.float32) - truth[0]).mean()) / unit**2
        if not len(marked.tiles) or error > MOST_ERROR or BLOCKS * marked.block != SIDE:
            return None
        fusion = Fusion(self.info.layout, grid, MARKED)
        [samples] = fusion.samples(marked, [0], drawn, self.ends)
        features = fusion.features(marked, samples, static, warp_tau(self.tau))
        y = marked.tiles[:, 0, None, None] * SIDE + np.arange(SIDE)[:, None]
        x = marked.tiles[:, 1, None, None] * SIDE + np.arange(SIDE)
        inside = np.minimum(y, truth[0].shape[0] - 1), np.minimum(x, truth[0].shape[1] - 1)
        moves = np.broadcast_to(
            (y < truth[0].shape[0]) & (x < truth[0].shape[1]), samples[:, 0].shape
        )
        if static is not None:
            moves = moves & (static[inside] == 0)
        apart = squares[marked.tiles[:, 0], marked.tiles[:, 1]]
        order = np.argsort(np.argsort(-apart, kind="stable"))
        keep = np.sort(rng.permutation(len(marked.tiles))[:TILES])
        share = block_share(marked.field, marked.tiles)[keep].reshape(-1, BLOCKS**2)
        count = marked.shape[0] * marked.shape[1]
        return Example(
            clip,
            preset,
            features[keep],
            _codes(samples[keep] / (16 * unit)),
            _codes(truth[0][inside][keep] / unit),
            moves[keep],
            (share / 32768).astype(np.float32),
            (order[keep] / count).astype(np.float32),
            error,
            len(marked.tiles) / len(keep) / count,
        )


def _codes(values: Array) -> Array:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
