/* Let cells take over their neighbours' flow where it matches better. */
#include "kernels.h"

enum {
    STEPS = 32,                 /* positions per cell that pictures are compared at */
    OUT_STEPS = 128,            /* of the result, per cell */
    LARGEST_OUT = 32767,        /* of the result, in 1/OUT_STEPS cells */
    AROUND = 5,                 /* cells along each side of the blur, whose weights are 1 4 6 4 1 */
    MOST_DIFFERENCE = 40 * 16,  /* a cell's difference is cut off here, in 1/16 codes */
    OUTSIDE_COST = 5 * 16,      /* what flow that leaves the picture costs, in 1/16 codes */
};

typedef struct {
    int rows, columns, stride;  /* stride of the padded planes below */
    int32_t *x, *y;             /* flow in 1/STEPS cells, padded by LONGEST_SHIFT on all sides */
    uint32_t *quads;            /* every sample of the other picture with its three neighbours */
    const uint8_t *seen;
    uint16_t *line;             /* one row of costs, padded by two */
    uint16_t *ring[AROUND];     /* rows of costs, blurred along x */
    int32_t *best;              /* per cell, the least cost so far, in 1/4096 codes */
    uint8_t *choice;            /* per cell, the number of the candidate that it belongs to */
} Candidates;

/* Hand out the memory. */
static void lay_out(Candidates *c, Block *block)
{
    const size_t cells = (size_t)c->rows * c->columns, line = (size_t)c->columns + 32;
    const size_t padded = (size_t)c->stride * (c->rows + 2 * LONGEST_SHIFT);
    c->x = piece(block, padded, sizeof *c->x);
    c->y = piece(block, padded, sizeof *c->y);
    c->quads = piece(block, cells, sizeof *c->quads);
    c->best = piece(block, cells, sizeof *c->best);
    c->line = piece(block, line, sizeof *c->line);
    for (int k = 0; k < AROUND; k++)
        c->ring[k] = piece(block, line, sizeof *c->ring[k]);
    c->choice = piece(block, cells, sizeof *c->choice);
}

/* Write a row of costs: the absolute difference along the flow that lies `offset` elements away. */
CLONES static void cost_row(const Candidates *c, int row, int offset)
{
    const int start = (row + LONGEST_SHIFT) * c->stride + LONGEST_SHIFT + offset;
    const int32_t *x = c->x + start, *y = c->y + start;
    const uint8_t *seen = c->seen + row * c->columns;
    const int columns = c->columns;
    const int32_t far_x = STEPS * (columns - 1), far_y = STEPS * (c->rows - 1);
    const int32_t half = STEPS / 2;
    uint16_t *cost = c->line + 2;
    for (int i = 0; i < columns; i++) {
        int32_t to_x = STEPS * i + x[i], to_y = STEPS * row + y[i];
        int32_t outside =
            (to_x < -half) | (to_x > far_x + half) | (to_y < -half) | (to_y > far_y + half);
        to_x = clamp(to_x, 0, far_x);
        to_y = clamp(to_y, 0, far_y);
        uint32_t quad = c->quads[(to_y >> 5) * columns + (to_x >> 5)];
        int32_t past_x = to_x & 31, past_y = to_y & 31;
        int32_t top = (int32_t)(quad & 255) * (32 - past_x) + (int32_t)(quad >> 8 & 255) * past_x;
        int32_t bottom =
            (int32_t)(quad >> 16 & 255) * (32 - past_x) + (int32_t)(quad >> 24) * past_x;
        int32_t value = (top * (32 - past_y) + bottom * past_y + 32) >> 6;
        int32_t off = 16 * seen[i] - value;
        off = off < 0 ? -off : off;
        off = off > MOST_DIFFERENCE ? MOST_DIFFERENCE : off;
        cost[i] = (uint16_t)(off + OUTSIDE_COST * outside);
    }
}

CLONES static void blur_row(const uint16_t *restrict line, uint16_t *restrict out, int columns)
{
    for (int i = 0; i < columns; i++)
        out[i] = (uint16_t)(line[i] + line[i + 4] + 4 * (line[i + 1] + line[i + 3]) +
                            6 * line[i + 2]);
}

/* Blur five rows of costs along y, and choose candidate `number` where it costs less than the best
 * so far; it is given `bias`. */
CLONES static void judge_row(uint16_t *const rows[AROUND], int32_t *restrict best,
                             uint8_t *restrict choice, int columns, int number, int32_t bias)
{
    const uint16_t *restrict a = rows[0], *restrict b = rows[1], *restrict c = rows[2];
    const uint16_t *restrict d = rows[3], *restrict e = rows[4];
    for (int i = 0; i < columns; i++) {
        int32_t cost = a[i] + e[i] + 4 * (b[i] + d[i]) + 6 * c[i] - bias;
        int32_t better = cost < best[i];
        best[i] = better ? cost : best[i];
        choice[i] = better ? (uint8_t)number : choice[i];
    }
}

static void ring_row(const Candidates *c, int row, int offset)
{
    const int columns = c->columns;
    uint16_t *line = c->line;
    cost_row(c, row, offset);
    line[0] = line[1] = line[2];
    line[columns + 2] = line[columns + 3] = line[columns + 1];
    blur_row(line, c->ring[row % AROUND], columns);
}

/* Try the candidate that lies `offset` elements away in the padded planes. */
static void try_candidate(const Candidates *c, int offset, int number, int32_t bias)
{
    int ready = 0;
    for (int row = 0; row < c->rows; row++) {
        uint16_t *around[AROUND];
        for (; ready < c->rows && ready <= row + 2; ready++)
            ring_row(c, ready, offset);
        for (int k = 0; k < AROUND; k++)
            around[k] = c->ring[clamp(row + k - 2, 0, c->rows - 1) % AROUND];
        judge_row(around, c->best + row * c->columns, c->choice + row * c->columns, c->columns,
                  number, bias);
    }
}

static void fill_flow(Candidates *c, const float *flow)
{
    const int rows = c->rows, columns = c->columns;
    for (int row = -LONGEST_SHIFT; row < rows + LONGEST_SHIFT; row++) {
        const float *from = flow + 2 * clamp(row, 0, rows - 1) * columns;
        int32_t *x = c->x + (row + LONGEST_SHIFT) * c->stride + LONGEST_SHIFT;
        int32_t *y = c->y + (row + LONGEST_SHIFT) * c->stride + LONGEST_SHIFT;
        for (int i = 0; i < columns; i++) {
            x[i] = to_fixed(from[2 * i], STEPS);
            y[i] = to_fixed(from[2 * i + 1], STEPS);
        }
        for (int i = 1; i <= LONGEST_SHIFT; i++) {
            x[-i] = x[0], y[-i] = y[0];
            x[columns - 1 + i] = x[columns - 1], y[columns - 1 + i] = y[columns - 1];
        }
    }
}

static void fill_quads(Candidates *c, const uint8_t *other)
{
    const int rows = c->rows, columns = c->columns;
    for (int row = 0; row < rows; row++) {
        const uint8_t *top = other + row * columns;
        const uint8_t *bottom = other + clamp(row + 1, 0, rows - 1) * columns;
        for (int i = 0; i < columns; i++) {
            int next = i + 1 < columns ? i + 1 : i;
            c->quads[row * columns + i] = (uint32_t)top[i] | (uint32_t)top[next] << 8 |
                                          (uint32_t)bottom[i] << 16 | (uint32_t)bottom[next] << 24;
        }
    }
}

static void try_all(Candidates *c, const Propagation *a)
{
    for (int i = 0; i < c->rows * c->columns; i++)
        c->best[i] = INT32_MAX;
    memset(c->choice, 0, (size_t)c->rows * c->columns);
    fill_quads(c, a->other);
    fill_flow(c, a->flow);
    try_candidate(c, 0, 0, a->bias);
    for (int k = 0; k < a->count; k++)
        try_candidate(c, a->shifts[2 * k + 1] * c->stride + a->shifts[2 * k], k + 1, 0);
    if (a->former) {
        fill_flow(c, a->former);
        try_candidate(c, 0, a->count + 1, 0);
    }
}

/* Write the flow of each cell's choice: 0 its own, then the neighbours', last `former`. */
static void write_choice(const Candidates *c, const Propagation *a)
{
    int16_t *out = a->out;
    for (int row = 0; row < c->rows; row++)
        for (int i = 0; i < c->columns; i++) {
            const int k = c->choice[row * c->columns + i];
            int x = i, y = row;
            if (k > 0 && k <= a->count) {
                x = clamp(i + a->shifts[2 * k - 2], 0, c->columns - 1);
                y = clamp(row + a->shifts[2 * k - 1], 0, c->rows - 1);
            }
            const float *flow = (k > a->count ? a->former : a->flow) + 2 * (y * c->columns + x);
            for (int axis = 0; axis < 2; axis++)
                *out++ = (int16_t)clamp(to_fixed(flow[axis], OUT_STEPS), -LARGEST_OUT, LARGEST_OUT);
        }
}

int propagate(const Propagation *a)
{
    Candidates c = {.rows = a->rows, .columns = a->columns,
                    .stride = a->columns + 2 * LONGEST_SHIFT, .seen = a->seen};
    Block block = {NULL, 0, 0};
    lay_out(&c, &block);
    if (open_block(&block, 0) < 0)
        return -1;
    lay_out(&c, &block);
    try_all(&c, a);
    write_choice(&c, a);
    free(block.memory);
    return 0;
}
