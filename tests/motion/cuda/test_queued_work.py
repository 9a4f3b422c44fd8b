"""No buffer on a device is read before its event, or reused before its last reader.

`support.race_check` runs every part of motion/cuda and engines/ltx that uses streams on a stand-in
for the device. Each call that orders work is then left out once, which must be noticed.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support import tools

import ltxfilter

pytest.importorskip("torch", reason="torch is not installed")

ROOT = Path(ltxfilter.__file__).parent
TESTS = Path(__file__).parents[2]
RUNS = ["flow", "offload", "graphs"]
CALLS = {"wait", "wait_event", "wait_stream", "record", "record_event", "record_stream", "finish"}
CALLS |= {"synchronize", "follow", "mark"}
WRAPPED = ("motion/cuda/device.py", "motion/cuda/graphs/capture.py")  # seen at their callers


@pytest.fixture(autouse=True)
def _ltx(request: pytest.FixtureRequest) -> None:
    pytest.importorskip("ltx_core", reason="the LTX extra is not installed")


@cache
def found(name: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "support.race_check", name, "mutants"]
    done = subprocess.run(
        command, cwd=TESTS, capture_output=True, text=True, timeout=tools.TIMEOUT, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", RUNS)
def test_nothing_is_used_before_its_time(name: str) -> None:
    assert found(name)["hazards"] == []


@pytest.mark.parametrize("name", RUNS)
def test_every_call_that_orders_work_is_needed(name: str) -> None:
    assert found(name)["sites"]
    assert found(name)["not noticed"] == []


def test_graphs_are_captured_and_replayed() -> None:
    assert found("flow")["captures"] >= 8
    assert found("graphs")["captures"] == 2


def test_the_host_waits_only_for_pictures_that_come_down() -> None:
    """Two windows of two pictures: once for each picture, and once more at a window's end."""
    assert found("flow")["waits"] == {"prepare": 0, "draw": 2 * (2 + 1)}


def test_every_call_that_orders_work_is_visited() -> None:
    visited = {site.rpartition(" ")[0] for name in RUNS for site in found(name)["sites"]}
    written = set()
    for folder in ("motion/cuda", "engines/ltx/models"):
        for path in (ROOT / folder).rglob("*.py"):
            file = path.relative_to(ROOT).as_posix()
            if file not in WRAPPED:
                written |= {f"{file}:{line}" for line in ordering_lines(path)}
    assert written - visited == set()


def ordering_lines(path: Path) -> set[int]:
    """Return the lines with calls that order work."""
    tree = ast.parse(path.read_text())
    return {
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CALLS
        and not (isinstance(node.func.value, ast.Name) and node.func.value.id == "workspace")
    }
