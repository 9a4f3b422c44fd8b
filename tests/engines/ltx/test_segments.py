"""An LTX engine in segments: the same frames as in one run."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the LTX extra is not installed")
pytest.importorskip("ltx_core", reason="the LTX extra is not installed")

from support import tiny_ltx
from support.jobs import digests
from support.tools import ltxfilter, make_clip, run_pipe


@pytest.mark.parametrize(
    "name", ["ltx-temporal", pytest.param("ltx-motion", marks=pytest.mark.slow)]
)
def test_segments_give_the_same_frames(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "models"
    folder.mkdir()
    models = tiny_ltx.build(folder)
    clip = make_clip(tmp_path / "in.mkv", "-g", "9", size="64x48", rate="1", seconds=13)
    flags = [
        "--checkpoint", models.checkpoint, "--temporal-upsampler", models.temporal_upsampler,
        "--device", "cpu", "-i", clip, "--engine", name, "--fps", "2", "-c:v", "ffv1",
    ]  # fmt: skip
    plain, cut = tmp_path / "plain.mkv", tmp_path / "cut.mkv"
    assert run_pipe(ltxfilter(*flags, plain)).codes == [0]
    words = ("--resume", "--workers", "2", "--segment-seconds", "10")
    result = run_pipe(ltxfilter(*words, *flags, cut))
    assert result.codes == [0], result.err
    assert "2 planned" in result.err
    assert digests(cut) == digests(plain)
