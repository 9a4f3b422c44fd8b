"""The shape of LTX-2's latents, which its video autoencoder fixes; needs no torch."""

from __future__ import annotations

TEMPORAL_COMPRESSION = 8  # frames per latent frame, but the first latent frame is a single frame
SPATIAL_COMPRESSION = 32  # pixels: the side of the square that one latent stands for
LATENT_CHANNELS = 128
TILE_OVERLAP = (
    2  # latents that neighbouring tiles share at least when a picture is decoded in tiles
)
WIDER_OVERLAP = 4  # latents that they share where no more and no larger tiles are needed for it
LEAST_TILE = 2 * TILE_OVERLAP * SPATIAL_COMPRESSION  # pixels of a side


def frame_count(latent_frames: int) -> int:
    """Return how many frames `latent_frames` latent frames decode to: 8 (f - 1) + 1."""
    return TEMPORAL_COMPRESSION * (latent_frames - 1) + 1
