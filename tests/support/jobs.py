"""What tests of long jobs share: a job that can be killed, and what an output holds."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from ltxfilter.jobs.journal import read_journal
from support.tools import TIMEOUT, ffmpeg, ltxfilter

SEGMENTS = 10  # of the film that jobs are tried on


def digests(path: Path) -> list[str]:
    """Return the time and the digest of each frame of a file."""
    command = ffmpeg("-i", path, "-map", "0:v", "-fps_mode", "passthrough", "-f", "framemd5", "-")
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [line for line in text.splitlines() if not line.startswith("#")]


class RunningJob:
    """A job in a process of its own, in a session that can be killed as a whole."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        self.folder = folder
        with (folder.parent / "job.log").open("w") as log:
            self.process = subprocess.Popen(
                ltxfilter(*arguments), stderr=log, start_new_session=True
            )

    def stored(self) -> int:
        """Return how many segments the journal names."""
        return sum("segment" in entry for entry in read_journal(self.folder))

    def wait_for(self, count: int) -> None:
        """Wait until so many segments are stored, or the job has ended."""
        deadline = monotonic() + TIMEOUT
        while self.stored() < count and self.process.poll() is None:
            assert monotonic() < deadline, "the job stores nothing"
            sleep(0.01)

    def workers(self) -> list[int]:
        """Return the processes that work for it."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == self.process.pid:
                    command = (folder / "cmdline").read_bytes()
                    found += [int(folder.name)] * (b"worker_process" in command)
        return found

    def wait_for_workers(self, count: int) -> list[int]:
        """Wait until so many processes work for it, and return them."""
        deadline = monotonic() + TIMEOUT
        while len(found := self.workers()) < count:
            assert self.process.poll() is None, "the job has ended"
            assert monotonic() < deadline, "there are no workers"
            sleep(0.005)
        return found

    def kill(self, number: int = signal.SIGKILL) -> int:
        """End the job itself, and return its exit code."""
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        return self.process.wait(TIMEOUT)
