"""Nodes of Ray on this machine: each has its own processes, ports and temporary folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from support.tools import TIMEOUT

MARK = "LTXFILTER_TEST_NODE"  # a variable by which the processes of a node are told from others
STARTING = 60  # seconds that a node may take to come up on a busy machine
OWN = {"RAY_AUTH_MODE": "disabled", "RAY_ADDRESS": ""}


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def can_hide() -> bool:
    """Return True if a process here can have a view of its own of the file system."""
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def processes(mark: str) -> list[int]:
    """Return the processes that a mark in their environment tells from others."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


def raylets(mark: str) -> list[int]:
    """Return the raylet of a node."""
    found = []
    for pid in processes(mark):
        with suppress(OSError):
            if b"raylet/raylet" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def actors(mark: str) -> list[int]:
    """Return the processes of a node's actors that make segments."""
    found = []
    for raylet in raylets(mark):
        children = Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split()
        for child in children:
            with suppress(OSError):
                if b"ray::SegmentActor" in Path(f"/proc/{child}/cmdline").read_bytes():
                    found.append(int(child))
    return found


class RayNode:
    """A node that runs until `kill` or `close`."""

    def __init__(self, address: str | None = None, *, cpus: int = 1, hides: Path | None = None):
        """Start a node and wait until it is up.

        address: of the cluster to join; None begins one. hides: a folder that its processes find
        empty.
        """
        self.mark = uuid.uuid4().hex
        self.folder = Path(tempfile.mkdtemp(prefix="ray"))  # short, as names of sockets have to be
        self.address = address or f"127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
        command += [f"--num-cpus={cpus}", "--object-store-memory=80000000"]
        command += ["--disable-usage-stats", "--dashboard-agent-listen-port=0"]
        command += ["--node-ip-address=127.0.0.1", f"--temp-dir={self.folder}"]
        if address is None:
            command += ["--head", f"--port={self.address.partition(':')[2]}"]
            command += ["--include-dashboard=false"]
        else:
            command += [f"--address={address}"]
        if hides is not None:
            script = 'mount -t tmpfs none "$1" && shift && exec "$@"'
            command = ["unshare", "-rm", "sh", "-c", script, "sh", str(hides), *command]
        self._log = (self.folder / "said").open("w+")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **OWN, MARK: self.mark, "TMPDIR": str(self.folder)},
        )
        self._wait()

    def kill(self) -> None:
        """Kill the raylet, as a machine that goes away takes it."""
        for raylet in raylets(self.mark):
            os.kill(raylet, signal.SIGKILL)

    def close(self) -> None:
        """End it with all its processes."""
        for pid in processes(self.mark):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(TIMEOUT)
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def left(self) -> list[str]:
        """Return the folders that actors have left on it."""
        return [path.name for path in self.folder.glob("ltxfilter-*")]

    def _wait(self) -> None:
        deadline = monotonic() + STARTING
        while "Ray runtime started" not in (said := (self.folder / "said").read_text()):
            assert self._process.poll() is None, said
            assert monotonic() < deadline, said
            sleep(0.1)
