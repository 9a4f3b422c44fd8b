"""Formats that are told by their first bytes."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.tools import TIMEOUT, ffmpeg, ltxfilter, run_pipe

from ltxfilter.media.pipe import sniff

KEEP = ("--fps", "25", "--engine", "hold")  # every frame passes through


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (("-f", "yuv4mpegpipe"), "yuv4mpegpipe"),
        (("-f", "nut", "-c:v", "rawvideo"), "nut"),
        (("-f", "matroska"), "matroska"),
        (
            (
                "-f",
                "webm",
                "-c:v",
                "libvpx",
                "-threads",
                "1",
                "-deadline",
                "good",
                "-cpu-used",
                "5",
            ),
            "matroska",
        ),
        (("-f", "mpegts"), "mpegts"),
        (("-f", "mpegts", "-mpegts_m2ts_mode", "1"), "mpegts"),
        (("-f", "mp4", "-movflags", "frag_keyframe+empty_moov"), "mov"),
        (("-f", "mov", "-movflags", "frag_keyframe+empty_moov"), "mov"),
        (("-f", "flv", "-c:v", "flv"), "flv"),
        (("-f", "avi", "-c:v", "mpeg4"), "avi"),
        (
            ("-f", "ivf", "-c:v", "libvpx", "-threads", "1", "-deadline", "good", "-cpu-used", "5"),
            "ivf",
        ),
        (("-f", "ogg", "-c:v", "libtheora"), "ogg"),
        (("-f", "asf", "-c:v", "wmv2"), "asf"),
        (("-f", "vob", "-c:v", "mpeg2video"), "mpeg"),
        (("-f", "mpeg2video", "-c:v", "mpeg2video"), "mpegvideo"),
        (("-f", "h264", "-c:v", "libx264"), "h264"),
        (("-f", "hevc", "-c:v", "libx265", "-x265-params", "log-level=none"), "hevc"),
        (("-f", "mxf", "-c:v", "mpeg2video"), "mxf"),
        (
            (
                "-f",
                "rawvideo",
            ),
            None,
        ),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else str(value),
)
def test_formats_are_told_by_their_first_bytes(options, kind):
    source = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.4", "-pix_fmt", "yuv420p")
    made = subprocess.run(ffmpeg(*source, *options, "-"), capture_output=True, timeout=TIMEOUT)
    if b"Unknown encoder" in made.stderr:
        pytest.skip(f"this ffmpeg has no {options[-1]}")
    assert made.stdout, made.stderr
    assert sniff.identify(made.stdout[: sniff.SNIFF_BYTES]) == kind


@given(st.integers(0, 255), st.integers(0, 376))
@example(0, 376)
@example(0x47, 376)
def test_a_flat_picture_is_nothing_but_raw(value, size):
    flat = bytes([value]) * size
    assert sniff.identify(flat) is None
    assert sniff.foreign(flat) is None


@given(st.lists(st.integers(0, 3), min_size=376, max_size=376), st.integers(16, 200))
def test_a_smooth_picture_is_nothing_but_raw(steps, start):
    row = bytes(min(255, start + sum(steps[:index]) // 4) for index in range(len(steps)))
    assert sniff.identify(row) is None
    assert sniff.foreign(row) is None


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"Dear reader,\nthis is no video.\n", "text"),
        (("für jeden Geschmack etwas " * 40).encode()[:376], "text"),
        (b"#EXTM3U\n#EXTINF:9\nhttp://example.invalid/a.ts\n", "a playlist"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "sound (WAV)"),
    ],
)
def test_what_is_not_video_is_refused_by_name(data, what):
    result = run_pipe(ltxfilter(*KEEP), stdin=data)
    assert result.codes == [3]
    assert f"standard input is {what}, not video" in result.err
    assert not result.out
