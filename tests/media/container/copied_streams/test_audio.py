"""Copied audio: names of channels, headers of AAC, what refuses a codec."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import av
import pytest
from support.tools import TIMEOUT, ffmpeg, ffmpeg_exe, make_clip, run_pipe
from support.tools import ltxfilter as command

import ltxfilter
from ltxfilter.errors import OutputError
from ltxfilter.media.container.copied_streams.audio import audio_specific_config

TONE = ("-f", "lavfi", "-i", "sine=d=1:r=48000")


def with_tone(path: Path, *options: object) -> Path:
    """Write a clip with a tone."""
    picture = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=1")
    subprocess.run(ffmpeg(*picture, *TONE, *options, path), check=True, timeout=TIMEOUT)
    return path


def sound(path: Path) -> list[bytes]:
    """Return the decoded samples of the audio of a file, packet by packet."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray().tobytes() for frame in container.decode(audio=0)]


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("source", ["avi", "mkv"])
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_pcm_without_names_of_channels_is_copied(
    tmp_path: Path, source: str, suffix: str, channels: int
):
    coding = ("-c:v", "mpeg4", "-c:a", "pcm_s16le", "-ac", channels)
    clip = with_tone(tmp_path / f"in.{source}", *coding)
    out = tmp_path / f"out.{suffix}"
    ltxfilter.convert(clip, out, engine="hold")
    assert b"".join(sound(out)) == b"".join(sound(clip))


@pytest.mark.parametrize("to_pipe", [True, False])
@pytest.mark.parametrize("from_pipe", [True, False])
def test_aac_of_a_transport_stream_goes_into_matroska(
    tmp_path: Path, to_pipe: bool, from_pipe: bool
):
    clip = with_tone(tmp_path / "in.ts", "-c:v", "libx264", "-c:a", "aac", "-ac", 2)
    out = tmp_path / "out.mkv"
    words = ["-v", "error", "--engine", "hold", "-i", "-" if from_pipe else clip, "-f", "matroska"]
    head = [["cat", str(clip)]] if from_pipe else []
    tail = [["cat"]] if to_pipe else []
    done = run_pipe(*head, command(*words, "-c:v", "libx264", "-" if to_pipe else out), *tail)
    assert set(done.codes) == {0}, done.err
    if to_pipe:
        out.write_bytes(done.out)
    with av.open(str(out)) as container:
        assert container.streams.audio[0].codec_context.extradata
    assert b"".join(sound(out)) == b"".join(sound(clip))
    played = subprocess.run(
        [ffmpeg_exe(), "-v", "warning", "-nostdin", "-i", out, "-map", "0", "-f", "null", "-"],
        check=True,
        capture_output=True,
        timeout=TIMEOUT,
    )
    assert played.stderr == b""


def test_what_an_adts_header_says():
    header = bytes((0xFF, 0xF1, 0x50, 0x80, 0x2E, 0x7F, 0xFC))
    assert audio_specific_config(header) == b"\x12\x10"  # AAC LC, 44.1 kHz, stereo
    for wrong in (b"", b"\xff\xf1", bytes(7), bytes((0xFF, 0xF1, 0x50, 0, 0, 0, 0))):
        assert audio_specific_config(wrong) is None


def test_audio_that_cannot_be_copied_is_refused_with_those_that_take_it(tmp_path: Path):
    clip = with_tone(tmp_path / "in.wmv", "-c:v", "wmv2", "-c:a", "wmav2")
    message = r"cannot hold wmav2 audio .*; add -an to leave it out, or write \.avi or \.wmv"
    for suffix in ("mp4", "mkv", "ts", "nut"):
        end = "; ffmpeg, unlike PyAV, may add it: .*" if suffix == "mkv" else ""
        with pytest.raises(OutputError, match=f"{message}{end}$"):
            ltxfilter.convert(clip, tmp_path / f"out.{suffix}")
    ltxfilter.convert(clip, tmp_path / "out.avi", engine="hold")
    assert len(sound(tmp_path / "out.avi")) == len(sound(clip))


@pytest.mark.parametrize(
    ("codec", "decodes"), [("adpcm_ima_wav", False), ("adpcm_ms", True), ("g726", False)]
)
def test_nut_takes_only_audio_that_can_be_decoded_from_it(
    tmp_path: Path, codec: str, decodes: bool
):
    clip = with_tone(tmp_path / "in.avi", "-c:v", "mpeg4", "-c:a", codec, "-ar", 8000, "-ac", 1)
    out = tmp_path / "out.nut"
    if decodes:
        ltxfilter.convert(clip, out, engine="hold")
        assert len(sound(out)) == len(sound(clip))
    else:
        with pytest.raises(OutputError, match=rf"nut cannot hold (adpcm_)?{codec} audio"):
            ltxfilter.convert(clip, out, engine="hold")


def test_audio_without_its_headers_is_named_where_any_codec_fits(tmp_path: Path):
    clip = with_tone(tmp_path / "in.mkv", "-c:v", "ffv1", "-c:a", "libvorbis")
    damaged = tmp_path / "damaged.mkv"
    head = rb"\x02(\x1e.{1,3}\x01vorbis)"  # how many headers there are, their sizes, the first one
    data, found = re.subn(head, b"\x07\\1", clip.read_bytes(), flags=re.DOTALL)
    assert found == 1
    damaged.write_bytes(data)
    with pytest.raises(OutputError, match=r"with vorbis: .*; add -an if its audio is damaged"):
        ltxfilter.convert(damaged, tmp_path / "out.mkv", engine="hold")


def test_a_text_that_outlasts_the_video_ends_once(tmp_path: Path):
    subtitles = tmp_path / "s.srt"
    subtitles.write_text("1\n00:00:00,200 --> 00:00:03,000\nHello\n\n")
    clip = make_clip(tmp_path / "v.mp4", seconds=2)
    both = tmp_path / "in.mp4"
    words = ("-i", clip, "-i", subtitles, "-c:v", "copy", "-c:s", "mov_text")
    subprocess.run(ffmpeg(*words, both), check=True, timeout=TIMEOUT)
    for options, expected in (({}, 3), ({"duration": 1}, 1)):
        out = tmp_path / f"out{expected}.mp4"
        ltxfilter.convert(both, out, engine="hold", **options)
        with av.open(str(out)) as container:
            text = container.streams.subtitles[0]
            assert text.duration is not None
            assert float(text.duration * text.time_base) == pytest.approx(expected, abs=0.01)
            packets = [bytes(packet) for packet in container.demux(text) if packet.size > 2]
        assert packets == [b"\0\5Hello"]
