"""Damaged streams give the same frames on every run."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from support.media import decoded, make_video, md5

from ltxfilter.media.avframe import view
from ltxfilter.media.container import ContainerSource
from ltxfilter.media.container.repeatable import RepeatableDecoder
from ltxfilter.options import InputOptions

SIZE = (160, 128)
H264 = {"preset": "fast", "g": "24", "bf": "3"}
HEVC = {"preset": "ultrafast", "x265-params": "log-level=none:keyint=24:bframes=3"}


def frames_of(path: Path, threads: int | None) -> list[tuple[object, ...]]:
    """Return when each frame is shown, its samples and its marks; threads: None for the usual."""
    source = ContainerSource(InputOptions(path=str(path), threads=threads))
    frames = [
        (frame.time, md5(frame.planes), frame.corrupt, frame.lost) for frame in source.frames()
    ]
    source.close()
    return frames


def with_loss(path: Path, part: float, seed: int) -> Path:
    """Return a transport stream of which a part of the packets is missing."""
    rng = random.Random(seed)
    data = path.read_bytes()
    packets = [data[i : i + 188] for i in range(0, len(data), 188)]
    kept = [p for i, p in enumerate(packets) if i < 30 or rng.random() > part]
    path.write_bytes(b"".join(kept))
    return path


def with_flips(path: Path, count: int, seed: int) -> Path:
    """Return a file in whose middle some bits are turned over."""
    rng = random.Random(seed)
    data = bytearray(path.read_bytes())
    for _ in range(count):
        data[rng.randrange(len(data) // 8, len(data) * 7 // 8)] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("codec", "options", "suffix"),
    [
        ("libx264", H264, "ts"),
        ("libx265", HEVC, "ts"),
        ("mpeg2video", {"bf": "2", "g": "24"}, "ts"),
        ("libx264", H264, "mkv"),
        ("libx264", {**H264, "x264-params": "open-gop=1:bframes=5:b-pyramid=normal"}, "mkv"),
        ("libx265", HEVC, "mkv"),
        ("mpeg4", {"bf": "2", "g": "24"}, "avi"),
    ],
)
def test_damage_is_decoded_alike(
    tmp_path: Path, codec: str, options: dict[str, str], suffix: str, seed: int
) -> None:
    path = make_video(tmp_path / f"a.{suffix}", 120, size=SIZE, codec=codec, options=options)
    if suffix == "ts":
        with_loss(path, 0.02, seed)
    else:
        with_flips(path, 12, seed)
    first = frames_of(path, None if codec == "libx265" else 8)
    assert len(first) > 60
    for threads in (None, None, 1) if codec == "libx265" else (8, 8, 3, 2):
        assert frames_of(path, threads) == first


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", H264),
        ("libx265", HEVC),
        ("mpeg4", {"bf": "2"}),
        ("libvpx", {"lag-in-frames": "9"}),
    ],
)
def test_whole_streams_are_not_decoded_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, options: dict[str, str]
) -> None:
    suffix = "webm" if codec == "libvpx" else "mkv"
    path = make_video(tmp_path / f"a.{suffix}", 60, size=SIZE, codec=codec, options=options)
    again: list[object] = []
    monkeypatch.setattr(
        RepeatableDecoder, "_start_over", lambda _self, packet: again.append(packet) or []
    )
    frames = frames_of(path, 8)
    plain = list(decoded(path))
    source = ContainerSource(InputOptions(path=str(path)))
    layout = source.info.layout
    source.close()
    assert [digest for _, digest, _, _ in frames] == [md5(view(f, layout)) for f in plain]
    assert again in ([], [None])  # at the end of a stream with hidden frames


def test_threads_go_on_after_the_damage(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", 200, size=SIZE, options=H264)
    whole = frames_of(path, 8)
    data = bytearray(path.read_bytes())
    place = len(data) // 8
    data[place : place + 40] = bytes(40)
    path.write_bytes(data)
    source = ContainerSource(InputOptions(path=str(path), threads=8))
    decoder = source._decoder._packets._decoder
    careful = [(decoder._careful is not None, md5(f.planes)) for f in source.frames()]
    source.close()
    used = [one for one, _ in careful]
    assert any(used)
    assert not any(used[-60:])
    assert [digest for _, digest in careful][-60:] == [digest for _, digest, _, _ in whole][-60:]


def test_memory_of_a_long_stretch_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ltxfilter.media.container.repeatable.HISTORY_BYTES", 2000)
    path = make_video(tmp_path / "a.ts", 100, size=SIZE, options={**H264, "g": "50"})
    whole = frames_of(path, 4)
    assert len(whole) == 100
    with_loss(path, 0.02, 1)
    source = ContainerSource(InputOptions(path=str(path), threads=4))
    decoder = source._decoder._packets._decoder
    for _ in source.frames():
        assert sum(packet.size for packet in decoder._history.packets) <= 2000
    source.close()
    assert source.counts.frames > 50
