/* Fetch both keyframes along a field and mix them: see c_kernels.warp.
 *
 * Samples are fetched in 1/16 codes, by Keys' cubic at positions of 1/16 sample. */
#include "kernels.h"

/* Read one plane of this row's field at a sample. */
static inline int32_t field_at(const Warp *w, int plane, int x)
{
    const int16_t *cell = w->row[plane] + w->cell_before[x];
    return cell[0] + share_of(cell[1] - cell[0], w->past_centre[x]);
}

/* The same rounded from 1/32 to 1/16 samples. */
static inline int displacement_at(const Warp *w, int plane, int x)
{
    return (field_at(w, plane, x) + 1) >> 1;
}

static int32_t fetch8(const Warp *w, const uint8_t *plane, ptrdiff_t stride, int x, int y,
                      int dx, int dy)
{
    const int8_t *across = w->taps + TAPS * (dx & 15), *down = w->taps + TAPS * (dy & 15);
    int32_t total = 0;
    x += dx >> 4, y += dy >> 4;
    for (int k = 0; k < 4; k++) {
        const uint8_t *line = plane + stride * clamp(y + k - 1, 0, w->height - 1);
        int32_t sum = 0;
        for (int i = 0; i < 4; i++)
            sum += line[clamp(x + i - 1, 0, w->width - 1)] * across[i];
        total += share_of(sum, down[k] * 128);
    }
    return total;
}

static int32_t fetch16(const Warp *w, const void *plane, ptrdiff_t stride, int x, int y,
                       int dx, int dy)
{
    const int8_t *across = w->taps + TAPS * (dx & 15), *down = w->taps + TAPS * (dy & 15);
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

/* Cross-fade both ends in place. */
static int32_t cross_fade(const Warp *w, const WarpPlane *p, int y, int x)
{
    const char *left = (const char *)p->left + p->stride_left * y;
    const char *right = (const char *)p->right + p->stride_right * y;
    int32_t a = w->deep ? ((const uint16_t *)left)[x] : ((const uint8_t *)left)[x];
    int32_t b = w->deep ? ((const uint16_t *)right)[x] : ((const uint8_t *)right)[x];
    return 16 * a + share_of(16 * (b - a), w->tau);
}

/* Where the sum of a sample's tile is. */
static int64_t *squares_at(const Warp *w, const WarpPlane *p, int y, int x)
{
    return p->squares + (size_t)(y >> w->tile_bits) * (size_t)w->across + (x >> w->tile_bits);
}

/* Fetch both ends along the field, and mix them by the left one's share. Adds the square of by how
 * much they differ, in 1/4 codes of 8 bits, to its tile's. */
static int32_t mixed_along_field(const Warp *w, const WarpPlane *p, int y, int x)
{
    const int left_x = displacement_at(w, 0, x), left_y = displacement_at(w, 1, x);
    const int right_x = displacement_at(w, 2, x), right_y = displacement_at(w, 3, x);
    int32_t a, b;
    if (w->deep) {
        a = fetch16(w, p->left, p->stride_left, x, y, left_x, left_y);
        b = fetch16(w, p->right, p->stride_right, x, y, right_x, right_y);
    } else {
        a = fetch8(w, p->left, p->stride_left, x, y, left_x, left_y);
        b = fetch8(w, p->right, p->stride_right, x, y, right_x, right_y);
    }
    const int32_t apart = (a - b) >> w->quarters;
    *squares_at(w, p, y, x) += apart * apart; /* up to 2^11 each */
    return b + share_of(a - b, field_at(w, 4, x));
}

void warp_samples(const Warp *w, const WarpPlane *p, int y, int begin, int end)
{
    const uint8_t *mask = w->static_mask ? w->static_mask + (ptrdiff_t)y * w->width : NULL;
    char *out = (char *)p->out + p->stride_out * y;
    for (int x = begin; x < end; x++) {
        int32_t mixed =
            mask && mask[x] ? cross_fade(w, p, y, x) : mixed_along_field(w, p, y, x);
        mixed = clamp((mixed + 7 + ((mixed >> 4) & 1)) >> 4, 0, w->most); /* halves to even */
        if (w->deep)
            ((uint16_t *)out)[x] = (uint16_t)mixed;
        else
            ((uint8_t *)out)[x] = (uint8_t)mixed;
    }
}

CLONES static void between_rows(const int16_t *restrict top, const int16_t *restrict bottom,
                                int past, int16_t *restrict out, int columns)
{
    for (int i = 0; i < columns; i++)
        out[i] = (int16_t)(top[i] + (((bottom[i] - top[i]) * past + 0x4000) >> 15));
}

/* For a sample: the padded cell whose centre lies before it, and how far past that it lies. */
static int cell_before(int sample, int cell, int16_t *past)
{
    if (cell == 1) {
        *past = 0;
        return sample + 1;
    }
    int before = (sample + cell / 2) / cell;
    *past = (int16_t)((2 * (sample + cell / 2 - before * cell) + 1) * (0x8000 / (2 * cell)));
    return before;
}

/* Read the field at row y of samples, into lines of `line` numbers each. */
static void field_row(Warp *w, int y, int16_t *lines, size_t line)
{
    int16_t past;
    const int before = cell_before(y, w->cell_y, &past);
    for (int k = 0; k < 5; k++) {
        const size_t row = (size_t)k * w->rows + (size_t)before;
        const int16_t *top = w->field + row * w->columns;
        const int16_t *bottom = past ? top + w->columns : top;
        between_rows(top, bottom, past, lines + k * line, w->columns);
        w->row[k] = lines + k * line;
    }
}

/* Hand out the memory. Returns a line of the field for each of its five planes. */
static int16_t *lay_out(Warp *w, Block *block, size_t line)
{
    w->cell_before = piece(block, (size_t)w->width, sizeof *w->cell_before);
    w->past_centre = piece(block, (size_t)w->width, sizeof *w->past_centre);
    return piece(block, 5 * line, sizeof(int16_t));
}

int warp(Warp *w)
{
    while (1 << w->tile_bits < w->tile)
        w->tile_bits++;
    const size_t line = (size_t)w->columns + 16; /* SIMD reads eight cells from each sample's on */
    Block block = {NULL, 0, 0};
    lay_out(w, &block, line);
    if (open_block(&block, 1) < 0)
        return -1;
    int16_t *lines = lay_out(w, &block, line);
    for (int x = 0; x < w->width; x++)
        w->cell_before[x] = cell_before(x, w->cell_x, &w->past_centre[x]);
    FastWarp *fast = open_fast_warp(w);
    for (int y = 0; y < w->height; y++) {
        field_row(w, y, lines, line);
        if (fast)
            fast_warp_row(fast, y);
        else
            for (int k = 0; k < w->count; k++)
                warp_samples(w, &w->planes[k], y, 0, w->width);
    }
    close_fast_warp(fast);
    free(block.memory);
    return 0;
}
