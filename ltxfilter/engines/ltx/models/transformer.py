"""One step of the transformer, with cached text, cached positions and CUDA graphs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from ltxfilter.engines.ltx.models import upstream
from ltxfilter.engines.ltx.models.cuda_graphs import GraphCache
from ltxfilter.engines.ltx.models.text_cache import CachedText, TextCache


class Transformer:
    """Runs a transformer of ltx_core, one step at a time, for any thread.

    The result does not depend on what is cached.
    """

    def __init__(
        self, module: nn.Module, text_bytes: int | None = 0, graphs: GraphCache | None = None
    ) -> None:
        """Take over a module with its weights.

        text_bytes: of device memory for the text's keys and values; None leaves the layers that
        make them alone, which are computed in each step then. graphs: replays steps that run
        repeatedly; None replays nothing.
        """
        self.text = None if text_bytes is None else TextCache(module, text_bytes)
        self._module = module
        self._graphs = graphs
        self._embeddings = upstream.PositionalEmbeddings(module)
        self._text_has_sigma = upstream.text_has_sigma(module)
        self._marks = upstream.marks_first_frame(module)
        self._small = False  # a step has run that may be replayed later
        self._perturbations: dict[tuple[tuple[int, ...], int], Any] = {}
        self._lock = Lock()

    def velocity(
        self,
        latent: Tensor,
        sigma: Tensor | float,
        timesteps: Tensor,
        positions: Tensor,
        *,
        context: Tensor,
        first: int = 0,
        skipped: tuple[int, ...] = (),
    ) -> Tensor:
        """Return what `Models.velocity` describes, in the module's own precision."""
        given = [latent, _per_window(sigma, latent), timesteps]
        if self._marks:
            given.append(_marked(first, latent))
        with self._lock:
            self._small = self._small or self._is_small(latent)
            if self.text is None and self._may_replay(latent):
                return self._replay(given, positions, context, None, skipped)
            if self.text is None or len(context) > 1 or not isinstance(sigma, float):
                return self._step(given, positions, context, skipped)
            level = sigma if self._text_has_sigma else None
            cached = self.text.find(context, level)
            if self.text.budget and cached is None:
                with self.text.recording(context, level):
                    return self._step(given, positions, context, skipped)
            if self._may_replay(latent):
                return self._replay(given, positions, context, cached, skipped)
            with self.text.using(cached):
                return self._step(given, positions, _text_input(context, cached), skipped)

    def _may_replay(self, latent: Tensor) -> bool:
        """Return True for a step that may be captured; positions must have been embedded before."""
        return self._embeddings.ready and self._is_small(latent)

    @property
    def captures_later(self) -> bool:
        """True while a step that has run will be captured when it runs again."""
        return self._graphs is not None and self._small and not self._graphs.settled

    def close(self) -> None:
        """Free the graphs; nothing runs afterwards."""
        if self._graphs is not None:
            self._graphs.drop()

    def drop_caches(self) -> bool:
        """Free the text and the graphs for good; return False if there were none."""
        texts = [self.text] if self.text is not None and self.text.nbytes else []
        graphs = [self._graphs] if self._graphs is not None and len(self._graphs) else []
        with self._lock:
            for text in texts:
                text.disable()
            for graph in graphs:
                graph.drop()
        return bool(texts or graphs)

    def _is_small(self, latent: Tensor) -> bool:
        """Return True for a step that is small enough to be replayed, where steps are."""
        if self._graphs is None:
            return False
        most = self._graphs.max_tokens
        return not most or latent.shape[0] * latent.shape[1] <= most

    def _replay(
        self,
        given: Sequence[Tensor],
        positions: Tensor,
        context: Tensor,
        cached: CachedText | None,
        skipped: tuple[int, ...],
    ) -> Tensor:
        """Return what `_step` returns, computed on the fixed buffers of a graph."""
        text, graphs = self.text, self._graphs
        assert graphs is not None
        self._perturbation(skipped, given[0])  # made here, since a capture must not allocate it

        def function(inputs: Sequence[Tensor], constants: Sequence[Tensor]) -> Tensor:
            *fixed, text_input, cosines, sines = inputs
            using = nullcontext() if text is None else text.using(constants or None)
            with self._embeddings.using((cosines, sines)), using:
                return self._step(fixed, positions, text_input, skipped)

        inputs = *given, _text_input(context, cached), *self._embeddings.embed(positions)
        if cached is None:
            return graphs.run(skipped, function, inputs)
        return graphs.run(skipped, function, inputs, cached.tensors, cached.serial)

    def _step(
        self,
        given: Sequence[Tensor],
        positions: Tensor,
        context: Tensor,
        skipped: tuple[int, ...],
    ) -> Tensor:
        """Run the module.

        given: latent [B, T, 128], sigma [B] and timesteps [B, T, 1]; for a model that marks the
        first latent frame also the marks [B, T, 1].
        """
        latent, sigma, timesteps, *marks = given
        return upstream.velocity(
            self._module,
            latent=latent,
            sigma=sigma,
            timesteps=timesteps,
            positions=positions,
            context=context.expand(len(latent), -1, -1),
            marks=marks[0] if marks else None,
            perturbations=self._perturbation(skipped, latent),
        )

    def _perturbation(self, blocks: tuple[int, ...], latent: Tensor) -> Any:
        """Return upstream's object for blocks whose self-attention is skipped."""
        key = blocks, len(latent)
        if key not in self._perturbations:
            self._perturbations[key] = upstream.skip_attention(blocks, self._module, latent)
        return self._perturbations[key]


def _per_window(sigma: Tensor | float, latent: Tensor) -> Tensor:
    """Return sigma for each window, [B] float32, on the latent's device."""
    if isinstance(sigma, Tensor):
        return sigma.to(latent.device)
    return torch.full((len(latent),), sigma, dtype=torch.float32, device=latent.device)


def _marked(first: int, latent: Tensor) -> Tensor:
    """Return 1 for the first tokens of each window and 0 for the others, [B, T, 1]."""
    marks = torch.zeros_like(latent[..., :1])
    marks[:, :first] = 1
    return marks


def _text_input(context: Tensor, cached: CachedText | None) -> Tensor:
    """Return the text that a step reads: a single token, which is ignored, if it is cached."""
    return context if cached is None else context[:, :1]
