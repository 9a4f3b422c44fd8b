"""What is encoded where the user names nothing plays on ordinary players; what is named stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction as F
from itertools import combinations, product
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from support.media import convert_repeating
from support.pictures import plane
from support.tools import samples

from ltxfilter.errors import OptionError, OutputError
from ltxfilter.frame import ColorInfo, VideoInfo
from ltxfilter.media.avframe import from_planes
from ltxfilter.media.encoding.encoder_memory import encoder_share
from ltxfilter.media.encoding.pixel_formats import known_formats
from ltxfilter.media.encoding.settings import EncoderSettings, encoder_settings
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.options import OutputOptions

PIX_FMTS = [
    "yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p12le", "gray",
    "gray16le", "gbrp", "gbrp10le", "gbrap", "yuva420p", "yuva444p10le",
]  # fmt: skip
SOME = ["yuv420p", "yuv422p10le", "yuv444p", "gray", "gbrp", "gbrp10le", "gbrap", "yuva420p"]
CONTAINERS = ["mp4", "mov", "webm", "mkv"]
ENCODERS = [None, "libx264", "hevc", "vp9", "av1", "ffv1"]
SIZES = [(96, 64), (95, 63)]
PRESETS = {"libx264": "ultrafast", "hevc": "ultrafast", "av1": "12"}
PLAYED = {  # codec -> pixel formats that telephones, browsers and televisions decode
    "h264": {"yuv420p"},
    "hevc": {"yuv420p", "yuv420p10le"},
    "vp9": {"yuv420p", "yuva420p"},
    "av1": {"yuv420p", "yuv420p10le"},
}
Clip = Callable[[str, tuple[int, int]], Path]


def stream(pix_fmt: str, size: tuple[int, int] = SIZES[0]) -> VideoInfo:
    return VideoInfo(*size, pix_fmt, plane_shapes(pix_fmt, *size), F(25), F(1, 25))


def chosen(name: str, info: VideoInfo, **options: Any) -> EncoderSettings:
    muxer = {"mkv": "matroska", "m4v": "ipod", "ts": "mpegts"}.get(name, name)
    return encoder_settings(OutputOptions(path=f"out.{name}", **options), muxer, info, F(50))


@pytest.mark.parametrize("name", ["mp4", "mov", "webm"])
@pytest.mark.parametrize("pix_fmt", PIX_FMTS)
def test_default_outputs_play(pix_fmt: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    info = stream(pix_fmt)
    settings = chosen(name, info)
    codec = av.Codec(settings.codec, "w").canonical_name
    alpha = any(shape.role == "a" for shape in info.layout)
    if name == "mov" and alpha:
        assert (settings.codec, settings.pix_fmt) == ("prores_ks", "yuva444p10le")
    else:
        assert settings.pix_fmt in PLAYED[codec]
        kept = 8 if alpha and name == "webm" else min(info.depth, 10)  # VP9 has alpha of 8 bits
        assert settings.video.depth == kept
    if settings.pix_fmt == pix_fmt:
        assert not caplog.text
    else:
        (record,) = caplog.records
        text = record.getMessage()
        assert text.startswith(f"out.{name}: {pix_fmt} is converted to {settings.pix_fmt}, ")
        assert ("without its alpha" in text) == (alpha and name == "mp4")
        route = text.rpartition("; ")[2].split()
        again = dict(zip(route[::2], route[1::2], strict=False))
        caplog.clear()
        if "-c:v" in again:
            kept_by = chosen("mkv", info, codec=again["-c:v"])
        else:
            kept_by = chosen(name, info, pix_fmt=again["-pix_fmt"])
        assert kept_by.video.depth == info.depth
        assert [s.role for s in kept_by.video.layout] == [s.role for s in info.layout]
        assert not caplog.text


@pytest.mark.parametrize(
    ("name", "options", "pix_fmt", "expected"),
    [
        ("mp4", {"codec": "libx264"}, "yuv444p", ("libx264", "yuv444p")),
        ("mp4", {"codec": "h264"}, "yuv422p10le", ("libx264", "yuv422p10le")),
        ("mp4", {"pix_fmt": "yuv420p"}, "gbrp", ("libx264", "yuv420p")),
        ("mp4", {"pix_fmt": "gbrp"}, "gbrp", ("libx265", "gbrp")),
        ("mp4", {"pix_fmt": "yuv420p10le"}, "yuv420p", ("libx265", "yuv420p10le")),
        ("mov", {"pix_fmt": "yuv420p"}, "yuva420p", ("libx264", "yuv420p")),
        ("webm", {"pix_fmt": "yuv444p"}, "yuv444p", ("libvpx-vp9", "yuv444p")),
        ("mkv", {}, "yuv444p", ("libx264", "yuv444p")),
        ("mkv", {}, "gbrap", ("ffv1", "bgra")),
        ("m4v", {}, "gbrp10le", ("libx264", "yuv420p10le")),
    ],
)
def test_what_is_named_is_not_overruled(
    name: str,
    options: dict[str, str],
    pix_fmt: str,
    expected: tuple[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = chosen(name, stream(pix_fmt), **options)
    assert (settings.codec, settings.pix_fmt) == expected
    assert bool(caplog.text) == (name == "m4v")


@pytest.mark.parametrize(
    ("name", "options", "pix_fmt", "size", "said"),
    [
        ("mp4", {}, "yuv420p", (96, 64), "-pix_fmt yuv444p keeps the size"),
        ("mp4", {}, "gbrp", (96, 64), "gbrp is converted to 96x64 yuv420p, which players take"),
        ("mkv", {"codec": "libx264"}, "yuv422p", (96, 63), "the last column repeated"),
        ("mkv", {"codec": "hevc"}, "yuv420p10le", (96, 64), "-pix_fmt yuv444p10le keeps the size"),
        ("mp4", {"pix_fmt": "yuv420p"}, "gbrp", (96, 64), "the last column and row repeated"),
        ("mov", {"codec": "prores"}, "yuv422p10le", (96, 63), "-pix_fmt yuv444p10le"),
        ("mp4", {"pix_fmt": "yuv444p"}, "yuv444p", (95, 63), ""),
        ("webm", {}, "yuv420p", (95, 63), ""),
        ("mkv", {"codec": "ffv1"}, "yuv420p", (95, 63), ""),
    ],
)
def test_odd_sizes_are_padded_where_the_encoder_needs_it(
    name: str,
    options: dict[str, str],
    pix_fmt: str,
    size: tuple[int, int],
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    try:
        settings = chosen(name, stream(pix_fmt, (95, 63)), **options)
    except OptionError as error:  # of options, where there are none
        pytest.fail(str(error))
    assert (settings.video.width, settings.video.height) == size
    assert said in caplog.text
    assert len(caplog.records) == bool(said)


@pytest.mark.parametrize(("width", "aspect"), [(95, None), (95, F(16, 9)), (96, F(16, 9))])
def test_the_aspect_of_the_display_is_set_for_the_size_that_is_written(
    width: int, aspect: F | None
) -> None:
    info = replace(stream("yuv420p", (width, 64)), sample_aspect=F(4, 3))
    video = chosen("mp4", info, aspect=aspect).video
    assert video.width == 96
    assert video.sample_aspect == (F(4, 3) if aspect is None else F(16, 9) * F(64, 96))


@pytest.mark.parametrize(
    ("typed", "codec"),
    [("hevc", "libx265"), ("h264", "libx264"), ("vp9", "libvpx-vp9"), ("av1", "libsvtav1"),
     ("vp8", "libvpx"), ("mpeg4", "mpeg4"), ("prores", "prores")],
)  # fmt: skip
def test_names_of_codecs_are_those_of_their_encoders(typed: str, codec: str) -> None:
    info = stream("yuv420p")
    by_codec, by_encoder = (chosen("mov" if "pro" in typed else "mkv", info, codec=name)
                            for name in (typed, codec))  # fmt: skip
    assert by_codec == by_encoder
    assert by_codec.codec == codec
    assert encoder_share(by_codec, F(50)) == encoder_share(by_encoder, F(50))


@pytest.mark.parametrize(
    ("name", "codec", "given", "tag"),
    [
        ("mp4", "libx265", None, "hvc1"),
        ("mov", "hevc", None, "hvc1"),
        ("mp4", "libx265", "hev1", "hev1"),
        ("mp4", "libx264", None, "avc1"),
        ("mp4", "libx264", "avc3", "avc3"),
        ("avi", "mpeg4", "DX50", "DX50"),
        ("mkv", "libx265", None, "\0\0\0\0"),
    ],
)
def test_tags_in_the_container(
    clip: Clip, tmp_path: Path, name: str, codec: str, given: str | None, tag: str
) -> None:
    path = tmp_path / f"out.{name}"
    convert_repeating(clip("yuv420p", SIZES[0]), path, "25", codec=codec, encoder={}, tag=given)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.codec_tag == tag
    assert samples(path)


@pytest.mark.parametrize("frames", [1, 2])
def test_clips_of_one_or_two_frames_are_written_as_hevc(
    clip: Clip, tmp_path: Path, frames: int
) -> None:
    """libx265 gives their packets arbitrary decoding times."""
    path = tmp_path / "out.mp4"
    part = {"duration": F(frames, 25)}
    convert_repeating(clip("yuv420p", SIZES[0]), path, "25", codec="hevc", encoder={}, reading=part)
    assert len(samples(path)) == frames * 96 * 64 * 3 // 2


@pytest.mark.parametrize("codec", ["av1", "vp9", "ffv1", "prores"])
def test_codecs_that_nobody_finds_in_a_transport_stream_are_refused(codec: str) -> None:
    with pytest.raises(OutputError, match="mpegts cannot hold"):
        chosen("ts", stream("yuv420p"), codec=codec)


@pytest.mark.parametrize("tag", ["hvc", "hvc12", "hvcé"])
def test_tags_have_four_characters(tag: str) -> None:
    with pytest.raises(OptionError, match="four characters, such as hvc1"):
        chosen("mp4", stream("yuv420p"), tag=tag)


def pairwise(*axes: list[Any]) -> list[tuple[Any, ...]]:
    """Return combinations in which every two values of different axes meet."""

    def pairs(row: tuple[Any, ...]) -> set[Any]:
        return set(combinations(enumerate(row), 2))

    rows = list(product(*axes))
    missing = set().union(*map(pairs, rows))
    found = []
    while missing:
        best = max(rows, key=lambda row: len(pairs(row) & missing))
        found.append(best)
        missing -= pairs(best)
    return found


def test_pairs_all_meet() -> None:
    rows = pairwise([1, 2, 3], ["a", "b"], [None, True])
    assert len(rows) == 6
    assert {(row[0], row[2]) for row in rows} == set(product([1, 2, 3], [None, True]))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Return what makes a lossless clip of smooth pictures; each is made once."""
    folder = tmp_path_factory.mktemp("clips")

    def make(pix_fmt: str, size: tuple[int, int]) -> Path:
        path = folder / f"{pix_fmt}-{size[0]}x{size[1]}.nut"
        if not path.exists():
            write(path, replace(stream(pix_fmt, size), color=ColorInfo()))
        return path

    return make


def write(path: Path, info: VideoInfo) -> None:
    with av.open(str(path), "w") as container:
        video = container.add_stream("rawvideo", rate=25)
        video.width, video.height, video.pix_fmt = info.width, info.height, info.pix_fmt
        for index in range(6):
            planes = [plane(shape, index, seed) for seed, shape in enumerate(info.layout)]
            picture = from_planes(tuple(planes), info)
            picture.pts, picture.time_base = index, F(1, 25)
            container.mux(video.encode(picture))
        container.mux(video.encode(None))


def shown(path: Path, size: tuple[int, int], *, rgb: bool) -> np.ndarray:
    """Return the first picture as ffmpeg decodes it: luma or green, from 0 to 1, cut to `size`."""
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        width, height = context.width, context.height
        made = av.VideoFormat(context.pix_fmt or "")
    assert 0 <= width - size[0] <= size[0] % 2
    assert 0 <= height - size[1] <= size[1] % 2
    assert made.is_rgb == rgb
    depth = made.components[0].bits
    name = None
    if rgb:  # planes instead of whole pixels
        depth, name = (16, "gbrp16le") if depth > 8 else (8, "gbrp")
    kind = np.uint16 if depth > 8 else np.uint8
    data = np.frombuffer(samples(path, pix_fmt=name), kind)[: width * height]
    return data.reshape(height, width)[: size[1], : size[0]] / (2**depth - 1)


def expected(info: VideoInfo, *, rgb: bool) -> np.ndarray:
    """Return the first picture of a clip as `shown` does."""
    planes = [
        plane(shape, 0, seed) / (2**shape.depth - 1) for seed, shape in enumerate(info.layout)
    ]
    if rgb or info.layout[0].role == "y":
        return planes[0]
    green, blue, red = planes[:3]
    return (16 + 219 * (0.299 * red + 0.587 * green + 0.114 * blue)) / 255


@pytest.mark.parametrize(
    ("pix_fmt", "name", "encoder", "size"), pairwise(SOME, CONTAINERS, ENCODERS, SIZES)
)
def test_outputs_are_decoded_by_ffmpeg(
    clip: Clip, tmp_path: Path, pix_fmt: str, name: str, encoder: str | None, size: tuple[int, int]
) -> None:
    check_output(clip, tmp_path, pix_fmt, name, encoder, size)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pix_fmt", "name", "encoder", "size"),
    list(product(PIX_FMTS, [*CONTAINERS, "ts", "m4v"], [*ENCODERS, "prores", "mpeg4"], SIZES)),
)
def test_all_outputs_are_decoded_by_ffmpeg(
    clip: Clip, tmp_path: Path, pix_fmt: str, name: str, encoder: str | None, size: tuple[int, int]
) -> None:
    check_output(clip, tmp_path, pix_fmt, name, encoder, size)


def check_output(
    clip: Clip, folder: Path, pix_fmt: str, name: str, encoder: str | None, size: tuple[int, int]
) -> None:
    """Encode a clip and compare what ffmpeg makes of it; a container may refuse a codec."""
    path = folder / f"out.{name}"
    options = {"preset": PRESETS[encoder]} if encoder in PRESETS else {}
    try:
        sink = convert_repeating(clip(pix_fmt, size), path, "25", codec=encoder, encoder=options)
    except OutputError as refusal:
        if encoder is not None and "cannot hold" in str(refusal):
            return
        raise
    settings = sink.mux_plan.settings
    info = stream(pix_fmt, size)
    if encoder is not None and pix_fmt in known_formats(av.Codec(encoder, "w")):
        assert settings.pix_fmt == pix_fmt
    rgb = any(shape.role == "r" for shape in settings.video.layout)
    error = shown(path, size, rgb=rgb) - expected(info, rgb=rgb)
    psnr = -10 * np.log10(np.mean(error**2) + 1e-12)
    assert psnr > (60 if settings.codec == "ffv1" else 33)
