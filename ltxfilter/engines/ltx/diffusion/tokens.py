"""Tokens: latents as the transformer takes them, with conditioning, positions and seeded noise.

Positions, masks and the sampling trajectory are float32 whatever the models compute in: bfloat16
would place a token up to 17 ms off. A keyframe's tokens last one frame, wherever between the grid's
frames they lie.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ltxfilter.engines.ltx.latent_shape import (
    LATENT_CHANNELS,
    SPATIAL_COMPRESSION,
    TEMPORAL_COMPRESSION,
)

Size = tuple[int, int, int]  # latent frames, rows, columns


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """A sequence of T tokens: those of the grid first, then appended conditioning tokens.

    All float32 on one device. B is 1 or the number of windows in a batch.
    """

    clean: Tensor  # [B, T, 128] values of conditioning tokens; elsewhere without meaning
    start: Tensor  # [B, T, 128] latents to denoise from, without noise; zeros to start from noise
    mask: Tensor  # [B, T, 1] denoising mask: 0 keeps a conditioning token, 1 denoises freely
    positions: Tensor  # [B, 3, T, 2] begin and end in seconds, pixel rows and pixel columns
    size: Size  # of the grid

    @property
    def grid(self) -> int:
        """The number of the grid's tokens."""
        frames, rows, columns = self.size
        return frames * rows * columns

    @property
    def first(self) -> int:
        """The number of tokens in the grid's first latent frame, which lasts a single frame."""
        return self.size[1] * self.size[2]

    def add_noise(self, noise: Tensor, sigma: float) -> Tensor:
        """Return noisy tokens [B, T, 128] to denoise from.

        noise: [B, T, 128], mixed in with strength `sigma`, 0..1, as far as the mask allows.
        """
        share = self.mask * sigma
        return noise * share + self.start * (1 - share)

    def restore(self, tokens: Tensor) -> Tensor:
        """Return tokens [B, T, 128] with their conditioning restored, as far as the mask says."""
        return tokens * self.mask + self.clean * (1 - self.mask)

    def grid_latents(self, tokens: Tensor) -> Tensor:
        """Return the grid's tokens out of [B, T, 128] as latents [B, 128, f, h, w]."""
        return unpatchify(tokens[:, : self.grid], self.size)

    def with_keyframe(
        self, latent: Tensor, at: float, rate: float, strength: float = 1.0, length: float = 1.0
    ) -> Tokens:
        """Return the tokens with a keyframe's appended.

        latent: [B, 128, 1, h, w]. at: grid frames after time zero, fractions allowed. rate: grid
        frames per second. strength: 1 keeps the keyframe, less lets it change. length: how many
        frames it lasts.
        """
        tokens = patchify(latent.float())
        positions = keyframe_positions(self.size[1:], at, rate, length).to(self.positions)
        mask = torch.full_like(tokens[..., :1], 1 - strength)
        return self._with_appended(tokens, mask, positions)

    def with_reference(
        self, clip: Tensor, rate: float, offset: float = 0.0, scale: int = 1
    ) -> Tokens:
        """Return the tokens with a whole reference clip appended, for an IC-LoRA.

        clip: latents [B, 128, f, h, w], which are kept. rate, offset: as of `empty_grid`. scale:
        how many times smaller the clip is than the grid's pictures.
        """
        tokens = patchify(clip.float())
        frames, rows, columns = clip.shape[2:]
        positions = grid_positions((frames, rows, columns), rate, offset).to(self.positions)
        positions[:, 1:] *= scale
        return self._with_appended(tokens, torch.zeros_like(tokens[..., :1]), positions)

    def _with_appended(self, tokens: Tensor, mask: Tensor, positions: Tensor) -> Tokens:
        return replace(
            self,
            clean=torch.cat([self.clean, tokens], 1),
            start=torch.cat([self.start, tokens], 1),
            mask=torch.cat([self.mask, mask], 1),
            positions=torch.cat([self.positions, positions.expand(len(tokens), -1, -1, -1)], 2),
        )

    def with_first_latent(self, latent: Tensor, strength: float = 1.0) -> Tokens:
        """Return the tokens with a keyframe in place of the grid's first latent frame.

        latent: [B, 128, 1, h, w]. strength: as of `with_keyframe`. It takes no further token.
        """
        tokens = patchify(latent.float())
        count = tokens.shape[1]
        mask = torch.full_like(tokens[..., :1], 1 - strength)
        return replace(
            self,
            clean=torch.cat([tokens, self.clean[:, count:]], 1),
            start=torch.cat([tokens, self.start[:, count:]], 1),
            mask=torch.cat([mask, self.mask[:, count:]], 1),
        )


def empty_grid(
    size: Size, rate: float, offset: float = 0.0, start: Tensor | None = None, device: object = None
) -> Tokens:
    """Return the tokens of a grid without conditioning.

    rate: grid frames per second. offset: grid frames from time zero to the grid's first frame.
    start: latents [B, 128, f, h, w] to denoise from; None starts from noise.
    """
    count = size[0] * size[1] * size[2]
    begin = torch.zeros(1, count, LATENT_CHANNELS) if start is None else patchify(start.float())
    begin = begin.to(device)
    return Tokens(
        clean=torch.zeros_like(begin),
        start=begin,
        mask=torch.ones_like(begin[..., :1]),
        positions=grid_positions(size, rate, offset).to(device).expand(len(begin), -1, -1, -1),
        size=size,
    )


def as_batch(windows: Sequence[Tokens]) -> Tokens:
    """Return the tokens of several windows of one size as a batch."""
    fields = ("clean", "start", "mask", "positions")
    together = {name: torch.cat([getattr(window, name) for window in windows]) for name in fields}
    return Tokens(**together, size=windows[0].size)


def grid_positions(size: Size, rate: float, offset: float = 0.0) -> Tensor:
    """Return the positions of a grid's tokens, [1, 3, T, 2] float32.

    The first latent frame lasts one frame and each further one lasts eight.
    """
    edges = torch.arange(size[0] + 1, dtype=torch.float64) * TEMPORAL_COMPRESSION
    edges -= TEMPORAL_COMPRESSION - 1
    edges[0] = 0
    return _positions((edges + offset) / rate, size[1:])


def keyframe_positions(
    cells: tuple[int, int], at: float, rate: float, length: float = 1.0
) -> Tensor:
    """Return the positions of a keyframe's tokens, [1, 3, rows * columns, 2] float32.

    cells: rows and columns. at, rate, length: as of `Tokens.with_keyframe`.
    """
    edges = torch.tensor([at, at + length], dtype=torch.float64)
    return _positions(edges / rate, cells)


def _positions(seconds: Tensor, cells: tuple[int, int]) -> Tensor:
    """Return begin and end of each token. seconds: edges of the latent frames, [f + 1] float64."""
    rows, columns = (
        torch.arange(count + 1, dtype=torch.float64) * SPATIAL_COMPRESSION for count in cells
    )
    sides = [torch.stack([edges[:-1], edges[1:]], -1) for edges in (seconds, rows, columns)]
    size = [len(side) for side in sides]
    axes = []
    for axis, side in enumerate(sides):
        shape = [1, 1, 1, 2]
        shape[axis] = size[axis]
        axes.append(side.view(shape).expand(*size, 2).reshape(-1, 2))
    return torch.stack(axes)[None].float()


def patchify(latents: Tensor) -> Tensor:
    """Return latents [B, C, f, h, w] as tokens [B, f h w, C]."""
    return latents.flatten(2).transpose(1, 2)


def unpatchify(tokens: Tensor, size: Size) -> Tensor:
    """Return tokens [B, f h w, C] as latents [B, C, f, h, w]."""
    return tokens.transpose(1, 2).unflatten(2, size).contiguous()


def seeded_noise(shape: Sequence[int], *key: object) -> Tensor:
    """Return normal noise of `shape`, float32 on the CPU, that depends on `key` alone.

    key: what the noise is for, such as the seed, a purpose and a time. Equal words are equal keys.
    """
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed_of(*key)))


def seed_of(*key: object) -> int:
    """Return a seed of 63 bits for a key, the same in every run and on every machine."""
    digest = hashlib.blake2b(repr(tuple(map(str, key))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
