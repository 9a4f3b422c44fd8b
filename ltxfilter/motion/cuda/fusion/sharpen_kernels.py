"""Giving back the detail of luma that mixing takes: the rest of `kernels.tile_mix`."""

from __future__ import annotations

import triton
import triton.language as tl

from ltxfilter.motion.cuda.fusion.feature_kernels import first_sample, gradients
from ltxfilter.motion.cuda.fusion.sample_kernels import SAMPLES, WEIGHTS, write_codes
from ltxfilter.motion.cuda.fusion.tile_kernels import BLOCKS, CELLS
from ltxfilter.motion.cuda.search import SIZES
from ltxfilter.motion.kernels import fusion_sizes

STRENGTH = tl.constexpr(fusion_sizes.STRENGTH)
MOST_GAIN = tl.constexpr(fusion_sizes.MOST_GAIN)


@triton.jit(do_not_specialize=SIZES)
def gain_kernel(
    mixed, weights, detail, tiles, out, most, side: tl.constexpr, block: tl.constexpr
):  # fmt: skip
    """Write by how much blocks are to differ more from their 3x3 mean, in 1/64.

    mixed: of `mix_kernel`. weights: [most, 12, 16] int16. detail: of `gradient_kernel`. out:
    [most, 16] int32.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    slot, cell = at // CELLS, at % CELLS
    tile = tl.load(tiles + slot, mask=slot < most, other=-1)
    if tl.max(tile, axis=0) < 0:
        return
    used = tile >= 0
    found = gradients(mixed + slot * (CELLS * side * side) + first_sample(cell, side), used, side)
    weights += slot * (WEIGHTS * CELLS) + cell
    detail += slot * (SAMPLES * CELLS) + cell
    left = tl.zeros_like(at) + 32768
    expected = tl.zeros_like(at).to(tl.int64)
    for k in range(WEIGHTS):
        weight = tl.load(weights + k * CELLS, mask=used, other=0).to(tl.int32)
        shown = tl.load(detail + (k + 1) * CELLS, mask=used, other=0).to(tl.int64)
        expected += weight * shown
        left -= weight
    expected += left * tl.load(detail, mask=used, other=0).to(tl.int64)
    lost = tl.maximum((expected >> 15) - found, 0)
    gain = tl.minimum(STRENGTH * lost // (found + 1), MOST_GAIN)
    tl.store(out + at, gain.to(tl.int32), mask=used)


@triton.jit(do_not_specialize=SIZES)
def sharpen_kernel(
    picture, mixed, gains, tiles, static, width, height, across, most, static_width,
    side: tl.constexpr, shift_x: tl.constexpr, shift_y: tl.constexpr, largest: tl.constexpr,
    protect: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Write mixed tiles over the picture, each block sharpened by its gain.

    mixed: of `mix_kernel`. gains: of `gain_kernel`. Others: as `write_codes`.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    wide = BLOCKS * side
    slot, place = at // (wide * wide), at % (wide * wide)
    tile = tl.load(tiles + slot, mask=slot < most, other=-1)
    if tl.max(tile, axis=0) < 0:
        return
    used, in_x, in_y = tile >= 0, place % wide, place // wide
    around = tl.zeros_like(at)
    for k in range(9):
        x = tl.minimum(tl.maximum(in_x + k % 3 - 1, 0), wide - 1)
        y = tl.minimum(tl.maximum(in_y + k // 3 - 1, 0), wide - 1)
        near = tl.load(mixed + (slot * wide + y) * wide + x, mask=used, other=0)
        around += near * ((1 + (k % 3) % 2) * (1 + (k // 3) % 2))
    here = tl.load(mixed + at, mask=used, other=0)
    cell = in_y // side * BLOCKS + in_x // side
    gain = tl.load(gains + slot * CELLS + cell, mask=used, other=0)
    sharp = here + (((here - (around >> 4)) * gain + 32) >> 6)
    x, y = tile % across * wide + in_x, tile // across * wide + in_y
    write_codes(
        picture, x, y, sharp, used, static, width, height, static_width,
        shift_x, shift_y, largest, protect,
    )  # fmt: skip
