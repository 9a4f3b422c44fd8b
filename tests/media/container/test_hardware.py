"""`-hwaccel`: what is not there is named in one line, and the CPU decodes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest
from support.media import make_video
from support.tools import ltxfilter, run_pipe

from ltxfilter.media.container import ContainerSource, hardware
from ltxfilter.media.container.hardware import DecodingDevice, missing
from ltxfilter.options import InputOptions


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    missing.cache_clear()
    yield
    missing.cache_clear()


def absent(kind: str, device: str | None = None) -> str:
    return f"no such device is found (no {kind})"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_video(tmp_path / "in.mkv", 5)


@pytest.mark.parametrize("kind", ["nonsense", "CUDA", "yuv420p"])
def test_a_name_that_ffmpeg_does_not_know_is_never_opened(
    kind: str, monkeypatch: pytest.MonkeyPatch
):
    """PyAV takes such a name for any device that there is."""
    monkeypatch.setattr(hardware, "HWAccel", lambda *_: pytest.fail("opened"))
    assert (missing(kind) or "").startswith("FFmpeg knows no such device; it knows vdpau, cuda")


def test_a_device_that_ffmpeg_is_built_without_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hardware, "hwdevices_available", lambda: ["cuda", "drm"])
    assert missing("mediacodec") == "this FFmpeg is built without it; it has cuda, drm"


def test_a_device_that_only_encodes_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hardware, "hwdevices_available", lambda: ["opencl"])
    assert missing("opencl") == "FFmpeg decodes nothing on it by -hwaccel"


def test_the_cause_is_libavs_own(monkeypatch: pytest.MonkeyPatch):
    class Accel:
        def __init__(self, kind: str, device: str | None) -> None:
            assert (kind, device) == ("cuda", "7")

        def create(self, _: object) -> None:
            for _ in range(2):  # libav does not log a line that it has just logged
                av.logging.log(av.logging.ERROR, "cuda", "Cannot load libcuda.so.1\n")
            raise av.error.PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(hardware, "hwdevices_available", lambda: ["cuda"])
    monkeypatch.setattr(hardware, "HWAccel", Accel)
    for _ in range(2):
        assert missing("cuda", "7") == "no such device 7 is found (Cannot load libcuda.so.1)"
        missing.cache_clear()


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("cuda", "WARNING -hwaccel cuda: no such device is found (no cuda); the CPU decodes"),
        ("auto", "INFO -hwaccel auto: no hardware here decodes this; the CPU decodes"),
    ],
)
def test_the_cpu_decodes_where_no_device_is_and_one_line_says_so(
    wanted: str,
    said: str,
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr(hardware, "missing", absent)
    caplog.set_level("INFO")
    source = ContainerSource(InputOptions(path=str(clip), hwaccel=wanted))
    assert len(list(source.frames(begin=source.clock))) == 5  # opens it once more
    source.close()
    lines = [f"{each.levelname} {each.getMessage()}" for each in caplog.records]
    assert [line for line in lines if "hwaccel" in line] == [said]


def test_a_pipe_is_decoded_by_the_cpu_too(clip: Path):
    """What has been read of it is not read again."""
    for kind in ("nonsense", "auto"):
        command = ltxfilter("-hwaccel", kind, "-i", "-", "--engine", "hold", "-f", "y4m", "-")
        result = run_pipe(command, stdin=clip.read_bytes())
        assert result.codes == [0], result.err
        assert result.err.count(f"-hwaccel {kind}: ") == 1


def device_context(**changes: Any) -> Any:
    codec = SimpleNamespace(canonical_name="h264")
    told = {"name": "h264", "codec": codec, "is_hwaccel": True, "pix_fmt": "cuda", "profile": None}
    return SimpleNamespace(**{**told, **changes})


@pytest.mark.parametrize(
    ("context", "said"),
    [
        (device_context(), []),
        (
            device_context(pix_fmt="yuv422p", profile="High 4:2:2"),
            ["-hwaccel cuda: cuda does not decode this h264 (High 4:2:2); the CPU decodes"],
        ),
        (
            device_context(is_hwaccel=False, name="libdav1d", pix_fmt="yuv420p"),
            ["-hwaccel cuda: FFmpeg's decoder libdav1d uses no hardware; the CPU decodes"],
        ),
    ],
)
def test_what_a_device_leaves_to_the_cpu_is_said(
    context: Any, said: list[str], caplog: pytest.LogCaptureFixture
):
    DecodingDevice("cuda").say("cuda", context)
    assert [record.getMessage() for record in caplog.records] == said


def test_auto_says_which_device_decodes(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    DecodingDevice("cuda").say("auto", device_context())
    DecodingDevice("cuda").say(None, device_context())
    assert caplog.messages == ["-hwaccel auto: cuda decodes"]


def test_a_decoder_of_the_cpu_has_a_format_with_components():
    """By which `say` tells it from one on a device."""
    assert not av.VideoFormat("cuda").components
    assert av.VideoFormat("nv12").components
