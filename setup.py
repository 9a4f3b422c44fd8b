"""The compiled kernels; everything else about the package is in pyproject.toml.

Without a C compiler the package still installs, and NumPy does their work, slower.
LTXFILTER_REQUIRE_KERNELS=1 makes that an error, for wheels that are handed to others.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("ltxfilter/motion/kernels/native")

# The results must equal those of numpy_grids.py and numpy_search.py to the last bit, hence no
# contraction. What is assumed about overflow, traps and errno lets the compiler vectorise loops.
flags = ["-O3", "-std=c11", "-ffp-contract=off"]
flags += ["-fno-wrapv", "-fno-trapping-math", "-fno-math-errno"]
if sys.platform == "win32":
    flags = ["/O2"]
kernels = Extension(
    "ltxfilter.motion.kernels._kernels",
    sorted(path.as_posix() for path in NATIVE.rglob("*.c")),
    include_dirs=[NATIVE.as_posix()],
    depends=sorted(path.as_posix() for path in NATIVE.rglob("*.h")),
    extra_compile_args=flags,
    py_limited_api=True,
    optional=os.environ.get("LTXFILTER_REQUIRE_KERNELS", "0") in ("", "0"),
)
setup(ext_modules=[kernels], options={"bdist_wheel": {"py_limited_api": "cp311"}})
