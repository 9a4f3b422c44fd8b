"""The engine ltx-motion: which clips it asks for, and its pictures along an oracle's guides."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction as F
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the LTX extra is not installed")
pytest.importorskip("ltx_core", reason="the LTX extra is not installed")

from support import tiny_ltx
from support.pictures import Same, moving, video

from benchmarks import motion, scores
from benchmarks.clips import Clip, load, write_y4m
from benchmarks.oracle import Oracle, OracleMotion, Truth
from ltxfilter import engines
from ltxfilter.engines.ltx.guides.clips import clip_spans
from ltxfilter.engines.ltx.guides.downscale import GuideCanvas
from ltxfilter.frame import Frame
from ltxfilter.pipeline.window_runner import WindowRunner
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.window import WindowShape


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tiny_ltx.build(tmp_path_factory.mktemp("ltx"))


def windows(frames, shape, rate):
    rolling = RollingWindow(shape, rate, Same(), F(1, 25))
    found = [window for frame in frames for window in rolling.push(frame)]
    return [*found, *rolling.finish()]


@given(
    count=st.integers(2, 30),
    rate=st.sampled_from([F(50), F(60), F(60000, 1001), F(100)]),
    intervals=st.integers(1, 8),
    batch=st.integers(1, 3),
    before=st.integers(0, 2),
    after=st.integers(0, 2),
)
@settings(max_examples=60)
def test_clips_hold_every_slot_once(count, rate, intervals, batch, before, after):
    info = video("gray", 8, 8)
    shape = WindowShape(intervals * batch + 1, max(before, 1), max(after, 1), 0)
    for window in windows(moving(info, count), shape, rate):
        parts = clip_spans(window, intervals, before, after)
        assert [slot for part in parts for slot in part.slots] == list(window.to_draw())
        assert len(parts) <= batch
        for part in parts:
            assert len(part.keyframes) == before + intervals + after + 1
            assert set(part.keyframes) <= set(range(len(window.keyframes)))
            assert part.keyframes[before] == part.first
            assert all(0 <= slot.left - part.first < intervals for slot in part.slots)


def test_a_clip_is_the_same_whichever_slots_are_asked_for():
    info = video("gray", 8, 8)
    window = windows(moving(info, 9), WindowShape(9, 1, 1, 0), F(50))[0]
    whole = {part.first: part.keyframes for part in clip_spans(window, 2, 1, 1)}
    for slot in window.to_draw():
        (part,) = clip_spans(replace(window, slots=(slot,)), 2, 1, 1)
        assert part.keyframes == whole[part.first]


@pytest.mark.parametrize("fmt", ["yuv420p", "yuv422p10le", "yuva420p", "gbrp", "gray"])
@pytest.mark.parametrize("height", [96, 720])
def test_downscaled_planes_become_rgb_and_come_back(fmt, height):
    info = video(fmt, 160, height)
    (frame,) = moving(info, 1)
    canvas = GuideCanvas(info, 80, 48, "cpu")
    small = canvas.downscale(frame.planes)
    assert [plane.shape for plane in small] == [(48, 80)] * (len(info.layout) - (fmt == "yuva420p"))
    again = canvas.planes(canvas.rgb(small))
    assert all(np.array_equal(a, b) for a, b in zip(small, again, strict=True))
    parts = canvas.as_floats(small)
    assert canvas.bright in parts
    number = [s.role for s in info.layout].index(canvas.bright)
    whole = frame.planes[number].mean() / (1 << (info.depth - 8))
    assert abs(float(parts[canvas.bright].mean()) - whole) < 0.5


def turning(count: int, fmt: str = "yuv420p", static: bool = False) -> Clip:
    """Return a clip of a texture that moves along a curve, where linear motion is wrong."""
    info = video(fmt, 256, 144)
    draws = np.random.default_rng(5)
    grounds = [draws.integers(40, 216, (s.height + 80, s.width + 80)) for s in info.layout]
    grounds = [smooth(ground.astype(np.float32)) for ground in grounds]
    frames = []
    for number in range(count):
        x, y = 34 + 30 * np.sin(number / 3), 34 + 20 * np.cos(number / 4)
        planes = []
        for shape, ground in zip(info.layout, grounds, strict=True):
            left, top = round(x) >> shape.shift_x, round(y) >> shape.shift_y
            part = ground[top : top + shape.height, left : left + shape.width].copy()
            if static:
                part[graphics(shape.width, shape.height)] = 235
            scale = 1 << (shape.depth - 8)
            planes.append((part * scale).astype(shape.dtype))
        frames.append(tuple(planes))
    return Clip("turning", info, frames)


def graphics(width: int, height: int) -> np.ndarray:
    """Return a mask of static bars over the middle of the picture."""
    mask = np.zeros((height, width), bool)
    for row in range(5):
        mask[height * (6 + 2 * row) // 18 :][: height // 36, width // 4 : -width // 4] = True
    return mask


def smooth(ground):
    import cv2

    soft = cv2.GaussianBlur(ground, (0, 0), 2)
    return np.clip(100 + 3 * (soft - soft.mean()), 16, 170)


@pytest.mark.parametrize("level", [0, 2])
def test_guides_beat_flow_and_enlarged_guides_on_curved_motion(level):
    case = motion.case(turning(17), 8, 2, 2)
    found = motion.measure(case, OracleMotion.name, level)
    flow = motion.measure(case, "flow", None)
    enlarged = motion.measure(case, "enlarged", level)
    assert found["psnr"] > flow["psnr"] + 3
    assert found["ssim"] > flow["ssim"]
    assert found["ssim"] > enlarged["ssim"]


def test_ten_bit_video_uses_all_ten_bits():
    case = motion.case(turning(9, "yuv420p10le"), 4, 2, 1)
    for number, picture in motion.drawn_by(engine_for(case), case):
        luma = picture.planes[0]
        assert luma.dtype == np.uint16
        assert (luma & 3).any()
        assert scores.psnr(luma, case.clip.frames[number][0], 10) > 25


def test_static_overlays_are_as_good_as_repeated_frames():
    clip = turning(13, static=True)
    case = motion.case(clip, 4, 3, 2)
    case = replace(case, overlay=graphics(256, 144))
    found = motion.measure(case, OracleMotion.name, 2)
    assert found["overlay"] >= motion.measure(case, "hold", None)["overlay"] - 0.1
    assert found["psnr"] > motion.measure(case, "flow", None)["psnr"]


def engine_for(case, **options):
    OracleMotion.truth = Truth(case.clip.frames, motion.RATE * case.gap)
    return OracleMotion(parts=case.gap, **options)


def test_repeated_and_parallel_draws_are_the_same():
    case = motion.case(turning(17), 4, 4, 3)
    engine = engine_for(case, size="128x64")
    shape = engine.open(case.clip.info, motion.RATE * case.gap, threads=4)
    frames = [Frame(k / motion.RATE, planes) for k, planes in enumerate(case.keyframes)]
    work = [(w, engine.prepare(w)) for w in windows(frames, shape, motion.RATE * case.gap)]

    def draw(item):
        return [picture.planes for picture in engine.draw(*item)]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(draw, work))
    for item, pictures in reversed(list(zip(work, together, strict=True))):
        for once, again in zip(pictures, draw(item), strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(once, again, strict=True))
    engine.close()


def test_a_slot_alone_gives_the_same_picture():
    case = motion.case(turning(9), 8, 1, 7)
    engine = engine_for(case, size="128x64")
    shape = engine.open(case.clip.info, motion.RATE * case.gap)
    frames = [Frame(k / motion.RATE, planes) for k, planes in enumerate(case.keyframes)]
    window = windows(frames, shape, motion.RATE * case.gap)[0]
    together = list(engine.draw(window, engine.prepare(window)))
    slot = list(window.to_draw())[3]
    lone = replace(window, slots=(slot,))
    (alone,) = engine.draw(lone, engine.prepare(lone))
    pairs = zip(alone.planes, together[3].planes, strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    assert alone.psnr_db == together[3].psnr_db


def test_slots_may_lie_between_guides():
    case = motion.case(turning(17), 8, 2, 7)
    case = replace(case, wanted=(3, 5, 11))
    frames = case.clip.frames
    flow = motion.measure(case, "flow", None)
    OracleMotion.truth = Truth(frames, motion.RATE * 8)
    engine = OracleMotion(parts=4)  # guides at frames 2, 4 and 6 of each interval
    levels = [
        scores.psnr(picture.planes[0], frames[number][0], 8)
        for number, picture in motion.drawn_by(engine, case)
    ]
    assert np.mean(levels) > flow["psnr"] + 2


class Broken(Oracle):
    """An oracle whose second clip is NaN."""

    def draw(self, clips):
        found = super().draw(clips)
        return found * float("nan") if clips[0].times[0] > 0 else found


def test_nan_falls_back_to_flow_and_is_counted(monkeypatch, caplog):
    clip = turning(17)
    OracleMotion.truth = Truth(clip.frames, motion.RATE * 8)
    info = replace(clip.info, rate=motion.RATE)

    def broken(self, video, pace):
        return Broken(video, self.truth, (128, 64), 8, 0)

    monkeypatch.setattr(OracleMotion, "open_source", broken)
    monkeypatch.setitem(engines.ENGINES, "oracle", "benchmarks.oracle:OracleMotion")
    with caplog.at_level(logging.WARNING, "ltxfilter.engines"):
        worker = WindowRunner("oracle", info, motion.RATE * 8)
        frames = [Frame(k / motion.RATE, planes) for k, planes in enumerate(clip.frames[::8])]
        drawn = [
            frame
            for window in windows(frames, worker.shape, motion.RATE * 8)
            for part in worker.prepare(window)
            for frame in worker.draw(part)
        ]
        worker.close()
    assert worker.fallbacks == 7
    assert [record.message for record in caplog.records].count(caplog.records[0].message) == 1
    assert "NaN" in caplog.records[0].message
    assert len(drawn) == 24


def check_that_the_oracle_beats_flow_and_its_guides(clip: Clip, interval: int) -> None:
    """interval: frames from one keyframe to the next."""
    case = motion.case(clip, interval, 1, 2)
    assert case.motion > motion.MOVING
    found = motion.measure(case, OracleMotion.name, 2)
    for other in ("flow", None), ("enlarged", 2):
        worse = motion.measure(case, *other)
        assert found["psnr"] > worse["psnr"] + 1
        assert found["ssim"] > worse["ssim"]


@pytest.mark.parametrize(
    ("name", "interval"),
    [("parkjoy50_270_10f.y4m", 4), ("parkjoy50_270_10f.y4m", 8), ("london60_240.mp4", 8)],
)
def test_on_real_clips_the_oracle_beats_flow_and_its_guides(clips: Path, name: str, interval: int):
    clip = load(clips / "dev" / name, interval + 1)
    check_that_the_oracle_beats_flow_and_its_guides(clip, interval)


def test_on_a_file_of_its_own_the_oracle_beats_flow_and_its_guides(tmp_path: Path):
    """The twin of the test on real clips, for a machine without them."""
    made = turning(9)
    path = tmp_path / "turning.y4m"
    write_y4m(path, made.frames, made.info, motion.RATE)
    clip = load(path, 9)
    for frame, original in zip(clip.frames, made.frames, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(frame, original, strict=True))
    check_that_the_oracle_beats_flow_and_its_guides(clip, 8)


def test_static_edges_of_letters_are_found_near_static_areas():
    from ltxfilter.engines.ltx.guides.warp_along import static_edges

    letters = np.full((40, 60), 30, np.uint8)
    letters[10:30, 20:40] = 220
    lumas = [letters + np.uint8(k) for k in range(3)]
    lumas[2] = lumas[2].copy()
    lumas[2][12, 18] = 90  # something passes here
    still = np.zeros_like(letters)
    still[10:30, 20:40] = 255
    found = static_edges(lumas, still)
    assert found[15, 18] == 255  # beside an edge, the same in all
    assert found[12, 18] == 0
    assert found[5, 5] == 0  # far from the static area
    flat = [np.full_like(letters, 30 + k) for k in range(3)]
    assert not static_edges(flat, still).any()  # without contrast there is no edge
