"""Loading LTX-2's models: what they compute, and the errors for files that cannot be used."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the ltx extra is not installed")
pytest.importorskip("ltx_core", reason="the ltx extra is not installed")

from ltx_core.loader.single_gpu_model_builder import SingleGPUModelBuilder
from ltx_core.model.transformer import LTXV_MODEL_COMFY_RENAMING_MAP, Modality
from ltx_core.model.transformer.model_configurator import LTXModelConfigurator
from ltx_core.model.upsampler import LatentUpsamplerConfigurator, upsample_video
from ltx_core.model.video_vae import VAE_ENCODER_COMFY_KEYS_FILTER, VideoEncoderConfigurator
from support import tiny_ltx

from ltxfilter.engines.ltx import installed
from ltxfilter.engines.ltx.device import check_memory
from ltxfilter.engines.ltx.models.offload import BUFFERS, OffloadedBlocks
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.errors import EngineUnavailableError, Stopped
from ltxfilter.options import ModelOptions

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> ModelOptions:
    return tiny_ltx.build(tmp_path_factory.mktemp("ltx"))


@pytest.fixture(scope="module")
def models(options: ModelOptions) -> Models:
    return Models(options)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def step(models: Models, batch: int = 1, **more: object) -> torch.Tensor:
    """Denoise 12 tokens once."""
    sigma = torch.full((batch,), 0.7)
    return models.velocity(
        random(1, 12, 128).expand(batch, -1, -1),
        sigma,
        sigma.reshape(-1, 1, 1).expand(-1, 12, 1),
        random(1, 3, 12, 2, seed=1).abs().expand(batch, -1, -1, -1),
        models.context(),
        **more,
    )


def upstream_module(configurator: object, path: str | None, keys: object = None) -> torch.nn.Module:
    """Load a model with upstream's own loader."""
    builder = SingleGPUModelBuilder(
        model_class_configurator=configurator, model_path=path, model_sd_ops=keys
    )
    return builder.build(device=CPU, dtype=torch.float32).eval().requires_grad_(False)


def test_shapes(models: Models):
    latents = models.encode(random(2, 3, 9, 64, 96).clamp(-1, 1))
    assert latents.shape == (2, 128, 2, 2, 3)
    assert models.decode(latents).shape == (2, 3, 9, 64, 96)
    assert models.upsample(latents, "spatial").shape == (2, 128, 2, 4, 6)
    assert models.upsample(latents, "temporal").shape == (2, 128, 3, 2, 3)
    assert step(models, 2).shape == (2, 12, 128)


def test_video_only_equals_the_joint_model_without_audio(models: Models, options: ModelOptions):
    joint = upstream_module(LTXModelConfigurator, options.checkpoint, LTXV_MODEL_COMFY_RENAMING_MAP)
    sigma = torch.full((1,), 0.7)
    video = Modality(
        latent=random(1, 12, 128),
        sigma=sigma,
        timesteps=sigma.expand(1, 12, 1),
        positions=random(1, 3, 12, 2, seed=1).abs(),
        context=models.context(),
    )
    expected = joint(video=video, audio=None, perturbations=None)[0]
    assert torch.equal(step(models), expected)


def test_upsamplers_equal_upstreams_way_of_calling_them(models: Models, options: ModelOptions):
    encoder = upstream_module(
        VideoEncoderConfigurator, options.checkpoint, VAE_ENCODER_COMFY_KEYS_FILTER
    )
    latents = random(1, 128, 3, 2, 3)
    for kind, path in (
        ("spatial", options.spatial_upsampler),
        ("temporal", options.temporal_upsampler),
    ):
        module = upstream_module(LatentUpsamplerConfigurator, path)
        expected = upsample_video(latents, encoder, module)
        assert torch.allclose(models.upsample(latents, kind), expected, atol=1e-6)


def test_statistics_of_the_latents_are_used(options: ModelOptions, tmp_path: Path):
    tensors = tiny_ltx.read(options.checkpoint)
    for name, value in tensors.items():
        if name.startswith("vae.per_channel_statistics."):
            tensors[name] = value + torch.linspace(0.1, 2, 128)
    path = tmp_path / "scaled.safetensors"
    tiny_ltx.write(path, tensors, {"config": json.dumps(tiny_ltx.CONFIG)})
    scaled = Models(replace(options, checkpoint=str(path)))
    encoder = upstream_module(VideoEncoderConfigurator, str(path), VAE_ENCODER_COMFY_KEYS_FILTER)
    module = upstream_module(LatentUpsamplerConfigurator, options.temporal_upsampler)
    latents = random(1, 128, 3, 2, 3)
    expected = upsample_video(latents, encoder, module)
    assert torch.allclose(scaled.upsample(latents, "temporal"), expected, atol=1e-5)


def test_a_single_frame_is_encoded_as_the_first_of_a_clip(models: Models):
    clip = random(1, 3, 17, 64, 64).clamp(-1, 1)
    whole = models.encode(clip)
    assert torch.allclose(models.encode(clip[:, :, :1]), whole[:, :, :1], atol=1e-5)
    assert torch.allclose(models.encode(clip[:, :, :9]), whole[:, :, :2], atol=1e-5)


@pytest.mark.parametrize("shape", [(10, 64, 64), (9, 60, 64), (9, 64, 40)])
def test_pictures_are_not_cropped_silently(models: Models, shape: tuple[int, int, int]):
    with pytest.raises(ValueError, match="8k \\+ 1"):
        models.encode(torch.zeros(1, 3, *shape))


def test_a_step_repeats_bit_for_bit(models: Models):
    assert torch.equal(step(models), step(models))
    assert torch.allclose(step(models, 2)[1:], step(models), atol=1e-5)


def test_self_attention_can_be_skipped(models: Models):
    assert not torch.equal(step(models, skipped=(1,)), step(models))


def test_models_stay_resident(models: Models):
    assert models._module("decoder") is models._module("decoder")


def test_a_missing_file_is_named(options: ModelOptions):
    without = Models(replace(options, temporal_upsampler=None))
    with pytest.raises(EngineUnavailableError, match="--temporal-upsampler FILE is needed"):
        without.load("temporal")
    nowhere = Models(replace(options, checkpoint="/no/such.safetensors"))
    with pytest.raises(EngineUnavailableError, match=r"--checkpoint /no/such.*No such file"):
        nowhere.load("encoder")


@pytest.mark.parametrize(
    ("field", "other", "message"),
    [
        ("spatial_upsampler", "temporal_upsampler", "it holds a temporal upsampler, not a spatial"),
        ("temporal_upsampler", "spatial_upsampler", "that goes to --spatial-upsampler"),
        ("checkpoint", "context", "it holds a text context, not an LTX-2 checkpoint"),
        ("context", "checkpoint", "that goes to --checkpoint"),
    ],
)
def test_files_in_each_others_place(options: ModelOptions, field: str, other: str, message: str):
    swapped = Models(replace(options, **{field: getattr(options, other)}))
    with pytest.raises(EngineUnavailableError, match=re.escape(message)):
        use_everything(swapped)


def use_everything(models: Models) -> None:
    models.load("encoder", "spatial", "temporal")
    models.context()


def damaged(options: ModelOptions, path: Path, config: dict, drop: str = "\0") -> Models:
    """Return models of a checkpoint with another configuration or without some tensors."""
    tensors = {k: v for k, v in tiny_ltx.read(options.checkpoint).items() if drop not in k}
    tiny_ltx.write(path, tensors, {"config": json.dumps(config)})
    return Models(replace(options, checkpoint=str(path)))


def test_missing_tensors_are_named(options: ModelOptions, tmp_path: Path):
    torn = damaged(options, tmp_path / "torn.safetensors", tiny_ltx.CONFIG, "attn1.to_q.weight")
    with pytest.raises(EngineUnavailableError, match=r"lacks transformer_blocks.0.attn1.to_q.weig"):
        torn.load("transformer")
    torn.load("encoder")  # its tensors are there


def test_different_shapes_are_named(options: ModelOptions, tmp_path: Path):
    config = tiny_ltx.CONFIG | {"transformer": tiny_ltx.TRANSFORMER | {"attention_head_dim": 32}}
    odd = damaged(options, tmp_path / "odd.safetensors", config)
    with pytest.raises(EngineUnavailableError, match=r" is .* there and .* in the model"):
        odd.load("transformer")


def test_a_newer_generation_is_refused(
    options: ModelOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(installed, "builds_2_5", lambda: False)
    config = tiny_ltx.CONFIG | {
        "transformer": tiny_ltx.TRANSFORMER | {"use_keyframes_abs_pos_embedding": True}
    }
    with pytest.raises(EngineUnavailableError, match=r"LTX-2\.5"):
        damaged(options, tmp_path / "new.safetensors", config).load("transformer")


def test_a_configuration_that_upstream_refuses(options: ModelOptions, tmp_path: Path):
    config = tiny_ltx.CONFIG | {"transformer": tiny_ltx.TRANSFORMER | {"qk_norm": "layer_norm"}}
    with pytest.raises(EngineUnavailableError, match="cannot build its transformer"):
        damaged(options, tmp_path / "x.safetensors", config).load("transformer")


def test_a_truncated_file_is_refused(options: ModelOptions, tmp_path: Path):
    path = tmp_path / "short.safetensors"
    path.write_bytes(Path(options.checkpoint).read_bytes()[:-1000])
    with pytest.raises(EngineUnavailableError, match="truncated"):
        Models(replace(options, checkpoint=str(path))).load("encoder")


@pytest.mark.parametrize("content", [b"hello", b"\x05" + bytes(7) + b"[1,2]", bytes(5000)])
def test_a_file_of_another_format_is_refused(options: ModelOptions, tmp_path: Path, content: bytes):
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    with pytest.raises(EngineUnavailableError, match="not a safetensors file"):
        Models(replace(options, checkpoint=str(path))).load("encoder")


def test_a_context_of_another_width_is_refused(options: ModelOptions, tmp_path: Path):
    path = tmp_path / "wide.safetensors"
    tiny_ltx.write(path, {"video_context": torch.zeros(1, 128, 64)}, {})
    with pytest.raises(
        EngineUnavailableError, match="64 values wide, and this checkpoint wants 48"
    ):
        Models(replace(options, context=str(path))).context()


@pytest.mark.parametrize("name", ["cuda:99", "nonsense"])
def test_a_missing_device_is_refused(options: ModelOptions, name: str):
    with pytest.raises(EngineUnavailableError, match=f"--device {name}"):
        Models(replace(options, device=name))


def test_memory_is_counted_before_loading(options: ModelOptions):
    plain, small = Models(options), Models(options, fp8="rowwise")
    for part in ("transformer", "encoder", "decoder", "spatial"):
        module = plain._module(part)
        held = (*module.parameters(), *module.buffers())
        assert plain.nbytes(part) == sum(value.nbytes for value in held)
    module = small._module("transformer")
    held = [*module.parameters(), *(v for n, v in module.named_buffers() if "_scale" not in n)]
    assert small.nbytes("transformer") == sum(value.nbytes for value in held)


@pytest.mark.parametrize(
    ("mode", "hint"),
    [
        ("off", "choose fp8=rowwise or fp8=cast"),
        ("rowwise", "choose offload=1"),
        ("", "choose another --device"),
    ],
)
def test_too_little_memory_is_reported_before_loading(mode: str, hint: str):
    check_memory(10, 10, torch.device("cuda:1"), mode)
    with pytest.raises(EngineUnavailableError) as caught:
        check_memory(26_200_000_000, 24 << 30, torch.device("cuda:1"), mode)
    assert "cuda:1 has 25.8 GB free and the models take 26.2 GB" in str(caught.value)
    assert hint in str(caught.value)


def test_pictures_can_be_decoded_in_tiles(models: Models, options: ModelOptions):
    latents = models.encode(random(1, 3, 9, 64, 160).clamp(-1, 1))
    tiled = Models(options, tile=128)
    found, whole = tiled.decode(latents), models.decode(latents)
    assert found.shape == whole.shape
    assert torch.equal(found, tiled.decode(latents))
    assert not torch.equal(found, whole)
    assert torch.equal(Models(options, tile=160).decode(latents), whole)


def test_models_in_memory_are_adopted(models: Models):
    latents = random(1, 128, 2, 2, 2)
    adopted = Models(ModelOptions(device="cpu"))
    adopted.adopt("decoder", models._module("decoder"))
    adopted.adopt("temporal", models._module("temporal"))
    adopted.adopt("statistics", models._module("encoder"))
    assert torch.equal(adopted.decode(latents), models.decode(latents))
    assert torch.equal(adopted.upsample(latents, "temporal"), models.upsample(latents, "temporal"))


@pytest.mark.parametrize("fp8", ["off", "rowwise"])
def test_an_offloaded_transformer_computes_the_same(options: ModelOptions, fp8: str):
    resident, offloaded = Models(options, fp8=fp8), Models(options, fp8=fp8, offload=True)
    for _ in range(2):
        assert torch.equal(step(offloaded), step(resident))
    assert offloaded.nbytes("transformer") <= resident.nbytes("transformer")


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_blocks_take_turns_on_the_device(count: int):
    torch.manual_seed(0)
    blocks = torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(count)).requires_grad_(False)
    value = random(1, 4)
    expected = torch.nn.Sequential(*blocks)(value)
    homes = [block.weight.data_ptr() for block in blocks]
    stream = OffloadedBlocks(blocks, CPU)
    for _ in range(3):
        assert torch.equal(torch.nn.Sequential(*blocks)(value), expected)
    assert [block.weight.data_ptr() for block in blocks] == homes
    places = {place.data_ptr() for slot in stream._buffers for place in slot}
    assert len(places) == 2 * BUFFERS  # weights and biases
    assert places.isdisjoint(homes)


def test_the_first_generation(tmp_path: Path):
    options = tiny_ltx.build(tmp_path, config=tiny_ltx.LTX_2)
    models = Models(options)
    assert models.context().shape == (1, tiny_ltx.TOKENS, tiny_ltx.CAPTION)
    joint = upstream_module(LTXModelConfigurator, options.checkpoint, LTXV_MODEL_COMFY_RENAMING_MAP)
    sigma = torch.full((1,), 0.7)
    video = Modality(
        latent=random(1, 12, 128),
        sigma=sigma,
        timesteps=sigma.expand(1, 12, 1),
        positions=random(1, 3, 12, 2, seed=1).abs(),
        context=models.context(),
    )
    assert torch.equal(step(models), joint(video=video, audio=None, perturbations=None)[0])
    assert models.upsample(models.encode(torch.zeros(1, 3, 9, 64, 64)), "temporal").shape[2] == 3


WORK = {  # what is cancelled after its first layer
    "encoder": lambda models: models.encode(random(1, 3, 9, 64, 64)),
    "decoder": lambda models: models.decode(random(1, 128, 2, 2, 2)),
    "temporal": lambda models: models.upsample(random(1, 128, 2, 2, 2), "temporal"),
    "transformer": step,
}


@pytest.mark.parametrize("name", WORK)
def test_cancelling_ends_a_model_between_its_layers(name, options: ModelOptions):
    models, parts = Models(options, CPU), []
    models.load(name)
    layers = models._loaded[name]
    layers = layers.transformer_blocks if name == "transformer" else layers

    def ran(*_: object) -> None:
        parts.append(name)
        models.cancellation.cancel()

    for part in layers.modules():
        if not list(part.children()):
            part.register_forward_hook(ran)
    with pytest.raises(Stopped):
        WORK[name](models)
    assert 0 < len(parts) < sum(1 for part in layers.modules() if not list(part.children()))
    with pytest.raises(Stopped):
        WORK[name](models)
