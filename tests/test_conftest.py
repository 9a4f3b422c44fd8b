"""conftest.py keeps what it says: each test here fails in a pytest of its own, and why is read."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from support.tools import ROOT, TIMEOUT

TESTS = """
import logging, signal, subprocess, sys, threading

def test_quiet():
    logging.getLogger("ltxfilter.media").warning("no error")
    logging.getLogger("other").error("not ours")

def test_error_of_ours():
    logging.getLogger("ltxfilter.media").error("it broke")

def test_error_of_libav():
    logging.getLogger("libav.h264").error("it broke")

def test_expected_error(expect_error_logs):
    logging.getLogger("ltxfilter").error("it broke")
    assert [record.getMessage() for record in expect_error_logs] == ["it broke"]

def test_printed():
    print("stray")

def test_interrupted():
    program = "import signal; assert signal.getsignal(2) is signal.default_int_handler"
    assert not subprocess.run([sys.executable, "-c", program]).returncode
"""


def ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def test_tests_that_break_the_rules_fail(tmp_path: Path):
    (tmp_path / "conftest.py").symlink_to(ROOT / "tests" / "conftest.py")
    (tmp_path / "test_rules.py").write_text(TESTS)
    words = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-c", ROOT / "pyproject.toml"]
    environment = {**os.environ, "COLUMNS": "200", "PYTEST_ADDOPTS": ""}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, tmp_path / "test_rules.py"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=ROOT,
        env=environment,
        preexec_fn=ignore_interrupts,
    )
    failed = dict(re.findall(r"^ERROR \S*::(\w+) - (.*)", done.stdout, re.MULTILINE))
    assert failed.keys() == {"test_error_of_ours", "test_error_of_libav", "test_printed"}
    assert "errors logged: ['ltxfilter.media: it broke']" in failed["test_error_of_ours"]
    assert "6 passed, 3 errors" in done.stdout, done.stdout
