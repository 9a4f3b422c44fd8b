"""CUDA graphs of functions of tensors that run again and again at the same sizes.

A graph replays the kernels that a function launched once, on the same memory, without Python and
without launching them one by one. This module does not know what the functions compute.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress

import torch
from torch import Tensor

from ltxfilter.errors import EngineUnavailableError
from ltxfilter.motion.cuda.graphs.capture import (
    CAPTURE_LOCK,
    capture,
    capture_stream,
    unsupported,
)

log = logging.getLogger("ltxfilter.engines")

MAX_GRAPHS = 32  # that are kept; functions beyond that run as usual
MAX_TOKENS = 8192  # of a step that "auto" replays: larger steps keep a GPU busy without graphs
BUDGET_DIVISOR = 4  # free memory, once models are loaded and text has its share, divided by it
WARMUPS = 2  # runs before a capture, in which libraries initialise themselves

Function = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]  # inputs, constants -> result
Replay = Callable[[], Tensor]  # computes from fixed buffers, returns the buffer of the result


class ConstantBuffers:
    """The buffers that graphs read constants of certain sizes from; graphs share them."""

    def __init__(self, values: Sequence[Tensor]) -> None:
        """Allocate buffers like `values`."""
        self.buffers = [value.clone() for value in values]
        self._identity: Hashable = None

    @property
    def nbytes(self) -> int:
        """Their bytes of device memory."""
        return total_bytes(self.buffers)

    def fill(self, values: Sequence[Tensor], identity: Hashable) -> None:
        """Copy constants into the buffers unless the latest ones had the same identity."""
        if identity is None or identity != self._identity:
            copy_tensors(values, self.buffers)
            self._identity = identity


class CapturedFunction:
    """A function as a graph on fixed buffers; its inputs are copied there for each run."""

    def __init__(
        self,
        function: Function,
        inputs: Sequence[Tensor],
        constants: ConstantBuffers,
        capture: Callable[[Replay], Replay],
    ) -> None:
        """Allocate buffers like the inputs, and capture the function on them."""
        self._inputs = [value.clone() for value in inputs]
        self._constants = constants
        self._replay = capture(lambda: function(self._inputs, constants.buffers))

    @property
    def nbytes(self) -> int:
        """The bytes of device memory of its inputs."""
        return total_bytes(self._inputs)

    def __call__(
        self, inputs: Sequence[Tensor], constants: Sequence[Tensor], identity: Hashable
    ) -> Tensor:
        """Return the function's result as a new tensor. identity: as of `GraphCache.run`."""
        copy_tensors(inputs, self._inputs)
        self._constants.fill(constants, identity)
        return self._replay().clone()


class GraphCache:
    """Captures functions when they run a second time at the same sizes, and replays them then."""

    def __init__(
        self,
        capture: Callable[[Replay], Replay],
        max_tokens: int = 0,
        budget: int | None = None,
        pool_bytes: Callable[[], int] = lambda: 0,
        finish: Callable[[], None] = lambda: None,
    ) -> None:
        """Start without graphs.

        capture: `CudaCapture(device)`, or `uncaptured`, which only copies and runs. max_tokens:
        tokens of the largest step that is worth replaying; 0 is no bound. budget: bytes of device
        memory for all graphs and their buffers; None is no bound. pool_bytes: returns how many of
        them the graphs themselves take. finish: waits for the work of graphs before they go.
        """
        self.max_tokens = max_tokens
        self.budget = budget
        self._capture = capture
        self._pool_bytes = pool_bytes
        self._finish = finish
        self._captured: dict[Hashable, CapturedFunction | None] = {}  # None: has run once
        self._constants: dict[Hashable, ConstantBuffers] = {}  # by the sizes of constants
        self._refused: int | None = None  # bytes of inputs and constants that are too many
        self._failed = False  # no graph can be captured, whatever its size

    def __len__(self) -> int:
        return sum(function is not None for function in self._captured.values())

    @property
    def nbytes(self) -> int:
        """The bytes of device memory that graphs and their buffers take."""
        captured = [function for function in self._captured.values() if function is not None]
        buffers = sum(constants.nbytes for constants in self._constants.values())
        return buffers + sum(function.nbytes for function in captured) + self._pool_bytes()

    @property
    def settled(self) -> bool:
        """True once every function that has run is captured, or will not be."""
        return self._failed or (bool(self._captured) and None not in self._captured.values())

    def drop(self) -> None:
        """Free all graphs, after their work, and capture none from now on."""
        self._failed = True
        self._finish()
        self._captured.clear()
        self._constants.clear()

    def run(
        self,
        key: Hashable,
        function: Function,
        inputs: Sequence[Tensor],
        constants: Sequence[Tensor] = (),
        identity: Hashable = None,
    ) -> Tensor:
        """Return the result of `function` for inputs and constants.

        key: equal for calls that do the same with other values; sizes need not be in it. identity:
        equal for equal constants, which are then not copied again; None always copies them.
        """
        if self._failed:
            return function(inputs, constants)
        if self._refused is not None and total_bytes((*inputs, *constants)) >= self._refused:
            return function(inputs, constants)
        entry = key, sizes(inputs), sizes(constants)
        captured = self._captured.get(entry)
        if captured is None:
            captured = self._try_capture(entry, function, inputs, constants)
        if captured is None:
            return function(inputs, constants)
        return captured(inputs, constants, identity)

    def _try_capture(
        self,
        entry: Hashable,
        function: Function,
        inputs: Sequence[Tensor],
        constants: Sequence[Tensor],
    ) -> CapturedFunction | None:
        """Capture a function that has run before; return None if there is no graph, or none yet."""
        if entry not in self._captured:
            if len(self._captured) < MAX_GRAPHS:
                self._captured[entry] = None
            return None
        try:
            captured = self._captured_within_budget(function, inputs, constants)
        except torch.OutOfMemoryError as error:
            self._refuse(entry, inputs, constants, str(error))
            return None
        except RuntimeError as error:  # CUDA raises no finer class
            self.drop()
            reason = str(error).partition("\n")[0]
            log.warning("CUDA graphs are not used, which is slower: %s", reason)
            return None
        self._captured[entry] = captured
        return captured

    def _captured_within_budget(
        self, function: Function, inputs: Sequence[Tensor], constants: Sequence[Tensor]
    ) -> CapturedFunction:
        """Capture a function. Raises torch.OutOfMemoryError if the budget or the memory is small.

        What a graph itself takes is known once it is captured.
        """
        size = sizes(constants)
        new = total_bytes(inputs) + (0 if size in self._constants else total_bytes(constants))
        self._check_budget(new)
        buffers = self._constants.get(size) or ConstantBuffers(constants)
        captured = CapturedFunction(function, inputs, buffers, self._capture)
        self._check_budget(new)
        self._constants[size] = buffers
        return captured

    def _check_budget(self, new: int) -> None:
        if self.budget is not None and self.nbytes + new > self.budget:
            wanted, allowed = self.nbytes + new, self.budget
            raise torch.OutOfMemoryError(
                f"graphs would take {wanted / 1e9:.1f} GB of {allowed / 1e9:.1f} GB for them"
            )

    def _refuse(
        self, entry: Hashable, inputs: Sequence[Tensor], constants: Sequence[Tensor], why: str
    ) -> None:
        """Capture nothing as large as this any more; smaller functions keep their graphs."""
        self._refused = total_bytes((*inputs, *constants))
        del self._captured[entry]
        reason = why.partition("\n")[0].partition(". ")[0]
        log.warning("no CUDA graphs of steps as large as this, which is slower: %s", reason)


class CudaCapture:
    """Captures functions on one GPU; the graphs share a memory pool."""

    def __init__(self, device: torch.device) -> None:
        """Create the memory pool on `device`."""
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()
        self.pool_bytes = 0  # of device memory, that captures have added to the pool

    def __call__(self, function: Replay) -> Replay:
        """Return a function that replays `function`. Raises RuntimeError if capturing fails."""
        if reason := unsupported():
            raise RuntimeError(reason)
        with torch.cuda.device(self._device), CAPTURE_LOCK:
            self._warm_up(function)
            torch.cuda.empty_cache()  # as a capture does, so that only its own memory is counted
            before = torch.cuda.memory_reserved()
            graph, result = capture(function, self._pool)
            self.pool_bytes += max(torch.cuda.memory_reserved() - before, 0)

        def replay() -> Tensor:
            graph.replay()
            return result

        return replay

    def finish(self) -> None:
        """Wait until the graphs that this thread has replayed are done."""
        with suppress(RuntimeError):  # a device that has failed has nothing to wait for
            torch.cuda.current_stream(self._device).synchronize()

    @staticmethod
    def _warm_up(function: Replay) -> None:
        """Run a function on the stream that it will be captured on."""
        current, side = torch.cuda.current_stream(), capture_stream()
        side.wait_stream(current)
        try:
            with torch.cuda.stream(side):
                for _ in range(WARMUPS):
                    function()
        finally:  # what the function reads may be freed or written after this
            current.wait_stream(side)


def check_graphs(mode: str, device: torch.device) -> str:
    """Return `mode`. Raises EngineUnavailableError for "on" without a GPU."""
    if mode == "on" and device.type != "cuda":
        raise EngineUnavailableError(
            f"option graphs=on: {device} has no CUDA graphs; use graphs=auto or off"
        )
    return mode


def choose_graphs(mode: str, device: torch.device) -> GraphCache | None:
    """Return a cache of graphs for a device, None if steps are not to be replayed.

    mode: "off", "on", or "auto", which replays steps of at most MAX_TOKENS tokens.
    """
    if mode == "off" or device.type != "cuda":
        return None
    capture_on = CudaCapture(device)
    budget = torch.cuda.mem_get_info(device)[0] // BUDGET_DIVISOR
    tokens = MAX_TOKENS if mode == "auto" else 0
    return GraphCache(capture_on, tokens, budget, lambda: capture_on.pool_bytes, capture_on.finish)


def uncaptured(function: Replay) -> Replay:
    """Return the function itself, for the same copies to the same buffers on any device."""
    return function


def copy_tensors(values: Sequence[Tensor], buffers: Sequence[Tensor]) -> None:
    """Copy tensors into buffers of the same sizes."""
    for value, buffer in zip(values, buffers, strict=True):
        buffer.copy_(value, non_blocking=True)


def sizes(values: Sequence[Tensor]) -> Hashable:
    """Return the shapes and dtypes of tensors, which must be equal to share buffers."""
    return tuple((value.shape, value.dtype) for value in values)


def total_bytes(values: Sequence[Tensor]) -> int:
    """Return the bytes of tensors."""
    return sum(value.nbytes for value in values)
