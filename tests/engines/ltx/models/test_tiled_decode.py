"""Decoding in tiles: the weights of every pixel add up to one, whatever the sizes."""

from __future__ import annotations

from itertools import pairwise

import pytest

torch = pytest.importorskip("torch", reason="the ltx extra is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st

from ltxfilter.engines.ltx.latent_shape import SPATIAL_COMPRESSION, TILE_OVERLAP
from ltxfilter.engines.ltx.models import tiled_decode


def local(latents: torch.Tensor) -> torch.Tensor:
    """Decode each latent to its own 32 x 32 pixels, independent of its neighbours."""
    picture = (
        latents[:, :3]
        .repeat_interleave(SPATIAL_COMPRESSION, -2)
        .repeat_interleave(SPATIAL_COMPRESSION, -1)
    )
    return picture.float()


@given(st.integers(1, 200), st.integers(4, 40))
def test_tiles_cover_everything_and_overlap(length: int, most: int):
    pieces = list(tiled_decode.tile_bounds(length, most))
    assert pieces[0][0] == 0
    assert pieces[-1][1] == length
    assert all(end - begin <= most for begin, end in pieces)
    assert all(left[1] - right[0] == TILE_OVERLAP for left, right in pairwise(pieces))


@given(st.integers(1, 14), st.integers(1, 14), st.sampled_from([128, 160, 200]))
@settings(max_examples=20)
def test_tiles_add_up_to_the_whole(height: int, width: int, side: int):
    latents = torch.rand(1, 4, 2, height, width, generator=torch.Generator().manual_seed(0))
    found = tiled_decode.decode_tiled(local, latents, side)
    assert torch.allclose(found, local(latents), atol=1e-5)


def test_too_small_tiles_are_refused():
    with pytest.raises(ValueError, match="the smallest are of 128"):
        tiled_decode.decode_tiled(local, torch.zeros(1, 4, 1, 9, 9), 96)
