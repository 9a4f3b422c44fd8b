"""What pyproject.toml says about versions and contents is what the other files say and ship."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import ltxfilter

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
RUNTIME = [
    *PROJECT["dependencies"],
    *(each for name in ("ltx", "onnx", "ray") for each in EXTRAS[name]),
]


def pins(name: str) -> dict[str, str]:
    """Return what a constraints file pins: name -> version."""
    lines = (ROOT / name).read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize("text", RUNTIME)
def test_the_oldest_set_pins_the_lower_bounds_and_the_developers_set_lies_within(text: str):
    requirement = Requirement(text)
    lower = [part.version for part in requirement.specifier if part.operator == ">="]
    upper = [part.version for part in requirement.specifier if part.operator == "<"]
    assert len(upper) == 1, f"{text} has no upper bound, so it says more than what is tested"
    assert lower == [pins("constraints-oldest.txt")[requirement.name]]
    assert requirement.specifier.contains(pins("constraints.txt")[requirement.name])


def test_both_sets_use_the_same_tools():
    def tools(name: str) -> list[str]:
        text = (ROOT / name).read_text().split("# The build backend")[1]
        return [line for line in text.splitlines() if "==" in line and "setuptools" not in line]

    assert tools("constraints.txt") == tools("constraints-oldest.txt")


def test_the_build_backend_s_bound_is_the_oldest_one_too():
    pinned = pins("constraints-oldest.txt")["setuptools"]
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert requires == [f"setuptools>={pinned}"]


def test_classifiers_begin_with_the_lowest_python():
    pattern = re.compile(r"Programming Language :: Python :: (3\.\d+)$")
    found = [match[1] for text in PROJECT["classifiers"] if (match := pattern.match(text))]
    assert found == sorted(found, key=Version)
    assert PROJECT["requires-python"] == f">={found[0]}"


def test_extras_name_nothing_that_is_not_built():
    known = {"benchmarks", "dev", "docs", "gguf", "ltx", "onnx", "ray"}
    assert set(PROJECT["optional-dependencies"]) <= known


def test_type_checkers_see_that_the_package_is_typed():
    assert (Path(ltxfilter.__file__).parent / "py.typed").is_file()


def test_the_version_is_the_same_in_both_places():
    assert PROJECT["version"] == ltxfilter.__version__


def test_what_contributors_are_pointed_to_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"[`(]((?:[\w.-]+/)+[\w.-]*)[`)]", text)
    assert len(paths) > 40
    assert [path for path in paths if path[:2] != ".." and not (ROOT / path).exists()] == []
