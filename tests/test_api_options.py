"""The options of the Python API: accepted in any sensible form, or refused by name."""

from __future__ import annotations

from fractions import Fraction as F
from pathlib import Path

import pytest

import ltxfilter
from ltxfilter.errors import OptionError
from ltxfilter.options import InputOptions, ModelOptions, Options, OutputOptions

ACCEPTED = {  # option, what is given, what it becomes
    "memory in text": ("memory", "512M", 512 << 20),
    "memory in bytes": ("memory", 1 << 29, 1 << 29),
    "memory as a whole float": ("memory", 1e9, 10**9),
    "speed in text": ("speed", "1/3", F(1, 3)),
    "speed as a float": ("speed", 0.1, F(1, 10)),
    "threads in text": ("threads", "4", 4),
    "cuts in text": ("cuts", "no", False),
    "cuts as a number": ("cuts", 1, True),
    "fps as a float": ("fps", 59.94, "59.94"),
    "fps as a fraction": ("fps", F(60000, 1001), "60000/1001"),
    "fps as a multiple": ("fps", "5/2x", "5/2x"),
    "latency in text": ("max_latency", "500ms", F(1, 2)),
    "redraw in text": ("redraw", "1:2,1.5:3", ((F(1), F(3)),)),
    "redraw as pairs": ("redraw", [(1.5, "2"), (0, 1)], ((F(0), F(1)), (F(3, 2), F(2)))),
    "report as a path": ("report", Path("a.json"), ("a.json",)),
    "two reports": ("report", [Path("a.json"), "b.html"], ("a.json", "b.html")),
    "strict in text": ("strict", "on", True),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_is_accepted_becomes_one_value(case):
    name, given, value = ACCEPTED[case]
    found = getattr(Options(**{name: given}), name)
    assert (found, type(found)) == (value, type(value))


REFUSED = {  # option, what is given, what the message says is allowed
    "memory in words": ("memory", "much", "write bytes, or a number with K, M or G"),
    "no memory": ("memory", 0, "give bytes above 0"),
    "memory as a truth value": ("memory", True, "give bytes above 0"),
    "memory without end": ("memory", float("inf"), "give bytes above 0"),
    "speed in words": ("speed", "half", "a number from 0.01 to 100"),
    "speed too low": ("speed", 0.001, "a number from 0.01 to 100"),
    "no speed": ("speed", None, "a number from 0.01 to 100"),
    "threads in part": ("threads", 1.5, "a whole number from 1 to 1024"),
    "too many threads": ("threads", 2000, "a whole number from 1 to 1024"),
    "cuts in words": ("cuts", "perhaps", "neither yes nor no"),
    "cuts as a number": ("cuts", 2, "neither yes nor no"),
    "fps in words": ("fps", "fast", "use 50, 60000/1001 or 59.94"),
    "no fps": ("fps", None, "give 'auto', 'source', '2x' or a rate"),
    "fps below zero": ("fps", -25, "must be above 0"),
    "repeats": ("repeats", "skip", "none of report, smooth"),
    "redraw as a number": ("redraw", 3, "give pairs of seconds"),
    "redraw backwards": ("redraw", [(3, 1)], "must end after it begins"),
    "latency of nothing": ("max_latency", 0, "give seconds above 0"),
    "latency in words": ("max_latency", "soon", "write seconds or HH:MM:SS.mmm"),
    "engine as a number": ("engine", 5, "is no text"),
    "report as a number": ("report", 5, "is no file name"),
    "models as text": ("models", "ltx.safetensors", "is no ModelOptions"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_named_with_what_is_allowed(case):
    name, given, message = REFUSED[case]
    with pytest.raises(OptionError, match=f"{name}|{name.replace('_', '-')}") as caught:
        Options(**{name: given})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("options", "name", "given"),
    [
        (InputOptions, "start", "soon"),
        (InputOptions, "duration", -1j),
        (InputOptions, "deinterlace", "maybe"),
        (InputOptions, "threads", "all"),
        (InputOptions, "width", 0),
        (InputOptions, "rate", "fast"),
        (OutputOptions, "path", 5),
        (OutputOptions, "audio", "loud"),
        (OutputOptions, "tag", 5),
        (OutputOptions, "aspect", "wide"),
        (OutputOptions, "aspect", True),
        (OutputOptions, "encoder", "crf=18"),
        (OutputOptions, "encoder", {"crf": [18]}),
        (OutputOptions, "maps", 0),
        (ModelOptions, "checkpoint", 5),
        (ModelOptions, "loras", "a.safetensors"),
        (ModelOptions, "loras", [("a.safetensors", "strong")]),
    ],
)
def test_parts_of_the_options_are_checked_as_well(options, name, given):
    with pytest.raises(OptionError, match=f"option {name}: "):
        options(**{name: given})


def test_loras_are_files_with_or_without_a_strength():
    found = ModelOptions(loras=["a.safetensors:0.5", ("b", 1), Path("c")], distilled_lora="d")
    assert found.loras == (("a.safetensors", 0.5), ("b", 1.0), ("c", 1.0))
    assert found.distilled_lora == ("d", 1.0)


def test_encoder_options_are_text_for_the_encoder():
    found = OutputOptions(encoder={"crf": 18, "fast": True, "qcomp": 0.5, "x": F(1, 2)})
    assert found.encoder == {"crf": "18", "fast": "1", "qcomp": "0.5", "x": "1/2"}


@pytest.mark.parametrize("given", ["16:9", "16/9", F(16, 9)])
def test_the_aspect_of_the_display_is_a_fraction(given):
    assert OutputOptions(aspect=given).aspect == F(16, 9)


def test_the_end_and_the_duration_contradict_each_other():
    with pytest.raises(OptionError, match="duration and end"):
        InputOptions(duration=1, end=2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"memroy": "1G"}, "memroy.*did you mean memory"),
        ({"speed": "half"}, "option speed: half"),
        ({"size": 5}, "option size: 5: give width and height"),
        ({"start": "soon"}, "option start: time 'soon'"),
        ({"video": {"codec": 5}}, "option codec: 5 is no text"),
        ({"deinterlace": True}, "option deinterlace: True is none of auto, on, off"),
        ({"decoder_threads": -1}, "option threads: -1"),
        ({"overwrite": "never"}, "option overwrite: 'never'"),
    ],
)
def test_convert_refuses_by_name_before_it_opens_anything(given, message, tmp_path):
    with pytest.raises(OptionError, match=message):
        ltxfilter.convert(tmp_path / "in.mp4", tmp_path / "out.mp4", **given)


def test_convert_takes_input_options(clip, tmp_path):
    target = tmp_path / "out.mkv"
    done = ltxfilter.convert(
        clip, target, fps=50, engine="hold", start="0.2", duration=0.4, deinterlace="off",
        memory="512M", threads="2", cuts="no", audio=False, video={"codec": "ffv1"},
    )  # fmt: skip
    assert (done.frames_in, done.frames_out) == (10, 20)


def test_a_program_is_told_at_once():
    with pytest.raises(OptionError, match="fps_in"):
        ltxfilter.Interpolator(fps=50, fps_im=25)
    with pytest.raises(OptionError, match="frame rate None"):
        ltxfilter.interpolate([], None)
    with pytest.raises(OptionError, match="missing a required argument: 'fps_in'"):
        ltxfilter.interpolate([])
