"""8-bit layers and LoRAs: their precision, and files that do not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the ltx extra is not installed")
pytest.importorskip("ltx_core", reason="the ltx extra is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st
from support import tiny_ltx

from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.engines.ltx.weights import fp8
from ltxfilter.engines.ltx.weights.fp8_range import FP8_MAX
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import ModelOptions

LAYER = "transformer_blocks.0.attn1.to_q"
SIGMAS = (1.0, 0.909375, 0.725, 0.421875, 0.0)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> ModelOptions:
    return tiny_ltx.build(tmp_path_factory.mktemp("ltx"))


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the relative error."""
    return float((found - expected).norm() / expected.norm())


def denoised(models: Models) -> torch.Tensor:
    """Denoise 24 tokens in four steps."""
    latent = random(1, 24, 128)
    positions = random(1, 3, 24, 2, seed=1).abs()
    for sigma, after in pairwise(SIGMAS):
        level = torch.full((1,), sigma)
        velocity = models.velocity(
            latent, level, level.expand(1, 24, 1), positions, models.context()
        )
        latent = latent + (after - sigma) * velocity
    return latent


def weight(models: Models, layer: str = LAYER) -> torch.Tensor:
    models.load("transformer")
    module = models._module("transformer").get_submodule(layer)
    whole = module.weight.float()
    return whole * module.weight_scale.t() if hasattr(module, "weight_scale") else whole


@settings(max_examples=25)
@given(st.integers(1, 40), st.floats(1e-6, 1e4), st.integers(0, 99))
def test_rows_keep_their_own_scale(rows: int, size: float, seed: int):
    value = random(rows, 64, seed=seed) * torch.logspace(-3, 3, rows)[:, None] * size
    stored, scale = fp8.quantize_rows(value)
    assert stored.dtype == torch.float8_e4m3fn
    assert scale.shape == (rows, 1)
    for row, expected in zip(stored.float() * scale, value, strict=True):
        assert distance(row, expected) < 0.04


def test_rows_of_zeros_stay_zero():
    stored, scale = fp8.quantize_rows(torch.zeros(2, 16))
    assert torch.equal(stored.float() * scale, torch.zeros(2, 16))


@pytest.mark.parametrize("mode", ["rowwise", "cast"])
@pytest.mark.parametrize("bias", [True, False])
def test_one_layer(mode: str, bias: bool):
    layer = torch.nn.Linear(256, 64, bias=bias).requires_grad_(False).to(torch.bfloat16)
    small = fp8.LINEARS[mode](64, 256, bias)
    stored, scale = fp8.quantize_rows(layer.weight)
    tensors = {"weight": stored, "weight_scale": scale.t().contiguous(), "bias": layer.bias}
    small.load_state_dict({k: v for k, v in tensors.items() if v is not None}, assign=True)
    value = random(3, 7, 256).to(torch.bfloat16)
    found = small(value)
    assert (found.shape, found.dtype) == ((3, 7, 64), torch.bfloat16)
    assert distance(found.float(), layer(value).float()) < 0.05


@pytest.mark.parametrize("mode", ["rowwise", "cast"])
def test_all_steps_of_a_denoising(options: ModelOptions, mode: str):
    plain = Models(options, dtype=torch.bfloat16)
    small = Models(options, dtype=torch.bfloat16, fp8=mode)
    found = denoised(small)
    assert distance(found, denoised(plain)) < 0.03
    assert not torch.equal(found, denoised(plain))


def test_a_shared_input_is_rounded_once(options: ModelOptions, monkeypatch: pytest.MonkeyPatch):
    rounded = []
    quantize = fp8.quantize_rows

    def counted(value: torch.Tensor) -> fp8.Quantized:
        rounded.append(value.shape)
        return quantize(value)

    models = Models(options, fp8="rowwise")
    models.load("transformer")
    monkeypatch.setattr(fp8, "quantize_rows", counted)
    own = torch.full((1, 12, 1), 0.7)
    models.velocity(random(1, 12, 128), 0.7, own, random(1, 3, 12, 2).abs(), models.context())
    # Inputs of each block: of self-attention 2 (queries, keys and values share one; the output), of
    # cross-attention 4 (queries, keys, values, the output), of the feed-forward layers 2.
    assert len(rounded) == 2 * (2 + 4 + 2)


def test_a_changed_input_is_rounded_again():
    latest, value = fp8.LatestQuantized(), torch.ones(2, 16)
    first, _ = latest.of(value)
    assert latest.of(value)[0] is first
    value *= -1
    assert float(latest.of(value)[0][0, 0].float()) < 0
    assert latest.of(torch.ones(2, 16))[0] is not first


def test_which_layers_are_quantized(options: ModelOptions):
    models = Models(options, fp8="rowwise")
    models.load("transformer")
    kinds = {
        name: isinstance(layer, fp8.Fp8Linear)
        for name, layer in models._module("transformer").named_modules()
        if hasattr(layer, "weight")
    }
    assert sum(kinds.values()) == tiny_ltx.LAYERS * 10
    assert kinds["transformer_blocks.1.ff.net.0.proj"]
    assert not kinds["proj_out"]
    assert not kinds["patchify_proj"]


def test_the_mode_depends_on_the_device():
    assert fp8.choose_mode("auto", torch.device("cpu"), 1 << 40) == "off"
    assert fp8.choose_mode("cast", torch.device("cpu"), 0) == "cast"


def published(options: ModelOptions, path: Path) -> ModelOptions:
    """Write a checkpoint like the published one in 8 bits, with one scale per tensor."""
    tensors = {}
    for name, value in tiny_ltx.read(options.checkpoint).items():
        layer = name.removeprefix("model.diffusion_model.").removesuffix(".weight")
        if fp8.LAYERS.fullmatch(layer) and name.endswith(".weight"):
            scale = value.abs().max().float() / FP8_MAX
            stem = name.removesuffix(".weight")
            tensors[stem + ".weight_scale"] = scale
            tensors[stem + ".input_scale"] = torch.tensor(1.0)
            value = (value.float() / scale).to(fp8.FP8)
        tensors[name] = value
    tiny_ltx.write(path, tensors, {"config": json.dumps(tiny_ltx.CONFIG)})
    return replace(options, checkpoint=str(path))


@pytest.mark.parametrize("mode", ["off", "rowwise", "cast"])
def test_a_checkpoint_published_in_8_bits(options: ModelOptions, tmp_path: Path, mode: str):
    small = Models(published(options, tmp_path / "fp8.safetensors"), fp8=mode)
    expected = weight(Models(options))
    assert distance(weight(small), expected) < 0.04
    assert distance(denoised(small), denoised(Models(options))) < 0.05


def lora(path: Path, layer: str, *, size: int = tiny_ltx.WIDTH, alpha: float | None = None) -> str:
    tensors = {
        f"diffusion_model.{layer}.lora_A.weight": random(4, size, seed=3),
        f"diffusion_model.{layer}.lora_B.weight": random(tiny_ltx.WIDTH, 4, seed=4),
    }
    if alpha is not None:
        tensors[f"diffusion_model.{layer}.alpha"] = torch.tensor(alpha)
    tiny_ltx.write(path, tensors, {})
    return str(path)


CHANGE = random(tiny_ltx.WIDTH, 4, seed=4) @ random(4, tiny_ltx.WIDTH, seed=3)


@pytest.mark.parametrize(("alpha", "scale"), [(None, 0.5), (2.0, 0.25)])
def test_a_lora_is_added(options: ModelOptions, tmp_path: Path, alpha: float | None, scale: float):
    path = lora(tmp_path / "lora.safetensors", LAYER, alpha=alpha)
    changed = Models(replace(options, loras=((path, 0.5),)))
    expected = weight(Models(options)) + scale * CHANGE
    assert torch.allclose(weight(changed), expected, atol=1e-5)
    other = LAYER.replace("to_q", "to_k")
    assert torch.equal(weight(changed, other), weight(Models(options), other))


def test_loras_add_up_and_cancel(options: ModelOptions, tmp_path: Path):
    path = lora(tmp_path / "lora.safetensors", LAYER)
    there_and_back = Models(replace(options, loras=((path, 1.0), (path, -1.0))))
    assert torch.allclose(weight(there_and_back), weight(Models(options)), atol=1e-5)


def test_a_lora_is_added_before_rounding_to_8_bits(options: ModelOptions, tmp_path: Path):
    path = lora(tmp_path / "lora.safetensors", LAYER)
    small = Models(replace(options, loras=((path, 1.0),)), fp8="rowwise")
    assert distance(weight(small), weight(Models(options)) + CHANGE) < 0.04


def test_a_lora_for_a_checkpoint_published_in_8_bits(options: ModelOptions, tmp_path: Path):
    path = lora(tmp_path / "lora.safetensors", LAYER)
    stored = published(options, tmp_path / "fp8.safetensors")
    small = Models(replace(stored, loras=((path, 1.0),)), fp8="rowwise")
    assert distance(weight(small), weight(Models(options)) + CHANGE) < 0.05


def test_changes_of_audio_layers_are_ignored(options: ModelOptions, tmp_path: Path):
    path = lora(tmp_path / "lora.safetensors", "transformer_blocks.0.audio_attn1.to_q")
    changed = Models(replace(options, loras=((path, 1.0),)))
    assert torch.equal(weight(changed), weight(Models(options)))


@pytest.mark.parametrize(
    ("layer", "size", "message"),
    [
        ("transformer_blocks.7.attn1.to_q", tiny_ltx.WIDTH, "the checkpoint has no transformer_bl"),
        (LAYER, 64, "is 48 by 64 there and 48 by 48 in the checkpoint"),
    ],
)
def test_a_lora_for_another_model(
    options: ModelOptions, tmp_path: Path, layer: str, size: int, message: str
):
    path = lora(tmp_path / "lora.safetensors", layer, size=size)
    with pytest.raises(EngineUnavailableError, match=message):
        Models(replace(options, loras=((path, 1.0),))).load("transformer")


@pytest.mark.parametrize(
    "names",
    [
        ("transformer.{}.lora_A.weight", "transformer.{}.lora_B.weight"),
        ("diffusion_model.{}.lora_down.weight", "diffusion_model.{}.lora_up.weight"),
        ("base_model.model.{}.lora_A.default.weight", "base_model.model.{}.lora_B.default.weight"),
    ],
)
def test_a_lora_of_another_program(options: ModelOptions, tmp_path: Path, names: tuple[str, str]):
    pair = random(4, tiny_ltx.WIDTH, seed=3), random(tiny_ltx.WIDTH, 4, seed=4)
    made = {name.format(LAYER): value for name, value in zip(names, pair, strict=True)}
    path = tmp_path / "lora.safetensors"
    tiny_ltx.write(path, made, {})
    changed = Models(replace(options, loras=((str(path), 1.0),)))
    assert torch.allclose(weight(changed), weight(Models(options)) + CHANGE, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("dora_scale", torch.ones(48, 1), f"{LAYER}.dora_scale is not read; ltxfilter reads plain"),
        ("hada_w1_a", torch.ones(2, 2), f"{LAYER}.hada_w1_a is not read; ltxfilter reads plain"),
        ("lora_A.weight_scale", torch.ones(()), "with scales, which is not read in a LoRA; take"),
    ],
)
def test_a_relative_of_loras_is_refused(
    options: ModelOptions, tmp_path: Path, name: str, value: torch.Tensor, message: str
):
    path = Path(lora(tmp_path / "lora.safetensors", LAYER))
    made = tiny_ltx.read(str(path)) | {f"diffusion_model.{LAYER}.{name}": value}
    if name.endswith("_scale") and "lora_A" in name:
        whole = f"diffusion_model.{LAYER}.lora_A.weight"
        made[whole] = made[whole].to(torch.float8_e4m3fn)
    tiny_ltx.write(path, made, {})
    with pytest.raises(EngineUnavailableError, match=message):
        Models(replace(options, loras=((str(path), 1.0),))).load("transformer")


def test_what_is_not_used_of_a_lora_is_named(
    options: ModelOptions, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = Path(lora(tmp_path / "lora.safetensors", "transformer_blocks.0.audio_attn1.to_q"))
    made = tiny_ltx.read(str(path)) | {f"diffusion_model.{LAYER}.diff_b": torch.ones(48)}
    tiny_ltx.write(path, made, {})
    Models(replace(options, loras=((str(path), 1.0),))).load("transformer")
    assert f"nothing is done with diffusion_model.{LAYER}.diff_b" in caplog.text
    assert "changes layers for audio alone" in caplog.text
    assert len(caplog.messages) == 2


def test_an_unreadable_lora(options: ModelOptions, tmp_path: Path):
    path = tmp_path / "lora.safetensors"
    path.write_bytes(b"no")
    with pytest.raises(EngineUnavailableError, match=r"--lora .*not a safetensors file"):
        Models(replace(options, loras=((str(path), 1.0),))).load("transformer")


def test_a_lora_without_its_second_matrix(options: ModelOptions, tmp_path: Path):
    path = tmp_path / "lora.safetensors"
    tiny_ltx.write(path, {f"diffusion_model.{LAYER}.lora_A.weight": random(4, 48)}, {})
    with pytest.raises(EngineUnavailableError, match=r"lacks .*lora_B"):
        Models(replace(options, loras=((str(path), 1.0),))).load("transformer")


def test_the_distilled_lora_is_for_refining_alone(options: ModelOptions, tmp_path: Path):
    path = lora(tmp_path / "lora.safetensors", LAYER)
    models = Models(replace(options, distilled_lora=(path, 0.5)))
    models.load("transformer", models.refiner)
    assert torch.equal(weight(models), weight(Models(options)))
    refining = models._module("refiner").get_submodule(LAYER).weight
    assert torch.allclose(refining, weight(Models(options)) + 0.5 * CHANGE, atol=1e-5)
    sigma = torch.ones(1)
    given = random(1, 6, 128), sigma, sigma.expand(1, 6, 1), random(1, 3, 6, 2).abs()
    plain = models.velocity(*given, models.context())
    assert not torch.equal(models.velocity(*given, models.context(), refining=True), plain)


def test_without_a_distilled_lora_the_transformer_refines(options: ModelOptions):
    models = Models(options)
    assert models.refiner == "transformer"
