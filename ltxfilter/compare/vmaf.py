"""VMAF, through an ffmpeg that has libvmaf, where there is one.

Both clips travel in one pipe, one picture above the other, so that neither waits for the other.
VMAF looks at luma alone; chroma is sent as gray.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ltxfilter.frame import Plane, VideoInfo

FORMATS = {
    8: "yuv420p",
    10: "yuv420p10le",
    12: "yuv420p12le",
    16: "yuv420p16le",
}  # by depth, what libvmaf takes
LOG = "vmaf.csv"  # in a folder of its own
MISSING = "no ffmpeg on PATH; install one with libvmaf, or name it with --ffmpeg FILE"
WITHOUT = "{} has no libvmaf; name one that has with --ffmpeg FILE"


def find_ffmpeg(given: str | None) -> tuple[str | None, str]:
    """Return an ffmpeg that has libvmaf, or None and why there is none.

    given: the one to use; None looks on PATH, then for the one of the package imageio-ffmpeg.
    """
    if given is not None:
        return (given, "") if _has_vmaf(given) else (None, f"{given} has no libvmaf")
    on_path = shutil.which("ffmpeg")
    for found in (on_path, _packaged()):
        if found and _has_vmaf(found):
            return found, ""
    return None, WITHOUT.format(on_path) if on_path else MISSING


def _packaged() -> str | None:
    """Return the ffmpeg of imageio-ffmpeg; None if it is not installed."""
    if find_spec("imageio_ffmpeg") is None:
        return None
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:  # the package came without one
        return None


@cache
def _has_vmaf(exe: str) -> bool:
    command = [exe, "-hide_banner", "-h", "filter=libvmaf"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return b"Filter libvmaf" in done.stdout


class VmafMeter:
    """Takes pairs of luma planes and returns the VMAF of each in the end. Close it."""

    def __init__(self, exe: str, info: VideoInfo, threads: int = 1) -> None:
        """Start ffmpeg. info: of the clips. threads: of libvmaf. `missing` says what went wrong."""
        self.missing = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._depth = min(depth for depth in FORMATS if depth >= info.depth)
        self._lift = self._depth - info.depth
        self._height, self._width = info.layout[0].height, info.layout[0].width
        self._rows = -(-self._height // 2) * 2  # of one picture in the pipe
        self._columns = -(-self._width // 2) * 2
        self._folder = tempfile.TemporaryDirectory(prefix="ltxfilter-vmaf-")
        dtype = np.uint8 if self._depth == 8 else np.uint16
        self._luma = np.zeros((2 * self._rows, self._columns), dtype)
        gray = 1 << (self._depth - 1)
        self._chroma = np.full(self._rows * self._columns, gray, dtype).tobytes()
        try:
            self._process = subprocess.Popen(
                self._command(exe, threads),
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                cwd=self._folder.name,
            )
        except OSError as error:
            self.missing = f"{exe} cannot be started: {error.strerror or error}"

    def _command(self, exe: str, threads: int) -> list[str]:
        size = f"w={self._width}:h={self._height}:x=0:exact=1"
        graph = (
            f"split[p][q];[p]crop={size}:y=0[drawn];[q]crop={size}:y={self._rows}[true];"
            f"[drawn][true]libvmaf=log_fmt=csv:log_path={LOG}:n_threads={threads}"
        )
        command = [str(Path(exe).resolve()) if Path(exe).exists() else exe, "-v", "error"]
        command += ["-f", "rawvideo", "-pix_fmt", FORMATS[self._depth]]
        command += ["-s", f"{self._columns}x{2 * self._rows}", "-r", "25", "-i", "-"]
        return [*command, "-lavfi", graph, "-f", "null", "-"]

    def add(self, drawn: Plane, true: Plane) -> None:
        """Send a pair of planes, codes [H, W] of the clips' depth."""
        if self._process is None or self.missing:
            return
        self._luma[: self._height, : self._width] = drawn
        self._luma[self._rows :][: self._height, : self._width] = true
        sent = np.left_shift(self._luma, self._lift) if self._lift else self._luma
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(sent).data)
            self._process.stdin.write(self._chroma)
        except OSError:
            _, errors = self._process.communicate()
            self.missing = _failure(errors, self._process.returncode)

    def finish(self) -> list[float]:
        """Return the VMAF of every pair, 0 to 100; empty if `missing` says why not."""
        if self._process is None or self.missing:
            return []
        _, errors = self._process.communicate()
        if self._process.returncode:
            self.missing = _failure(errors, self._process.returncode)
            return []
        with Path(self._folder.name, LOG).open(newline="") as file:
            return [float(row["vmaf"]) for row in csv.DictReader(file)]

    def close(self) -> None:
        """End ffmpeg; calling it twice does nothing."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stderr):
                assert pipe is not None
                try:
                    pipe.close()
                except OSError:  # it does not take what is left in the buffer
                    continue
        self._folder.cleanup()


def _failure(errors: bytes, code: int) -> str:
    """Say why there is no VMAF. errors: what ffmpeg printed. code: what it ended with."""
    lines = errors.decode(errors="replace").strip().splitlines()
    return f"libvmaf failed: {lines[-1] if lines else f'ffmpeg ended with code {code}'}"
