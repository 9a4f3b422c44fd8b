"""Transport streams joined end to end: the clock starts anew, the video goes on."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from support.tools import ffmpeg, ltxfilter, make_clip, run_pipe

from ltxfilter.api import convert
from ltxfilter.errors import LtxFilterError
from ltxfilter.media.container.open_video import Trim
from ltxfilter.media.container.timing.packet_timing import scan
from ltxfilter.options import InputOptions


def part(path: Path, seconds: int, size: str = "96x64") -> bytes:
    """Return a transport stream with sound, whose clock starts where FFmpeg's always does."""
    silent = make_clip(
        path.with_suffix(".mp4"), "-c:v", "libx264", "-g", "25", size=size, seconds=seconds
    )
    sound = ["-f", "lavfi", "-i", f"sine=d={seconds}", "-c:v", "copy", "-c:a", "aac", "-y", path]
    assert run_pipe(ffmpeg("-i", silent, *sound)).codes == [0]
    return path.read_bytes()


@pytest.fixture
def joined(tmp_path: Path) -> Path:
    path = tmp_path / "joined.ts"
    path.write_bytes(part(tmp_path / "a.ts", 1) + part(tmp_path / "b.ts", 2))
    return path


def spans(path: Path) -> dict[str, float]:
    """Return the seconds from the first to the last packet of each kind of stream."""
    found: dict[str, list[float]] = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.pts is not None:
                found.setdefault(packet.stream.type, []).append(
                    float(packet.pts * packet.time_base)
                )
    return {kind: max(times) - min(times) for kind, times in found.items()}


@pytest.mark.parametrize("kind", ["mkv", "mp4", "ts"])
def test_nothing_is_lost_after_the_join(joined, kind, tmp_path, caplog):
    progress = convert(joined, tmp_path / f"out.{kind}", engine="blend", cuts=False)
    assert (progress.frames_in, progress.frames_out) == (75, 150)
    assert caplog.text.count("its clock jumps at") == 1
    lasting = spans(tmp_path / f"out.{kind}")
    assert lasting["video"] == pytest.approx(3, abs=0.03)
    assert lasting["audio"] == pytest.approx(3, abs=0.1)


def test_a_pipe_goes_on_as_well(joined, tmp_path):
    cat = ["cat", str(joined)]
    done = run_pipe(
        cat, ltxfilter("--engine", "hold", "-f", "nut", "-"), ffmpeg("-i", "-", "-f", "null", "-")
    )
    assert done.codes == [0, 0, 0]
    assert "in 75, out 150" in done.err


def test_the_plan_knows(joined):
    found = scan(InputOptions(path=str(joined)))
    assert found is not None
    times = found.frame_times(found.cadence, Trim(Fraction(0)))
    assert times is not None
    assert (len(times.times), found.cadence.rate, times.duration) == (75, 25, 3)


def test_another_size_after_the_join_is_scaled_and_never_mixed(tmp_path, caplog):
    path = tmp_path / "joined.ts"
    path.write_bytes(part(tmp_path / "a.ts", 1) + part(tmp_path / "b.ts", 1, "64x48"))
    progress = convert(path, tmp_path / "out.mkv", engine="blend", cuts=False)
    assert progress.frames_in >= 49
    assert progress.frames_out == 2 * progress.frames_in or progress.frames_out == 100
    assert "scaled to the first size" in caplog.text
    with av.open(str(tmp_path / "out.mkv")) as container:
        sizes = {(frame.width, frame.height) for frame in container.decode(video=0)}
    assert sizes == {(96, 64)}


def test_one_wild_stamp_is_not_another_clock(tmp_path):
    """A packet stamped far away moves the clock there and the next one moves it back."""
    data = bytearray(part(tmp_path / "a.ts", 2))
    for at in range(188 * 200, len(data), 188):
        pid = (data[at + 1] & 0x1F) << 8 | data[at + 2]
        if pid == 0x100 and data[at + 1] & 0x40:  # a picture begins here
            pes = data.find(b"\0\0\1\xe0", at, at + 188)
            data[pes + 10] ^= 0x20  # of its presentation time
            break
    (tmp_path / "wild.ts").write_bytes(data)
    try:
        progress = convert(tmp_path / "wild.ts", tmp_path / "out.mkv", engine="hold", cuts=False)
    except LtxFilterError as error:
        pytest.fail(str(error))
    assert progress.frames_in >= 48
    assert abs(progress.frames_out - 100) <= 2
