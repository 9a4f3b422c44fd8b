"""A stand-in for a CUDA device's streams, events and graphs that finds races, without a device.

Operations run at once on the CPU, but the stand-in notes on which stream each was queued, and which
memory it reads and writes. Every stream has a vector clock, as has the host: waiting for an event
merges the event's clock. An operation is in order if its stream's clock covers whatever it depends
on: the latest write of what it reads, and all uses of what it writes. Memory that is freed is in
order if the stream it was allocated on, or the host, covers all uses on other streams, or if
`record_stream` named them: torch's allocator hands it out again to later work of that stream.

Simplified: there is one clock for all threads of the host, and a kernel of Triton is taken to read
and write every tensor it is given. Kernels do not run.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from support import interpreted

interpreted.load()  # or the modes below load Triton without its interpreter

from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import ltxfilter

ROOT = Path(ltxfilter.__file__).parent
BENEATH = ("motion/cuda/device.py", "motion/cuda/graphs/capture.py")  # whose callers count
POOL = 32  # streams of one priority that torch hands out in turn
HOST = -1  # the host's number among the streams
Clock = dict[int, int]


def merge(clock: Clock, other: Clock) -> None:
    for stream, time in other.items():
        clock[stream] = max(clock.get(stream, 0), time)


@dataclass(eq=False)
class Memory:
    """One allocation, and who used it last."""

    alive: StorageWeakRef
    home: int  # the stream it was allocated on
    label: str
    host: bool = False
    pinned: bool = False
    in_graph: bool = False  # of a graph's pool: not handed out again while the graph lives
    written: tuple[int, int] | None = None  # stream and time
    read: Clock = field(default_factory=dict)
    recorded: set[int] = field(default_factory=set)  # streams that record_stream named


@dataclass(frozen=True)
class Use:
    """What an operation does to an allocation."""

    memory: Memory
    write: bool
    label: str


class QueuedDevice:
    """The whole stand-in; `installed` puts it in torch's place."""

    def __init__(self, ignored: tuple[str, str] | None = None) -> None:
        """ignored: a place and a kind of `sites`, whose calls then do nothing."""
        self.ignored = ignored
        self.sites: dict[tuple[str, str], int] = {}  # calls that order work: place, kind -> count
        self.hazards: list[str] = []
        self.clocks: dict[int, Clock] = {0: {}, HOST: {}}
        self.memories: dict[int, Memory] = {}
        self.made = {0: 0, -1: 0}  # streams by priority
        self.capturing: tuple[int, list[Use]] | None = None
        self.failing: list[str] = []  # "begin", "inside" or "end": of the captures that follow
        self.kept: list[Any] = []  # tensors of graphs' pools
        self.captures = 0
        self.waits = 0  # of the host for the device
        self._current = threading.local()

    # What orders work.

    @property
    def current(self) -> FakeStream:
        return getattr(self._current, "stream", None) or FakeStream(self, number=0)

    def set_current(self, stream: FakeStream | None) -> None:
        self._current.stream = stream or self.current

    def orders(self, kind: str) -> bool:
        """Note a call that orders work; return False if it is to be ignored."""
        site = place(), kind
        self.sites[site] = self.sites.get(site, 0) + 1
        return site != self.ignored

    def host_waits(self, clock: Clock) -> None:
        if self.capturing is not None:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.look_for_freed()
        self.waits += 1
        merge(self.clocks[HOST], clock)

    def synchronize(self, *_: object) -> None:
        if self.orders("synchronize"):
            self.wait_for_all()

    def wait_for_all(self) -> None:
        for clock in list(self.clocks.values()):
            self.host_waits(clock)

    # What uses memory.

    def memory(self, tensor: torch.Tensor, label: str = "") -> Memory:
        storage = tensor.untyped_storage()
        found = self.memories.get(storage._cdata)
        if found is None:
            found = Memory(StorageWeakRef(storage), self.current.number, label or place())
            found.in_graph = self.captured_here()
            self.memories[storage._cdata] = found
            if found.in_graph:
                self.kept.append(tensor)
        return found

    def captured_here(self) -> bool:
        return self.capturing is not None and self.capturing[0] == self.current.number

    def run(self, uses: list[Use]) -> None:
        """Queue an operation on the current stream, or put it into the graph under way."""
        self.look_for_freed()
        stream = self.current.number
        if self.capturing is not None and self.capturing[0] == stream:
            self.capturing[1].extend(uses)
            return
        clock = self.clocks[stream]
        merge(clock, self.clocks[HOST])
        clock[stream] = clock.get(stream, 0) + 1
        for use in uses:
            self.check(use, stream)

    def host_uses(self, tensor: torch.Tensor) -> None:
        """Let the host read and write a tensor in its memory."""
        clock = self.clocks[HOST]
        clock[HOST] = clock.get(HOST, 0) + 1
        self.check(Use(self.memory(tensor), True, "the host"), HOST)

    def check(self, use: Use, stream: int) -> None:
        clock, memory = self.clocks[stream], use.memory
        time = clock.get(stream, 0)
        if memory.written and uncovered(clock, stream, *memory.written):
            self.hazard(f"{use.label} uses memory of {memory.label} before it is written")
        if use.write:
            for reader, when in memory.read.items():
                if uncovered(clock, stream, reader, when):
                    self.hazard(f"{use.label} writes memory of {memory.label} while it is read")
            memory.written, memory.read = (stream, time), {}
        else:
            memory.read[stream] = time

    def look_for_freed(self) -> None:
        """Check memory that has been freed since the last call."""
        for key, memory in list(self.memories.items()):
            if memory.alive.expired():
                del self.memories[key]
                if not memory.host and not memory.in_graph:
                    self.check_freed(memory)

    def check_freed(self, memory: Memory) -> None:
        covered = dict(self.clocks[memory.home])
        merge(covered, self.clocks[HOST])
        uses = [*memory.read.items(), *([memory.written] if memory.written else [])]
        for stream, time in uses:
            if stream not in memory.recorded and uncovered(covered, memory.home, stream, time):
                self.hazard(f"memory of {memory.label} is freed while it is used")

    def hazard(self, text: str) -> None:
        self.hazards.append(text)

    # What takes torch's place.

    def launch(self, kernel: Any, count: int, *args: Any, **constants: Any) -> None:
        name = getattr(kernel, "__name__", "kernel")
        tensors = [arg for arg in args if isinstance(arg, torch.Tensor)]
        self.run([Use(self.memory(tensor), True, name) for tensor in tensors])

    def record_stream(self, tensor: torch.Tensor, stream: FakeStream) -> None:
        if self.orders("record_stream"):
            self.memory(tensor).recorded.add(stream.number)

    def pinned(self, *shape: int, dtype: torch.dtype) -> torch.Tensor:
        return self.mark_host(torch.empty(shape, dtype=dtype), pinned=True)

    def mark_host(self, tensor: torch.Tensor, *, pinned: bool = False) -> torch.Tensor:
        memory = self.memory(tensor)
        memory.host, memory.pinned = True, pinned
        return tensor

    @contextmanager
    def graph(
        self, graph: FakeGraph, stream: Any = None, pool: Any = None, **_: Any
    ) -> Iterator[None]:
        """Behave as torch.cuda.graph, which stays on its stream where it fails."""
        self.wait_for_all()
        self.captures += 1
        fail = self.failing.pop(0) if self.failing else ""
        before = self.current
        self.set_current(stream or FakeStream(self))
        if fail == "begin":
            raise RuntimeError("capture cannot begin\nand more")
        self.capturing = self.current.number, graph.uses
        try:
            yield
            if fail == "inside":
                raise RuntimeError("operation not permitted when stream is capturing\nand more")
        finally:
            self.capturing = None
            if fail:  # as capture_end does of a capture that has become invalid
                raise RuntimeError(f"capture failed: {fail}\nand more")
        self.set_current(before)

    @contextmanager
    def installed(self, monkeypatch: Any) -> Iterator[QueuedDevice]:
        """Stand where torch.cuda, flow's launches and pinned memory are."""
        from ltxfilter import device_plane
        from ltxfilter.engines.ltx.models import offload
        from ltxfilter.motion.cuda import device
        from ltxfilter.motion.cuda.graphs import capture

        used = contextmanager(self._used)
        for name, value in {
            "Stream": lambda *a, priority=0, **k: FakeStream(self, priority=priority),
            "Event": lambda *a, **k: FakeEvent(self),
            "CUDAGraph": lambda: FakeGraph(self),
            "graph": self.graph,
            "graph_pool_handle": lambda: (0, 1),
            "stream": used,
            "set_stream": self.set_current,
            "current_stream": lambda *_: self.current,
            "default_stream": lambda *_: FakeStream(self, number=0),
            "current_device": lambda: 0,
            "device": lambda *_: nullcontext(),
            "synchronize": self.synchronize,
            "memory_reserved": lambda *_: 0,
            "empty_cache": lambda: None,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)
        record = lambda tensor, stream: self.record_stream(tensor, stream)  # noqa: E731
        monkeypatch.setattr(torch.Tensor, "record_stream", record)
        monkeypatch.setattr(capture, "_streams", {})
        monkeypatch.setattr(offload, "has_streams", lambda _: True)
        on_device = lambda tensor: not self.memory(tensor).host  # noqa: E731
        monkeypatch.setattr(device_plane, "has_streams", on_device)
        for name, value in {
            "NAME": "cpu", "INTERPRETED": False, "STREAMS": True, "missing": lambda: None,
            "launch": self.launch, "launch_patches": self.launch, "pinned": self.pinned,
        }.items():  # fmt: skip
            monkeypatch.setattr(device, name, value)
        with Functions(self), Operations(self):
            yield self
            self.look_for_freed()

    def _used(self, stream: FakeStream | None) -> Iterator[None]:
        before = self.current
        self.set_current(stream)
        try:
            yield
        finally:
            self.set_current(before)


class FakeStream:
    """An order of work. Torch makes POOL of a priority, then hands out the first one again."""

    def __init__(
        self, device: QueuedDevice, *, priority: int = 0, number: int | None = None
    ) -> None:
        self.device = device
        if number is None:
            number = device.made[priority] % POOL + 1 + (1000 if priority else 0)
            device.made[priority] += 1
        self.number = number
        device.clocks.setdefault(number, {})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FakeStream) and other.number == self.number

    def __hash__(self) -> int:
        return self.number

    @property
    def clock(self) -> Clock:
        return self.device.clocks[self.number]

    def record_event(self, event: FakeEvent | None = None) -> FakeEvent:
        event = event or FakeEvent(self.device)
        event.record(self)
        return event

    def wait_event(self, event: FakeEvent) -> None:
        if self.device.orders("wait_event"):
            merge(self.clock, event.clock)

    def wait_stream(self, other: FakeStream) -> None:
        if self.device.orders("wait_stream"):
            merge(self.clock, other.clock)

    def synchronize(self) -> None:
        if self.device.orders("synchronize"):
            self.device.host_waits(self.clock)


class FakeEvent:
    def __init__(self, device: QueuedDevice) -> None:
        self.device, self.clock = device, dict[int, int]()

    def record(self, stream: FakeStream | None = None) -> None:
        if self.device.orders("record"):
            clock = (stream or self.device.current).clock
            merge(clock, self.device.clocks[HOST])
            self.clock = dict(clock)

    def synchronize(self) -> None:
        if self.device.orders("synchronize"):
            self.device.host_waits(self.clock)


class FakeGraph:
    def __init__(self, device: QueuedDevice) -> None:
        self.device, self.uses = device, list[Use]()
        self.replayed: Clock = {}

    def replay(self) -> None:
        self.device.run(self.uses)
        stream = self.device.current
        self.replayed[stream.number] = stream.clock[stream.number]

    def __del__(self) -> None:
        clock = self.device.clocks[HOST]
        if any(uncovered(clock, HOST, *replay) for replay in self.replayed.items()):
            self.device.hazard("a graph is dropped while it runs")


class Operations(TorchDispatchMode):
    """Sees every operation of torch on tensors, with what it reads and writes."""

    def __init__(self, device: QueuedDevice) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func.is_view or "detach" in func.__name__ or "alias" in func.__name__:
            return result
        uses, given = [], set()
        for number, argument in enumerate(func._schema.arguments):
            value = args[number] if number < len(args) else kwargs.get(argument.name)
            write = argument.alias_info is not None and argument.alias_info.is_write
            for tensor in tree_leaves(value):
                if isinstance(tensor, torch.Tensor):
                    memory = self.device.memory(tensor)
                    given.add(id(memory))
                    uses.append(Use(memory, write, func.__name__))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                memory = self.device.memory(tensor)
                if id(memory) not in given and "empty" not in func.__name__:
                    uses.append(Use(memory, True, func.__name__))
        asynchronous = kwargs.get("non_blocking") or any(arg is True for arg in args[2:])
        self.queue(uses, waits="copy_" in func.__name__ and not asynchronous)
        return result

    def queue(self, uses: list[Use], *, waits: bool) -> None:
        """Run an operation; one between the host's memory and the device's may wait."""
        homes = {use.memory.host for use in uses}
        if homes == {True}:  # of the host alone
            return
        self.device.run(uses)
        pageable = any(use.memory.host and not use.memory.pinned for use in uses)
        if len(homes) == 2 and (waits or pageable):
            self.device.host_waits(self.device.current.clock)


class Functions(TorchFunctionMode):
    """Sees what leaves torch, and what moves between the host's memory and the device's."""

    def __init__(self, device: QueuedDevice) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, device = kwargs or {}, self.device
        if func is torch.from_numpy:
            return device.mark_host(func(*args))
        if func in (torch.Tensor.numpy, torch.Tensor.tolist):
            device.host_uses(args[0])
        elif func is torch.Tensor.pin_memory:
            return device.mark_host(device.mark_host(args[0]).clone(), pinned=True)
        elif func is torch.Tensor.cpu:
            return self._to_host(args[0])
        elif func is torch.Tensor.to and device.memory(args[0]).host and names_device(args[1:]):
            return self._copied(args[0])
        return func(*args, **kwargs)

    def _to_host(self, tensor: torch.Tensor) -> torch.Tensor:
        if self.device.memory(tensor).host:
            return tensor
        return self.device.mark_host(self._copied(tensor))

    def _copied(self, tensor: torch.Tensor) -> torch.Tensor:
        copied = torch.clone(tensor)
        self.device.host_waits(self.device.current.clock)
        return copied


def names_device(words: Any) -> bool:
    return any(isinstance(word, (str, torch.device)) for word in words)


def uncovered(clock: Clock, own: int, stream: int, time: int) -> bool:
    """Return True if a clock of stream `own` does not cover what another one did at a time."""
    return stream != own and clock.get(stream, 0) < time


def place() -> str:
    """Return the line of ltxfilter that is being run, beneath which streams are wrapped."""
    frame = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT) and not path.as_posix().endswith(BENEATH):
            return f"{path.relative_to(ROOT).as_posix()}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"


def mutants(run: Callable[[QueuedDevice], None], device: QueuedDevice) -> Iterator[tuple[str, str]]:
    """Yield the calls that order work without which `run` finds nothing wrong."""
    for site in device.sites:
        mutant = QueuedDevice(ignored=site)
        run(mutant)
        if not mutant.hazards:
            yield site
