"""The compiled kernels, optional: without a C compiler the package falls back to NumPy."""

import sys

from setuptools import Extension, setup

flags = ["/O2"] if sys.platform == "win32" else ["-O3", "-std=c11", "-ffp-contract=off"]
kernels = Extension(
    "ltxfilter.motion._kernels",
    ["ltxfilter/motion/_kernels.c"],
    extra_compile_args=flags,
    py_limited_api=True,
    optional=True,
)
setup(ext_modules=[kernels], options={"bdist_wheel": {"py_limited_api": "cp311"}})
