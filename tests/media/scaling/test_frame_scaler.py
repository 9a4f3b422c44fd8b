"""Frames made larger: close to exact Lanczos in every format, chroma in its place, tags kept."""

from __future__ import annotations

from fractions import Fraction as F
from pathlib import Path

import av
import av.filter
import numpy as np
import pytest
from support.media import decoded, make_video, side_data_names
from support.pictures import plane

from ltxfilter.errors import OptionError
from ltxfilter.frame import ColorInfo, Frame, Made, Plane, VideoInfo
from ltxfilter.media.avframe import buffer_filter, from_planes, view
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.media.scaling.frame_scaler import FrameScaler
from ltxfilter.scaling import scaled_video

TWICE, ONE_AND_A_HALF = F(2), F(3, 2)
LEFT, CENTRE, TOP_LEFT = 1, 2, 3  # chroma locations
BT601, BT709 = 6, 1
FORMATS = {  # -> how far the error may go, in codes of 10 bits
    "yuv420p": 4.0,
    "yuv422p": 4.0,
    "yuv444p": 3.0,
    "yuv420p10le": 2.0,
    "yuv422p12le": 1.5,
    "yuv444p16le": 1.0,
    "yuva420p": 4.0,
    "gray": 3.0,
    "gray12le": 1.0,
    "gbrp": 3.0,
    "gbrp10le": 1.5,
    "gbrap16le": 1.5,
}


def stream(
    pix_fmt: str, size: tuple[int, int] = (96, 64), color: ColorInfo | None = None
) -> VideoInfo:
    return VideoInfo(
        *size, pix_fmt, plane_shapes(pix_fmt, *size), F(25), color=color or ColorInfo()
    )


def smooth(info: VideoInfo, time: int = 0) -> Frame:
    planes = tuple(plane(shape, 3 * time, seed) for seed, shape in enumerate(info.layout))
    return Frame(F(time, 25), planes)


def exact(given: Plane, rows: int, columns: int, site: tuple[float, float]) -> np.ndarray:
    """Resample a plane by Lanczos in floating point.

    site: where in its own width and height a sample's point lies; 0.5 is the middle.
    """
    across = weights(given.shape[1], columns, site[0])
    down = weights(given.shape[0], rows, site[1])
    return np.asarray(down @ given.astype(float) @ across.T)


def weights(count: int, wanted: int, site: float) -> np.ndarray:
    """Return what each of `wanted` samples is made of, [wanted, count]; edges are repeated."""
    places = (np.arange(wanted) + site) * count / wanted - site
    found = np.zeros((wanted, count))
    for tap in range(-2, 4):
        at = np.floor(places).astype(int) + tap
        away = places - at
        value = np.where(np.abs(away) < 3, np.sinc(away) * np.sinc(away / 3), 0)
        np.add.at(found, (np.arange(wanted), np.clip(at, 0, count - 1)), value)
    return found / found.sum(1, keepdims=True)


@pytest.mark.parametrize("factor", [TWICE, ONE_AND_A_HALF], ids=str)
@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_every_format_is_close_to_exact_lanczos(pix_fmt: str, factor: F) -> None:
    info = stream(pix_fmt)
    frame = smooth(info)
    scaler = FrameScaler(info, factor)
    made = scaler.scaled(frame)
    for given, found, shape in zip(frame.planes, made.planes, scaler.info.layout, strict=True):
        assert (found.shape, found.dtype) == ((shape.height, shape.width), shape.dtype)
        site = (0.25 if shape.shift_x else 0.5, 0.5)  # chroma lies left, as MPEG-2 has it
        error = np.abs(found - exact(given, *found.shape, site))[4:-4, 4:-4]
        assert error.max() * 2.0 ** (10 - shape.depth) <= FORMATS[pix_fmt]


@pytest.mark.parametrize(
    ("location", "site"), [(LEFT, (0.25, 0.5)), (CENTRE, (0.5, 0.5)), (TOP_LEFT, (0.25, 0.25))]
)
def test_chroma_stays_where_the_stream_puts_it(location: int, site: tuple[float, float]) -> None:
    info = stream("yuv420p10le", color=ColorInfo(chroma_location=location))
    frame = smooth(info)
    chroma = FrameScaler(info, TWICE).scaled(frame).planes[1]
    sites = [(0.25, 0.5), (0.5, 0.5), (0.25, 0.25)]
    errors = {
        each: np.abs(chroma - exact(frame.planes[1], *chroma.shape, each))[4:-4, 4:-4].mean()
        for each in sites
    }
    assert min(errors, key=errors.__getitem__) == site


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuva444p10le", "gray", "gbrp"])
def test_a_flat_picture_keeps_its_codes_in_both_ranges(pix_fmt: str, full: bool) -> None:
    info = stream(pix_fmt, color=ColorInfo(range=2 if full else 1))
    for share in (0, 0.06, 0.5, 0.92, 1):
        codes = [round(share * ((1 << shape.depth) - 1)) for shape in info.layout]
        planes = tuple(
            np.full((shape.height, shape.width), code, shape.dtype)
            for code, shape in zip(codes, info.layout, strict=True)
        )
        made = FrameScaler(info, TWICE).scaled(Frame(F(0), planes))
        assert [(found.min(), found.max()) for found in made.planes] == [(x, x) for x in codes]


def test_frames_of_one_scaler_do_not_depend_on_each_other() -> None:
    info = stream("yuv420p", (853, 481))
    one = FrameScaler(info, ONE_AND_A_HALF)
    for time in (0, 1, 0, 2):
        alone = FrameScaler(info, ONE_AND_A_HALF).scaled(smooth(info, time))
        again = one.scaled(smooth(info, time))
        assert all(map(np.array_equal, alone.planes, again.planes))


@pytest.mark.parametrize(
    ("size", "factor", "scaled"),
    [
        ((854, 480), ONE_AND_A_HALF, (1282, 720)),  # 1281: the larger one of two even numbers
        ((853, 479), ONE_AND_A_HALF, (1280, 718)),  # 1279.5 and 718.5
        ((853, 479), TWICE, (1706, 958)),
        ((1, 1), ONE_AND_A_HALF, (2, 2)),
    ],
)
def test_sides_become_even(size: tuple[int, int], factor: F, scaled: tuple[int, int]) -> None:
    info = scaled_video(stream("yuv420p", size), factor)
    assert (info.width, info.height) == scaled
    assert info.layout == plane_shapes("yuv420p", *scaled)


def test_a_picture_that_would_be_too_large_is_refused() -> None:
    with pytest.raises(OptionError, match="--scale 2x: a picture of 16384x8704 is over the limit"):
        FrameScaler(stream("gray", (8192, 4352)), TWICE)


def test_untagged_pictures_are_tagged_where_players_would_guess_another_matrix() -> None:
    def matrix(pix_fmt: str, height: int, tagged: int = 2) -> int:
        info = stream(pix_fmt, (height, height), ColorInfo(matrix=tagged))
        return scaled_video(info, TWICE).color.matrix

    assert matrix("yuv420p", 480) == BT601
    assert matrix("yuv420p", 240) == 2  # players take 480 lines for BT.601, too
    assert matrix("yuv420p", 720) == 2
    assert matrix("yuv420p", 480, BT709) == BT709
    assert matrix("gbrp", 480) == 2


def test_a_frame_keeps_all_that_is_known_of_it() -> None:
    info = stream("yuv420p")
    frame = Frame(F(7, 25), smooth(info).planes, made=Made.INTERPOLATED, psnr_db=31.0, lost=True)
    made = FrameScaler(info, TWICE).scaled(frame)
    assert (made.time, made.made, made.psnr_db, made.lost) == (F(7, 25), frame.made, 31.0, True)
    assert made.origin is None


def test_decoded_frames_keep_tags_and_side_data(tmp_path: Path) -> None:
    hdr = "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:log-level=0:"
    hdr += "master-display=G(1,2)B(3,4)R(5,6)WP(7,8)L(10000000,1):max-cll=1000,400"
    clip = make_video(
        tmp_path / "in.mkv", 2, codec="libx265", pix_fmt="yuv420p10le",
        options={"x265-params": hdr},
    )  # fmt: skip
    first = next(decoded(clip))
    info = stream("yuv420p10le", (64, 48), ColorInfo(9, 1, 9, 16))
    scaler = FrameScaler(info, TWICE)
    planes = view(first, info.layout)
    negative = tuple(1023 - each for each in planes)
    for made, shown in ((Made.SOURCE, planes), (Made.INTERPOLATED, negative)):
        scaled = scaler.scaled(Frame(F(0), shown, origin=first, made=made)).origin
        assert (scaled.width, scaled.height, scaled.format.name) == (128, 96, "yuv420p10le")
        assert (int(scaled.colorspace), int(scaled.color_trc)) == (9, 16)
        lasting = {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL"}
        assert lasting <= side_data_names(scaled)
        mean = view(scaled, scaler.info.layout)[0].mean()
        assert abs(mean - shown[0].mean()) < 2


def test_fields_of_interlaced_pictures_are_not_mixed() -> None:
    info = stream("yuv420p", (64, 64))
    luma = np.zeros((64, 64), np.uint8)
    luma[::2] = 200  # one field is light, the other is dark
    flat = np.full((32, 32), 128, np.uint8)
    given = from_planes((luma, flat, flat), info)
    graph = av.filter.Graph()
    nodes = graph.add("setfield", mode="tff"), graph.add("buffersink")
    graph.link_nodes(buffer_filter(graph, given, "1/1"), *nodes).configure()
    graph.vpush(given)
    interlaced = graph.vpull()
    assert interlaced.interlaced_frame
    made = FrameScaler(info, TWICE).scaled(Frame(F(0), (luma, flat, flat), origin=interlaced))
    assert np.array_equal(np.unique(made.planes[0][::2]), [200])
    assert np.array_equal(np.unique(made.planes[0][1::2]), [0])
