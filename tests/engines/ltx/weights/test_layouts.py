"""The files that people have: each loads with the picture of its weights, or is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the ltx extra is not installed")
pytest.importorskip("ltx_core", reason="the ltx extra is not installed")

from support import ltx_layouts as layouts
from support import tiny_ltx
from support.ltx_layouts import PREFIX, Tensors, stored, under, video_only, write

from ltxfilter.engines.ltx.models import upstream
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import ModelOptions

CONFIG = layouts.CONFIG
Folder = Path
Made = dict[str, Any]  # fields of ModelOptions


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> ModelOptions:
    """A checkpoint in 16 bits, both upsamplers and a context."""
    folder = tmp_path_factory.mktemp("ltx")
    options = tiny_ltx.build(folder, config=CONFIG)
    generator = torch.Generator().manual_seed(2)
    context = torch.randn(1, tiny_ltx.TOKENS, layouts.WIDTH, generator=generator)
    write(folder / "context.safetensors", {"video_context": context})
    return options


@pytest.fixture(scope="module")
def tensors(base: ModelOptions) -> Tensors:
    return tiny_ltx.read(str(base.checkpoint))


@pytest.fixture(scope="module")
def expected(base: ModelOptions) -> torch.Tensor:
    return transformed(base)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def transformed(options: ModelOptions) -> torch.Tensor:
    """Return what the transformer makes of some tokens."""
    models = Models(options)
    models.load("transformer")
    sigma = torch.full((1,), 0.7)
    positions = random(1, 3, 24, 2, seed=1).abs()
    given = random(1, 24, 128), sigma, sigma.expand(1, 24, 1), positions
    return models.velocity(*given, models.context())


def seen(options: ModelOptions) -> torch.Tensor:
    """Return what encoding, upsampling in time and decoding make of some pictures."""
    models = Models(options)
    models.load("encoder", "decoder", "temporal")
    pictures = random(1, 3, 9, 64, 64).clamp(-1, 1)
    return models.decode(models.upsample(models.encode(pictures), "temporal"))


def distance(found: torch.Tensor, right: torch.Tensor) -> float:
    return float((found - right).norm() / right.norm())


def transformer_file(folder: Folder, made: Tensors, config: Any = CONFIG, **told: str) -> Made:
    return {"transformer": str(write(folder / "t.safetensors", made, config, **told))}


def in_format(store: Callable[[str, torch.Tensor], Tensors]) -> Callable[..., Made]:
    """Return what writes a whole checkpoint whose large weights are stored by `store`."""

    def make(folder: Folder, tensors: Tensors) -> Made:
        path = write(folder / "c.safetensors", stored(tensors, store), CONFIG)
        return {"checkpoint": str(path)}

    return make


def in_dtype(dtype: torch.dtype) -> Callable[..., Made]:
    def make(folder: Folder, tensors: Tensors) -> Made:
        whole = {name: value.to(dtype) for name, value in tensors.items()}
        return {"checkpoint": str(write(folder / "c.safetensors", whole, CONFIG))}

    return make


def marked(folder: Folder, tensors: Tensors) -> Made:
    """A transformer alone as ComfyUI wrote it in 2025: `.scale_weight` and a marker."""
    made = stored(video_only(tensors), partial(layouts.fp8_tensor, end=".scale_weight"))
    made["scaled_fp8"] = torch.empty(2, dtype=torch.float8_e4m3fn)
    return transformer_file(folder, made)


def noted(folder: Folder, tensors: Tensors) -> Made:
    """An official file in 8 bits, whose metadata list the layers."""
    made = stored(tensors, layouts.fp8_tensor)
    layers = [name for name in made if name.endswith(".weight_scale")]
    told = {name.removesuffix(".weight_scale"): {"format": "float8_e4m3fn"} for name in layers}
    path = folder / "c.safetensors"
    write(path, made, CONFIG, _quantization_metadata=json.dumps({"layers": told}))
    return {"checkpoint": str(path)}


def cast(layer: str, weight: torch.Tensor, dtype: torch.dtype) -> Tensors:
    return {f"{layer}.weight": weight.to(dtype)}


def in_shards(folder: Folder, tensors: Tensors) -> Made:
    return {"transformer": str(layouts.sharded(folder / "t", video_only(tensors), CONFIG))}


def as_diffusers(folder: Folder, tensors: Tensors) -> Made:
    names = layouts.diffusers_transformer(video_only(tensors))
    made = layouts.sharded(folder / "transformer", names, None, "diffusion_pytorch_model")
    return {"transformer": str(made)}


def whole_folder(folder: Folder, tensors: Tensors) -> Made:
    write(folder / "one" / "a.safetensors", video_only(tensors), CONFIG)
    write(folder / "two" / "b.safetensors", under(tensors, "vae."), CONFIG)
    return {"models": str(folder), "checkpoint": None}


# Layout -> what writes it, and the largest relative error of the transformer's result.
LOADED: dict[str, tuple[Callable[..., Made], float]] = {
    "a checkpoint in bf16": (in_dtype(torch.bfloat16), 0),
    "a checkpoint in fp16": (in_dtype(torch.float16), 1e-5),
    "a checkpoint in fp32": (in_dtype(torch.float32), 0),
    "a transformer alone": (lambda f, t: transformer_file(f, under(t, PREFIX, PREFIX)), 0),
    "a transformer without prefix": (lambda f, t: transformer_file(f, video_only(t)), 0),
    "a transformer under diffusion_model": (
        lambda f, t: transformer_file(f, under(t, PREFIX, "diffusion_model.")), 0,
    ),
    "a transformer without metadata": (lambda f, t: transformer_file(f, under(t, PREFIX), None), 0),
    "a transformer in shards": (in_shards, 0),
    "a transformer of diffusers": (as_diffusers, 0),
    "a folder of parts": (whole_folder, 0),
    "fp8, a scale per tensor": (in_format(layouts.fp8_tensor), 0.04),
    "fp8, a scale per row": (in_format(partial(layouts.fp8_rows, flat=False)), 0.04),
    "fp8, a scale per row on one axis": (in_format(partial(layouts.fp8_rows, flat=True)), 0.04),
    "fp8 of ComfyUI, scale_weight": (marked, 0.04),
    "fp8 of ComfyUI, comfy_quant": (in_format(layouts.comfy), 0.04),
    "fp8 with a list in the metadata": (noted, 0.04),
    "fp8 without scales": (in_format(partial(cast, dtype=torch.float8_e4m3fn)), 0.06),
    "fp8 e5m2 without scales": (in_format(partial(cast, dtype=torch.float8_e5m2)), 0.1),
    "mxfp8": (in_format(layouts.mxfp8), 0.05),
    "nvfp4": (in_format(layouts.nvfp4), 0.15),
}  # fmt: skip


@pytest.mark.parametrize("layout", LOADED)
@pytest.mark.parametrize("mode", ["off", "rowwise"])
def test_a_layout_loads_with_the_same_picture(
    base: ModelOptions,
    tensors: Tensors,
    expected: torch.Tensor,
    tmp_path: Path,
    layout: str,
    mode: str,
):
    make, most = LOADED[layout]
    options = replace(base, **make(tmp_path, tensors))
    if mode == "off":
        error = distance(transformed(options), expected)
        assert error <= most
        assert (error == 0) == (most == 0)
    else:
        models = Models(options, fp8=mode)
        models.load("transformer")
        layer = models._module("transformer").transformer_blocks[0].attn1.to_q
        right = tensors[PREFIX + "transformer_blocks.0.attn1.to_q.weight"].float()
        assert distance(layer.weight.float() * layer.weight_scale.t(), right) <= most + 0.04


@pytest.mark.parametrize("kind", ["Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q3_K"])
def test_gguf_loads_what_its_blocks_stand_for(
    base: ModelOptions, tensors: Tensors, tmp_path: Path, kind: str
):
    pytest.importorskip("gguf", reason="the gguf extra is not installed")
    path = tmp_path / "t.gguf"
    values = layouts.write_gguf(path, video_only(tensors), kind)
    plain = replace(base, **transformer_file(tmp_path, values))
    found = transformed(replace(base, transformer=str(path)))
    assert torch.equal(found, transformed(plain))
    if kind == "Q8_0":
        assert 0 < distance(found, transformed(base)) < 0.02


# ---- autoencoders and upsamplers


@pytest.mark.parametrize("new", ["vae.", "", "first_stage_model."])
@pytest.mark.parametrize("told", [True, False])
def test_an_autoencoder_alone(
    base: ModelOptions, tensors: Tensors, tmp_path: Path, new: str, told: bool
):
    """The tiny one is built like no published one, so that it needs its configuration."""
    path = write(tmp_path / "v.safetensors", under(tensors, "vae.", new), CONFIG if told else None)
    options = ModelOptions(vae=str(path), temporal_upsampler=base.temporal_upsampler, device="cpu")
    if told:
        assert torch.equal(seen(options), seen(base))
    else:
        with pytest.raises(EngineUnavailableError, match="no configuration in its metadata"):
            seen(options)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelOptions]:
    """Checkpoints with autoencoders whose layers are those of the published ones."""
    made = {}
    vaes = {"2.3": layouts.PUBLISHED_VAE, "2": layouts.PUBLISHED_VAE_2}
    for name, vae in vaes.items():
        folder = tmp_path_factory.mktemp("published")
        made[name] = tiny_ltx.build(folder, config=CONFIG | {"vae": vae})
    return made


@pytest.mark.parametrize("generation", ["2.3", "2"])
@pytest.mark.parametrize("names", ["own", "diffusers"])
def test_a_published_autoencoder_needs_no_metadata(
    published: dict[str, ModelOptions], tmp_path: Path, generation: str, names: str
):
    options = published[generation]
    bare = under(tiny_ltx.read(str(options.checkpoint)), "vae.")
    made = layouts.diffusers_vae(bare) if names == "diffusers" else bare
    path = write(tmp_path / "v.safetensors", made)
    alone = ModelOptions(vae=str(path), temporal_upsampler=options.temporal_upsampler, device="cpu")
    assert torch.equal(seen(alone), seen(options))


def upsampler(path: Path, sizes: dict[str, Any], told: bool, **metadata: str) -> str:
    from ltx_core.model.upsampler import LatentUpsamplerConfigurator

    module = upstream.configured(LatentUpsamplerConfigurator, sizes, {})
    tiny_ltx.randomize(module, torch.Generator().manual_seed(4))
    made = dict(tiny_ltx._named(module, ""))
    return str(write(path, made, sizes if told else None, **metadata))


UPSAMPLERS = {
    "temporal x2": (tiny_ltx.TEMPORAL, (3, 2, 2)),
    "spatial x2": (tiny_ltx.SPATIAL, (2, 4, 4)),
    "spatial x2, rational": (tiny_ltx.SPATIAL | {"rational_resampler": True}, (2, 4, 4)),
    "spatial x1.5": (
        tiny_ltx.SPATIAL | {"rational_resampler": True, "spatial_scale": 1.5}, (2, 3, 3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("which", UPSAMPLERS)
def test_an_upsampler_needs_no_metadata(base: ModelOptions, tmp_path: Path, which: str):
    sizes, shape = UPSAMPLERS[which]
    kind: Any = which.split()[0]
    latents, results = random(1, 128, 2, 2, 2), []
    for told in (True, False):
        path = upsampler(tmp_path / f"{told}.safetensors", sizes, told)
        models = Models(replace(base, **{f"{kind}_upsampler": path}))
        models.load(kind)
        results.append(models.upsample(latents, kind))
    assert results[0].shape[2:] == shape
    assert torch.equal(*results)


# ---- what is refused


def refused(folder: Folder, tensors: Tensors, case: str) -> Made:  # noqa: C901
    path = folder / "c.safetensors"
    texts = {
        "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
        "a web page": b"<!DOCTYPE html><html><head><title>Login</title></head></html>",
        "a pickle": b"\x80\x02}q\x00.",
        "an empty file": b"",
    }
    if case in texts:
        path.write_bytes(texts[case])
    elif case == "int8":
        return in_format(layouts.int8)(folder, tensors)
    elif case == "int8 with ConvRot":
        told = {"format": "int8_tensorwise", "convrot": True}
        return in_format(partial(layouts.int8, **told))(folder, tensors)
    elif case == "an unknown note":

        def store(layer: str, weight: torch.Tensor) -> Tensors:
            return layouts.fp8_tensor(layer, weight) | {
                f"{layer}.comfy_quant": layouts.note(format="svdquant")
            }

        return in_format(store)(folder, tensors)
    elif case == "a truncated file":
        whole = write(path, tensors, CONFIG).read_bytes()
        path.write_bytes(whole[:-5000])
    elif case == "a missing shard":
        made = layouts.sharded(folder / "t", video_only(tensors), CONFIG)
        (made / "model-00002-of-00003.safetensors").unlink()
        return {"transformer": str(made)}
    elif case == "a truncated shard":
        made = layouts.sharded(folder / "t", video_only(tensors), CONFIG)
        shard = made / "model-00003-of-00003.safetensors"
        shard.write_bytes(shard.read_bytes()[:-100])
        return {"transformer": str(made)}
    elif case == "an autoencoder as a transformer":
        write(path, under(tensors, "vae."), CONFIG)
        return {"transformer": str(path)}
    elif case == "models for audio":
        write(path, {"audio_vae.encoder.conv_in.conv.weight": torch.zeros(1)})
    elif case == "an unknown GGUF type":
        pytest.importorskip("gguf", reason="the gguf extra is not installed")
        layouts.write_gguf(folder / "t.gguf", video_only(tensors), "Q4_0", CONFIG)
        return {"transformer": str(folder / "t.gguf")}
    return {"checkpoint": str(path)}


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("a pointer of Git LFS", "a pointer of Git LFS, not the file itself"),
        ("a web page", "a web page that was saved in the file's place"),
        ("a pickle", "a pickle of PyTorch"),
        ("an empty file", "it is empty"),
        ("int8", "is in int8, which is not read"),
        ("int8 with ConvRot", r"is in int8_tensorwise \(ConvRot\), which is not read"),
        ("an unknown note", "is in svdquant, which is not read"),
        ("a truncated file", "truncated, .* download it again"),
        ("a missing shard", "its shard model-00002-of-00003.safetensors is missing"),
        ("a truncated shard", "its shard model-00003-of-00003.safetensors: truncated"),
        ("an autoencoder as a transformer", "a video autoencoder, not a transformer; .* --vae"),
        ("models for audio", "models for audio, which nothing here uses"),
        ("an unknown GGUF type", "is in Q4_0, which is not read"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(
    base: ModelOptions, tensors: Tensors, tmp_path: Path, case: str, message: str
):
    options = replace(base, **refused(tmp_path, tensors, case))
    with pytest.raises(EngineUnavailableError, match=message):
        transformed(options)


# ---- one tensor that is not as it should be


def entries(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def with_header(path: Path, header: dict[str, Any], body: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def changed(header: dict[str, Any], name: str, how: str) -> dict[str, Any]:
    """Return a header in which one tensor is dropped, renamed or transposed."""
    found = dict(header)
    entry = found.pop(name)
    if how == "renamed":
        found[name + "_"] = entry
    elif how == "transposed":
        found[name] = entry | {"shape": entry["shape"][::-1]}
    return found


STORES: dict[str, Callable[[str, torch.Tensor], Tensors]] = {
    "bf16": partial(cast, dtype=torch.bfloat16),
    "fp8": layouts.fp8_tensor,
    "fp8 rows": partial(layouts.fp8_rows, flat=False),
    "mxfp8": layouts.mxfp8,
    "nvfp4": layouts.nvfp4,
    "comfy": layouts.comfy,
}
HARMLESS = {  # what is done to a tensor -> ends of names of which the weights are the same then
    "dropped": (".input_scale", ".comfy_quant"),
    "renamed": (".input_scale",),
    "transposed": (".weight_scale",),  # of blocks: as many bytes in the same order
}
BY_ROWS = ("fp8 rows",)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("how", ["dropped", "renamed", "transposed"])
def test_any_one_tensor_that_is_not_as_it_should_be_gives_no_picture(
    base: ModelOptions, tensors: Tensors, tmp_path: Path, store: str, how: str
):
    """One that is as good as before may be refused, or loads with the very same weights.

    A square matrix that is transposed looks like itself, and nothing in a file tells.
    """
    video = {
        k: v for k, v in video_only(tensors).items() if not k.startswith("transformer_blocks.1")
    }
    small = CONFIG | {"transformer": layouts.WIDER | {"num_layers": 1}}
    whole = write(tmp_path / "whole.safetensors", stored(video, STORES[store]), small)
    header, body = entries(whole)
    right = transformed(replace(base, transformer=str(whole)))
    path = tmp_path / "changed.safetensors"
    count = 0
    for name, entry in header.items():
        if name == "__metadata__" or (
            how == "transposed" and entry["shape"] == entry["shape"][::-1]
        ):
            continue
        with_header(path, changed(header, name, how), body)
        options = replace(base, transformer=str(path))
        if name.endswith(HARMLESS[how]) and store not in BY_ROWS:
            assert torch.equal(transformed(options), right)
            continue
        with pytest.raises(EngineUnavailableError, match=r"changed\.safetensors"):
            transformed(options)
        count += 1
    assert count > 20 or how == "transposed"


@pytest.mark.parametrize("how", ["dropped", "renamed", "transposed"])
def test_any_one_tensor_of_gguf_that_is_not_as_it_should_be_gives_no_picture(
    base: ModelOptions, tensors: Tensors, tmp_path: Path, how: str
):
    pytest.importorskip("gguf", reason="the gguf extra is not installed")
    video = {
        k: v for k, v in video_only(tensors).items() if not k.startswith("transformer_blocks.1")
    }
    small = CONFIG | {"transformer": layouts.WIDER | {"num_layers": 1}}
    path = tmp_path / "changed.gguf"
    options = replace(base, transformer=str(path))
    layouts.write_gguf(path, video, "Q8_0", small)
    transformed(options)
    for name, value in video.items():
        made = {other: each for other, each in video.items() if other != name}
        if how == "renamed":
            made[name + "_"] = value
        elif how == "transposed":
            if value.shape == value.shape[::-1]:
                continue
            made[name] = value.reshape(value.shape[::-1])
        path.unlink()
        layouts.write_gguf(path, made, "Q8_0", small)
        with pytest.raises(EngineUnavailableError, match=r"changed\.gguf"):
            transformed(options)


@pytest.mark.parametrize("part", ["encoder", "decoder", "temporal"])
def test_no_other_model_loads_with_one_tensor_less(
    base: ModelOptions, tensors: Tensors, tmp_path: Path, part: str
):
    if part == "temporal":
        made, field = tiny_ltx.read(str(base.temporal_upsampler)), "temporal_upsampler"
        config: Any = tiny_ltx.TEMPORAL
    else:
        made, field, config = under(tensors, "vae.", "vae."), "vae", CONFIG
    own = [n for n in made if part == "temporal" or n.startswith((f"vae.{part}", "vae.per"))]
    path = tmp_path / "less.safetensors"
    for name in own:
        write(path, {k: v for k, v in made.items() if k != name}, config)
        with pytest.raises(EngineUnavailableError, match=r"it lacks|no configuration|it holds"):
            Models(replace(base, **{field: str(path)})).load(part)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_cannot_be_one_is_refused(
    base: ModelOptions, tensors: Tensors, tmp_path: Path, value: float
):
    made = stored(video_only(tensors), layouts.fp8_tensor)
    name = next(name for name in made if name.endswith(".weight_scale"))
    options = replace(base, **transformer_file(tmp_path, made | {name: torch.tensor(value)}))
    with pytest.raises(EngineUnavailableError, match=f"{name} is not above 0"):
        transformed(options)


def test_8_bits_that_have_lost_all_their_scales_are_refused(
    base: ModelOptions, tensors: Tensors, tmp_path: Path
):
    made = stored(video_only(tensors), layouts.fp8_tensor)
    bare = {name: value for name, value in made.items() if not name.endswith("_scale")}
    options = replace(base, **transformer_file(tmp_path, bare))
    with pytest.raises(EngineUnavailableError, match="reaches 448: its scale is missing"):
        transformed(options)


def test_what_a_file_holds_beyond_its_model_is_named(
    base: ModelOptions, tensors: Tensors, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    made = video_only(tensors) | {"transformer_blocks.0.attn3.to_q.weight": torch.zeros(2, 2)}
    transformed(replace(base, **transformer_file(tmp_path, made)))
    assert "nothing is done with transformer_blocks.0.attn3.to_q.weight" in caplog.text
