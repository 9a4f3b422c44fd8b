"""Keyframes that lie on the device stay there, and so does what is drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="device=cuda needs torch, which is not installed")
from support.cuda_kernels import (
    MARKS,
    any_device,  # noqa: F401  (a fixture)
    assert_equal_drawings,
)
from support.flow import draw, info, pan, sequence, windows

import ltxfilter
from ltxfilter.device_plane import DevicePlane
from ltxfilter.engines.flow import Flow
from ltxfilter.frame import Frame, Planes
from ltxfilter.media.avframe import from_planes
from ltxfilter.media.python_pictures import cuda_frames
from ltxfilter.motion.cuda import device

pytestmark = MARKS


def placed(planes: Planes, *, strided: bool = False) -> Any:
    """Return planes on the device: uint8, or int32 that stand for uint16."""
    kept = []
    for plane in planes:
        codes = torch.from_numpy(plane.astype(np.int32 if plane.itemsize > 1 else np.uint8))
        codes = codes.to(device.NAME)
        if strided:  # as one channel of interleaved ones
            codes = torch.stack([codes, codes + 1], -1)[..., 0]
        kept.append(DevicePlane(codes))
    return tuple(kept)


def on_device(frames: list[Frame], **more: bool) -> list[Frame]:
    return [replace(frame, planes=placed(frame.planes, **more)) for frame in frames]


@pytest.fixture
def stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a copy of a whole plane to the host fail."""
    monkeypatch.setattr(DevicePlane, "__array__", lambda *_: pytest.fail("copied to the host"))


def test_flow_takes_planes_on_a_device_only_there():
    assert Flow(device="cuda").takes_device_planes
    assert not Flow().takes_device_planes


@pytest.mark.usefixtures("stays")
@pytest.mark.parametrize(("depth", "roles", "strided"), [(8, "yuv", True), (16, "rgb", False)])
def test_the_same_pictures_are_drawn_and_stay(depth: int, roles: str, strided: bool):
    shift = 0 if roles == "rgb" else 1
    video = info(depth, shift, shift, roles, width=64, height=48)
    frames = sequence(video, [0, 1.5])
    top = (1 << depth) - 1
    frames[0].planes[0][:4] = top  # with 16 bits a code that is negative as int16
    expected = draw(video, windows(frames), device="cuda", preset="fast")
    made = windows(on_device(frames, strided=strided))
    found = draw(video, made, device="cuda", preset="fast")
    drawn = [picture for window in found for picture in window]
    assert len(drawn) == 1
    assert all(isinstance(plane, DevicePlane) for each in drawn for plane in each.planes)
    host = [
        [replace(each, planes=tuple(plane[:] for plane in each.planes)) for each in window]
        for window in found
    ]
    assert_equal_drawings(host, expected)


def test_a_keyframe_in_host_memory_may_stand_beside_one_on_the_device():
    """As after a fallback, or where alpha stays in host memory."""
    video = info(width=64, height=48)
    frames = sequence(video, [0, 1.5])
    expected = draw(video, windows(frames), device="cuda", preset="fast")
    placed_there = on_device(frames)[1]
    mixed = replace(placed_there, planes=(*placed_there.planes[:2], frames[1].planes[2]))
    found = draw(video, windows([frames[0], mixed]), device="cuda", preset="fast")
    assert_equal_drawings(found, expected)


def test_tensors_of_a_program_come_back_on_their_device():
    video = info(roles="rgb", shift_x=0, shift_y=0, width=64, height=48)
    arrays = [np.stack(pan(video, place), -1) for place in (0, 1, 2)]
    given = [torch.from_numpy(array.astype(np.uint16) * 257) for array in arrays]
    engine = "flow:preset=fast"
    expected = list(ltxfilter.interpolate([each.numpy() for each in given], 25, 50, engine=engine))
    placed_there = [picture.to(device.NAME) for picture in given]
    found = list(ltxfilter.interpolate(placed_there, 25, 50, engine=f"{engine}:device=cuda"))
    assert len(found) == len(expected) == 6
    for one, other in zip(found, expected, strict=True):
        assert (one.dtype, one.device) == (torch.uint16, placed_there[0].device)
        assert np.array_equal(one.cpu().numpy(), other)


def test_frames_of_pyav_are_shared_with_the_device(monkeypatch: pytest.MonkeyPatch):
    """From a decoder's frames to those that an encoder takes; host memory stands for a GPU's."""

    def through(engine: str) -> list[bytes]:
        with ltxfilter.Interpolator(fps=50, fps_in=25, engine=engine) as interpolator:
            for place in (0, 1.5):
                picture = from_planes(pan(video, place), video)
                interpolator.push(picture.reformat(format="nv12"))
            interpolator.push(None)
            return [frame.to_ndarray().tobytes() for frame in interpolator.frames()]

    video = replace(info(width=64, height=48), pix_fmt="yuv420p")
    expected = through("flow:preset=fast")
    monkeypatch.setattr(cuda_frames, "lies_there", lambda picture: picture.format.name == "nv12")
    assert through("flow:preset=fast:device=cuda") == expected
