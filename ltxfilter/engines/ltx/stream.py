"""A transformer larger than the device: its blocks wait in host memory, two at a time are there."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn

SLOTS = 2  # blocks on the device: one computes while the next one arrives


class BlockStream:
    """Brings each block to the device just before it runs, and the next one meanwhile.

    Every block has the same tensors, so that two sets of them on the device do for all.
    """

    def __init__(self, blocks: nn.ModuleList, device: torch.device) -> None:
        """Take over blocks that are in host memory; it is pinned if the device is a GPU."""
        self._device = device
        self._blocks = list(blocks)
        self._homes = [[self._at_home(value) for value in tensors(b)] for b in self._blocks]
        self._slots = [
            [torch.empty_like(home, device=device) for home in self._homes[0]] for _ in range(SLOTS)
        ]
        self._holds: list[int | None] = [None] * SLOTS  # the number of the block that is in it
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._arrived = [self._event() for _ in range(SLOTS)]
        self._left = [self._event() for _ in range(SLOTS)]
        for number, block in enumerate(self._blocks):
            attach(block, self._homes[number])
            block.register_forward_pre_hook(partial(self._before, number))
            block.register_forward_hook(partial(self._after, number))

    def _at_home(self, value: torch.Tensor) -> torch.Tensor:
        home = value.detach().cpu()
        return home.pin_memory() if self._device.type == "cuda" else home

    def _event(self) -> torch.cuda.Event | None:
        return torch.cuda.Event() if self._stream else None

    def _before(self, number: int, *_: object) -> None:
        """Wait for a block, and send for the one that follows it."""
        if number not in self._holds:
            self._fetch(number, 0)
        slot = self._holds.index(number)
        if self._stream:
            torch.cuda.current_stream(self._device).wait_event(self._arrived[slot])
        attach(self._blocks[number], self._slots[slot])
        following = (number + 1) % len(self._blocks)
        if following not in self._holds:
            self._fetch(following, 1 - slot)

    def _after(self, number: int, *_: object) -> None:
        slot = self._holds.index(number)
        if left := self._left[slot]:
            left.record(torch.cuda.current_stream(self._device))
        attach(self._blocks[number], self._homes[number])

    def _fetch(self, number: int, slot: int) -> None:
        """Copy a block into a slot, once the block that was in it has run."""
        self._holds[slot] = number
        with torch.cuda.stream(self._stream):  # which does nothing without a stream
            if self._stream:
                self._stream.wait_event(self._left[slot])
            for place, home in zip(self._slots[slot], self._homes[number], strict=True):
                place.copy_(home, non_blocking=True)
            if arrived := self._arrived[slot]:
                arrived.record(self._stream)


def stream_blocks(model: nn.Module, device: torch.device) -> BlockStream:
    """Move a transformer from host memory to a device, all but its blocks, which it streams."""
    blocks = model.transformer_blocks
    model.transformer_blocks = nn.ModuleList()
    model.to(device)
    model.transformer_blocks = blocks
    return BlockStream(blocks, device)


def tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    """Yield the values of a module, always in the same order."""
    for layer in module.modules():
        for own in (layer._parameters, layer._buffers):
            yield from (value.data for value in own.values() if value is not None)


def attach(module: nn.Module, values: list[torch.Tensor]) -> None:
    """Let a module compute with other values than its own, in the order of `tensors`."""
    rest = iter(values)
    for layer in module.modules():
        for own in (layer._parameters, layer._buffers):
            for value in own.values():
                if value is not None:
                    value.data = next(rest)
