"""A small sample of `make fuzz`, and that it notices whatever goes wrong."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from benchmarks.fuzz import CaseProcess, fuzz
from benchmarks.fuzz_cases import SEEDS, Case, make_seeds, mutate
from ltxfilter.options import InputOptions

SAMPLE = 120
ANSWER = (
    """'{"number": 7, "outcome": "%s", "detail": "", "kind": "", "recipe": ""}'"""  # a line of JSON
)


def test_a_sample_of_broken_inputs_finds_nothing(tmp_path: Path):
    results = list(fuzz(seed=0, numbers=range(SAMPLE), jobs=1, keep=tmp_path))
    assert [result.number for result in results] == list(range(SAMPLE))
    assert [result for result in results if not result.passed] == []
    assert {"done", "refused"} <= {result.outcome for result in results}


@pytest.mark.parametrize(
    ("program", "outcome", "passed"),
    [
        (f"input(); print({ANSWER % 'done'})", "done", True),
        (f"input(); print({ANSWER % 'finding'})", "finding", False),
        ("input(); import os; os.abort()", "crash", False),
        ("input(); 1 / 0", "crash", False),
        ("import time; time.sleep(60)", "hang", False),
    ],
)
def test_failures_are_noticed(program: str, outcome: str, passed: bool):
    cases = CaseProcess([sys.executable, "-c", program], watchdog=1 if outcome == "hang" else 60)
    try:
        for _ in range(2 if outcome == "crash" else 1):  # after a crash there is a new process
            result = cases.run(7)
            assert (result.number, result.outcome, result.passed) == (7, outcome, passed)
    finally:
        cases.close()


def test_cases_depend_on_seed_and_number_alone(tmp_path: Path):
    data = bytes(range(256)) * 20
    again = [mutate(random.Random("1:2"), data, 0.5) for _ in range(2)]
    assert again[0] == again[1] != data
    kinds = [Case(1, number, tmp_path, tmp_path).kind for number in range(200)]
    assert kinds == [Case(1, number, tmp_path, tmp_path).kind for number in range(200)]
    assert set(kinds) == {"container", "pipe", "y4m", "raw", "words"}


def test_seeds_are_valid(tmp_path: Path):
    """Every undamaged seed converts; else the cases that are made of it would prove little."""
    seeds = make_seeds(tmp_path / "seeds")
    for name in SEEDS:
        folder = tmp_path / name
        folder.mkdir()
        case = Case(1, 1, seeds, folder)
        assert case.convert(InputOptions(path=str(seeds / name))) == "done"
