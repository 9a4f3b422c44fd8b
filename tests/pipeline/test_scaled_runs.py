"""Whole runs with --scale: sizes in files and on pipes, source frames, memory and reports."""

from __future__ import annotations

import json
from fractions import Fraction as F
from pathlib import Path

import av
import numpy as np
import pytest
from support.media import audio_packets, decoded, make_video
from support.tools import ltxfilter, make_clip, run_pipe, samples

import ltxfilter as package
from ltxfilter.cli.commands import probe
from ltxfilter.errors import OptionError
from ltxfilter.frame import Frame, VideoInfo
from ltxfilter.media.avframe import view
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.media.raw.y4m import parse_header
from ltxfilter.media.scaling.frame_scaler import FrameScaler
from ltxfilter.options import InputOptions, Options, OutputOptions
from ltxfilter.pipeline.run import Run
from ltxfilter.values import MIB

LOSSLESS = {"codec": "ffv1"}
FAST = ("--engine", "blend", "--fps", "50")


def picture_sizes(path: Path) -> set[tuple[int, int]]:
    return {(picture.width, picture.height) for picture in decoded(path)}


@pytest.mark.parametrize("engine", ["flow", "blend", "hold", "auto"])
def test_source_frames_are_scaled_and_stay_in_their_places(tmp_path: Path, engine: str) -> None:
    clip = make_video(tmp_path / "in.mkv", 6, size=(63, 47), pix_fmt="yuv444p", audio=True)
    target = tmp_path / "out.mkv"
    package.convert(clip, target, fps=50, engine=engine, scale=1.5, video=LOSSLESS)
    made = list(decoded(target))
    info = VideoInfo(63, 47, "yuv444p", plane_shapes("yuv444p", 63, 47), F(25))
    scaler = FrameScaler(info, F(3, 2))
    assert len(made) == 12
    for before, after in zip(decoded(clip), made[::2], strict=True):
        wanted = scaler.scaled(Frame(F(0), view(before, info.layout))).planes
        assert all(map(np.array_equal, view(after, scaler.info.layout), wanted))
    assert audio_packets(target) == audio_packets(clip)


@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p", "yuv422p10le", "yuv444p12le", "gray", "gbrp10le", "yuva420p", "bgra"]
)
def test_every_pixel_format_is_written_at_the_new_size(tmp_path: Path, pix_fmt: str) -> None:
    clip = make_video(tmp_path / "in.mkv", 3, size=(46, 30), codec="ffv1", pix_fmt=pix_fmt)
    target = tmp_path / "out.mkv"
    package.convert(clip, target, fps=50, engine="blend", scale="2x", video=LOSSLESS)
    assert picture_sizes(target) == {(92, 60)}


def test_the_sample_aspect_stays(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", "-vf", "setsar=32/27", "-c:v", "libx264", seconds=0.2)
    target = tmp_path / "out.mkv"
    package.convert(clip, target, fps=50, engine="blend", scale=2)
    with av.open(str(target)) as container:
        assert container.streams.video[0].sample_aspect_ratio == F(32, 27)


def test_headers_of_pipes_say_the_new_size(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.y4m", "-pix_fmt", "yuv420p", size="63x47", seconds=0.2)
    piped = run_pipe(ltxfilter(*FAST, "--scale", "1.5x"), stdin=clip.read_bytes())
    header = parse_header(piped.out.partition(b"\n")[0], "stdout")
    assert (header.width, header.height) == (94, 70)
    assert len(samples(piped.out)) == 10 * 94 * 70 * 3 // 2


@pytest.mark.parametrize("pix_fmt", ["nv12", "yuv420p", "rgb24", "gray10le"])
def test_headerless_frames_have_the_new_size(tmp_path: Path, pix_fmt: str) -> None:
    raw = ("-f", "rawvideo", "-s", "64x48", "-pix_fmt", pix_fmt, "-r", "25")
    clip = make_clip(tmp_path / "in.yuv", "-f", "rawvideo", "-pix_fmt", pix_fmt, seconds=0.2)
    command = ltxfilter(*raw, "-f", "rawvideo", *FAST, "--scale", "2x")
    piped = run_pipe(command, stdin=clip.read_bytes())
    assert len(piped.out) == 2 * 4 * clip.stat().st_size
    target = tmp_path / "larger.yuv"
    target.write_bytes(piped.out)
    larger = samples(target, *raw[:2], "-s", "128x96", "-pix_fmt", pix_fmt, pix_fmt="gray")
    smaller = samples(clip, *raw[:6], pix_fmt="gray")
    first = np.frombuffer(larger, np.uint8)[: 128 * 96].reshape(96, 128)
    source = np.frombuffer(smaller, np.uint8)[: 64 * 48].reshape(48, 64)
    blocks = first.reshape(48, 2, 64, 2).mean((1, 3))
    assert np.abs(blocks - source).mean() < 4


def test_memory_counts_the_scaled_frames_and_holds(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "in.mkv", 3, size=(640, 360))
    options = Options(
        input=InputOptions(path=str(clip)),
        output=OutputOptions(path=str(tmp_path / "out.mkv"), scale=F(2), overwrite=True),
        engine="blend",
        memory=400 * MIB,
    )
    with Run(options) as run:
        parts = run.opening.memory
        assert parts["scale"] == 640 * 360 * 3 // 2 * (1 + 3 * 4)
        assert run.opening.lines == (
            "scaled by swscale's Lanczos, source frames too: 640x360 -> 1280x720",
        )
        run.go()
    with (
        pytest.raises(OptionError, match="--memory 100M is too little"),
        Run(Options(input=options.input, output=options.output, memory=100 * MIB)),
    ):
        pass


def test_without_scale_nothing_is_counted_or_said(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "in.mkv", 3)
    options = Options(
        input=InputOptions(path=str(clip)), output=OutputOptions(path=str(tmp_path / "out.mkv"))
    )
    with Run(options) as run:
        assert "scale" not in run.opening.memory
        assert run.opening.lines == ()


def test_the_plan_says_the_new_size(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "in.mkv", 3, size=(64, 48))
    output = OutputOptions(path=str(tmp_path / "out.mkv"), scale=F(3, 2))
    lines = list(
        probe.describe(
            probe.plan(Options(input=InputOptions(path=str(clip)), output=output, fps="50"))
        )
    )
    assert lines[1].startswith("output: 96x72, 50 fps, 6 frames")


@pytest.mark.parametrize("workers", [None, 1])
def test_reports_say_the_new_size_and_what_was_compared(tmp_path: Path, workers: int) -> None:
    clip = make_video(tmp_path / "in.mkv", 3, size=(64, 48))
    reports = tmp_path / "r.json", tmp_path / "r.html"
    package.convert(
        clip, tmp_path / "out.mkv", fps=50, engine="blend", scale=2, report=reports, workers=workers
    )
    found = json.loads(reports[0].read_text())
    assert (found["output"]["width"], found["output"]["height"]) == (128, 96)
    assert (found["statistics"]["verified"], found["statistics"]["altered"]) == (3, 0)
    page = reports[1].read_text()
    assert "before all frames are scaled to 128 x 96" in page


def test_untagged_sd_is_tagged_so_that_its_colours_stay(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", "-c:v", "libx264", size="16x480", seconds=0.2)
    target = tmp_path / "out.mkv"
    package.convert(clip, target, fps=50, engine="blend", scale=2)
    assert {int(picture.colorspace) for picture in decoded(clip)} == {2}
    assert {int(picture.colorspace) for picture in decoded(target)} == {6}


def test_a_picture_that_would_be_too_large_leaves_no_file(tmp_path: Path) -> None:
    source = b"YUV4MPEG2 W8192 H4352 F25:1 Ip A1:1 Cmono\nFRAME\n" + bytes(8192 * 4352)
    clip = tmp_path / "in.y4m"
    clip.write_bytes(source)
    with pytest.raises(OptionError, match="--scale 2x: a picture of 16384x8704 is over the limit"):
        package.convert(clip, tmp_path / "out.mkv", engine="blend", scale=2, memory="8G")
    assert not list(tmp_path.glob("out*"))
