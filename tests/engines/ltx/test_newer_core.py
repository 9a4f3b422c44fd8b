"""LTX-2.5 with the classes of ltx_core 1.2, against those classes called directly.

`make test-ltx-core CORE=FOLDER` runs this, and every other test of LTX, with a checkout of
upstream. Without one the tests here that need its classes are skipped.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the ltx extra is not installed")
pytest.importorskip("ltx_core", reason="the ltx extra is not installed")

from support import ltx_layouts as layouts
from support import tiny_ltx
from support.ltx import equal, pictures
from support.ltx_layouts import Tensors, write
from support.pictures import moving, video

from ltxfilter.cli import main
from ltxfilter.engines.ltx import installed
from ltxfilter.engines.ltx.models import upstream
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.engines.ltx.weights import files
from ltxfilter.engines.ltx.weights.generations import generation
from ltxfilter.engines.ltx.weights.parts import ModelParts
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.options import ModelOptions

MARK = layouts.PREFIX + "keyframes_abs_pos_embedding"
NEWER = layouts.CONFIG | {
    "transformer": layouts.WIDER | {"ff_bias": False, "use_keyframes_abs_pos_embedding": True}
}
DRAW = [  # everything that runs the transformer
    "ltx-keyframe:steps=2:refine=1",
    "ltx-keyframe:mode=guided:steps=2:refine=1:cfg=1",
    "ltx-motion:source=dit:steps=1",
    "ltx-motion:source=latent+dit:steps=1",
    "ltx-temporal:refine=1",
]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> ModelOptions:
    torch.set_num_threads(1)
    config = tiny_ltx.generation("LTX-2.5")
    return tiny_ltx.build(tmp_path_factory.mktemp("ltx"), config=config)


@pytest.fixture(scope="module")
def tensors(tmp_path_factory: pytest.TempPathFactory) -> Tensors:
    """A checkpoint of the layout of LTX-2.5, made of one of LTX-2.3 with any ltx_core."""
    older = tiny_ltx.build(tmp_path_factory.mktemp("older"), config=layouts.CONFIG)
    found = tiny_ltx.read(str(older.checkpoint))
    dropped = (".ff.net.0.proj.bias", ".ff.net.2.bias")
    kept = {
        name: value
        for name, value in found.items()
        if not (name.startswith(layouts.PREFIX + "transformer") and name.endswith(dropped))
    }
    return kept | {MARK: random(1, layouts.WIDTH).to(torch.bfloat16)}


# ---- the transformer


GIVEN = random(2, 12, 128), 0.7, torch.full((2, 12, 1), 0.7), random(2, 3, 12, 2, seed=1).abs()


def theirs(options: ModelOptions, joint: bool, first: int) -> torch.Tensor:
    """Return the velocity of upstream's classes, built and filled by upstream."""
    from ltx_core.loader.single_gpu_model_builder import SingleGPUModelBuilder
    from ltx_core.model.transformer import LTXV_MODEL_COMFY_RENAMING_MAP, Modality
    from ltx_core.model.transformer import model_configurator as configurators

    named = "LTXModelConfigurator" if joint else "LTXVideoOnlyModelConfigurator"
    model = SingleGPUModelBuilder(
        model_class_configurator=getattr(configurators, named),
        model_path=str(options.checkpoint),
        model_sd_ops=LTXV_MODEL_COMFY_RENAMING_MAP,
    ).build(device=torch.device("cpu"), dtype=torch.float32)
    latent, sigma, timesteps, positions = GIVEN
    marks = torch.zeros(2, 12, 1)
    marks[:, :first] = 1
    modality = Modality(
        latent=latent,
        sigma=torch.full((2,), sigma),
        timesteps=timesteps,
        positions=positions,
        context=Models(options).context().expand(2, -1, -1),
        keyframes_mask=marks,
    )
    with torch.no_grad():
        return model(video=modality, audio=None, perturbations=None)[0]


@pytest.mark.parametrize("joint", [False, True], ids=["video alone", "with audio"])
@pytest.mark.parametrize("first", [4, 0])
def test_a_step_equals_upstreams(options: ModelOptions, joint: bool, first: int):
    models = Models(options)
    ours = models.velocity(*GIVEN, models.context(), first=first)
    assert torch.equal(ours, theirs(options, joint, first))


def test_the_first_latent_frame_is_marked(options: ModelOptions):
    models = Models(options)
    marked, plain = (models.velocity(*GIVEN, models.context(), first=first) for first in (4, 0))
    change = ((marked - plain).norm() / plain.norm()).item()
    assert 1e-3 < change < 2


def test_older_generations_mark_nothing(tmp_path: Path):
    models = Models(tiny_ltx.build(tmp_path))
    marked, plain = (models.velocity(*GIVEN, models.context(), first=first) for first in (4, 0))
    assert torch.equal(marked, plain)


def test_attention_is_torchs_own_whatever_is_installed(options: ModelOptions):
    from ltx_core.model.transformer.attention import PytorchAttention

    model = Models(options)._module("transformer")
    kinds = {type(block.attn1.attention_function) for block in model.transformer_blocks}
    assert kinds == {PytorchAttention}


@pytest.mark.parametrize("spec", DRAW)
def test_pictures_are_drawn(spec: str, options: ModelOptions, monkeypatch: pytest.MonkeyPatch):
    seen: set[int] = set()
    plain = Models.velocity

    def counted(self, latent, *rest, first, **more):
        seen.add(first)
        return plain(self, latent, *rest, first=first, **more)

    monkeypatch.setattr(Models, "velocity", counted)
    info = video("yuv420p", 128, 64)
    frames = moving(info, 10)
    found, again = (pictures(spec, options, info, frames) for _ in range(2))
    assert len(found) == 9
    assert all(map(equal, found, again))
    assert seen
    assert 0 not in seen
    monkeypatch.setattr(upstream, "marks_first_frame", lambda model: False)
    if "motion" not in spec:  # motion draws the keyframes' pixels, whatever is marked
        assert not any(map(equal, found, pictures(spec, options, info, frames)))


# ---- its files


@pytest.mark.parametrize("mode", ["rowwise", "cast"])
def test_in_8_bits(tmp_path: Path, mode: str):
    tiny_ltx.generation("LTX-2.5")
    wider = tiny_ltx.build(tmp_path, config=NEWER)
    generator = torch.Generator().manual_seed(2)
    context = torch.randn(1, tiny_ltx.TOKENS, layouts.WIDTH, generator=generator)
    exact, rough = (
        Models(wider, fp8=each).velocity(*GIVEN, context, first=4) for each in ("off", mode)
    )
    assert 0 < ((rough - exact).norm() / exact.norm()).item() < 0.1


def test_without_metadata_it_is_told_by_its_tensors(tensors: Tensors, tmp_path: Path):
    for name, own in (
        ("whole", tensors),
        ("bare", layouts.video_only(tensors)),
        ("diffusers", layouts.diffusers_transformer(layouts.video_only(tensors))),
    ):
        file = files.read_header(str(write(tmp_path / f"{name}.safetensors", own)))
        assert generation(file) == "2.5", name
        settings = file.config["transformer"]
        assert settings["ff_bias"] is False
        assert settings["use_keyframes_abs_pos_embedding"]
        assert "use_prompt_adaln_single" not in settings
        assert "audio_ff_bias" not in settings


def test_text_that_sigma_does_not_modulate_is_told(tensors: Tensors, tmp_path: Path):
    own = {name: value for name, value in tensors.items() if "prompt_adaln_single" not in name}
    file = files.read_header(str(write(tmp_path / "c.safetensors", own)))
    settings = file.config["transformer"]
    assert settings["cross_attention_adaln"]
    assert settings["use_prompt_adaln_single"] is False


def test_a_mark_in_8_bits_has_its_scale(tensors: Tensors, tmp_path: Path):
    """As files of other programs have it: the parameter's own name and _scale."""
    scale = tensors[MARK].float().abs().max() / 448
    stored = layouts.stored(tensors, layouts.fp8_tensor)
    stored[MARK] = (tensors[MARK].float() / scale).to(torch.float8_e4m3fn)
    stored[f"{MARK}_scale"] = scale
    path = write(tmp_path / "c.safetensors", stored, NEWER)
    from ltxfilter.engines.ltx.weights.load import read_tensors, transformer_name

    file = files.read_header(str(path))
    own = dict(read_tensors(file, transformer_name, torch.device("cpu"), torch.float32))
    expected = tensors[MARK].float()
    found = own["keyframes_abs_pos_embedding"]
    assert "keyframes_abs_pos_embedding_scale" not in own
    assert ((found - expected).norm() / expected.norm()).item() < 0.05
    del stored[MARK]
    lost = files.read_header(str(write(tmp_path / "d.safetensors", stored, NEWER)))
    with pytest.raises(EngineUnavailableError, match="_scale belongs to no weight there"):
        dict(read_tensors(lost, transformer_name, torch.device("cpu"), torch.float32))


def test_a_checkpoint_that_lost_its_mark_is_refused(options: ModelOptions, tmp_path: Path):
    own = tiny_ltx.read(str(options.checkpoint))
    del own[MARK]
    path = write(tmp_path / "c.safetensors", own, tiny_ltx.LTX_2_5)
    models = Models(replace(options, checkpoint=str(path)))
    with pytest.raises(EngineUnavailableError, match="it lacks keyframes_abs_pos_embedding"):
        models.load("transformer")


# ---- an ltx_core that is too old


@pytest.fixture
def too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "builds_2_5", lambda: False)


@pytest.mark.usefixtures("too_old")
def test_an_older_core_is_told_with_what_to_type(tensors: Tensors, tmp_path: Path):
    path = str(write(tmp_path / "c.safetensors", tensors, NEWER))
    with pytest.raises(EngineUnavailableError) as refused:
        ModelParts(ModelOptions(checkpoint=path)).find(files.FileKind.TRANSFORMER)
    assert path in str(refused.value)
    assert "LTX-2.5, which needs ltx-core 1.2" in str(refused.value)
    assert "git+https://github.com/Lightricks/LTX-2#subdirectory" in str(refused.value)
    assert ModelParts(ModelOptions(checkpoint=path)).find(files.FileKind.VAE).path == path


@pytest.mark.parametrize("old", [True, False])
def test_doctor_says_it(
    tensors: Tensors,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    old: bool,
):
    monkeypatch.setattr(installed, "builds_2_5", lambda: not old)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = str(write(tmp_path / "c.safetensors", tensors, NEWER))
    main.run(["doctor", "--checkpoint", path])
    said = capsys.readouterr().out
    line = next(line for line in said.splitlines() if "LTX-2.5" in line)
    assert ("whose transformer needs ltx-core 1.2" in line) == old
    served = line.partition("; for ")[2]
    assert "ltx-temporal" in served
    assert ("ltx-motion:source=dit" in served) != old


@pytest.mark.parametrize(
    ("source", "able"), [(b"use_keyframes_abs_pos_embedding=config.get(...)", True), (b"", False)]
)
def test_what_is_installed_is_told_by_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: bytes, able: bool
):
    package = tmp_path / "ltx_core"
    place = package / installed.TRANSFORMERS
    place.parent.mkdir(parents=True)
    (package / "__init__.py").touch()
    place.write_bytes(source)
    spec = type("Spec", (), {"origin": str(package / "__init__.py")})
    for found, expected in ((spec, able), (None, False)):
        installed._source.cache_clear()
        monkeypatch.setattr(installed, "find_spec", lambda name, found=found: found)
        assert installed.builds_2_5() is expected
    installed._source.cache_clear()
