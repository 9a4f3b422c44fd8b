"""An installed ltxfilter does what the README shows, run from outside of the checkout.

LTXFILTER_INSTALLED names the Python of the environment that it is installed in, which needs
nothing but the package: .ci/run names one per Python version. Without it this Python is tried.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.tools import make_clip, samples

ROOT = Path(__file__).parents[2]
GIVEN = os.environ.get("LTXFILTER_INSTALLED")
PYTHON = GIVEN or sys.executable
EXAMPLES = re.findall(r"^```(\w*)\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
FRAME = 64 * 48 * 3 // 2  # bytes of a yuv420p frame


def readme(language: str, start: str) -> str:
    """Return the README's first example in a language that begins with some words."""
    return next(text for kind, text in EXAMPLES if kind == language and text.startswith(start))


@pytest.fixture
def shell(tmp_path: Path, ffmpeg: str):
    """Return a function that runs a command in an empty folder, as a user's shell does."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "ffmpeg").symlink_to(ffmpeg)
    path = os.pathsep.join([str(programs), str(Path(PYTHON).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path}
    if GIVEN:
        del environment["PYTHONPATH"]  # this checkout, which conftest.py puts there
    folder = tmp_path / "folder"
    folder.mkdir()

    def run(*command: str | Path) -> str:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.folder = folder
    return run


def test_it_is_the_installed_one_with_compiled_kernels(shell):
    code = "import ltxfilter, ltxfilter.motion.kernels as k; print(k.__file__, k.compiled.__file__)"
    package, kernels = shell(PYTHON, "-c", code).split()
    assert "abi3" in kernels or kernels.endswith(".pyd")
    if GIVEN:
        assert ROOT not in Path(package).parents
    assert re.search(r"^kernels +compiled", shell("ltxfilter", "doctor"), re.M)


@pytest.mark.skipif(sys.platform != "linux", reason="the geometry is found in /proc")
def test_pipe(shell):
    make_clip(shell.folder / "x.mp4", "-pix_fmt", "yuv420p")
    shell("bash", "-o", "pipefail", "-c", readme("", "ffmpeg -i x.mp4"))
    assert len(samples(shell.folder / "y.mp4")) == 50 * FRAME


def test_file(shell):
    make_clip(shell.folder / "in.mkv", "-pix_fmt", "yuv420p")
    shell(*readme("", "ltxfilter -i in.mkv").split())
    assert len(samples(shell.folder / "out.mkv")) == 60 * FRAME


def test_python(shell):
    make_clip(shell.folder / "in.mkv", "-pix_fmt", "yuv420p")
    code = readme("python", "import ltxfilter").replace("    ...", "    count += 1")
    setup = "import numpy\npictures = [numpy.zeros((48, 64, 3), 'uint8')] * 5\ncount = 0\n"
    assert shell(PYTHON, "-c", f"{setup}{code}\nprint(count)") == "10\n"
    assert len(samples(shell.folder / "out.mkv")) == 60 * FRAME


def test_push_and_pull(shell):
    make_clip(shell.folder / "in.mp4", "-pix_fmt", "yuv420p")
    said = shell(PYTHON, ROOT / "examples" / "push_frames.py", "in.mp4")
    assert said == "50 frames at 50 per second\n"


def test_demo(shell):
    assert "twice the frame rate" in shell(PYTHON, ROOT / "examples" / "demo.py", "demo.mp4")
    assert len(samples(shell.folder / "demo.mp4")) == 200 * 640 * 360 * 3 // 2


def test_a_report_is_a_page_with_its_script_and_style(shell):
    make_clip(shell.folder / "in.y4m", size="64x48", seconds=1)
    shell(
        PYTHON, "-m", "ltxfilter", "-i", "in.y4m", "--engine", "hold", "--report", "r.html", "o.y4m"
    )
    page = (shell.folder / "r.html").read_text()
    assert "uPlot" in page
    assert "data-theme" in page
    assert page.rstrip().endswith("</html>")
