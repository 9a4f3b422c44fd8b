/* The patches of one level, and how they differ from the other picture at some displacement. */
#ifndef LTXFILTER_PATCHES_H
#define LTXFILTER_PATCHES_H

#include "kernels.h"

enum {
    PATCH = 8,   /* samples along each side */
    BORDER = 24, /* samples around the padded planes */
    FINE = 16,   /* positions per sample that patches are compared at */
    FITS = 1 << 21, /* a patch's error that is good enough: 1.4 codes per sample */
};

typedef struct {
    int16_t seen[PATCH * PATCH]; /* 16 times the samples */
    int16_t slope_x[PATCH * PATCH], slope_y[PATCH * PATCH]; /* twice the gradient */
} Patch;

/* Sum the difference in 1/16 codes, its square and its products with the slopes.
 *
 * from: where the patch's corner lies in the other picture, before (past_x, past_y) 1/16 samples
 * are added; 16 bytes of nine rows are read. differences: NULL, or takes the absolute ones.
 */
typedef void Compare(const Patch *own, const uint8_t *from, ptrdiff_t stride, int past_x,
                     int past_y, int32_t sums[4], uint16_t *differences);

Compare *best_compare(void);

/* One level of a search. */
typedef struct {
    int rows, columns;         /* samples of the level */
    int step;                  /* samples from patch to patch */
    int patch_rows, patch_columns;
    int stride;                /* of the padded planes */
    uint8_t *other;            /* padded */
    int16_t *seen, *slope_x, *slope_y; /* padded: 16 times the samples, twice the gradient */
    Compare *compare;
    float *flow;               /* per patch, x then y, in samples */
    float *flow_before;        /* the same of the round before */
    int64_t *error;            /* per patch, see Match */
    int32_t *sums;             /* per padded sample: of weighted x, of weighted y, of weights */
} Level;

/* A patch, and the level that it is compared in. */
typedef struct {
    const Level *level;
    int x, y;                  /* its corner, in samples */
    Patch own;
} Place;

/* A displacement in 1/FINE samples, such that the patch touches the picture. */
typedef struct {
    int32_t x, y;
} Displacement;

/* What comparing a patch at some displacement yields. */
typedef struct {
    int64_t error;     /* 64 times the variance of the difference, 1/256 codes^2, summed */
    int32_t sum, x, y; /* sums of the difference, and of it times the slopes */
    float at_x, at_y;  /* the displacement in samples, in steps of 1/FINE */
} Match;

/* Absolute differences of a patch at the best displacement so far, and room for the next ones. */
typedef struct {
    uint16_t of[2][PATCH * PATCH];
    int best;
} Differences;

/* Return a displacement in 1/FINE samples, cut off at low..high samples. */
static inline int32_t to_fine(float samples, int low, int high)
{
    return clamp(to_fixed(samples, FINE), low * FINE, high * FINE);
}

static inline Displacement displacement_of(const Place *p, float x, float y)
{
    return (Displacement){to_fine(x, -p->x - PATCH, p->level->columns - p->x),
                          to_fine(y, -p->y - PATCH, p->level->rows - p->y)};
}

static inline void take_patch(Place *p, const Level *l, int x, int y)
{
    p->level = l, p->x = x, p->y = y;
    for (int row = 0; row < PATCH; row++) {
        const int at = (y + row + BORDER) * l->stride + x + BORDER;
        memcpy(p->own.seen + PATCH * row, l->seen + at, PATCH * sizeof(int16_t));
        memcpy(p->own.slope_x + PATCH * row, l->slope_x + at, PATCH * sizeof(int16_t));
        memcpy(p->own.slope_y + PATCH * row, l->slope_y + at, PATCH * sizeof(int16_t));
    }
}

static inline void compare_at(const Place *p, Displacement to, int32_t sums[4],
                              uint16_t *differences)
{
    const Level *l = p->level;
    const uint8_t *from = l->other + (p->y + (to.y >> 4) + BORDER) * l->stride + p->x +
                          (to.x >> 4) + BORDER;
    l->compare(&p->own, from, l->stride, to.x & 15, to.y & 15, sums, differences);
}

/* Compare a patch at a displacement. differences: NULL, or takes the absolute ones, 1/16 codes. */
Match match(const Place *p, Displacement to, uint16_t *differences);

/* Take Gauss-Newton steps from a match, as long as they improve it and its error is more than
 * `enough`; `flow`, in samples, follows, and so do `differences`, which may be NULL. */
Match descend(const Place *p, Match best, int steps, int64_t enough, float flow[2],
              Differences *differences);

/* Copy a picture of the level's size into a padded plane, repeating its border. */
void pad_picture(const Level *l, const uint8_t *picture, uint8_t *padded);

/* Make the flow of every sample, [rows, columns, 2], of that of the patches. */
void flow_of_samples(const Level *l, float *out);

/* The same of patches that start from the `flow` at their centres; it may not be `out`. */
void descend_and_blend(const Level *l, const float *flow, int steps, float *out);

#endif
