"""CUDA graphs of functions of tensors that run again and again at the same sizes.

A graph replays the kernels that a function launched once, on the same memory, without Python and
without launching them one by one. This module does not know what the functions compute.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

from ltxfilter.errors import EngineUnavailableError
from ltxfilter.motion.cuda.device import CAPTURE_LOCK

log = logging.getLogger("ltxfilter.engines")

MAX_GRAPHS = 32  # that are kept; functions beyond that run as usual
MAX_TOKENS = 8192  # of a step that "auto" replays: larger steps keep a GPU busy without graphs
WARMUPS = 2  # runs before a capture, in which libraries initialise themselves

Function = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]  # inputs, constants -> result
Replay = Callable[[], Tensor]  # computes from fixed buffers, returns the buffer of the result


class ConstantBuffers:
    """The buffers that graphs read constants of certain sizes from; graphs share them."""

    def __init__(self, values: Sequence[Tensor]) -> None:
        """Allocate buffers like `values`."""
        self.buffers = [value.clone() for value in values]
        self._identity: Hashable = None

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

    def __call__(
        self, inputs: Sequence[Tensor], constants: Sequence[Tensor], identity: Hashable
    ) -> Tensor:
        """Return the function's result as a new tensor. identity: as of `GraphCache.run`."""
        copy_tensors(inputs, self._inputs)
        self._constants.fill(constants, identity)
        return self._replay().clone()


class GraphCache:
    """Captures functions when they run a second time at the same sizes, and replays them then."""

    def __init__(self, capture: Callable[[Replay], Replay], max_tokens: int = 0) -> None:
        """Start without graphs.

        capture: `CudaCapture(device)`, or `uncaptured`, which only copies and runs. max_tokens:
        tokens of the largest step that is worth replaying; 0 is no bound.
        """
        self.max_tokens = max_tokens
        self._capture = capture
        self._captured: dict[Hashable, CapturedFunction | None] = {}  # None: has run once
        self._constants: dict[Hashable, ConstantBuffers] = {}  # by the sizes of constants
        self._failed = False

    def __len__(self) -> int:
        return sum(function is not None for function in self._captured.values())

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
            size = sizes(constants)
            if size not in self._constants:
                self._constants[size] = ConstantBuffers(constants)
            buffers = self._constants[size]
            captured = CapturedFunction(function, inputs, buffers, self._capture)
        except RuntimeError as error:  # CUDA raises no finer class, also for too little memory
            self._failed = True
            self._captured.clear()
            self._constants.clear()
            reason = str(error).partition("\n")[0]
            log.warning("CUDA graphs are not used, which is slower: %s", reason)
            return None
        self._captured[entry] = captured
        return captured


class CudaCapture:
    """Captures functions on one GPU; the graphs share a memory pool."""

    def __init__(self, device: torch.device) -> None:
        """Create the memory pool on `device`."""
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, function: Replay) -> Replay:
        """Return a function that replays `function`. Raises RuntimeError if capturing fails."""
        with torch.cuda.device(self._device):
            current, side = torch.cuda.current_stream(), torch.cuda.Stream()
            side.wait_stream(current)
            with torch.cuda.stream(side):
                for _ in range(WARMUPS):
                    function()
            current.wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # Threads that decode and encode may go on allocating memory meanwhile.
            mode = "thread_local"
            with CAPTURE_LOCK, torch.cuda.graph(graph, pool=self._pool, capture_error_mode=mode):
                result = function()

        def replay() -> Tensor:
            graph.replay()
            return result

        return replay


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
    return GraphCache(CudaCapture(device), MAX_TOKENS if mode == "auto" else 0)


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
