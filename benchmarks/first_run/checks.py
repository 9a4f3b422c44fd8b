"""The checks of the first run on a GPU, in the order in which faults would show."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Found = dict[str, Any]

ROOT = Path(__file__).parents[2]
PACKAGES = ("torch", "triton", "ltx-core", "transformers", "numpy", "nvidia-cudnn-cu13")
ROWS = (1, 16, 17, 120, 168, 256, 257, 272, 336, 1024, 5610)  # tokens of products in 8 bits
SIDES = ((4096, 4096), (4096, 16384), (16384, 4096))  # inputs and outputs of the model's layers
WINDOWS = 1000  # over which memory must not grow
GROWTH = 64 << 20  # bytes of memory that the allocator may reserve beyond the first windows


@dataclass(frozen=True, slots=True)
class Check:
    """One check, run in a process of its own."""

    name: str
    about: str
    seconds: float  # after which it is stopped
    run: Callable[[bool], Found]  # True rehearses; the finding "failed" says what is wrong


def versions(rehearse: bool) -> Found:
    """Return what is installed, what the device can do, and whether flow's kernels can run."""
    import torch

    from ltxfilter.engines.ltx import missing_packages
    from ltxfilter.motion.cuda import device

    found: Found = {name: version(name) for name in PACKAGES}
    found |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    found |= {tool: shutil.which(tool) for tool in ("gcc", "clang", "compute-sanitizer", "nsys")}
    if torch.cuda.is_available():
        number = torch.cuda.current_device()
        found["device"] = torch.cuda.get_device_name(number)
        found["capability"] = torch.cuda.get_device_capability(number)
        found["memory GB"] = round(torch.cuda.mem_get_info(number)[1] / 1e9, 1)
    elif not rehearse:
        found["failed"] = f"torch {torch.__version__} finds no CUDA device"
    if reason := device.missing() or missing_packages():
        found["failed"] = reason
    return found


def version(name: str) -> str | None:
    """Return the version of a package, None if it is missing."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def products(rehearse: bool) -> Found:
    """Return which products in 8 bits the device computes, and which it refuses or gets wrong."""
    import torch

    from ltxfilter.engines.ltx.weights import fp8

    device = torch.device("cpu" if rehearse else "cuda")
    sides = ((64, 128),) if rehearse else SIDES
    refused = {
        f"{rows} x {inputs} x {outputs}": reason
        for inputs, outputs in sides
        for rows in ROWS
        if (reason := fp8.product_refused(device, rows, inputs, outputs))
    }
    least = fp8.least_rows(device, frozenset(sides))
    found: Found = {"refused": refused or "none", "least rows": least}
    if least is None:
        found["failed"] = f"8 bits save memory only: {next(iter(refused.items()), None)}"
    return found


def tests(*words: str) -> Callable[[bool], Found]:
    """Return a check that runs tests on the device, and on a CPU those that run there."""

    def run(rehearse: bool) -> Found:
        chosen = ["-x", "-k", "warp or equals or rounded"] if rehearse else ["-m", "gpu", "-x"]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen, *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        tail = [line for line in done.stdout.strip().splitlines() if line.strip()][-8:]
        found: Found = {"pytest": tail[-1] if tail else done.stderr[-300:]}
        nothing_ran = rehearse and done.returncode == 5
        if done.returncode and not nothing_ran:
            found["failed"] = "\n".join(tail) or done.stderr[-1000:]
        return found

    return run


def racecheck(rehearse: bool) -> Found:
    """Return what compute-sanitizer says of kernels that share memory within a block."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        return {"skipped": "compute-sanitizer is not installed (it comes with the CUDA toolkit)"}
    command = [
        tool, "--tool", "racecheck", "--error-exitcode", "99", sys.executable, "-m", "pytest", "-q",
        "-m", "gpu", "-k", "warp or still_mask or aligned or all_tiles", *FLOW,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    summary = re.findall(r"RACECHECK SUMMARY.*", done.stdout + done.stderr)
    found: Found = {"summary": summary[-1] if summary else "none"}
    if done.returncode and not rehearse:
        found["failed"] = (done.stdout + done.stderr)[-1500:]
    return found


def flow_speed(rehearse: bool) -> Found:
    """Return how fast flow is at 1080p, where its time goes, and its memory."""
    from benchmarks import gpu_flow

    (row,) = gpu_flow.rows("" if rehearse else "1080p balanced", tiny=rehearse)
    return {**row, "timings": {"flow 1080p balanced": row["output fps"]}}


def flow_memory(rehearse: bool) -> Found:
    """Return how much more memory is reserved after a thousand windows of flow."""
    import torch

    from benchmarks import gpu_flow

    size = gpu_flow.TINY["tiny"] if rehearse else (640, 360, "yuv420p")
    stream = gpu_flow.frame_counts(gpu_flow.make_video(*size), "flow:device=cuda", 2)
    reserved: list[int] = []
    count = 4 if rehearse else WINDOWS
    for number, _ in enumerate(stream):
        if number in (count // 5, count - 1):
            reserved.append(0 if rehearse else torch.cuda.memory_reserved())
        if number == count - 1:
            break
    stream.close()
    found: Found = {"reserved MB": [round(value / 1e6) for value in reserved]}
    if reserved[-1] - reserved[0] > GROWTH:
        found["failed"] = f"reserved memory grew: {found['reserved MB']} MB over {count} windows"
    return found


def motion_speed(mode: str) -> Callable[[bool], Found]:
    """Return a check of ltx-motion's speed, and of a large step's, with random weights."""

    def run(rehearse: bool) -> Found:
        import torch

        from benchmarks import gpu_models, gpu_motion
        from benchmarks.gpu_windows import HALF, ModelCall

        precision = "bf16" if mode == "off" else "fp8"
        device = torch.device("cpu" if rehearse else "cuda")
        if rehearse:
            gpu_models.SECONDS = 0.05
        bench = gpu_models.Bench(device, mode, rehearse)
        timings, rows = {}, []
        patterns = {
            "ltx-motion x2 1920x1080, dit, 4, vae full": f"ltx-motion dit 4 1080p, {precision}"
        }
        if mode == "off":
            patterns |= {
                "ltx-motion x2 1920x1080, latent, vae full": "ltx-motion latent 1080p",
                "ltx-motion x24 1024x576, dit, 4, vae full": "RDVFI's setting, dit 4, x24, bf16",
            }
        for pattern, key in patterns.items():
            for row in gpu_motion.measure(bench, mode, pattern, tiny=rehearse):
                rows.append(row)
                if "ms per frame" in row:
                    timings[key] = row["ms per frame"]
        step = bench.time(ModelCall("transformer", 11, HALF))
        if not isinstance(step, str):
            fastest = min(step.seconds, step.text_seconds, step.graph_seconds or step.seconds)
            timings[f"step of 5610 tokens, {precision}"] = 1000 * fastest
        return {"rows": rows, "step": str(step), "timings": timings}

    return run


def alternatives(rehearse: bool) -> Found:
    """Return how much faster a step is with what is off by default, since it rounds otherwise."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from benchmarks import gpu_models
    from benchmarks.gpu_windows import HALF, SMALL, ModelCall
    from ltxfilter.engines.ltx.weights import fp8

    device = torch.device("cpu" if rehearse else "cuda")
    if rehearse:
        gpu_models.SECONDS = 0.05
    found: Found = {"choices": {}}
    bench = gpu_models.Bench(device, "rowwise", rehearse)
    calls = {
        "336 tokens": ModelCall("transformer", 3, SMALL),
        "5610 tokens": ModelCall("transformer", 11, HALF),
    }

    def seconds(call: ModelCall) -> float:
        bench._timings.clear()
        timing = bench.time(call)
        return float("nan") if isinstance(timing, str) else timing.text_seconds

    for name, call in calls.items():
        plain = seconds(call)
        fp8.RowwiseLinear.fused_bias = True
        found["choices"][f"bias inside the product, {name}"] = plain / seconds(call)
        fp8.RowwiseLinear.fused_bias = False
        if not rehearse:
            try:
                with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
                    found["choices"][f"cuDNN's attention, {name}"] = plain / seconds(call)
            except RuntimeError as error:
                found[f"cuDNN's attention, {name}"] = str(error).partition("\n")[0]
    return found


def video_hardware(rehearse: bool) -> Found:
    """Return whether NVDEC gives the CPU's samples, and frames that stay on the GPU flow's."""
    from benchmarks.first_run import video

    return video.video_hardware(rehearse)


def profile(rehearse: bool) -> Found:
    """Leave a profile of nsys of a few windows of flow, where nsys is."""
    tool = shutil.which("nsys")
    if tool is None or rehearse:
        return {"skipped": "nsys is not installed"}
    out = ROOT / "build" / "gpu_first_run"
    out.parent.mkdir(exist_ok=True)
    command = [
        tool, "profile", "--force-overwrite", "true", "-o", str(out), sys.executable, "-m",
        "pytest", "-q", "-m", "gpu", "-k", "engine_draws", *FLOW,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return (
        {"profile": f"{out}.nsys-rep"} if not done.returncode else {"skipped": done.stderr[-300:]}
    )


FLOW = ("tests/motion/test_flow_cuda.py", "tests/motion/cuda/test_fusion_on_cuda.py")
LTX = ("tests/engines/ltx/test_gpu.py", "tests/engines/ltx/weights/test_fp8_triton.py")
CHECKS = (
    Check("versions", "what is installed, what the device can do", 60, versions),
    Check("products", "products in 8 bits, by rows and sizes", 60, products),
    Check("flow tests", "every kernel of flow against the CPU", 150, tests(*FLOW)),
    Check("ltx tests", "the LTX engines against the CPU", 120, tests(*LTX)),
    Check("racecheck", "compute-sanitizer on flow's kernels", 60, racecheck),
    Check("flow speed", "flow at 1080p, preset balanced", 60, flow_speed),
    Check("flow memory", "memory over a thousand windows", 40, flow_memory),
    Check("video hardware", "NVDEC, NVENC, and frames that stay on the GPU", 60, video_hardware),
    Check("motion speed", "ltx-motion in bf16", 120, motion_speed("off")),
    Check("motion speed fp8", "ltx-motion in 8 bits", 90, motion_speed("rowwise")),
    Check("alternatives", "what is off by default, since it rounds otherwise", 60, alternatives),
    Check("profile", "nsys of a few windows of flow", 40, profile),
)

if os.environ.get("TRITON_INTERPRET") == "1":  # NumPy's threads are of no use to small arrays
    os.environ.setdefault("OMP_NUM_THREADS", "1")
