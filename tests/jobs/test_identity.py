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
    "scaled": ("mkv", ("--scale", "1.5x")),
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


def test_subtitles_chapters_and_tags_are_those_of_a_plain_run(tmp_path: Path) -> None:
    source = make(tmp_path / "plain.mkv", *X264)
    words = tmp_path / "words.srt"
    cues = (
        f"{n + 1}\n00:00:{2 * n:02},000 --> 00:00:{2 * n + 1:02},500\nword {n}\n" for n in range(12)
    )
    words.write_text("\n".join(cues))
    tags = tmp_path / "tags.txt"
    tags.write_text(
        ";FFMETADATA1\ntitle=Film\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=9\ntitle=One\n"
        "[CHAPTER]\nTIMEBASE=1/1\nSTART=9\nEND=24\ntitle=Two\n"
    )
    film = tmp_path / "film.mkv"
    joined = ffmpeg("-i", source, "-i", words, "-i", tags, "-map", "0", "-map", "1", "-c", "copy")
    chaptered = ("-map_metadata", "2", "-map_chapters", "2", "-c:s", "srt", film)
    assert run_pipe([*joined, *map(str, chaptered)]).codes == [0]
    common = ("-i", film, "--engine", "hold", "--fps", "24", *LOSSLESS)
    outputs = tmp_path / "a.mkv", tmp_path / "b.mkv"
    assert run_pipe(ltxfilter(*common, outputs[0])).codes == [0]
    cut = ltxfilter("--workers", "2", "--segment-seconds", "10", *common, outputs[1])
    assert run_pipe(cut).codes == [0]
    plain, joined_again = (everything(path) for path in outputs)
    assert plain == joined_again
    assert "word 11" in plain[0]
    assert "title=Two" in plain[1]


def everything(path: Path) -> tuple[str, str, str]:
    """Return the subtitles, the tags and chapters, and the packets of sound of a file."""
    asked = (
        ("-map", "0:s", "-f", "srt", "-"),
        ("-f", "ffmetadata", "-"),
        ("-map", "0:a", "-c", "copy", "-f", "framemd5", "-"),
    )
    commands = [ffmpeg("-i", path, *words) for words in asked]
    results = [
        subprocess.run(each, check=True, capture_output=True, text=True) for each in commands
    ]
    subtitles, tags, sound = (result.stdout for result in results)
    return subtitles, tags, sound


def test_auto_is_a_plain_run_where_workers_do_not_pay(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", *X264)
    words = ("--workers", "auto", "-i", source, "--engine", "hold", tmp_path / "out.mkv")
    result = run_pipe(ltxfilter(*words))  # two segments: too few for two workers
    assert result.codes == [0]
    assert "segments" not in result.err
