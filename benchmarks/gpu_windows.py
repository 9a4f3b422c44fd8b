"""What a window of each LTX engine asks of the models: calls, sizes, operations."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks import ltx_sizes as sizes

HD, HALF, SMALL, SLIM, WIDE = (34, 60), (17, 30), (8, 14), (9, 16), (14, 24)  # cells of 32 pixels


@dataclass(frozen=True, slots=True)
class Step:
    """One call of one model, by the size of what goes in."""

    part: str  # transformer, encoder, decoder, spatial, temporal
    length: int  # latents of tokens; frames to encode or decode; latents to upsample
    cells: tuple[int, int]

    @property
    def tokens(self) -> int:
        """How many tokens the transformer sees."""
        return self.length * self.cells[0] * self.cells[1]

    @property
    def flops(self) -> float:
        """Floating point operations at the published size."""
        area = self.cells[0] * self.cells[1]
        if self.part == "transformer":
            return sizes.transformer_flops(self.tokens)
        if self.part in ("spatial", "temporal"):
            return sizes.upsampler_flops(self.part, self.length, area)
        count = sizes.encoder_flops if self.part == "encoder" else sizes.decoder_flops
        return count(self.length, area)


@dataclass(frozen=True, slots=True)
class Row:
    """One window of an engine."""

    name: str
    out: int  # output frames, source frames among them
    steps: tuple[tuple[Step, int], ...]  # and how often


def keyframes(name: str, latents: int, stills: int, out: int, draws: int) -> Row:
    """Two stages: half size, upsampled, then three steps at 1920x1080."""
    length = latents + stills
    return Row(
        name,
        out,
        (
            (Step("encoder", 1, HALF), stills),
            (Step("encoder", 1, HD), stills),
            (Step("transformer", length, HALF), draws),
            (Step("spatial", latents, HALF), 1),
            (Step("transformer", length, HD), 3),
            (Step("decoder", 8 * latents - 7, HD), 1),
        ),
    )


def temporal(name: str, rounds: int, cells: tuple[int, int], refining: int = 0) -> Row:
    """Double 17 frames `rounds` times, with `refining` steps over latents and anchors."""
    ups = tuple((Step("temporal", 2**n * 2 + 1, cells), 1) for n in range(rounds))
    frames = 16 * 2**rounds + 1
    length = (frames - 1) // 8 + 1 + (frames - 1) // 16
    refined = ((Step("transformer", length, cells), refining),) if refining else ()
    ends = (Step("encoder", 17, cells), 1), (Step("decoder", frames, cells), 1)
    return Row(name, frames - 1, (ends[0], *ups, *refined, ends[1]))


def motion(name: str, stills: int, cells: tuple[int, int], draws: int) -> Row:
    """Draw motion at low resolution: one stage, few steps."""
    steps = (
        (Step("encoder", 1, cells), stills),
        (Step("transformer", 3 + stills, cells), draws),
        (Step("decoder", 17, cells), 1),
    )
    return Row(name, 2 * stills, steps)


ROWS = (
    keyframes("keyframe 2x, 30 guided + 3", 3, 8, 16, 90),
    keyframes("keyframe 2x, 8 + 3", 3, 8, 16, 8),
    keyframes("keyframe 2.4x, 8 + 3", 4, 10, 24, 8),
    keyframes("keyframe 4x, 8 + 3", 3, 4, 16, 8),
    replace(motion("keyframe 2x, 960x544, 8", 8, HALF, 8), out=16),
    temporal("temporal 2x", 1, HD),
    temporal("temporal 4x", 2, HD),
    temporal("temporal 8x", 3, HD),
    temporal("temporal 2x, refined 4", 1, HD, 4),
    temporal("temporal 2x, 960x544", 1, HALF),
    temporal("temporal 2x, 960x544, refined 4", 1, HALF, 4),
    temporal("motion by latents, 448x256", 1, SMALL),
    *(motion(f"motion 448x256, {n}", 8, SMALL, n) for n in (1, 2, 4, 8)),
    *(motion(f"motion 512x288, {n}", 8, SLIM, n) for n in (1, 4)),
    *(motion(f"motion 448x256 in fours, {n}", 4, SMALL, n) for n in (1, 4)),
    *(motion(f"motion 768x448, {n}", 8, WIDE, n) for n in (1, 4)),
)
