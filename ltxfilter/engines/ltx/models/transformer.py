"""One step of the transformer: text that is remembered, positions read once, CUDA graphs."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from ltxfilter.engines.ltx.models import upstream
from ltxfilter.engines.ltx.models.cuda_graphs import Graphs
from ltxfilter.engines.ltx.models.text_cache import Known, TextMemory


class Transformer:
    """Runs a transformer of ltx_core, one step at a time, whatever thread asks.

    Numbers do not depend on what is remembered: rows of one prompt are computed as one, always.
    """

    def __init__(
        self, module: nn.Module, text_bytes: int | None = 0, graphs: Graphs | None = None
    ) -> None:
        """Take over a module with its weights.

        text_bytes: of the device's memory for the text's keys and values; None leaves the layers
        that make them alone. graphs: how to replay steps that come up again.
        """
        self.text = None if text_bytes is None else TextMemory(module, text_bytes)
        self._module = module
        self._graphs = graphs
        self._places = upstream.Places(module)
        self._text_has_sigma = upstream.text_has_sigma(module)
        self._skips: dict[tuple[tuple[int, ...], int], Any] = {}
        self._lock = Lock()

    def velocity(
        self,
        latent: Tensor,
        sigma: Tensor | float,
        timesteps: Tensor,
        positions: Tensor,
        *,
        context: Tensor,
        skipped: tuple[int, ...] = (),
    ) -> Tensor:
        """Return what `Models.velocity` says, in the module's own precision."""
        given = latent, _levels(sigma, latent), timesteps
        with self._lock:
            if self.text is None or len(context) > 1 or not isinstance(sigma, float):
                return self._step(given, positions, context, skipped)
            level = sigma if self._text_has_sigma else None
            known = self.text.find(context, level)
            if self.text.budget and known is None:
                with self.text.remembering(context, level):
                    return self._step(given, positions, context, skipped)
            if self._replays(latent):
                return self._replayed(given, positions, context, known, skipped)
            with self.text.given(known):
                return self._step(given, positions, _shown(context, known), skipped)

    def _replays(self, latent: Tensor) -> bool:
        """Return True for a step that may be captured; positions were read once before."""
        if self._graphs is None or not self._places.ready:
            return False
        most = self._graphs.most_tokens
        return not most or latent.shape[0] * latent.shape[1] <= most

    def _replayed(
        self,
        given: tuple[Tensor, Tensor, Tensor],
        positions: Tensor,
        context: Tensor,
        known: Known | None,
        skipped: tuple[int, ...],
    ) -> Tensor:
        """Return what `_step` returns, computed at fixed places."""
        text, graphs = self.text, self._graphs
        assert text is not None
        assert graphs is not None
        self._skip(skipped, given[0])  # made before anything is captured

        def function(inputs: Sequence[Tensor], constants: Sequence[Tensor]) -> Tensor:
            *fixed, shown, cosines, sines = inputs
            with self._places.given((cosines, sines)), text.given(constants or None):
                return self._step(fixed, positions, shown, skipped)

        inputs = *given, _shown(context, known), *self._places.of(positions)
        if known is None:
            return graphs.run(skipped, function, inputs)
        return graphs.run(skipped, function, inputs, known.tensors, known.name)

    def _step(
        self,
        given: Sequence[Tensor],
        positions: Tensor,
        context: Tensor,
        skipped: tuple[int, ...],
    ) -> Tensor:
        """Run the module. given: the latent, sigma of each window, the tokens' own sigmas."""
        latent, levels, timesteps = given
        return upstream.velocity(
            self._module,
            latent=latent,
            sigma=levels,
            timesteps=timesteps,
            positions=positions,
            context=context.expand(len(latent), -1, -1),
            perturbations=self._skip(skipped, latent),
        )

    def _skip(self, blocks: tuple[int, ...], latent: Tensor) -> Any:
        """Return upstream's word for blocks whose self-attention is left out."""
        key = blocks, len(latent)
        if key not in self._skips:
            self._skips[key] = upstream.skip(blocks, self._module, latent)
        return self._skips[key]


def _levels(sigma: Tensor | float, latent: Tensor) -> Tensor:
    """Return sigma for each window, [B] float32, where the latent is."""
    if isinstance(sigma, Tensor):
        return sigma.to(latent.device)
    return torch.full((len(latent),), sigma, dtype=torch.float32, device=latent.device)


def _shown(context: Tensor, known: Known | None) -> Tensor:
    """Return the text for a step to read: one token, which is not looked at, if it is known."""
    return context if known is None else context[:, :1]
