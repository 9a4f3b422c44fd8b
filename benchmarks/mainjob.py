"""The main job on real video: every clip through the file path and through a pipe, to 50 and 60.

python -m benchmarks.mainjob CLIP... [--engine SPEC] [--sheet FOLDER]; results/mainjob.json
ffmpeg decodes each output and must print no error. --sheet writes a PNG per clip with some
interpolated frames, each between its two neighbours.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks.clips import ffmpeg_exe
from benchmarks.record import table, write

Row = dict[str, Any]


def measure(clip: Path, fps: str, path: str, engine: str, folder: Path) -> Row:
    """Convert one clip; return a row of the table. Raises RuntimeError if a program fails."""
    target = folder / f"{clip.stem}-{path}-{fps}.mkv"
    began = time.perf_counter()
    log, usage = (_through_file if path == "file" else _through_pipe)(clip, target, fps, engine)
    wall = time.perf_counter() - began
    found = re.search(
        r"in (\d+), out (\d+): (\d+) passed through, (\d+) interpolated, (\d+) repeated", log
    )
    if not found:
        raise RuntimeError(f"{clip.name}: no statistics in {log!r}")
    frames_in, frames_out, passed, interpolated, repeated = map(int, found.groups())
    _play(target)
    shown, lasts = _presented(target)
    if shown != frames_out:
        raise RuntimeError(f"{target.name}: {shown} frames play, {frames_out} were written")
    return {
        "clip": clip.name,
        "path": path,
        "fps": fps,
        "in": frames_in,
        "passed": passed,
        "interpolated": interpolated,
        "repeated": repeated,
        "out": frames_out,
        "s in": round(float(_presented(clip)[1]), 3),
        "s out": round(float(lasts), 3),
        "wall s": round(wall, 1),
        "CPU s": round(usage.ru_utime + usage.ru_stime, 1),
        "peak MiB": usage.ru_maxrss // 1024,
    }


def _through_file(clip: Path, target: Path, fps: str, engine: str) -> tuple[str, Any]:
    words = ["-i", clip, "--fps", fps, "--engine", engine, "-preset", "ultrafast", "-y", target]
    return _finish(subprocess.Popen(_ltxfilter(*words), stderr=subprocess.PIPE), str(clip))


def _through_pipe(clip: Path, target: Path, fps: str, engine: str) -> tuple[str, Any]:
    """Run ffmpeg | ltxfilter | ffmpeg; the first two are joined by NUT, which keeps times."""
    exe = ffmpeg_exe()
    quiet = ["-v", "error", "-nostdin"]
    nut = ["-map", "0:v:0", "-c:v", "rawvideo", "-fps_mode", "passthrough", "-f", "nut", "-"]
    first = subprocess.Popen([exe, *quiet, "-i", clip, *nut], stdout=subprocess.PIPE)
    middle = subprocess.Popen(
        _ltxfilter("--fps", fps, "--engine", engine, "-f", "yuv4mpegpipe", "-"),
        stdin=first.stdout,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    encode = ["-c:v", "libx264", "-preset", "ultrafast", "-y", target]
    last = subprocess.Popen([exe, "-v", "error", "-i", "-", *encode], stdin=middle.stdout)
    for stream in (first.stdout, middle.stdout):
        assert stream is not None
        stream.close()
    result = _finish(middle, str(clip))
    if first.wait() or last.wait():
        raise RuntimeError(f"{clip.name}: an ffmpeg of the pipe failed")
    return result


def _ltxfilter(*words: object) -> list[str]:
    return [sys.executable, "-m", "ltxfilter", *map(str, words)]


def _finish(process: subprocess.Popen[bytes], name: str) -> tuple[str, Any]:
    """Return the messages and the resource use of a process, which must succeed."""
    assert process.stderr is not None
    log = process.stderr.read().decode()
    process.stderr.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{name}: exit {process.returncode}: {log}")
    return log, usage


def _play(path: Path) -> None:
    command = [ffmpeg_exe(), "-v", "error", "-nostdin", "-i", path, "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or done.stderr:
        raise RuntimeError(f"{path.name} does not play: {done.stderr}")


def _presented(path: Path) -> tuple[int, Fraction]:
    """Return how many frames a file has, and the seconds to the end of the last one."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = sorted(
            Fraction(frame.pts * (frame.time_base or stream.time_base))
            for frame in container.decode(stream)
            if frame.pts is not None
        )
    steps = np.diff([float(time) for time in times])
    last = Fraction(float(np.median(steps))).limit_denominator(100000) if len(steps) else 0
    return len(times), times[-1] - times[0] + last


def _sheet(clip: Path, path: Path, folder: Path) -> None:
    """Write a PNG of three interpolated frames of `path`, each between its neighbours."""
    import cv2

    count, _ = _presented(path)
    picks = [min(count - 2, count * part // 4 | 1) for part in (1, 2, 3)]
    wanted = {n + step for n in picks for step in (-1, 0, 1)}
    with av.open(str(path)) as container:  # few are kept: a child's peak memory counts its parent's
        frames = {
            number: frame.to_ndarray(format="rgb24")[::2, ::2]
            for number, frame in enumerate(container.decode(video=0))
            if number in wanted
        }
    rows = [np.hstack([frames[n - 1], frames[n], frames[n + 1]]) for n in picks]
    cv2.imwrite(str(folder / f"{clip.stem}.png"), np.vstack(rows)[..., ::-1])


def main() -> None:
    """Convert the clips named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--engine", default="flow")
    parser.add_argument("--sheet", type=Path)
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for clip in asked.clips:
            for path, fps in [("file", "50"), ("file", "60"), ("pipe", "50"), ("pipe", "60")]:
                rows.append(measure(clip, fps, path, asked.engine, Path(folder)))
                print(rows[-1], flush=True)
            if asked.sheet:
                _sheet(clip, Path(folder) / f"{clip.stem}-file-50.mkv", asked.sheet)
    print(table(rows))
    print(write("mainjob", rows, engine=asked.engine))


if __name__ == "__main__":
    main()
