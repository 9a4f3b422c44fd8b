/* Fetch both keyframes along a field and mix them. */
#include "kernels.h"

static inline int32_t grown(const Warp *w, int plane, int x)
{
    const int16_t *cell = w->row[plane] + w->left[x];
    return cell[0] + share(cell[1] - cell[0], w->part[x]);
}

static int32_t fetch8(const Warp *w, const uint8_t *plane, ptrdiff_t stride, int x, int y,
                      int dx, int dy)
{
    const int8_t *across = w->taps + 4 * (dx & 15), *down = w->taps + 4 * (dy & 15);
    int32_t total = 0;
    x += dx >> 4, y += dy >> 4;
    for (int k = 0; k < 4; k++) {
        const uint8_t *line = plane + stride * clamp(y + k - 1, 0, w->height - 1);
        int32_t sum = 0;
        for (int i = 0; i < 4; i++)
            sum += line[clamp(x + i - 1, 0, w->width - 1)] * across[i];
        total += share(sum, down[k] * 128);
    }
    return total;
}

static int32_t fetch16(const Warp *w, const void *plane, ptrdiff_t stride, int x, int y,
                       int dx, int dy)
{
    const int8_t *across = w->taps + 4 * (dx & 15), *down = w->taps + 4 * (dy & 15);
    int32_t total = 0;
    x += dx >> 4, y += dy >> 4;
    if (x >= 1 && y >= 1 && x + 2 < w->width && y + 2 < w->height) {
        const char *corner = (const char *)plane + stride * (y - 1) + 2 * (x - 1);
        for (int k = 0; k < 4; k++) {
            const uint16_t *line = (const uint16_t *)(corner + stride * k);
            total += (line[0] * across[0] + line[1] * across[1] + line[2] * across[2] +
                      line[3] * across[3]) * down[k];
        }
        return (total + 128) >> 8;
    }
    for (int k = 0; k < 4; k++) {
        const uint16_t *line =
            (const uint16_t *)((const char *)plane + stride * clamp(y + k - 1, 0, w->height - 1));
        int32_t sum = 0;
        for (int i = 0; i < 4; i++)
            sum += line[clamp(x + i - 1, 0, w->width - 1)] * across[i];
        total += sum * down[k];
    }
    return (total + 128) >> 8;
}

void warp_samples(const Warp *w, const WarpPlane *p, int y, int begin, int end)
{
    for (int x = begin; x < end; x++) {
        int32_t mixed;
        if (w->still && w->still[(ptrdiff_t)y * w->width + x]) {
            const char *a = (const char *)p->a + p->stride_a * y;
            const char *b = (const char *)p->b + p->stride_b * y;
            int32_t from_a = w->deep ? ((const uint16_t *)a)[x] : ((const uint8_t *)a)[x];
            int32_t from_b = w->deep ? ((const uint16_t *)b)[x] : ((const uint8_t *)b)[x];
            mixed = 16 * from_a + share(16 * (from_b - from_a), w->tau);
        } else {
            int ax = (grown(w, 0, x) + 1) >> 1, ay = (grown(w, 1, x) + 1) >> 1;
            int bx = (grown(w, 2, x) + 1) >> 1, by = (grown(w, 3, x) + 1) >> 1;
            int32_t from_a, from_b;
            if (w->deep) {
                from_a = fetch16(w, p->a, p->stride_a, x, y, ax, ay);
                from_b = fetch16(w, p->b, p->stride_b, x, y, bx, by);
            } else {
                from_a = fetch8(w, p->a, p->stride_a, x, y, ax, ay);
                from_b = fetch8(w, p->b, p->stride_b, x, y, bx, by);
            }
            mixed = from_b + share(from_a - from_b, grown(w, 4, x));
        }
        mixed = clamp((mixed + 7 + ((mixed >> 4) & 1)) >> 4, 0, w->most); /* halves to even */
        char *out = (char *)p->out + p->stride_out * y;
        if (w->deep)
            ((uint16_t *)out)[x] = (uint16_t)mixed;
        else
            ((uint8_t *)out)[x] = (uint8_t)mixed;
    }
}

CLONES static void between_rows(const int16_t *restrict top, const int16_t *restrict bottom,
                                int part, int16_t *restrict out, int columns)
{
    for (int i = 0; i < columns; i++)
        out[i] = (int16_t)(top[i] + (((bottom[i] - top[i]) * part + 0x4000) >> 15));
}

/* For a sample: the padded cell whose centre lies before it, and how far past it lies. */
static int before(int sample, int cell, int16_t *part)
{
    if (cell == 1) {
        *part = 0;
        return sample + 1;
    }
    int left = (sample + cell / 2) / cell;
    *part = (int16_t)((2 * (sample + cell / 2 - left * cell) + 1) * (0x8000 / (2 * cell)));
    return left;
}

int warp(Warp *w, const int16_t *field, int rows, int columns, int cell_x, int cell_y)
{
    const size_t line = (size_t)columns + 16, width = (size_t)w->width + 16;
    char *memory = calloc(1, width * 6 + 5 * line * 2);
    if (!memory)
        return -1;
    int32_t *left = (int32_t *)memory;
    int16_t *part = (int16_t *)(left + width), *buffer = part + width;
    for (int x = 0; x < (int)width; x++)
        left[x] = before(x, cell_x, part + x);
    w->left = left, w->part = part;
    FastWarp *fast = cell_x <= 16 ? fast_warp(w) : NULL;
    for (int y = 0; y < w->height; y++) {
        int16_t past;
        int top = before(y, cell_y, &past);
        for (int k = 0; k < 5; k++) {
            const int16_t *from = field + (size_t)k * rows * columns + (size_t)top * columns;
            const int16_t *to = past ? from + columns : from;
            between_rows(from, to, past, buffer + k * line, columns);
            w->row[k] = buffer + k * line;
        }
        if (fast)
            fast_row(fast, y);
        else
            for (int k = 0; k < w->count; k++)
                warp_samples(w, w->planes + k, y, 0, w->width);
    }
    free(fast);
    free(memory);
    return 0;
}
