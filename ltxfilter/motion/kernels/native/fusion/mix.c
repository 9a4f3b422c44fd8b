/* Mix what the marked tiles show, and write it over what was drawn. */
#include "fusion/fusion.h"
#include "fusion/mix.h"

enum { MOST_OFFSET = 128 }; /* 1/16 codes of 8 bits by which what is mixed in may be shifted */

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

/* Mix one row of a tile, in 1/16 codes. at: its first sample in the picture that was drawn.
 * covered: the sum of each sample's weights, in 1/32768. */
static void mix_row(const TileMix *m, const Between *along, int16_t lines[WEIGHTS][LANES],
                    size_t at, size_t size, int32_t *out, int16_t *covered)
{
    for (int x = 0; x < BLOCKS * m->block_x; x++) {
        const int32_t base = shown_sample(m->samples, m->deep, at + (size_t)x);
        int32_t sum = 0;
        out[x] = base;
        for (int k = 0; k < WEIGHTS; k++) {
            const int32_t first = lines[k][along->before[x]];
            const int32_t weight =
                first + share_of(lines[k][along->after[x]] - first, along->past[x]);
            const size_t there = at + (size_t)(k + 1) * size + (size_t)x;
            const int32_t value = shown_sample(m->samples, m->deep, there);
            out[x] += share_of(value - base, weight);
            sum += weight;
        }
        covered[x] = (int16_t)(sum < 32767 ? sum : 32767);
    }
}

/* Mix a tile. padded: its weights. out, covered: as in mix_row. */
static void mix_tile(const TileMix *m, FastMix *fast, const Between *along, const Between *down,
                     PaddedWeights padded, size_t first, int32_t *out, int16_t *covered)
{
    const int high = BLOCKS * m->block_y, wide = BLOCKS * m->block_x;
    const size_t size = (size_t)high * (size_t)wide;
    const int rows = fast ? fast_mix_rows(fast) : 1;
    for (int y = 0; y < high; y += rows) {
        const size_t at = first + (size_t)(y * wide);
        if (fast)
            fast_mix(fast, padded, y, (const int16_t *)m->samples + at, size, out + y * wide,
                     covered + y * wide);
        else {
            int16_t lines[WEIGHTS][LANES];
            for (int k = 0; k < WEIGHTS; k++)
                between_lines(padded[k][down->before[y]], padded[k][down->after[y]],
                              down->past[y], lines[k]);
            mix_row(m, along, lines, at, size, out + y * wide, covered + y * wide);
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

/* Sharpen each block by its gain, in 1/64 of the difference to the 3x3 mean, and write codes. */
CLONES static void sharpen(const int32_t *mixed, const int16_t *gains, int block, int most,
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

/* How many rows and columns of a tile lie in the picture. */
static int inside(int first, int side, int size)
{
    return size - first < side ? size - first : side;
}

/* Add to sums[0] by how much mixing changes a row's samples, and to sums[1] what covers them. */
CLONES static void sum_row(const TileMix *m, size_t at, const int32_t *restrict mixed,
                           const int16_t *restrict covered, const uint8_t *mask, int count,
                           int64_t sums[2])
{
    const int16_t *narrow = (const int16_t *)m->samples + at;
    int32_t change = 0, cover = 0; /* of up to 64 samples */
    if (mask || m->deep)
        for (int x = 0; x < count; x++) {
            const int32_t moves = mask == NULL || mask[x] == 0;
            change += moves * (mixed[x] - shown_sample(m->samples, m->deep, at + (size_t)x));
            cover += moves * covered[x];
        }
    else
        for (int x = 0; x < count; x++)
            change += mixed[x] - narrow[x], cover += covered[x];
    sums[0] += change, sums[1] += cover;
}

/* By how much to shift what is mixed in, in 1/16 codes, so that the picture's sum ends between what it
 * was and what suits the keyframes. sums: of sum_row. */
static int32_t offset_of(const TileMix *m, const int64_t sums[2])
{
    const int64_t low = m->wanted < 0 ? m->wanted : 0, high = m->wanted > 0 ? m->wanted : 0;
    const int64_t change = sums[0] < low ? low : sums[0] > high ? high : sums[0];
    const int64_t most = (int64_t)MOST_OFFSET << (m->depth - 8);
    const int64_t lacks = change - sums[0], covered = sums[1] > 1 ? sums[1] : 1;
    const int64_t steps = ((lacks < 0 ? -lacks : lacks) << 15) / covered;
    return (int32_t)(lacks < 0 ? -1 : 1) * (int32_t)(steps < most ? steps : most);
}

/* Shift what was mixed into a tile. */
CLONES static void shift_tile(int32_t *restrict mixed, const int16_t *restrict covered, int size,
                              int32_t offset)
{
    for (int i = 0; i < size; i++)
        mixed[i] += (offset * covered[i] + 0x4000) >> 15; /* up to 2^15 times 2^15 */
}

static void write_tile(const Tiles *t, const TileMix *m, int n, const int32_t *codes)
{
    const int high = BLOCKS * m->block_y, wide = BLOCKS * m->block_x;
    const int top = high * t->tiles[2 * n], left = wide * t->tiles[2 * n + 1];
    for (int y = 0; y < inside(top, high, m->height); y++)
        write_row(m, top + y, left, codes + y * wide);
}

/* Mix all tiles before any is written: how the sum of all changes shifts each of them. */
static void mix_and_sharpen(const Tiles *t, const TileMix *m, FastMix *fast, const Between *along,
                            int32_t *mixed, int16_t *covered, int32_t *codes)
{
    const int side = BLOCKS * m->block_x, size = side * side, most = (1 << m->depth) - 1;
    int64_t sums[2] = {0, 0};
    for (int n = 0; n < t->count; n++) {
        const int top = side * t->tiles[2 * n], left = side * t->tiles[2 * n + 1];
        const size_t first = (size_t)n * SAMPLES * (size_t)size, place = (size_t)n * (size_t)size;
        PaddedWeights padded;
        pad_weights(t, m, n, padded);
        mix_tile(m, fast, along, along, padded, first, mixed + place, covered + place);
        for (int y = 0; y < inside(top, side, m->height); y++) {
            const uint8_t *mask =
                m->static_mask ? m->static_mask + m->stride_static * (top + y) + left : NULL;
            const size_t row = (size_t)(y * side);
            sum_row(m, first + row, mixed + place + row, covered + place + row, mask,
                    inside(left, side, m->width), sums);
        }
    }
    const int32_t offset = offset_of(m, sums);
    for (int n = 0; n < t->count; n++) {
        const size_t place = (size_t)n * (size_t)size;
        if (offset)
            shift_tile(mixed + place, covered + place, size, offset);
        sharpen(mixed + place, m->gains + n * CELLS, m->block_x, most, codes);
        write_tile(t, m, n, codes);
    }
}

int tile_mix(const Tiles *t, const TileMix *m)
{
    const int high = BLOCKS * m->block_y, wide = BLOCKS * m->block_x;
    const size_t size = (size_t)high * (size_t)wide;
    const size_t kept = m->gains ? (size_t)t->count * size : size;
    int32_t *mixed = malloc((kept + size) * sizeof *mixed + kept * sizeof(int16_t));
    if (!mixed)
        return -1;
    int32_t *codes = mixed + kept;
    int16_t *covered = (int16_t *)(codes + size);
    Between along, down;
    fill_between(&along, m->block_x);
    fill_between(&down, m->block_y);
    FastMix *fast = open_fast_mix(m, &along, &down);
    if (m->gains)
        mix_and_sharpen(t, m, fast, &along, mixed, covered, codes);
    for (int n = 0; n < t->count && !m->gains; n++) {
        PaddedWeights padded;
        pad_weights(t, m, n, padded);
        mix_tile(m, fast, &along, &down, padded, (size_t)n * SAMPLES * size, mixed, covered);
        round_tile(mixed, (int)size, (1 << m->depth) - 1, codes);
        write_tile(t, m, n, codes);
    }
    close_fast_mix(fast);
    free(mixed);
    return 0;
}
