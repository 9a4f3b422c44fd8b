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
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._homes: list[list[torch.Tensor]] = []
        for number, block in enumerate(self._blocks):  # one after another: each is there twice
            home = [self._at_home(value) for value in tensors(block)]
            attach(block, home)
            self._homes.append(home)
            block.register_forward_pre_hook(partial(self._before, number))
            block.register_forward_hook(partial(self._after, number))
        self._slots = [[self._place(home) for home in self._homes[0]] for _ in range(SLOTS)]
        self._holds: list[int | None] = [None] * SLOTS  # the number of the block that is in it
        self._arrived = [torch.cuda.Event() if self._stream else None for _ in range(SLOTS)]

    def _at_home(self, value: torch.Tensor) -> torch.Tensor:
        home = value.detach().cpu()
        return home.pin_memory() if self._stream else home

    def _place(self, home: torch.Tensor) -> torch.Tensor:
        """Return room on the device, which is not given away while something is on its way."""
        place = torch.empty_like(home, device=self._device)
        if self._stream:
            place.record_stream(self._stream)
        return place

    def _before(self, number: int, *_: object) -> None:
        """Wait for a block, and send for the one that follows it."""
        if number not in self._holds:
            self._fetch(number, 0)
        slot = self._holds.index(number)
        if arrived := self._arrived[slot]:
            torch.cuda.current_stream(self._device).wait_event(arrived)
        attach(self._blocks[number], self._slots[slot])
        following = (number + 1) % len(self._blocks)
        if following not in self._holds:
            self._fetch(following, 1 - slot)

    def _after(self, number: int, *_: object) -> None:
        attach(self._blocks[number], self._homes[number])

    def _fetch(self, number: int, slot: int) -> None:
        """Copy a block into a slot, once all is done that was asked for before.

        That covers the block that was there, whether it came to its end or not, and whatever had
        the slot's memory before. The block that is about to run is not asked for yet.
        """
        self._holds[slot] = number
        if self._stream:
            self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):  # which does nothing without a stream
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
