"""Run a peer on a clip in a process of its own, and keep what it made."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import scores
from benchmarks.clips import Clip, load, write_y4m
from benchmarks.peers.programs import MissingError, Peer
from ltxfilter.compare.vmaf import VmafMeter
from ltxfilter.frame import Planes

REPEATED_BELOW = 3.0  # CPU seconds; a longer run is steady enough as it is
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}  # threads that wait take no CPU time
MADE, COST = "made.y4m", "cost.json"


@dataclass(frozen=True, slots=True)
class Task:
    """A clip with every second frame left out."""

    clip: Clip
    given: Path  # what is left, as yuv4mpegpipe
    digest: str  # of that file

    @classmethod
    def written(cls, clip: Clip, folder: Path) -> Task:
        """Write what is left of a clip into a folder."""
        path = folder / "given.y4m"
        write_y4m(path, clip.frames[::2], clip.info, Fraction(25))
        return cls(clip, path, hashlib.sha256(path.read_bytes()).hexdigest())


@dataclass(frozen=True, slots=True)
class Pictures:
    """Where peers' pictures are kept, and how often they are made."""

    folder: Path
    fresh: tuple[str, ...]  # how names of peers begin whose pictures are made again
    repeats: int

    def of(self, peer: Peer, task: Task) -> tuple[list[Planes], dict[str, Any]]:
        """Return all frames that a peer makes of a clip, and what that costs.

        Raises:
            MissingError: The peer does not take such frames, or failed.
        """
        depth = task.clip.info.depth
        if depth > peer.deepest:
            raise MissingError(f"takes no {depth}-bit video")
        key = hashlib.sha256(f"{task.digest} {peer.name} {peer.settings}".encode()).hexdigest()
        kept = self.folder / key[:16]
        if peer.name.startswith(self.fresh) and kept.exists():
            shutil.rmtree(kept)
        if not kept.exists():
            self._make(peer, task, kept)
        frames = load(kept / MADE, len(task.clip.frames)).frames
        if len(frames) < len(task.clip.frames) - 1:  # the last one is a source frame
            raise MissingError(f"made {len(frames)} frames of {len(task.clip.frames)}")
        return frames, json.loads((kept / COST).read_text())

    def _make(self, peer: Peer, task: Task, kept: Path) -> None:
        part = Path(tempfile.mkdtemp(prefix="part-", dir=self.folder))
        try:
            costs: list[dict[str, float]] = []
            while len(costs) < self.repeats:
                (part / MADE).unlink(missing_ok=True)
                costs.append(timed(peer.command(task.given, part / MADE)))
                if costs[-1]["cpu s"] > REPEATED_BELOW:
                    break
            best = min(costs, key=lambda cost: cost["cpu s"])  # what else runs only adds
            (part / COST).write_text(json.dumps(best) + "\n")
            if not kept.exists():  # another run may have made them meanwhile
                part.rename(kept)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def timed(command: list[str]) -> dict[str, float]:
    """Run a command; return CPU and wall seconds of it and all processes that it started.

    Raises:
        MissingError: It failed; the message is the last line that it printed.
    """
    with tempfile.TemporaryFile() as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **PASSIVE}
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            lines = log.read().decode(errors="replace").strip().splitlines()
            raise MissingError(f"failed: {lines[-1] if lines else process.returncode}")
    return {"cpu s": usage.ru_utime + usage.ru_stime, "wall s": wall}


def scored(made: list[Planes], clip: Clip, ffmpeg: str | None) -> dict[str, Any]:
    """Return how near the frames between keyframes come to those that were left out.

    ffmpeg: one with libvmaf; None leaves VMAF out.
    """
    depth = clip.info.depth
    drawn, true = made[1::2], clip.frames[1::2]
    pairs = [(a[0], b[0]) for a, b in zip(drawn, true, strict=True)]
    levels = [scores.psnr(a, b, depth) for a, b in pairs]
    same = [
        all(map(np.array_equal, a, b)) for a, b in zip(made[::2], clip.frames[::2], strict=False)
    ]
    return {
        "psnr": float(np.mean(levels)),
        "p10": float(np.percentile(levels, 10)),
        "worst": min(levels),
        "ssim": float(np.mean([scores.ssim(a, b, depth) for a, b in pairs])),
        "vmaf": vmaf(pairs, clip, ffmpeg) if ffmpeg else None,
        "flicker": scores.flicker(drawn, true) / (1 << (depth - 8)),
        "originals": float(np.mean(same)),
    }


def vmaf(pairs: list[tuple[Any, Any]], clip: Clip, ffmpeg: str) -> float:
    """Return the mean VMAF of pairs of luma planes."""
    meter = VmafMeter(ffmpeg, clip.info, threads=2)
    try:
        for drawn, true in pairs:
            meter.add(drawn, true)
        found = meter.finish()
    finally:
        meter.close()
    if meter.missing:
        raise RuntimeError(meter.missing)
    return float(np.mean(found))
