"""At the published sizes every operation of a window stays on the device; copies are counted.

The transformer has two of its 48 blocks, which are all alike.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the ltx extra is not installed")
pytest.importorskip("ltx_core", reason="the ltx extra is not installed")

from support.fake_cuda import CUDA, Copies, fake_cuda

from benchmarks import gpu_models, gpu_motion
from benchmarks import ltx_sizes as sizes
from benchmarks.gpu_motion import Case
from ltxfilter.engines.ltx.models import upstream
from ltxfilter.engines.ltx.models.contexts import Contexts, Prompt
from ltxfilter.engines.ltx.weights import fp8

UPLOADS = {"latent": 0, "dit": 12, "latent+dit": 11}  # of small tables, for each window
# Without a device Triton cannot run, which is said; a key of the text's cache has no address.
pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer")


@pytest.fixture(autouse=True)
def _few_blocks(monkeypatch):
    transformer = sizes.TRANSFORMER | {"num_layers": 2}
    monkeypatch.setattr(sizes, "CONFIG", sizes.CONFIG | {"transformer": transformer})
    monkeypatch.setattr(fp8, "triton_kernel", lambda _: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100 << 30, 140 << 30))
    skip = upstream.skip_attention

    def with_values(*given):
        made = skip(*given)
        if (
            made is not None
        ):  # ltx_core 1.2 keeps masks in host memory, where tensors have no values
            made._block_masks_cpu = np.ones(made.block_masks.shape)
        return made

    monkeypatch.setattr(upstream, "skip_attention", with_values)


def models_of(mode):
    models = gpu_models.random_models(CUDA, mode, False)
    models.graphs = "off"
    context = torch.randn(sizes.CONTEXT, device=CUDA)
    models.adopt("context", Contexts((Prompt(Fraction(0), ""),), context, None))
    return models


@pytest.mark.parametrize(
    ("source", "mode"),
    [("latent", "off"), ("dit", "off"), ("dit", "rowwise"), ("latent+dit", "off")],
)
def test_a_window_stays_on_the_device(source, mode):
    with fake_cuda():
        guides = gpu_motion.source_of(models_of(mode), Case(source, 4), tiny=False)
        clip = gpu_motion.clip_for(guides)
        for _ in range(2):  # text is computed in the first window, and cached in the second
            with Copies() as copies:
                drawn = guides.draw([clip])
        assert drawn.device == CUDA
        assert tuple(drawn.shape) == (1, 3, 17, 256, 448)
        assert copies.operations > 1000
        assert sum(copies.down.values()) == 0
        assert not copies.doubles  # GPUs for games take 64 times as long for them
        assert sum(copies.up.values()) == UPLOADS[source]


@pytest.mark.parametrize("model", ["encoder", "decoder", "temporal", "spatial"])
def test_large_pictures_stay_on_the_device(model):
    with fake_cuda():
        models = models_of("off")
        shape = (1, 3, 9, 1088, 1920) if model == "encoder" else (1, 128, 3, 34, 60)
        given = torch.randn(shape, device=CUDA)
        with Copies() as copies:
            call = getattr(models, "encode" if model == "encoder" else "decode")
            found = call(given) if "coder" in model else models.upsample(given, model)
        assert found.device == CUDA
        assert not copies.down
        assert not copies.up
        assert not copies.doubles


def test_devices_that_are_mixed_are_noticed():
    with fake_cuda(), pytest.raises(RuntimeError, match="device"):
        torch.ones(2, device=CUDA) + torch.ones(2)


def test_double_precision_is_noticed():
    with fake_cuda(), Copies() as copies:
        torch.ones(2, device=CUDA).double()
    assert sum(copies.doubles.values()) == 1


def test_a_result_that_the_host_must_see_is_noticed():
    from torch._subclasses.fake_tensor import DataDependentOutputException

    with fake_cuda(), pytest.raises(DataDependentOutputException):
        torch.ones(2, device=CUDA).sum().item()
    with fake_cuda(), Copies() as copies:
        torch.ones(2, device=CUDA).to("cpu")
    assert copies.down


def test_what_models_take_on_the_device_is_stated():
    with fake_cuda():
        models = models_of("off")
        guides = gpu_motion.source_of(models, Case("latent", 4), tiny=False)
        published = (319e6 + 407e6) + 498e6 + 131e6  # parameters: autoencoder, upsamplers
        blocks = 13.1e9 - 46 / 48 * 12.9e9  # of the transformer, which has two here
        assert guides.device_bytes == models.device_bytes
        assert models.device_bytes == pytest.approx(2 * (published + blocks), rel=0.02)
