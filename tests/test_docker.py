"""The Dockerfiles name what there is: files, extras, programs; their shell lines are whole."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
KNOWN = {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "VOLUME", "ENTRYPOINT"}


def instructions(path: Path) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile with their arguments on one line."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [
        (name, rest)
        for name, _, rest in (each.partition(" ") for each in joined.split("\n"))
        if name
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_instructions_are_in_order_and_shell_lines_are_whole(path: Path):
    found = instructions(path)
    assert {name for name, _ in found} <= KNOWN
    assert found[0][0] == "FROM"
    assert found[-1] == ("ENTRYPOINT", '["ltxfilter"]')
    assert "ltxfilter" in PROJECT["scripts"]
    for name, rest in found:
        if name == "RUN":
            line = re.sub(r"--mount=\S+ ", "", rest)
            subprocess.run(["sh", "-n", "-c", line], check=True)
            assert "apt-get install" not in line or "rm -rf /var/lib/apt/lists/*" in line
            assert "pip " not in line or "--no-cache-dir" in line
    pythons = [match[1] for _, rest in found if (match := re.match(r"python:(3\.\d+)-slim", rest))]
    assert pythons
    classifiers = {each.rpartition(" ")[2] for each in PROJECT["classifiers"]}
    assert set(pythons) <= classifiers


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_is_copied_is_there_and_not_ignored(path: Path):
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    copied = set()
    for name, rest in instructions(path):
        if name == "COPY":
            *sources, _ = shlex.split(rest)
            copied |= {source for source in sources if not source.startswith("--")}
    assert all((ROOT / source).exists() for source in copied)
    assert copied <= let_in
    needed = {
        "pyproject.toml",
        "setup.py",
        PROJECT["readme"],
        *(name.split("/")[0] for name in PROJECT["license-files"]),
        "ltxfilter",
    }
    assert needed <= copied
    for kernel in (ROOT / "ltxfilter" / "motion" / "kernels" / "native").rglob("*.[ch]"):
        inside = kernel.relative_to(ROOT).as_posix()
        assert not any(
            fnmatch(inside, line) for line in ignored[1:] if line[0] in "*l" and line != "*"
        )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_extras_that_are_installed_are_there(path: Path):
    for _, rest in instructions(path):
        for extras in re.findall(r"\.\[([\w,]+)\]", rest):
            assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


def test_there_is_one_for_the_cpu_and_one_for_cuda():
    assert [path.name for path in FILES] == ["cpu.Dockerfile", "cuda.Dockerfile"]
