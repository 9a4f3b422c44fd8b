"""The first run on a GPU: it goes on after failures, and its page says what to look at first."""

from __future__ import annotations

import json

import pytest

from benchmarks.first_run import __main__ as first_run
from benchmarks.first_run import page
from benchmarks.first_run.checks import CHECKS, Check


def found(name: str, state: str = "passed", **more):
    return {"name": name, "about": "a check", "state": state, "seconds": 1.0, **more}


def timed(key: str, value: float):
    return found("speed", found={"timings": {key: value}})


def test_checks_come_in_the_order_in_which_faults_would_show():
    names = [check.name for check in CHECKS]
    assert names[:5] == ["versions", "products", "flow tests", "ltx tests", "racecheck"]
    assert len(set(names)) == len(names)


def test_a_check_that_fails_is_an_outcome():
    outcome = first_run.outcome(Check("unknown", "not there", 60, dict), 60, rehearse=True)
    assert outcome["state"] == "failed"
    assert "StopIteration" in outcome["reason"]


def test_a_check_that_takes_too_long_is_stopped():
    outcome = first_run.outcome(Check("versions", "slow", 0.01, dict), 60, rehearse=True)
    assert outcome["state"] == "failed"
    assert outcome["reason"].endswith("stopped after 0 s")


def test_without_time_nothing_is_started():
    outcome = first_run.outcome(CHECKS[0], -1, rehearse=True)
    assert outcome["state"] == "not run"


def test_the_last_result_and_the_warnings_of_a_check_are_kept():
    text = """loading
    no CUDA graph of flow (capture failed): its kernels are launched one by one
    no CUDA graph of flow (capture failed): its kernels are launched one by one
RESULT {"timings": {"flow 1080p balanced": 700.0}, "failed": "it does not multiply"}
"""
    parsed = first_run.parsed(text)
    assert parsed["found"]["timings"] == {"flow 1080p balanced": 700.0}
    assert parsed["reason"] == "it does not multiply"
    assert len(parsed["warnings"]) == 1
    assert first_run.parsed("nothing") == {}


@pytest.mark.parametrize(
    ("value", "verdict", "worry"),
    [
        (1200.0, "reached", None),
        (450.0, "missed", "flow 1080p balanced: 450 frames/s, the goal is 500"),
        (600.0, "reached", "flow 1080p balanced: 600 frames/s, expected were 1000 to 1800"),
    ],
)
def test_a_timing_is_judged_by_goal_and_estimate(value, verdict, worry):
    outcomes = [timed("flow 1080p balanced", value)]
    assert page.first(outcomes) == ([worry] if worry else [])
    whole = {"machine": {"date": "2026-11-30", "commit": "abc"}, "rehearsal": False, "seconds": 1}
    text = page.written({**whole, "first": page.first(outcomes), "checks": outcomes})
    assert (
        f"| flow 1080p balanced | {value:.4g} frames/s | 1000 to 1800 | 500 | {verdict} |" in text
    )


def test_failures_come_before_warnings_goals_and_choices():
    outcomes = [
        timed("ltx-motion latent 1080p", 8.0),
        found("choice", found={"choices": {"cuDNN's attention": 1.2, "bias": 0.9}}),
        found("graphs", warnings=["no CUDA graph of flow"]),
        found("kernels", "failed", reason="many lines\nillegal memory access"),
        found("late", "not run", reason="no time was left"),
    ]
    assert page.first(outcomes) == [
        "kernels failed: illegal memory access",
        "graphs warned: no CUDA graph of flow",
        "ltx-motion latent 1080p: 8 ms/frame, the goal is 5",
    ]
    assert page.first(outcomes[1:2]) == [
        "cuDNN's attention is 1.20 times as fast: make it the default?"
    ]


def test_a_rehearsal_leaves_a_page_and_its_numbers(tmp_path, capsys):
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("ltx_core", reason="the LTX extra is not installed")
    code = first_run.main(["--rehearse", "--only", "products", "--folder", str(tmp_path)])
    said = capsys.readouterr().out
    assert code == 0, said
    assert "passed   products" in said
    whole = json.loads((tmp_path / "gpu_first_run.json").read_text())
    assert whole["rehearsal"]
    assert whole["machine"]["packages"]["torch"]
    (check,) = whole["checks"]
    assert check["found"]["least rows"] == 1
    assert "A rehearsal on a CPU" in (tmp_path / "gpu_first_run.md").read_text()


def test_a_run_with_a_failure_ends_with_an_error(tmp_path, monkeypatch, capsys):
    broken = Check("broken", "not there", 60, dict)
    monkeypatch.setattr(first_run, "CHECKS", (broken, CHECKS[1]))
    assert first_run.main(["--rehearse", "--minutes", "1", "--folder", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "failed   broken" in said
    assert "products" in said


def test_frames_that_stay_are_compared_with_those_of_host_memory(monkeypatch):
    pytest.importorskip("torch", reason="torch is not installed")
    from benchmarks.first_run import video

    found = video.video_hardware(True)
    assert "failed" not in found
    assert "stand-in stays frames/s" in found["libx264"]

    def brighter(clip):
        for frame in video._decoded(clip, None):
            yield frame.reformat(format="nv12", dst_color_range="JPEG")

    monkeypatch.setattr(video, "_stand_ins", brighter)
    assert "libx264: stand-in stays: the samples" in video.video_hardware(True)["failed"]


def test_without_nvdec_its_check_fails_with_the_reason(monkeypatch):
    from benchmarks.first_run import video

    monkeypatch.setattr(video, "missing", lambda kind: f"no {kind}")
    assert video.video_hardware(False)["failed"] == "-hwaccel cuda: no cuda"
