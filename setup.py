"""The compiled kernels, optional: without a C compiler the package falls back to NumPy."""

import sys
from glob import glob

from setuptools import Extension, setup

flags = ["/O2"] if sys.platform == "win32" else ["-O3", "-std=c11", "-ffp-contract=off"]
kernels = Extension(
    "ltxfilter.motion._kernels",
    sorted(glob("ltxfilter/motion/native/*.c")),
    depends=["ltxfilter/motion/native/kernels.h"],
    extra_compile_args=flags,
    py_limited_api=True,
    optional=True,
)
setup(ext_modules=[kernels], options={"bdist_wheel": {"py_limited_api": "cp311"}})
