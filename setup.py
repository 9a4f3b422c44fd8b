"""The compiled kernels, optional: without a C compiler the package falls back to NumPy."""

import sys
from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("ltxfilter/motion/kernels/native")

# As plain.py has it to the last bit; what is assumed about overflow and traps lets loops vectorise.
flags = ["-O3", "-std=c11", "-ffp-contract=off"]
flags += ["-fno-wrapv", "-fno-trapping-math", "-fno-math-errno"]
if sys.platform == "win32":
    flags = ["/O2"]
kernels = Extension(
    "ltxfilter.motion.kernels._kernels",
    sorted(map(str, NATIVE.glob("*.c"))),
    depends=sorted(map(str, NATIVE.glob("*.h"))),
    extra_compile_args=flags,
    py_limited_api=True,
    optional=True,
)
setup(ext_modules=[kernels], options={"bdist_wheel": {"py_limited_api": "cp311"}})
