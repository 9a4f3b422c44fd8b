/* Which tiles are uncertain, and along which motions each of their blocks may be drawn. */
#include "fusion.h"

/* A sample at a position in 1/32, bilinearly, in 1/16 codes. */
static inline int32_t point(const uint8_t *picture, int height, int width, int x, int y)
{
    x = clamp(x, 0, 32 * (width - 1)), y = clamp(y, 0, 32 * (height - 1));
    const int right = (x >> 5) + 1 < width, below = (y >> 5) + 1 < height;
    const uint8_t *at = picture + (size_t)(y >> 5) * (size_t)width + (x >> 5);
    const uint8_t *under = at + (below ? width : 0);
    x &= 31, y &= 31;
    const int32_t top = at[0] * (32 - x) + at[right] * x;
    const int32_t bottom = under[0] * (32 - x) + under[right] * x;
    return (top * (32 - y) + bottom * y + 32) >> 6;
}

void tile_scores(const Tiles *t, const uint8_t *left, const uint8_t *right, int height, int width,
                 int block, int scale, int32_t *out)
{
    const size_t plane = (size_t)t->rows * (size_t)t->columns;
    int shift = 0;
    while (1 << (shift + 1) <= scale)
        shift++;
    memset(out, 0, (size_t)t->down * (size_t)t->across * sizeof *out);
    for (int row = 0; row < BLOCKS * t->down; row++) {
        const int y = 32 * (block * row + block / 2) / scale - 16;
        int32_t *sums = out + (size_t)(row / BLOCKS) * (size_t)t->across;
        for (int column = 0; column < BLOCKS * t->across; column++) {
            const int16_t *flow = t->field + block_at(t, row, column);
            const int x = 32 * (block * column + block / 2) / scale - 16, half = scale / 2;
            const int32_t a = point(left, height, width, x + ((flow[0] + half) >> shift),
                                    y + ((flow[plane] + half) >> shift));
            const int32_t b = point(right, height, width, x + ((flow[2 * plane] + half) >> shift),
                                    y + ((flow[3 * plane] + half) >> shift));
            sums[column / BLOCKS] += abs(a - b);
        }
    }
}

/* The slowest and the fastest motion near a block, as places in the field. */
typedef struct {
    size_t slow, fast;
} Extremes;

/* Look at blocks up to `reach` away, every `step`-th along each axis. */
static void look_around(const Tiles *t, const int32_t *speed, int row, int column, int reach,
                        int step, Extremes *found)
{
    for (int dy = -reach; dy <= reach; dy += step)
        for (int dx = -reach; dx <= reach; dx += step) {
            const size_t at = block_at(t, row + dy, column + dx);
            if (speed[at] < speed[found->slow])
                found->slow = at;
            if (speed[at] > speed[found->fast])
                found->fast = at;
        }
}

CLONES static void speeds(const int16_t *restrict field, size_t plane, int32_t *restrict out)
{
    for (size_t i = 0; i < plane; i++) {
        const int32_t x = field[2 * plane + i] - field[i];
        const int32_t y = field[3 * plane + i] - field[plane + i];
        out[i] = (int32_t)((uint32_t)(x * x) + (uint32_t)(y * y)); /* fits: flow is cut off */
    }
}

int tile_motions(const Tiles *t, int16_t *out)
{
    const size_t plane = (size_t)t->rows * (size_t)t->columns;
    int32_t *speed = malloc(plane * sizeof *speed);
    if (!speed)
        return -1;
    speeds(t->field, plane, speed);
    for (int n = 0; n < t->count; n++, out += 4 * PAIRS * CELLS)
        for (int cell = 0; cell < CELLS; cell++) {
            const int row = clamp(BLOCKS * t->tiles[2 * n] + cell / BLOCKS, 0, t->rows - 3);
            const int column =
                clamp(BLOCKS * t->tiles[2 * n + 1] + cell % BLOCKS, 0, t->columns - 3);
            const size_t own = block_at(t, row, column);
            Extremes near = {own, own};
            look_around(t, speed, row, column, 2, 1, &near);
            Extremes far = near;
            look_around(t, speed, row, column, 5, 2, &far);
            const size_t chosen[PAIRS] = {own, near.slow, near.fast, far.slow, far.fast};
            for (int pair = 0; pair < PAIRS; pair++)
                for (int k = 0; k < 4; k++)
                    out[(4 * pair + k) * CELLS + cell] =
                        t->field[(size_t)k * plane + chosen[pair]];
        }
    free(speed);
    return 0;
}
