"""What other libraries hand out goes in, and the same kind of thing comes back."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from test_api import pictures

import ltxfilter
from ltxfilter.errors import InputError, OptionError


def expected(**options: Any) -> list[np.ndarray]:
    return list(ltxfilter.interpolate(pictures(5), 24, 60, **options))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "I;16"])
def test_images_of_pillow_come_back_as_such(mode: str):
    image = pytest.importorskip("PIL.Image")
    if mode == "I;16":
        source = [
            image.fromarray(picture[..., 0].astype(np.uint16) * 257) for picture in pictures(5)
        ]
    else:
        source = [image.fromarray(picture).convert(mode) for picture in pictures(5)]
    for picture in source:
        picture.info["icc_profile"] = b"profile"
    out = list(ltxfilter.interpolate(source, 24, 60))
    assert len(out) == 13
    assert out[0] is source[0]
    assert out[5] is source[2]
    assert {(each.mode, each.size) for each in out} == {(mode, (64, 48))}
    assert {each.info["icc_profile"] for each in out} == {b"profile"}
    plain = ltxfilter.interpolate([np.asarray(each) for each in source], 24, 60)
    assert all(np.array_equal(np.asarray(a), b) for a, b in zip(out, plain, strict=True))


def test_an_image_that_serves_for_every_frame_comes_back_as_copies():
    image = pytest.importorskip("PIL.Image")

    def seeking():
        shown = image.new("RGB", (64, 48))
        for picture in pictures(5):
            shown.paste(image.fromarray(picture))
            yield shown

    out = [np.asarray(each) for each in ltxfilter.interpolate(seeking(), 24, 60, engine="hold")]
    plain = expected(engine="hold")
    assert [each.tobytes() for each in out] == [each.tobytes() for each in plain]


def test_images_that_hold_no_codes_are_refused():
    image = pytest.importorskip("PIL.Image")
    with pytest.raises(InputError, match=r'mode P; .*convert\("RGB"\)'):
        list(ltxfilter.interpolate([image.new("P", (8, 8))] * 3, 24, 60))
    with pytest.raises(OptionError, match="one picture"):
        ltxfilter.interpolate(image.new("RGB", (8, 8)), 24, 60)


@pytest.mark.parametrize("layout", ["nhwc", "nchw", "gray", "float"])
def test_one_batch_comes_back_as_one_batch(layout: str):
    batch = np.stack(pictures(5))
    plain = np.stack(expected())
    if layout == "nchw":
        batch, plain = np.moveaxis(batch, -1, 1), np.moveaxis(plain, -1, 1)
    elif layout == "gray":
        batch = batch[..., 0]
        plain = np.stack(list(ltxfilter.interpolate(list(batch), 24, 60)))
    elif layout == "float":
        batch = batch / np.float32(255)
        plain = np.stack(list(ltxfilter.interpolate(list(batch), 24, 60)))
    out = ltxfilter.interpolate(batch, 24, 60)
    assert type(out) is np.ndarray
    assert out.dtype == batch.dtype
    assert np.array_equal(out, plain)


def test_batches_come_back_as_batches():
    source = pictures(5)
    chunks = [np.stack(source[:2]), np.stack(source[2:3]), np.stack(source[3:])]
    out = list(ltxfilter.interpolate(iter(chunks), 24, 60))
    assert all(each.ndim == 4 for each in out)
    assert np.array_equal(np.concatenate(out), np.stack(expected()))


def test_tensors_come_back_in_batches_of_their_class():
    torch = pytest.importorskip("torch")

    class Video(torch.Tensor):  # as torchvision's tv_tensors are
        pass

    for scale in (None, torch.uint16, torch.float16):
        batch = torch.from_numpy(np.stack(pictures(5)))
        if scale is not None:
            batch = batch.to(scale) if scale is torch.uint16 else batch.to(scale) / 255
        out = ltxfilter.interpolate(batch.as_subclass(Video), 24, 60)
        assert type(out) is Video
        assert (out.dtype, out.shape) == (batch.dtype, (13, 48, 64, 3))
        assert torch.equal(out[0].as_subclass(torch.Tensor).float(), batch[0].float())


@dataclass
class Frame:  # as torchcodec's
    data: Any
    pts_seconds: float
    duration_seconds: float


@dataclass
class FrameBatch:
    data: Any
    pts_seconds: Any
    duration_seconds: Any

    def __post_init__(self) -> None:
        assert self.pts_seconds.shape == self.duration_seconds.shape == self.data.shape[:1]


def test_frames_of_torchcodec_come_back_with_their_new_times():
    torch = pytest.importorskip("torch")
    tensors = [torch.from_numpy(picture).permute(2, 0, 1) for picture in pictures(5)]
    source = [Frame(each, 2 + n / 24, 1 / 24) for n, each in enumerate(tensors)]
    out = list(ltxfilter.interpolate(source, 24, 60))
    assert [each.pts_seconds for each in out] == pytest.approx([2 + n / 60 for n in range(13)])
    assert {each.duration_seconds for each in out} == {1 / 60}
    plain = [torch.from_numpy(each).permute(2, 0, 1) for each in expected()]
    assert all(torch.equal(a.data, b) for a, b in zip(out, plain, strict=True))
    times = torch.tensor([2 + n / 24 for n in range(5)], dtype=torch.float64)
    batch = FrameBatch(torch.stack(tensors), times, torch.full((5,), 1 / 24))
    whole = ltxfilter.interpolate(batch, 24, 60)
    assert torch.equal(whole.data, torch.stack(plain))
    assert whole.pts_seconds.tolist() == pytest.approx([2 + n / 60 for n in range(13)])
    assert whole.duration_seconds.shape == (13,)
    parts = list(ltxfilter.interpolate([batch], 24, 60))
    assert torch.equal(torch.cat([each.pts_seconds for each in parts]), whole.pts_seconds)
    with pytest.raises(OptionError, match="one picture"):
        ltxfilter.interpolate(source[0], 24, 60)


def test_arrays_of_decord_come_back_as_such(monkeypatch: pytest.MonkeyPatch):
    module = ModuleType("decord_like")

    class NDArray:
        def __init__(self, samples: Any) -> None:
            self.shape, self._samples = samples.shape, samples

        def asnumpy(self) -> Any:
            return self._samples.copy()

    NDArray.__module__ = "decord_like"
    module.array = NDArray  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "decord_like", module)
    source = [NDArray(each) for each in pictures(5)]
    out = list(ltxfilter.interpolate(source, 24, 60))
    assert {type(each) for each in out} == {NDArray}
    assert out[0] is source[0]
    assert all(np.array_equal(a.asnumpy(), b) for a, b in zip(out, expected(), strict=True))
    whole = ltxfilter.interpolate(NDArray(np.stack(pictures(5))), 24, 60)
    assert np.array_equal(whole.asnumpy(), np.stack(expected()))


def test_an_empty_batch_comes_back():
    empty = np.empty((0, 8, 8, 3), np.uint8)
    assert ltxfilter.interpolate(empty, 24, 60) is empty
    with pytest.raises(InputError, match="no samples"):
        list(ltxfilter.interpolate([np.empty((2, 0, 8, 3), np.uint8)], 24, 60))


def test_what_is_one_picture_or_several_videos_is_refused_at_once():
    image = pytest.importorskip("PIL.Image")
    with pytest.raises(OptionError, match="one picture; give several"):
        ltxfilter.interpolate(pictures(1)[0], 24, 60)
    with pytest.raises(OptionError, match=r"several videos; give one: frames\[0\]"):
        ltxfilter.interpolate(np.stack([pictures(3)] * 2), 24, 60)
    with pytest.raises(InputError, match=r"give one: frames\[0\]"):
        list(ltxfilter.interpolate([pictures(3)] * 2, 24, 60))
    with pytest.raises(InputError, match="all must be alike"):
        list(ltxfilter.interpolate([pictures(1)[0], image.fromarray(pictures(1)[0])], 24, 60))
