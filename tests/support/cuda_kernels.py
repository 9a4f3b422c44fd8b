"""Flow's kernels for CUDA, run on a GPU or else by Triton's interpreter, in NumPy.

Import this before anything of `motion.cuda`: it skips a test module where the kernels cannot run.
LTXFILTER_REQUIRE_CUDA=1 makes a missing device a failure.
"""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="device=cuda needs torch, which is not installed")
from support import interpreted

GPU = torch.cuda.is_available()
REQUIRED = os.environ.get("LTXFILTER_REQUIRE_CUDA") == "1"
MARKS = [pytest.mark.gpu] if GPU or REQUIRED else []
if not GPU and "triton" in sys.modules and not interpreted.works():
    pytest.skip("triton was loaded before it could be asked to interpret", allow_module_level=True)
with pytest.MonkeyPatch.context() as patch:
    if not GPU:
        patch.setenv("TRITON_INTERPRET", "1")
    pytest.importorskip("triton", reason="device=cuda needs triton, which is not installed")
    import ltxfilter.motion.cuda.flow  # noqa: F401  (with all kernels)
    from ltxfilter.motion.cuda import device


@pytest.fixture(autouse=True)
def any_device(monkeypatch):
    """Let launches go to the GPU or to the interpreter; for modules that import this name."""
    if REQUIRED and not GPU:
        pytest.fail("no CUDA device")
    if not GPU:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        # Other tests may have imported the module before, without the variable.
        for name, value in {"NAME": "cpu", "INTERPRETED": True, "STREAMS": False}.items():
            monkeypatch.setattr(device, name, value)
    torch.set_num_threads(1)


def up(array):
    """Return an array on the device."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(device.NAME)


def planar(flow):
    """Return flow [H, W, 2] as the device has it, [2, H, W]."""
    return up(flow.transpose(2, 0, 1))


def interleaved(flow):
    """Return flow of the device as the CPU has it."""
    return flow.cpu().numpy().transpose(1, 2, 0)


def empty(*shape, dtype=torch.float32):
    """Return a buffer that holds something else than zeros."""
    return torch.full(shape, 77, dtype=dtype, device=device.NAME)


def assert_equal_drawings(ours, theirs):
    """Compare what `support.flow.draw` returned: samples, their type, and the PSNR to expect."""
    for one, other in zip(ours, theirs, strict=True):
        for a, b in zip(one, other, strict=True):
            for plane, expected in zip(a.planes, b.planes, strict=True):
                assert plane.dtype == expected.dtype
                np.testing.assert_array_equal(plane, expected)
            assert a.psnr_db == pytest.approx(b.psnr_db, abs=1e-3)
