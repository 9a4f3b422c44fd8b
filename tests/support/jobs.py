"""What tests of long jobs share: a job that can be killed, and what an output holds."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from time import monotonic, sleep

from ltxfilter.jobs.journal import read_journal
from support.tools import TIMEOUT, ffmpeg, ltxfilter


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
        text = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(self.process.pid)],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        lines = [line.split(maxsplit=1) for line in text.splitlines()]
        return [int(pid) for pid, command in lines if "worker_process" in command]

    def kill(self, number: int = signal.SIGKILL) -> int:
        """End the job itself, and return its exit code."""
        if self.process.poll() is None:
            os.kill(self.process.pid, number)
        return self.process.wait(TIMEOUT)
