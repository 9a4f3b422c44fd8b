/* Small steps on the work grid that would take NumPy many passes over it. */
#include "kernels.h"

static inline float at_most(float value, float high)
{
    return value < high ? value : high;
}

/* How surely `there` is right: near 1 where `back` leads to the start again. */
CLONES void agree(const float *restrict there, const float *restrict back, int rows, int columns,
                  float *restrict out)
{
    const float far_x = (float)(columns - 1), far_y = (float)(rows - 1);
    for (int row = 0; row < rows; row++)
        for (int i = 0; i < columns; i++) {
            const float *flow = there + 2 * (row * columns + i);
            float x = (float)i + flow[0], y = (float)row + flow[1];
            x = x > 0.0f ? at_most(x, far_x) : 0.0f;
            y = y > 0.0f ? at_most(y, far_y) : 0.0f;
            const float *then = back + 2 * ((int)(y + 0.5f) * columns + (int)(x + 0.5f));
            const float off[2] = {flow[0] + then[0], flow[1] + then[1]};
            float error = off[0] * off[0] + off[1] * off[1];
            float length = flow[0] * flow[0] + flow[1] * flow[1];
            float allowed = 1.0f + 0.0025f * length;
            out[row * columns + i] = 1.0f / (1.0f + at_most(error / allowed, 19.0f));
        }
}

#define HOLE 0.05f   /* a cell of less weight is a hole, and filled from around it */
#define ENOUGH 0.02  /* mean weight of a box that fills a hole */
#define NOTHING 1e-6 /* weight of the whole grid below which nothing can fill a hole */

/* What a box holds. All sums are multiples of 1/1024, so that the order of additions is free. */
typedef struct {
    double x, y, weight;
} Box;

/* The sums of a splat. Boxes are added up cell by cell, and read from a table of sums once so many
 * cells were added that making the table is worth it. */
typedef struct {
    const float *sums;
    double *table; /* over all cells above and to the left, [rows + 1, columns + 1, 3]; or NULL */
    size_t added;  /* cells, for all boxes so far */
    int rows, columns;
} Sums;

static int make_table(Sums *s)
{
    const size_t line = 3 * ((size_t)s->columns + 1), cells = (size_t)s->rows * s->columns;
    s->table = calloc(line * ((size_t)s->rows + 1), sizeof(double));
    if (!s->table)
        return -1;
    for (int row = 0; row < s->rows; row++) {
        double *here = s->table + line * (row + 1) + 3, *above = here - line;
        const float *sum = s->sums + (size_t)row * s->columns;
        double x = 0, y = 0, weight = 0;
        for (int i = 0; i < s->columns; i++, here += 3, above += 3, sum++) {
            x += sum[0], y += sum[cells], weight += sum[2 * cells];
            here[0] = above[0] + x, here[1] = above[1] + y, here[2] = above[2] + weight;
        }
    }
    return 0;
}

static Box box_in_table(const Sums *s, int top, int bottom, int left, int right)
{
    const size_t line = 3 * ((size_t)s->columns + 1);
    const double *a = s->table + line * top + 3 * left, *b = s->table + line * top + 3 * right;
    const double *c = s->table + line * bottom + 3 * left;
    const double *d = s->table + line * bottom + 3 * right;
    return (Box){d[0] - b[0] - c[0] + a[0], d[1] - b[1] - c[1] + a[1], d[2] - b[2] - c[2] + a[2]};
}

static Box box_added(const Sums *s, int top, int bottom, int left, int right)
{
    const size_t cells = (size_t)s->rows * s->columns;
    Box box = {0, 0, 0};
    for (int row = top; row < bottom; row++) {
        const float *sum = s->sums + (size_t)row * s->columns;
        for (int i = left; i < right; i++)
            box.x += sum[i], box.y += sum[cells + i], box.weight += sum[2 * cells + i];
    }
    return box;
}

/* Give a hole the mean of the smallest box around it that holds enough. */
static int fill_hole(Sums *s, int row, int column, float *out)
{
    for (int reach = 2;; reach = 3 * reach + 1) {
        const int top = clamp(row - reach, 0, s->rows);
        const int bottom = clamp(row + reach + 1, 0, s->rows);
        const int left = clamp(column - reach, 0, s->columns);
        const int right = clamp(column + reach + 1, 0, s->columns);
        const size_t area = (size_t)(bottom - top) * (right - left);
        s->added += area;
        if (!s->table && s->added > 2 * (size_t)s->rows * s->columns && make_table(s) < 0)
            return -1;
        const Box box = (s->table ? box_in_table : box_added)(s, top, bottom, left, right);
        const int whole = area == (size_t)s->rows * s->columns;
        if (box.weight > ENOUGH * (double)area || (whole && box.weight > NOTHING)) {
            out[0] = (float)box.x / (float)box.weight;
            out[1] = (float)box.y / (float)box.weight;
            return 0;
        }
        if (whole) {
            out[0] = out[1] = 0.0f;
            return 0;
        }
    }
}

/* Divide a row of sums by their weights; return how many cells are holes. */
CLONES static int divide_row(const float *restrict x, const float *restrict y,
                             const float *restrict weight, float *restrict out, int columns)
{
    int holes = 0;
    for (int i = 0; i < columns; i++) {
        out[2 * i] = x[i] / weight[i];
        out[2 * i + 1] = y[i] / weight[i];
    }
    for (int i = 0; i < columns; i++)
        holes += !(weight[i] >= HOLE);
    return holes;
}

int fill(const float *sums, int rows, int columns, float *out)
{
    const size_t cells = (size_t)rows * columns;
    Sums all = {sums, NULL, 0, rows, columns};
    int failed = 0;
    for (int row = 0; row < rows && !failed; row++) {
        const float *line = sums + (size_t)row * columns, *weight = line + 2 * cells;
        float *flow = out + 2 * (size_t)row * columns;
        int holes = divide_row(line, line + cells, weight, flow, columns);
        for (int i = 0; holes && !failed; i++)
            if (!(weight[i] >= HOLE)) {
                failed = fill_hole(&all, row, i, flow + 2 * i);
                holes--;
            }
    }
    free(all.table);
    return failed;
}

/* Three rows' weights, each at most 1, added up along y; out is padded by one on both sides. */
CLONES static void three_rows(const float *restrict above, const float *restrict here,
                              const float *restrict below, float *restrict out, int columns)
{
    for (int i = 0; i < columns; i++)
        out[i + 1] = (at_most(above[i], 1.0f) + at_most(here[i], 1.0f)) + at_most(below[i], 1.0f);
    out[0] = out[1], out[columns + 1] = out[columns];
}

CLONES static void share_row(const float *restrict a, const float *restrict b, float near,
                             float far, float *restrict out, int columns)
{
    for (int i = 0; i < columns; i++) {
        float left = near * sqrtf(sqrtf(((a[i] + a[i + 1]) + a[i + 2]) / 9.0f + 0.01f));
        float right = far * sqrtf(sqrtf(((b[i] + b[i + 1]) + b[i + 2]) / 9.0f + 0.01f));
        out[i] = left / (left + right);
    }
}

int share_of_left(const float *left, const float *right, float near, float far, int rows,
                  int columns, float *out)
{
    const size_t weights = 2 * (size_t)rows * columns, line = (size_t)columns + 2;
    float *a = calloc(2 * line, sizeof(float)), *b = a + line;
    if (!a)
        return -1;
    left += weights, right += weights;
    for (int row = 0; row < rows; row++) {
        const int above = clamp(row - 1, 0, rows - 1) * columns, here = row * columns;
        const int below = clamp(row + 1, 0, rows - 1) * columns;
        three_rows(left + above, left + here, left + below, a, columns);
        three_rows(right + above, right + here, right + below, b, columns);
        share_row(a, b, near, far, out + here, columns);
    }
    free(a);
    return 0;
}

/* How far cells have come: ahead * passed + (ahead * span + behind) * bend * sure. */
CLONES void travel(const float *restrict ahead, const float *restrict behind,
                   const float *restrict sure, float passed, float span, float bend, int cells,
                   float *restrict out)
{
    for (int i = 0; i < cells; i++) {
        const float turned = bend * sure[i];
        for (int k = 0; k < 2; k++)
            out[2 * i + k] = ahead[2 * i + k] * passed +
                             (ahead[2 * i + k] * span + behind[2 * i + k]) * turned;
    }
}

#define LARGEST 16352.0f /* of a field: 511 samples in 1/32, or a share of 1 in 1/16352 */

static inline int16_t to_field(float value)
{
    value = value < -LARGEST ? -LARGEST : at_most(value, LARGEST);
    return (int16_t)rounded(value);
}

/* Write a row of a field's five planes; out: its first cell inside the border. */
CLONES static void field_row(const float *to_left, const float *to_right, const float *share,
                             float scale_x, float scale_y, int columns, int16_t *out, size_t plane)
{
    for (int i = 0; i < columns; i++) {
        out[i] = to_field(to_left[2 * i] * scale_x);
        out[plane + i] = to_field(to_left[2 * i + 1] * scale_y);
        out[2 * plane + i] = to_field(to_right[2 * i] * scale_x);
        out[3 * plane + i] = to_field(to_right[2 * i + 1] * scale_y);
        /* In 1/32768, up to 32735: half a step more than the middle of the interval. */
        out[4 * plane + i] = (int16_t)(2 * to_field(share[i] * LARGEST) + 31);
    }
    for (int k = 0; k < 5; k++, out += plane)
        out[-1] = out[0], out[columns] = out[columns - 1];
}

void make_field(const float *to_left, const float *to_right, const float *share, float scale_x,
                float scale_y, int rows, int columns, int16_t *out)
{
    const size_t line = (size_t)columns + 2, plane = line * ((size_t)rows + 2);
    for (int row = -1; row <= rows; row++) {
        const int from = clamp(row, 0, rows - 1) * columns;
        field_row(to_left + 2 * from, to_right + 2 * from, share + from, scale_x, scale_y, columns,
                  out + line * (size_t)(row + 1) + 1, plane);
    }
}
