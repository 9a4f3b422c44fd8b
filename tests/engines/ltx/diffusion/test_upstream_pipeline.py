"""`ltx-keyframe` against upstream's own pipeline, end to end in bfloat16."""

from __future__ import annotations

import sys
from dataclasses import replace
from fractions import Fraction as F
from importlib.util import find_spec

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the LTX extra is not installed")
pytest.importorskip("ltx_core", reason="the LTX extra is not installed")
if any(find_spec(name) is None for name in ("ltx_pipelines", "transformers", "PIL")):
    pytest.skip("the LTX extra is not installed", allow_module_level=True)

import json

from ltxfilter.engines.ltx.models import upstream

upstream.stub_torchaudio()

from support import tiny_ltx, upstream_ltx
from support.pictures import Same, moving, video

from ltxfilter.engines.ltx.diffusion.canvas import Canvas
from ltxfilter.engines.ltx.diffusion.grids import KeyframeToken, LatentGrid
from ltxfilter.engines.ltx.diffusion.keyframe_cache import KeyframeCache
from ltxfilter.engines.ltx.diffusion.samplers import Guidance
from ltxfilter.engines.ltx.diffusion.tokens import keyframe_positions
from ltxfilter.engines.ltx.diffusion.two_stage import TwoStageDiffusion
from ltxfilter.engines.ltx.diffusion.upstream_pipeline import UpstreamKeyframe, UpstreamPipeline
from ltxfilter.engines.ltx.keyframe import LtxKeyframe
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.errors import EngineUnavailableError
from ltxfilter.frame import Frame, Made
from ltxfilter.pipeline.stages import drawn as drawn_path
from ltxfilter.pipeline.stages import windows as window_path
from ltxfilter.pipeline.window_runner import WindowRunner
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.window import Interval, Join, Window

CPU = torch.device("cpu")
SIDE = 128
RATE = 50
PLACES = (0, 4, 8)
SEED = 11
STEPS = 2
GUIDANCE = Guidance(cfg=3.0, stg=1.0, blocks=(1,), rescale=0.7)


@pytest.fixture(scope="module", params=["LTX-2.3", "LTX-2.5"])
def models(request, tmp_path_factory):
    """A checkpoint whose audio does not reach its picture, so that leaving it out is exact."""
    torch.set_num_threads(1)
    config = tiny_ltx.generation(request.param)
    found = tiny_ltx.build(tmp_path_factory.mktemp("ltx"), config=config)
    tensors = tiny_ltx.read(found.checkpoint)
    for name, value in tensors.items():
        if ".audio_to_video_attn.to_out.0." in name:
            value.zero_()
    header = {"config": json.dumps(config), "model_version": tiny_ltx.version(config)}
    tiny_ltx.write(found.checkpoint, tensors, header)
    return found


@pytest.fixture(scope="module")
def pictures():
    """Keyframes of 2x2 blocks, which every way of downscaling halves alike."""
    small = torch.rand(3, 3, SIDE // 2, SIDE // 2, generator=torch.Generator().manual_seed(4))
    codes = (small * 255).round().repeat_interleave(2, -1).repeat_interleave(2, -2)
    return list(codes / 127.5 - 1)


class Upstream(TwoStageDiffusion):
    """Our two stages with upstream's noise, and with keyframes that last as long as upstream's."""

    __slots__ = ("generator",)

    def _grid_tokens(self, grid, *given):
        tokens = super()._grid_tokens(grid, *given)
        rows, columns = tokens.size[1:]
        positions = tokens.positions.clone()
        for number, key in enumerate(grid.keyframes[1:], 1):
            begin = tokens.grid + number * rows * columns
            length = float(upstream_ltx.KEYFRAME_LENGTH)
            longer = keyframe_positions((rows, columns), float(key.at), float(RATE), length)
            positions[:, :, begin : begin + rows * columns] = longer
        return replace(tokens, positions=positions)

    def _noise(self, grid, tokens, purpose, step):
        shape = tokens.clean.shape
        found = torch.randn(shape, dtype=torch.bfloat16, generator=self.generator)
        torch.randn(1, *self.audio(grid), dtype=torch.bfloat16, generator=self.generator)
        return found.float()

    @staticmethod
    def audio(grid):
        """Return number and width of the audio tokens that upstream denoises with a grid."""
        from ltx_core.types import AudioLatentShape

        shape = AudioLatentShape.from_duration(1, grid.frames / RATE)
        return shape.frames, shape.channels * shape.mel_bins


def test_two_stages_equal_the_official_pipelines(models, pictures):
    context = tiny_ltx.read(models.context)["video_context"]
    negative = torch.randn(context.shape, generator=torch.Generator().manual_seed(9))
    theirs = UpstreamPipeline(models, CPU, lambda: None).draw(
        [
            UpstreamKeyframe(picture, place, 1.0)
            for picture, place in zip(pictures, PLACES, strict=True)
        ],
        9,
        RATE,
        steps=STEPS,
        seed=SEED,
        guidance=GUIDANCE,
        contexts=(context, negative),
        audio_width=tiny_ltx.TRANSFORMER["audio_cross_attention_dim"],
    )
    ours = Models(models, device=CPU, dtype=torch.bfloat16)
    ours.negative_context = lambda: negative
    options = {option.name: option.default for option in LtxKeyframe.options}
    options |= {"mode": "guided", "steps": STEPS, "append": True, "seed": SEED}
    canvas = Canvas(video("gbrp", SIDE, SIDE), CPU, 64)
    stages = Upstream(ours, canvas, canvas, options, GUIDANCE, KeyframeCache(ours.encode))
    object.__setattr__(stages, "generator", torch.Generator().manual_seed(SEED))
    keyframes = tuple(KeyframeToken(number, F(place)) for number, place in enumerate(PLACES))
    grid = LatentGrid(2, F(0), F(RATE), F(0), keyframes, ())
    frames = tuple(Frame(F(n), (np.empty((1, 1), np.uint8),)) for n in range(3))
    window = Window(0, frames, 0, 2, (Interval(Join.INTERPOLATE, reset=False),) * 2, ())
    drawn = ours.decode(stages._latents(window, [grid], dict(enumerate(pictures))))[0]
    assert drawn.shape == theirs.shape == (3, 9, SIDE, SIDE)
    seen = drawn.clamp(-1, 1)
    if not upstream_ltx.IS_1_2:
        seen = ((seen + 1) * 127.5).floor() / 127.5 - 1  # it truncates to 8 bits
    error = ((seen - theirs).norm() / theirs.norm()).item()
    other = ((seen.flip(1) - theirs).norm() / theirs.norm()).item()
    assert error < 0.02
    assert other > 0.1  # frames in the wrong order are far off


def test_pipelines_of_another_version_are_told(models, monkeypatch):
    monkeypatch.setitem(sys.modules, "ltx_pipelines.keyframe_interpolation", None)
    with pytest.raises(EngineUnavailableError, match="of the same version as ltx-core"):
        UpstreamPipeline(models, CPU, lambda: None)


def test_the_engine_calls_the_pipeline_for_each_window(models):
    info = video("yuv420p", 70, 50)
    frames = moving(info, 12)
    found = []
    for _ in range(2):
        worker = WindowRunner("ltx-reference:steps=1:cfg=1", info, F(60), models=models)
        rolling = RollingWindow(worker.shape, F(60), Same(), F(1, 25))
        found.append(list(drawn_path(window_path(frames, rolling), worker)))
        worker.close()
    made = [frame.made for frame in found[0]]
    assert (made.count(Made.INTERPOLATED), made.count(Made.SOURCE)) == (24, 3)
    assert (
        len({frame.planes[0].tobytes() for frame in found[0]}) == 24 + 3 + 1
    )  # the last one is repeated
    for a, b in zip(*found, strict=True):
        assert all(np.array_equal(p, q) for p, q in zip(a.planes, b.planes, strict=True))
