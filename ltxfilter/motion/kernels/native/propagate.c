/* Let cells take over their neighbours' flow where it matches better. */
#include "kernels.h"

enum { REACH = 16 }; /* cells; longest shift of a candidate */

typedef struct {
    int rows, columns, stride; /* stride of the padded planes below */
    int32_t *x, *y;            /* flow in 1/32 cells, padded by REACH on all sides */
    uint32_t *quads;           /* every sample of the other picture with its three neighbours */
    const uint8_t *seen;
    uint16_t *ring[5];         /* rows of costs, blurred along x */
    uint16_t *line;            /* one row of costs, padded by two */
    int32_t *best;
    uint8_t *choice;
} Search;

CLONES static void cost_row(const Search *s, int row, int offset)
{
    const int32_t *x = s->x + (row + REACH) * s->stride + REACH + offset;
    const int32_t *y = s->y + (row + REACH) * s->stride + REACH + offset;
    const uint8_t *seen = s->seen + row * s->columns;
    const int columns = s->columns;
    const int32_t far_x = 32 * (columns - 1), far_y = 32 * (s->rows - 1);
    uint16_t *cost = s->line + 2;
    for (int i = 0; i < columns; i++) {
        int32_t at_x = 32 * i + x[i], at_y = 32 * row + y[i];
        int32_t outside = (at_x < -16) | (at_x > far_x + 16) | (at_y < -16) | (at_y > far_y + 16);
        at_x = clamp(at_x, 0, far_x);
        at_y = clamp(at_y, 0, far_y);
        uint32_t quad = s->quads[(at_y >> 5) * columns + (at_x >> 5)];
        int32_t part_x = at_x & 31, part_y = at_y & 31;
        int32_t top = (int32_t)(quad & 255) * (32 - part_x) + (int32_t)(quad >> 8 & 255) * part_x;
        int32_t bottom = (int32_t)(quad >> 16 & 255) * (32 - part_x) + (int32_t)(quad >> 24) * part_x;
        int32_t value = (top * (32 - part_y) + bottom * part_y + 32) >> 6;
        int32_t off = 16 * seen[i] - value;
        off = off < 0 ? -off : off;
        off = off > 640 ? 640 : off;
        cost[i] = (uint16_t)(off + 80 * outside);
    }
}

CLONES static void blur_row(const uint16_t *restrict line, uint16_t *restrict out, int columns)
{
    for (int i = 0; i < columns; i++)
        out[i] = (uint16_t)(line[i] + line[i + 4] + 4 * (line[i + 1] + line[i + 3]) + 6 * line[i + 2]);
}

CLONES static void judge_row(uint16_t *const rows[5], int32_t *restrict best,
                             uint8_t *restrict choice, int columns, int index, int32_t bias)
{
    const uint16_t *restrict a = rows[0], *restrict b = rows[1], *restrict c = rows[2];
    const uint16_t *restrict d = rows[3], *restrict e = rows[4];
    for (int i = 0; i < columns; i++) {
        int32_t cost = a[i] + e[i] + 4 * (b[i] + d[i]) + 6 * c[i] - bias;
        int32_t better = cost < best[i];
        best[i] = better ? cost : best[i];
        choice[i] = better ? (uint8_t)index : choice[i];
    }
}

static void ring_row(const Search *s, int row, int offset)
{
    const int columns = s->columns;
    uint16_t *line = s->line;
    cost_row(s, row, offset);
    line[0] = line[1] = line[2];
    line[columns + 2] = line[columns + 3] = line[columns + 1];
    blur_row(line, s->ring[row % 5], columns);
}

/* Try the candidate that lies `offset` samples away in the padded planes. */
static void try_candidate(const Search *s, int offset, int index, int32_t bias)
{
    int ready = 0;
    for (int row = 0; row < s->rows; row++) {
        uint16_t *around[5];
        for (; ready < s->rows && ready <= row + 2; ready++)
            ring_row(s, ready, offset);
        for (int k = 0; k < 5; k++)
            around[k] = s->ring[clamp(row + k - 2, 0, s->rows - 1) % 5];
        judge_row(around, s->best + row * s->columns, s->choice + row * s->columns, s->columns,
                  index, bias);
    }
}

static inline int32_t to_fixed(float cells, float steps)
{
    float scaled = cells * steps;
    scaled = scaled < -1048576.0f ? -1048576.0f : scaled > 1048576.0f ? 1048576.0f : scaled;
    union { float f; int32_t i; } bits = { scaled + 12582912.0f }; /* round half to even */
    return bits.i - 0x4B400000;
}

static void fill_flow(Search *s, const float *flow)
{
    const int rows = s->rows, columns = s->columns;
    for (int row = -REACH; row < rows + REACH; row++) {
        const float *from = flow + 2 * clamp(row, 0, rows - 1) * columns;
        int32_t *x = s->x + (row + REACH) * s->stride + REACH;
        int32_t *y = s->y + (row + REACH) * s->stride + REACH;
        for (int i = 0; i < columns; i++) {
            x[i] = to_fixed(from[2 * i], 32.0f);
            y[i] = to_fixed(from[2 * i + 1], 32.0f);
        }
        for (int i = 1; i <= REACH; i++) {
            x[-i] = x[0], y[-i] = y[0];
            x[columns - 1 + i] = x[columns - 1], y[columns - 1 + i] = y[columns - 1];
        }
    }
}

static void fill_search(Search *s, const float *flow, const uint8_t *other)
{
    const int rows = s->rows, columns = s->columns;
    fill_flow(s, flow);
    for (int row = 0; row < rows; row++) {
        const uint8_t *top = other + row * columns;
        const uint8_t *bottom = other + clamp(row + 1, 0, rows - 1) * columns;
        for (int i = 0; i < columns; i++) {
            int next = i + 1 < columns ? i + 1 : i;
            s->quads[row * columns + i] = (uint32_t)top[i] | (uint32_t)top[next] << 8 |
                                          (uint32_t)bottom[i] << 16 | (uint32_t)bottom[next] << 24;
        }
    }
    for (int i = 0; i < rows * columns; i++)
        s->best[i] = INT32_MAX;
    memset(s->choice, 0, (size_t)rows * columns);
}

int propagate(const float *flow, const float *former, const uint8_t *seen, const uint8_t *other,
              const int32_t *shifts, int count, int32_t bias, int rows, int columns, int16_t *out)
{
    Search s = {rows, columns, columns + 2 * REACH, NULL, NULL, NULL, seen, {NULL}, NULL, NULL, NULL};
    const size_t padded = (size_t)s.stride * (rows + 2 * REACH), cells = (size_t)rows * columns;
    const size_t line = (size_t)columns + 32;
    char *memory = malloc(padded * 8 + cells * 9 + line * 12 + 64);
    if (!memory)
        return -1;
    s.x = (int32_t *)memory;
    s.y = s.x + padded;
    s.quads = (uint32_t *)(s.y + padded);
    s.best = (int32_t *)(s.quads + cells);
    s.line = (uint16_t *)(s.best + cells);
    for (int k = 0; k < 5; k++)
        s.ring[k] = s.line + line * (k + 1);
    s.choice = (uint8_t *)(s.line + line * 6);
    fill_search(&s, flow, other);
    try_candidate(&s, 0, 0, bias);
    for (int k = 0; k < count; k++)
        try_candidate(&s, shifts[2 * k + 1] * s.stride + shifts[2 * k], k + 1, 0);
    if (former) {
        fill_flow(&s, former);
        try_candidate(&s, 0, count + 1, 0);
    }
    for (int row = 0; row < rows; row++)
        for (int i = 0; i < columns; i++) {
            int k = s.choice[row * columns + i];
            int x = i, y = row;
            if (k > 0 && k <= count) {
                x = clamp(i + shifts[2 * k - 2], 0, columns - 1);
                y = clamp(row + shifts[2 * k - 1], 0, rows - 1);
            }
            const float *way = (k > count ? former : flow) + 2 * (y * columns + x);
            for (int axis = 0; axis < 2; axis++)
                *out++ = (int16_t)clamp(to_fixed(way[axis], 128.0f), -32767, 32767);
        }
    free(memory);
    return 0;
}
