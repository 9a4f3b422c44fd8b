"""Functions of tensors that run again and again at the same sizes: as CUDA graphs.

A graph replays what a function did once, at the same places in memory, without Python and without
launching its kernels one by one. Knows nothing of what it runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

from ltxfilter.errors import EngineUnavailableError
from ltxfilter.motion.cuda.device import alone

log = logging.getLogger("ltxfilter.engines")

MODES = ("auto", "on", "off")
MOST = 32  # graphs that are kept; what else comes up runs as usual
MOST_TOKENS = 8192  # of a step that "auto" replays: what is larger keeps a GPU busy by itself
WARMUPS = 2  # runs before a capture, in which libraries set themselves up

Function = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]  # inputs, constants -> result
Replay = Callable[[], Tensor]  # computes from fixed places, returns the place of the result


class Shelf:
    """Fixed places of constants, for all functions that read constants of these sizes."""

    def __init__(self, values: Sequence[Tensor]) -> None:
        self.places = [value.clone() for value in values]
        self._name: Hashable = None

    def put(self, values: Sequence[Tensor], name: Hashable) -> None:
        """Copy values there; those of the name that was given last are there already."""
        if name is None or name != self._name:
            copy(values, self.places)
            self._name = name


class Fixed:
    """A function whose tensors lie at fixed places: inputs are copied there for each run."""

    def __init__(
        self,
        function: Function,
        inputs: Sequence[Tensor],
        shelf: Shelf,
        capture: Callable[[Replay], Replay],
    ) -> None:
        """Make places like the inputs, and capture what the function does there."""
        self._inputs = [value.clone() for value in inputs]
        self._shelf = shelf
        self._replay = capture(lambda: function(self._inputs, shelf.places))

    def __call__(
        self, inputs: Sequence[Tensor], constants: Sequence[Tensor], name: Hashable
    ) -> Tensor:
        """Return the function's result, a tensor of the caller's own. name: of the constants."""
        copy(inputs, self._inputs)
        self._shelf.put(constants, name)
        return self._replay().clone()


class Graphs:
    """Captures functions when they come up a second time at some sizes, and replays them then."""

    def __init__(self, capture: Callable[[Replay], Replay], most_tokens: int = 0) -> None:
        """Keep no graph yet.

        capture: `CudaCapture(device)`, or `uncaptured` to copy and run. most_tokens: of a step
        worth replaying; 0 is no bound.
        """
        self.most_tokens = most_tokens
        self._capture = capture
        self._known: dict[Hashable, Fixed | None] = {}  # None: came up once
        self._shelves: dict[Hashable, Shelf] = {}
        self._failed = False

    def __len__(self) -> int:
        return sum(fixed is not None for fixed in self._known.values())

    def run(
        self,
        key: Hashable,
        function: Function,
        inputs: Sequence[Tensor],
        constants: Sequence[Tensor] = (),
        name: Hashable = None,
    ) -> Tensor:
        """Return the result of `function` for inputs and constants.

        key: equal for calls that do the same but for what their tensors hold; sizes need not be
        in it. name: of the constants, so that equal ones are not copied again; None always copies.
        """
        if self._failed:
            return function(inputs, constants)
        place = key, sizes(inputs), sizes(constants)
        fixed = self._known.get(place)
        if fixed is None:
            fixed = self._made(place, function, inputs, constants)
        return function(inputs, constants) if fixed is None else fixed(inputs, constants, name)

    def _made(
        self,
        place: Hashable,
        function: Function,
        inputs: Sequence[Tensor],
        constants: Sequence[Tensor],
    ) -> Fixed | None:
        """Capture what came up before; return None where there is no graph, or none yet."""
        if place not in self._known:
            if len(self._known) < MOST:
                self._known[place] = None
            return None
        try:
            size = sizes(constants)
            if size not in self._shelves:
                self._shelves[size] = Shelf(constants)
            shelf = self._shelves[size]
            self._known[place] = fixed = Fixed(function, inputs, shelf, self._capture)
        except RuntimeError as error:  # of CUDA: there is no finer class; memory running out too
            self._failed = True
            self._known.clear()
            self._shelves.clear()
            reason = str(error).partition("\n")[0]
            log.warning("drawing goes on without CUDA graphs, more slowly: %s", reason)
            return None
        return fixed


class CudaCapture:
    """Captures functions on one GPU; their graphs share the memory they compute in."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, function: Replay) -> Replay:
        """Return what replays `function`. Raises RuntimeError if it cannot be captured."""
        with torch.cuda.device(self._device):
            here, aside = torch.cuda.current_stream(), torch.cuda.Stream()
            aside.wait_stream(here)
            with torch.cuda.stream(aside):
                for _ in range(WARMUPS):
                    function()
            here.wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            # Threads that decode and encode may go on allocating memory meanwhile.
            mode = "thread_local"
            with alone, torch.cuda.graph(graph, pool=self._pool, capture_error_mode=mode):
                result = function()

        def replay() -> Tensor:
            graph.replay()
            return result

        return replay


def check_graphs(mode: str, device: torch.device) -> str:
    """Return `mode`. Raises EngineUnavailableError for "on" without a GPU."""
    if mode == "on" and device.type != "cuda":
        raise EngineUnavailableError(
            f"option graphs=on: {device} has no CUDA graphs; draw with graphs=auto or off"
        )
    return mode


def choose_graphs(mode: str, device: torch.device) -> Graphs | None:
    """Return what replays steps on a device, None to run them as they come.

    mode: "auto" and "on" both capture on a GPU, "auto" only what is small enough to gain by it.
    """
    if mode == "off" or device.type != "cuda":
        return None
    return Graphs(CudaCapture(device), MOST_TOKENS if mode == "auto" else 0)


def uncaptured(function: Replay) -> Replay:
    """Return the function itself: the same copies and the same places, on any device."""
    return function


def copy(values: Sequence[Tensor], places: Sequence[Tensor]) -> None:
    """Copy tensors to where a graph expects them."""
    for value, place in zip(values, places, strict=True):
        place.copy_(value, non_blocking=True)


def sizes(values: Sequence[Tensor]) -> Hashable:
    """Return what must be equal for tensors to share a place."""
    return tuple((value.shape, value.dtype) for value in values)
