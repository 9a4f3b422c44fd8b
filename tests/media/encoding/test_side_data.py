"""HDR10 and colour tags through the encoders that can keep them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.media import convert_repeating, decoded, make_video, side_data_names

from ltxfilter.media.encoding.side_data import (
    LightLevel,
    Mastering,
    _h265_units,
    encoder_params,
    light_level_of,
    mastering_of,
)

F = Fraction
P3 = Mastering(
    primaries=((F(34000, 50000), F(16000, 50000)), (F(13250, 50000), F(34500, 50000)),
               (F(7500, 50000), F(3000, 50000))),
    white=(F(15635, 50000), F(16450, 50000)),
    darkest=F(1, 10000),
    brightest=F(1000),
)  # fmt: skip
X265 = (
    "log-level=error:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)"
    "L(10000000,1):max-cll=1000,400:hdr10=1"
)
QUICK: dict[str, dict[str, str]] = {
    "libx264": {"preset": "ultrafast"},
    "libx265": {"preset": "ultrafast"},
    "libsvtav1": {"preset": "12"},
}


@pytest.fixture(scope="module")
def hdr10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hdr") / "hdr.mp4"
    options = {"x265-params": X265, "preset": "ultrafast", "color_primaries": "bt2020"}
    options |= {"colorspace": "bt2020nc", "color_trc": "smpte2084", "color_range": "tv"}
    return make_video(path, 4, codec="libx265", pix_fmt="yuv420p10le", options=options)


def near(one: Mastering | None, other: Mastering) -> bool:
    assert one is not None
    flat = [*sum(one.primaries, ()), *one.white, one.darkest, one.brightest]
    wanted = [*sum(other.primaries, ()), *other.white, other.darkest, other.brightest]
    return all(abs(a - b) <= F(1, 5000) for a, b in zip(flat, wanted, strict=True))


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [
        ("libx265", "mp4"),
        ("libx265", "mkv"),
        ("libx264", "mp4"),
        ("hevc", "mkv"),
        ("libsvtav1", "mp4"),
        ("libsvtav1", "webm"),
        (None, "mp4"),
    ],
)
def test_hdr10_goes_round(hdr10: Path, tmp_path: Path, codec: str | None, suffix: str) -> None:
    out = tmp_path / f"out.{suffix}"
    convert_repeating(hdr10, out, "50", codec=codec, encoder=QUICK.get(codec or "libx265", {}))
    frame = next(decoded(out))
    assert near(mastering_of(frame), P3)
    assert light_level_of(frame) == LightLevel(1000, 400)
    assert (frame.colorspace, frame.color_primaries, frame.color_trc) == (9, 9, 16)
    assert frame.color_range == 1
    assert frame.format.name == "yuv420p10le"


def test_every_frame_of_a_real_clip_keeps_its_light(clips: Path, tmp_path: Path) -> None:
    path = clips / "formats" / "sample_with_colr_mdcv_and_clli.mp4"
    before = next(decoded(path))
    convert_repeating(path, tmp_path / "out.mp4", codec="libx265", encoder=QUICK["libx265"])
    after = next(decoded(tmp_path / "out.mp4"))
    assert near(mastering_of(after), mastering_of(before))  # type: ignore[arg-type]
    assert light_level_of(after) == light_level_of(before)


def test_data_of_single_frames_stays_behind(hdr10: Path, tmp_path: Path) -> None:
    """x265 writes its name as data of single frames; copies of those frames must not have it."""
    assert "SEI_UNREGISTERED" in side_data_names(next(decoded(hdr10)))
    convert_repeating(hdr10, tmp_path / "out.mp4", "50", codec="libx264", encoder=QUICK["libx264"])
    kinds = [side_data_names(frame) for frame in decoded(tmp_path / "out.mp4")]
    assert {"CONTENT_LIGHT_LEVEL", "MASTERING_DISPLAY_METADATA"} <= kinds[0]
    assert "SEI_UNREGISTERED" not in set().union(*kinds[1:])


def test_data_of_single_frames_of_a_real_clip_stays_behind(clips: Path, tmp_path: Path) -> None:
    path = clips / "formats" / "hdr10-video-with-sdr-container.mp4"
    convert_repeating(path, tmp_path / "out.mkv", "60", codec="libx265", encoder=QUICK["libx265"])
    kinds = [side_data_names(frame) for frame in decoded(tmp_path / "out.mkv")]
    assert "CONTENT_LIGHT_LEVEL" in kinds[0]
    assert "DYNAMIC_HDR_PLUS" not in set().union(*kinds[1::2])  # of the repeated frames


def test_hlg_is_encoded_as_hlg(tmp_path: Path) -> None:
    options = {"color_trc": "arib-std-b67", "colorspace": "bt2020nc", "color_primaries": "bt2020"}
    path = make_video(tmp_path / "in.mp4", 4, pix_fmt="yuv420p10le", options=options)
    check_hlg(path, tmp_path / "out.mp4")


def test_real_hlg_is_encoded_as_hlg(clips: Path, tmp_path: Path) -> None:
    check_hlg(clips / "formats" / "hlg10-color-test.mp4", tmp_path / "out.mp4")


def check_hlg(path: Path, out: Path) -> None:
    sink = convert_repeating(path, out, "60", codec=None, encoder=QUICK["libx265"])
    assert sink.mux_plan.settings.codec == "libx265"
    frame = next(decoded(out))
    assert (frame.color_trc, frame.colorspace, frame.format.name) == (18, 9, "yuv420p10le")


def test_what_the_user_says_wins(hdr10: Path, tmp_path: Path) -> None:
    given = {"preset": "ultrafast", "x265-params": "max-cll=77,66"}
    convert_repeating(hdr10, tmp_path / "out.mp4", "50", codec="libx265", encoder=given)
    frame = next(decoded(tmp_path / "out.mp4"))
    assert light_level_of(frame) == LightLevel(77, 66)
    assert near(mastering_of(frame), P3)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"color_range": "pc", "colorspace": "bt709"}, (2, 1)),
        ({"color_range": "tv", "colorspace": "smpte170m"}, (1, 6)),
    ],
)
def test_colour_tags_are_kept(
    tmp_path: Path, options: dict[str, str], expected: tuple[int, int]
) -> None:
    path = make_video(tmp_path / "in.mkv", 4, options=options)
    for suffix in ("mkv", "mp4", "ts"):
        convert_repeating(path, tmp_path / f"out.{suffix}", "50")
        frame = next(decoded(tmp_path / f"out.{suffix}"))
        assert (frame.color_range, frame.colorspace) == expected


def test_colour_tags_are_set_on_request(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mkv", 4)
    color = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709"}
    convert_repeating(path, tmp_path / "out.mkv", "50", color=color)
    frame = next(decoded(tmp_path / "out.mkv"))
    assert (frame.colorspace, frame.color_primaries, frame.color_trc) == (1, 1, 1)


@given(st.lists(st.integers(0, 50000), min_size=8, max_size=8), st.integers(1, 10**8))
def test_units_lose_nothing(points: list[int], light: int) -> None:
    """Values that HEVC can hold are written as the integers that it holds."""
    x = [F(point, 50000) for point in points]
    mastering = Mastering(
        ((x[0], x[1]), (x[2], x[3]), (x[4], x[5])), (x[6], x[7]), F(0), F(light, 10000)
    )
    written = _h265_units(mastering)
    numbers = [int(n) for n in written.translate(str.maketrans("GBRWPL(),", " " * 9)).split()]
    assert numbers == [*points[2:4], *points[4:6], *points[:2], *points[6:], light, 0]


def test_plain_frames_add_nothing() -> None:
    frame: Any = av.VideoFrame(16, 16, "yuv420p")
    assert encoder_params("libx265", frame) is None
    assert mastering_of(frame) is None
