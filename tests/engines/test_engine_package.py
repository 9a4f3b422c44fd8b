"""Engines of other packages: examples/engine_package is used, broken ones are reported."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.tools import ROOT, TIMEOUT, ffmpeg, ltxfilter

PACKAGE = ROOT / "examples" / "engine_package"


def run(site: Path, *command: object) -> subprocess.CompletedProcess[str]:
    """Run a command of an environment that has the packages in `site` too."""
    path = os.pathsep.join([str(site), str(ROOT)])
    return subprocess.run(
        [str(word) for word in command],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=ROOT,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that the example package is installed into."""
    folder = tmp_path_factory.mktemp("package")
    source = shutil.copytree(PACKAGE, folder / "source")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", folder / "site"]
    done = subprocess.run([*command, source], capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def test_it_is_listed_with_its_options(site: Path):
    said = run(site, *ltxfilter("engines")).stdout
    assert "nearest: show the nearer of the two frames\n    switch=0.5  Position" in said


def test_doctor_finds_it(site: Path):
    assert re.search(r"^engine nearest +ready$", run(site, *ltxfilter("doctor")).stdout, re.M)


@pytest.mark.parametrize("switch", [0.25, 0.75])
def test_it_converts_and_heeds_its_option(site: Path, clip: Path, tmp_path: Path, switch: float):
    out = tmp_path / "out.mkv"
    words = ["-i", clip, "--fps", "50", "--engine", f"nearest:switch={switch}", "-c:v", "ffv1", out]
    done = run(site, *ltxfilter(*words))
    assert done.returncode == 0, done.stderr
    assert "25 passed through, 24 interpolated, 1 repeated" in done.stderr
    hashes = frame_hashes(out)
    shown = 1 if switch < 0.5 else -1  # which neighbour a frame halfway between two repeats
    assert all(hashes[n] == hashes[n + shown] for n in range(1, 49, 2))


def frame_hashes(path: Path) -> list[str]:
    """Return a hash per frame of a video."""
    command = [*ffmpeg("-i", path), "-map", "0:v", "-f", "framemd5", "-"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT).stdout
    return [line.split()[-1] for line in said.splitlines() if not line.startswith("#")]


def test_a_wrong_option_is_refused(site: Path, clip: Path):
    done = run(site, *ltxfilter("-i", clip, "--engine", "nearest:switch=2", "-f", "null", "-"))
    assert done.returncode == 2
    assert "switch=2: not a number from 0 to 1" in done.stderr


def test_it_keeps_the_contract(site: Path):
    suite = ROOT / "tests" / "engines" / "test_contract.py"
    done = run(
        site, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", suite, "-k", "nearest"
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"^\d\d passed", done.stdout, re.M)


def broken(folder: Path, code: str, name: str = "broken") -> Path:
    """Write a package as pip lays it out, with an engine of that name; return its folder."""
    info = folder / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[ltxfilter.engines]\n{name} = broken:Broken\n")
    (folder / "broken.py").write_text(code)
    return folder


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import a_module_that_is_not_there", "No module named 'a_module_that_is_not_there'"),
        ("1 / 0", "division by zero"),
        ("", "has no attribute 'Broken'"),
        ("class Broken: pass", "is no subclass of ltxfilter.engines.base.Engine"),
    ],
)
def test_a_broken_package_is_reported_in_one_line(
    code: str, reason: str, clip: Path, tmp_path: Path
):
    site = broken(tmp_path, code)
    done = run(site, *ltxfilter("-i", clip, "--engine", "broken", "-f", "null", "-"))
    assert done.returncode == 5
    [line] = done.stderr.splitlines()
    assert "engine broken: broken:Broken " in line
    assert reason in line
    listed = run(site, *ltxfilter("engines"))
    assert listed.returncode == 0
    assert re.search(rf"^broken: \[unavailable: .*{reason}", listed.stdout, re.M)
    assert re.search(
        rf"^engine broken +missing: .*{reason}", run(site, *ltxfilter("doctor")).stdout, re.M
    )


def test_a_name_that_is_taken_is_left_out(clip: Path, tmp_path: Path):
    site = broken(tmp_path, "1 / 0", name="flow")
    done = run(site, *ltxfilter("-i", clip, "--engine", "blend", "-f", "null", "-"))
    assert done.returncode == 0, done.stderr
    said = run(site, *ltxfilter("engines"))
    assert said.returncode == 0
    assert said.stdout.count("\nflow: ") == 1
    assert "engine flow of broken: the name is taken" in said.stderr
