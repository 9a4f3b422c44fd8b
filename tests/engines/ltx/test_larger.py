"""Larger pictures of the LTX engines: through the spatial upsampler, in every format and size."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction as F

import numpy as np
import pytest
from support.ltx import equal, windows
from support.media import decoded, make_video

torch = pytest.importorskip("torch", reason="the LTX extra is not installed")
pytest.importorskip("ltx_core", reason="the LTX extra is not installed")

from support import tiny_ltx
from support.pictures import FORMATS, moving, video

import ltxfilter as package
from ltxfilter import engines
from ltxfilter.engines.ltx.diffusion.canvas import Canvas
from ltxfilter.engines.ltx.models.resident import Models
from ltxfilter.errors import EngineError, EngineUnavailableError, OptionError
from ltxfilter.frame import ColorInfo, Frame, VideoInfo
from ltxfilter.media.avframe import view
from ltxfilter.media.pixfmt import plane_shapes
from ltxfilter.media.scaling.frame_scaler import FrameScaler
from ltxfilter.options import InputOptions, Options, OutputOptions
from ltxfilter.pipeline.run import Run
from ltxfilter.scaling import scaled_video

TWICE, ONE_AND_A_HALF = F(2), F(3, 2)
FACTORS = pytest.mark.parametrize("factor", [TWICE, ONE_AND_A_HALF], ids=str)
SPECS = pytest.mark.parametrize(
    "spec",
    [
        "ltx-temporal",
        "ltx-temporal:refine=1",
        "ltx-keyframe:steps=1:refine=1",
        "ltx-keyframe:steps=1:stages=1",
    ],
)


@pytest.fixture(scope="module")
def by_factor(tmp_path_factory):
    """Return the models for each factor."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("ltx")
    models = tiny_ltx.build(folder)
    return {TWICE: models, ONE_AND_A_HALF: tiny_ltx.with_smaller_upsampler(models, folder)}


def larger(spec, models, info, factor, rate=F(50)):
    engine = engines.build(spec, models, factor)
    assert engine.scale == factor
    shape = engine.open(info, rate)
    made = [
        picture.planes
        for window in windows(moving(info, 4), shape, rate)
        for picture in engine.draw(window, engine.prepare(window))
    ]
    engine.close()
    return made


@SPECS
@FACTORS
def test_pictures_have_the_larger_size(spec, factor, by_factor):
    info = video("yuv420p", 70, 50)
    made = larger(spec, by_factor[factor], info, factor)
    assert len(made) == 3
    layout = scaled_video(info, factor).layout
    for planes in made:
        assert [plane.shape for plane in planes] == [(s.height, s.width) for s in layout]
    again = larger(spec, by_factor[factor], info, factor)
    assert all(map(equal, made, again))


@FACTORS
@pytest.mark.parametrize("fmt", FORMATS)
def test_every_format_works(fmt, factor, by_factor):
    info = video(fmt, 33, 17)
    for planes in larger("ltx-temporal", by_factor[factor], info, factor):
        for plane, shape in zip(planes, scaled_video(info, factor).layout, strict=True):
            assert (plane.shape, plane.dtype) == ((shape.height, shape.width), shape.dtype)
            assert int(plane.max()) < 1 << shape.depth


@FACTORS
def test_slots_between_doubled_frames_are_as_large(factor, by_factor):
    info = video("yuv420p", 64, 64)
    made = larger("ltx-temporal", by_factor[factor], info, factor, F(60))
    layout = scaled_video(info, factor).layout
    assert len(made) == 7
    assert {planes[0].shape for planes in made} == {(layout[0].height, layout[0].width)}


def test_what_is_decoded_is_what_the_upsampler_made(by_factor, monkeypatch):
    upsampled, given = [], []
    upsample, decode = Models.upsample, Models.decode

    def watched_upsample(self, latents, kind):
        made = upsample(self, latents, kind)
        if kind == "spatial":
            upsampled.append((latents, made))
        return made

    def watched_decode(self, latents):
        given.append(latents)
        return decode(self, latents)

    monkeypatch.setattr(Models, "upsample", watched_upsample)
    monkeypatch.setattr(Models, "decode", watched_decode)
    larger("ltx-temporal", by_factor[TWICE], video("yuv420p", 64, 96), TWICE)
    assert upsampled
    assert [each.shape[-2:] for each, _ in upsampled] == [(3, 2)] * len(upsampled)
    assert all(torch.equal(one, each) for one, (_, each) in zip(given, upsampled, strict=True))


@pytest.mark.parametrize("spec", ["ltx-motion", "auto:with=ltx-motion", "flow", "blend"])
def test_engines_that_move_or_mix_keyframes_leave_scaling_to_the_run(spec, by_factor):
    assert engines.build(spec, by_factor[TWICE], TWICE).scale == 1


def test_an_untagged_picture_keeps_its_colours_across_sizes():
    layout = plane_shapes("yuv444p", 480, 480)
    info = VideoInfo(480, 480, "yuv444p", layout, F(25), color=ColorInfo(range=1))
    planes = tuple(np.full((480, 480), code, np.uint8) for code in (81, 90, 240))  # red in BT.601
    canvas = Canvas(info, torch.device("cpu"), 32)
    target = canvas.enlarged(TWICE)
    picture = canvas.read(Frame(F(0), planes)).repeat_interleave(2, 1).repeat_interleave(2, 2)
    frame = Frame(F(0), planes)
    drawn = target.to_drawn(picture, (frame, frame), 0.5)
    assert [(plane.min(), plane.max()) for plane in drawn.planes] == [
        (81, 81),
        (90, 90),
        (240, 240),
    ]
    assert target.video.color.matrix == 6


def test_the_wrong_upsampler_is_refused_with_what_would_serve(by_factor, tmp_path):
    smaller = by_factor[ONE_AND_A_HALF]
    with pytest.raises(
        EngineUnavailableError,
        match=r"x1.5.safetensors is one x1.5, and --scale 2x needs a spatial upsampler x2; name "
        "that one, or use --scale 1.5x",
    ):
        engines.build("ltx-temporal", smaller, TWICE)
    (tmp_path / "a.safetensors").symlink_to(by_factor[TWICE].spatial_upsampler)
    folder = replace(by_factor[TWICE], spatial_upsampler=None, models=str(tmp_path))
    with pytest.raises(
        EngineUnavailableError,
        match=r"--scale 1.5x needs a spatial upsampler x1.5; --models \S+ holds x2, for --scale 2x",
    ):
        engines.build("ltx-temporal", folder, ONE_AND_A_HALF)


def test_the_upsampler_of_the_factor_is_taken_from_a_folder(by_factor, tmp_path):
    for factor, models in by_factor.items():
        (tmp_path / f"{factor.numerator}.safetensors").symlink_to(models.spatial_upsampler)
    folder = replace(by_factor[TWICE], spatial_upsampler=None, models=str(tmp_path))
    for factor in by_factor:
        made = larger("ltx-temporal", folder, video("yuv420p", 64, 64), factor)
        assert all(map(equal, made, larger(
            "ltx-temporal", by_factor[factor], video("yuv420p", 64, 64), factor
        )))  # fmt: skip


def test_a_missing_upsampler_is_named(by_factor):
    models = replace(by_factor[TWICE], spatial_upsampler=None)
    engine = engines.build("ltx-temporal", models, TWICE)
    assert engine.missing_files == ("spatial_upsampler",)
    needed = "--spatial-upsampler FILE is needed: .*; --scale 2x takes the one x2"
    with pytest.raises(EngineUnavailableError, match=needed):
        engine.open(video("yuv420p", 64, 64), F(50))


def test_an_upsampler_that_is_not_used_is_refused(by_factor):
    models = by_factor[TWICE]
    given = package.ModelOptions(spatial_upsampler=models.spatial_upsampler)
    with pytest.raises(OptionError, match="ltx-temporal does not use it; add --scale, or leave"):
        engines.refuse_unused("ltx-temporal", given)
    engines.refuse_unused("ltx-temporal", given, TWICE)


@FACTORS
def test_a_run_has_scaled_originals_between_larger_pictures(factor, by_factor, tmp_path):
    clip = make_video(tmp_path / "in.mkv", 6, size=(64, 48), audio=True)
    target = tmp_path / "out.mkv"
    options = Options(
        input=InputOptions(path=str(clip)),
        output=OutputOptions(path=str(target), scale=factor, codec="ffv1"),
        engine="ltx-temporal:match=0",
        fps="50",
        models=by_factor[factor],
        report=(str(tmp_path / "r.json"),),
    )
    with Run(options) as run:
        assert run.opening.lines == (
            f"scaled: 64x48 -> {64 * factor}x{48 * factor}, source frames by swscale's Lanczos, "
            "interpolated frames by the spatial upsampler of ltx-temporal",
        )
        run.go()
    made = list(decoded(target))
    assert {(each.width, each.height) for each in made} == {(64 * factor, 48 * factor)}
    info = VideoInfo(64, 48, "yuv420p", plane_shapes("yuv420p", 64, 48), F(25))
    scaler = FrameScaler(info, factor)
    originals = [
        scaler.scaled(Frame(F(0), view(each, info.layout))).planes for each in decoded(clip)
    ]
    shown = [view(each, scaler.info.layout) for each in made]
    assert all(map(equal, shown[::2], originals))
    assert not equal(shown[1], originals[0])
    assert json.loads((tmp_path / "r.json").read_text())["statistics"]["verified"] == 6


def test_a_fallbacks_picture_is_scaled_like_a_source_frame(by_factor, tmp_path, monkeypatch):
    clip = make_video(tmp_path / "in.mkv", 4, size=(64, 48))

    def broken(self, latents):
        frames = 8 * latents.shape[2] - 7
        return torch.full((len(latents), 3, frames, 128, 128), float("nan"))

    monkeypatch.setattr(Models, "decode", broken)
    target, report = tmp_path / "out.mkv", tmp_path / "r.json"
    models = replace(by_factor[TWICE], context=None)
    done = package.convert(
        clip, target, fps=50, engine="ltx-temporal", models=models, scale=2, report=report,
        video={"codec": "ffv1"},
    )  # fmt: skip
    assert done.fallbacks == done.interpolated == 3
    assert {(each.width, each.height) for each in decoded(target)} == {(128, 96)}
    assert json.loads(report.read_text())["output"]["width"] == 128


def test_too_little_device_memory_is_said_to_come_of_the_size(by_factor, monkeypatch):
    def full(self, latents):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Models, "decode", full)
    with pytest.raises(EngineError, match="smaller lead or batch; without --scale it takes a frac"):
        larger("ltx-temporal", by_factor[TWICE], video("yuv420p", 64, 64), TWICE)
