"""What this machine can run, and what a given job would take."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec

from ltxfilter.options import available_threads

ENCODERS = (
    "libx264", "libx265", "libsvtav1", "libvpx-vp9", "prores_ks", "ffv1",
    "h264_nvenc", "hevc_nvenc", "av1_nvenc", "h264_qsv", "hevc_qsv", "h264_amf",
)  # fmt: skip
LTX = 'pip install "ltxfilter[ltx]"'
PACKAGES = {  # import name -> distributions that bring it, what lacks without it, how to get it
    "numpy": (("numpy",), "everything", "pip install numpy"),
    "cv2": (
        ("opencv-python-headless", "opencv-python", "opencv-contrib-python"),
        "engine flow",
        "pip install opencv-python-headless",
    ),
    "torch": (("torch",), "drawing on a GPU, the ltx engines", LTX),
    "ltx_core": (("ltx-core",), "the ltx engines", LTX),
    "ltx_pipelines": (("ltx-pipelines",), "engine ltx-reference", LTX),
    "safetensors": (("safetensors",), "the ltx engines", LTX),
    "transformers": (("transformers",), "text prompts for the ltx engines", LTX),
    "ray": (("ray",), "more than one machine", 'pip install "ltxfilter[ray]"'),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for."""

    name: str
    found: str  # "" when it is missing
    missing: str = ""  # what lacks without it, and how to get it

    def line(self) -> str:
        """Return it as a line of `ltxfilter doctor`."""
        return f"{self.name:14} {self.found or 'missing: ' + self.missing}"


def examine() -> Iterator[Finding]:
    """Yield what this machine has and lacks; imports torch if it is there."""
    yield Finding("python", f"{platform.python_version()} on {platform.platform()}")
    yield Finding("cores", str(available_threads()))
    yield Finding("memory", _memory(), "this system does not say")
    yield _libraries()
    for name, (distributions, lacks, install) in PACKAGES.items():
        yield Finding(name, _version(name, distributions), f"needed for {lacks}; {install}")
    yield Finding("cuda", _cuda(), "no NVIDIA GPU that torch can use; engines draw on the CPU")
    yield Finding("ffmpeg", shutil.which("ffmpeg") or "", "only needed around pipes; ffmpeg.org")
    yield from _engines()


def _libraries() -> Finding:
    from ltxfilter.media.versions import encoders, library_versions

    return Finding("av", f"{library_versions()}; encoders {', '.join(encoders(ENCODERS))}")


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / (1 << 30):.1f} GiB"
    except (AttributeError, ValueError, OSError):  # Windows
        return ""


def _version(name: str, distributions: tuple[str, ...]) -> str:
    if find_spec(name) is None:
        return ""
    for distribution in distributions:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return "installed, version unknown"


def _cuda() -> str:
    if find_spec("torch") is None:
        return ""
    import torch

    if not torch.cuda.is_available():
        return ""
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return f"{torch.version.cuda}: {', '.join(names)}"


def _engines() -> Iterator[Finding]:
    from ltxfilter.engines import ENGINES, engine_class

    for name in ENGINES:
        missing = engine_class(name).unavailable() or ""
        yield Finding(f"engine {name}", "" if missing else "ready", missing)
