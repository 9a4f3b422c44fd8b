"""Pictures converted for an encoder: close to exact arithmetic, edges repeated, tags set."""

from __future__ import annotations

from fractions import Fraction as F
from pathlib import Path

import av
import numpy as np
import pytest
from support.media import decoded, make_video, side_data_names
from support.pictures import plane

from ltxfilter.frame import ColorInfo, Planes, VideoInfo
from ltxfilter.media.avframe import from_planes, view
from ltxfilter.media.encoding.conversion import PictureConverter
from ltxfilter.media.encoding.encoded_video import encoded_video, padded_sizes
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.options import OutputOptions

BT709, BT601, BT2020 = 1, 6, 9
WEIGHTS = {BT709: (0.2126, 0.0722), BT601: (0.299, 0.114), BT2020: (0.2627, 0.0593)}


def stream(
    pix_fmt: str, size: tuple[int, int] = (96, 64), color: ColorInfo | None = None
) -> tuple[VideoInfo, Planes]:
    """Return a stream, and the planes of a smooth picture of it."""
    shapes = plane_shapes(pix_fmt, *size)
    info = VideoInfo(*size, pix_fmt, shapes, F(25), color=color or ColorInfo())
    return info, tuple(plane(shape, 0, seed) for seed, shape in enumerate(shapes))


def converted(info: VideoInfo, planes: Planes, target: VideoInfo) -> tuple[av.VideoFrame, Planes]:
    """Return the picture that an encoder of `target` is given, and its planes."""
    picture = PictureConverter(info, target).convert(from_planes(planes, info))
    return picture, view(picture, target.layout)


def exact_yuv(planes: Planes, source: VideoInfo, target: VideoInfo) -> list[np.ndarray]:
    """Return luma and chroma of RGB planes by H.273, chroma sited left and box-filtered down."""
    green, blue, red = (values / (2**source.depth - 1) for values in planes[:3])
    share_red, share_blue = WEIGHTS[target.color.matrix]
    luma = share_red * red + (1 - share_red - share_blue) * green + share_blue * blue
    chroma = (blue - luma) / (2 - 2 * share_blue), (red - luma) / (2 - 2 * share_red)
    unit = 2 ** (target.depth - 8)
    if "420" in target.pix_fmt:
        chroma = tuple(halved(values) for values in chroma)
    return [luma * 219 * unit + 16 * unit, *(v * 224 * unit + 128 * unit for v in chroma)]


def halved(values: np.ndarray) -> np.ndarray:
    rows = (values[0::2] + values[1::2]) / 2
    before = np.pad(rows, ((0, 0), (1, 0)), "edge")[:, :-1]
    after = np.pad(rows, ((0, 0), (0, 1)), "edge")[:, 1:]
    return ((before + 2 * rows + after) / 4)[:, 0::2]


@pytest.mark.parametrize(
    ("pix_fmt", "target", "bound"),
    [  # bound: on the error of luma and chroma in 8-bit codes, anywhere
        ("gbrp", "yuv420p", 1.0),
        ("gbrp", "yuv444p", 0.6),
        ("gbrap", "yuva420p", 1.0),
        ("gbrp", "yuv444p10le", 0.2),
        ("gbrp10le", "yuv420p10le", 0.7),
        ("gbrp16le", "yuv420p10le", 0.6),
        ("gbrap16le", "yuva444p10le", 0.2),
    ],
)
def test_rgb_becomes_yuv_of_limited_range(pix_fmt: str, target: str, bound: float) -> None:
    info, planes = stream(pix_fmt, color=ColorInfo(matrix=0, range=2))
    video = encoded_video(info, target, OutputOptions())
    picture, made = converted(info, planes, video)
    assert (int(picture.colorspace), int(picture.color_range)) == (BT601, 1)
    unit = 2 ** (video.depth - 8)
    for found, exact in zip(made, exact_yuv(planes, info, video), strict=False):
        inner = (slice(2, -2), slice(2, -2))  # filters differ at the border
        assert np.abs(found[inner] - exact[inner]).max() / unit <= bound
        assert abs((found[inner] - exact[inner]).mean()) / unit < 0.1
    if len(made) == 4 and video.depth == info.depth:
        np.testing.assert_array_equal(made[3], planes[3])


@pytest.mark.parametrize(
    ("height", "primaries", "given", "matrix", "code_range"),
    [
        (64, 2, {}, BT601, 1),
        (576, 1, {}, BT601, 1),
        (720, 2, {}, BT709, 1),
        (64, 9, {}, BT2020, 1),
        (64, 2, {"colorspace": "bt709"}, BT709, 1),
        (64, 2, {"color_primaries": "bt2020", "color_range": "pc"}, BT2020, 2),
    ],
)
def test_rgb_gets_the_matrix_of_its_primaries_or_its_size(
    height: int, primaries: int, given: dict[str, str], matrix: int, code_range: int
) -> None:
    color = ColorInfo(matrix=0, range=2, primaries=primaries)
    info, planes = stream("gbrp", (32, height), color)
    video = encoded_video(info, "yuv420p", OutputOptions(color=given))
    assert (video.color.matrix, video.color.range) == (matrix, code_range)
    luma = converted(info, planes, video)[1][0].astype(float)
    limited = exact_yuv(planes, info, video)[0]
    exact = limited if code_range == 1 else (limited - 16) * 255 / 219
    assert np.abs(luma - exact).max() <= 0.6


@pytest.mark.parametrize("code_range", [0, 1, 2])
@pytest.mark.parametrize(
    ("pix_fmt", "target"),
    [
        ("gray", "yuv420p"),
        ("gray10le", "yuv420p10le"),
        ("yuv444p", "yuv420p"),
        ("yuv422p10le", "yuv420p10le"),
        ("yuva420p", "yuv420p"),
        ("yuv420p", "gray"),
    ],
)
def test_luma_keeps_its_codes(pix_fmt: str, target: str, code_range: int) -> None:
    info, planes = stream(pix_fmt, color=ColorInfo(matrix=1, range=code_range))
    video = encoded_video(info, target, OutputOptions())
    picture, made = converted(info, planes, video)
    np.testing.assert_array_equal(made[0], planes[0])
    assert int(picture.color_range) == code_range
    if pix_fmt.startswith("gray"):
        middle = 1 << video.depth - 1
        assert set(np.ravel(made[1])) == set(np.ravel(made[2])) == {middle}


@pytest.mark.parametrize(("code_range", "white"), [(1, 940), (2, 1020)])
def test_gray_of_another_depth_is_scaled_by_its_range(code_range: int, white: int) -> None:
    info, _ = stream("gray", color=ColorInfo(range=code_range))
    codes = np.full((64, 96), 235 if code_range == 1 else 255, np.uint8)
    video = encoded_video(info, "yuv422p10le", OutputOptions())
    luma = converted(info, (codes,), video)[1][0]
    assert abs(int(luma.min()) - white) <= 3
    assert luma.min() == luma.max()


def test_yuv_becomes_rgb_and_comes_back() -> None:
    info, planes = stream("yuv444p10le", color=ColorInfo(matrix=1, range=1))
    planes = tuple((400 + (values // 8)).astype(np.uint16) for values in planes)
    video = encoded_video(info, "gbrp16le", OutputOptions())
    assert (video.color.matrix, video.color.range) == (0, 2)
    _, made = converted(info, planes, video)
    back = exact_yuv(made, video, info)
    for found, exact in zip(back, planes, strict=True):
        assert np.abs(found - exact).max() < 1


@pytest.mark.parametrize("size", [(65, 48), (64, 47), (65, 47)])
@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p", "yuv420p10le", "yuv422p", "yuv411p", "yuva420p", "gray", "gbrp", "gbrap"]
)
def test_odd_sizes_get_a_repeated_column_and_row(pix_fmt: str, size: tuple[int, int]) -> None:
    info, planes = stream(pix_fmt, size)
    video = list(padded_sizes(info))[-1]
    assert (video.width, video.height) == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    _, made = converted(info, planes, video)
    for found, given in zip(made, planes, strict=True):
        rows, columns = given.shape
        np.testing.assert_array_equal(found[:rows, :columns], given)
        np.testing.assert_array_equal(found[rows:, :columns], given[-1:][: found.shape[0] - rows])
        np.testing.assert_array_equal(
            found[:, columns:], found[:, columns - 1 : columns][:, : found.shape[1] - columns]
        )


def test_side_data_and_time_stay(tmp_path: Path) -> None:
    params = "master-display=G(8500,39850)B(6550,2300)R(35400,14600)WP(15635,16450)L(10000000,1)"
    path = make_video(
        tmp_path / "in.mkv", 2, size=(65, 47), codec="libx265", pix_fmt="yuv444p10le",
        options={"x265-params": f"{params}:log-level=none"},
    )  # fmt: skip
    picture = next(decoded(path))
    before, pts = side_data_names(picture), picture.pts
    shapes = plane_shapes("yuv444p10le", 65, 47)
    info = VideoInfo(65, 47, "yuv444p10le", shapes, F(25))
    video = list(padded_sizes(encoded_video(info, "yuv420p10le", OutputOptions())))[-1]
    made = PictureConverter(info, video).convert(picture)
    assert (made.width, made.height, made.format.name) == (66, 48, "yuv420p10le")
    assert "MASTERING_DISPLAY_METADATA" in before
    assert side_data_names(made) == before
    assert made.pts == pts


def test_a_picture_that_fits_is_not_touched() -> None:
    info, planes = stream("yuv420p")
    picture = from_planes(planes, info)
    assert PictureConverter(info, info).convert(picture) is picture
