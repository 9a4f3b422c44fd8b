"""Decoding in tiles: the weights of every pixel add up to one, whatever the sizes."""

from __future__ import annotations

from itertools import pairwise

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


@pytest.mark.parametrize(
    ("size", "side", "layers"),
    [((256, 384), 256, 1), pytest.param((512, 768), 512, 4, marks=pytest.mark.slow)],
)
def test_seams_are_not_above_those_of_upstream(size, side, layers):
    """The error against a picture that is decoded whole, in codes, with the same tiles and overlap.

    A decoder with random weights sees much further than a trained one, so that errors are large.
    """
    tiling = pytest.importorskip("ltx_core.model.video_vae.tiling")
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
    overlap = TILE_OVERLAP * SPATIAL_COMPRESSION
    theirs = tiling.TilingConfig(
        tiling.SpatialTilingConfig(side, overlap), tiling.TemporalTilingConfig(64, 24)
    )
    with torch.no_grad():
        whole = decoder(latents)
        ours = tiled_decode.decode_tiled(decoder, latents, side)
        upstreams = torch.cat(list(decoder.tiled_decode(latents, theirs)), 2)
    assert whole.shape == (1, 3, 9, *size)
    found, allowed = ((tiled - whole).abs() * CODES for tiled in (ours, upstreams))
    assert 0.1 < found.mean() < allowed.mean()
    assert found.square().mean() < allowed.square().mean()


def test_too_small_tiles_are_refused():
    with pytest.raises(ValueError, match="the smallest are of 128"):
        tiled_decode.decode_tiled(local, torch.zeros(1, 4, 1, 9, 9), 96)
