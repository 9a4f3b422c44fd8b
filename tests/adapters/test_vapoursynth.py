"""VapourSynth: frames of the command line, in any order; formats, properties, scene changes."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from fractions import Fraction as F
from typing import Any

import numpy as np
import pytest
from support.tools import ROOT, ltxfilter, run_pipe

from ltxfilter.errors import InputError, OptionError

vs = pytest.importorskip("vapoursynth")

from ltxfilter.adapters.vapoursynth import MADE, interpolate  # noqa: E402
from ltxfilter.adapters.vapoursynth import _color as described_color  # noqa: E402

FORMATS = [
    vs.GRAY8, vs.GRAY10, vs.GRAY16, vs.YUV420P8, vs.YUV422P8, vs.YUV444P8, vs.YUV440P8, vs.YUV411P8,
    vs.YUV410P8, vs.YUV420P10, vs.YUV422P12, vs.YUV444P14, vs.YUV420P16, vs.RGB24, vs.RGB30,
    vs.RGB48,
]  # fmt: skip


def plane(width: int, height: int, top: int, at: float, seed: int) -> np.ndarray:
    x, y = np.arange(width) - at, np.arange(height)
    wave = np.sin(x[None] / 6 + seed) * np.cos(y[:, None] / 5) + np.sin(
        x[None] / 3 + y[:, None] / 4
    )
    return np.rint((0.5 + wave / 5) * top)


def moving(form: int = vs.YUV420P8, count: int = 12, fps: F = F(24), cut: int | None = None) -> Any:
    """Return a clip of waves that move by two pixels per frame; at `cut` others begin."""
    blank = vs.core.std.BlankClip(
        None, 96, 64, form, count, fps.numerator, fps.denominator, keep=True
    )

    def waves(n: int, f: Any) -> Any:
        out = f.copy()
        for number in range(out.format.num_planes):
            samples = np.asarray(out[number])
            top = (1 << out.format.bits_per_sample) - 1
            scale = samples.shape[1] / out.width
            seed = number + (5 if cut is not None and n >= cut else 0)
            samples[:] = plane(samples.shape[1], samples.shape[0], top, 2 * n * scale, seed)
        out.props["Number"] = n
        return out

    return blank.std.ModifyFrame(blank, waves)


def samples(frame: Any) -> bytes:
    return b"".join(np.asarray(each).tobytes() for each in (frame[n] for n in range(len(frame))))


def md5s(clip: Any) -> list[str]:
    return [hashlib.md5(samples(clip.get_frame(n))).hexdigest() for n in range(clip.num_frames)]


@pytest.mark.parametrize("rate", [48, 60])
@pytest.mark.parametrize("form", [vs.YUV420P8, vs.YUV422P10])
def test_frames_are_those_of_the_command_line(form: int, rate: int):
    clip = moving(form)
    depth = clip.format.bits_per_sample
    name = "yuv420p" if depth == 8 else "yuv422p10le"
    raw = b"".join(samples(clip.get_frame(n)) for n in range(12))
    shape = ["-f", "rawvideo", "-pix_fmt", name, "-s", "96x64", "-r", 24]
    command = ltxfilter(*shape, "-i", "-", "--fps", rate, "--engine", "flow", "-f", "rawvideo", "-")
    line = run_pipe(command, stdin=raw)
    assert line.codes == [0], line.err
    size = len(raw) // 12
    found = [
        hashlib.md5(line.out[at : at + size]).hexdigest() for at in range(0, len(line.out), size)
    ]
    assert md5s(interpolate(clip, rate, engine="flow")) == found
    assert len(found) == rate // 2


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_of_integers(form: int):
    clip = moving(form, 4)
    made = interpolate(clip, 48, engine="flow")
    assert (made.format, made.width, made.height, made.fps) == (clip.format, 96, 64, F(48))
    assert made.num_frames == 8
    kinds = [made.get_frame(n).props[MADE] for n in range(8)]
    assert kinds == ["source", "interpolated"] * 3 + ["source", "repeated"]
    assert [samples(made.get_frame(2 * n)) for n in range(4)] == [
        samples(clip.get_frame(n)) for n in range(4)
    ]
    middle, around = made.get_frame(3), (clip.get_frame(1), clip.get_frame(2))
    luma = np.asarray(middle[0]).astype(float)
    truth = plane(96, 64, (1 << clip.format.bits_per_sample) - 1, 3, 0)
    held = np.asarray(around[0][0]).astype(float)
    inner = np.s_[8:-8, 8:-8]
    assert np.abs(luma - truth)[inner].mean() < np.abs(held - truth)[inner].mean() / 3


@pytest.mark.parametrize("form", [vs.GRAYS, vs.GRAYH, vs.YUV444PS, vs.RGBS, vs.GRAY32])
def test_other_formats_are_refused_with_the_line_to_type(form: int):
    clip = vs.core.std.BlankClip(format=form, length=3)
    with pytest.raises(InputError, match=r"clip\.resize\.Point\(format=vs\.(\w+16|RGB48)\)"):
        interpolate(clip, 60)


def test_clips_that_vary_are_refused():
    a, b = (vs.core.std.BlankClip(width=width, length=3) for width in (64, 96))
    with pytest.raises(InputError, match="size varies"):
        interpolate(vs.core.std.Splice([a, b], mismatch=True), 60)
    with pytest.raises(InputError, match="rate varies"):
        interpolate(vs.core.std.Splice([a, a.std.AssumeFPS(fpsnum=25)]), 60)
    with pytest.raises(OptionError, match="whole numbers above 0"):
        interpolate(a, 0)
    with pytest.raises(OptionError, match="no engine"):
        interpolate(a, 60, engine="nothing")
    made = interpolate(moving().std.SetFieldBased(2), 60)
    with pytest.raises(vs.Error, match="interlaced"):
        made.get_frame(0)


def test_what_properties_say_of_colours():
    rgb = vs.core.std.BlankClip(format=vs.RGB24, width=64, height=64)
    for name, number in (("limited", 1), ("full", 2)):
        clip = rgb.resize.Bicubic(format=vs.YUV420P8, matrix_s="709", range_s=name)
        color = described_color(clip.get_frame(0).props)
        assert (color.matrix, color.range, color.chroma_location) == (1, number, 1)
    older = described_color({"_ColorRange": 1, "_Primaries": 9, "_Transfer": 16})
    assert (older.range, older.primaries, older.transfer, older.matrix) == (1, 9, 16, 2)
    assert described_color({"_ColorRange": 0}).range == 2


def test_frames_are_the_same_in_any_order():
    clip = moving(vs.GRAY8, 24 * 21)
    rate = F(60000, 1001)
    made = interpolate(clip, rate.numerator, rate.denominator, engine="flow")
    order = list(range(0, made.num_frames, 37)) + list(range(590, 612)) + [made.num_frames - 1]
    ordered = {n: samples(made.get_frame(n)) for n in sorted(order)}
    again = interpolate(clip, rate.numerator, rate.denominator, engine="flow")
    random.Random(1).shuffle(order)
    for n in order[:12]:
        assert samples(again.get_frame(n)) == ordered[n], n
    asked = [again.get_frame_async(n) for n in (3, 1, 600, 2, 0)]
    assert [samples(each.result()) for each in asked] == [
        samples(interpolate(clip, rate.numerator, rate.denominator, engine="flow").get_frame(n))
        for n in (3, 1, 600, 2, 0)
    ]


def test_several_clips_at_once_and_one_after_another():
    alone = md5s(interpolate(moving(count=6), 48, engine="flow"))
    first = interpolate(moving(count=6), 48, engine="flow")
    second = interpolate(moving(vs.RGB24, 6), 48, engine="flow")
    for n in range(first.num_frames):
        first.get_frame(n)
        second.get_frame(n)
    assert md5s(first) == alone
    chained = interpolate(first, 96, engine="flow")
    assert chained.num_frames == 24
    assert [samples(chained.get_frame(2 * n)) for n in range(12)] == [
        samples(first.get_frame(n)) for n in range(12)
    ]


def test_properties_are_kept_and_times_are_new():
    clip = moving(count=6).std.SetFrameProps(_Matrix=1, Note="kept", _SceneChangePrev=0)
    made = interpolate(clip, 60, engine="flow")
    numbers, kinds = [], []
    for n in range(made.num_frames):
        properties = made.get_frame(n).props
        assert (properties["_Matrix"], properties["Note"]) == (1, "kept")
        assert (properties["_DurationNum"], properties["_DurationDen"]) == (1, 60)
        assert ("_SceneChangePrev" in properties) == (properties[MADE] == "source")
        numbers.append(properties["Number"])
        kinds.append(properties[MADE])
    assert numbers == [min(n * 24 // 60, 5) for n in range(made.num_frames)]
    assert kinds[:5] == ["source", "interpolated", "interpolated", "interpolated", "interpolated"]


@pytest.mark.parametrize("name", ["_SceneChangePrev", "_SceneChangeNext"])
def test_scene_changes_that_others_found_are_heeded(name: str):
    at = 6 if name == "_SceneChangePrev" else 5

    def mark(n: int, f: Any) -> Any:
        out = f.copy()
        out.props[name] = int(n == at)
        return out

    clip = moving(count=12)
    made = interpolate(clip.std.ModifyFrame(clip, mark), 48, engine="flow", cuts=False)
    assert made.get_frame(11).props[MADE] == "repeated"
    assert samples(made.get_frame(11)) == samples(clip.get_frame(5))
    assert {made.get_frame(n).props[MADE] for n in (9, 13)} == {"interpolated"}
    plain = interpolate(clip, 48, engine="flow", cuts=False)
    assert plain.get_frame(11).props[MADE] == "interpolated"


ONE_THREAD = """
import vapoursynth as vs
vs.core.num_threads = 1
from ltxfilter.adapters.vapoursynth import interpolate
clip = vs.core.std.BlankClip(width=64, height=48, length=12, fpsnum=24)
source = clip.std.FrameEval(lambda n, clip=clip: clip)
made = interpolate(interpolate(source, 48, engine="flow"), 96, engine="flow")
frames = [made.get_frame_async(n) for n in (40, 3, 20, 0)]
print([frame.result().props["_DurationDen"] for frame in frames])
"""


def test_one_thread_is_enough():
    done = subprocess.run(
        [sys.executable, "-c", ONE_THREAD], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[96, 96, 96, 96]\n", done.stderr


def test_the_example_runs():
    script = ROOT / "examples" / "vapoursynth.vpy"
    lines = (
        f"import runpy, vapoursynth as vs; runpy.run_path({str(script)!r})",
        "made = vs.get_output(0).clip",
        "print(made.num_frames, made.get_frame(1).props.LtxfilterMade)",
    )
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == "60 interpolated\n", done.stderr
