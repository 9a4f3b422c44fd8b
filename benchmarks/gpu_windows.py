"""The calls of models that a window of each LTX engine makes: their sizes and operations."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks import ltx_sizes as sizes

HD, HALF, SMALL, SLIM, WIDE = (34, 60), (17, 30), (8, 14), (9, 16), (14, 24)  # cells of 32 pixels


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call of one model, by the size of its input."""

    model: str  # transformer, encoder, decoder, spatial, temporal
    length: int  # latent frames, keyframes' included; of encoder and decoder: frames
    cells: tuple[int, int]  # rows and columns of latents, each 32x32 pixels

    @property
    def tokens(self) -> int:
        """The number of tokens."""
        return self.length * self.cells[0] * self.cells[1]

    @property
    def flops(self) -> float:
        """Floating point operations at the published size."""
        area = self.cells[0] * self.cells[1]
        if self.model == "transformer":
            return sizes.transformer_flops(self.tokens)
        if self.model in ("spatial", "temporal"):
            return sizes.upsampler_flops(self.model, self.length, area)
        count = sizes.encoder_flops if self.model == "encoder" else sizes.decoder_flops
        return count(self.length, area)


@dataclass(frozen=True, slots=True)
class Row:
    """One window of an engine."""

    name: str
    out: int  # output frames, source frames among them
    calls: tuple[tuple[ModelCall, int], ...]  # and how often each is made


def keyframe_row(name: str, latents: int, keyframes: int, out: int, steps: int) -> Row:
    """Return two stages: `steps` at half size, then three at 1920x1080 after upsampling."""
    length = latents + keyframes
    return Row(
        name,
        out,
        (
            (ModelCall("encoder", 1, HALF), keyframes),
            (ModelCall("encoder", 1, HD), keyframes),
            (ModelCall("transformer", length, HALF), steps),
            (ModelCall("spatial", latents, HALF), 1),
            (ModelCall("transformer", length, HD), 3),
            (ModelCall("decoder", 8 * latents - 7, HD), 1),
        ),
    )


def temporal_row(name: str, rounds: int, cells: tuple[int, int], refining: int = 0) -> Row:
    """Return 17 frames doubled `rounds` times, refined in `refining` steps."""
    ups = tuple((ModelCall("temporal", 2**n * 2 + 1, cells), 1) for n in range(rounds))
    frames = 16 * 2**rounds + 1
    length = (frames - 1) // 8 + 1 + (frames - 1) // 16
    refined = ((ModelCall("transformer", length, cells), refining),) if refining else ()
    ends = (ModelCall("encoder", 17, cells), 1), (ModelCall("decoder", frames, cells), 1)
    return Row(name, frames - 1, (ends[0], *ups, *refined, ends[1]))


def motion_row(name: str, keyframes: int, cells: tuple[int, int], steps: int) -> Row:
    """Return guides at low resolution: one stage of few steps."""
    calls = (
        (ModelCall("encoder", 1, cells), keyframes),
        (ModelCall("transformer", 3 + keyframes, cells), steps),
        (ModelCall("decoder", 17, cells), 1),
    )
    return Row(name, 2 * keyframes, calls)


ROWS = (
    keyframe_row("keyframe 2x, 30 guided + 3", 3, 8, 16, 90),
    keyframe_row("keyframe 2x, 8 + 3", 3, 8, 16, 8),
    keyframe_row("keyframe 2.4x, 8 + 3", 4, 10, 24, 8),
    keyframe_row("keyframe 4x, 8 + 3", 3, 4, 16, 8),
    replace(motion_row("keyframe 2x, 960x544, 8", 8, HALF, 8), out=16),
    temporal_row("temporal 2x", 1, HD),
    temporal_row("temporal 4x", 2, HD),
    temporal_row("temporal 8x", 3, HD),
    temporal_row("temporal 2x, refined 4", 1, HD, 4),
    temporal_row("temporal 2x, 960x544", 1, HALF),
    temporal_row("temporal 2x, 960x544, refined 4", 1, HALF, 4),
    temporal_row("motion by latents, 448x256", 1, SMALL),
    *(motion_row(f"motion 448x256, {n}", 8, SMALL, n) for n in (1, 2, 4, 8)),
    *(motion_row(f"motion 512x288, {n}", 8, SLIM, n) for n in (1, 4)),
    *(motion_row(f"motion 448x256 in fours, {n}", 4, SMALL, n) for n in (1, 4)),
    *(motion_row(f"motion 768x448, {n}", 8, WIDE, n) for n in (1, 4)),
)
