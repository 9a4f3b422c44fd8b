"""Encoders on hardware: which are here, and what is said of one whose device is not."""

from __future__ import annotations

from typing import Any

import av
import pytest

from ltxfilter.media.encoding import ffmpeg_build
from ltxfilter.media.encoding.ffmpeg_build import encoders, missing_device, on_hardware

HARDWARE = ("h264_nvenc", "hevc_qsv", "av1_amf", "h264_v4l2m2m")  # the last one states no format
BUILT = encoders(HARDWARE)


@pytest.mark.parametrize("codec", BUILT)
def test_each_is_tried_alike_every_time(codec: str):
    first = missing_device(codec)
    assert missing_device(codec) == first  # libav does not log again what it has just logged
    assert on_hardware([codec]) == ([codec] if first is None else [])
    if first is not None:
        assert first.startswith(f"{codec} needs ")
        assert "; use -c:v lib" in first


def test_the_cause_is_the_devices_and_not_that_of_a_wrong_option(monkeypatch: pytest.MonkeyPatch):
    def opens(*_: Any) -> None:
        av.logging.log(av.logging.ERROR, "h264_nvenc", "Cannot load libcuda.so.1\n")
        raise av.error.PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(ffmpeg_build, "_why_not", lambda _: ffmpeg_build.why_not(opens))
    for _ in range(2):
        assert missing_device("h264_nvenc") == (
            "h264_nvenc needs an NVIDIA GPU with its driver, which is not found here "
            "(Cannot load libcuda.so.1); use -c:v libx264"
        )


def test_software_encoders_need_no_device():
    assert missing_device("libx264") is None
    assert ffmpeg_build.is_on_hardware("av1_nvenc")
    assert not ffmpeg_build.is_on_hardware("libsvtav1")
