/* Tiles in which flow is uncertain, what may be mixed there, and by which weights.
 *
 * A tile is 4x4 blocks; a block is a power of two of samples along each side. c_fusion.py documents
 * what each kernel computes; numpy_tiles.py, numpy_features.py and numpy_weights.py are the twins.
 */
#ifndef LTXFILTER_FUSION_H
#define LTXFILTER_FUSION_H

#include "kernels.h"

enum {
    BLOCKS = 4,              /* along each side of a tile */
    CELLS = BLOCKS * BLOCKS, /* blocks of a tile */
    PADDED = BLOCKS + 2,     /* the same with one more on each side */
    LANES = 8,               /* numbers that a padded row has room for */
    PAIRS = 5,               /* motions of a block */
    SAMPLES = 3 + 2 * PAIRS, /* pictures of a tile: drawn, left, right, both ends of each motion */
    FEATURES = 49,
    WEIGHTS = SAMPLES - 1,   /* of all but what was drawn */
    CHOICES = 17,            /* of the network */
    OUTPUTS = CHOICES + 1,   /* of the network: after its choices how much to sharpen */
    UNITS = 48,              /* of each layer of the network */
    LAYERS = 4,
    WIDEST_BLOCK = 16,       /* samples */
    WIDEST_TILE = BLOCKS * WIDEST_BLOCK,
    LARGEST = 1 << 22,       /* of a sample in 1/16 codes, however deep: no sum of them overflows */
};

/* The marked tiles of a picture, and the motion around them. */
typedef struct {
    const int32_t *tiles; /* [count, 2]: row and column */
    int count;
    const int16_t *field; /* [5, rows, columns], one block of border on each side */
    int rows, columns;
    int down, across;     /* tiles of the picture */
} Tiles;

/* Planes of one shape, each of the picture that was drawn and of both keyframes. */
typedef struct {
    const void *pictures[3];   /* drawn, left, right */
    ptrdiff_t stride[3];       /* bytes from row to row */
    void *out;                 /* [count, SAMPLES, 4 block_y, 4 block_x] int16, or int32 if deep */
} TilePlane;

typedef struct {
    TilePlane planes[MOST_PLANES];
    int count;
    int width, height, deep;   /* deep: samples have 16 bits */
    int block_x, block_y;      /* samples */
    int shift_x, shift_y;      /* of luma's samples to those of these planes */
    const int16_t *motions;    /* [count, 4 PAIRS, BLOCKS, BLOCKS] */
    const int8_t *taps;
} TilePlanes;

typedef struct {
    const void *samples;       /* as TilePlane.out, of luma */
    int deep, depth, block;
    const int16_t *motions;
    const uint8_t *static_mask; /* [height, width], or NULL */
    int width, height;
    int tau;                   /* 1/32768 */
    int16_t *out;              /* [count, CELLS, FEATURES] */
} TileFeatures;

typedef struct {
    const int16_t *weights[LAYERS]; /* [inputs, outputs] */
    const int32_t *bias[LAYERS];    /* [outputs] */
    const int32_t *halvings;        /* [256]: 2^(-i / 256) in 1/32768 */
} Network;

typedef struct {
    const void *samples;       /* as TilePlane.out, of luma */
    int count, deep, depth, block;
    int16_t *weights;          /* [count, WEIGHTS, CELLS], which become smaller */
} TileLimit;

typedef struct {
    void *picture;             /* drawn anew in the marked tiles */
    ptrdiff_t stride;
    int width, height, deep, depth;
    int block_x, block_y;
    const void *samples;
    const int16_t *weights;    /* [count, WEIGHTS, CELLS] */
    const int16_t *gains;      /* [count, CELLS] of square blocks in 1/64; NULL: as it is mixed */
    int64_t wanted;            /* growth of the picture's sum that suits the keyframes, 1/16 codes */
    const int32_t *index;      /* [down, across]: the number of the tile there, or -1 */
    const uint8_t *static_mask;
    ptrdiff_t stride_static;
} TileMix;

int tile_motions(const Tiles *t, int16_t *out);
void tile_samples(const Tiles *t, const TilePlanes *p);
int tile_features(const Tiles *t, const TileFeatures *f);
void tile_weights(const Tiles *t, const int16_t *features, const Network *n, int16_t *weights,
                  int16_t *gains);
void limit_change(const TileLimit *l);
int tile_mix(const Tiles *t, const TileMix *m);

/* A sample of what tiles show, in 1/16 codes. samples: int32 if deep, else int16. */
static inline int32_t shown_sample(const void *samples, int deep, size_t at)
{
    return deep ? clamp(((const int32_t *)samples)[at], -LARGEST, LARGEST)
                : ((const int16_t *)samples)[at];
}

/* The place of a block in a field's plane; beyond the picture the last one repeats. */
static inline size_t block_at(const Tiles *t, int row, int column)
{
    row = clamp(row, 0, t->rows - 3), column = clamp(column, 0, t->columns - 3);
    return (size_t)(row + 1) * (size_t)t->columns + (size_t)column + 1;
}

/* For a sample of a tile: the padded block whose centre lies before it, and how far past it lies,
 * in 1/32768 blocks. */
static inline int block_before(int sample, int block, int *past)
{
    if (block == 1) {
        *past = 0;
        return sample + 1;
    }
    const int before = (sample + block / 2) / block;
    *past = (2 * (sample + block / 2 - before * block) + 1) * (0x8000 / (2 * block));
    return before;
}

/* The same for all samples of a tile's side. */
typedef struct {
    int before[WIDEST_TILE], after[WIDEST_TILE];
    int16_t past[WIDEST_TILE];
} Between;

static inline void fill_between(Between *b, int block)
{
    for (int i = 0; i < BLOCKS * block; i++) {
        int past;
        b->before[i] = block_before(i, block, &past);
        b->after[i] = b->before[i] + 1 < PADDED ? b->before[i] + 1 : PADDED - 1;
        b->past[i] = (int16_t)past;
    }
}

/* Read padded rows of numbers between two rows, rounded half up. */
static inline void between_lines(const int16_t *top, const int16_t *bottom, int past, int16_t *out)
{
    for (int i = 0; i < LANES; i++)
        out[i] = (int16_t)(top[i] + (((bottom[i] - top[i]) * past + 0x4000) >> 15));
}

#endif
