/* Summation splatting with bilinear weights, in integers: the order of additions is free. */
#include "kernels.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum {
    UNIT = 1024,        /* sums are in 1/1024 of cells and of weights */
    LONGEST_FLOW = 4000, /* cells; a sum holds it some 500 times */
};

static inline float within(float value, float low, float high)
{
    value = value > low ? value : low;
    return value < high ? value : high;
}

#if defined(__SSE2__)
typedef __m128 Cell; /* what a cell carries: x, y, weight, nothing */

static inline Cell make_cell(float x, float y)
{
    return _mm_setr_ps(x, y, (float)UNIT, 0.0f);
}

/* Add a share of what a cell carries, rounded half to even. */
static inline void add(int32_t *sum, Cell cell, float share)
{
    __m128i more = _mm_cvtps_epi32(_mm_mul_ps(cell, _mm_set1_ps(share)));
    _mm_storeu_si128((__m128i *)sum, _mm_add_epi32(_mm_loadu_si128((__m128i *)sum), more));
}
#else
typedef struct { float values[3]; } Cell; /* what a cell carries: x, y, weight */

static inline Cell make_cell(float x, float y)
{
    return (Cell){{x, y, (float)UNIT}};
}

static inline void add(int32_t *sum, Cell cell, float share)
{
    for (int k = 0; k < 3; k++)
        sum[k] = (int32_t)((uint32_t)sum[k] + (uint32_t)rounded(cell.values[k] * share));
}
#endif

/* The sums, and what the cells of one row carry and where to: arrays of one number per cell. */
typedef struct {
    int32_t *sums;   /* per cell with a border of one: x, y, weight, nothing; one cell more */
    int32_t *target; /* index into the sums of the first of four cells */
    float *x, *y;    /* the flow turned round, in 1/UNIT cells */
    float *shares;   /* [4, columns]: of the first cell, the next one, and the two below */
} Cargo;

/* Hand out the memory. */
static void lay_out(Cargo *c, Block *block, int rows, int columns)
{
    const size_t line = (size_t)columns;
    c->sums = piece(block, 4 * ((line + 2) * ((size_t)rows + 2) + 1), sizeof *c->sums);
    c->target = piece(block, line, sizeof *c->target);
    c->x = piece(block, line, sizeof *c->x);
    c->y = piece(block, line, sizeof *c->y);
    c->shares = piece(block, 4 * line, sizeof *c->shares);
}

CLONES static void aim_row(const float *restrict flow, const float *restrict weight, int row,
                           int rows, int columns, int32_t *restrict target, float *restrict back_x,
                           float *restrict back_y, float *restrict shares)
{
    const float far_x = (float)columns + 0.999f, far_y = (float)rows + 0.999f;
    for (int i = 0; i < columns; i++) {
        float x = within((float)(i + 1) + flow[2 * i], 0.0f, far_x);
        float y = within((float)(row + 1) + flow[2 * i + 1], 0.0f, far_y);
        const int left = (int)x, top = (int)y;
        x -= (float)left, y -= (float)top;
        const float below = y * weight[i], above = weight[i] - below;
        const float northeast = above * x, southeast = below * x;
        target[i] = 4 * (top * (columns + 2) + left);
        back_x[i] = within(flow[2 * i], -LONGEST_FLOW, LONGEST_FLOW) * -(float)UNIT;
        back_y[i] = within(flow[2 * i + 1], -LONGEST_FLOW, LONGEST_FLOW) * -(float)UNIT;
        shares[i] = above - northeast;
        shares[columns + i] = northeast;
        shares[2 * columns + i] = below - southeast;
        shares[3 * columns + i] = southeast;
    }
}

static void add_row(const Cargo *cargo, int columns)
{
    const int below = 4 * (columns + 2); /* from a cell's sums to those of the one below */
    const int32_t *targets = cargo->target;
    const float *back_x = cargo->x, *back_y = cargo->y, *shares = cargo->shares;
    for (int i = 0; i < columns; i++) {
        const Cell cell = make_cell(back_x[i], back_y[i]);
        int32_t *target = cargo->sums + targets[i];
        add(target, cell, shares[i]);
        add(target + 4, cell, shares[columns + i]);
        add(target + below, cell, shares[2 * columns + i]);
        add(target + below + 4, cell, shares[3 * columns + i]);
    }
}

int splat(const float *flow, const float *weight, int rows, int columns, float *out)
{
    const size_t width = (size_t)columns + 2, cells = (size_t)rows * columns;
    Cargo cargo;
    Block block = {NULL, 0, 0};
    lay_out(&cargo, &block, rows, columns);
    if (open_block(&block, 1) < 0)
        return -1;
    lay_out(&cargo, &block, rows, columns);
    for (int row = 0; row < rows; row++) {
        const size_t from = (size_t)row * columns;
        aim_row(flow + 2 * from, weight + from, row, rows, columns, cargo.target, cargo.x, cargo.y,
                cargo.shares);
        add_row(&cargo, columns);
    }
    for (int row = 0; row < rows; row++) {
        const int32_t *sum = cargo.sums + 4 * ((row + 1) * width + 1);
        float *line = out + (size_t)row * columns;
        for (int i = 0; i < columns; i++, sum += 4)
            for (int k = 0; k < 3; k++)
                line[k * cells + i] = (float)sum[k] * (1.0f / UNIT);
    }
    free(block.memory);
    return 0;
}
