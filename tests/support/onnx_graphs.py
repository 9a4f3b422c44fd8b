"""Small networks in ONNX, one per form of inputs: they cross-fade, so what they make is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FORMS = ("two", "two-time", "two-plane", "film", "six", "six-time", "seven", "eleven")
UNTIMED = ("two", "six")
OPSET, IR = 17, 8  # what the oldest ONNX Runtime that is supported reads


def build(
    path: Path,
    form: str = "two",
    *,
    half: bool = False,
    size: tuple[int, int] | None = None,
    batch: int | None = None,
    divisor: int = 0,
    top: float | None = None,
    nan: bool = False,
    channels: int = 3,
    metadata: dict[str, str] | None = None,
) -> str:
    """Write a network and return its path.

    half: in float16. size, batch: fixed ones. divisor: sides have to be divisible by it.
    top: values are clipped to 0..top. nan: it makes NaN. channels: of its output.
    """
    graph = _Graph(TensorProto.FLOAT16 if half else TensorProto.FLOAT)
    rows, columns = size or ("rows", "columns")
    left, right, time = graph.inputs_of(form, batch or "batch", rows, columns)
    if form in ("two-time", "film", "six-time"):
        time = graph.add("Reshape", time, graph.ints([-1, 1, 1, 1]))
    out = graph.add("Add", left, graph.add("Mul", graph.add("Sub", right, left), time))
    if divisor:
        pooled = graph.add("AveragePool", out, kernel_shape=[divisor] * 2, strides=[divisor] * 2)
        scales = graph.constant(np.array([1, 1, divisor, divisor], np.float32))
        large = graph.add("Resize", pooled, "", scales, mode="nearest")
        out = graph.add("Add", out, graph.add("Mul", large, graph.number(0)))
    if top is not None:
        out = graph.add("Clip", out, graph.number(0), graph.number(top))
    if nan:
        out = graph.add("Add", out, graph.add("Log", graph.number(-1)))
    if channels != 3:
        out = graph.slice(out, 0, channels)
    sizes = [batch or "batch", rows, columns]
    sizes.insert(3 if form == "film" else 1, channels)
    graph.write(path, out, sizes, metadata or {})
    return str(path)


class _Graph:
    """A graph that is being written."""

    def __init__(self, kind: int) -> None:
        self.kind = kind
        self.dtype = np.float16 if kind == TensorProto.FLOAT16 else np.float32
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.constants: list[onnx.TensorProto] = []

    def inputs_of(self, form, batch, rows, columns) -> tuple[str, str, str]:
        """Declare the inputs of a form; return the names of both pictures and of the time."""

        def given(name, *shape):
            self.inputs.append(helper.make_tensor_value_info(name, self.kind, shape))
            return name

        if form == "film":
            time = given("time", batch, 1)
            pictures = given("x0", batch, rows, columns, 3), given("x1", batch, rows, columns, 3)
            return (*pictures, time)
        if form.startswith("two"):
            left, right = (given(name, batch, 3, rows, columns) for name in ("img0", "img1"))
            if form == "two":
                return left, right, self.number(0.5)
            plane = (batch, 1, rows, columns)
            return left, right, given("t", *(plane if form == "two-plane" else (1,)))
        count = {"six": 6, "six-time": 6, "seven": 7, "eleven": 11}[form]
        stack = given("input", batch, count, rows, columns)
        left, right = self.slice(stack, 0, 3), self.slice(stack, 3, 6)
        if form == "six":
            return left, right, self.number(0.5)
        return left, right, given("t", batch) if count == 6 else self.slice(stack, 6, 7)

    def add(self, operation: str, *inputs: str, **attributes) -> str:
        name = f"{operation}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, inputs, [name], **attributes))
        return name

    def slice(self, name: str, begin: int, end: int) -> str:
        return self.add("Slice", name, self.ints([begin]), self.ints([end]), self.ints([1]))

    def constant(self, values: np.ndarray) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def ints(self, values: list[int]) -> str:
        return self.constant(np.array(values, np.int64))

    def number(self, value: float) -> str:
        return self.constant(np.array(value, self.dtype))

    def write(self, path: Path, output: str, sizes: list, metadata: dict[str, str]) -> None:
        self.nodes.append(helper.make_node("Identity", [output], ["output"]))
        made = helper.make_tensor_value_info("output", self.kind, sizes)
        graph = helper.make_graph(self.nodes, "network", self.inputs, [made], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = IR
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model)
        onnx.save(model, path)
