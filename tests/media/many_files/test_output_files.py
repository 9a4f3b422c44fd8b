"""Outputs of many files: numbered pictures, HLS, DASH and segments, and how they end."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from support.media import convert_repeating, make_video, write_repeating
from support.tools import ffmpeg

from ltxfilter.errors import LtxFilterError, OutputError
from ltxfilter.media.container import ContainerSink, ContainerSource
from ltxfilter.media.output_file import Descriptor
from ltxfilter.options import InputOptions, Options, OutputOptions
from ltxfilter.pipeline.run import Run
from ltxfilter.pipeline.run_files import check_files

KEYED = {"preset": "ultrafast", "g": "10"}  # an I-frame every 10 frames, 0.2 s at 50 fps


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return half a second of video with sound."""
    return make_video(tmp_path_factory.mktemp("many") / "in.mp4", 13, audio=True)


def pictures(pattern: Path) -> Iterator[av.VideoFrame]:
    with av.open(str(pattern), format="image2") as container:
        yield from container.decode(video=0)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


SEGMENTED: dict[str, tuple[str, dict[str, Any]]] = {
    "hls": ("v.m3u8", {"muxer": {"hls_time": "0.1"}}),
    "fragments": ("v.m3u8", {"muxer": {"hls_time": "0.1", "hls_segment_type": "fmp4"}}),
    "dash": ("v.mpd", {"muxer": {"seg_duration": "0.1"}}),
    "segment": ("v%03d.mkv", {"format": "segment", "muxer": {"segment_time": "0.1"}}),
}


def test_numbered_pictures_hold_the_frames(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mkv", 5, codec="ffv1", pix_fmt="bgr0")
    convert_repeating(path, tmp_path / "%04d.png", "50", codec=None, encoder={})
    assert [name for name in names(tmp_path) if name != "in.mkv"] == [
        f"{n:04d}.png" for n in range(1, 11)
    ]
    with av.open(str(path)) as container:
        before = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    after = [frame.to_ndarray() for frame in pictures(tmp_path / "%04d.png")]
    for number, picture in enumerate(before):
        np.testing.assert_array_equal(after[2 * number], picture)


def test_start_number_names_the_first_picture(clip: Path, tmp_path: Path) -> None:
    convert_repeating(
        clip, tmp_path / "%d.png", "25", codec=None, encoder={}, muxer={"start_number": "1001"}
    )
    assert names(tmp_path)[0] == "1001.png"


@pytest.mark.parametrize("kind", SEGMENTED)
def test_segments_are_complete_and_in_order(clip: Path, tmp_path: Path, kind: str) -> None:
    """The playlist that ffmpeg reads back has all frames, and sound."""
    name, options = SEGMENTED[kind]
    convert_repeating(clip, tmp_path / name, "50", encoder=KEYED, **options)
    assert not [name for name in names(tmp_path) if ".part" in name or ".tmp" in name]
    assert len(names(tmp_path)) > 2
    if kind == "segment":
        listed = "".join(f"file '{path}'\n" for path in sorted(tmp_path.glob("v*.mkv")))
        name = "all.ffconcat"
        (tmp_path / name).write_text(f"ffconcat version 1.0\n{listed}")
    command = ffmpeg("-i", name, "-map", "0:v", "-map", "0:a", "-f", "framecrc", "-")
    if kind == "segment":
        command[command.index("-i") : command.index("-i")] = ["-safe", "0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert len([line for line in lines if line.startswith("0,")]) == 26
    assert [line for line in lines if line.startswith("1,")]


def test_a_playlist_is_read_where_its_format_is_named(clip: Path, tmp_path: Path) -> None:
    convert_repeating(clip, tmp_path / "v.m3u8", "50", encoder=KEYED, muxer={"hls_time": "0.1"})
    reading = InputOptions(path=str(tmp_path / "v.m3u8"), format="hls")
    with closing(ContainerSource(reading)) as source:
        assert len(list(source.frames())) == 26


@pytest.mark.parametrize(
    ("name", "existing", "options"),
    [
        ("%03d.png", ["007.png"], {"codec": None, "encoder": {}}),
        ("v.m3u8", ["v0.ts", "v1.ts"], {}),
        ("v.mpd", ["init-stream0.m4s"], {}),
        ("v%d.ts", ["v3.ts"], {"format": "segment"}),
    ],
)
def test_what_exists_is_refused_before_any_work_and_replaced_on_request(
    clip: Path, tmp_path: Path, name: str, existing: list[str], options: dict[str, Any]
) -> None:
    for old in existing:
        (tmp_path / old).write_bytes(b"old")
    with pytest.raises(OutputError, match=r"already; add -y to overwrite"):
        convert_repeating(clip, tmp_path / name, "50", **options)
    assert names(tmp_path) == existing
    convert_repeating(clip, tmp_path / name, "50", overwrite=True, **options)
    if name != "v.m3u8":  # its one segment is v0.ts
        existing = existing[:1] if "png" in name else []
    assert all((tmp_path / old).read_bytes() != b"old" for old in existing[:1])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nowhere/%d.png", {}, "there is no folder .*nowhere; make it first"),
        ("a.png", {}, r"a.png: is one picture; name them by number: .*a%06d.png"),
    ],
)
def test_what_cannot_be_written_is_refused(
    clip: Path, tmp_path: Path, name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OutputError, match=message):
        convert_repeating(clip, tmp_path / name, codec=None, encoder={}, **options)
    assert names(tmp_path) == []


def test_many_files_do_not_fit_into_standard_output(clip: Path) -> None:
    with pytest.raises(OutputError, match="writes many files; name them"):
        convert_repeating(clip, "-", format="hls")


@pytest.mark.parametrize("kind", ["pictures", *SEGMENTED])
def test_an_early_end_leaves_whole_files(clip: Path, tmp_path: Path, kind: str) -> None:
    name, options = SEGMENTED.get(kind, ("%d.png", {}))
    options = {"encoder": KEYED, "codec": "libx264", **options} if kind != "pictures" else {}
    with closing(ContainerSource(InputOptions(path=str(clip)))) as source:
        sink = ContainerSink(
            OutputOptions(path=str(tmp_path / name), **options), source, Fraction(50)
        )
        write_repeating(source, sink, Fraction(50), limit=15)
        said = sink.close()
    assert said is not None
    assert "holds the first 0.300 s" in said
    assert not [name for name in names(tmp_path) if ".part" in name or ".tmp" in name]
    if kind == "hls":
        assert (tmp_path / name).read_text().endswith("#EXT-X-ENDLIST\n")


@pytest.mark.parametrize("kind", ["pictures", *SEGMENTED])
@pytest.mark.parametrize("room", [0, 9000])
def test_a_full_disk_is_said_and_ends_the_run(
    clip: Path, tmp_path: Path, kind: str, room: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever libav does when one of its files fails, it is the disk that is named."""
    left = [room]
    write = Descriptor.write

    def until_full(descriptor: Descriptor, data: Any) -> int:
        left[0] -= len(data)
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(Descriptor, "write", until_full)
    name, options = SEGMENTED.get(kind, ("%d.png", {"codec": None, "encoder": {}}))
    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
        convert_repeating(clip, tmp_path / name, "50", **{"encoder": KEYED, **options})


def test_no_file_that_is_read_is_written(clip: Path, tmp_path: Path) -> None:
    def refused(source: str, output: str, **more: Any) -> str:
        reading = InputOptions(path=str(tmp_path / source))
        writing = OutputOptions(path=str(tmp_path / output), overwrite=True, **more)
        with pytest.raises(OutputError) as caught:
            check_files(Options(input=reading, output=writing))
        return str(caught.value)

    for name in ("0001.png", "0002.png", "v0.ts"):
        (tmp_path / name).touch()
    assert "is the input itself" in refused("%04d.png", "%04d.png")
    assert "0001.png would be overwritten, and is the input" in refused("%04d.png", "000%d.png")
    assert "v0.ts would be overwritten" in refused("v0.ts", "v.m3u8")
    assert "v0.ts would be overwritten" in refused("v0.ts", "v%d.ts", format="segment")


def test_a_whole_run_from_pictures_to_pictures(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    make_video(tmp_path / "in" / "%03d.png", 4, codec="png", pix_fmt="rgb24")
    options = Options(
        input=InputOptions(path=str(tmp_path / "in" / "%03d.png"), rate="12"),
        output=OutputOptions(path=str(tmp_path / "out" / "%03d.png")),
        fps="24",
        engine="hold",
    )
    with Run(options) as run:
        progress = run.go()
    assert (progress.frames_in, progress.frames_out) == (4, 8)
    assert len(names(tmp_path / "out")) == 8
    with pytest.raises(LtxFilterError, match="already"):
        Run(options)
