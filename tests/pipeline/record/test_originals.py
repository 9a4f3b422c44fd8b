from __future__ import annotations

import subprocess
from dataclasses import replace
from fractions import Fraction as F
from pathlib import Path

import numpy as np
from support.tools import ffmpeg, make_clip

from ltxfilter import convert
from ltxfilter.frame import Frame, Made
from ltxfilter.options import InputOptions, Options, OutputOptions
from ltxfilter.pipeline.record.originals import Originals
from ltxfilter.pipeline.run import Run


def frame(number: int, code: int = 0, **more: object) -> Frame:
    planes = (np.full((4, 6), code, np.uint8), np.full((2, 3), code, np.uint8))
    return Frame(F(number, 25), planes, **more)  # type: ignore[arg-type]


def test_frames_with_the_samples_that_were_decoded_are_counted_as_identical():
    originals = Originals()
    arrived = list(originals.arriving(frame(n, n) for n in range(4)))
    changed = replace(arrived[2], planes=(arrived[2].planes[0], arrived[2].planes[1] + 1))
    repeated = replace(arrived[1], time=F(3, 50), made=Made.REPEATED)
    for each in (arrived[0], arrived[1], repeated, changed):
        originals.leaving(each)
    proof = originals.proof()
    assert (proof.decoded, proof.passed, proof.identical) == (4, 3, 2)


def test_the_digest_is_the_one_that_ffmpeg_finds(tmp_path: Path):
    clip = make_clip(tmp_path / "in.y4m", size="96x64", seconds=1)
    done = convert(clip, tmp_path / "out.y4m", fps="2x", engine="hold", report=tmp_path / "r.json")
    assert done.originals is not None
    command = ffmpeg("-v", "error", "-i", clip, "-f", "hash", "-hash", "sha256", "-")
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told.strip() == f"SHA256={done.originals.decoded_sha256}"
    assert (done.verified, done.altered) == (done.passed, 0) == (25, 0)


def test_nothing_is_digested_without_a_report(tmp_path: Path):
    clip = make_clip(tmp_path / "in.y4m", size="96x64", seconds=1)
    done = convert(clip, tmp_path / "out.y4m", engine="hold")
    assert done.originals is None
    assert done.verified == 0


def test_a_stage_that_changes_a_source_frame_is_found_out(tmp_path: Path):
    clip = make_clip(tmp_path / "in.y4m", size="96x64", seconds=1)
    options = Options(
        input=InputOptions(path=str(clip)),
        output=OutputOptions(path=str(tmp_path / "out.y4m")),
        engine="hold",
        report=str(tmp_path / "r.json"),  # type: ignore[arg-type]
    )
    with Run(options) as run:
        made = run.assembly.runner.draw

        def draws(item):  # type: ignore[no-untyped-def]
            frames = made(item)
            if item.window.index == 7:
                planes = tuple(plane ^ 1 for plane in frames[0].planes)
                frames[0] = replace(frames[0], planes=planes)
            return frames

        run.assembly.runner.draw = draws  # type: ignore[method-assign]
        done = run.go()
    assert done.altered == 1
    assert done.verified == done.passed - 1
