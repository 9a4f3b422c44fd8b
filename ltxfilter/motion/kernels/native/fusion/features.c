/* What the network sees of every block of the marked tiles. */
#include "fusion/features.h"

enum {
    COSTS = 2 * PAIRS - 1, /* of each motion, and of each other motion's picture */
    COUNTED = COSTS,       /* the place after them counts marked blocks */
    PLACES = 16,           /* numbers per block that are summed together */
    NEAR = 1, FAR = 3,     /* blocks that boxes reach */
    SPAN = BLOCKS + 2 * FAR,
};

/* Where each feature begins. */
enum {
    BOXES = COSTS,
    IN_PLACE = BOXES + 2 * COSTS,
    TEXTURE = IN_PLACE + 3,
    OFFSETS = TEXTURE + 1,
    SPEEDS = OFFSETS + PAIRS + 2,
    BEND = SPEEDS + PAIRS,
    EDGE, SPREAD, SHARE, MOMENT, STATIC,
};

/* The samples of one tile, widened, and the sizes that go with them. */
typedef struct {
    const int32_t *picture[SAMPLES];
    int side, block, shift;    /* shift: from a block's sum to 1/16 codes of 8 bits */
    int32_t share[CELLS];      /* of the left end, 1/32768 */
} Tile;

/* The place of the highest bit; value: not 0. */
static inline int exponent_of(uint32_t value)
{
#if defined(__GNUC__)
    return 31 - __builtin_clz(value);
#else
    int exponent = 0;
    while (value >>= 1)
        exponent++;
    return exponent;
#endif
}

/* log2(1 + value / 16) in 1/32, linear between powers of two. */
static int32_t logarithm(uint32_t value)
{
    const uint32_t more = value + 16;
    const int exponent = exponent_of(more);
    return ((exponent - 4) << 5) + (int32_t)(((uint64_t)more << 5) >> exponent) - 32;
}

/* log2(1 + square / 1024) / 2 in 1/32, linear between powers of two. */
static int32_t root_logarithm(uint32_t square)
{
    const uint32_t more = square + 1024;
    const int exponent = exponent_of(more);
    return (((exponent - 10) << 5) + (int32_t)(more >> (exponent - 5)) - 32) >> 1;
}

/* Sum the sizes, and the values, of a difference over each block. */
CLONES static void compare(const int32_t *restrict a, const int32_t *restrict b, int side,
                           BlockSums *restrict sums)
{
    const int block = side / BLOCKS;
    for (int row = 0; row < BLOCKS; row++) {
        int32_t size[WIDEST_TILE] = {0}, value[WIDEST_TILE] = {0}; /* of columns */
        for (int y = 0; y < block; y++)
            for (int x = 0; x < side; x++) {
                const int at = (row * block + y) * side + x;
                size[x] += abs(a[at] - b[at]);
                value[x] += a[at] - b[at];
            }
        for (int column = 0; column < BLOCKS; column++) {
            int32_t both[2] = {0, 0};
            for (int x = 0; x < block; x++) {
                both[0] += size[column * block + x];
                both[1] += value[column * block + x];
            }
            sums->sizes[row * BLOCKS + column] = both[0];
            sums->values[row * BLOCKS + column] = both[1];
        }
    }
}

/* Mix both ends of a motion by each block's share. */
static void mix_ends(const Tile *t, const int32_t *left, const int32_t *right, int32_t *out)
{
    for (int y = 0; y < t->side; y++)
        for (int x = 0; x < t->side; x++) {
            const int32_t share = t->share[y / t->block * BLOCKS + x / t->block];
            const int at = y * t->side + x;
            out[at] = right[at] + share_of(left[at] - right[at], share);
        }
}

/* Sum the gradients of a picture inside each block. */
static void gradients(const Tile *t, const int32_t *picture, int32_t *sums)
{
    for (int cell = 0; cell < CELLS; cell++) {
        const int top = cell / BLOCKS * t->block, left = cell % BLOCKS * t->block;
        int32_t total = 0;
        for (int y = top; y < top + t->block; y++)
            for (int x = left; x < left + t->block; x++) {
                const int32_t *at = picture + y * t->side + x;
                if (x + 1 < left + t->block)
                    total += abs(at[1] - at[0]);
                if (y + 1 < top + t->block)
                    total += abs(at[t->side] - at[0]);
            }
        sums[cell] = total;
    }
}

/* Compare the samples of one tile: see fast_comparisons. mixed: room for a picture. */
static void comparisons(const Tile *t, int32_t *mixed, BlockSums sums[COMPARED],
                        int32_t texture[CELLS])
{
    const int32_t *const *picture = t->picture;
    for (int pair = 0; pair < PAIRS; pair++) {
        const int32_t *left = picture[3 + 2 * pair], *right = picture[4 + 2 * pair];
        compare(left, right, t->side, &sums[pair]);
        if (pair > 0) {
            mix_ends(t, left, right, mixed);
            compare(mixed, picture[0], t->side, &sums[PAIRS + pair - 1]);
        }
    }
    compare(picture[1], picture[2], t->side, &sums[COSTS]);
    compare(picture[1], picture[0], t->side, &sums[COSTS + 1]);
    compare(picture[2], picture[0], t->side, &sums[COSTS + 2]);
    gradients(t, picture[0], texture);
}

/* Write what the samples of one tile tell. shift: from a block's sum to 1/16 codes of 8 bits. */
static void of_samples(const BlockSums sums[COMPARED], const int32_t texture[CELLS], int shift,
                       int16_t *out)
{
    static const int cost_of[COMPARED] = {
        0, 1, 2, 3, 4, 5, 6, 7, 8, IN_PLACE, IN_PLACE + 1, IN_PLACE + 2};
    static const int offset_of[PAIRS + 2] = {0, 1, 2, 3, 4, COSTS + 1, COSTS + 2};
    for (int cell = 0; cell < CELLS; cell++, out += FEATURES) {
        for (int k = 0; k < COMPARED; k++)
            out[cost_of[k]] = (int16_t)logarithm((uint32_t)(sums[k].sizes[cell] >> shift));
        out[TEXTURE] = (int16_t)logarithm((uint32_t)(texture[cell] >> shift));
        for (int k = 0; k < PAIRS + 2; k++) {
            const int32_t mean = (int32_t)(sums[offset_of[k]].values[cell] >> shift);
            out[OFFSETS + k] = (int16_t)clamp(mean >> 3, -96, 96);
        }
    }
}

static uint32_t square_of(int32_t x, int32_t y)
{
    return (uint32_t)x * (uint32_t)x + (uint32_t)y * (uint32_t)y;
}

/* Everything that the motions of one block tell. motions: of the tile, at this block. */
static void of_motion(const int16_t *motions, int tau, int16_t *out)
{
    for (int pair = 0; pair < PAIRS; pair++) {
        const int16_t *m = motions + 4 * pair * CELLS;
        const int32_t speed = root_logarithm(square_of(m[2 * CELLS] - m[0], m[3 * CELLS] - m[CELLS]));
        out[SPEEDS + pair] = (int16_t)(pair ? speed - out[SPEEDS] : speed);
    }
    int32_t bend[2];
    for (int axis = 0; axis < 2; axis++)
        bend[axis] = (motions[axis * CELLS] * (32768 - tau) + motions[(2 + axis) * CELLS] * tau) >> 15;
    out[BEND] = (int16_t)root_logarithm(square_of(bend[0], bend[1]));
}

/* How the motion changes around one block of the field. */
static void of_field(const Tiles *t, size_t at, int16_t *out)
{
    const size_t plane = (size_t)t->rows * (size_t)t->columns;
    const size_t steps[2] = {1, (size_t)t->columns};
    int32_t change[2][2];
    uint32_t square = 0;
    for (int way = 0; way < 2; way++) {
        for (int axis = 0; axis < 2; axis++) {
            const int16_t *left = t->field + (size_t)axis * plane + at;
            const int16_t *right = left + 2 * plane;
            const int32_t ahead = right[steps[way]] - left[steps[way]];
            const int32_t behind = *(right - steps[way]) - *(left - steps[way]);
            change[way][axis] = clamp(ahead - behind, -8191, 8191);
        }
        square += square_of(change[way][0], change[way][1]);
    }
    out[EDGE] = (int16_t)root_logarithm(square);
    out[SPREAD] = (int16_t)clamp((change[0][0] + change[1][1]) >> 3, -32, 32);
}

/* The share of static samples in a block, in 1/32. */
static int16_t static_share(const TileFeatures *f, int row, int column)
{
    int count = 0, shift = 0;
    if (!f->static_mask)
        return 0;
    for (int y = row * f->block; y < (row + 1) * f->block; y++)
        for (int x = column * f->block; x < (column + 1) * f->block; x++)
            count += f->static_mask[(size_t)clamp(y, 0, f->height - 1) * (size_t)f->width +
                                    (size_t)clamp(x, 0, f->width - 1)] != 0;
    while (1 << shift < f->block)
        shift++;
    return (int16_t)((count << 5) >> (2 * shift));
}

/* Widen the samples of a tile. */
static void widen(const TileFeatures *f, int n, int32_t *to)
{
    const size_t size = (size_t)(CELLS * f->block * f->block) * SAMPLES;
    if (f->deep)
        for (size_t i = 0; i < size; i++)
            to[i] = clamp(((const int32_t *)f->samples)[size * (size_t)n + i], -LARGEST, LARGEST);
    else
        for (size_t i = 0; i < size; i++)
            to[i] = ((const int16_t *)f->samples)[size * (size_t)n + i];
}

/* Everything about one tile but the boxes. samples: room for it, or NULL for the fast way. */
static void of_tile(const Tiles *t, const TileFeatures *f, int n, Tile *tile, int32_t *samples,
                    int16_t *out)
{
    const size_t size = (size_t)(CELLS * f->block * f->block);
    const int16_t *motions = f->motions + (size_t)n * 4 * PAIRS * CELLS;
    const size_t plane = (size_t)t->rows * (size_t)t->columns;
    for (int cell = 0; cell < CELLS; cell++) {
        const int row = BLOCKS * t->tiles[2 * n] + cell / BLOCKS;
        const int column = BLOCKS * t->tiles[2 * n + 1] + cell % BLOCKS;
        const size_t at = block_at(t, row, column);
        int16_t *block = out + cell * FEATURES;
        tile->share[cell] = t->field[4 * plane + at];
        of_motion(motions + cell, f->tau, block);
        of_field(t, at, block);
        block[SHARE] = (int16_t)((tile->share[cell] - (32768 - f->tau)) >> 9);
        block[MOMENT] = (int16_t)((2 * f->tau - 32768) >> 10);
        block[STATIC] = static_share(f, row, column);
    }
    BlockSums sums[COMPARED];
    int32_t texture[CELLS];
    if (samples) {
        widen(f, n, samples);
        comparisons(tile, samples + SAMPLES * size, sums, texture);
    } else
        fast_comparisons((const int16_t *)f->samples + (size_t)n * SAMPLES * size, f->block,
                         tile->share, sums, texture);
    of_samples(sums, texture, tile->shift, out);
}

/* Costs of the blocks in and around a tile, and 1 at COUNTED; all 0 where nothing is marked. */
typedef int16_t NearCosts[SPAN][SPAN][PLACES];

/* Sum costs over SPAN rows of boxes, then over columns: the means go into features from `to` on. */
CLONES static void box_means(NearCosts costs, int reach, int to, int16_t *out)
{
    int16_t rows[SPAN][BLOCKS][PLACES];
    const int skip = FAR - reach;
    for (int y = skip; y < SPAN - skip; y++)
        for (int column = 0; column < BLOCKS; column++) {
            int16_t sum[PLACES] = {0};
            for (int x = column + skip; x <= column + skip + 2 * reach; x++)
                for (int k = 0; k < PLACES; k++)
                    sum[k] = (int16_t)(sum[k] + costs[y][x][k]);
            memcpy(rows[y][column], sum, sizeof sum);
        }
    for (int cell = 0; cell < CELLS; cell++) {
        int16_t sum[PLACES] = {0};
        const int top = cell / BLOCKS + skip;
        for (int y = top; y <= top + 2 * reach; y++)
            for (int k = 0; k < PLACES; k++)
                sum[k] = (int16_t)(sum[k] + rows[y][cell % BLOCKS][k]);
        const uint32_t part = (1u << 20) / (uint32_t)sum[COUNTED] + 1; /* exact: sums are small */
        for (int k = 0; k < COSTS; k++)
            out[cell * FEATURES + to + k] = (int16_t)(((uint32_t)sum[k] * part) >> 20);
    }
}

/* Collect the costs in and around a tile. near: the numbers of the 3x3 tiles there, from 1 on, or 0;
 * its rows are `line` apart. features: of all marked tiles. */
static void collect(const int32_t *near, size_t line, const int16_t *features, NearCosts out)
{
    memset(out, 0, sizeof(NearCosts));
    for (int y = 0; y < SPAN; y++)
        for (int x = 0; x < SPAN; x++) {
            const int row = y + BLOCKS - FAR, column = x + BLOCKS - FAR; /* of 3x3 tiles */
            const int32_t number = near[(size_t)(row / BLOCKS) * line + (size_t)(column / BLOCKS)];
            if (!number)
                continue;
            const int cell = row % BLOCKS * BLOCKS + column % BLOCKS;
            memcpy(out[y][x], features + ((size_t)(number - 1) * CELLS + (size_t)cell) * FEATURES,
                   COSTS * sizeof *features);
            out[y][x][COUNTED] = 1;
        }
}

/* Fill in the means of costs around every block, of those in marked tiles. */
static int box_features(const Tiles *t, int16_t *features)
{
    const size_t line = (size_t)t->across + 2;
    int32_t *numbers = calloc(((size_t)t->down + 2) * line, sizeof *numbers);
    if (!numbers)
        return -1;
    for (int n = 0; n < t->count; n++)
        numbers[(size_t)(t->tiles[2 * n] + 1) * line + (size_t)t->tiles[2 * n + 1] + 1] = n + 1;
    for (int n = 0; n < t->count; n++) {
        NearCosts costs;
        int16_t *out = features + (size_t)n * CELLS * FEATURES;
        collect(numbers + (size_t)t->tiles[2 * n] * line + (size_t)t->tiles[2 * n + 1], line,
                features, costs);
        box_means(costs, NEAR, BOXES, out);
        box_means(costs, FAR, BOXES + COSTS, out);
    }
    free(numbers);
    return 0;
}

int tile_features(const Tiles *t, const TileFeatures *f)
{
    const size_t size = (size_t)(CELLS * f->block * f->block);
    const int fast = !f->deep && can_compare_fast(f->block);
    int32_t *samples = fast ? NULL : malloc((SAMPLES + 1) * size * sizeof *samples);
    if (!samples && !fast)
        return -1;
    Tile tile = {.side = BLOCKS * f->block, .block = f->block, .shift = f->depth - 8};
    for (int side = 1; side < f->block; side *= 2)
        tile.shift += 2;
    for (int k = 0; samples && k < SAMPLES; k++)
        tile.picture[k] = samples + (size_t)k * size;
    for (int n = 0; n < t->count; n++)
        of_tile(t, f, n, &tile, samples, f->out + (size_t)n * CELLS * FEATURES);
    free(samples);
    return box_features(t, f->out);
}
