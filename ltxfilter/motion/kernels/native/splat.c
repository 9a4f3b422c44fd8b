/* Summation splatting with bilinear weights, in integers: the order of additions is free. */
#include "kernels.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { UNIT = 1024 }; /* of weights, and of cells */

static inline float within(float value, float low, float high)
{
    value = value > low ? value : low;
    return value < high ? value : high;
}

#if defined(__SSE2__)
typedef __m128 Cell; /* x, y, weight, nothing */

static inline Cell make_cell(float x, float y)
{
    return _mm_setr_ps(x, y, (float)UNIT, 0.0f);
}

/* Add a share of what a cell holds, rounded half to even. */
static inline void add(int32_t *sum, Cell what, float share)
{
    __m128i more = _mm_cvtps_epi32(_mm_mul_ps(what, _mm_set1_ps(share)));
    _mm_storeu_si128((__m128i *)sum, _mm_add_epi32(_mm_loadu_si128((__m128i *)sum), more));
}
#else
typedef struct { float part[3]; } Cell;

static inline Cell make_cell(float x, float y)
{
    return (Cell){{x, y, (float)UNIT}};
}

static inline void add(int32_t *sum, Cell what, float share)
{
    for (int k = 0; k < 3; k++) {
        union { float f; int32_t i; } bits = { what.part[k] * share + 12582912.0f };
        sum[k] = (int32_t)((uint32_t)sum[k] + (uint32_t)(bits.i - 0x4B400000));
    }
}
#endif

/* For a row of cells: the first of four targets, the shares of all four, and what to add. */
CLONES static void aim_row(const float *restrict flow, const float *restrict weight, int row,
                           int rows, int columns, int32_t *restrict target, float *restrict way_x,
                           float *restrict way_y, float *restrict shares)
{
    const float far_x = (float)(columns + 0.999), far_y = (float)(rows + 0.999);
    for (int i = 0; i < columns; i++) {
        float x = within((float)(i + 1) + flow[2 * i], 0.0f, far_x);
        float y = within((float)(row + 1) + flow[2 * i + 1], 0.0f, far_y);
        const int left = (int)x, top = (int)y;
        x -= (float)left, y -= (float)top;
        const float below = y * weight[i], above = weight[i] - below;
        const float northeast = above * x, southeast = below * x;
        target[i] = 4 * (top * (columns + 2) + left);
        way_x[i] = within(flow[2 * i], -4000.0f, 4000.0f) * -(float)UNIT;
        way_y[i] = within(flow[2 * i + 1], -4000.0f, 4000.0f) * -(float)UNIT;
        shares[i] = above - northeast;
        shares[columns + i] = northeast;
        shares[2 * columns + i] = below - southeast;
        shares[3 * columns + i] = southeast;
    }
}

int splat(const float *flow, const float *weight, int rows, int columns, float *out)
{
    const int width = columns + 2;
    const size_t cells = (size_t)rows * columns, summed = ((size_t)width * (rows + 2) + 1) * 4;
    int32_t *sums = calloc(summed + 7 * (size_t)columns, sizeof(int32_t));
    if (!sums)
        return -1;
    int32_t *targets = sums + summed;
    float *x = (float *)(targets + columns), *y = x + columns, *shares = y + columns;
    for (int row = 0; row < rows; row++) {
        const size_t from = (size_t)row * columns;
        aim_row(flow + 2 * from, weight + from, row, rows, columns, targets, x, y, shares);
        for (int i = 0; i < columns; i++) {
            const Cell what = make_cell(x[i], y[i]);
            int32_t *target = sums + targets[i];
            add(target, what, shares[i]);
            add(target + 4, what, shares[columns + i]);
            add(target + 4 * width, what, shares[2 * columns + i]);
            add(target + 4 * width + 4, what, shares[3 * columns + i]);
        }
    }
    for (int row = 0; row < rows; row++) {
        const int32_t *sum = sums + 4 * ((size_t)(row + 1) * width + 1);
        float *line = out + (size_t)row * columns;
        for (int i = 0; i < columns; i++, sum += 4)
            for (int part = 0; part < 3; part++)
                line[part * cells + i] = (float)sum[part] * (1.0f / UNIT);
    }
    free(sums);
    return 0;
}
