"""What end-to-end tests share: an ffmpeg, small synthetic clips, programs joined by real pipes.

    clip = make_clip(tmp_path / "a.mp4", size="64x48", rate="25", seconds=1)
    result = run_pipe(ffmpeg("-i", clip, "-f", "rawvideo", "-"), ltxfilter("--fps", "50"))
    assert result.codes == [0, 0]  # result.out: stdout of the last; result.err: every stderr

Import what you need: `from support.tools import ffmpeg, ltxfilter, make_clip, run_pipe, samples`.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import monotonic, sleep
from typing import IO

ROOT = Path(__file__).parents[2]
TIMEOUT = 60  # seconds after which a test gives up what takes one or two on an idle machine

Command = Sequence[str]


@cache
def ffmpeg_exe() -> str:
    """Return the path of an ffmpeg: the system's, or else the one of imageio-ffmpeg."""
    found = shutil.which("ffmpeg")
    if found:
        return found
    import imageio_ffmpeg

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def ffmpeg(*arguments: object) -> list[str]:
    """Return an ffmpeg command that prints errors only."""
    return [ffmpeg_exe(), "-v", "error", "-nostdin", *map(str, arguments)]


def ltxfilter(*arguments: object) -> list[str]:
    """Return a command that runs this checkout's ltxfilter."""
    return [sys.executable, "-m", "ltxfilter", *map(str, arguments)]


def make_clip(
    path: Path, *options: object, size: str = "64x48", rate: str = "25", seconds: float = 1
) -> Path:
    """Write a moving test picture to `path` with ffmpeg; `options` are its output options."""
    source = f"testsrc2=s={size}:r={rate}:d={seconds}"
    subprocess.run(
        ffmpeg("-y", "-f", "lavfi", "-i", source, *options, path), check=True, timeout=TIMEOUT
    )
    return path


def samples(data: bytes | Path, *options: object, pix_fmt: str | None = None) -> bytes:
    """Decode with ffmpeg; return the raw samples of every frame.

    data: a file, or the bytes of one that tells its own format. options: ffmpeg's, before -i.
    """
    source, stdin = ("-", data) if isinstance(data, bytes) else (data, b"")
    convert = ["-pix_fmt", pix_fmt] if pix_fmt else []
    command = ffmpeg(*options, "-i", source, "-fps_mode", "passthrough", *convert)
    command.remove("-nostdin")
    done = subprocess.run(
        [*command, "-f", "rawvideo", "-"], input=stdin, capture_output=True, timeout=TIMEOUT
    )
    assert not done.returncode, done.stderr.decode()
    return done.stdout


def wait_until(condition: Callable[[], object], failure: str) -> None:
    """Wait until `condition` holds; after TIMEOUT the test fails with `failure`."""
    deadline = monotonic() + TIMEOUT
    while not condition():
        assert monotonic() < deadline, failure
        sleep(0.01)


def feed_until(
    process: subprocess.Popen[bytes], frame: bytes, condition: Callable[[], object]
) -> None:
    """Write `frame` to the standard input of `process` until `condition` holds."""
    assert process.stdin is not None
    deadline = monotonic() + TIMEOUT
    while not condition():
        assert monotonic() < deadline, "nothing came of the frames that were written"
        process.stdin.write(frame)
        process.stdin.flush()
        sleep(0.01)


def reports_frames(file: Path) -> bool:
    """Return True once a status line or a progress block that counts frames stands in `file`."""
    return file.exists() and b"frame=" in file.read_bytes()


@dataclass(frozen=True, slots=True)
class Piped:
    """How programs joined by pipes ended."""

    codes: list[int]  # exit codes of all programs, 128 + the signal for those that one ended
    out: bytes  # standard output of the last one
    errs: list[str]  # standard error of each

    @property
    def err(self) -> str:
        """Everything that the programs wrote to standard error."""
        return "".join(self.errs)


def run_pipe(*commands: Command, stdin: bytes | IO[bytes] | None = None) -> Piped:
    """Run programs joined by pipes, as `a | b | c` does; wait for all of them.

    stdin: what the first one reads; bytes arrive through a pipe, None is an empty one.
    """
    with contextlib.ExitStack() as stack:
        logs = [stack.enter_context(tempfile.TemporaryFile()) for _ in commands]
        processes: list[subprocess.Popen[bytes]] = []
        source: object = stdin if hasattr(stdin, "read") else subprocess.PIPE
        for command, log in zip(commands, logs, strict=True):
            process = stack.enter_context(
                subprocess.Popen(
                    command,
                    stdin=source,  # type: ignore[call-overload]
                    stdout=subprocess.PIPE,
                    stderr=log,
                    cwd=ROOT,
                )
            )
            stack.callback(process.kill)
            if processes and processes[-1].stdout:
                processes[
                    -1
                ].stdout.close()  # else the writer would not notice that its reader has left
            processes.append(process)
            source = process.stdout
        first, last = processes[0], processes[-1]
        if len(processes) > 1 and first.stdin:
            with contextlib.suppress(BrokenPipeError), first.stdin:
                first.stdin.write(stdin if isinstance(stdin, bytes) else b"")
            first.stdin = None
        given = stdin if isinstance(stdin, bytes) and len(processes) == 1 else None
        out, _ = last.communicate(given, timeout=TIMEOUT)
        codes = [process.wait(TIMEOUT) for process in processes]
        errs = []
        for log in logs:
            log.seek(0)
            errs.append(log.read().decode(errors="replace"))
    return Piped(codes=[code if code >= 0 else 128 - code for code in codes], out=out, errs=errs)
