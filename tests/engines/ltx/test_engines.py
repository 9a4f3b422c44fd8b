"""The LTX engines on a random tiny checkpoint: the contract of engines, and the whole path."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction as F
from pathlib import Path

import numpy as np
import pytest
from support.ltx import drawings, equal, pictures, windows

torch = pytest.importorskip("torch", reason="the LTX extra is not installed")
pytest.importorskip("ltx_core", reason="the LTX extra is not installed")

from support import tiny_ltx
from support.pictures import FORMATS, Same, moving, video

from ltxfilter import engines
from ltxfilter.errors import EngineUnavailableError, OptionError, Stopped
from ltxfilter.frame import Made
from ltxfilter.pipeline.stages import drawn as drawn_path
from ltxfilter.pipeline.stages import windows as window_path
from ltxfilter.pipeline.window_runner import WindowRunner
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.window import Interval, Join, Window

WHOLE = ["ltx-keyframe", "ltx-temporal"]  # the model makes the picture itself
NAMES = [*WHOLE, "ltx-motion"]
SINGLE = {**os.environ, "OMP_NUM_THREADS": "1"}  # more threads than cores would be slower
EVERY = pytest.mark.parametrize("name", NAMES)
EVERY_WHOLE = pytest.mark.parametrize("name", WHOLE)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    torch.set_num_threads(1)
    return tiny_ltx.build(tmp_path_factory.mktemp("ltx"))


@EVERY
@pytest.mark.parametrize("fmt", FORMATS)
def test_pictures_have_the_streams_format(name, models, fmt):
    info = video(fmt, 70, 50)
    for window, drawn in drawings(name, models, info, moving(info, 4)):
        assert len(drawn) == len(list(window.to_draw()))
        for picture in drawn:
            assert [(p.shape, p.dtype) for p in picture.planes] == [
                ((s.height, s.width), s.dtype) for s in info.layout
            ]
            assert max(int(p.max()) for p in picture.planes) < 1 << info.depth


@EVERY
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (17, 33), (130, 7)])
@pytest.mark.parametrize("rate", [F(50), F(60), None])
def test_any_size_and_rate_works(name, models, size, rate):
    info = video("yuv420p", *size)
    frames = moving(info, 4)
    found = [p for _, pictures in drawings(name, models, info, frames, rate) for p in pictures]
    assert len(found) == {F(50): 3, F(60): 7, None: 3}[rate]


@EVERY
def test_the_work_of_a_cpu_is_timed(name, models, monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(
        "ltxfilter.engines.ltx.models.resident.perf_counter", lambda: float(next(clock))
    )
    engine = engines.build(name, models)
    assert engine.seconds_per_picture is None
    engine.open(video(width=128, height=64), F(50))
    found = engine.seconds_per_picture
    engine.close()
    pixels = found * 9 * 64 * 64  # the trial takes a second for nine frames of 64x64
    assert pixels == pytest.approx(128 * 64) if name in WHOLE else pixels >= 32 * 32


@EVERY
def test_repeated_and_parallel_draws_are_the_same(name, models):
    info = video(width=64, height=64)
    frames = moving(info, 40)
    engine = engines.build(name, models)
    shape = engine.open(info, F(50), threads=4)
    work = [(window, engine.prepare(window)) for window in windows(frames, shape)]
    assert len([window for window, _ in work if window.slots]) > 2

    def draw(item):
        return [p.planes for p in engine.draw(*item)]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(draw, work))
        again = list(pool.map(draw, reversed(work)))[::-1]
    alone = [[p.planes for p in drawn] for _, drawn in drawings(name, models, info, frames)]
    engine.close()
    for a, b, c in zip(together, again, alone, strict=True):
        assert all(equal(x, y) and equal(x, z) for x, y, z in zip(a, b, c, strict=True))


@EVERY
def test_a_run_from_a_reset_point_gives_the_same_pictures(name, models):
    info = video(width=32, height=32)
    frames = moving(info, 290)

    def late(source):
        return [
            [p.planes for p in drawn]
            for window, drawn in drawings(name, models, info, source)
            if drawn and window.keyframes[window.first].time >= 10
        ]

    whole, part = late(frames), late(frames[250:])
    assert sum(map(len, whole)) == 39
    for a, b in zip(whole, part, strict=True):
        assert all(equal(x, y) for x, y in zip(a, b, strict=True))


@EVERY
def test_keyframes_are_not_changed_and_may_have_padded_rows(name, models):
    info = video(width=48, height=40)
    frames = moving(info, 5)
    padded = [
        replace(
            frame,
            planes=tuple(
                np.pad(p, ((0, 0), (0, 13)), constant_values=9)[:, :-13] for p in frame.planes
            ),
        )
        for frame in frames
    ]
    for frame in padded:
        for p in frame.planes:
            p.flags.writeable = False
    pairs = zip(
        drawings(name, models, info, frames), drawings(name, models, info, padded), strict=True
    )
    for (_, a), (_, b) in pairs:
        assert all(equal(x.planes, y.planes) for x, y in zip(a, b, strict=True))


@EVERY
def test_a_window_without_slots_to_draw_draws_nothing(name, models):
    info = video(width=32, height=32)
    frames = tuple(moving(info, 2))
    engine = engines.build(name, models)
    engine.open(info, F(60))
    held = Window(0, frames, 0, 1, (Interval(Join.CUT, True),), ())
    end = Window(1, frames[1:], 0, 0, (), ())
    for window in (held, end):
        assert list(engine.draw(window, engine.prepare(window))) == []
    engine.close()


@EVERY_WHOLE
def test_interpolated_frames_have_the_tone_of_their_keyframes(name, models):
    info = video("yuv444p", 128, 96)
    frames = moving(info, 6, speed=0.0)

    def tone(spec):
        means = [
            [plane.mean() for plane in picture.planes]
            for _, drawn in drawings(spec, models, info, frames)
            for picture in drawn
        ]
        return np.abs(np.array(means) - [p.mean() for p in frames[0].planes]).max()

    assert tone(name) < tone(f"{name}:match=0") / 1.5


@EVERY
def test_nan_falls_back_to_flow(name, models, tmp_path, caplog):
    broken = tiny_ltx.read(models.checkpoint)
    for key in broken:
        if key.startswith("vae.decoder.") and key.endswith("conv_out.conv.weight"):
            broken[key].fill_(float("nan"))
    header = {"config": tiny_ltx.json.dumps(tiny_ltx.CONFIG), "model_version": "2.3.0"}
    tiny_ltx.write(tmp_path / "nan.safetensors", broken, header)
    info = video(width=64, height=64)
    worker = WindowRunner(
        name, info, F(50), models=replace(models, checkpoint=str(tmp_path / "nan.safetensors"))
    )
    rolling = RollingWindow(worker.shape, F(50), Same(), F(1, 25))
    frames = list(drawn_path(window_path(moving(info, 6), rolling), worker))
    worker.close()
    assert worker.fallbacks == 5 == sum(frame.made is Made.INTERPOLATED for frame in frames)
    assert len([r for r in caplog.records if "NaN" in r.message]) == 1


BOTH = ("transformer", "vae")  # of a checkpoint


@pytest.mark.parametrize(
    ("spec", "needed"),
    [
        ("ltx-keyframe", {*BOTH, "spatial_upsampler", "context"}),
        ("ltx-keyframe:reference=1", {*BOTH, "spatial_upsampler", "context", "loras"}),
        ("ltx-temporal", {"vae", "temporal_upsampler"}),
        ("ltx-temporal:refine=2", {*BOTH, "temporal_upsampler", "context"}),
        ("ltx-motion", {"vae", "temporal_upsampler"}),
        ("ltx-motion:source=dit", {*BOTH, "context"}),
        ("ltx-motion:source=latent+dit", {*BOTH, "temporal_upsampler", "context"}),
        ("ltx-keyframe:stages=1", {*BOTH, "context"}),
        ("ltx-motion:vae=tiny", {"vae", "temporal_upsampler", "tiny_vae"}),
    ],
)
def test_the_needed_files_depend_on_the_options(spec, needed):
    assert set(engines.build(spec).needed_files) == needed


@EVERY
def test_a_missing_file_is_named(name, models):
    for lacking in engines.engine_class(name).files:
        left = "checkpoint" if lacking in BOTH else lacking
        engine = engines.build(name, replace(models, **{left: None}))
        with pytest.raises(EngineUnavailableError, match=f"--{lacking.replace('_', '-')} FILE"):
            engine.open(video(), F(50))


@pytest.mark.parametrize(
    "options",
    [
        "stages=1",
        "steps=1:refine=1",
        "steps=4:sampler=ancestral",
        "stages=1:steps=5:sampler=gradient",
        "stages=1:steps=3:sampler=res-2s",
        "stages=1:mode=guided:steps=3:cfg=1:skip_step=1:stg_block=0",
        "append=1:lead=2:strength=0.9",
        "stages=1:latents=1",
        "stages=1:seed=1",
        "stages=1:fp8=rowwise",
        "stages=1:tile=128",
        "stages=1:text_memory=0.1",
    ],
)
def test_options_change_the_pictures_and_nothing_else_does(models, options):
    info = video(width=64, height=64)
    frames = moving(info, 6)
    first, again = (
        pictures(f"ltx-keyframe:{options}", models, info, frames, F(60)) for _ in range(2)
    )
    name = "ltx-keyframe:stages=1" if "stages=1:" in options else "ltx-keyframe"
    plain = pictures(name, models, info, frames, F(60))
    assert len(first) == 11
    assert all(equal(a, b) for a, b in zip(first, again, strict=True))
    if not options.endswith(("tile=128", "text_memory=0.1")):  # larger than the picture; the same
        assert not any(equal(a, b) for a, b in zip(first, plain, strict=True))
    else:
        assert all(equal(a, b) for a, b in zip(first, plain, strict=True))


@pytest.mark.parametrize(
    "options", ["refine=4", "refine=1:seed=3", "lead=1", "latents=1:lead=1", "rounds=2", "rounds=3"]
)
def test_temporal_options_change_the_pictures(models, options):
    info = video(width=64, height=64)
    frames = moving(info, 6)
    found, again = (pictures(f"ltx-temporal:{options}", models, info, frames) for _ in range(2))
    assert len(found) == 5
    assert all(equal(a, b) for a, b in zip(found, again, strict=True))
    plain = pictures("ltx-temporal", models, info, frames)
    assert not any(equal(a, b) for a, b in zip(found, plain, strict=True))


def test_refining_without_a_context_is_refused(models):
    engine = engines.build("ltx-temporal:refine=2", replace(models, context=None))
    with pytest.raises(EngineUnavailableError, match="--context FILE"):
        engine.open(video(), F(50))


@pytest.mark.parametrize("scale", ["1", "2"])
def test_an_ic_lora_gets_the_source_as_a_reference_clip(models, tmp_path, scale):
    layer, width = "diffusion_model.transformer_blocks.0.attn1.to_q", tiny_ltx.WIDTH
    down, up = torch.randn(2, 4, width, generator=torch.Generator().manual_seed(2)) / 4
    lora = {f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up.T.contiguous()}
    path = tmp_path / "ic.safetensors"
    tiny_ltx.write(path, lora, {"reference_downscale_factor": scale})
    info = video(width=60, height=64)
    frames = moving(info, 6)
    given = replace(models, loras=((str(path), 1.0),))
    found, again = (pictures("ltx-keyframe:reference=1", given, info, frames) for _ in range(2))
    assert all(equal(a, b) for a, b in zip(found, again, strict=True))
    plain = pictures("ltx-keyframe", given, info, frames)
    assert not any(equal(a, b) for a, b in zip(found, plain, strict=True))


def test_a_reference_without_a_lora_is_refused(models):
    engine = engines.build("ltx-keyframe:reference=1", models)
    with pytest.raises(OptionError, match="--lora"):
        engine.open(video(), F(50))


def test_guidance_without_a_negative_prompt_is_refused(models):
    engine = engines.build("ltx-keyframe:mode=guided", models)
    with pytest.raises(EngineUnavailableError, match="no negative prompt"):
        engine.open(video(), F(50))
    engine = engines.build("ltx-keyframe:mode=guided:cfg=1:stg_block=2", models)
    with pytest.raises(OptionError, match="has 2 blocks"):
        engine.open(video(), F(50))


def test_guidance_uses_the_negative_prompt(models, tmp_path):
    tensors = tiny_ltx.read(models.context)
    info = video(width=64, height=64)
    frames = moving(info, 4)

    def pictures(seed, options):
        generator = torch.Generator().manual_seed(seed)
        shape = tensors["video_context"].shape
        path = tmp_path / f"{seed}.safetensors"
        both = {**tensors, "negative_context": torch.randn(shape, generator=generator)}
        tiny_ltx.write(path, both, {})
        spec = f"ltx-keyframe:stages=1:mode=guided:steps=2:{options}"
        found = drawings(spec, replace(models, context=str(path)), info, frames)
        return [picture.planes for _, drawn in found for picture in drawn]

    one, other = pictures(1, "cfg=5"), pictures(2, "cfg=5")
    assert not any(equal(a, b) for a, b in zip(one, other, strict=True))
    one, other = pictures(1, "cfg=1"), pictures(2, "cfg=1")
    assert all(equal(a, b) for a, b in zip(one, other, strict=True))


MEMORY = """
import resource, sys
from fractions import Fraction as F
sys.path.insert(0, {tests!r})
from support.pictures import Same, moving, video
from ltxfilter.options import ModelOptions
from ltxfilter.pipeline.stages import drawn, windows
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.pipeline.window_runner import WindowRunner
from dataclasses import replace

info = video(width=32, height=32)
worker = WindowRunner({name!r}, info, F(50), models={models!r})
rolling = RollingWindow(worker.shape, F(50), Same(), F(1, 25))
pictures = moving(info, 50)
frames = (replace(pictures[n % 50], time=F(n, 25)) for n in range(2000))
peaks = {{}}
for number, frame in enumerate(drawn(windows(frames, rolling), worker)):
    peaks[number] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(number + 1, peaks[800], peaks[number])
"""


@EVERY
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_memory_stays_flat_over_two_thousand_frames(name, models):
    script = MEMORY.format(tests=str(Path(__file__).parents[2]), name=name, models=models)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=SINGLE, check=False
    )
    assert not done.returncode, done.stderr
    count, early, late = map(int, done.stdout.split())  # frames, MiB, MiB
    assert count == 4000
    assert late - early < 24


@EVERY
def test_a_cancelled_engine_draws_nothing_more_and_opens_again(name, models):
    info = video(width=64, height=64)
    engine = engines.build(name, models)
    engine.cancel()
    shape = engine.open(info, F(50))
    [window, *_] = windows(moving(info, 4), shape)
    motion = engine.prepare(window)
    engine.cancel()
    engine.cancel()
    with pytest.raises(Stopped):
        list(engine.draw(window, motion))
    engine.open(info, F(50))
    assert len(list(engine.draw(window, motion))) == len(list(window.to_draw()))
    engine.close()
    engine.cancel()
