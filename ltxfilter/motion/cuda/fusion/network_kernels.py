"""The fusion's network: from features of a block to the weights of what may be mixed there."""

from __future__ import annotations

import triton
import triton.language as tl

from ltxfilter.motion.cuda.fusion.sample_kernels import WEIGHTS
from ltxfilter.motion.cuda.fusion.tile_kernels import CELLS, PAIRS, block_at, place_of
from ltxfilter.motion.cuda.picture_kernels import share_of
from ltxfilter.motion.cuda.search import SIZES
from ltxfilter.motion.kernels import fusion_sizes

CHOICES = tl.constexpr(fusion_sizes.CHOICES)
OUTPUTS = tl.constexpr(fusion_sizes.OUTPUTS)
MOST_GAIN = tl.constexpr(fusion_sizes.MOST_GAIN)
MOST_ACTIVE = tl.constexpr(fusion_sizes.MOST_ACTIVE)


@triton.jit(do_not_specialize=SIZES)
def layer_kernel(
    given, weights, bias, tiles, out, most, inputs: tl.constexpr, outputs: tl.constexpr,
    shift: tl.constexpr, rectify: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Write the outputs of one layer for every block of the marked tiles.

    given: [most, 16, inputs]. weights: [inputs, outputs] int16. bias: [outputs] int32. out:
    [most, 16, outputs] int32: sums shifted right by `shift`, between 0 and MOST_ACTIVE if
    `rectify`. No sum reaches 2**31: see `fusion.checked_layers`.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    number, unit = at // outputs, at % outputs
    slot = number // CELLS
    tile = tl.load(tiles + slot, mask=slot < most, other=-1)
    if tl.max(tile, axis=0) < 0:
        return
    used = tile >= 0
    total = tl.load(bias + unit)
    for k in range(inputs):
        value = tl.load(given + number * inputs + k, mask=used, other=0).to(tl.int32)
        total += value * tl.load(weights + k * outputs + unit).to(tl.int32)
    total = total >> shift
    if rectify:
        total = tl.minimum(tl.maximum(total, 0), MOST_ACTIVE)
    tl.store(out + at, total, mask=used)


@triton.jit
def _part(logits, k, most, halvings, used):
    """Return the softmax of a choice, up to 32768, before it is divided by the sum of all.

    most: the largest logit, in 1/256 of factors two.
    """
    below = tl.minimum(most - tl.load(logits + k, mask=used, other=0), 4095)
    return tl.load(halvings + (below & 255)) >> (below >> 8)


@triton.jit
def _store(out, k, weight, used):
    tl.store(out + k * CELLS, tl.minimum(weight, 32767).to(tl.int16), mask=used)


@triton.jit(do_not_specialize=SIZES)
def weight_kernel(
    logits, halvings, field, tiles, out, gains, rows, columns, across, most, block: tl.constexpr
):  # fmt: skip
    """Write the weights and gains of blocks, which is the rest of `kernels.tile_weights`.

    logits: [most, 16, 18] int32, the gain last. halvings: [256] int32. field: [5, rows, columns]
    int16. out: [most, 12, 4, 4] int16. gains: [most, 16] int16.
    """
    at = tl.program_id(0) * block + tl.arange(0, block)
    slot, cell = at // CELLS, at % CELLS
    tile = tl.load(tiles + slot, mask=slot < most, other=-1)
    if tl.max(tile, axis=0) < 0:
        return
    used = tile >= 0
    logits += at * OUTPUTS
    gain = tl.load(logits + CHOICES, mask=used, other=0) >> 2
    gain = tl.minimum(tl.maximum(gain, 0), MOST_GAIN)
    tl.store(gains + at, gain.to(tl.int16), mask=used)
    out += slot * (WEIGHTS * CELLS) + cell
    largest = tl.load(logits, mask=used, other=0)
    for k in range(1, CHOICES):
        largest = tl.maximum(largest, tl.load(logits + k, mask=used, other=0))
    total = tl.zeros_like(at)
    for k in range(CHOICES):
        total += _part(logits, k, largest, halvings, used)
    unit = (1 << 30) // total  # total: from 2**15 to 17 times that
    for k in range(4):
        part = _part(logits, 1 + k, largest, halvings, used)
        _store(out, k, (part * unit) >> 15, used)
    row, column = place_of(tile, cell, across)
    place = 4 * rows * columns + block_at(row, column, rows, columns)
    share = tl.load(field + place).to(tl.int32)
    for k in range(PAIRS - 1):
        mixed = (_part(logits, 5 + 3 * k, largest, halvings, used) * unit) >> 15
        left = (_part(logits, 6 + 3 * k, largest, halvings, used) * unit) >> 15
        right = (_part(logits, 7 + 3 * k, largest, halvings, used) * unit) >> 15
        of_left = share_of(mixed, share, False)
        _store(out, 4 + 2 * k, left + of_left, used)
        _store(out, 5 + 2 * k, right + mixed - of_left, used)
