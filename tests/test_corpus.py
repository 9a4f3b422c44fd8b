"""`make corpus` notices what a converted file lost, and lets what is right pass."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from support.rich_media import make_rich
from support.tools import make_clip

from benchmarks import corpus
from benchmarks.corpus_checks import failed_checks
from benchmarks.corpus_media import Heard, Shown, Stream, complaints, hear, listed

F = Fraction
SECOND = F(1)
LOG = "in 4, out 8: 4 passed through, 3 interpolated, 1 repeated"


def heard(count: int = 4, rate: int = 25, **more: Any) -> Heard:
    """Return a video with sound: each picture of the source is shown for as long as it lasts."""
    source_rate = 25
    pictures = [
        Shown(F(k, rate), F(1, rate), f"picture {k * source_rate // rate}") for k in range(count)
    ]
    given: dict[str, Any] = {
        "status": 0,
        "streams": [Stream(0, "video", "ffv1", "yuv420p"), Stream(1, "audio", "aac")],
        "shown": {0: pictures, 1: [Shown(F(0), SECOND, "sound")]},
        "tags": {"title": "A film", "encoder": "stale"},
        "chapters": 1,
        "words": [],
    }
    return Heard(**(given | more))


def without_picture(number: int) -> Heard:
    good = heard(8, 50)
    good.shown[0][number : number + 2] = [replace(good.shown[0][number], md5="other")] * 2
    return good


def late_sound() -> Heard:
    good = heard(8, 50)
    good.shown[1] = [Shown(F(1, 10), SECOND, "sound")]
    return good


def test_padding_that_one_container_plays_moves_nothing() -> None:
    output = heard(8, 50)
    output.shown[1] = [Shown(F(-1, 20), F(1, 20), "padding"), *output.shown[1]]
    assert failed_checks(heard(), output, LOG) == []


def test_a_good_output_passes() -> None:
    assert failed_checks(heard(), heard(8, 50), LOG) == []


@pytest.mark.parametrize(
    ("output", "log", "check"),
    [
        (heard(8, 50), LOG.replace("in 4", "in 3"), "frames in: 3, ffmpeg finds 4"),
        (heard(7, 50), LOG, "frames out: 8 said, 7 written"),
        (without_picture(2), LOG, "originals: 3 of 4 passed through are identical"),
        (heard(8, 25), LOG, "duration: 0.160 s became 0.320 s"),
        (late_sound(), LOG, "audio offset: +0.100 s"),
        (heard(8, 50, tags={}), LOG, "tags: title"),
        (heard(8, 50, chapters=0), LOG, "chapters: 1 became 0"),
        (heard(8, 50, words=["[ffv1] slice 3 broken"]), LOG, "playable: [ffv1] slice 3 broken"),
        (heard(8, 50, status=1), LOG, "playable: ffmpeg ended with 1"),
        (heard(8, 50), "", "frames: no closing line or no frames"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(output: Heard, log: str, check: str) -> None:
    assert check in failed_checks(heard(), output, log)


def test_a_lost_stream_has_to_be_named() -> None:
    source = heard(streams=[*heard().streams, Stream(2, "subtitle", "subrip")])
    assert failed_checks(source, heard(8, 50), LOG) == ["streams: 1 subtitle became 0, 0 named"]
    named = f"{LOG}\nout.mkv: stream 2 (subtitle, subrip) is left out: it cannot hold it"
    assert failed_checks(source, heard(8, 50), named) == []


def test_complaints_that_the_source_makes_too_are_not_the_outputs() -> None:
    source = heard(words=["[aac @ 1] channel 3 is broken"])
    assert failed_checks(source, heard(8, 50, words=["[aac] channel 4 is broken"]), LOG) == []


def test_streams_and_complaints_are_read_from_what_ffmpeg_says(tmp_path: Path) -> None:
    said = """\
[info]   Stream #0:0[0x1](und): Video: h264 (High), yuv420p(tv, bt709), 64x48 (default)
[info]     Metadata:
[info]       timecode        : 01:00:00:10
[info]     Stream #0:1[0x2]: Data: none (tmcd / 0x64636D74)
[info]   Stream #0:2: Video: mjpeg, yuvj420p(pc), 32x32, 90k tbr (attached pic)
[info] Stream mapping:
[info]   Stream #0:0 -> #0:0 (h264 (native) -> rawvideo (native))
[h264 @ 0x55aa] [error] no frame!
[h264 @ 0x55bb] [error] no frame!
[out#1/ffmetadata @ 0x5] [warning] Output file is empty, nothing was encoded
"""
    video, code, cover = listed(said)
    assert (video.kind, video.pix_fmt, video.tags["timecode"]) == (
        "video",
        "yuv420p",
        "01:00:00:10",
    )
    assert (code.kind, cover.still, video.still) == ("data", True, False)
    assert complaints(said, tmp_path / "a.mp4") == ["[h264] no frame!"]


def test_a_file_is_converted_and_judged(tmp_path: Path) -> None:
    exe = corpus.newest_ffmpeg()
    path = make_rich(tmp_path / "rich.mkv", frames=12)
    source = hear(exe, path, 60)
    moving = source.moving()
    assert moving is not None
    assert (len(source.shown[moving.index]), source.chapters) == (12, 2)
    row = corpus.converted(exe, ("rich.mkv", path))
    assert (row["outcome"], row["checks"]) == ("ok", [])
    assert (row["in"], row["out"], row["passed"]) == (12, 24, 12)


def test_refusals_are_judged_by_what_ffmpeg_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exe = corpus.newest_ffmpeg()
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(b"not a film" * 50)
    assert corpus.converted(exe, ("broken.mkv", broken))["outcome"] == "refused"
    clip = make_clip(tmp_path / "clip.mkv", "-c:v", "ffv1", seconds=0.2)
    monkeypatch.setattr(corpus, "ltxfilter", lambda *words: (3, "refused"))
    row = corpus.converted(exe, ("clip.mkv", clip))
    assert (row["outcome"], row["checks"]) == ("FAILED", ["refused: exit 3, ffmpeg finds 5 frames"])
