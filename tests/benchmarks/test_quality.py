"""`benchmarks.quality` takes the mean of each score over the clips that all methods drew."""

from __future__ import annotations

from benchmarks.quality import summary


def test_a_clip_without_vmaf_is_left_out_of_its_mean_alone() -> None:
    rows = [
        {"clip": "deep", "method": "flow", "psnr": 30.0, "vmaf": None},
        {"clip": "plain", "method": "flow", "psnr": 40.0, "vmaf": 80.0},
        {"clip": "other", "method": "blend", "psnr": 10.0, "vmaf": 10.0},
        {"clip": "plain", "method": "blend", "psnr": 20.0, "vmaf": 70.0},
    ]
    assert summary(rows[:2]) == [{"method": "flow", "clips": 2, "psnr": 35.0, "vmaf": 80.0}]
    shared = {row["method"]: (row["clips"], row["psnr"]) for row in summary(rows)}
    assert shared == {"flow": (1, 40.0), "blend": (1, 20.0)}
