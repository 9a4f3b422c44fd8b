"""Planes drawn at full size along a recipe, on torch."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the LTX extra is not installed")

import cv2
from support.pictures import video

from ltxfilter.motion.guided import raised_fields
from ltxfilter.motion.guided import renderer as render
from ltxfilter.motion.guided.chain import FlowPair
from ltxfilter.motion.guided.renderer import Renderer
from ltxfilter.motion.guided.warp_plan import WarpPlan

CPU = torch.device("cpu")
FORMATS = ["yuv420p", "yuv422p10le", "yuv444p12le", "gray", "gray16le", "yuva420p", "gbrp"]


def noise(info, seed=0):
    draws = np.random.default_rng(seed)
    return tuple(
        draws.integers(0, 1 << s.depth, (s.height, s.width)).astype(s.dtype) for s in info.layout
    )


def recipe(info, way=(0.0, 0.0), back=(0.0, 0.0), share=0.5, size=(24, 32)):
    """Return a recipe of even ways in picture pixels that believes in what was warped alone."""
    scale = np.float32([size[1] / info.width, size[0] / info.height])
    flows = [np.broadcast_to(np.float32(w) * scale, (*size, 2)) for w in (way, back)]
    none = np.zeros(size, np.float32)
    roles = [s.role for s in info.layout if s.role != "a"]
    zeros = dict.fromkeys(roles, none)
    ways = FlowPair(*(np.ascontiguousarray(flow) for flow in flows))
    return WarpPlan(ways, none + np.float32(share), none + 1, none + 1, zeros, zeros)


def drawn(info, how, left, right, tau=0.5, still=None):
    renderer = Renderer(info.layout, "g" if info.layout[0].role == "g" else "y", CPU)
    ends = renderer.ends(renderer.upload(left), renderer.upload(right), still)
    return renderer.draw(ends, how, tau)


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("size", [(64, 48), (71, 53), (1, 1)])
def test_what_nothing_moves_in_comes_back_sample_for_sample(fmt, size):
    info = video(fmt, *size)
    planes = noise(info)
    picture = drawn(info, recipe(info), planes, planes)
    assert all(np.array_equal(a, b) for a, b in zip(picture.planes, planes, strict=True))
    assert [p.dtype for p in picture.planes] == [p.dtype for p in planes]
    assert picture.apart == 0


@given(x=st.integers(-12, 12), y=st.integers(-12, 12))
@settings(max_examples=20)
def test_whole_samples_are_fetched_whole_and_the_border_repeats(x, y):
    info = video("gray", 64, 48)
    (plane,) = noise(info)
    found = drawn(info, recipe(info, way=(x, y), share=1), (plane,), (plane,)).planes[0]
    rows, columns = np.clip(np.arange(48) + y, 0, 47), np.clip(np.arange(64) + x, 0, 63)
    assert np.array_equal(found, plane[np.ix_(rows, columns)])


def test_it_reads_between_samples_as_opencv_does():
    info = video("gray16le", 64, 48)
    (plane,) = noise(info)
    plane = cv2.GaussianBlur(plane, (0, 0), 1.5)
    found = drawn(info, recipe(info, way=(2.5, -1.25), share=1), (plane,), (plane,)).planes[0]
    x, y = np.meshgrid(np.arange(64, dtype=np.float32), np.arange(48, dtype=np.float32))
    border = cv2.BORDER_REPLICATE
    wanted = cv2.remap(
        plane.astype(np.float32), x + 2.5, y - 1.25, cv2.INTER_CUBIC, borderMode=border
    )
    assert np.abs(found - np.clip(wanted, 0, 65535)).max() < 300  # of 65535: OpenCV rounds to 1/32


@pytest.mark.parametrize("fmt", ["yuv420p", "yuv422p10le"])
def test_stripes_are_not_to_be_seen(fmt, monkeypatch):
    info = video(fmt, 90, 70)
    left, right = noise(info, 1), noise(info, 2)
    size = (24, 32)
    how = recipe(info)
    draws = np.random.default_rng(3)
    for flow in (how.flows.to_left, how.flows.to_right):
        flow += draws.normal(0, 2, flow.shape).astype(np.float32)
    how.share[:] = draws.random(size)
    whole = drawn(info, how, left, right)
    monkeypatch.setattr(render, "STRIPE", 7 * 90)
    striped = drawn(info, how, left, right)
    for a, b in zip(whole.planes, striped.planes, strict=True):
        assert np.abs(a.astype(int) - b).max() <= 1
    assert striped.apart == pytest.approx(whole.apart, rel=1e-4)


def test_fields_lie_over_the_picture_whatever_their_size():
    """A ramp over the small picture is the same ramp over the large one, samples at centres."""
    field = torch.linspace(0, 1, 17).expand(1, 5, 17)
    found = raised_fields.lerp(field, 2, range(85), 5.0)[0, 0]
    at = ((np.arange(85) + 0.5) / 5 - 0.5).clip(0, 16) / 16
    assert np.allclose(found, at, atol=1e-6)


def test_the_guide_mends_and_patches_where_it_is_believed():
    info = video("yuv420p10le", 64, 48)
    grey = tuple(np.full((s.height, s.width), 400, s.dtype) for s in info.layout)
    how = recipe(info)
    change = {role: np.full_like(how.share, 5.0) for role in "yuv"}
    shown = {role: np.full_like(how.share, 50.0) for role in "yuv"}
    trust = how.share * 0 + 1
    trust[:, :16] = 0
    how = WarpPlan(how.flows, how.share, trust, how.static, change, shown)
    for plane in drawn(info, how, grey, grey).planes:
        assert (plane[:, : plane.shape[1] // 3] == 200).all()  # the guide, at ten bits
        assert (plane[:, -plane.shape[1] // 3 :] == 420).all()  # the keyframes, changed


def test_what_stands_still_is_faded_in_place():
    info = video("yuv420p", 64, 48)
    left, right = noise(info, 1), noise(info, 2)
    still = np.zeros((48, 64), np.uint8)
    still[8:24, 16:40] = 255
    how = recipe(info, way=(9, 5), back=(-9, -5))
    picture = drawn(info, how, left, right, tau=0.25, still=still)
    for plane, a, b, part in zip(
        picture.planes, left, right, (np.s_[8:24, 16:40], *[np.s_[4:12, 8:20]] * 2), strict=True
    ):
        wanted = np.rint(a[part] + (b[part].astype(float) - a[part]) * 0.25)
        assert np.array_equal(plane[part], wanted)


def test_planes_that_may_not_be_written_are_drawn_from():
    info = video("gray", 32, 32)
    (plane,) = noise(info)
    plane.setflags(write=False)
    found = drawn(info, recipe(info), (plane,), (plane[:, ::-1],))
    assert found.apart > 1


def test_large_pictures_take_little_beside_themselves():
    small, large = (
        Renderer(video("yuv420p", w, h).layout, "y", CPU) for w, h in ((1920, 1080), (7680, 4320))
    )
    assert large.draw_bytes <= 1.02 * small.draw_bytes


@pytest.mark.gpu
def test_a_gpu_draws_what_a_cpu_draws():
    if not torch.cuda.is_available():
        missing = pytest.fail if os.environ.get("LTXFILTER_REQUIRE_CUDA") == "1" else pytest.skip
        missing("no CUDA device")
    info = video("yuv420p10le", 256, 144)
    left, right = noise(info, 1), noise(info, 2)
    how = recipe(info, way=(3.3, -2.1), back=(-1.7, 0.6), share=0.4)
    found = []
    for device in (CPU, torch.device("cuda"), torch.device("cuda")):
        renderer = Renderer(info.layout, "y", device)
        ends = renderer.ends(renderer.upload(left), renderer.upload(right), None)
        found.append(renderer.draw(ends, how, 0.5).planes)
    for cpu, gpu, again in zip(*found, strict=True):
        assert np.abs(cpu.astype(int) - gpu).max() <= 1
        assert np.array_equal(gpu, again)
