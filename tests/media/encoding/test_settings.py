"""Which encoder and which pixel format a container gets where the user names none."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from support.media import convert_repeating, decoded, make_video

from ltxfilter.errors import OptionError, OutputError
from ltxfilter.frame import ColorInfo, VideoInfo
from ltxfilter.media.encoding.defaults import default_codec
from ltxfilter.media.encoding.pixel_formats import choose_pix_fmt
from ltxfilter.media.encoding.settings import EncoderSettings, encoder_settings
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.options import OutputOptions

F = Fraction


def info(pix_fmt: str, transfer: int = 1) -> VideoInfo:
    shapes = plane_shapes(pix_fmt, 64, 48)
    return VideoInfo(64, 48, pix_fmt, shapes, F(25), color=ColorInfo(transfer=transfer))


@pytest.mark.parametrize(
    ("muxer", "pix_fmt", "transfer", "codec"),
    [
        ("mp4", "yuv420p", 1, "libx264"),
        ("matroska", "yuv422p10le", 1, "libx264"),
        ("mov", "yuv420p10le", 16, "libx265"),
        ("mpegts", "yuv420p10le", 18, "libx265"),
        ("mp4", "yuv444p12le", 1, "libx265"),
        ("matroska", "gbrp", 1, "libx265"),
        ("mov", "yuva444p10le", 1, "prores_ks"),
        ("matroska", "yuva420p", 1, "ffv1"),
        ("webm", "yuv420p", 1, "libvpx-vp9"),
        ("webm", "yuv420p10le", 16, "libsvtav1"),
        ("webm", "yuva420p", 1, "libvpx-vp9"),
        ("avi", "yuv420p", 1, "mpeg4"),
        ("ipod", "yuv420p10le", 16, "libx264"),
        ("nut", "gbrp", 1, "rawvideo"),
    ],
)
def test_encoder_goes_by_container_and_samples(
    muxer: str, pix_fmt: str, transfer: int, codec: str
) -> None:
    assert default_codec(muxer, info(pix_fmt, transfer), "out") == codec


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "chosen", "said"),
    [
        ("png", "yuv420p", "rgb24", "since png cannot encode yuv420p"),
        ("png", "gbrap", "rgba", ""),
        ("png", "gray", "gray", ""),
        ("ffv1", "gbrap", "bgra", ""),
        ("libx264", "gbrp", "yuv444p", "-c:v ffv1"),
        ("libx264", "yuv422p10le", "yuv422p10le", ""),
        ("libx264", "yuv420p12le", "yuv420p10le", "converted to yuv420p10le"),
        ("libx264", "yuva444p", "yuv444p", "without its alpha"),
        ("libx265", "yuva420p10le", "yuv420p10le", "without its alpha"),
        ("libsvtav1", "yuv444p", "yuv420p", "converted to yuv420p"),
        ("libvpx-vp9", "gray", "yuv420p", "converted to yuv420p"),
        ("prores_ks", "yuv420p", "yuv422p10le", "converted to yuv422p10le"),
        ("rawvideo", "gbrap12le", "gbrap12le", ""),
    ],
)
def test_pixel_format_loses_least(
    codec: str, pix_fmt: str, chosen: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = av.codec.codec.Codec(codec, "w")
    assert choose_pix_fmt(encoder, info(pix_fmt), None) == chosen
    muxer = {"rawvideo": "nut", "png": "mov"}.get(codec, "matroska")
    encoder_settings(OutputOptions(codec=codec), muxer, info(pix_fmt), F(25))
    assert said in caplog.text
    assert bool(said) == bool(caplog.text)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "webm", "avi", "ts", "flv", "mpg", "nut"])
def test_every_usual_ending_works_without_a_word(tmp_path: Path, suffix: str) -> None:
    path = make_video(tmp_path / "in.mkv", 5)
    convert_repeating(path, tmp_path / f"out.{suffix}", "50", codec=None, encoder={})
    assert len(list(decoded(tmp_path / f"out.{suffix}"))) == 10


def test_quality_is_the_users_if_given() -> None:
    def made(**encoder: str) -> EncoderSettings:
        return encoder_settings(OutputOptions(encoder=encoder), "mp4", info("yuv420p"), F(50))

    assert made().options["crf"] == "18"
    assert made(preset="fast").options == {"crf": "18", "preset": "fast"}
    assert made(crf="30").options == {"crf": "30", "preset": "medium"}
    assert made(b="2M").options == {"b": "2M", "preset": "medium"}
    assert "crf" not in made(qp="0").options


def test_fixed_quantiser_is_written_as_ffmpeg_does() -> None:
    options = OutputOptions(path="out.avi", encoder={"q": "3"})
    recipe = encoder_settings(options, "avi", info("yuv420p"), F(50))
    assert recipe.options == {"global_quality": "354", "flags": "+qscale"}


def test_parameters_of_encoders_are_joined() -> None:
    options = OutputOptions(codec="libx265", encoder={"x265-params": "ref=2"})
    recipe = encoder_settings(options, "mp4", info("yuv420p"), F(50))
    assert recipe.options["x265-params"] == "ref=2:log-level=error"
    with pytest.raises(OptionError, match="no option tunes"):
        encoder_settings(replace(options, encoder={"tunes": "x"}), "mp4", info("yuv420p"), F(50))


def test_pictures_that_an_encoder_cannot_take_are_refused_with_the_way_out() -> None:
    tiny = VideoInfo(2, 2, "yuv420p", plane_shapes("yuv420p", 2, 2), F(25))
    options = OutputOptions(path="out.mp4", codec="libx265")
    with pytest.raises(OutputError, match=r"cannot encode 2x2 .*; name another encoder with -c:v"):
        encoder_settings(options, "mp4", tiny, F(50))
