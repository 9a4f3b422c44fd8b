"""Run every check on a GPU in the order in which faults would show; go on after failures.

Each check is a process of its own, since a fault on a device spoils the process that met it. What
is found is printed as it comes, and results/gpu_first_run.json and .md are written anew after each
check, so that a run that is broken off leaves what it knows. --rehearse does the same on a CPU,
with tiny models and Triton's interpreter; its times mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks import record
from benchmarks.first_run import page
from benchmarks.first_run.checks import CHECKS, Check

MINUTES = 9.5  # for all checks together
MARK = "RESULT "  # before the line of JSON that a check prints last
WATCHED = (  # what a log says where something slower is used than should be
    "no CUDA graph", "CUDA graphs are not used", "goes on without", "does not use Triton",
    "does not multiply", "no longer", "not cached any more",
)  # fmt: skip
SLOWER = 4  # times as long as on a GPU that a check may take in a rehearsal
LINES = 12  # of a failure's output that are kept


def main(argv: list[str] | None = None) -> int:
    """Run the checks and write the page; return 1 if one failed."""
    parser = argparse.ArgumentParser(prog="make gpu-first-run", description=__doc__)
    parser.add_argument("--rehearse", action="store_true", help="run on a CPU, with tiny models")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for all checks together")
    parser.add_argument("--only", default="", help="only checks whose name contains this")
    parser.add_argument("--folder", type=Path, default=record.RESULTS, help="of the results")
    parser.add_argument("--check", help=argparse.SUPPRESS)
    asked = parser.parse_args(argv)
    if asked.check:
        return run_check(asked.check, rehearse=asked.rehearse)
    begin, outcomes = monotonic(), []
    for check in CHECKS:
        if asked.only in check.name:
            left = 60 * asked.minutes - (monotonic() - begin)
            outcomes.append(outcome(check, left, rehearse=asked.rehearse))
            print(page.line(outcomes[-1]), flush=True)
            write(asked.folder, outcomes, monotonic() - begin, rehearse=asked.rehearse)
    print("\n".join(page.first(outcomes)))
    print(asked.folder / "gpu_first_run.md")
    return int(any(found["state"] == "failed" for found in outcomes))


def run_check(name: str, *, rehearse: bool) -> int:
    """Run one check in this process and print what it found."""
    check = next(check for check in CHECKS if check.name == name)
    found = check.run(rehearse)
    print(MARK + json.dumps(found, default=str))
    return int(bool(found.get("failed")))


def outcome(check: Check, left: float, *, rehearse: bool) -> dict[str, Any]:
    """Return what became of a check: its state, seconds, what it found or why it failed."""
    base = {"name": check.name, "about": check.about}
    limit = min(check.seconds * (SLOWER if rehearse else 1), left)
    if limit <= 0:
        return {**base, "state": "not run", "reason": "no time was left"}
    command = [sys.executable, "-m", "benchmarks.first_run", "--check", check.name]
    if rehearse:
        command.append("--rehearse")
    begin = monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=environment(rehearse), start_new_session=True,
    )  # fmt: skip
    try:
        text, _ = process.communicate(timeout=limit)
        state = "failed" if process.returncode else "passed"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        text, _ = process.communicate()
        state = "failed"
        text += f"\nstopped after {limit:.0f} s"
    found = {**base, "state": state, "seconds": round(monotonic() - begin, 1), **parsed(text)}
    if state == "failed" and "reason" not in found:
        found["reason"] = "\n".join(text.strip().splitlines()[-LINES:])
    return found


def parsed(text: str) -> dict[str, Any]:
    """Return what a check's output holds: its result, and warnings to look at."""
    lines = text.splitlines()
    results = [json.loads(line[len(MARK) :]) for line in lines if line.startswith(MARK)]
    found: dict[str, Any] = {"found": results[-1]} if results else {}
    if results and results[-1].get("failed"):
        found["reason"] = str(results[-1]["failed"])
    warned = [line.strip() for line in lines if any(word in line for word in WATCHED)]
    if warned := [line for line in dict.fromkeys(warned) if not line.startswith(MARK)]:
        found["warnings"] = warned[:LINES]
    return found


def environment(rehearse: bool) -> dict[str, str]:
    """Return the environment of checks."""
    if rehearse:
        return {**os.environ, "TRITON_INTERPRET": "1"}
    return {**os.environ, "LTXFILTER_REQUIRE_CUDA": "1"}


def write(folder: Path, outcomes: list[dict[str, Any]], seconds: float, *, rehearse: bool) -> None:
    """Write the JSON and the page."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {
        "machine": record.machine(),
        "rehearsal": rehearse,
        "seconds": round(seconds, 1),
        "first": page.first(outcomes),
        "checks": outcomes,
    }
    (folder / "gpu_first_run.json").write_text(json.dumps(whole, indent=1) + "\n")
    (folder / "gpu_first_run.md").write_text(page.written(whole))


if __name__ == "__main__":
    sys.exit(main())
