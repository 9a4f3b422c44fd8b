"""Decoding in tiles: the weights of every pixel add up to one, whatever the sizes."""

from __future__ import annotations

import importlib
import importlib.util
from itertools import pairwise
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="the ltx extra is not installed")
pytest.importorskip("ltx_core", reason="the ltx extra is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st
from support import tiny_ltx

from benchmarks import ltx_sizes as sizes
from ltxfilter.engines.ltx.latent_shape import SPATIAL_COMPRESSION, TILE_OVERLAP
from ltxfilter.engines.ltx.models import tiled_decode, upstream

CODES = 127.5  # 8-bit codes of 1 in -1..1


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
    pieces = tiled_decode.tile_bounds(length, most)
    assert pieces[0][0] == 0
    assert pieces[-1][1] == length
    assert all(end - begin <= most for begin, end in pieces)
    assert all(left[1] - right[0] >= TILE_OVERLAP for left, right in pairwise(pieces))
    step = most - TILE_OVERLAP
    assert len(pieces) == (1 if length <= most else -(-(length - TILE_OVERLAP) // step))


def test_tiles_overlap_further_where_they_may_be_longer():
    assert tiled_decode.tile_bounds(24, 16) == [(0, 14), (10, 24)]
    assert tiled_decode.tile_bounds(30, 16) == [(0, 16), (14, 30)]


@given(st.integers(1, 14), st.integers(1, 14), st.sampled_from([128, 160, 200]))
@settings(max_examples=20)
def test_tiles_add_up_to_the_whole(height: int, width: int, side: int):
    latents = torch.rand(1, 4, 2, height, width, generator=torch.Generator().manual_seed(0))
    found = tiled_decode.decode_tiled(local, latents, side)
    assert torch.allclose(found, local(latents), atol=1e-5)


def upstream_tiling(side: int, overlap: int) -> object:
    """Return upstream's settings for tiles of `side` pixels, as ltx-core 1.0 or 1.2 takes them."""
    if importlib.util.find_spec("ltx_core.tiling") is None:
        tiling: Any = importlib.import_module("ltx_core.model.video_vae.tiling")
        return tiling.TilingConfig(
            tiling.SpatialTilingConfig(side, overlap), tiling.TemporalTilingConfig(64, 24)
        )
    tiling = importlib.import_module("ltx_core.tiling")
    tiles = tiling.DimensionSizeConfig(side, overlap)
    return tiling.TileSizeConfig(tiling.DimensionSizeConfig(64, 24), tiles, tiles)


@pytest.mark.parametrize(
    ("size", "side", "layers", "most"),
    [
        ((256, 384), 256, 1, 0.9),  # tiles overlap further than upstream's
        ((128, 256), 128, 1, 1 + 1e-5),  # as far as upstream's: the same tiles but for rounding
        pytest.param((512, 768), 512, 4, 0.9, marks=pytest.mark.slow),
    ],
)
def test_seams_are_not_above_those_of_upstream(size, side, layers, most):
    """The error against a picture that is decoded whole, in codes, with tiles of the same size.

    A decoder with random weights sees much further than a trained one, so that errors are large.
    """
    generator = torch.Generator().manual_seed(0)
    blocks = [
        [kind, {"num_layers": layers} if kind == "res_x" else settings]
        for kind, settings in sizes.VAE["decoder_blocks"]
    ]
    vae = sizes.VAE | {"decoder_base_channels": 4, "decoder_blocks": blocks}
    config = {"transformer": sizes.TRANSFORMER, "vae": vae}
    decoder = tiny_ltx.randomize(upstream.meta_module("decoder", config, {}), generator).float()
    cells = [length // SPATIAL_COMPRESSION for length in size]
    latents = torch.randn(1, 128, 2, *cells, generator=generator)
    theirs = upstream_tiling(side, TILE_OVERLAP * SPATIAL_COMPRESSION)
    with torch.no_grad():
        whole = decoder(latents)
        ours = tiled_decode.decode_tiled(decoder, latents, side)
        upstreams = torch.cat(list(decoder.tiled_decode(latents, theirs)), 2)
    assert whole.shape == (1, 3, 9, *size)
    found, allowed = ((tiled - whole).abs() * CODES for tiled in (ours, upstreams))
    assert 0.1 < found.mean() <= most * allowed.mean()
    assert found.square().mean() <= most * allowed.square().mean()


def test_too_small_tiles_are_refused():
    with pytest.raises(ValueError, match="the smallest are of 128"):
        tiled_decode.decode_tiled(local, torch.zeros(1, 4, 1, 9, 9), 96)
