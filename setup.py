"""The compiled kernels, optional: without a C compiler the package falls back to NumPy."""

import sys
from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("ltxfilter/motion/native")

flags = ["/O2"] if sys.platform == "win32" else ["-O3", "-std=c11", "-fno-wrapv", "-ffp-contract=off"]
kernels = Extension(
    "ltxfilter.motion._kernels",
    sorted(map(str, NATIVE.glob("*.c"))),
    depends=[str(NATIVE / "kernels.h")],
    extra_compile_args=flags,
    py_limited_api=True,
    optional=True,
)
setup(ext_modules=[kernels], options={"bdist_wheel": {"py_limited_api": "cp311"}})
