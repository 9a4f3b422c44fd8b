/* Bring both keyframes together where they are drawn: what motion and its bending left apart. */
#include "patches.h"

enum {
    AROUND = PATCH + 2,     /* samples of a patch with what its slopes need */
    CELLS = PATCH / 2,      /* cells per patch along each axis */
};
#define MOST 0.8f /* samples that a patch may be moved by */
#define GAIN 0.7f /* of what was found; less, because the patch next to it disagrees */

/* Blend 16 samples of a row, in 1/16 codes. */
static inline void blend_row(const uint8_t *restrict top, const uint8_t *restrict bottom,
                             int part_x, int part_y, int16_t *restrict out)
{
    const uint16_t right = (uint16_t)part_x, left = (uint16_t)(16 - part_x);
    const uint16_t lower = (uint16_t)part_y, upper = (uint16_t)(16 - part_y);
    for (int x = 0; x < 2 * PATCH; x++) {
        uint16_t above = (uint16_t)(top[x] * left + top[x + 1] * right);
        uint16_t below = (uint16_t)(bottom[x] * left + bottom[x + 1] * right);
        out[x] = (int16_t)((uint16_t)(above * upper + below * lower) >> 4);
    }
}

/* Make the patch that the left keyframe shows; from: the sample above and left of its corner. */
CLONES static void see(Patch *own, const uint8_t *from, ptrdiff_t stride, int part_x, int part_y)
{
    int16_t seen[AROUND][2 * PATCH];
    for (int y = 0; y < AROUND; y++, from += stride)
        blend_row(from, from + stride, part_x, part_y, seen[y]);
    for (int y = 0; y < PATCH; y++) {
        int16_t *line = own->seen + PATCH * y;
        int16_t *slope_x = own->slope_x + PATCH * y, *slope_y = own->slope_y + PATCH * y;
        for (int x = 0; x < PATCH; x++)
            line[x] = seen[y + 1][x + 1];
        for (int x = 0; x < PATCH; x++)
            slope_x[x] = (int16_t)((seen[y + 1][x + 2] - seen[y + 1][x]) >> 4);
        for (int x = 0; x < PATCH; x++)
            slope_y[x] = (int16_t)((seen[y + 2][x + 1] - seen[y][x + 1]) >> 4);
    }
}

/* The way in samples of the four cells in the middle of a patch. */
static void middle(const float *ways, int rows, int columns, int row, int column, float way[2])
{
    const int top = clamp(CELLS * row + 1, 0, rows - 1), bottom = clamp(CELLS * row + 2, 0, rows - 1);
    const int left = clamp(CELLS * column + 1, 0, columns - 1);
    const int right = clamp(CELLS * column + 2, 0, columns - 1);
    for (int k = 0; k < 2; k++)
        way[k] = 0.5f * ((ways[2 * (top * columns + left) + k] + ways[2 * (top * columns + right) + k]) +
                         (ways[2 * (bottom * columns + left) + k] + ways[2 * (bottom * columns + right) + k]));
}

/* Find by how many samples the right keyframe's patch must move to show what the left one shows. */
static void settle_patch(const Level *l, const uint8_t *left, const float *to_left,
                         const float *to_right, int steps, int row, int column, float apart[2])
{
    const int rows = l->rows / 2, columns = l->columns / 2;
    float from[2], guess[2], way[2];
    Place p = {.l = l, .x = PATCH * column, .y = PATCH * row};
    middle(to_left, rows, columns, row, column, from);
    middle(to_right, rows, columns, row, column, guess);
    const Spot at = spot_of(&p, from[0], from[1]);
    see(&p.own, left + (ptrdiff_t)(p.y + (at.y >> 4) + BORDER - 1) * l->stride + p.x +
                    (at.x >> 4) + BORDER - 1,
        l->stride, at.x & 15, at.y & 15);
    way[0] = guess[0], way[1] = guess[1];
    const Match start = match(&p, spot_of(&p, way[0], way[1]), NULL);
    apart[0] = apart[1] = 0.0f;
    if (descend(&p, start, steps, FITS, way, NULL).error >= start.error)
        return;
    const float x = (way[0] - guess[0]) + (from[0] - (float)at.x / (float)FINE);
    const float y = (way[1] - guess[1]) + (from[1] - (float)at.y / (float)FINE);
    const float length = sqrtf(x * x + y * y), most = length > MOST ? MOST / length : 1.0f;
    apart[0] = 0.5f * (x * most), apart[1] = 0.5f * (y * most);
}

/* Between the centres of which patches a cell lies, and how far past the first, in eighths. */
static inline void between(int cell, int patches, int *first, int *second, float *past)
{
    const int at = 2 * cell + 1 - CELLS; /* in half cells from the first centre */
    const int before = (at + 2 * CELLS * 4096) / (2 * CELLS) - 4096;
    *past = (float)(at - 2 * CELLS * before) / (float)(2 * CELLS);
    *first = clamp(before, 0, patches - 1), *second = clamp(before + 1, 0, patches - 1);
}

/* Move a row of cells of both ends towards each other, where both see them. */
static void move_row(const float *top, const float *bottom, float past_y, int patches,
                     const float *share, float tau, int columns, const float *to_left,
                     const float *to_right, float *out_left, float *out_right)
{
    const float near = 1.0f - tau;
    for (int i = 0; i < columns; i++) {
        int first, second;
        float past;
        between(i, patches, &first, &second, &past);
        float seen = share[i] / near, other = (1.0f - share[i]) / tau;
        seen = seen < other ? seen : other;
        seen = GAIN * (seen < 1.0f ? seen : 1.0f);
        for (int k = 0; k < 2; k++) {
            const float a = top[2 * first + k], b = top[2 * second + k];
            const float c = bottom[2 * first + k], d = bottom[2 * second + k];
            const float above = a + (b - a) * past, below = c + (d - c) * past;
            const float apart = (above + (below - above) * past_y) * seen;
            out_left[2 * i + k] = to_left[2 * i + k] - apart * tau;
            out_right[2 * i + k] = to_right[2 * i + k] + apart * near;
        }
    }
}

int settle(const uint8_t *left, const uint8_t *right, const float *to_left, const float *to_right,
           const float *share, float tau, int steps, int rows, int columns, float *out_left,
           float *out_right)
{
    Level l = {.rows = 2 * rows, .columns = 2 * columns, .step = PATCH,
               .patch_rows = patches_over(2 * rows, PATCH),
               .patch_columns = patches_over(2 * columns, PATCH),
               .stride = 2 * columns + 2 * BORDER, .compare = best_compare()};
    const size_t padded = (size_t)l.stride * (l.rows + 2 * BORDER), across = 2 * l.patch_columns;
    float *apart = malloc(across * l.patch_rows * sizeof(float) + 2 * padded + 64);
    if (!apart)
        return -1;
    l.other = (uint8_t *)(apart + across * l.patch_rows);
    uint8_t *from = l.other + padded;
    pad_picture(&l, right, l.other);
    pad_picture(&l, left, from);
    for (int row = 0; row < l.patch_rows; row++)
        for (int column = 0; column < l.patch_columns; column++)
            settle_patch(&l, from, to_left, to_right, steps, row, column,
                         apart + across * row + 2 * column);
    for (int row = 0; row < rows; row++) {
        const size_t at = (size_t)row * columns;
        int first, second;
        float past;
        between(row, l.patch_rows, &first, &second, &past);
        move_row(apart + across * first, apart + across * second, past, l.patch_columns, share + at,
                 tau, columns, to_left + 2 * at, to_right + 2 * at, out_left + 2 * at,
                 out_right + 2 * at);
    }
    free(apart);
    return 0;
}
