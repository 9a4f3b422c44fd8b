"""A cache of the prompt's keys and values in the transformer's blocks, per prompt and noise level.

The keys and values of cross-attention depend on the prompt and, in LTX-2.3, on sigma, never on the
picture: they are the same in every window. In LTX-2.3 at its published size they take 0.8 GB for
each prompt and sigma, and using them again saves 3.3 TFLOP a step.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

PROJECTIONS = ("to_k", "to_v")  # of a block's cross-attention
STALE = 500  # steps without use after which a prompt is taken for one of an earlier scene


class TextProjection(nn.Module):
    """A layer that projects the text to keys or values, or takes them from a cache."""

    def __init__(self, layer: nn.Module, cache: TextCache, index: int) -> None:
        """Wrap a layer. index: of the layer among all projections of the text."""
        super().__init__()
        self.layer = layer
        self._cache = cache
        self._index = index

    def forward(self, text: Tensor) -> Tensor:
        """Return the keys or values [B, L, D] of a text [B, L, D']."""
        return self._cache.project(self._index, self.layer, text)


@dataclass(slots=True, eq=False)
class CachedText:
    """The keys and values of one prompt at one sigma."""

    context: Tensor  # [1, L, D']; keeps the tensor alive, so that its address stays a valid key
    tensors: list[Tensor]  # [1, L, D] each: a block's keys, its values, the next block's keys, ...
    serial: int  # differs from that of every other entry of the run
    used: int  # number of the step that used it last

    @property
    def nbytes(self) -> int:
        """Its bytes of device memory."""
        return sum(value.nbytes for value in self.tensors)


class TextCache:
    """The keys and values of a transformer's text, at most `budget` bytes of them.

    Rows of a batch that share a prompt are computed as one row, cached or not, so that both give
    the same numbers. If the budget is too small for all the entries that a window uses in turn, the
    first ones stay: the least recently used entry would always be dropped just before its next use.
    """

    def __init__(self, model: nn.Module, budget: int) -> None:
        """Wrap the text projections of a transformer of ltx_core.

        budget: bytes; 0 caches nothing.
        """
        self.budget = budget  # 0 as well once a single prompt turned out to be larger
        self._entries: dict[Hashable, CachedText] = {}  # in order of use, the latest last
        self._steps = 0
        self._one_prompt = False  # every row of the running step has the same prompt
        self._used: Sequence[Tensor] | None = None  # keys and values for the running step
        self._recorded: list[Tensor] | None = None  # keys and values out of the running step
        attentions = [block.attn2 for block in model.transformer_blocks]
        for number, attention in enumerate(attentions):
            for index, name in enumerate(PROJECTIONS, len(PROJECTIONS) * number):
                layer = getattr(attention, name)
                if isinstance(layer, TextProjection):  # of an earlier cache
                    layer = layer.layer
                setattr(attention, name, TextProjection(layer, self, index))
        self._count = len(PROJECTIONS) * len(attentions)

    @property
    def nbytes(self) -> int:
        """The bytes of device memory that all entries take."""
        return sum(entry.nbytes for entry in self._entries.values())

    def find(self, context: Tensor, sigma: float | None) -> CachedText | None:
        """Return the entry of a prompt [1, L, D'] at a sigma, None if there is none."""
        key = _key(context, sigma)
        if (entry := self._entries.pop(key, None)) is None:
            return None
        self._entries[key] = entry
        self._steps += 1
        entry.used = self._steps
        return entry

    def disable(self) -> None:
        """Drop all entries and cache nothing from now on."""
        self.budget = 0
        self._entries.clear()

    @contextmanager
    def using(self, entry: CachedText | Sequence[Tensor] | None) -> Iterator[None]:
        """Run a step of one prompt with cached keys and values; None computes them from the text.

        entry: a cache entry, or its tensors at another place.
        """
        self._one_prompt = True
        self._used = entry.tensors if isinstance(entry, CachedText) else entry
        try:
            yield
        finally:
            self._one_prompt, self._used = False, None

    @contextmanager
    def recording(self, context: Tensor, sigma: float | None) -> Iterator[None]:
        """Run a step that computes the keys and values of a prompt [1, L, D'], and cache them."""
        self._one_prompt = True
        self._recorded = [context] * self._count if self.budget else None
        try:
            yield
            if self._recorded is not None:
                self._add(context, sigma, self._recorded)
        finally:
            self._one_prompt, self._recorded = False, None

    def project(self, index: int, layer: nn.Module, text: Tensor) -> Tensor:
        """Return the keys or values [B, L, D] of the text [B, L, D'], computed or cached."""
        if not self._one_prompt:
            return layer(text)
        if self._used is not None:
            projected = self._used[index]
        else:
            projected = layer(text[:1])
            if self._recorded is not None:
                self._recorded[index] = projected
        return projected.expand(len(text), -1, -1)

    def _add(self, context: Tensor, sigma: float | None, tensors: list[Tensor]) -> None:
        """Cache keys and values; other entries are dropped if the budget asks for it."""
        self._steps += 1
        entry = CachedText(context, tensors, self._steps, self._steps)
        if entry.nbytes > self.budget:
            self.budget = 0
            return
        while self.nbytes + entry.nbytes > self.budget:
            oldest, latest = next(iter(self._entries)), next(reversed(self._entries))
            stale = self._steps - self._entries[oldest].used > STALE
            del self._entries[oldest if stale else latest]
        self._entries[_key(context, sigma)] = entry


def _key(context: Tensor, sigma: float | None) -> Hashable:
    """Return a key for a prompt's tensor, unique as long as the tensor is alive."""
    version = None if context.is_inference() else context._version
    return context.data_ptr(), tuple(context.shape), context.stride(), version, sigma
