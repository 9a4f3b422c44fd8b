"""Print the dependencies of which there is a release that we neither allow nor develop with.

Run by `make outdated`. Asks pip what there is for the newest Python among the classifiers, since
new releases drop old Pythons. Always ends with 0: it informs, and nothing waits for it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]


def requirements(project: dict) -> Iterator[Requirement]:
    """Yield every direct dependency: of the package, of its extras, of the build."""
    texts = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    for extra in project["project"]["optional-dependencies"].values():
        texts += extra
    yield from {r.name: r for r in map(Requirement, reversed(texts))}.values()


def newest_python(project: dict) -> str:
    """Return the highest Python version among the classifiers, such as "3.13"."""
    found = re.findall(r"Python :: (3\.\d+)", "\n".join(project["project"]["classifiers"]))
    return max(found, key=Version)


def newest_release(name: str, python: str) -> Version | None:
    """Return the newest release that pip finds for a Python; None if it finds none."""
    command = [sys.executable, "-m", "pip", "index", "versions", "--python-version", python, name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.match(r"\S+ \((.+)\)", done.stdout)
    return Version(found[1]) if found else None


def main() -> None:
    """Print one line per release that is outside a range or newer than constraints.txt."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    python = newest_python(project)
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line and line[0] != "#")
    for requirement in sorted(requirements(project), key=lambda one: one.name):
        name, pin = requirement.name, pinned.get(requirement.name)
        newest = newest_release(name, python)
        if newest is None:
            print(f"{name:24} pip finds no release for Python {python}")
        elif not requirement.specifier.contains(newest):
            print(f"{name:24} {newest} is outside {requirement.specifier}")
        elif pin is None:
            print(f"{name:24} {newest} is there, constraints.txt pins none")
        elif newest > Version(pin):
            print(f"{name:24} {newest} is newer than {pin} of constraints.txt")


if __name__ == "__main__":
    main()
