"""LTX-2.5's diffusion decoder against upstream's classes, and what an older ltx_core is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the ltx extra is not installed")
pytest.importorskip("ltx_core", reason="the ltx extra is not installed")

from support import tiny_ltx
from support.ltx import equal, pictures
from support.ltx_layouts import write
from support.pictures import moving, video

from ltxfilter.cli import main
from ltxfilter.engines.ltx import installed
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.engines.ltx.weights import files
from ltxfilter.engines.ltx.weights.files import FileKind
from ltxfilter.engines.ltx.weights.formats.inferred import vae_config
from ltxfilter.engines.ltx.weights.generations import generation
from ltxfilter.engines.ltx.weights.parts import ModelParts
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import ModelOptions

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> ModelOptions:
    config = tiny_ltx.generation("LTX-2.5")
    from support import tiny_diffusion_vae

    torch.set_num_threads(1)
    made = tiny_ltx.build(tmp_path_factory.mktemp("ltx"), config=config)
    path = tiny_diffusion_vae.build(tmp_path_factory.mktemp("vae") / "vae.safetensors")
    return replace(made, vae=str(path))


def latents(frames: int, rows: int, columns: int, *, batch: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.randn(batch, 128, frames, rows, columns, generator=generator)


def theirs(options: ModelOptions) -> torch.nn.Module:
    """Return upstream's decoder, built and filled by upstream as its pipelines do it."""
    from ltx_core.loader.single_gpu_model_builder import SingleGPUModelBuilder
    from ltx_core.model.video_vae import VideoDecoderConfigurator
    from ltx_core.model.video_vae.model_configurator import video_decoder_sd_ops_for_checkpoint
    from ltx_core.model.video_vae.transformer.apply import build_diffvae_mode_op
    from ltx_core.model.video_vae.transformer.config import DiffVAEMode

    model = SingleGPUModelBuilder(
        model_class_configurator=VideoDecoderConfigurator,
        model_path=str(options.vae),
        model_sd_ops=video_decoder_sd_ops_for_checkpoint(str(options.vae)),
        module_ops=(build_diffvae_mode_op(DiffVAEMode.CHUNKED_EAGER),),
    ).build(device=CPU, dtype=torch.float32)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("size", [(1, 2, 2), (2, 2, 3), (3, 4, 2)])
def test_pictures_equal_upstreams(
    options: ModelOptions, size: tuple[int, int, int], caplog: pytest.LogCaptureFixture
):
    given = latents(*size)
    ours = Models(options).decode(given)
    with torch.no_grad():
        expected = theirs(options)(given, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours, expected)
    frames, rows, columns = size
    assert ours.shape == (1, 3, 8 * frames - 7, 32 * rows, 32 * columns)
    assert ours.std() > 0.01
    assert not [line for line in caplog.messages if "nothing is done with" in line]


def test_repeated_and_batched_decoding_give_the_same(options: ModelOptions):
    models = Models(options)
    given = latents(2, 2, 2, batch=2)
    both = models.decode(given)
    assert torch.equal(both, models.decode(given))
    for number in range(2):
        assert torch.equal(models.decode(given[number : number + 1])[0], both[number])


def test_the_encoder_is_the_convolutional_one(options: ModelOptions):
    pixels = torch.rand(1, 3, 9, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    found = Models(options).encode(pixels)
    assert found.shape == (1, 128, 2, 2, 2)
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("spec", ["ltx-temporal", "ltx-motion", "ltx-keyframe:steps=1:refine=1"])
def test_engines_draw_with_it(spec: str, options: ModelOptions):
    info = video("yuv420p", 64, 64)
    frames = moving(info, 4)

    found, again = (pictures(spec, options, info, frames) for _ in range(2))
    assert len(found) == 3
    assert all(map(equal, found, again))


def header_only(folder: Path) -> Path:
    """Write a file that is told as such an autoencoder by the names in it."""
    own = ("vae.encoder.conv_in.conv.weight", "vae.decoder.conv_in_x_t.weight")
    tensors = {name: torch.zeros(1, 1, 1, 1, 1) for name in own}
    config = {"vae": {"_class_name": "CausalDiffusionVAE"}}
    return write(folder / "v.safetensors", tensors, config, model_version="2.5.0")


def test_an_older_core_is_told_what_to_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = str(header_only(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    parts = ModelParts(ModelOptions(vae=path))
    monkeypatch.setattr(installed, "decodes_by_diffusion", lambda: True)
    assert generation(parts.find(FileKind.VAE)) == "2.5"
    monkeypatch.setattr(installed, "decodes_by_diffusion", lambda: False)
    with pytest.raises(EngineUnavailableError, match="diffusion decoder, which needs ltx-core 1"):
        parts.find(FileKind.VAE)
    main.run(["doctor", "--vae", path])
    said = next(line for line in capsys.readouterr().out.splitlines() if "LTX-2.5" in line)
    assert "whose decoder needs ltx-core 1.2" in said
    assert "no engine uses it" in said


def test_an_older_core_takes_the_other_one_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    header_only(tmp_path)
    own = {"vae.encoder.conv_in.conv.weight": torch.zeros(1, 1, 1, 1, 1)}
    other = write(tmp_path / "conv.safetensors", own, {"vae": {"latent_channels": 128}})
    monkeypatch.setattr(installed, "decodes_by_diffusion", lambda: False)
    parts = ModelParts(ModelOptions(models=str(tmp_path)))
    assert parts.find(FileKind.VAE).path == str(other)
    monkeypatch.setattr(installed, "decodes_by_diffusion", lambda: True)
    with pytest.raises(EngineUnavailableError, match="name one of them by --vae"):
        ModelParts(ModelOptions(models=str(tmp_path))).find(FileKind.VAE)


def test_without_metadata_nothing_is_guessed(tmp_path: Path):
    assert vae_config(files.read_header(str(header_only(tmp_path))).tensors) is None
