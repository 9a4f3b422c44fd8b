"""Containers as sinks: what is refused, outputs that fail, outputs that are not finished."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import pytest
from support.media import convert_repeating, decoded, make_video, repeating

from ltxfilter.errors import InputError, OptionError, OutputError
from ltxfilter.media.container import ContainerSink, ContainerSource
from ltxfilter.options import InputOptions, OutputOptions

F = Fraction


DENSE = {"qp": "10", "g": "10", "preset": "ultrafast"}


def test_existing_output_is_kept_unless_told(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mp4")
    out = tmp_path / "out.mp4"
    out.write_text("precious")
    with pytest.raises(OutputError, match=r"out\.mp4 already exists; add -y to overwrite it"):
        convert_repeating(path, out)
    assert out.read_text() == "precious"
    convert_repeating(path, out, overwrite=True)
    assert len(list(decoded(out))) == 20
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


@pytest.mark.parametrize(
    ("writing", "message"),
    [
        ({"codec": "nosuch"}, "-c:v nosuch: FFmpeg has no such encoder"),
        ({"codec": "aac"}, "-c:v aac: is not a video encoder"),
        ({"encoder": {"crf": "abc"}}, "libx264 does not take -crf abc"),
        ({"encoder": {"preset": "warp"}}, "libx264 does not take -preset warp"),
        ({"encoder": {"nosuch": "1"}}, "libx264 has no option nosuch"),
        ({"encoder": {"q": "x"}}, "-q x"),
        ({"pix_fmt": "yuv420p12le"}, "-pix_fmt yuv420p12le: libx264 takes"),
        ({"pix_fmt": "nosuch"}, "-pix_fmt nosuch"),
        ({"color": {"colorspace": "nosuch"}}, "-colorspace nosuch"),
        ({"codec": "libx265", "encoder": {"x265-params": "nosuch=1"}}, "nosuch"),
    ],
)
def test_options_that_mean_nothing_are_named(
    tmp_path: Path, writing: dict[str, object], message: str
) -> None:
    path = make_video(tmp_path / "in.mp4")
    with pytest.raises(OptionError) as caught:
        convert_repeating(path, tmp_path / "out.mp4", **writing)
    assert message in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.nosuch", "its ending names no format"),
        ("out.dv", "no usual video encoder for dv"),
        ("missing/out.mp4", "cannot be written: No such file or directory"),
    ],
)
def test_outputs_that_cannot_be_are_refused_at_once(
    tmp_path: Path, name: str, message: str
) -> None:
    path = make_video(tmp_path / "in.mp4")
    with pytest.raises(OutputError, match=message):
        convert_repeating(path, tmp_path / name, codec=None)


def test_encoder_that_the_container_cannot_hold(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mp4")
    with pytest.raises(OutputError, match="webm cannot hold h264 video"):
        convert_repeating(path, tmp_path / "out.webm")
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


@pytest.mark.parametrize("muxer", ["matroska", "mp4", "mpegts"])
def test_full_disk_is_one_error(tmp_path: Path, muxer: str) -> None:
    path = make_video(tmp_path / "in.mp4", 60, options=DENSE, audio=True)
    with pytest.raises(OutputError, match="/dev/full: cannot be written: No space left on device"):
        convert_repeating(path, "/dev/full", "50", format=muxer)


def test_disk_that_fills_up_keeps_the_part_file(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mp4", 200, size=(320, 240), options=DENSE)
    script = f"""
import resource, signal, sys
sys.path[:0] = {sys.path!r}
from support.media import convert_repeating
from ltxfilter.errors import OutputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    lossless = {{"qp": "0", "preset": "ultrafast"}}
    convert_repeating({str(path)!r}, {str(tmp_path / "out.mkv")!r}, "50", encoder=lossless)
except OutputError as error:
    print(error, file=sys.stderr)
    sys.exit(4)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 4, done.stderr
    assert "out.mkv: cannot be written: File too large" in done.stderr
    assert not (tmp_path / "out.mkv").exists()
    assert 5 < sum(1 for _ in _readable(tmp_path / "out.mkv.part")) < 400


def _readable(path: Path):
    with av.open(str(path)) as container:
        try:
            yield from container.decode(video=0)
        except av.FFmpegError:
            return


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_killed_run_leaves_a_readable_part(tmp_path: Path, suffix: str) -> None:
    path = make_video(tmp_path / "in.mp4", 100, size=(128, 96), options=DENSE)
    script = f"""
import os, signal, sys
sys.path[:0] = {sys.path!r}
from fractions import Fraction
from support.media import write_repeating
from ltxfilter.media.container import ContainerSink, ContainerSource
from ltxfilter.options import InputOptions, OutputOptions
source = ContainerSource(InputOptions(path={str(path)!r}))
encoder = {{"preset": "ultrafast", "g": "20"}}
options = OutputOptions(path={str(tmp_path / ("out." + suffix))!r}, encoder=encoder)
write_repeating(source, ContainerSink(options, source, Fraction(50)), Fraction(50), limit=150)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / f"out.{suffix}").exists()
    assert sum(1 for _ in _readable(tmp_path / f"out.{suffix}.part")) >= 100


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_unfinished_output_is_completed_and_said(tmp_path: Path, suffix: str) -> None:
    path = make_video(tmp_path / "in.mp4", 60, options=DENSE, audio=True)
    source = ContainerSource(InputOptions(path=str(path)))
    out = tmp_path / f"out.{suffix}"
    sink = ContainerSink(OutputOptions(path=str(out), encoder=DENSE), source, F(50))
    for index, frame in enumerate(repeating(source, F(50))):
        sink.write(frame)
        if index == 74:
            break
    said = sink.close()
    source.close()
    assert said == f"{out}.part holds the first 1.500 s"
    assert sink.close() is None
    assert not out.exists()
    assert len(list(decoded(f"{out}.part"))) == 75
    with av.open(f"{out}.part") as container:
        sound = [p.pts * p.time_base for p in container.demux(audio=0) if p.pts is not None]
    assert F("1.3") < sound[-1] - sound[0] < F("1.6")


def test_nothing_written_leaves_nothing(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mp4")
    source = ContainerSource(InputOptions(path=str(path)))
    options = OutputOptions(path=str(tmp_path / "out.mp4"))
    assert ContainerSink(options, source, F(50)).close() is None
    with pytest.raises(InputError, match="no video frames"):
        ContainerSink(options, source, F(50)).finish()
    source.close()
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_downstream_that_leaves_is_a_broken_pipe(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mp4", 60)
    reader, writer = os.pipe()
    os.close(reader)
    source = ContainerSource(InputOptions(path=str(path)))
    with os.fdopen(writer, "wb", buffering=0) as file:
        sink = ContainerSink(
            OutputOptions(codec="rawvideo"), source, F(50), file=file, format="nut"
        )
        with pytest.raises(BrokenPipeError):
            list(map(sink.write, repeating(source, F(50))))
        assert sink.close() is None
    source.close()


def test_one_frame_is_enough(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mp4", 1)
    convert_repeating(path, tmp_path / "out.mp4", "50")
    assert len(list(decoded(tmp_path / "out.mp4"))) == 2


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_an_index_is_moved_to_the_front_of_the_file(tmp_path: Path, suffix: str) -> None:
    """Libav's muxer reads what it wrote for that."""
    out = tmp_path / f"o:u t.{suffix}"
    convert_repeating(make_video(tmp_path / "in.mp4"), out, muxer={"movflags": "+faststart"})
    data = out.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert len(list(decoded(out))) == 20
