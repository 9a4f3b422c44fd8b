"""Memory that is really in use: warned of where it is more than stated, ended where a bound is."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from fractions import Fraction as F
from pathlib import Path

import pytest
from support.media import shown
from support.tools import TIMEOUT, make_clip
from support.tools import ltxfilter as command

import ltxfilter
from ltxfilter.errors import MemoryLimitError
from ltxfilter.pipeline import resident
from ltxfilter.pipeline.memory import BASE_BYTES
from ltxfilter.pipeline.resident import LOOK_SECONDS, MemoryWatch, resident_bytes
from ltxfilter.values import MIB


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """Bytes in use, the latest last; a test appends."""
    values: list[int | None] = [100 * MIB]
    monkeypatch.setattr(resident, "resident_bytes", lambda: values[-1])
    return values


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says")
def test_memory_in_use_is_seen():
    """In a process of its own, whose heap holds nothing that could serve again."""
    script = (
        "from ltxfilter.pipeline.resident import resident_bytes; before = resident_bytes(); "
        "block = b'x' * (64 << 20); print(resident_bytes() - before)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert 60 * MIB < int(done.stdout) < 80 * MIB


def test_more_than_stated_is_warned_of_once(used, caplog):
    watch = MemoryWatch(200 * MIB, None, before=None)
    with caplog.at_level(logging.WARNING):
        for step, size in enumerate([150, 199, 201, 150, 500]):
            used.append(size * MIB)
            watch.look(step * LOOK_SECONDS)
            assert watch.exceeded == (step >= 2)
    assert watch.peak == 500 * MIB
    assert [record.message for record in caplog.records] == [
        "201 MB of memory are in use, and 200 MB were stated"
    ]


def test_it_is_looked_now_and_then(used):
    watch = MemoryWatch(200 * MIB, None, before=None)
    watch.look(10.0)
    used.append(300 * MIB)
    watch.look(10.0 + LOOK_SECONDS / 2)
    assert watch.peak == 100 * MIB
    watch.look(10.0 + LOOK_SECONDS)
    assert watch.peak == 300 * MIB


def test_only_an_explicit_bound_ends_a_run_at_ten_percent_above(used):
    used.append(219 * MIB)
    MemoryWatch(200 * MIB, 200 * MIB, before=None).look(0)
    used.append(221 * MIB)
    MemoryWatch(200 * MIB, None, before=None).look(0)
    with pytest.raises(MemoryLimitError, match=r"221 MB .* 10 % above --memory 200M; give more"):
        MemoryWatch(200 * MIB, 200 * MIB, before=None).look(0)


def test_what_the_program_around_a_run_holds_does_not_count(used):
    watch = MemoryWatch(200 * MIB, 200 * MIB, before=BASE_BYTES + 5000 * MIB)
    used.append(5150 * MIB)
    watch.look(0)
    assert watch.peak == 150 * MIB
    assert not watch.exceeded


def test_a_system_that_does_not_say_is_no_error(used, tmp_path, monkeypatch):
    used.append(None)
    watch = MemoryWatch(1, 1, before=None)
    watch.look(0)
    assert watch.peak is None
    assert not watch.exceeded
    monkeypatch.setattr(resident, "STATUS", tmp_path / "none")
    assert resident_bytes() is None


def test_a_run_that_passes_its_bound_keeps_what_is_done(tmp_path: Path, used, monkeypatch):
    clip = make_clip(tmp_path / "in.y4m", size="96x64", seconds=4)
    target, report = tmp_path / "out.mkv", tmp_path / "r.json"
    monkeypatch.setattr(resident, "LOOK_SECONDS", 0)
    looks = 0

    def growing() -> int:
        nonlocal looks
        looks += 1
        return (100 if looks < 60 else 1000) * MIB

    monkeypatch.setattr(resident, "resident_bytes", growing)
    encoder = {"preset": "ultrafast", "tune": "zerolatency"}
    with pytest.raises(MemoryLimitError) as caught:
        ltxfilter.convert(
            clip, target, fps=50, engine="hold", memory="700M", report=report,
            video=encoder,
        )  # fmt: skip
    assert caught.value.exit_code == 1
    assert not target.exists()
    kept = shown(f"{target}.part")
    assert F(1, 2) < kept.duration < 3
    found = json.loads(report.read_text())
    assert found["ended"] == "failed"
    assert found["statistics"]["memory_peak"] == 1000 * MIB
    assert found["statistics"]["memory_exceeded"] is True


def test_a_report_says_how_much_was_in_use(tmp_path: Path):
    clip = make_clip(tmp_path / "in.y4m", size="96x64")
    words = ["-i", clip, "--engine", "hold", "--report", tmp_path / "r.json", tmp_path / "out.y4m"]
    subprocess.run(command(*words), check=True, timeout=TIMEOUT)
    found = json.loads((tmp_path / "r.json").read_text())["statistics"]
    assert found["memory_exceeded"] is False
    assert sys.platform != "linux" or found["memory_peak"] > 0
