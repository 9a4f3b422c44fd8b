/* Mix what the marked tiles show, and write it over what was drawn. */
#include "fusion.h"
#include "fusion/mix.h"

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
    return m->deep ? ((const int32_t *)m->samples)[at] : ((const int16_t *)m->samples)[at];
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

/* Write a row of the tile over the picture, but for what is static or beyond the border. */
static void write_row(const TileMix *m, int y, int x, const int32_t *row)
{
    const uint8_t *mask = m->static_mask ? m->static_mask + m->stride_static * y : NULL;
    char *line = (char *)m->picture + m->stride * y;
    const int most = (1 << m->depth) - 1;
    for (int i = 0; i < BLOCKS * m->block_x && x + i < m->width; i++) {
        const int32_t code = clamp((row[i] + 7 + ((row[i] >> 4) & 1)) >> 4, 0, most);
        if (mask && mask[x + i])
            continue;
        if (m->deep)
            ((uint16_t *)line)[x + i] = (uint16_t)code;
        else
            ((uint8_t *)line)[x + i] = (uint8_t)code;
    }
}

void tile_mix(const Tiles *t, const TileMix *m)
{
    const int high = BLOCKS * m->block_y, wide = BLOCKS * m->block_x;
    const size_t size = (size_t)high * (size_t)wide;
    Between along, down;
    fill_between(&along, m->block_x);
    fill_between(&down, m->block_y);
    FastMix *fast = open_fast_mix(m, &along, &down);
    for (int n = 0; n < t->count; n++) {
        const int top = high * t->tiles[2 * n], left = wide * t->tiles[2 * n + 1];
        int32_t mixed[2 * WIDEST_TILE];
        PaddedWeights padded;
        pad_weights(t, m, n, padded);
        const int rows = fast ? fast_mix_rows(fast) : 1;
        for (int y = 0; y < high; y += rows) {
            const size_t at = (size_t)n * SAMPLES * size + (size_t)(y * wide);
            if (fast)
                fast_mix(fast, padded, y, (const int16_t *)m->samples + at, size, mixed);
            else {
                int16_t lines[WEIGHTS][LANES];
                for (int k = 0; k < WEIGHTS; k++)
                    between_lines(padded[k][down.before[y]], padded[k][down.after[y]],
                                  down.past[y], lines[k]);
                mix_row(m, &along, lines, at, size, mixed);
            }
            for (int row = 0; row < rows && top + y + row < m->height; row++)
                write_row(m, top + y + row, left, mixed + row * wide);
        }
    }
    close_fast_mix(fast);
}
