"""`ltx-keyframe` and `ltx-temporal` from the command line, in pipes and files."""

from __future__ import annotations

from fractions import Fraction as F

import pytest

torch = pytest.importorskip("torch", reason="the LTX extra is not installed")
pytest.importorskip("ltx_core", reason="the LTX extra is not installed")

from support import tiny_ltx
from support.ltx import flags
from support.tools import ffmpeg, ltxfilter, make_clip, run_pipe, samples

from ltxfilter.values import round_half_up

EVERY = pytest.mark.parametrize("name", ["ltx-keyframe", "ltx-temporal"])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tiny_ltx.build(tmp_path_factory.mktemp("ltx"))


@EVERY
@pytest.mark.parametrize(
    ("source", "target", "step"),
    [("25", "50", 2), ("25", "60", 12), ("24000/1001", "60000/1001", 5)],
)
def test_by_pipe_source_frames_are_untouched(name, models, tmp_path, source, target, step):
    """Every `step`-th output frame is a source frame, `apart` source frames after the last one."""
    clip = make_clip(tmp_path / "in.mkv", "-c:v", "ffv1", size="64x48", rate=source, seconds=1.2)
    result = run_pipe(
        ffmpeg("-i", clip, "-f", "yuv4mpegpipe", "-"),
        ltxfilter("--engine", name, "--fps", target, *flags(models, name)),
    )
    assert result.codes == [0, 0], result.err
    assert "0 by a fallback" in result.err or "fallback" not in result.err
    size = 64 * 48 * 3 // 2
    before, after = samples(clip), samples(result.out)
    count = len(after) // size
    assert count == round_half_up(len(before) // size * F(target) / F(source))
    apart = round(step * F(source) / F(target))
    originals = [before[n * size : (n + 1) * size] for n in range(0, len(before) // size, apart)]
    shown = [after[n * size : (n + 1) * size] for n in range(0, count, step)]
    assert shown == originals[: len(shown)]
    assert len(set(shown)) > 3


@EVERY
def test_from_file_to_file(name, models, tmp_path):
    clip = make_clip(tmp_path / "in.mp4", size="64x48", rate="25", seconds=1)
    out = tmp_path / "out.mkv"
    spec = f"{name}:batch=2" + (":text_memory=0.01" if name == "ltx-keyframe" else "")
    arguments = ["-i", clip, "--engine", spec, *flags(models, spec), "-c:v", "ffv1", out]
    result = run_pipe(ltxfilter(*arguments))
    assert result.codes == [0], result.err
    size = 64 * 48 * 3 // 2
    before, after = samples(clip), samples(out)
    assert len(after) == 2 * len(before)
    for n in range(25):
        assert after[2 * n * size : (2 * n + 1) * size] == before[n * size : (n + 1) * size]
