"""What an encoder is counted for: all that it is asked, in any spelling, and never too little."""

from __future__ import annotations

from fractions import Fraction

import pytest

from benchmarks.encoder_memory import Case, in_child
from ltxfilter.frame import VideoInfo
from ltxfilter.media.encoding import encoder_memory
from ltxfilter.media.encoding.encoder_memory import CodedPictures, EncoderShare, encoder_share
from ltxfilter.media.encoding.reported_options import reported_options
from ltxfilter.media.encoding.settings import EncoderSettings, encoder_settings
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.options import OutputOptions

F = Fraction
X264, X265, SVT = "x264-params", "x265-params", "svtav1-params"


def share(
    codec: str, size: tuple[int, int] = (640, 360), pix_fmt: str = "yuv420p", **encoder: str
) -> EncoderShare:
    info = VideoInfo(*size, pix_fmt, plane_shapes(pix_fmt, *size), F(25))
    given = {key.replace("_params", "-params"): value for key, value in encoder.items()}
    settings = encoder_settings(OutputOptions(codec=codec, encoder=given), "matroska", info, F(50))
    return encoder_share(settings, F(50))


@pytest.mark.parametrize(
    ("codec", "options", "name", "value"),
    [
        ("libx264", {"rc-lookahead": "77"}, "rc_lookahead", "77"),
        ("libx264", {X264: "rc-lookahead=77"}, "rc_lookahead", "77"),
        ("libx264", {X264: "rc_lookahead=77"}, "rc_lookahead", "77"),
        ("libx264", {"x264opts": "rc-lookahead=77"}, "rc_lookahead", "77"),
        ("libx264", {"preset": "veryslow"}, "rc_lookahead", "60"),
        ("libx264", {"refs": "7"}, "ref", "7"),
        ("libx264", {X264: "frameref=7"}, "ref", "7"),
        ("libx264", {"bf": "5"}, "bframes", "5"),
        ("libx264", {"tune": "zerolatency"}, "bframes", "0"),
        ("libx264", {"threads": "3"}, "threads", "3"),
        ("libx265", {X265: "rc-lookahead=77"}, "rc_lookahead", "77"),
        ("libx265", {X265: "rc-lookahead=77:info=0"}, "rc_lookahead", "77"),
        ("libx265", {X265: "frame-threads=3"}, "frame_threads", "3"),
        ("libx265", {"preset": "slow"}, "rc_lookahead", "25"),
        ("libx265", {X265: "wpp=0"}, "wpp", "0"),
    ],
)
def test_an_encoder_says_what_it_was_asked(
    codec: str, options: dict[str, str], name: str, value: str
) -> None:
    assert reported_options(codec, options, (640, 360), "yuv420p", F(50))[name] == value


def test_an_encoder_that_does_not_open_says_nothing() -> None:
    assert reported_options("libx264", {"crf": "x"}, (640, 360), "yuv420p", F(50)) == {}
    assert reported_options("mpeg4", {}, (640, 360), "yuv420p", F(50)) == {}


@pytest.mark.parametrize(
    ("codec", "more"),
    [
        ("libx264", {"x264_params": "rc-lookahead=250"}),
        ("libx264", {"x264_params": "sync-lookahead=200:threads=4:sliced-threads=0"}),
        ("libx264", {"threads": "16", "thread_type": "frame"}),
        ("libx264", {"refs": "16"}),
        ("libx264", {"bf": "16", "b_strategy": "2"}),
        ("libx265", {"x265_params": "rc-lookahead=200"}),
        ("libx265", {"x265_params": "frame-threads=8"}),
        ("libx265", {"x265_params": "pools=32"}),
        ("libx265", {"x265_params": "ref=8:bframes=8"}),
        ("libsvtav1", {"preset": "2"}),
        ("libsvtav1", {"svtav1_params": "lp=6"}),
        ("libsvtav1", {"svtav1_params": "enable-overlays=1"}),
        ("libsvtav1", {"b": "1M", "svtav1_params": "rc=1:lookahead=120"}),
        ("libvpx-vp9", {"threads": "16"}),
        ("mpeg2video", {"bf": "16"}),
        ("ffv1", {"slices": "30", "context": "1"}),
    ],
)
def test_what_makes_an_encoder_larger_is_counted(codec: str, more: dict[str, str]) -> None:
    assert share(codec, **more).nbytes > 1.1 * share(codec).nbytes


@pytest.mark.parametrize(
    "less",
    [
        ("libx264", {"preset": "ultrafast"}),
        ("libx264", {"tune": "zerolatency"}),
        ("libx265", {"preset": "ultrafast"}),
        ("libsvtav1", {"svtav1_params": "hierarchical-levels=3"}),
        ("libsvtav1", {"svtav1_params": "pred-struct=1"}),
        ("libvpx-vp9", {"lag-in-frames": "0"}),
    ],
)
def test_what_makes_an_encoder_smaller_is_not(less: tuple[str, dict[str, str]]) -> None:
    codec, options = less
    assert share(codec, **options).nbytes < 0.8 * share(codec).nbytes


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1"])
def test_an_encoder_grows_with_the_picture(codec: str) -> None:
    assert share(codec, (1280, 720)).nbytes > 2 * share(codec).nbytes


@pytest.mark.parametrize(("pix_fmt", "packed"), [("gbrp", "bgr0"), ("gbrap", "bgra")])
def test_packed_pixels_are_counted_for_encoders_that_take_no_planes(pix_fmt: str, packed: str):
    size = (640, 360)
    info = VideoInfo(*size, pix_fmt, plane_shapes(pix_fmt, *size), F(25))
    settings = encoder_settings(OutputOptions(codec="ffv1"), "matroska", info, F(50))
    assert settings.pix_fmt == packed
    assert CodedPictures.of(info, packed).per_pixel == 4
    assert encoder_share(settings, F(50)).nbytes >= share("ffv1", size).nbytes


def test_an_encoder_that_was_not_measured_is_taken_for_a_large_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = max(share(codec).nbytes for codec in ("libx264", "libx265", "libsvtav1", "ffv1"))
    monkeypatch.setattr(encoder_memory, "MODELS", {})
    unknown = share("libvpx-vp9")
    assert not unknown.measured
    assert unknown.nbytes >= known
    monkeypatch.setattr(encoder_memory, "NATIVE", {})
    assert share("ffv1").nbytes >= share("prores_ks", pix_fmt="yuv422p10le").nbytes / 4
    assert not share("ffv1").measured


def on_a_gpu(codec: str, size: tuple[int, int], **options: str) -> EncoderShare:
    video = VideoInfo(*size, "yuv420p", plane_shapes("yuv420p", *size), F(25))
    return encoder_share(EncoderSettings(codec, video, options), F(50))


@pytest.mark.parametrize("codec", ["h264_nvenc", "av1_nvenc", "hevc_qsv", "h264_amf"])
def test_an_encoder_on_a_device_is_counted_by_its_surfaces(codec: str) -> None:
    """Not by what the largest encoder on a CPU would take: 12 GB at 4K."""
    hd, uhd = on_a_gpu(codec, (1920, 1080)), on_a_gpu(codec, (3840, 2160))
    assert not hd.measured
    assert hd.nbytes < 512 << 20
    assert uhd.nbytes < 1200 << 20
    assert hd.nbytes > 41 * 3_110_400  # 32 pictures of lookahead, and those on their way


@pytest.mark.parametrize("more", [{"surfaces": "64"}, {"rc-lookahead": "60"}, {"bf": "15"}])
def test_more_surfaces_of_a_device_count(more: dict[str, str]) -> None:
    size = (1920, 1080)
    usual = on_a_gpu("hevc_nvenc", size)
    assert on_a_gpu("hevc_nvenc", size, **more).nbytes > usual.nbytes


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", "preset=veryfast"),
        ("libx264", f"preset=ultrafast,bf=2,{X264}=rc-lookahead=60:mbtree=1"),
        ("libx264", f"preset=ultrafast,{X264}=threads=6:sliced-threads=0"),
        ("libx265", f"preset=ultrafast,{X265}=rc-lookahead=30:frame-threads=4"),
        ("libsvtav1", f"preset=12,{SVT}=lp=1:hierarchical-levels=3"),
        ("libvpx-vp9", "cpu-used=8,deadline=realtime,lag-in-frames=10"),
        ("mpeg2video", "bf=4"),
        ("ffv1", ""),
    ],
)
def test_an_encoder_stays_within_its_share(codec: str, options: str) -> None:
    row = in_child(Case.of(codec, "360p", options))
    assert row["first packet"] < row["frames"]
    assert row["peak MiB"] <= row["stated MiB"] <= 3 * row["peak MiB"]
