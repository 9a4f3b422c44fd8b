"""`ltxfilter doctor`: what this machine can run, and what each missing thing takes to install."""

from __future__ import annotations

import logging
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec

import click

from ltxfilter.cli.ffmpeg_style import FfmpegStyle
from ltxfilter.cli.parse import Arguments
from ltxfilter.cli.text_output import write_text
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import ModelOptions, available_threads

HELP = """\
Say what this machine can run, and what each missing thing takes to install. Model files given as
for a run are looked at too: what each one is, which engines it serves, and what each engine lacks.
The exit code is 5 if a file that is named cannot be used. With a whole command line after --, as
doctor -- -i in.mkv --fps 60 out.mkv, say whether that command will work, and why not; the exit code
is then the one that the command would end with.
"""
ENCODERS = ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "prores_ks", "ffv1")
HARDWARE_ENCODERS = (
    "h264_nvenc", "hevc_nvenc", "av1_nvenc", "h264_qsv", "hevc_qsv", "av1_qsv", "h264_amf",
    "hevc_amf", "av1_amf", "h264_videotoolbox", "hevc_videotoolbox", "h264_v4l2m2m",
)  # fmt: skip
LTX = 'pip install "ltxfilter[ltx]"'
PACKAGES = {  # import name -> distributions that bring it, what lacks without it, how to get it
    "numpy": (("numpy",), "everything", "pip install numpy"),
    "cv2": (
        ("opencv-python-headless", "opencv-python", "opencv-contrib-python"),
        "engine flow",
        "pip install opencv-python-headless",
    ),
    "torch": (("torch",), "interpolation on a GPU, the ltx engines", LTX),
    "triton": (("triton",), "flow:device=cuda", "it comes with torch for CUDA, on Linux"),
    "ltx_core": (("ltx-core",), "the ltx engines", LTX),
    "ltx_pipelines": (("ltx-pipelines",), "engine ltx-reference", LTX),
    "safetensors": (("safetensors",), "the ltx engines", LTX),
    "onnxruntime": (
        (
            "onnxruntime",
            "onnxruntime-gpu",
            "onnxruntime-directml",
            "onnxruntime-openvino",
        ),
        "engine onnx",
        'pip install "ltxfilter[onnx]"',
    ),
    "transformers": (("transformers",), "text prompts for the ltx engines", LTX),
}


class DoctorStyle(FfmpegStyle):
    """A command that may be given a whole command line, after --."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the -- away, and note that it was there."""
        whole = args[:1] == ["--"]
        rest = args[1:] if whole else args
        super().parse_args(ctx, rest[1:] if whole and rest[:1] == ["ltxfilter"] else rest)
        ctx.params["whole"] = whole or ctx.params["arguments"].options.input.path != "-"
        return []


@click.command("doctor", cls=DoctorStyle, help=HELP)
def doctor_command(arguments: Arguments, *, whole: bool) -> int:
    """Print what this machine has and lacks, or whether a command line will work."""
    if whole:
        return _will_work(arguments)
    unusable = False
    for finding in examine(arguments.options.models):
        write_text(finding.line())
        unusable = unusable or finding.unusable
    return EngineUnavailableError.exit_code if unusable else 0


def _will_work(arguments: Arguments) -> int:
    """Print whether a command line will work; return the exit code that it would end with."""
    from ltxfilter.cli.commands.command_check import check_command

    codes, unusable = [], 0
    for finding in _model_files(arguments.options.models):
        write_text(finding.line())
        unusable = EngineUnavailableError.exit_code if finding.unusable else unusable
    with _warnings() as warnings:
        for answer in check_command(arguments.options):
            lead = "will not work: " if answer.code else ""
            write_text(f"{answer.part:19} {lead}{answer.text}")
            codes += [answer.code] if answer.code else []
    for text in warnings:
        write_text(f"{'warning':19} {text}")
    code = codes[0] if codes else unusable
    verdict = "will not work" if code else "will work, as far as can be told before it runs"
    write_text(f"{'this command':19} {verdict}")
    return code


@contextmanager
def _warnings() -> Iterator[dict[str, None]]:
    """Collect what the command would warn of, each line once."""
    said: dict[str, None] = {}
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.setdefault(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("ltxfilter")
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked for."""

    name: str
    found: str  # "" when it is missing
    missing: str = ""  # what lacks without it, and how to get it
    unusable: bool = False  # True for a file that is named and cannot be used
    lacking: str = "missing"  # the word before what lacks

    def line(self) -> str:
        """Return it as a line of `ltxfilter doctor`."""
        return f"{self.name:19} {self.found or f'{self.lacking}: {self.missing}'}"


def examine(models: ModelOptions | None = None) -> Iterator[Finding]:
    """Yield what this machine has and lacks; imports torch if it is there.

    models: files to look at, beside those that the environment and the settings file name.
    """
    yield Finding("python", f"{platform.python_version()} on {platform.platform()}")
    yield Finding("cores", str(available_threads()))
    yield Finding("memory", _memory(), "this system does not say")
    yield _libraries()
    yield from _video_hardware()
    for name, (distributions, lacks, install) in PACKAGES.items():
        yield Finding(name, _version(name, distributions), f"needed for {lacks}; {install}")
    yield _kernels()
    yield Finding("cuda", _cuda(), "no NVIDIA GPU that torch can use; engines run on the CPU")
    yield Finding("ffmpeg", shutil.which("ffmpeg") or "", "only needed around pipes; ffmpeg.org")
    yield from _model_files(models or ModelOptions())
    yield from _engines(models or ModelOptions())


def _libraries() -> Finding:
    from ltxfilter.media.encoding.ffmpeg_build import encoders, library_versions

    return Finding("av", f"{library_versions()}; encoders {', '.join(encoders(ENCODERS))}")


def _video_hardware() -> Iterator[Finding]:
    """Yield which hardware decodes and encodes video here."""
    from ltxfilter.media.container.hardware import built_devices, working_devices
    from ltxfilter.media.encoding.ffmpeg_build import encoders, on_hardware

    found = working_devices()
    yield Finding(
        "hardware decoders",
        ", ".join(f"-hwaccel {kind}" for kind in found),
        f"no device of {', '.join(built_devices())}; -hwaccel auto decodes on the CPU",
        lacking="none",
    )
    built = encoders(HARDWARE_ENCODERS)
    yield Finding(
        "hardware encoders",
        ", ".join(f"-c:v {name}" for name in on_hardware(built)),
        f"no device for {', '.join(built)}; the default encoders need none",
        lacking="none",
    )


def _kernels() -> Finding:
    from ltxfilter.motion.kernels import compiled

    slow = "engine flow makes the same frames with NumPy, slower; install again with a C compiler"
    return Finding("kernels", "" if compiled is None else "compiled", slow)


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
    return f"{torch.version.cuda}: " + ", ".join(map(_gpu, range(torch.cuda.device_count())))


def _gpu(number: int) -> str:
    """Describe a GPU: its memory, and whether it multiplies in 8 bits."""
    import torch

    free, total = torch.cuda.mem_get_info(number)
    eight = "with" if torch.cuda.get_device_capability(number) >= (8, 9) else "without"
    memory = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    return f"{torch.cuda.get_device_name(number)} ({memory}, {eight} FP8)"


def _engines(models: ModelOptions) -> Iterator[Finding]:
    """Yield what each engine needs on this machine, and at last what to try first."""
    from ltxfilter.engines import engine_class, engine_names, model_files

    completed = model_files.complete(models)
    ready: list[tuple[int, str]] = []
    for name in engine_names():
        try:
            kind = engine_class(name)
            missing = kind.unavailable() or ""
        except EngineUnavailableError as error:  # an engine of another package
            missing = str(error)
        if missing:
            yield Finding(f"engine {name}", "", missing)
        elif kind.files:
            yield _with_files(name, completed, ready)
        else:
            yield _with_partners(name, completed)
    if ready:
        (_, first), *rest = sorted(ready)
        then = "".join(f", then {name}" for _, name in rest)
        yield Finding("try first", f"ltxfilter -i IN.mp4 --engine {first} OUT.mp4{then}")


def _with_partners(name: str, models: ModelOptions) -> Finding:
    """Return the engines that an engine uses, or why one of them cannot run."""
    from ltxfilter.engines import build
    from ltxfilter.engines.ltx.weights.describe_files import unusable

    partners = build(name, models).partners
    for partner in partners:
        if partner.files and (wrong := unusable(models, partner.needed_files)):
            why = f"{partner.name}: {wrong}"
            return Finding(f"engine {name}", "", why, lacking="cannot run")
    named = ", ".join(each.name for each in partners)
    return Finding(f"engine {name}", f"ready, with the files named: {named}" if named else "ready")


def _with_files(name: str, models: ModelOptions, ready: list[tuple[int, str]]) -> Finding:
    """Return what an engine still lacks, or the memory that its models take."""
    from ltxfilter.engines import build
    from ltxfilter.engines.ltx.weights.describe_files import needed_bytes, shortfall

    engine = build(name, models)
    if name == "onnx":
        missing = "--onnx-model: a network, or LTXFILTER_ONNX_MODEL"
        lacks = bool(engine.missing_files)
        return Finding(f"engine {name}", "" if lacks else "ready", missing, lacking="lacks")
    lacking = engine.missing_files + engine.also_missing
    if lacking:
        others = [field for field in engine.needed_files if field not in lacking]
        word, text = shortfall(lacking, models, others)
        return Finding(f"engine {name}", "", text, lacking=word)
    device, itemsize = ("the GPU", 2) if _cuda() else ("the CPU", 4)
    try:
        size = needed_bytes(models, engine.needed_files, itemsize)
    except EngineUnavailableError as error:
        return Finding(f"engine {name}", "", str(error), lacking="cannot run")
    ready.append((size, name))
    bits = f"{8 * itemsize} bits"
    return Finding(f"engine {name}", f"ready, models of {size / 1e9:.3g} GB in {bits} on {device}")


def _model_files(models: ModelOptions) -> Iterator[Finding]:
    from ltxfilter.engines import ENGINES, engine_class, model_files, with_option
    from ltxfilter.engines.ltx.weights.describe_files import describe_files

    users: dict[str, list[str]] = {}
    for name in ENGINES:
        for field, option in engine_class(name).takes_files.items():
            users.setdefault(field, []).append(with_option(name, option))
    completed = model_files.complete(models)
    for line in describe_files(completed, users):
        name = line.field.replace("_", " ")
        unusable = bool(line.wrong) and line.named
        word = "cannot be used" if line.wrong else "missing"
        yield Finding(name, line.found, line.wrong, unusable, word)
    if completed.onnx_model and engine_class("onnx").unavailable() is None:
        from ltxfilter.engines.onnx.describe import describe_network

        found, wrong = describe_network(completed.onnx_model)
        yield Finding("onnx model", found, wrong, not found, "cannot be used")
