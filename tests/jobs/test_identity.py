"""Segments give what a plain run gives: the same frames, at the same times, with the same sound."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.tools import ffmpeg, ltxfilter, run_pipe

SECONDS = 24  # of most inputs: two reset points
RATE = 12  # frames per second of most inputs, few so that the tests are fast
LOSSLESS = ("-c:v", "libx264", "-qp", "0", "-preset", "ultrafast")
PICTURE = "testsrc2=s=64x48"


def make(path: Path, *output: object, rate: str = str(RATE), graph: str = "") -> Path:
    """Write an input with sound."""
    picture = f"{PICTURE}:r={rate}:d={SECONDS}{graph}"
    sound = f"sine=d={SECONDS}"
    command = ffmpeg("-y", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, *output, path)
    subprocess.run(command, check=True)
    return path


X264 = ("-c:v", "libx264", "-g", "40", "-bf", "3", "-c:a", "aac")
INPUTS: dict[str, tuple[str, Sequence[object], str, str]] = {
    # name: file, ffmpeg's options, rate, what is added to the graph
    "mkv": ("in.mkv", X264, "12", ""),
    "mp4 with an edit list": ("in.mp4", X264, "12", ""),
    "ts": ("in.ts", (*X264, "-muxdelay", "0"), "12", ""),
    "long groups of pictures": ("in.mkv", (*X264, "-g", "999"), "12", ""),
    "open groups of pictures": ("in.mkv", (*X264, "-x264-params", "open-gop=1"), "12", ""),
    "hevc": ("in.mkv", ("-c:v", "libx265", "-x265-params", "log-level=0:keyint=30"), "12", ""),
    "10 bit": ("in.mkv", (*X264, "-pix_fmt", "yuv420p10le"), "12", ""),
    "variable rate": (
        "in.mkv",
        (*X264, "-fps_mode", "vfr"),
        "12",
        ",select='lt(mod(n\\,7)\\,4)'",
    ),
    "duplicates": ("in.mkv", X264, "4", ",fps=12"),
    "ntsc": ("in.mkv", X264, "24000/1001", ""),
    "intra refresh": ("in.mkv", (*X264, "-bf", "0", "-x264-params", "intra-refresh=1"), "12", ""),
    "avi": ("in.avi", ("-c:v", "mpeg4", "-g", "40", "-bf", "2", "-c:a", "mp2"), "12", ""),
    "mpeg-2": ("in.mpg", ("-c:v", "mpeg2video", "-bf", "2", "-c:a", "mp2"), "25", ""),
    "interlaced": ("in.mkv", (*X264, "-flags", "+ildct+ilme"), "25", ",setfield=tff"),
    "y4m": ("in.y4m", ("-an", "-pix_fmt", "yuv420p"), "12", ""),
    "headerless h264": ("in.h264", ("-an", *X264[:-2]), "12", ""),
}
OPTIONS: dict[str, tuple[str, Sequence[object]]] = {
    # name: the input, ltxfilter's options
    "flow": ("mkv", ("--engine", "flow")),
    "slower": ("mkv", ("--speed", "0.5")),
    "faster": ("mkv", ("--speed", "1.5")),
    "redraw over a border": ("mkv", ("--redraw", "9.9:10.3,15:15.4")),
    "redraw at the beginning": ("mkv", ("--redraw", "0:0.2")),
    "smooth": ("duplicates", ("--repeats", "smooth")),
    "from the middle": ("mkv", ("-ss", "1.3", "-t", "21")),
    "intervals halved": ("variable rate", ("--fps", "source")),
    "without cuts": ("mkv", ("--no-cuts",)),
}
CASES = {
    **{name: (name, ()) for name in INPUTS},
    **OPTIONS,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return where each input is, made when it is first needed."""
    return {name: tmp_path_factory.mktemp("in") / INPUTS[name][0] for name in INPUTS}


def decoded(path: Path) -> str:
    """Return the times and digests of a file's frames, and of its other packets."""
    command = ffmpeg("-i", path, "-map", "0:v", "-fps_mode", "passthrough", "-f", "framemd5", "-")
    frames = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    command = ffmpeg("-i", path, "-map", "0:a", "-c", "copy", "-f", "framemd5", "-")
    sound = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    return frames + sound


@pytest.mark.parametrize("case", CASES)
def test_segments_give_the_same_frames_and_sound(
    case: str, inputs: dict[str, Path], tmp_path: Path
) -> None:
    name, options = CASES[case]
    path = inputs[name]
    if not path.exists():
        _, output, rate, graph = INPUTS[name]
        make(path, *output, rate=rate, graph=graph)
    engine = () if "--engine" in options else ("--engine", "blend")
    fps = () if "--fps" in options else ("--fps", "25")
    before = [word for word in options if word in ("-ss", "-t")]
    trim, rest = (options, ()) if before else ((), options)
    common = [*trim, "-i", path, *fps, *engine, *rest, *LOSSLESS]
    plain, cut = tmp_path / "plain.mkv", tmp_path / "cut.mkv"
    results = [
        run_pipe(ltxfilter(*common, plain)),
        run_pipe(ltxfilter("--workers", "2", "--segment-seconds", "10", *common, cut)),
    ]
    assert [result.codes for result in results] == [[0], [0]], results[-1].err
    assert decoded(plain) == decoded(cut)
    counts = [
        next(line for line in result.err.splitlines() if line.startswith("ltxfilter: in "))
        for result in results
    ]
    assert counts[0] == counts[1]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["cut.mkv", "plain.mkv"]
