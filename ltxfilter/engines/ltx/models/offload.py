"""A transformer larger than the device: its blocks stay in host memory and are copied in turn."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn

BUFFERS = 2  # blocks on the device: one computes while the next one is copied


class OffloadedBlocks:
    """Copies each block to the device just before it runs, and the next one meanwhile.

    All blocks have tensors of the same sizes, so that two sets of buffers on the device serve all.
    """

    def __init__(self, blocks: nn.ModuleList, device: torch.device) -> None:
        """Take over blocks in host memory, which is pinned if the device is a GPU."""
        self._device = device
        self._blocks = list(blocks)
        self._stream = torch.cuda.Stream(device) if has_streams(device) else None
        self._host: list[list[torch.Tensor]] = []  # tensors of each block in host memory
        for number, block in enumerate(self._blocks):  # one by one: pinning doubles a block
            host = [self._to_host(value) for value in module_tensors(block)]
            set_tensors(block, host)
            self._host.append(host)
            block.register_forward_pre_hook(partial(self._before, number))
            block.register_forward_hook(partial(self._after, number))
        self._buffers = [[self._buffer(value) for value in self._host[0]] for _ in range(BUFFERS)]
        self._contents: list[int | None] = [None] * BUFFERS  # number of the block in each buffer
        self._copied = [torch.cuda.Event() if self._stream else None for _ in range(BUFFERS)]

    def _to_host(self, value: torch.Tensor) -> torch.Tensor:
        host = value.detach().cpu()
        return host.pin_memory() if self._stream else host

    def _buffer(self, host: torch.Tensor) -> torch.Tensor:
        """Return a buffer on the device that torch does not reuse while a copy is under way."""
        buffer = torch.empty_like(host, device=self._device)
        if self._stream:
            buffer.record_stream(self._stream)
        return buffer

    def _before(self, number: int, *_: object) -> None:
        """Wait for a block to arrive, and start copying the block that follows it."""
        if number not in self._contents:
            self._copy(number, 0)
        index = self._contents.index(number)
        if copied := self._copied[index]:
            torch.cuda.current_stream(self._device).wait_event(copied)
        set_tensors(self._blocks[number], self._buffers[index])
        following = (number + 1) % len(self._blocks)
        if following not in self._contents:
            self._copy(following, 1 - index)

    def _after(self, number: int, *_: object) -> None:
        set_tensors(self._blocks[number], self._host[number])

    def _copy(self, number: int, index: int) -> None:
        """Copy a block into a buffer once the device has done all work that was queued before.

        That includes the work of the block that was there, even if it failed, and any earlier use
        of the buffer's memory. The block that is about to run is not queued yet.
        """
        self._contents[index] = number
        if self._stream:
            self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):  # has no effect without a stream
            for buffer, host in zip(self._buffers[index], self._host[number], strict=True):
                buffer.copy_(host, non_blocking=True)
            if copied := self._copied[index]:
                copied.record(self._stream)


def offload_blocks(model: nn.Module, device: torch.device) -> OffloadedBlocks:
    """Move a transformer from host memory to a device, except for its blocks; offload those."""
    blocks = model.transformer_blocks
    model.transformer_blocks = nn.ModuleList()
    model.to(device)
    model.transformer_blocks = blocks
    return OffloadedBlocks(blocks, device)


def has_streams(device: torch.device) -> bool:
    """Return True for a device that copies while it computes."""
    return device.type == "cuda"


def module_tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    """Yield the parameters and buffers of a module, always in the same order."""
    for layer in module.modules():
        for named in (layer._parameters, layer._buffers):
            yield from (value.data for value in named.values() if value is not None)


def set_tensors(module: nn.Module, values: list[torch.Tensor]) -> None:
    """Let a module compute with other tensors, given in the order of `module_tensors`."""
    rest = iter(values)
    for layer in module.modules():
        for named in (layer._parameters, layer._buffers):
            for value in named.values():
                if value is not None:
                    value.data = next(rest)
