"""The engine `auto`: flow alone without LTX files; with a partner, cell by cell what is better."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from fractions import Fraction as F
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pictures import FORMATS, drawings, moving, video
from support.scenes import crowd

from benchmarks import auto as bench
from ltxfilter import engines
from ltxfilter.engines.auto import Auto, choose_partner, difficulty_of, view
from ltxfilter.engines.base import Drawn
from ltxfilter.engines.blend import Blend
from ltxfilter.engines.flow import Flow
from ltxfilter.errors import EngineError, EngineUnavailableError, OptionError
from ltxfilter.frame import Frame
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.motion import gate
from ltxfilter.motion.grid import MotionGrid
from ltxfilter.options import ModelOptions, Options
from ltxfilter.pipeline.stages import drawn as drawn_path
from ltxfilter.pipeline.window_runner import WindowRunner
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.window import Interval, Join, Slot, Window, WindowShape

WIDTH, HEIGHT = 256, 144
RATE = F(25)


@pytest.fixture(scope="module")
def crowded():
    """Return a clip with its true frames between."""
    info = replace(video(width=WIDTH, height=HEIGHT), rate=RATE)
    return bench.Clip("crowd", info, crowd(17))


class Noise(Blend):
    """Draws noise."""

    name = "noise"

    def draw(self, window, motion):
        chance = np.random.default_rng(window.index)
        for picture in super().draw(window, motion):
            yield Drawn(tuple(chance.integers(0, 256, p.shape, p.dtype) for p in picture.planes))


class Mute(Blend):
    """Draws nothing that could be shown: what a model of NaN comes to."""

    name = "mute"

    def draw(self, window, motion):
        for _ in window.to_draw():
            yield Drawn(())


class Broken(Blend):
    """Fails, either at once or in the middle of its second window."""

    name = "broken"

    def draw(self, window, motion):
        if window.index > 1:
            raise EngineError("engine broken: the device is gone")
        yield from super().draw(window, motion)


class Cancelled(Blend):
    """Counts how often it is cancelled."""

    name = "cancelled"
    count = 0

    def cancel(self):
        type(self).count += 1


class Clumsy(Blend):
    """Fails when it should get ready."""

    name = "clumsy"

    def prepare(self, window):
        raise EngineError("engine clumsy: it cannot")


class Other(Flow):
    """Follows motion by another search: about as good as flow, and wrong elsewhere."""

    name = "other"
    moves_keyframes = True

    def __init__(self):
        super().__init__(preset="fast", scale=2, still=False)


class AlikeBlend(Blend):
    """Cross-fades, and says that it moves the keyframes."""

    name = "alike"
    moves_keyframes = True


class Long(Blend):
    """Wants long windows, and holds whoever asks to what it asked for."""

    name = "long"
    shape = WindowShape(keyframes=4, before=3, after=2, slots=0, work_bytes=5000, draw_bytes=70)
    seen: ClassVar[list[Window]] = []

    def open(self, video, rate, threads=1):
        self.seen.clear()
        return self.shape

    def prepare(self, window):
        self.seen.append(window)
        return window.index

    def draw(self, window, motion):
        assert motion == window.index
        yield from super().draw(window, None)


@pytest.fixture(autouse=True)
def partners(monkeypatch):
    for kind in (Noise, Mute, Broken, Clumsy, Long, Other, AlikeBlend):
        monkeypatch.setitem(engines.ENGINES, kind.name, f"{__name__}:{kind.__name__}")
    monkeypatch.setitem(engines.ENGINES, "oracle", "benchmarks.auto:Oracle")


def draw(spec: str, clip: bench.Clip) -> list[tuple[Window, list[Drawn]]]:
    bench.tell(clip)
    frames = [Frame(k / RATE, planes) for k, planes in enumerate(clip.frames[::2])]
    return drawings(spec, replace(clip.info, interval=1 / RATE), frames, 2 * RATE)


def pictures(spec: str, clip: bench.Clip) -> list[Drawn]:
    return [picture for _, found in draw(spec, clip) for picture in found]


def same(one: Drawn, other: Drawn) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(one.planes, other.planes, strict=True))


def test_without_model_files_it_is_flow():
    info = video(width=192, height=128)
    frames = moving(info, 6)
    alone, flow = engines.build("auto"), engines.build("flow")
    assert alone.open(info, F(60)) == flow.open(info, F(60))
    assert [partner.name for partner in alone.partners] == ["flow"]
    alone.close()
    flow.close()
    mine, flows = (drawings(name, info, frames) for name in ("auto", "flow"))
    for (_, one), (_, other) in zip(mine, flows, strict=True):
        for a, b in zip(one, other, strict=True):
            assert same(a, b)
            assert a.psnr_db == b.psnr_db
            assert (a.choice.engine, a.choice.tried) == ("flow", None)
            assert a.choice.difficulty == difficulty_of(b.psnr_db)


def test_it_is_the_default():
    assert Options().engine == "auto"
    worker = WindowRunner(Options().engine, video(), 2 * RATE)
    assert worker.engine == "auto (flow)"
    worker.close()


def test_without_model_files_torch_stays_away():
    code = (
        "import sys; from ltxfilter import engines; import ltxfilter.cli.main;"
        "from support.pictures import FORMATS, drawings, moving, video;"
        "drawings('auto', video(), moving(video(), 3)); sys.exit('torch' in sys.modules)"
    )
    path = [entry for entry in sys.path if entry]
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(path)}, timeout=60
    )


def test_a_good_partner_draws_what_is_hard(crowded: bench.Clip):
    specs = ("flow", "oracle", "auto:with=oracle:hard=0.5")
    flow, alone, auto = (bench.drawn(crowded, spec) for spec in specs)
    gain = bench.mean(alone) - bench.mean(flow)
    assert bench.mean(auto) > bench.mean(flow) + gain / 2
    assert all(b.psnr > a.psnr - 0.05 for a, b in zip(flow, auto, strict=True))
    assert {score.choice.engine for score in auto} <= {"flow", "oracle"}


@pytest.mark.parametrize("partner", ["hold", "blend", "noise"])
def test_a_bad_partner_does_no_harm(crowded: bench.Clip, partner: str):
    flow, auto = (bench.drawn(crowded, spec) for spec in ("flow", f"auto:with={partner}:hard=0"))
    assert all(score.choice.tried == partner for score in auto)
    assert bench.mean(auto) > bench.mean(flow) - 0.05


def test_a_partner_that_moves_keyframes_is_mixed_with_flow(crowded: bench.Clip):
    """Both are wrong in places of their own, so the mean is nearer to the truth than either."""
    flow, other, auto = (
        bench.drawn(crowded, spec) for spec in ("flow", "other", "auto:with=other:hard=0")
    )
    assert bench.mean(auto) > max(bench.mean(flow), bench.mean(other)) + 0.1
    assert all(0 < score.choice.share < 1 for score in auto)


def test_a_cross_fade_that_claims_to_move_keyframes_does_no_harm(crowded: bench.Clip):
    flow, auto = (bench.drawn(crowded, spec) for spec in ("flow", "auto:with=alike:hard=0"))
    assert bench.mean(auto) > bench.mean(flow) - 0.05


def test_two_equal_pictures_mix_to_the_same(crowded: bench.Clip):
    info = replace(crowded.info, interval=1 / RATE)
    engine = Flow()
    shape = engine.open(info, 2 * RATE)
    window = pairs([Frame(k / RATE, p) for k, p in enumerate(crowded.frames[:4:2])], ())[0]
    motion = engine.prepare(view(window, window.first, window.last, shape))
    (picture,) = engine.draw(window, motion)
    pyramid = engine.luma_pyramid(picture.planes)
    result = gate.weigh(engine.estimate(motion, 0.5), pyramid, pyramid, alike=True)
    assert result.share.shape == (engine.grid.rows, engine.grid.columns)
    assert np.all((result.share >= 0) & (result.share <= 1))
    mixed = gate.mix(picture.planes, picture.planes, result.share, info.layout, engine.grid)
    assert same(Drawn(mixed), picture)
    engine.close()


@pytest.mark.parametrize("partner", ["mute", "clumsy", "broken"])
def test_what_a_partner_cannot_draw_flow_draws_and_it_is_counted(
    crowded: bench.Clip, partner: str, caplog: pytest.LogCaptureFixture
):
    flow, auto = pictures("flow", crowded), pictures(f"auto:with={partner}:hard=0", crowded)
    failed = [picture.choice.failed for picture in auto]
    assert sum(failed) == len(auto) - 2 * (partner == "broken")
    assert all(same(a, b) for a, b, bad in zip(auto, flow, failed, strict=True) if bad)
    assert len(caplog.messages) == (partner != "mute")  # said once
    info = replace(crowded.info, interval=1 / RATE)
    worker = WindowRunner(f"auto:with={partner}:hard=0", info, 2 * RATE)
    frames = [Frame(k / RATE, planes) for k, planes in enumerate(crowded.frames[::2])]
    rolling = RollingWindow(worker.shape, 2 * RATE, Same(), info.interval)
    windows = [window for frame in frames for window in rolling.push(frame)]
    list(drawn_path([*windows, *rolling.finish()], worker))
    assert worker.fallbacks == sum(failed)
    worker.close()


class Same:
    def join(self, left, right, reset):
        return Join.INTERPOLATE


def test_easy_windows_are_flows_even_in_long_windows(crowded: bench.Clip):
    flow, auto = pictures("flow", crowded), pictures("auto:with=long:hard=1", crowded)
    assert all(same(a, b) for a, b in zip(auto, flow, strict=True))
    assert not Long.seen
    assert all(picture.choice.tried is None for picture in auto)


def test_a_partner_is_asked_for_hard_gaps_alone_in_windows_of_its_own(crowded: bench.Clip):
    levels = [picture.choice.difficulty for picture in pictures("auto:with=long:hard=1", crowded)]
    hard = sorted(levels)[len(levels) // 2]
    found = draw(f"auto:with=long:hard={hard}", crowded)
    asked = [picture.choice.tried == "long" for _, shown in found for picture in shown]
    assert 0 < sum(asked) < len(asked)
    assert sum(len(window.slots) for window in Long.seen) == 2 * sum(asked)  # the keyframes' too
    for window in Long.seen:
        assert window.first <= Long.shape.before
        assert window.last - window.first <= Long.shape.keyframes - 1
        assert len(window.keyframes) - 1 - window.last <= Long.shape.after
    whole = next(window for window, _ in found)
    assert len(whole.keyframes) > 2


def test_memory_and_windows_serve_both(crowded: bench.Clip):
    auto, flow = engines.build("auto:with=long"), engines.build("flow")
    shape, own = (engine.open(crowded.info, 2 * RATE) for engine in (auto, flow))
    assert (shape.keyframes, shape.before, shape.after, shape.slots) == (4, 3, 2, 0)
    assert shape.work_bytes == own.work_bytes + 5000
    assert shape.draw_bytes > own.draw_bytes + 70
    auto.close()
    flow.close()


def test_a_run_from_a_reset_draws_what_the_whole_stream_draws(crowded: bench.Clip):
    bench.tell(crowded)
    info = replace(crowded.info, interval=1 / RATE)
    frames = [Frame(k / RATE, planes) for k, planes in enumerate(crowded.frames[::2])]

    def draw_from(start: int) -> dict[F, Drawn]:
        engine = engines.build("auto:with=oracle:hard=0.4")
        engine.open(info, 2 * RATE)
        found = {}
        for window in pairs(frames[start:], resets=(4 - start,)):
            motion = engine.prepare(window)
            shown = engine.draw(window, motion)
            found |= {s.time: p for s, p in zip(window.to_draw(), shown, strict=True)}
        engine.close()
        return found

    whole, late = draw_from(0), draw_from(4)
    assert len(late) == 4
    for time, picture in late.items():
        assert same(picture, whole[time])
        assert picture.choice == whole[time].choice


def pairs(frames: list[Frame], resets: tuple[int, ...]) -> list[Window]:
    """Return one window per pair, half way drawn, as RollingWindow makes them."""
    intervals = [Interval(Join.INTERPOLATE, k == 0 or k in resets) for k in range(len(frames) - 1)]
    made = []
    for k in range(len(intervals)):
        low, high = max(k - 1, 0), min(k + 2, len(intervals))
        slot = Slot(k, frames[k].time + F(1, 50), k - low, F(1, 2))
        shown = tuple(frames[low : high + 1])
        made.append(Window(k, shown, k - low, k - low + 1, tuple(intervals[low:high]), (slot,)))
    return made


def test_what_was_hard_stays_hard_a_little_longer(monkeypatch: pytest.MonkeyPatch):
    auto = Auto(**{"with": "blend", "hard": 0.5})
    info = video()
    auto.open(info, 2 * RATE)
    frames = moving(info, 7)
    levels = iter([34.0, 36.0, 34.6, 35.5, 35.5, 35.5])  # dB; half way is 35
    monkeypatch.setattr(gate.FlowEstimate, "psnr_db", property(lambda self: next(levels)))
    hard = [auto.prepare(window).intervals[0].hard for window in pairs(frames, resets=(4,))]
    assert hard == [True, False, True, True, False, False]
    auto.close()


@given(st.integers(2, 9), st.data(), st.integers(0, 4), st.integers(0, 4))
def test_a_view_is_the_window_that_was_asked_for(
    count: int, data: st.DataObject, before: int, after: int
):
    keys = tuple(Frame(F(k), ()) for k in range(count))
    intervals = tuple(Interval(Join.INTERPOLATE, k == 0) for k in range(count - 1))
    slots = tuple(
        Slot(2 * k + n, F(2 * k + n, 2), k, F(n, 2)) for k in range(count - 1) for n in (0, 1)
    )
    window = Window(3, keys, 0, count - 1, intervals, slots)
    first = data.draw(st.integers(0, count - 2))
    last = data.draw(st.integers(first + 1, count - 1))
    seen = view(window, first, last, WindowShape(before=before, after=after))
    assert seen.keyframes[seen.first] is keys[first]
    assert seen.keyframes[seen.last] is keys[last]
    assert seen.first <= before
    assert len(seen.keyframes) - 1 - seen.last <= after
    assert len(seen.intervals) == len(seen.keyframes) - 1
    assert [slot.index for slot in seen.slots] == list(range(2 * first, 2 * last))
    for slot in seen.slots:
        assert seen.keyframes[slot.left].time <= slot.time < seen.keyframes[slot.left + 1].time


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ((), None),
        (("checkpoint",), None),
        (("context", "spatial_upsampler", "temporal_upsampler"), None),
        (("checkpoint", "temporal_upsampler"), "ltx-motion"),
        (("checkpoint", "context"), "ltx-motion"),
        (("checkpoint", "context", "spatial_upsampler", "temporal_upsampler"), "ltx-motion"),
        (("onnx_model",), "onnx"),
        (("checkpoint", "onnx_model"), "onnx"),
        (("checkpoint", "context", "onnx_model"), "ltx-motion"),
    ],
)
def test_the_partner_goes_by_the_files(files: tuple[str, ...], expected: str | None):
    chosen = choose_partner("", ModelOptions(**{name: f"{name}.safetensors" for name in files}))
    assert (chosen and chosen.name) == expected


def test_options_of_both_engines_are_reached():
    auto = engines.build(r"auto:preset=best:hard=0.4:with=ltx-temporal\:latents=5", ModelOptions())
    assert [partner.name for partner in auto.partners] == ["flow", "ltx-temporal"]
    assert auto._flow._options["preset"] == "best"
    assert auto._partner._latents == 5
    for spec, message in {
        r"auto:with=ltx-temporal\:latents=x": "option latents=x",
        "auto:with=ltx-nothing": "no engine 'ltx-nothing'",
        "auto:with=flow": "another engine than auto and flow",
        "auto:with=auto": "another engine than auto and flow",
        "auto:hard=2": "option hard=2: not a number from 0 to 1",
        "auto:preset=worst": "option preset=worst",
    }.items():
        with pytest.raises(OptionError, match=message):
            engines.build(spec)


def test_a_partner_that_cannot_run_is_an_error_with_the_way_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Mute, "unavailable", classmethod(lambda cls: "it has no voice"))
    with pytest.raises(EngineUnavailableError, match="it has no voice; --engine flow does"):
        engines.build("auto:with=mute").open(video(), 2 * RATE)


def test_too_few_files_are_said(caplog: pytest.LogCaptureFixture):
    engine = engines.build("auto", ModelOptions(checkpoint="ltx.safetensors"))
    engine.open(video(), 2 * RATE)
    assert caplog.messages == [
        "the model files named do not do for any LTX engine: flow makes all frames; "
        "ltx-motion lacks: --temporal-upsampler FILE (0.26 GB)"
    ]
    engine.close()


def test_what_goes_with_a_model_that_nobody_names_is_said(caplog: pytest.LogCaptureFixture):
    engine = engines.build("auto", ModelOptions(prompt="rain", loras=(("a.safetensors", 1.0),)))
    engine.open(video(), 2 * RATE)
    assert caplog.messages == [
        "no model is named that uses --prompt and --lora: flow makes all frames; add --models "
        "FOLDER or --checkpoint FILE"
    ]
    engine.close()


@pytest.mark.parametrize("named", [False, True])
def test_the_settings_alone_start_no_model_on_a_cpu(
    named: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("ltxfilter.engines.ltx.motion.LtxMotion.unavailable", lambda: None)
    monkeypatch.setenv("LTXFILTER_VAE", "vae.safetensors")
    monkeypatch.setenv("LTXFILTER_TEMPORAL_UPSAMPLER", "temporal.safetensors")
    given = ModelOptions(vae="other.safetensors") if named else ModelOptions()
    engine = engines.build("auto", given)
    assert [partner.name for partner in engine.partners] == ["flow", "ltx-motion"]
    if named:  # who names a file asks for it; here it is not there
        with pytest.raises(EngineUnavailableError, match=r"--vae other\.safetensors"):
            engine.open(video(), 2 * RATE)
        return
    engine.open(video(), 2 * RATE)
    assert [partner.name for partner in engine.partners] == ["flow"]
    assert caplog.messages == [
        "there is no GPU for ltx-motion, whose files the settings name: flow makes all frames; "
        "--device cpu makes it run all the same"
    ]
    engine.close()
    monkeypatch.setenv("LTXFILTER_DEVICE", "cpu")
    with pytest.raises(EngineUnavailableError, match=r"--vae vae\.safetensors"):
        engines.build("auto").open(video(), 2 * RATE)


def plane(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, (60, 80)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 3) * 60


@pytest.mark.parametrize(("left", "right"), [(1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (-0.2, 0.3)])
def test_a_keyframe_that_shows_through_is_measured(left: float, right: float):
    one, other, noise = plane(1), plane(2), plane(3)
    found = gate.leak(
        left * one + right * other + 0.2 * noise, one, other, np.ones_like(one), gate._whole
    )
    assert [float(value.item()) for value in found] == pytest.approx([left, right], abs=0.08)


@pytest.mark.parametrize("fmt", ["yuv420p", "yuv422p10le", "yuva420p", "gray16le", "gbrp"])
def test_a_mix_takes_its_share_of_every_plane_but_transparency(fmt: str):
    width, height = 70, 54
    layout = plane_shapes(fmt, width, height)
    grid = MotionGrid(width, height, 1)
    chance = np.random.default_rng(4)
    one, other = (
        tuple(
            chance.integers(0, 1 << shape.depth, (shape.height, shape.width), shape.dtype)
            for shape in layout
        )
        for _ in range(2)
    )
    share = np.zeros((grid.rows, grid.columns), np.float32)
    share[:, grid.columns // 2 :] = 1
    mixed = gate.mix(one, other, share, layout, grid)
    for shape, a, b, found in zip(layout, one, other, mixed, strict=True):
        assert found.dtype == shape.dtype
        near, far = np.s_[:, : shape.width // 2 - 4], np.s_[:, shape.width // 2 + 4 :]
        assert np.array_equal(found[near], a[near])
        assert np.array_equal(found[far], (a if shape.role == "a" else b)[far])


def test_a_random_model_does_no_harm(crowded: bench.Clip, tmp_path: Path):
    torch = pytest.importorskip("torch", reason="the LTX extra is not installed")
    pytest.importorskip("ltx_core", reason="the LTX extra is not installed")
    from support import tiny_ltx

    torch.set_num_threads(1)
    models = tiny_ltx.build(tmp_path)
    flow = bench.drawn(crowded, "flow")
    for partner in ("ltx-temporal", "ltx-motion"):
        auto = bench.drawn(crowded, f"auto:hard=0:with={partner}", models)
        assert all(score.choice.tried == partner for score in auto)
        assert bench.mean(auto) > bench.mean(flow) - 0.05


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (17, 33), (130, 98)])
def test_every_format_and_size_is_compared(fmt: str, size: tuple[int, int]):
    info = replace(video(fmt, *size), interval=1 / RATE)
    chance = np.random.default_rng(5)
    frames = [
        Frame(
            k / RATE,
            tuple(
                chance.integers(0, 1 << shape.depth, (shape.height, shape.width), shape.dtype)
                for shape in info.layout
            ),
        )
        for k in range(4)
    ]
    found = drawings("auto:with=hold:hard=0", info, frames, 2 * RATE)
    shown = [picture for _, pictures in found for picture in pictures]
    assert len(shown) == 3
    for picture in shown:
        assert picture.choice.tried == "hold"
        assert np.isfinite(picture.psnr_db)
        for shape, plane in zip(info.layout, picture.planes, strict=True):
            assert (plane.shape, plane.dtype) == ((shape.height, shape.width), shape.dtype)
            assert int(plane.max()) < 1 << shape.depth


@pytest.mark.slow
@pytest.mark.parametrize("partner", ["oracle", "hold"])
@pytest.mark.parametrize("name", ["seek480.mp4", "london60_240.mp4", "parkjoy50_270_10f.y4m"])
def test_real_clips_are_never_drawn_worse_than_by_flow(clips: Path, name: str, partner: str):
    clip = bench.load(clips / "dev" / name, 33)
    flow, auto = (bench.drawn(clip, spec) for spec in ("flow", f"auto:with={partner}"))
    assert bench.mean(auto) > bench.mean(flow) - 0.05
    if name.startswith("seek") and partner == "oracle":
        assert bench.recovered(flow, bench.drawn(clip, "oracle"), auto)["recovered"] > 0.5


def test_cancelling_reaches_the_partner(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(engines.ENGINES, "cancelled", f"{__name__}:Cancelled")
    Auto(**{"with": "cancelled"}).cancel()
    assert Cancelled.count == 1
