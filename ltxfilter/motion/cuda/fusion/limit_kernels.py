"""By how much a mix may change a block: `kernels.limit_change` on the device."""

from __future__ import annotations

import triton
import triton.language as tl

from ltxfilter.motion.cuda.fusion.sample_kernels import SAMPLES, WEIGHTS
from ltxfilter.motion.cuda.fusion.tile_kernels import BLOCKS, CELLS
from ltxfilter.motion.cuda.picture_kernels import share_of
from ltxfilter.motion.cuda.search import SIZES
from ltxfilter.motion.kernels import fusion_sizes

LARGEST = tl.constexpr(fusion_sizes.LARGEST)
MOST_CHANGE = tl.constexpr(fusion_sizes.MOST_CHANGE)
MOST_NARROW = tl.constexpr(fusion_sizes.MOST_NARROW)


@triton.jit
def _narrowed(value):
    return tl.minimum(tl.maximum(value, -MOST_NARROW), MOST_NARROW)


@triton.jit
def _sample(samples, used):
    value = tl.load(samples, mask=used, other=0).to(tl.int32)
    return tl.minimum(tl.maximum(value, -LARGEST), LARGEST)


@triton.jit(do_not_specialize=SIZES)
def limit_kernel(
    weights, samples, tiles, most, side: tl.constexpr, shift: tl.constexpr, block: tl.constexpr
):
    """Make the weights of blocks smaller that would change too much. Every lane has a block.

    weights: [most, 12, 4, 4] int16. samples: of luma, [most, 13, 4 side, 4 side]. shift: bits of
    luma beyond 8.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    slot, cell = at // CELLS, at % CELLS
    tile = tl.load(tiles + slot, mask=slot < most, other=-1)
    if tl.max(tile, axis=0) < 0:
        return
    used, wide = tile >= 0, BLOCKS * side
    size = wide * wide
    weights += slot * (WEIGHTS * CELLS) + cell
    samples += slot * (SAMPLES * size) + (cell // BLOCKS * wide + cell % BLOCKS) * side
    total = tl.zeros_like(at)
    for place in range(side * side):
        here = samples + place // side * wide + place % side
        base, change = _sample(here, used), tl.zeros_like(at)
        for k in range(WEIGHTS):
            weight = tl.load(weights + k * CELLS, mask=used, other=0).to(tl.int32)
            step = (_sample(here + (k + 1) * size, used) - base) >> shift
            change = _narrowed(change + share_of(_narrowed(step), weight, False))
        total += tl.abs(change)
    allowed = MOST_CHANGE * side * side
    share = ((tl.zeros_like(at).to(tl.int64) + allowed) << 15) // tl.maximum(total, 1)
    limited = used & (total > allowed)
    for k in range(WEIGHTS):
        weight = tl.load(weights + k * CELLS, mask=limited, other=0).to(tl.int32)
        weight = share_of(weight, tl.minimum(share, 32767).to(tl.int32), False)
        tl.store(weights + k * CELLS, weight.to(tl.int16), mask=limited)
