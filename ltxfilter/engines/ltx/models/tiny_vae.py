"""The tiny autoencoder for LTX latents (TAEHV, `taeltx2_3`): pictures to latents and back, roughly.

Twelve million numbers in place of seven hundred million, for where only motion is read from the
pictures. Written after the description at github.com/madebyollin/taehv (MIT); attributes carry the
names of the published tensors, so that a file loads as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, pixel_shuffle, pixel_unshuffle

LATENT = 128  # channels of a latent
PATCH = 4  # pixels of a side that become channels before the first layer
PIXEL = 3 * PATCH * PATCH  # channels of a patch
ENCODED = 64  # channels inside the encoder
DECODED = (256, 128, 64, 64)  # channels inside the decoder, stage by stage
DEPTH = 3  # blocks with memory in a stage
SPAN = 8  # frames of a latent frame
LIMIT = 3.0  # latents are bent to stay within it


class TinyEncoder(nn.Module):
    """Pictures [B, 3, 8k + 1, 32h, 32w] in -1..1 to latents [B, 128, k + 1, h, w]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(PIXEL, ENCODED), nn.ReLU()]
        for _ in range(3):
            layers += [Pool(ENCODED), _conv(ENCODED, ENCODED, stride=2, bias=False)]
            layers += [Memory(ENCODED) for _ in range(DEPTH)]
        self.encoder = nn.Sequential(*layers, _conv(ENCODED, LATENT))

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode; what lacks of the last latent's frames is the last frame again, as published."""
        missing = -pixels.shape[2] % SPAN
        whole = torch.cat([pixels, *[pixels[:, :, -1:]] * missing], 2)
        patches = pixel_unshuffle((whole.transpose(1, 2) + 1) / 2, PATCH)
        return _through(self.encoder, patches).transpose(1, 2)


class TinyDecoder(nn.Module):
    """Latents [B, 128, f, h, w] to pictures [B, 3, 8f - 7, 32h, 32w] in -1..1."""

    def __init__(self) -> None:
        super().__init__()
        first, *rest = DECODED
        layers: list[nn.Module] = [Bend(), _conv(LATENT, first), nn.ReLU()]
        for channels, after in zip(DECODED, rest, strict=False):
            layers += [Memory(channels) for _ in range(DEPTH)]
            layers += [nn.Upsample(scale_factor=2), Grow(channels)]
            layers.append(_conv(channels, after, bias=False))
        self.decoder = nn.Sequential(*layers, nn.ReLU(), _conv(rest[-1], PIXEL))

    def forward(self, latents: Tensor) -> Tensor:
        """Decode; the first latent stands for one frame, the last of the eight that it gives."""
        patches = _through(self.decoder, latents.transpose(1, 2))
        pictures = pixel_shuffle(patches[:, SPAN - 1 :], PATCH)
        return pictures.clamp(0, 1).transpose(1, 2) * 2 - 1


PARTS: dict[str, type[nn.Module]] = {"encoder": TinyEncoder, "decoder": TinyDecoder}


def blueprint(part: str) -> nn.Module:
    """Return "encoder" or "decoder" without weights, on the meta device."""
    with torch.device("meta"):
        return PARTS[part]().eval().requires_grad_(False)


class Memory(nn.Module):
    """Three convolutions over a frame and the one before it, added to the frame."""

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
        """Take and return [B, T, C, H, W]; before the first frame lies nothing."""
        before = pad(frames, (0, 0, 0, 0, 0, 0, 1, -1))
        both = torch.cat([frames, before], 2)
        return torch.relu(_each(self.conv, both) + frames)


class Pool(nn.Module):
    """Two frames to one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, channels, 1, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Take [B, 2T, C, H, W], return [B, T, C, H, W]."""
        return _each(self.conv, frames.unflatten(1, (-1, 2)).flatten(2, 3))


class Grow(nn.Module):
    """One frame to two."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2 * channels, 1, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Take [B, T, C, H, W], return [B, 2T, C, H, W]."""
        return _each(self.conv, frames).unflatten(2, (2, -1)).flatten(1, 2)


class Bend(nn.Module):
    """Keeps latents within LIMIT, softly."""

    def forward(self, values: Tensor) -> Tensor:
        """Take and return any shape."""
        return torch.tanh(values / LIMIT) * LIMIT


def _through(layers: nn.Sequential, frames: Tensor) -> Tensor:
    """Run layers on [B, T, C, H, W], those that know no time on every frame alone."""
    for layer in layers:
        knows_time = isinstance(layer, (Memory, Pool, Grow))
        frames = layer(frames) if knows_time else _each(layer, frames)
    return frames


def _each(layer: nn.Module, frames: Tensor) -> Tensor:
    """Run a layer of pictures on every frame of [B, T, C, H, W]."""
    found: Tensor = layer(frames.flatten(0, 1))
    return found.unflatten(0, frames.shape[:2])


def _conv(before: int, after: int, *, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, stride, padding=1, bias=bias)
