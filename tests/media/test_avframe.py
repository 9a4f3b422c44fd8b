"""Copies of decoded frames: same samples, and none kept from being freed."""

from __future__ import annotations

import gc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.media import (
    NOISE_SIZE,
    QUARTER_TURN,
    decoded,
    make_video,
    noise_frame,
    side_data_names,
)

from ltxfilter.frame import VideoInfo
from ltxfilter.media.avframe import FrameCopier, from_planes, reshape, view
from ltxfilter.media.pixfmt import planar_name, plane_shapes


def test_sharing_a_frame_leaves_nothing_to_the_garbage_collector():
    """A cycle per frame would let hundreds of frames pile up before it is found."""
    copier = FrameCopier()
    shapes = plane_shapes("yuv420p", 64, 48)
    copier.share(av.VideoFrame(64, 48, "yuv420p"))  # whatever is made once
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            frame = av.VideoFrame(64, 48, "yuv420p")
            shared = copier.share(frame)
            for ours, theirs in zip(view(shared, shapes), view(frame, shapes), strict=True):
                assert np.shares_memory(ours, theirs)
            del frame, shared, ours, theirs
        assert gc.collect() == 0
    finally:
        gc.enable()


F = Fraction


@given(
    width=st.integers(1, 70),
    height=st.integers(1, 40),
    pix_fmt=st.sampled_from(["yuv420p", "yuv422p10le", "yuv410p", "gbrap12le", "gray", "yuva420p"]),
    seed=st.integers(0, 99),
)
def test_planes_survive_a_frame(width: int, height: int, pix_fmt: str, seed: int) -> None:
    shapes = plane_shapes(pix_fmt, width, height)
    rng = np.random.default_rng(seed)
    planes = tuple(
        rng.integers(0, 1 << s.depth, (s.height, s.width), dtype=s.dtype) for s in shapes
    )
    info = _info(width, height, pix_fmt)
    frame = from_planes(planes, info)
    for before, after in zip(planes, view(frame, shapes), strict=True):
        np.testing.assert_array_equal(after, before)
    copier = FrameCopier()
    again = copier.with_planes(frame, tuple(255 - p // 2 for p in planes), shapes)
    for plane, before in zip(view(frame, shapes), planes, strict=True):
        np.testing.assert_array_equal(plane, before)  # the original is not written to
    np.testing.assert_array_equal(view(again, shapes)[0], 255 - planes[0] // 2)


def _info(width: int, height: int, pix_fmt: str) -> VideoInfo:
    return VideoInfo(width, height, pix_fmt, plane_shapes(pix_fmt, width, height), F(25))


def test_upside_down_frames_are_seen_right() -> None:
    frame = noise_frame("yuv420p")
    graph = av.filter.Graph()
    source = graph.add("buffer", video_size="46x30", pix_fmt="yuv420p", time_base="1/25")
    graph.link_nodes(source, graph.add("vflip"), graph.add("buffersink")).configure()
    graph.vpush(frame)
    flipped = graph.vpull()
    shapes = plane_shapes("yuv420p", *NOISE_SIZE)
    assert flipped.planes[0].line_size < 0
    for up, down in zip(view(frame, shapes), view(flipped, shapes), strict=True):
        np.testing.assert_array_equal(down, up[::-1])


def test_views_cannot_be_written_to() -> None:
    plane = view(noise_frame("gray"), plane_shapes("gray", *NOISE_SIZE))[0]
    with pytest.raises(ValueError, match="read-only"):
        plane[0, 0] = 1


def test_copies_drop_what_belongs_to_one_frame(tmp_path: Path) -> None:
    """x264 writes its name as data of the first frame; a rotation is the whole stream's."""
    frame = next(decoded(make_video(tmp_path / "in.mp4", 2, matrix=QUARTER_TURN)))
    assert side_data_names(frame) == {"DISPLAYMATRIX", "SEI_UNREGISTERED"}
    assert side_data_names(FrameCopier().share(frame)) == {"DISPLAYMATRIX"}


def test_copies_of_a_real_frame_drop_what_belongs_to_it_alone(clips: Path) -> None:
    path = clips / "formats" / "hdr10-video-with-sdr-container.mp4"
    frame = next(decoded(path))
    assert "DYNAMIC_HDR_PLUS" in side_data_names(frame)
    copy = FrameCopier().share(frame)
    assert side_data_names(copy) == {
        "MASTERING_DISPLAY_METADATA",
        "CONTENT_LIGHT_LEVEL",
    }
    assert (copy.colorspace, copy.color_primaries, copy.color_trc) == (9, 9, 16)


@pytest.mark.parametrize("pix_fmt", ["p010le", "p210le", "p410le"])
def test_pictures_of_hardware_lose_nothing_however_often(pix_fmt: str) -> None:
    """swscale with several threads left out parts of one picture in five."""
    twin = planar_name(pix_fmt)
    shapes = plane_shapes(twin, 46, 31)
    picture = noise_frame(pix_fmt, (46, 31))
    first = [plane.copy() for plane in view(reshape(picture, 46, 31, twin), shapes)]
    stride = picture.planes[0].line_size // 2
    luma = np.frombuffer(picture.planes[0], "<u2").reshape(-1, stride)[:31, :46]
    np.testing.assert_array_equal(first[0], luma >> 6)
    for _ in range(100):
        again = view(reshape(picture, 46, 31, twin), shapes)
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
