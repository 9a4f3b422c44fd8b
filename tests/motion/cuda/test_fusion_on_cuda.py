"""The fusion on CUDA: the tiles, features, weights and samples of the CPU, bit for bit."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="device=cuda needs torch, which is not installed")
from support.cuda_kernels import (
    MARKS,
    any_device,  # noqa: F401  (a fixture)
    assert_equal_drawings,
    empty,
    planar,
    up,
)
from support.flow import draw, info, sequence, smooth, windows

from ltxfilter.motion import fusion, kernels
from ltxfilter.motion.cuda.fusion.launches import CudaFusion, Drawing, list_tiles
from ltxfilter.motion.cuda.plane_drawer import packed_taps
from ltxfilter.motion.cuda.upload import ByteLayout, Uploader
from ltxfilter.motion.estimate import PairFlow
from ltxfilter.motion.grid import MotionGrid, bright_plane
from ltxfilter.motion.kernels import fusion_sizes
from ltxfilter.motion.trajectory import FlowContext, Moment, warp_field

pytestmark = MARKS
TAU = 12345  # 1/32768


def slow(*values):
    """Return a test's values, marked slow."""
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.fixture
def any_network(monkeypatch):
    """Put a network in the place of the package's that chooses a little of everything."""
    rng = np.random.default_rng(5)
    sizes = fusion_sizes.FEATURES, *[fusion_sizes.UNITS] * 3, fusion_sizes.OUTPUTS
    layers = []
    for inputs, outputs in pairwise(sizes):
        weights = rng.integers(-900, 900, (inputs, outputs))
        weights -= weights.mean(axis=0).astype(int)  # what blocks have in common chooses nothing
        bias = rng.integers(-9000, 9000, outputs)
        layers.append((weights.astype(np.int16), bias.astype(np.int32)))
    monkeypatch.setattr(fusion, "load_layers", lambda: tuple(layers))


@pytest.fixture
def doubt(monkeypatch):
    """Let tiles be uncertain even where keyframes agree."""
    monkeypatch.setattr(fusion, "AGREED", -1)


class Scene:
    """A drawn picture between two keyframes along random motion, on the CPU and on the device."""

    def __init__(self, video, scale, *, most=0.3, reach=3.0, static=True, alike=False, bounce=0.0):
        self.video, self.grid, self.most = video, MotionGrid(video.width, video.height, scale), most
        self.layout, self.bright = ByteLayout(video, self.grid), bright_plane(video.layout)
        self._rng = np.random.default_rng(video.width + scale)
        self.drawn, left, right = (self._picture() for _ in range(3))
        self.ends = left, left if alike else right
        grid, reach = self.grid, 0.0 if alike else reach
        ways = [smooth(self._rng, grid.rows, grid.columns, reach) for _ in "ab"]
        for way in ways:
            way[::3] = np.round(way[::3])  # so that some are equally fast
        share = self._rng.random((grid.rows, grid.columns), np.float32)
        self.at = Moment(ways[0], ways[1], share)
        self.flows = self._flows(bounce)
        size = video.layout[self.bright].height, video.layout[self.bright].width
        self.static = (self._rng.random(size) < 0.1).astype(np.uint8) if static else None

    def _flows(self, bounce):
        """Return flows of the pair before, the pair and the one after, [3, 6, rows, columns].

        bounce: by how many cells they change at most.
        """
        size = self.grid.rows, self.grid.columns
        flows = [np.zeros((6, *size), np.float32) for _ in range(3)]
        for flow, reach in zip(flows, (bounce, bounce / 9, bounce), strict=True):
            flow[0:2], flow[3:5] = (planar(smooth(self._rng, *size, reach)) for _ in "ab")
        return np.stack(flows)

    @property
    def context(self):
        """The same flows as the CPU has them; the pair before lasts three times as long."""
        sure = np.ones((self.grid.rows, self.grid.columns), np.float32)
        ways = self.flows.transpose(0, 2, 3, 1)[..., [0, 1, 3, 4]]
        before, pair, after = (
            PairFlow(way[..., :2].copy(), way[..., 2:].copy(), sure, sure) for way in ways
        )
        return FlowContext(pair, before, after, 3.0, 1.0)

    def _picture(self):
        """Return planes of noise, in parts weak and in parts strong."""
        planes = []
        for shape in self.video.layout:
            size = shape.height, shape.width
            strength = self._rng.random((1 + size[0] // 8, 1 + size[1] // 8)) ** 2
            strong = strength.repeat(8, axis=0).repeat(8, axis=1)[: size[0], : size[1]]
            rough = (0.5 + strong * self._rng.uniform(-0.5, 0.5, size)) * ((1 << shape.depth) - 1)
            planes.append(np.rint(rough).astype(shape.dtype))
        return tuple(planes)

    def on_cpu(self):
        """Return the improved planes."""
        planes = tuple(plane.copy() for plane in self.drawn)
        depth = self.video.layout[self.bright].depth
        ends = tuple(end[self.bright] for end in self.ends)
        field, cells = warp_field(self.at, self.grid, 0, 0), (self.grid.cell,) * 2
        tile = fusion.tile_side(self.grid)
        _, [self.squares] = kernels.warp([ends], field, cells, depth, self.static, TAU, tile)
        count = fusion.most_tiles(self.grid, self.most)
        self.marked = fusion.mark(self.at, self.squares, self.grid, count, self.context)
        ours = fusion.Fusion(self.video.layout, self.grid, self.most)
        inputs = self.at, self.squares, self.static, TAU, self.context
        ours.improve(planes, self.ends, *inputs)
        return planes

    def on_device(self):
        """Return the improved planes, and what improved them."""
        upload = Uploader(self.layout, self.grid)
        left, right = (upload(end) for end in self.ends)
        ours = CudaFusion(self.layout, self.grid, self.most, protect=self.static is not None)
        still = np.zeros((1, 1), np.uint8) if self.static is None else self.static
        picture = upload(self.drawn)
        ours.improve(
            Drawing(
                picture,
                (left, right),
                up(self.flows),
                up(np.array([0.5, 3, -0.1, 0.5, 1, -0.1], np.float32)),
                torch.stack([planar(self.at.to_left), planar(self.at.to_right)]),
                up(self.at.share),
                up(warp_field(self.at, self.grid, 0, 0)),
                up(self.squares),
                up(still),
                up(np.array([TAU], np.int32)),
                up(packed_taps()),
            )
        )
        return self.layout.split(picture.cpu()), ours

    def check(self):
        """Compare planes, motions, features and weights; return how many tiles are marked."""
        expected, (planes, ours) = self.on_cpu(), self.on_device()
        marked, count = self.marked, len(self.marked.tiles)
        numbers = ours._tiles.cpu().numpy()
        np.testing.assert_array_equal(numbers[count:], -1)
        rows_columns = np.stack(np.divmod(numbers[:count], marked.shape[1]), axis=-1)
        np.testing.assert_array_equal(rows_columns, marked.tiles)
        np.testing.assert_array_equal(ours._index.cpu().reshape(marked.shape), marked.index)
        if count:
            self._check_blocks(ours, count)
        for plane, other in zip(planes, expected, strict=True):
            np.testing.assert_array_equal(plane, other)
        return count

    def _check_blocks(self, ours, count):
        marked, drawer = self.marked, fusion.Fusion(self.video.layout, self.grid, self.most)
        found = ours._motions[:count].cpu().reshape(marked.motions.shape)
        np.testing.assert_array_equal(found, marked.motions)
        [luma] = drawer.samples(marked, [self.bright], self.drawn, self.ends)
        features = drawer.features(marked, luma, self.static, TAU)
        np.testing.assert_array_equal(ours._features[:count].cpu(), features)
        layers = fusion.load_layers()
        weights, gains = kernels.tile_weights(features, marked.field, marked.tiles, layers)
        np.testing.assert_array_equal(ours._gains[:count].cpu(), gains)
        unlimited = weights.copy()
        kernels.limit_change(weights, luma, self.video.layout[self.bright].depth)
        self.limited = int((weights != unlimited).any(axis=1).sum())
        np.testing.assert_array_equal(ours._weights[:count].cpu().reshape(weights.shape), weights)


@pytest.mark.parametrize(
    ("video", "scale", "options"),
    [
        (info(width=102, height=70), 1, {}),
        (info(10, 0, 0, width=100, height=43), 4, {"static": False}),
        slow(info(16, 1, 0, "yuva", width=70, height=66), 2, {"reach": 60.0}),
        slow(info(8, 0, 0, "gbr", width=140, height=70), 8, {"static": False, "reach": 0.2}),
        slow(info(8, 2, 2, width=90, height=61), 2, {"reach": 400.0}),
    ],
)
@pytest.mark.usefixtures("any_network")
def test_uncertain_tiles_are_drawn_as_on_the_cpu(video, scale, options):
    scene = Scene(video, scale, **options)
    assert 0 < scene.check() < np.prod(scene.marked.shape)


@pytest.mark.usefixtures("any_network", "doubt")
@pytest.mark.parametrize(("scale", "bounce"), [(1, 40.0), slow(2, 40.0), slow(4, 15.0)])
def test_where_something_may_bounce_tiles_are_not_marked(scale, bounce):
    scene = Scene(info(width=150, height=150), scale, most=1.0, bounce=bounce, alike=True)
    assert 0 < scene.check() < np.prod(scene.marked.shape)


@pytest.mark.usefixtures("any_network", "doubt")
@pytest.mark.parametrize(("depth", "shift"), [(8, 1), slow(10, 0)])
def test_all_tiles_may_be_marked(depth, shift):
    scene = Scene(info(depth, shift, shift, width=45, height=38), 1, most=1.0)
    assert scene.check() == np.prod(scene.marked.shape)
    assert 0 < scene.limited < 16 * np.prod(scene.marked.shape)  # blocks


@pytest.mark.usefixtures("any_network")
def test_a_picture_without_uncertain_tiles_stays_as_it_is():
    scene = Scene(info(width=70, height=50), 1, alike=True)
    assert scene.check() == 0
    for plane, drawn in zip(scene.on_device()[0], scene.drawn, strict=True):
        np.testing.assert_array_equal(plane, drawn)


scores = st.lists(st.sampled_from([0, 64, 65, 600, 601, 1 << 40]), min_size=1, max_size=60)


@settings(max_examples=25)
@given(scores, st.integers(1, 60), st.booleans())
def test_tiles_are_chosen_as_on_the_cpu(scores, most, leave):
    """Many have equal scores: where the last place would be shared, none of them is marked.

    leave: every third tile is left whatever it scores, and none takes its place.
    """
    tiles, index = (empty(size, dtype=torch.int32) for size in (most, len(scores)))
    unmarked = np.arange(len(scores)) % 3 == 0 if leave else np.zeros(len(scores), bool)
    list_tiles(up(np.array(scores)), 64, tiles, index, up(unmarked))
    expected = fusion.uncertain(np.array([scores]), 64, most)[:, 1]
    expected = expected[~unmarked[expected]]
    np.testing.assert_array_equal(tiles.cpu()[: len(expected)], expected)
    np.testing.assert_array_equal(tiles.cpu()[len(expected) :], -1)
    assert {int(at): k for k, at in enumerate(expected)} == {
        at: int(k) for at, k in enumerate(index.cpu()) if k >= 0
    }


@pytest.mark.parametrize("still", [True, slow(False)])
def test_the_engine_draws_the_same_samples(still):
    video = info(width=102, height=70)
    made = windows(sequence(video, [0, 9]))
    options = {"preset": "fast", "still": still}
    fused = draw(video, made, **options, fuse=10)
    assert_equal_drawings(draw(video, made, **options, fuse=10, device="cuda"), fused)
    plain = draw(video, made, **options, fuse=0)
    assert any((a != b).any() for a, b in zip(fused[0][0].planes, plain[0][0].planes, strict=True))
