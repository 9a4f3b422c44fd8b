"""The engine `onnx` on small networks of every form of inputs: contract, exactness, errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction as F
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytest.importorskip("onnx", reason="the package onnx, which writes networks, is not installed")

from support.onnx_graphs import FORMS, UNTIMED, build
from support.pictures import FORMATS, Same, drawings, moving, video, windows

from ltxfilter import engines
from ltxfilter.cli import main
from ltxfilter.engines.onnx.describe import describe_network
from ltxfilter.engines.onnx.network import Network, NetworkSettings
from ltxfilter.errors import EngineError, EngineUnavailableError, OptionError, Stopped
from ltxfilter.frame import ColorInfo, Frame, Made
from ltxfilter.options import ModelOptions
from ltxfilter.pipeline.stages import drawn as drawn_path
from ltxfilter.pipeline.window_runner import WindowRunner
from ltxfilter.windows.rolling import RollingWindow
from ltxfilter.windows.window import Interval, Join, Window

EVERY_FORM = pytest.mark.parametrize("form", FORMS)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Return what writes a network, and the engine's spec for it."""
    folder = tmp_path_factory.mktemp("networks")
    count = 0

    def write(form="two-time", options="", **details):
        nonlocal count
        count += 1
        path = build(folder / f"{count}.onnx", form, **details)
        return f"onnx:model={path}{options}"

    return write


def faded(ends, tau, number, top=None):
    """Return the exact cross-fade of two keyframes' planes, in float."""
    a, b = (end.planes[number].astype(np.float64) for end in ends)
    return a + (b - a) * float(tau)


def farthest(spec, info, frames, rate=F(60)):
    """Return by how many codes any sample is off the cross-fade that the networks make."""
    worst = 0.0
    for window, drawn in drawings(spec, info, frames, rate):
        for slot, picture in zip(window.to_draw(), drawn, strict=True):
            ends = window.keyframes[slot.left], window.keyframes[slot.left + 1]
            for number, plane in enumerate(picture.planes):
                worst = max(worst, float(np.abs(plane - faded(ends, slot.tau, number)).max()))
    return worst


@EVERY_FORM
def test_each_form_of_inputs_is_recognised_and_fed(network, form):
    info = video("yuv420p", 70, 50)
    rate = F(50) if form in UNTIMED else F(125)  # halves alone, or 1/5, 2/5, ...
    assert farthest(network(form), info, moving(info, 4), rate) <= 0.51


@pytest.mark.parametrize("fmt", FORMATS)
def test_every_format_comes_back_in_its_own_depth_and_siting(network, fmt):
    info = video(fmt, 70, 50)
    assert farthest(network(), info, moving(info, 4)) <= 0.51


@pytest.mark.parametrize("location", range(7))
@pytest.mark.parametrize(("matrix", "coded_range"), [(1, 1), (6, 2), (9, 1), (8, 1)])
def test_no_matrix_range_or_siting_shifts_the_mean(network, location, matrix, coded_range):
    color = ColorInfo(matrix=matrix, range=coded_range, chroma_location=location)
    info = replace(video("yuv420p", 130, 98), color=color)
    chance = np.random.default_rng(location)
    frames = [
        Frame(
            F(n, 25),
            tuple(chance.integers(0, 256, (s.height, s.width), np.uint8) for s in info.layout),
        )
        for n in range(2)
    ]
    (picture,) = next(iter(drawings(network(), info, frames, F(50))))[1]
    for number, plane in enumerate(picture.planes):
        exact = faded(frames, 0.5, number)
        assert abs(float(plane.mean() - exact.mean())) < 0.03
        assert (plane == np.rint(exact)).mean() > 0.999


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (17, 33), (130, 7)])
def test_any_size_will_do(network, size):
    info = video("yuv420p", *size)
    assert farthest(network(), info, moving(info, 3)) <= 0.51


def test_a_second_time_and_from_several_threads_alike(network):
    info = video(width=96, height=64)
    spec, frames = network("eleven"), moving(info, 6)
    engine = engines.build(spec)
    shape = engine.open(info, F(60), threads=2)
    work = [(window, engine.prepare(window)) for window in windows(frames, shape)]

    def draw(item):
        return [p.planes for p in engine.draw(*item)]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(draw, reversed(work)))[::-1]
    engine.close()
    alone = [[p.planes for p in drawn] for _, drawn in drawings(spec, info, frames)]
    for a, b in zip(together, alone, strict=True):
        for x, y in zip(a, b, strict=True):
            assert all(np.array_equal(p, q) for p, q in zip(x, y, strict=True))


def test_a_network_of_the_middle_alone_is_used_again_for_other_times(network):
    info = video(width=64, height=48)
    frames = moving(info, 2)

    def positions(spec, rate):
        """Return where between the keyframes each picture lies, by least squares."""
        found = {}
        for window, drawn in drawings(spec, info, frames, rate):
            for slot, picture in zip(window.to_draw(), drawn, strict=True):
                a, b, c = (p.planes[0].astype(float) for p in (*frames, picture))
                found[slot.tau] = float(((c - a) * (b - a)).sum() / np.square(b - a).sum())
        return found

    quarters = positions(network("two"), F(100))
    assert quarters == {F(k, 4): pytest.approx(k / 4, abs=0.01) for k in (1, 2, 3)}
    fifths = positions(network("six"), F(125))
    assert fifths == {F(k, 5): pytest.approx(k / 5, abs=0.04) for k in (1, 2, 3, 4)}
    once = positions(network("two", ":halvings=1"), F(100))
    assert once[F(1, 2)] == pytest.approx(0.5, abs=0.01)
    assert once[F(1, 4)] in (pytest.approx(0, abs=0.01), pytest.approx(0.5, abs=0.01))


def test_float16_is_nearly_as_exact(network):
    info = video("yuv420p", 70, 50)
    assert farthest(network("seven", half=True), info, moving(info, 3)) <= 1.01


@pytest.mark.parametrize("divisor", [32, 64, 128])
def test_the_multiple_of_sides_is_found_by_trying(network, divisor):
    info = video("yuv420p", 70, 50)
    assert farthest(network("six-time", divisor=divisor), info, moving(info, 3)) <= 0.51


def test_the_multiple_can_be_told(network):
    spec = network("two", divisor=48, metadata={"ltxfilter.multiple": "48"})
    info = video("yuv420p", 70, 50)
    assert farthest(spec, info, moving(info, 3), F(50)) <= 0.51
    with pytest.raises(EngineUnavailableError, match="multiple="):
        engines.build(network("two", divisor=48)).open(info, F(50))
    assert farthest(network("two", ":multiple=48", divisor=48), info, moving(info, 3), F(50)) < 1


@pytest.mark.parametrize("way", ["option", "metadata"])
def test_values_from_0_to_255(network, way):
    """A network that clips at 200 of 255 dims white only if it is given the whole range."""
    info = video("gray", 64, 48)
    info = replace(info, color=ColorInfo(range=2))
    white = [Frame(F(n, 25), (np.full((48, 64), 255, np.uint8),)) for n in range(2)]
    if way == "option":
        spec = network("two", ":range=byte", top=200.0)
    else:
        spec = network("two", top=200.0, metadata={"ltxfilter.range": "byte"})
    (picture,) = drawings(spec, info, white, F(50))[0][1]
    assert (picture.planes[0] == 200).all()
    (picture,) = drawings(network("two", top=200.0), info, white, F(50))[0][1]
    assert (picture.planes[0] == 255).all()


def test_a_network_of_one_size_is_used_in_tiles(network):
    info = video("yuv420p", 150, 90)
    spec = network("two-time", size=(64, 64), batch=1)
    assert farthest(spec, info, moving(info, 3)) <= 0.51
    small = video("yuv420p", 40, 30)
    assert farthest(spec, small, moving(small, 3)) <= 0.51


@pytest.mark.parametrize("options", [":tile=64", ":tile=64:overlap=0", ":tile=64:batch=5"])
@pytest.mark.parametrize("form", ["two", "film", "six-time"])
def test_tiles_and_batches_make_the_same_picture(network, form, options):
    info = video("yuv420p10le", 150, 90)
    spec = network(form)
    frames = moving(info, 3)
    rate = F(50) if form in UNTIMED else F(125)
    whole, tiled = drawings(spec, info, frames, rate), drawings(spec + options, info, frames, rate)
    for (_, a), (_, b) in zip(whole, tiled, strict=True):
        for x, y in zip(a, b, strict=True):
            for p, q in zip(x.planes, y.planes, strict=True):
                assert np.abs(p.astype(int) - q).max() <= 1


def test_what_is_not_finite_is_drawn_by_flow_and_counted(network, caplog):
    info = video()
    frames = moving(info, 3)
    runner = WindowRunner(network(nan=True), info, F(50))
    rolling = RollingWindow(runner.shape, F(50), Same(), F(1, 25))
    path = [window for frame in frames for window in rolling.push(frame)] + list(rolling.finish())
    made = [f for f in drawn_path(path, runner) if f.made is Made.INTERPOLATED]
    assert len(made) == runner.fallbacks == 2
    assert {frame.credit.engine for frame in made} == {"flow"}
    (said,) = caplog.messages  # once
    assert said.startswith("engine onnx: ")
    assert said.endswith("makes NaN or infinite values after 0.000 s; such pictures are not used")
    runner.close()


def test_nothing_is_drawn_across_cuts_and_duplicates(network):
    info = video()
    frames = tuple(moving(info, 2))
    engine = engines.build(network())
    engine.open(info, F(60))
    for intervals in ((Interval(Join.CUT, True),), (Interval(Join.DUPLICATE, False),)):
        window = Window(0, frames, 0, 1, intervals, ())
        assert list(engine.draw(window, engine.prepare(window))) == []
    engine.close()


def test_auto_asks_it_and_takes_nothing_of_a_cross_fade(network):
    info = video(width=128, height=96)
    frames = moving(info, 3)
    models = ModelOptions(onnx_model=network().partition("=")[2])
    engine = engines.build("auto:with=onnx:hard=0", models)
    assert [partner.name for partner in engine.partners] == ["flow", "onnx"]
    assert type(engine.partners[1]).moves_keyframes
    shape = engine.open(info, F(50))
    flow = {w.index: drawn for w, drawn in drawings("flow", info, frames, F(50))}
    for window in windows(frames, shape, F(50)):
        for picture, alone in zip(
            engine.draw(window, engine.prepare(window)), flow[window.index], strict=True
        ):
            assert picture.choice.tried in ("onnx", None)  # None: nothing is easier
            assert np.abs(picture.planes[0].astype(int) - alone.planes[0]).mean() < 1
    engine.close()


def test_cancelling_ends_it(network):
    info = video()
    engine = engines.build(network())
    shape = engine.open(info, F(60))
    window = next(iter(windows(moving(info, 2), shape)))
    engine.cancel()
    with pytest.raises(Stopped):
        list(engine.draw(window, engine.prepare(window)))
    engine.close()
    engine.cancel()
    engine.open(info, F(60))
    assert list(engine.draw(window, engine.prepare(window)))
    engine.close()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"", "Protobuf|Load model|model"), (b"\x08\x08nonsense", "odel")],
)
def test_files_that_are_no_network(tmp_path, content, message):
    path = tmp_path / "x.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EngineUnavailableError, match=message) as raised:
        engines.build(f"onnx:model={path}").open(video(), F(50))
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_networks_for_something_else_are_refused(network, tmp_path):
    from onnx import TensorProto, helper, save

    def one_input(*shape, kind=TensorProto.FLOAT):
        given = helper.make_tensor_value_info("pixels", kind, shape)
        made = helper.make_tensor_value_info("y", kind, shape)
        node = helper.make_node("Identity", ["pixels"], ["y"])
        graph = helper.make_graph([node], "g", [given], [made])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        save(model, tmp_path / "other.onnx")
        return f"onnx:model={tmp_path / 'other.onnx'}"

    for shape, kind, message in (
        ((1, 3, 64, 64), TensorProto.FLOAT, r"its inputs are pixels float\[1, 3, 64, 64\]; known"),
        ((1, 1000), TensorProto.FLOAT, "known are two pictures"),
        ((1, 6, 64, 64), TensorProto.INT64, "neither float nor float16"),
    ):
        with pytest.raises(EngineUnavailableError, match=message):
            engines.build(one_input(*shape, kind=kind)).open(video(), F(50))
    with pytest.raises(EngineUnavailableError, match="no network for frames between"):
        engines.build(network("two", channels=1)).open(video(), F(50))
    with pytest.raises(EngineUnavailableError, match=r"ltxfilter\.range is 'loud'"):
        engines.build(network("two", metadata={"ltxfilter.range": "loud"})).open(video(), F(50))


def test_a_file_has_to_be_named():
    with pytest.raises(EngineUnavailableError, match="--onnx-model FILE"):
        engines.build("onnx").open(video(), F(50))
    with pytest.raises(OptionError, match="provider=abacus"):
        engines.build("onnx:provider=abacus")
    assert engines.build("onnx").needed_files == ("onnx_model",)
    assert engines.build("onnx:model=x").needed_files == ()


def test_the_file_of_the_model_options_is_taken(network):
    path = network().partition("=")[2]
    engine = engines.build("onnx", ModelOptions(onnx_model=path))
    shape = engine.open(video(), F(50))
    assert shape.work_bytes > Path(path).stat().st_size
    engine.close()


def test_a_provider_that_is_not_installed_is_named(network):
    import onnxruntime

    if "DmlExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has DirectML")
    with pytest.raises(EngineUnavailableError, match=r"provider=directml: .* has .*cpu"):
        engines.build(network(options=":provider=directml")).open(video(), F(50))


def test_a_failing_run_is_an_error_of_the_engine(network):
    path = network("two", size=(600, 600), channels=1).partition("=")[2]  # too large to be tried
    engine = engines.build(f"onnx:model={path}")
    shape = engine.open(video(), F(50))
    window = next(iter(windows(moving(video(), 2), shape, F(50))))
    with pytest.raises(EngineError, match=r"^engine onnx: "):
        list(engine.draw(window, None))
    engine.close()


def test_the_doctor_says_what_a_file_is(network, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = network("eleven", half=True).partition("=")[2]
    assert main.run(["doctor", "--onnx-model", path]) == 0
    said = next(
        line for line in capsys.readouterr().out.splitlines() if line.startswith("onnx model")
    )
    assert "one input of 11 channels, any time, float16, channels first, any size" in said
    assert "multiples of 32" in said
    assert describe_network(network("film").partition("=")[2])[0].endswith(
        "two pictures, any time, float32, channels last, any size, sides in multiples of 32"
    )
    assert describe_network(str(tmp_path / "none.onnx")) == (
        "",
        f"engine onnx: {tmp_path / 'none.onnx'}: no such file",
    )


def test_coordinates_are_those_of_the_tile(network):
    form = Network(network("eleven").partition("=")[2], NetworkSettings()).form
    picture = np.zeros((3, 4, 6), np.float32)
    stack = form.feeds[0].of([(picture, picture + 1)], [0.25])[0]
    assert stack.shape == (11, 4, 6)
    assert (stack[3:6] == 1).all()
    assert (stack[6] == 0.25).all()
    assert stack[7, 0] == pytest.approx(np.linspace(-1, 1, 6))
    assert stack[8, :, 0] == pytest.approx(np.linspace(-1, 1, 4))
    assert stack[9, 0, 0] == pytest.approx(2 / 5)
    assert stack[10, 0, 0] == pytest.approx(2 / 3)
