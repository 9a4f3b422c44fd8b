/* Limit by how much a mix changes a block: what changes most is a gamble between what keyframes show. */
#include "fusion/limit.h"

enum { MOST_CHANGE = 16 * 32 }; /* 1/16 codes of 8 bits: the mean of a block */

static int32_t narrowed(int32_t value)
{
    return clamp(value, -MOST_NARROW, MOST_NARROW);
}

/* Add to sums, one for each block of a row, by how much its samples change. See `fast_changes`. */
static void add_changes(const TileLimit *l, size_t first, const int16_t *weights, int32_t *sums)
{
    const int side = BLOCKS * l->block;
    const size_t size = (size_t)(side * side);
    for (int i = 0; i < l->block * side; i++) {
        const size_t at = first + (size_t)i;
        const int32_t base = shown_sample(l->samples, l->deep, at);
        const int column = i % side / l->block;
        int32_t change = 0;
        for (int k = 0; k < WEIGHTS; k++) {
            const size_t there = at + (size_t)(k + 1) * size;
            const int32_t shown = shown_sample(l->samples, l->deep, there);
            const int32_t step = narrowed((shown - base) >> (l->depth - 8));
            change = narrowed(change + share_of(step, weights[k * CELLS + column]));
        }
        sums[column] += change < 0 ? -change : change;
    }
}

void limit_change(const TileLimit *l)
{
    const int side = BLOCKS * l->block;
    const int32_t most = MOST_CHANGE * l->block * l->block;
    WeightBytes bytes;
    const int fast = open_fast_changes(l, bytes);
    for (int row = 0; row < l->count * BLOCKS; row++) { /* of blocks, in all tiles */
        const int tile = row / BLOCKS, of_tile = row % BLOCKS;
        const size_t first = (size_t)tile * SAMPLES * (size_t)(side * side) +
                             (size_t)(of_tile * l->block * side);
        int16_t *weights = l->weights + tile * WEIGHTS * CELLS + of_tile * BLOCKS;
        int32_t sums[BLOCKS] = {0};
        if (fast)
            fast_changes(l, bytes, first, weights, sums);
        else
            add_changes(l, first, weights, sums);
        for (int column = 0; column < BLOCKS; column++) {
            if (sums[column] <= most)
                continue;
            const int32_t share = (int32_t)(((int64_t)most << 15) / sums[column]);
            for (int k = 0; k < WEIGHTS; k++)
                weights[k * CELLS + column] =
                    (int16_t)share_of(weights[k * CELLS + column], share);
        }
    }
}
