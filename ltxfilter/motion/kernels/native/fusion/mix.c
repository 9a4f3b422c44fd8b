/* Mix what the marked tiles show, and write it over what was drawn. */
#include "fusion/fusion.h"
#include "fusion/mix.h"

enum {
    STRENGTH = 512, /* by which a lost share of detail is multiplied, in 1/64 */
    MOST_GAIN = 20, /* of the difference to the 3x3 mean, in 1/64 */
};

/* Copy the weights of a tile's blocks and of those around it, which are 0 in unmarked tiles. */
static void pad_weights(const Tiles *t, const TileMix *m, int n, PaddedWeights out)
{
    const int row = t->tiles[2 * n], column = t->tiles[2 * n + 1];
    memset(out, 0, sizeof(PaddedWeights));
    for (int y = 0; y < PADDED; y++)
        for (int x = 0; x < PADDED; x++) {
            const int block_y = BLOCKS * row + y - 1, block_x = BLOCKS * column + x - 1;
            const int tile_y = block_y >> 2, tile_x = block_x >> 2;
            if (tile_y < 0 || tile_x < 0 || tile_y >= t->down || tile_x >= t->across)
                continue;
            const int32_t there = m->index[(size_t)tile_y * (size_t)t->across + (size_t)tile_x];
            if (there < 0)
                continue;
            const int16_t *from = m->weights + (size_t)there * WEIGHTS * CELLS +
                                  (block_y % BLOCKS) * BLOCKS + block_x % BLOCKS;
            for (int k = 0; k < WEIGHTS; k++)
                out[k][y][x] = from[k * CELLS];
        }
}

static int32_t sample_of(const TileMix *m, size_t at)
{
    return m->deep ? clamp(((const int32_t *)m->samples)[at], -LARGEST, LARGEST)
                   : ((const int16_t *)m->samples)[at];
}

/* Mix one row of a tile, in 1/16 codes. at: its first sample in the picture that was drawn. */
static void mix_row(const TileMix *m, const Between *along, int16_t lines[WEIGHTS][LANES],
                    size_t at, size_t size, int32_t *out)
{
    for (int x = 0; x < BLOCKS * m->block_x; x++) {
        const int32_t base = sample_of(m, at + (size_t)x);
        out[x] = base;
        for (int k = 0; k < WEIGHTS; k++) {
            const int32_t first = lines[k][along->before[x]];
            const int32_t weight =
                first + share_of(lines[k][along->after[x]] - first, along->past[x]);
            const int32_t value = sample_of(m, at + (size_t)(k + 1) * size + (size_t)x);
            out[x] += share_of(value - base, weight);
        }
    }
}

/* Mix a tile. padded: its weights. */
static void mix_tile(const TileMix *m, FastMix *fast, const Between *along, const Between *down,
                     PaddedWeights padded, size_t first, int32_t *out)
{
    const int high = BLOCKS * m->block_y, wide = BLOCKS * m->block_x;
    const size_t size = (size_t)high * (size_t)wide;
    const int rows = fast ? fast_mix_rows(fast) : 1;
    for (int y = 0; y < high; y += rows) {
        const size_t at = first + (size_t)(y * wide);
        if (fast)
            fast_mix(fast, padded, y, (const int16_t *)m->samples + at, size, out + y * wide);
        else {
            int16_t lines[WEIGHTS][LANES];
            for (int k = 0; k < WEIGHTS; k++)
                between_lines(padded[k][down->before[y]], padded[k][down->after[y]],
                              down->past[y], lines[k]);
            mix_row(m, along, lines, at, size, out + y * wide);
        }
    }
}

/* Write codes of a tile that is not sharpened. */
CLONES static void round_tile(const int32_t *restrict mixed, int size, int most,
                              int32_t *restrict out)
{
    for (int i = 0; i < size; i++) {
        const int32_t code = (mixed[i] + 7 + ((mixed[i] >> 4) & 1)) >> 4; /* halves to even */
        out[i] = code < 0 ? 0 : code > most ? most : code;
    }
}

/* Sum the gradients of a mixed tile inside each block. */
CLONES static void gradients(const int32_t *restrict mixed, int block, int64_t *restrict sums)
{
    const int side = BLOCKS * block;
    for (int row = 0; row < BLOCKS; row++) {
        int32_t across[WIDEST_TILE] = {0}, down[WIDEST_TILE] = {0}; /* of columns */
        for (int y = 0; y < block; y++) {
            const int32_t *at = mixed + (row * block + y) * side;
            for (int x = 0; x + 1 < side; x++)
                across[x] += abs(at[x + 1] - at[x]);
            if (y + 1 < block)
                for (int x = 0; x < side; x++)
                    down[x] += abs(at[side + x] - at[x]);
        }
        for (int column = 0; column < BLOCKS; column++) {
            int64_t sum = 0;
            for (int x = column * block; x < (column + 1) * block; x++)
                sum += down[x] + (x + 1 < (column + 1) * block ? across[x] : 0);
            sums[row * BLOCKS + column] = sum;
        }
    }
}

/* Find how much of each block's detail is to be given back, in 1/64. */
static void find_gains(const int16_t *weights, const int32_t *detail, const int64_t *found,
                       int32_t *gains)
{
    for (int cell = 0; cell < CELLS; cell++) {
        int64_t expected = 0, left = 32768;
        for (int k = 0; k < WEIGHTS; k++) {
            expected += (int64_t)weights[k * CELLS + cell] * detail[(k + 1) * CELLS + cell];
            left -= weights[k * CELLS + cell];
        }
        expected = (expected + left * detail[cell]) >> 15;
        const int64_t lost = expected > found[cell] ? STRENGTH * (expected - found[cell]) : 0;
        const int64_t gain = lost / (found[cell] + 1);
        gains[cell] = (int32_t)(gain < MOST_GAIN ? gain : MOST_GAIN);
    }
}

/* Give back detail, and write codes. */
CLONES static void sharpen(const int32_t *mixed, const int32_t *gains, int block, int most,
                           int32_t *restrict out)
{
    const int side = BLOCKS * block;
    for (int y = 0; y < side; y++) {
        const int32_t *here = mixed + y * side;
        const int32_t *above = y > 0 ? here - side : here;
        const int32_t *below = y + 1 < side ? here + side : here;
        int32_t column[WIDEST_TILE + 2], gain[WIDEST_TILE];
        for (int k = 0; k < BLOCKS; k++)
            for (int x = k * block; x < (k + 1) * block; x++)
                gain[x] = gains[y / block * BLOCKS + k];
        for (int x = 0; x < side; x++)
            column[x + 1] = above[x] + 2 * here[x] + below[x];
        column[0] = column[1], column[side + 1] = column[side];
        for (int x = 0; x < side; x++) {
            const int32_t detail = here[x] - ((column[x] + 2 * column[x + 1] + column[x + 2]) >> 4);
            const int32_t value =
                here[x] + ((detail * gain[x] + 32) >> 6);
            const int32_t code = (value + 7 + ((value >> 4) & 1)) >> 4; /* halves to even */
            out[y * side + x] = code < 0 ? 0 : code > most ? most : code;
        }
    }
}

/* Write a row of the tile over the picture, but for what is static or beyond the border. */
static void write_row(const TileMix *m, int y, int x, const int32_t *codes)
{
    const uint8_t *mask = m->static_mask ? m->static_mask + m->stride_static * y : NULL;
    char *line = (char *)m->picture + m->stride * y;
    for (int i = 0; i < BLOCKS * m->block_x && x + i < m->width; i++) {
        if (mask && mask[x + i])
            continue;
        if (m->deep)
            ((uint16_t *)line)[x + i] = (uint16_t)codes[i];
        else
            ((uint8_t *)line)[x + i] = (uint8_t)codes[i];
    }
}

int tile_mix(const Tiles *t, const TileMix *m)
{
    const int high = BLOCKS * m->block_y, wide = BLOCKS * m->block_x;
    const size_t size = (size_t)high * (size_t)wide;
    const int most = (1 << m->depth) - 1;
    int32_t *mixed = malloc(2 * size * sizeof *mixed), *codes = mixed + size;
    if (!mixed)
        return -1;
    Between along, down;
    fill_between(&along, m->block_x);
    fill_between(&down, m->block_y);
    FastMix *fast = open_fast_mix(m, &along, &down);
    for (int n = 0; n < t->count; n++) {
        const int top = high * t->tiles[2 * n], left = wide * t->tiles[2 * n + 1];
        PaddedWeights padded;
        pad_weights(t, m, n, padded);
        mix_tile(m, fast, &along, &down, padded, (size_t)n * SAMPLES * size, mixed);
        if (m->detail) {
            int32_t gains[CELLS];
            int64_t found[CELLS];
            gradients(mixed, m->block_x, found);
            find_gains(m->weights + (size_t)n * WEIGHTS * CELLS,
                       m->detail + (size_t)n * SAMPLES * CELLS, found, gains);
            sharpen(mixed, gains, m->block_x, most, codes);
        } else
            round_tile(mixed, (int)size, most, codes);
        for (int y = 0; y < high && top + y < m->height; y++)
            write_row(m, top + y, left, codes + y * wide);
    }
    close_fast_mix(fast);
    free(mixed);
    return 0;
}
