"""Tokens: latents as the transformer takes them, with positions in seconds, and seeded noise.

Positions, masks and the trajectory are float32, whatever the models compute in: bfloat16 would
place a token up to 17 ms off. A still lasts one frame, wherever between frames it lies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

SPAN = 8  # frames of a latent frame
CELL = 32  # pixels of a latent's side
CHANNELS = 128

Size = tuple[int, int, int]  # latent frames, rows, columns


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """A sequence of tokens: those of the grid first, then those of appended stills.

    All float32 on one device. B is 1 or the number of windows drawn at once.
    """

    clean: Tensor  # [B, T, 128] what tokens that are given stand for
    start: Tensor  # [B, T, 128] what denoising begins from, before noise; zeros if from nothing
    mask: Tensor  # [B, T, 1] share of a token that is to be drawn: 0 given, 1 free
    positions: Tensor  # [B, 3, T, 2] begin and end: seconds, rows, columns
    size: Size  # of the grid

    @property
    def grid(self) -> int:
        """How many tokens are the grid's."""
        frames, rows, columns = self.size
        return frames * rows * columns

    def noisy(self, noise: Tensor, sigma: float) -> Tensor:
        """Return [B, T, 128], noise of strength `sigma` mixed in where tokens are free."""
        share = self.mask * sigma
        return noise * share + self.start * (1 - share)

    def keep_given(self, drawn: Tensor) -> Tensor:
        """Return a prediction whose given tokens are what they were given as."""
        return drawn * self.mask + self.clean * (1 - self.mask)

    def latents(self, tokens: Tensor) -> Tensor:
        """Return the grid's tokens as latents [B, 128, f, h, w]; stills are left out."""
        return unpatchify(tokens[:, : self.grid], self.size)

    def with_still(
        self, still: Tensor, at: float, rate: float, strength: float = 1.0, span: float = 1.0
    ) -> Tokens:
        """Return the tokens with a still [B, 128, 1, h, w] appended.

        at: grid frames after time zero, fractions allowed. rate: grid frames per second.
        strength: 1 keeps it as it is, less lets it change. span: frames that it lasts; an
        8-frame latent lasts 8.
        """
        tokens = patchify(still.float())
        positions = still_positions(self.size[1:], at, rate, span).to(self.positions)
        mask = torch.full_like(tokens[..., :1], 1 - strength)
        return replace(
            self,
            clean=torch.cat([self.clean, tokens], 1),
            start=torch.cat([self.start, tokens], 1),
            mask=torch.cat([self.mask, mask], 1),
            positions=torch.cat([self.positions, positions.expand(len(tokens), -1, -1, -1)], 2),
        )

    def with_clip(self, clip: Tensor, rate: float, offset: float = 0.0, scale: int = 1) -> Tokens:
        """Return the tokens with a whole clip [B, 128, f, h, w] appended, given as it is.

        rate, offset: as of a grid. scale: times that the clip is smaller than the grid's pictures.
        """
        tokens = patchify(clip.float())
        frames, rows, columns = clip.shape[2:]
        positions = grid_positions((frames, rows, columns), rate, offset).to(self.positions)
        positions[:, 1:] *= scale
        return replace(
            self,
            clean=torch.cat([self.clean, tokens], 1),
            start=torch.cat([self.start, tokens], 1),
            mask=torch.cat([self.mask, torch.zeros_like(tokens[..., :1])], 1),
            positions=torch.cat([self.positions, positions.expand(len(tokens), -1, -1, -1)], 2),
        )

    def with_first(self, still: Tensor, strength: float = 1.0) -> Tokens:
        """Return the tokens with the grid's first latent replaced by a still; costs no token."""
        tokens = patchify(still.float())
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
    """Return the tokens of a grid of which nothing is given.

    rate: grid frames per second. offset: grid frames from time zero to its first frame. start:
    latents [B, 128, f, h, w] that denoising begins from.
    """
    count = size[0] * size[1] * size[2]
    begin = torch.zeros(1, count, CHANNELS) if start is None else patchify(start.float())
    begin = begin.to(device)
    return Tokens(
        clean=torch.zeros_like(begin),
        start=begin,
        mask=torch.ones_like(begin[..., :1]),
        positions=grid_positions(size, rate, offset).to(device).expand(len(begin), -1, -1, -1),
        size=size,
    )


def joined(parts: Sequence[Tokens]) -> Tokens:
    """Return the tokens of several draws of one size as a batch."""
    fields = ("clean", "start", "mask", "positions")
    together = {name: torch.cat([getattr(part, name) for part in parts]) for name in fields}
    return Tokens(**together, size=parts[0].size)


def grid_positions(size: Size, rate: float, offset: float = 0.0) -> Tensor:
    """Return where a grid's tokens lie, [1, 3, T, 2] float32.

    The first latent frame lasts one frame and each further one eight.
    """
    edges = torch.arange(size[0] + 1, dtype=torch.float64) * SPAN - (SPAN - 1)
    edges[0] = 0
    return _positions((edges + offset) / rate, size[1:])


def still_positions(cells: tuple[int, int], at: float, rate: float, span: float = 1.0) -> Tensor:
    """Return where the tokens of one still lie, [1, 3, rows * columns, 2] float32."""
    edges = torch.tensor([at, at + span], dtype=torch.float64)
    return _positions(edges / rate, cells)


def _positions(seconds: Tensor, cells: tuple[int, int]) -> Tensor:
    """Return begin and end of each token, from the edges of the latent frames in seconds."""
    rows, columns = (torch.arange(count + 1, dtype=torch.float64) * CELL for count in cells)
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
    """Return normal noise, float32 on the CPU, that depends on nothing but `key`.

    key: whatever names the draw: the seed, what it is for, the moment in time.
    """
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed_of(*key)))


def seed_of(*key: object) -> int:
    """Return a seed of 63 bits for what `key` names, the same in every run."""
    digest = hashlib.blake2b(repr(tuple(map(str, key))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
