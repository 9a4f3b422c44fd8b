"""Bringing luma's mean back to what keyframes tell, and sharpening: the rest of `kernels.tile_mix`.

Sums of a picture are five int64: by how much mixing changes its samples, in 1/16 codes; the weights
of all that is mixed in, in 1/32768; the samples of the left keyframe, of the right one, and of the
picture before it is mixed.
"""

from __future__ import annotations

import triton
import triton.language as tl

from ltxfilter.motion.cuda.fusion.sample_kernels import write_codes
from ltxfilter.motion.cuda.fusion.tile_kernels import BLOCKS, CELLS
from ltxfilter.motion.cuda.search import SIZES
from ltxfilter.motion.kernels import fusion_sizes

MOST_OFFSET = tl.constexpr(fusion_sizes.MOST_OFFSET)
SUMS = 5


@triton.jit(do_not_specialize=SIZES)
def sum_kernel(plane, sum_of, count, block: tl.constexpr):
    """Add all `count` samples of a plane to one int64."""
    at = tl.program_id(0) * block + tl.arange(0, block)
    samples = tl.load(plane + at, mask=at < count, other=0).to(tl.int64)
    tl.atomic_add(sum_of, tl.sum(samples, axis=0))


@triton.jit(do_not_specialize=SIZES)
def offset_kernel(sums, tau, out, depth: tl.constexpr, block: tl.constexpr):
    """Write by how much to shift what is mixed in, one int32 in 1/16 codes.

    tau: one int32, in 1/32768.
    """
    tau = tl.load(tau).to(tl.int64)
    change, covered = tl.load(sums), tl.load(sums + 1)
    wanted = (tl.load(sums + 2) * (32768 - tau) + tl.load(sums + 3) * tau) >> 11
    wanted -= 16 * tl.load(sums + 4)
    nothing = wanted * 0
    kept = tl.maximum(change, tl.minimum(wanted, nothing))
    lacks = tl.minimum(kept, tl.maximum(wanted, nothing)) - change
    steps = (tl.abs(lacks) << 15) // tl.maximum(covered, nothing + 1)
    steps = tl.minimum(steps, nothing + (MOST_OFFSET << (depth - 8)))
    at = tl.program_id(0) * block + tl.arange(0, block)
    offset = tl.zeros_like(at) + tl.where(lacks < 0, -steps, steps).to(tl.int32)
    tl.store(out + at, offset, mask=at < 1)


@triton.jit
def _shifted(mixed, covered, at, offset, used):
    """Return mixed samples with the offset."""
    cover = tl.load(covered + at, mask=used, other=0)
    return tl.load(mixed + at, mask=used, other=0) + ((offset * cover + 0x4000) >> 15)


@triton.jit(do_not_specialize=SIZES)
def sharpen_kernel(
    picture, mixed, covered, gains, offset, tiles, static, width, height, across, most,
    static_width, side: tl.constexpr, shift_x: tl.constexpr, shift_y: tl.constexpr,
    largest: tl.constexpr, protect: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Write mixed tiles over the picture, shifted, and each block sharpened by its gain.

    mixed, covered: of `mix_kernel`. gains: of `weight_kernel`. offset: of `offset_kernel`. Others:
    as `write_codes`.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    wide = BLOCKS * side
    slot, place = at // (wide * wide), at % (wide * wide)
    tile = tl.load(tiles + slot, mask=slot < most, other=-1)
    if tl.max(tile, axis=0) < 0:
        return
    used, in_x, in_y = tile >= 0, place % wide, place // wide
    offset, around = tl.load(offset), tl.zeros_like(at)
    for k in range(9):
        x = tl.minimum(tl.maximum(in_x + k % 3 - 1, 0), wide - 1)
        y = tl.minimum(tl.maximum(in_y + k // 3 - 1, 0), wide - 1)
        near = _shifted(mixed, covered, (slot * wide + y) * wide + x, offset, used)
        around += near * ((1 + (k % 3) % 2) * (1 + (k // 3) % 2))
    here = _shifted(mixed, covered, at, offset, used)
    cell = in_y // side * BLOCKS + in_x // side
    gain = tl.load(gains + slot * CELLS + cell, mask=used, other=0).to(tl.int32)
    sharp = here + (((here - (around >> 4)) * gain + 32) >> 6)
    x, y = tile % across * wide + in_x, tile // across * wide + in_y
    write_codes(
        picture, x, y, sharp, used, static, width, height, static_width,
        shift_x, shift_y, largest, protect,
    )  # fmt: skip
