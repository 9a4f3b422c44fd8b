"""What goes into an output's header, and outputs that must not be written."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import pytest
from support.media import (
    convert_repeating,
    ramp,
    shown,
)
from support.tools import TIMEOUT, ffmpeg

import ltxfilter

F = Fraction


def test_sample_aspect_goes_along_or_is_missed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, width=64, height=48)
        stream.codec_context.sample_aspect_ratio = F(4, 3)
        for index in range(5):
            frame = ramp(index, (64, 48))
            frame.pts, frame.time_base = index, F(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for suffix in ("mp4", "mkv", "ts", "mov"):
        convert_repeating(path, tmp_path / f"out.{suffix}", "50")
        with av.open(str(tmp_path / f"out.{suffix}")) as container:
            assert container.streams.video[0].sample_aspect_ratio == F(4, 3)
    assert "pixels are" not in caplog.text
    convert_repeating(path, tmp_path / "out.webm", "50", codec="libvpx-vp9", encoder={"b": "1M"})
    assert "libvpx-vp9 cannot say here that pixels are 4/3 wide" in caplog.text


@pytest.mark.parametrize("frames", [10, 16, 22, 25])
def test_keyframes_of_a_copied_video_cost_no_frame(tmp_path: Path, frames: int) -> None:
    source, out = tmp_path / "in.mkv", tmp_path / "out.mp4"
    pictures = [("-f", "lavfi", "-i", f"testsrc2=s={size}:r=25") for size in ("64x48", "32x32")]
    coding = ("-map", 0, "-map", 1, "-frames:v", frames, "-c:v", "libx264", "-g:v:1", 1)
    words = ffmpeg(*pictures[0], *pictures[1], *coding, source)
    subprocess.run(words, check=True, timeout=TIMEOUT)
    ltxfilter.convert(source, out, engine="hold", fps="50")
    assert len(shown(out).times) == 2 * frames
