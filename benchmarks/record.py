"""Results as JSON in results/, with machine, versions, commit and date of the measurement."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("av", "numpy", "opencv-python-headless", "torch")


def machine() -> dict[str, Any]:
    """Describe the machine, the versions and the commit."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": _commit(),
    }


def write(name: str, rows: Any, **more: Any) -> Path:
    """Write `rows` to results/NAME.json and return its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    text = json.dumps({"machine": machine(), **more, "rows": rows}, indent=1)
    path.write_text(text + "\n")
    return path


def table(rows: list[dict[str, Any]]) -> str:
    """Format rows of equal keys as a Markdown table."""
    keys = list(rows[0])
    lines = [keys, ["---"] * len(keys), *[[_cell(row[key]) for key in keys] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def text(value: Any) -> str:
    """Return a value as it is printed."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
