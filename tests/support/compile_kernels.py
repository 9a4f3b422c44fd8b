"""Compile every kernel of `flow` on CUDA for GPUs that need not be there; print what each takes.

Run by test_flow_cuda.py in a process of its own, with the GPUs' compute capabilities (80, 90).
The launches of a whole picture are made, but instead of running each is compiled to a cubin.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ltxfilter.engines.flow import Flow
from ltxfilter.engines.ltx.weights.fp8_triton import quantize_kernel
from ltxfilter.frame import Frame
from ltxfilter.motion.cuda import device
from ltxfilter.motion.cuda.search import SIZES
from support.flow import info, windows

NAMES = {"uint8": "u8", "uint16": "u16", "int16": "i16", "int32": "i32", "int64": "i64"}
NAMES |= {"float32": "fp32"}
TOOL = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


def signature(kernel, args, constants):
    """Return a launch as Triton's compiler wants it: types, constants, what is a multiple of 16."""
    types, values, multiples = {}, dict(constants), {}
    for place, (name, arg) in enumerate(zip(kernel.arg_names, args, strict=False)):
        if isinstance(arg, torch.Tensor):
            types[name] = "*" + NAMES[str(arg.dtype).removeprefix("torch.")]
            whole = arg.data_ptr() % 16 == 0
        elif isinstance(arg, float):
            types[name], whole = "fp32", False
        elif arg == 1 and name not in SIZES:
            values[name], whole = 1, False
        else:
            types[name], whole = "i32", arg % 16 == 0 and name not in SIZES
        if whole:
            multiples[place,] = [["tt.divisibility", 16]]
    types |= dict.fromkeys(values, "constexpr")
    return {name: types[name] for name in kernel.arg_names}, values, multiples


def resources(cubin):
    """Return registers and bytes of stack per thread."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [TOOL, "--dump-resource-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return re.search(r"REG:(\d+) STACK:(\d+)", text).groups()


class Compiler:
    """Stands where kernels are launched."""

    def __init__(self, capability):
        self.target = GPUTarget("cuda", capability, 32)
        self.known = set()

    def launch(self, kernel, count, *args, beside=1, **constants):
        self.compile(kernel, args, {**constants, "block": device.LANES}, 4)

    def launch_patches(self, kernel, count, *args, **constants):
        self.compile(kernel, args, {**constants, "block": device.PATCHES}, 1)

    def compile(self, kernel, args, constants, warps):
        types, values, multiples = signature(kernel, args, constants)
        key = kernel.__name__, repr((types, values, multiples))
        if key in self.known:
            return
        self.known.add(key)
        source = ASTSource(kernel, signature=types, constexprs=values, attrs=multiples)
        options = {"enable_fp_fusion": False, "num_warps": warps}
        made = triton.compile(source, target=self.target, options=options)
        assert not re.search(r"fma\.rn\.f", made.asm["ptx"]), "a fused multiply and add"
        assert not re.search(r"\.f64\b", made.asm["ptx"]), f"{kernel.__name__}: double precision"
        registers, stack = resources(made.asm["cubin"])
        print(f"sm_{self.target.arch} {kernel.__name__}: registers {registers}, stack {stack}")


def draw(width, height, depth, preset):
    """Make all launches of a picture with neighbours on both sides."""
    video = info(depth, width=width, height=height)
    planes = tuple(np.zeros((part.height, part.width), part.dtype) for part in video.layout)
    frames = [Frame(Fraction(k, 25), planes) for k in range(4)]
    engine = Flow(preset=preset, device="cuda")
    engine.open(video, Fraction(50))
    for window in windows(frames)[:2]:
        list(engine.draw(window, engine.prepare(window)))


def rounding(capability):
    """Compile the kernel that rounds rows to 8 bits, as `quantize` launches it; no warning."""
    kinds = {"value": "*bf16", "codes": "*fp8e4nv", "scales": "*fp32", "width": "i32"}
    target = GPUTarget("cuda", capability, 32)
    for block, warps in ((2048, 4), (16384, 8)):
        types = {**kinds, "block": "constexpr"}
        source = ASTSource(quantize_kernel, signature=types, constexprs={"block": block})
        options = {"enable_fp_fusion": False, "num_warps": warps}
        made = triton.compile(source, target=target, options=options)
        registers, stack = resources(made.asm["cubin"])
        print(f"sm_{capability} quantize_kernel: registers {registers}, stack {stack}")


warnings.simplefilter("error")
device.NAME, device.INTERPRETED = "cpu", True  # buffers in host memory
device.STREAMS = False
for capability in map(int, sys.argv[1:]):
    compiler = Compiler(capability)
    device.launch, device.launch_patches = compiler.launch, compiler.launch_patches
    draw(1920, 1080, 8, "balanced")
    draw(1920, 1080, 8, "fast")
    draw(3840, 2160, 10, "best")
    if capability >= 89:
        rounding(capability)
