"""Tensors on a GPU that is not there: sizes, dtypes and devices, no numbers; copies are counted.

FakeTensorMode refuses operations that mix devices, and those whose result the host must see. A
build of torch for CPUs asks for a CUDA guard in a few functions of Tensor, in which no operation is
seen; these are written in operations here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from support import interpreted

interpreted.load()  # or what follows loads Triton without its interpreter

from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
CUDA = torch.device("cuda:0")


@contextmanager
def fake_cuda() -> Iterator[None]:
    """Let tensors be made on CUDA without a device."""
    with _Guarded(), FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        yield


class Copies(TorchDispatchMode):
    """Counts the operations between the host's memory and the device's, and those in 64 bits."""

    def __init__(self) -> None:
        super().__init__()
        self.up: Counter[str] = Counter()
        self.down: Counter[str] = Counter()
        self.doubles: Counter[str] = Counter()  # with a result in double precision on the device
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations += 1
        given, made = _devices((args, kwargs)), _devices(result)
        if "cpu" in given and "cuda" in made - given:
            self.up[func.__name__] += 1
        if "cuda" in given and "cpu" in made - given:
            self.down[func.__name__] += 1
        if any(each.is_cuda and each.dtype is torch.float64 for each in _tensors(result)):
            self.doubles[func.__name__] += 1
        return result


def _devices(values: Any) -> set[str]:
    return {value.device.type for value in _tensors(values)}


def _tensors(values: Any) -> list[torch.Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


class _Guarded(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if func is torch.Tensor.__getitem__:
            return _part(*args)
        if func is torch.Tensor.__setitem__:
            part, value = _part(*args[:2]), args[2]
            return aten.copy_(part, value) if isinstance(value, torch.Tensor) else part.fill_(value)
        if name == "contiguous":
            return aten.clone(args[0], memory_format=torch.contiguous_format)
        if name == "unflatten":
            value, place, size = args
            place %= value.dim()
            return value.reshape(*value.shape[:place], *size, *value.shape[place + 1 :])
        return func(*args, **(kwargs or {}))


def _part(value: torch.Tensor, key: Any) -> torch.Tensor:
    """Return value[key]."""
    keys = list(key) if isinstance(key, tuple) else [key]
    named = sum(one is not None and one is not Ellipsis for one in keys)
    place, indices, skip = 0, {}, value.dim() - named
    for one in keys:
        if one is Ellipsis:
            place += skip
        elif one is None:
            value, place = aten.unsqueeze(value, place), place + 1
        elif isinstance(one, slice):
            value = aten.slice(value, place, one.start, one.stop, one.step or 1)
            place += 1
        elif isinstance(one, (torch.Tensor, list)):
            indices[place] = torch.as_tensor(one, device=value.device)
            place += 1
        else:
            value = aten.select(value, place, one)
    return (
        aten.index(value, [indices.get(n) for n in range(max(indices) + 1)]) if indices else value
    )
