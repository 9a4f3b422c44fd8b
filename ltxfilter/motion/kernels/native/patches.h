/* The patches of one level, and how they differ from the other picture at some place. */
#ifndef LTXFILTER_PATCHES_H
#define LTXFILTER_PATCHES_H

#include "kernels.h"

enum { PATCH = 8 }; /* samples */

typedef struct {
    int16_t seen[PATCH * PATCH]; /* 16 times the samples */
    int16_t slope_x[PATCH * PATCH], slope_y[PATCH * PATCH]; /* twice the gradient */
} Patch;

/* Sum the difference in 1/16 codes, its square and its products with the slopes.
 *
 * from: where the patch's corner lies in the other picture, before (part_x, part_y) 1/16 samples
 * are added; 16 bytes of nine rows are read. apart: NULL, or takes the absolute differences.
 */
typedef void Compare(const Patch *own, const uint8_t *from, ptrdiff_t stride, int part_x,
                     int part_y, int32_t sums[4], uint16_t *apart);

Compare *best_compare(void);

enum {
    BORDER = 24, /* samples around the padded planes */
    FINE = 16,   /* positions per sample that patches are compared at */
    FITS = 1 << 21, /* a patch's error that a second look need not lower: 1.4 codes per sample */
};

typedef struct {
    int rows, columns;         /* of the level */
    int step;                  /* samples from patch to patch */
    int patch_rows, patch_columns;
    int stride;                /* of the padded planes */
    uint8_t *other;            /* padded */
    int16_t *seen, *slope_x, *slope_y; /* padded: 16 times the samples, twice the gradient */
    Compare *compare;
    float *flow;               /* per patch, x then y */
    int64_t *error;            /* per patch */
} Level;

static inline int32_t to_fine(float value, int low, int high)
{
    float scaled = value * (float)FINE;
    scaled = scaled < -1048576.0f ? -1048576.0f : scaled > 1048576.0f ? 1048576.0f : scaled;
    union { float f; int32_t i; } bits = { scaled + 12582912.0f }; /* round half to even */
    return clamp(bits.i - 0x4B400000, low * FINE, high * FINE);
}

/* A patch and what it is compared with, from the place that it has in the other picture. */
typedef struct {
    const Level *l;
    int x, y;
    Patch own;
} Place;

static inline void take_patch(Place *p, const Level *l, int x, int y)
{
    p->l = l, p->x = x, p->y = y;
    for (int row = 0; row < PATCH; row++) {
        const int at = (y + row + BORDER) * l->stride + x + BORDER;
        memcpy(p->own.seen + PATCH * row, l->seen + at, PATCH * sizeof(int16_t));
        memcpy(p->own.slope_x + PATCH * row, l->slope_x + at, PATCH * sizeof(int16_t));
        memcpy(p->own.slope_y + PATCH * row, l->slope_y + at, PATCH * sizeof(int16_t));
    }
}

static inline void compare_at(const Place *p, int32_t to_x, int32_t to_y, int32_t sums[4],
                              uint16_t *apart)
{
    const Level *l = p->l;
    const uint8_t *from = l->other + (p->y + (to_y >> 4) + BORDER) * l->stride + p->x +
                          (to_x >> 4) + BORDER;
    l->compare(&p->own, from, l->stride, to_x & 15, to_y & 15, sums, apart);
}

/* What comparing a patch at some displacement yields. */
typedef struct {
    int64_t error;  /* 64 times the variance of the difference, 1/256 codes^2, summed */
    int32_t sum, x, y; /* sums of the difference, and of it times the slopes */
    float at_x, at_y;  /* the displacement in steps of 1/16 */
} Match;

/* A displacement in 1/16 samples, so that the patch touches the picture. */
typedef struct {
    int32_t x, y;
} Spot;

static inline Spot spot_of(const Place *p, float way_x, float way_y)
{
    return (Spot){to_fine(way_x, -p->x - PATCH, p->l->columns - p->x),
                  to_fine(way_y, -p->y - PATCH, p->l->rows - p->y)};
}

/* apart: NULL, or takes the absolute differences in 1/16 codes. */
Match match(const Place *p, Spot at, uint16_t *apart);

/* Absolute differences of a patch at the best place so far, and room for those at the next. */
typedef struct {
    uint16_t of[2][PATCH * PATCH];
    int best;
} Apart;

/* Take Gauss-Newton steps from a match, as long as they improve it and its error is more than
 * enough; `way` follows, and so does `apart`, which may be NULL. */
Match descend(const Place *p, Match best, int steps, int64_t enough, float way[2], Apart *apart);

/* Copy a picture of the level's size into a padded plane, repeating its border. */
void pad_picture(const Level *l, const uint8_t *picture, uint8_t *padded);

/* How many patches cover that many samples. */
int patches_over(int samples, int step);

/* Make the flow of every sample, [rows, columns, 2], of that of the patches.
 *
 * sums: room for three numbers per padded sample.
 */
void flow_of_samples(const Level *l, int32_t *sums, float *out);

/* The same of patches that start from the `flow` at their centres; it may not be `out`. */
void descend_and_blend(const Level *l, const float *flow, int steps, int32_t *sums, float *out);

#endif
