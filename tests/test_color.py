"""Planes <-> RGB: nothing is lost, and the colours are the right ones."""

from __future__ import annotations

from fractions import Fraction as F
from typing import ClassVar

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the LTX extra is not installed")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from ltxfilter.color import Converter, lower_twofold, raise_twofold  # noqa: E402
from ltxfilter.device_plane import load_codes  # noqa: E402
from ltxfilter.frame import ColorInfo, VideoInfo  # noqa: E402
from ltxfilter.media.pixfmt import plane_shapes  # noqa: E402
from ltxfilter.media.python_pictures import arrays  # noqa: E402

FORMATS = [
    "yuv420p",
    "yuv420p10le",
    "yuv422p",
    "yuv422p12le",
    "yuv444p16le",
    "yuv410p",
    "yuv411p",
    "yuv440p",
    "gray",
    "gray16le",
    "gbrp",
    "gbrp10le",
    "yuva420p",
    "gbrap",
]


def video(fmt: str, width: int, height: int, **color: int) -> VideoInfo:
    layout = plane_shapes(fmt, width, height)
    return VideoInfo(width, height, fmt, layout, F(25), color=ColorInfo(**color))


def noise(info: VideoInfo, seed: int = 0):
    """Every code, those that no RGB has included."""
    rng = np.random.default_rng(seed)
    return tuple(
        rng.integers(0, 1 << s.depth, (s.height, s.width)).astype(s.dtype) for s in info.layout
    )


def there_and_back(info: VideoInfo, planes, multiple: int = 1):
    converter = Converter(info, multiple=multiple)
    alpha = next((p for s, p in zip(info.layout, planes, strict=True) if s.role == "a"), None)
    return converter.to_planes(converter.to_rgb(planes), alpha)


@settings(max_examples=60)
@given(
    st.sampled_from(FORMATS),
    st.integers(1, 37),
    st.integers(1, 37),
    st.sampled_from([0, 1, 2, 4, 5, 6, 7, 8, 9, 10]),
    st.sampled_from([0, 1, 2]),
    st.integers(0, 6),
    st.sampled_from([1, 2, 32]),
)
def test_a_picture_comes_back_sample_for_sample(
    fmt, width, height, matrix, coded_range, location, multiple
):
    info = video(fmt, width, height, matrix=matrix, range=coded_range, chroma_location=location)
    planes = noise(info)
    for ours, theirs in zip(there_and_back(info, planes, multiple), planes, strict=True):
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("site", ["start", "middle", "end"])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 16])
def test_halving_undoes_doubling_and_puts_samples_where_they_lie(site, count):
    x = torch.randn(3, count, generator=torch.Generator().manual_seed(count), dtype=torch.float64)
    doubled = raise_twofold(x, site)
    assert doubled.shape == (3, 2 * count)
    torch.testing.assert_close(lower_twofold(doubled, site), x)
    if count > 4:  # a ramp: value = position, in luma samples
        at = (
            torch.arange(count, dtype=torch.float64) * 2
            + {"start": 0, "middle": 0.5, "end": 1}[site]
        )
        inner = slice(2, -2)
        ramp = torch.arange(2 * count, dtype=torch.float64)
        torch.testing.assert_close(raise_twofold(at, site)[inner], ramp[inner])
        torch.testing.assert_close(lower_twofold(ramp, site)[1:-1], at[1:-1])


@pytest.mark.parametrize(
    ("matrix", "codes", "rgb"),
    [
        (1, (235, 128, 128), (1, 1, 1)),
        (1, (16, 128, 128), (0, 0, 0)),
        (1, (63, 102, 240), (1, 0, 0)),  # BT.709's red
        (6, (81, 90, 240), (1, 0, 0)),  # BT.601's
        (9, (74, 97, 240), (1, 0, 0)),  # BT.2020's
        (1, (32, 240, 118), (0, 0, 1)),
    ],
)
def test_codes_mean_the_colours_that_the_standards_say(matrix, codes, rgb):
    info = video("yuv444p", 4, 4, matrix=matrix)
    planes = tuple(np.full((4, 4), code, np.uint8) for code in codes)
    found = Converter(info).to_rgb(planes)[:, 1, 1]
    assert found.numpy() == pytest.approx(np.array(rgb), abs=0.006)  # codes are rounded


def test_deep_full_range_and_gbr_order():
    info = video("gbrp10le", 2, 2)
    planes = tuple(np.full((2, 2), code, np.uint16) for code in (1023, 0, 512))
    found = Converter(info).to_rgb(planes)[:, 0, 0]
    assert found.numpy() == pytest.approx([512 / 1023, 1, 0])
    full = video("yuv444p", 2, 2, matrix=1, range=2)
    white = tuple(np.full((2, 2), code, np.uint8) for code in (255, 128, 128))
    assert Converter(full).to_rgb(white)[:, 0, 0].numpy() == pytest.approx([1, 1, 1], abs=1e-6)


def test_padding_reflects_and_codes_stay_in_range():
    info = video("yuv420p", 30, 18)
    converter = Converter(info, multiple=32)
    assert (converter.height, converter.width) == (32, 32)
    planes = noise(info)
    rgb = converter.to_rgb(planes)
    assert rgb.shape == (3, 32, 32)
    luma = (rgb * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0)
    torch.testing.assert_close(luma[18], luma[16], atol=1e-5, rtol=0)
    loud = converter.to_planes(rgb * 9 - 4)
    assert [p.dtype for p in loud] == [np.dtype(np.uint8)] * 3
    assert loud[0].max() == 255
    assert loud[0].min() == 0


def test_untagged_pictures_go_by_their_size():
    def green(height):
        info = video("yuv444p", 16, height)
        planes = tuple(np.full((height, 16), code, np.uint8) for code in (100, 90, 90))
        return Converter(info).to_rgb(planes)[1, 0, 0].item()

    assert green(576) != pytest.approx(green(720), abs=1e-3)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_planes_that_nobody_may_write_are_taken_without_a_warning(kind: type):
    plane = np.arange(12, dtype=kind).reshape(3, 4)
    plane.flags.writeable = False
    assert np.array_equal(load_codes(plane, "cpu").numpy(), plane)


class Stream:
    """A CUDA stream that notes what waits for what."""

    def __init__(self, name, said):
        self.name, self.said = name, said

    def wait_stream(self, other):
        self.said.append(f"{self.name} waits for {other.name}")


class OnCuda(torch.Tensor):
    """A tensor that says it is on a GPU."""

    said: ClassVar[list[str]] = []

    @property
    def is_cuda(self):
        return True

    def record_stream(self, stream):
        self.said.append(f"{stream.name} uses it")


def test_a_programs_own_stream_and_the_engines_wait_for_each_other(monkeypatch):
    """Pictures may be made on any stream; engines work on the default one, in their own threads."""
    said = OnCuda.said = []
    own, default = Stream("own", said), Stream("default", said)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: own)
    monkeypatch.setattr(torch.cuda, "default_stream", lambda _: default)
    codes = torch.zeros(4, 6, dtype=torch.uint8).as_subclass(OnCuda)
    (plane,) = arrays._tensor_planes(codes)
    assert said == ["default waits for own", "default uses it"]
    said.clear()
    plane.codes = codes
    arrays._as_tensor((plane,), None, codes)
    assert said == ["own waits for default", "own uses it"]
    said.clear()
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: default)
    arrays._tensor_planes(codes)
    arrays._as_tensor((plane,), None, codes)
    assert not said
