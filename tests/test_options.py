"""Texts become values and back; options and engine options are checked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltxfilter import values
from ltxfilter.engines import ENGINES, build, engine_class
from ltxfilter.errors import OptionError
from ltxfilter.options import (
    EngineOption,
    InputOptions,
    ModelOptions,
    Options,
    OutputOptions,
    available_threads,
)
from ltxfilter.values import (
    MIB,
    format_spec,
    parse_bytes,
    parse_scalar,
    parse_size,
    parse_spec,
    parse_specs,
    parse_threads,
    parse_time,
)

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True)


@given(NAMES, st.dictionaries(NAMES, st.text(max_size=12), max_size=4))
def test_a_spec_survives_being_written_and_read(name: str, values: dict[str, str]):
    assert parse_spec(format_spec(name, values)) == (name, values)


def test_specs():
    assert parse_spec("flow") == ("flow", {})
    assert parse_spec("flow:preset=best:levels=4") == ("flow", {"preset": "best", "levels": "4"})
    assert parse_spec(r"ltx:prompt=a\:b\\c") == ("ltx", {"prompt": r"a:b\c"})
    assert parse_spec("flow:a=") == ("flow", {"a": ""})


def test_engine_specs_are_separated_by_commas():
    assert parse_specs("flow") == ("flow",)
    assert parse_specs("flow:preset=best,blend") == ("flow:preset=best", "blend")
    spec, other = parse_specs(r"onnx:model=a\,b\:c.onnx,hold")
    assert parse_spec(spec) == ("onnx", {"model": "a,b:c.onnx"})
    assert other == "hold"


@pytest.mark.parametrize("text", ["", ",", "flow,", "flow,,blend", "flow,a b", "flow:x"])
def test_engine_specs_that_cannot_be_told_apart_are_refused(text: str):
    with pytest.raises(OptionError, match="engine"):
        parse_specs(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "write NAME"),
        ("Flow", "write NAME"),
        (":a=b", "write NAME"),
        ("flow:", "'' is not key=value"),
        ("flow:a=1::b=2", "'' is not key=value"),
        ("flow:fast", "'fast' is not key=value"),
        ("flow:a=b\\", "write NAME"),
        ("flow:=1", "'=1' is not key=value"),
        ("flow:a=1:a=2", "a is given twice"),
    ],
)
def test_what_is_no_spec(text: str, message: str):
    with pytest.raises(OptionError, match=message):
        parse_spec(text)


@given(st.text(max_size=20))
def test_any_text_is_a_spec_or_an_option_error(text: str):
    try:
        name, values = parse_spec(text)
    except OptionError:
        return
    assert parse_spec(format_spec(name, values)) == (name, values)


@pytest.mark.parametrize(
    ("text", "size"),
    [("300", 300), ("512M", 512 * MIB), ("4G", 4096 * MIB), ("1.5GiB", 1536 * MIB), ("2kb", 2048)],
)
def test_sizes_in_bytes(text: str, size: int):
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12.5", Fraction(25, 2)),
        ("01:30", Fraction(90)),
        ("1:02:03.5", Fraction(7447, 2)),
        ("250ms", Fraction(1, 4)),
        ("3s", Fraction(3)),
        ("7us", Fraction(7, 10**6)),
    ],
)
def test_times(text: str, seconds: Fraction):
    assert parse_time(text) == seconds


def test_picture_sizes_and_counts():
    assert parse_size("1920x1080") == (1920, 1080)
    assert parse_size("pal") == (720, 576)
    assert (parse_threads("12"), parse_threads("0"), parse_threads("auto")) == (12, 0, 0)


@pytest.mark.parametrize("parser", [parse_bytes, parse_time, parse_size])
@pytest.mark.parametrize(
    "text", ["", "x", "-1", "1e9", "1x", "0x0", "1:2:3:4", "9" * 5000, "5 M M", "1:00s", "\u0661"]
)
def test_what_is_no_number(parser, text: str):
    with pytest.raises(OptionError):
        parser(text)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1025", "9" * 5000])
def test_what_is_no_count(text: str):
    with pytest.raises(OptionError, match="whole number from 1 to"):
        parse_threads(text)


def test_engine_options_are_checked():
    levels = EngineOption("levels", 3, "pyramid levels", low=1, high=6)
    assert levels.parse("4") == 4
    for text in ("0", "7", "x", "1.5"):
        with pytest.raises(OptionError, match="a whole number from 1 to 6"):
            levels.parse(text)
    assert EngineOption("still", True, "protect").parse("off") is False
    with pytest.raises(OptionError, match="0 or 1"):
        EngineOption("still", True, "protect").parse("maybe")
    preset = EngineOption("preset", "fast", "speed", choices=("fast", "best"))
    assert preset.parse("best") == "best"
    with pytest.raises(OptionError, match="one of fast, best"):
        preset.parse("worst")
    with pytest.raises(OptionError, match="a number of at least 0"):
        EngineOption("gain", 1.0, "gain", low=0).parse("nan")


def test_the_registry_names_what_there_is():
    with pytest.raises(OptionError, match="no engine 'flo'; there are"):
        build("flo")
    with pytest.raises(OptionError, match="engine blend has no option 'x'; it has none"):
        build("blend:x=1")


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_explains_its_options(name: str):
    engine = engine_class(name)
    assert engine.name == name
    assert engine.summary
    for option in engine.options:
        assert option.help, option.name
        assert option.parse(str(option.default)) == option.default


def test_defaults():
    assert Options().threads == Options(threads=0).threads == available_threads() >= 1
    assert Options().memory is None  # what the job needs


@pytest.mark.parametrize(
    "mistake", [{"threads": -1}, {"threads": 10**6}, {"speed": Fraction(0)}, {"repeats": "never"}]
)
def test_programs_are_held_to_the_same_bounds(mistake: dict[str, object]):
    with pytest.raises(OptionError, match=next(iter(mistake))):
        Options(**mistake)


DIGITS = st.integers(1, 6000).map(lambda count: "9" * count)
STRANGE = ("inf", "-inf", "nan", "1_0", "\u0663", "\u00b2", "\ud800", "1/0", "0x10", "1e9")
BEFORE, BEHIND = ("", "-", "1/", "0.", "1:", "f:"), ("", "x", "M")
LONG_NUMBERS = st.tuples(st.sampled_from(BEFORE), DIGITS, st.sampled_from(BEHIND)).map("".join)
ODD_TEXTS = st.one_of(st.text(max_size=12), st.sampled_from(STRANGE), LONG_NUMBERS)
ODD_NUMBERS = st.one_of(
    st.floats(),
    st.integers(),
    st.integers(1, 20000).map(lambda power: 10**power),
    st.integers(1, 20000).map(lambda power: Fraction(1, 10**power)),
    st.booleans(),
    st.none(),
)
ODD_VALUES = st.recursive(
    ODD_TEXTS | ODD_NUMBERS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
FIELDS = [
    (options, name)
    for options in (Options, InputOptions, OutputOptions, ModelOptions)
    for name in options.__dataclass_fields__
]


def refusal(call: Callable[[], object]) -> str:
    """Return the message of the OptionError that `call` raises; "" if it raises none."""
    try:
        call()
    except OptionError as error:
        return str(error)
    return ""


@given(st.sampled_from(FIELDS), ODD_VALUES)
def test_every_option_takes_or_refuses_any_value(place: tuple[type, str], value: object):
    options, name = place
    assert len(refusal(lambda: options(**{name: value}))) < 400


PARSERS = [getattr(values, name) for name in dir(values) if name.startswith("parse_")]
PARSERS = [parser for parser in PARSERS if parser not in (values.parse_fraction, parse_scalar)]


@given(st.sampled_from([*PARSERS, values.check_multiple]), ODD_TEXTS)
def test_every_parser_takes_or_refuses_any_text(parser: Callable[[str], object], text: str):
    assert len(refusal(lambda: parser(text))) < 400


@given(st.sampled_from([int, float, bool]), ODD_TEXTS)
def test_scalars_are_finite(kind: type, text: str):
    with suppress(OptionError):
        assert parse_scalar(kind, text) not in (inf, -inf, nan)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("33.333333333333333333333333", Fraction(100, 3)),
        ("0.0333333333333333333", Fraction(1, 30)),
        ("1000", Fraction(1000)),
        ("1/3600", Fraction(1, 3600)),
        ("23.976", Fraction(24000, 1001)),
    ],
)
def test_rates_are_ratios_that_containers_can_state(text: str, rate: Fraction):
    assert values.parse_rate(text) == rate


@pytest.mark.parametrize("text", ["1/3601", "0." + "0" * 40 + "1"])
def test_a_rate_below_one_frame_an_hour_is_refused(text: str):
    with pytest.raises(OptionError, match="at least 1/3600"):
        values.parse_rate(text)
