"""What a prompt contributes to the transformer's blocks, computed once per prompt and noise level.

The keys and values of the attention to text depend on the prompt and, in LTX-2.3, on sigma, never
on the picture: they are the same in every window. LTX-2.3 at its published size takes 0.8 GB for
each prompt and sigma, and saves 3.3 TFLOP a step.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

LAYERS = ("to_k", "to_v")  # of a block's attention to text
STALE = 500  # steps without use, after which a prompt is taken for one of an earlier scene


class TextLayer(nn.Module):
    """A layer that makes keys or values of the text, or takes them from a memory."""

    def __init__(self, layer: nn.Module, memory: TextMemory, place: int) -> None:
        super().__init__()
        self.layer = layer
        self._memory = memory
        self._place = place

    def forward(self, value: Tensor) -> Tensor:
        """Return keys or values [B, L, D] of the text [B, L, D']."""
        return self._memory.project(self._place, self.layer, value)


@dataclass(slots=True, eq=False)
class Known:
    """What is remembered of one prompt at one sigma."""

    context: Tensor  # kept, so that nothing else can come to lie where it lies
    tensors: list[Tensor]  # [1, L, D]: a block's keys, its values, the next block's
    name: int  # that nothing else remembered ever has
    used: int  # number of the step that used it last

    @property
    def nbytes(self) -> int:
        """Bytes of the device's memory."""
        return sum(value.nbytes for value in self.tensors)


class TextMemory:
    """Keys and values of a transformer's text, at most `budget` bytes of them.

    Rows of one prompt are computed as one, remembered or not, so that both give the same numbers.
    Where the budget is too small for all that a window asks for in turn, the first stay: the last
    would always have gone when they come up again.
    """

    def __init__(self, model: nn.Module, budget: int) -> None:
        """Take over the text layers of a transformer of ltx_core."""
        self.budget = budget  # bytes; 0 once a single prompt turned out to be more
        self._known: dict[Hashable, Known] = {}  # least recently used first
        self._steps = 0
        self._alike = False  # every row of the running step has the same prompt
        self._given: Sequence[Tensor] | None = None
        self._made: list[Tensor] | None = None
        attentions = [block.attn2 for block in model.transformer_blocks]
        for number, attention in enumerate(attentions):
            for place, name in enumerate(LAYERS, len(LAYERS) * number):
                layer = getattr(attention, name)
                if isinstance(layer, TextLayer):  # of an earlier memory
                    layer = layer.layer
                setattr(attention, name, TextLayer(layer, self, place))
        self._count = len(LAYERS) * len(attentions)

    @property
    def nbytes(self) -> int:
        """How many bytes are taken."""
        return sum(known.nbytes for known in self._known.values())

    def find(self, context: Tensor, sigma: float | None) -> Known | None:
        """Return what is remembered of a prompt [1, L, D] at a sigma, None if nothing."""
        key = _key(context, sigma)
        if (known := self._known.pop(key, None)) is None:
            return None
        self._known[key] = known
        self._steps += 1
        known.used = self._steps
        return known

    def forget(self) -> None:
        """Let go of everything, and remember nothing any more."""
        self.budget = 0
        self._known.clear()

    @contextmanager
    def given(self, known: Known | Sequence[Tensor] | None) -> Iterator[None]:
        """Let a step of one prompt take what was remembered; None computes it from its text."""
        self._alike, self._given = True, known.tensors if isinstance(known, Known) else known
        try:
            yield
        finally:
            self._alike, self._given = False, None

    @contextmanager
    def remembering(self, context: Tensor, sigma: float | None) -> Iterator[None]:
        """Let a step compute the keys and values of a prompt [1, L, D], and remember them."""
        self._alike = True
        self._made = [context] * self._count if self.budget else None
        try:
            yield
            if self._made is not None:
                self._keep(context, sigma, self._made)
        finally:
            self._alike, self._made = False, None

    def project(self, place: int, layer: nn.Module, value: Tensor) -> Tensor:
        """Return what `layer` makes of the text [B, L, D], or what is known of it."""
        if not self._alike:
            return layer(value)
        if self._given is not None:
            found = self._given[place]
        else:
            found = layer(value[:1])
            if self._made is not None:
                self._made[place] = found
        return found.expand(len(value), -1, -1)

    def _keep(self, context: Tensor, sigma: float | None, tensors: list[Tensor]) -> None:
        """Remember something, having forgotten something else if it must be."""
        self._steps += 1
        made = Known(context, tensors, self._steps, self._steps)
        if made.nbytes > self.budget:
            self.budget = 0
            return
        while self.nbytes + made.nbytes > self.budget:
            oldest, latest = next(iter(self._known)), next(reversed(self._known))
            stale = self._steps - self._known[oldest].used > STALE
            del self._known[oldest if stale else latest]
        self._known[_key(context, sigma)] = made


def _key(context: Tensor, sigma: float | None) -> Hashable:
    """Return a name for a prompt that no other has, as long as its tensor is kept."""
    version = None if context.is_inference() else context._version
    return context.data_ptr(), tuple(context.shape), context.stride(), version, sigma
