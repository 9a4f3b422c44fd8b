"""The arithmetic of the GPU benchmark, and its code on tiny models."""

from __future__ import annotations

from fractions import Fraction

import pytest

torch = pytest.importorskip("torch", reason="the ltx extra is not installed")
pytest.importorskip("ltx_core", reason="the ltx extra is not installed")


from torch.utils.flop_counter import FlopCounterMode

from benchmarks import gpu, gpu_models, gpu_motion, ltx_sizes
from ltxfilter.engines.ltx.models import upstream
from ltxfilter.engines.ltx.models.contexts import Contexts, Prompt
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.options import ModelOptions


def test_rows_have_the_tokens_that_were_planned():
    tokens = {
        row.name: [call.tokens for call, _ in row.calls if call.model == "transformer"]
        for row in gpu.ROWS
    }
    assert tokens["keyframe 2x, 8 + 3"] == [5610, 22440]
    assert tokens["keyframe 2.4x, 8 + 3"] == [7140, 28560]
    assert tokens["temporal 2x, refined 4"] == [14280]
    assert tokens["motion 448x256, 1"] == [1232]
    assert tokens["motion 768x448, 4"] == [3696]
    assert len(tokens) == len(gpu.ROWS)


@pytest.mark.parametrize(
    ("tokens", "tera"), [(336, 11.4), (1232, 33.7), (6144, 178.7), (22440, 932)]
)
def test_operations_are_counted_as_torch_counts_them(tokens: int, tera: float):
    assert ltx_sizes.transformer_flops(tokens) / 1e12 == pytest.approx(tera, rel=0.01)


def test_the_published_size():
    def numbers(kind: str, config: dict) -> float:
        module = upstream.meta_module(kind, config, {})
        return sum(value.numel() for value in module.parameters()) / 1e6

    assert numbers("transformer", ltx_sizes.CONFIG) == pytest.approx(13_120, rel=0.002)
    assert numbers("encoder", ltx_sizes.CONFIG) == pytest.approx(318.9, rel=0.002)
    assert numbers("decoder", ltx_sizes.CONFIG) == pytest.approx(407.2, rel=0.002)
    assert numbers("upsampler", ltx_sizes.TEMPORAL) == pytest.approx(130.968, rel=1e-4)


def test_every_step_runs_on_tiny_models(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    torch.set_num_threads(1)
    monkeypatch.setattr(gpu_models, "SECONDS", 0.0)
    monkeypatch.setattr(gpu_models, "WARMUPS", 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main(["--tiny", "--only", "2x"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * sum("2x" in row.name for row in gpu.ROWS) + 3
    assert lines[-1].startswith("one linear layer in 8 bits: ")
    assert lines[-2].startswith("of the ceiling in fp8: ")
    assert "text cached" in lines[0]
    assert not any("failed" in line for line in lines)


def test_8_bits_that_a_device_refuses_are_left_out(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "refuses_8_bits", lambda *_: True)
    assert gpu.main(["--tiny", "--only", "motion by latents"]) == 0
    said = capsys.readouterr().out
    assert "8 bits are not measured" in said
    assert "precision bf16" in said
    assert "precision fp8" not in said


def test_the_table_is_printed_line_by_line(monkeypatch):
    """What was measured before a failure has been printed."""
    printed = []
    monkeypatch.setattr("builtins.print", lambda *words, **_: printed.append(words))

    def measured(*_, **__):
        yield {"row": "first", "precision": "bf16"}
        raise RuntimeError("device-side assert")

    monkeypatch.setattr(gpu, "_measure_all", measured)
    with pytest.raises(RuntimeError):
        gpu.main(["--tiny"])
    assert printed == [("row first, precision bf16",)]


def test_guides_are_measured_on_tiny_models(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    torch.set_num_threads(1)
    monkeypatch.setattr(gpu_models, "SECONDS", 0.0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main(["--tiny", "--only", "ltx-motion x24 1024x576, dit, 1"]) == 0
    lines = capsys.readouterr().out.splitlines()[:-1]
    lines = [line for line in lines if line.startswith("row ")]
    assert len(lines) == 2 * 2
    assert not any("failed" in line for line in lines)
    assert any("1024x576, dit, 1, vae tiny" in line and "guides 9," in line for line in lines)


def test_motion_is_measured_for_every_source_and_step():
    names = [case.name for case in gpu_motion.CASES]
    assert len(set(names)) == len(names)
    for vae in ("full", "tiny"):
        for source in ("latent", *(f"dit, {n}" for n in (1, 2, 3, 4, 8)), "latent+dit, 4"):
            assert f"ltx-motion x2 1920x1080, {source}, vae {vae}" in names


@pytest.mark.parametrize(("source", "steps"), [("latent", 0), ("dit", 2)])
def test_guides_at_the_published_size(source: str, steps: int):
    """On the meta device: the shapes fit, and operations are those of the formulas."""
    meta = torch.device("meta")
    models = Models(ModelOptions(), device=meta, dtype=torch.bfloat16)
    case = gpu_motion.Case(source, steps)
    for part in case.models:
        kind = "upsampler" if part == "temporal" else part
        config = ltx_sizes.TEMPORAL if part == "temporal" else ltx_sizes.CONFIG
        module = upstream.meta_module(kind, config, {}).to(torch.bfloat16)
        models.adopt(part, module)
        if part == "encoder":
            models.adopt("statistics", module)
    prompt = torch.empty(ltx_sizes.CONTEXT, device=meta, dtype=torch.bfloat16)
    models.adopt("context", Contexts((Prompt(Fraction(0), ""),), prompt, None))
    drawer = gpu_motion.source_of(models, case, tiny=False)
    with FlopCounterMode(display=False) as counter:
        assert drawer.draw([gpu_motion.clip_for(drawer)]).shape == (1, 3, 17, 256, 448)
    cells = 8 * 14
    wanted = ltx_sizes.decoder_flops(17, cells)
    if source == "latent":
        wanted += ltx_sizes.encoder_flops(9, cells)
        wanted += ltx_sizes.upsampler_flops("temporal", 2, cells)
    else:
        wanted += 9 * ltx_sizes.encoder_flops(1, cells)
        wanted += steps * ltx_sizes.transformer_flops((3 + 8) * cells)
    assert counter.get_total_flops() == pytest.approx(wanted, rel=0.01)


def test_the_official_pipeline_beside_ours_on_tiny_models(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("transformers", reason="the official pipeline needs it")
    from benchmarks import gpu_official

    torch.set_num_threads(1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main(["--tiny", "--official", "--steps", "1"]) == 0
    *lines, goal = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(gpu_official.OURS)
    assert all("interpolated frames 8," in line for line in lines)
    assert all("times its denoising " in line for line in lines[1:])
    assert goal.startswith("goal: ")


def test_files_of_the_published_size_hold_all_that_is_read():
    """Names and shapes only; audio is included, as in the published file."""
    from benchmarks import gpu_files

    config = ltx_sizes.with_audio(ltx_sizes.CONFIG)
    found = {name: shape for name, shape, _ in gpu_files.checkpoint_entries(config)}
    count = sum(
        torch.Size(shape).numel() for name, shape in found.items() if name.startswith("model.")
    )
    assert count / 1e6 == pytest.approx(18_990, rel=0.002)
    for kind, naming in (("transformer", "model.diffusion_model."), ("encoder", "vae.encoder.")):
        module = upstream.meta_module(kind, ltx_sizes.CONFIG, {})
        for name, value in module.named_parameters():
            assert found[naming + name] == tuple(value.shape)
    assert found["vae.per_channel_statistics.std-of-means"] == (128,)
    assert len({name for name in found if "statistics" in name}) == 2


def test_without_a_gpu_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 0
    assert "no CUDA device" in capsys.readouterr().out
