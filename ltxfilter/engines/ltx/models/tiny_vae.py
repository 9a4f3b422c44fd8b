"""The tiny autoencoder for LTX latents (TAEHV, `taeltx2_3`): a fast approximation of LTX's own.

It has 12 million parameters in place of 726 million, for pictures that only show motion. Written
after the description at github.com/madebyollin/taehv (MIT); attributes have the names of the
published tensors, so that a file loads as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, pixel_shuffle, pixel_unshuffle

from ltxfilter.engines.ltx.latent_shape import LATENT_CHANNELS, TEMPORAL_COMPRESSION

PATCH = 4  # pixels: the side of the square that becomes channels before the first layer
PATCH_CHANNELS = 3 * PATCH * PATCH
ENCODER_CHANNELS = 64  # of every layer inside the encoder
DECODER_CHANNELS = (256, 128, 64, 64)  # of the decoder's stages
STAGE_BLOCKS = 3  # memory blocks of a stage
LATENT_LIMIT = 3.0  # the decoder keeps latents within it by a tanh


class TinyEncoder(nn.Module):
    """Pictures [B, 3, 8k + 1, 32h, 32w] in -1..1 to latents [B, 128, k + 1, h, w]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(PATCH_CHANNELS, ENCODER_CHANNELS), nn.ReLU()]
        for _ in range(3):
            layers.append(TemporalPool(ENCODER_CHANNELS))
            layers.append(_conv(ENCODER_CHANNELS, ENCODER_CHANNELS, stride=2, bias=False))
            layers += [MemoryBlock(ENCODER_CHANNELS) for _ in range(STAGE_BLOCKS)]
        self.encoder = nn.Sequential(*layers, _conv(ENCODER_CHANNELS, LATENT_CHANNELS))

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode; the last frame is repeated to fill the last latent frame, as published."""
        missing = -pixels.shape[2] % TEMPORAL_COMPRESSION
        whole = torch.cat([pixels, *[pixels[:, :, -1:]] * missing], 2)
        patches = pixel_unshuffle((whole.transpose(1, 2) + 1) / 2, PATCH)
        return _run(self.encoder, patches).transpose(1, 2)


class TinyDecoder(nn.Module):
    """Latents [B, 128, f, h, w] to pictures [B, 3, 8f - 7, 32h, 32w] in -1..1."""

    def __init__(self) -> None:
        super().__init__()
        first, *rest = DECODER_CHANNELS
        layers: list[nn.Module] = [SoftClamp(), _conv(LATENT_CHANNELS, first), nn.ReLU()]
        for channels, after in zip(DECODER_CHANNELS, rest, strict=False):
            layers += [MemoryBlock(channels) for _ in range(STAGE_BLOCKS)]
            layers += [nn.Upsample(scale_factor=2), TemporalGrow(channels)]
            layers.append(_conv(channels, after, bias=False))
        self.decoder = nn.Sequential(*layers, nn.ReLU(), _conv(rest[-1], PATCH_CHANNELS))

    def forward(self, latents: Tensor) -> Tensor:
        """Decode; of the first latent frame only the last of its eight frames is returned."""
        patches = _run(self.decoder, latents.transpose(1, 2))
        pictures = pixel_shuffle(patches[:, TEMPORAL_COMPRESSION - 1 :], PATCH)
        return pictures.clamp(0, 1).transpose(1, 2) * 2 - 1


MODULES: dict[str, type[nn.Module]] = {"encoder": TinyEncoder, "decoder": TinyDecoder}


def meta_module(name: str) -> nn.Module:
    """Return "encoder" or "decoder" without weights, on torch's meta device."""
    with torch.device("meta"):
        return MODULES[name]().eval().requires_grad_(False)


class MemoryBlock(nn.Module):
    """A residual block of three convolutions over a frame and the one before it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            _conv(2 * channels, channels),
            nn.ReLU(),
            _conv(channels, channels),
            nn.ReLU(),
            _conv(channels, channels),
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Take and return [B, T, C, H, W]; the frame before the first one is zero."""
        before = pad(frames, (0, 0, 0, 0, 0, 0, 1, -1))
        both = torch.cat([frames, before], 2)
        return torch.relu(_per_frame(self.conv, both) + frames)


class TemporalPool(nn.Module):
    """A 1x1 convolution of two frames to one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, channels, 1, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Take [B, 2T, C, H, W], return [B, T, C, H, W]."""
        return _per_frame(self.conv, frames.unflatten(1, (-1, 2)).flatten(2, 3))


class TemporalGrow(nn.Module):
    """A 1x1 convolution of one frame to two."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2 * channels, 1, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Take [B, T, C, H, W], return [B, 2T, C, H, W]."""
        return _per_frame(self.conv, frames).unflatten(2, (2, -1)).flatten(1, 2)


class SoftClamp(nn.Module):
    """Limits latents to -LATENT_LIMIT..LATENT_LIMIT by a tanh."""

    def forward(self, values: Tensor) -> Tensor:
        """Take and return any shape."""
        return torch.tanh(values / LATENT_LIMIT) * LATENT_LIMIT


def _run(layers: nn.Sequential, frames: Tensor) -> Tensor:
    """Run layers on [B, T, C, H, W]; those without a time axis run on every frame."""
    for layer in layers:
        temporal = isinstance(layer, (MemoryBlock, TemporalPool, TemporalGrow))
        frames = layer(frames) if temporal else _per_frame(layer, frames)
    return frames


def _per_frame(layer: nn.Module, frames: Tensor) -> Tensor:
    """Run a layer for pictures on every frame of [B, T, C, H, W]."""
    result: Tensor = layer(frames.flatten(0, 1))
    return result.unflatten(0, frames.shape[:2])


def _conv(before: int, after: int, *, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride, padding=1, bias=bias)
