/* Align both keyframes at the moment that is drawn: what motion and its bending left apart. */
#include "patches.h"

enum {
    AROUND = PATCH + 2, /* samples along each side of a patch with what its slopes need */
    CELLS = PATCH / 2,  /* cells along each side of a patch */
};
#define MOST 0.8f /* samples that a patch may be moved by */
#define GAIN 0.7f /* of the offset that is taken; less than 1, because the next patch disagrees */

/* Blend 16 samples of a row, in 1/16 codes. */
static inline void blend_row(const uint8_t *restrict top, const uint8_t *restrict bottom,
                             int past_x, int past_y, int16_t *restrict out)
{
    const uint16_t right = (uint16_t)past_x, left = (uint16_t)(16 - past_x);
    const uint16_t lower = (uint16_t)past_y, upper = (uint16_t)(16 - past_y);
    for (int x = 0; x < 2 * PATCH; x++) {
        uint16_t above = (uint16_t)(top[x] * left + top[x + 1] * right);
        uint16_t below = (uint16_t)(bottom[x] * left + bottom[x + 1] * right);
        out[x] = (int16_t)((uint16_t)(above * upper + below * lower) >> 4);
    }
}

/* Make the patch that the left keyframe shows; from: the sample above and left of its corner. */
CLONES static void make_patch(Patch *own, const uint8_t *from, ptrdiff_t stride, int past_x,
                              int past_y)
{
    int16_t seen[AROUND][2 * PATCH];
    for (int y = 0; y < AROUND; y++, from += stride)
        blend_row(from, from + stride, past_x, past_y, seen[y]);
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

/* The mean flow, in samples, of the four cells in the middle of a patch. */
static void middle_flow(const float *flow, int rows, int columns, int row, int column,
                        float out[2])
{
    const int top = clamp(CELLS * row + 1, 0, rows - 1) * columns;
    const int bottom = clamp(CELLS * row + 2, 0, rows - 1) * columns;
    const int left = clamp(CELLS * column + 1, 0, columns - 1);
    const int right = clamp(CELLS * column + 2, 0, columns - 1);
    for (int k = 0; k < 2; k++)
        out[k] = 0.5f * ((flow[2 * (top + left) + k] + flow[2 * (top + right) + k]) +
                         (flow[2 * (bottom + left) + k] + flow[2 * (bottom + right) + k]));
}

/* Find by how many cells the right keyframe's patch must move to show what the left one shows.
 * left: the left keyframe, padded like the level's other picture. */
static void align_patch(const Level *l, const uint8_t *left, const EndAlignment *a, int row,
                        int column, float offset[2])
{
    float from[2], guess[2], flow[2];
    Place p = {.level = l, .x = PATCH * column, .y = PATCH * row};
    middle_flow(a->to_left, a->rows, a->columns, row, column, from);
    middle_flow(a->to_right, a->rows, a->columns, row, column, guess);
    const Displacement at = displacement_of(&p, from[0], from[1]);
    make_patch(&p.own, left + (ptrdiff_t)(p.y + (at.y >> 4) + BORDER - 1) * l->stride + p.x +
                           (at.x >> 4) + BORDER - 1,
               l->stride, at.x & 15, at.y & 15);
    flow[0] = guess[0], flow[1] = guess[1];
    const Match start = match(&p, displacement_of(&p, flow[0], flow[1]), NULL);
    offset[0] = offset[1] = 0.0f;
    if (descend(&p, start, a->steps, FITS, flow, NULL).error >= start.error)
        return;
    const float x = (flow[0] - guess[0]) + (from[0] - (float)at.x / (float)FINE);
    const float y = (flow[1] - guess[1]) + (from[1] - (float)at.y / (float)FINE);
    const float length = sqrtf(x * x + y * y), limit = length > MOST ? MOST / length : 1.0f;
    offset[0] = 0.5f * (x * limit), offset[1] = 0.5f * (y * limit);
}

/* The two patches between whose centres a cell lies along one axis, and how far past the first
 * centre it lies, as a part of their distance. */
static inline void between(int cell, int patches, int *first, int *second, float *past)
{
    const int half_cells = 2 * cell + 1 - CELLS; /* from the first patch's centre */
    const int before = (half_cells + 2 * CELLS) / (2 * CELLS) - 1; /* rounded down */
    *past = (float)(half_cells - 2 * CELLS * before) / (float)(2 * CELLS);
    *first = clamp(before, 0, patches - 1), *second = clamp(before + 1, 0, patches - 1);
}

/* Move a row of cells of both ends towards each other, where both see them.
 * top, bottom: offsets of the rows of patches above and below, [patches, 2]. */
static void move_row(const EndAlignment *a, const float *top, const float *bottom, float past_y,
                     int patches, int row)
{
    const size_t at = (size_t)row * a->columns;
    const float *share = a->share + at, *to_left = a->to_left + 2 * at;
    const float *to_right = a->to_right + 2 * at, tau = a->tau, near = 1.0f - tau;
    float *out_left = a->out_left + 2 * at, *out_right = a->out_right + 2 * at;
    for (int i = 0; i < a->columns; i++) {
        int first, second;
        float past;
        between(i, patches, &first, &second, &past);
        float seen = share[i] / near, other = (1.0f - share[i]) / tau;
        seen = seen < other ? seen : other;
        seen = GAIN * (seen < 1.0f ? seen : 1.0f);
        for (int k = 0; k < 2; k++) {
            const float northwest = top[2 * first + k], northeast = top[2 * second + k];
            const float southwest = bottom[2 * first + k], southeast = bottom[2 * second + k];
            const float above = northwest + (northeast - northwest) * past;
            const float below = southwest + (southeast - southwest) * past;
            const float offset = (above + (below - above) * past_y) * seen;
            out_left[2 * i + k] = to_left[2 * i + k] - offset * tau;
            out_right[2 * i + k] = to_right[2 * i + k] + offset * near;
        }
    }
}

/* Align every patch, then move every cell. left: room for the left keyframe, padded; offsets: for
 * what aligning a patch yields, [patch rows, patch columns, 2]. */
static void align_all(const Level *l, const EndAlignment *a, uint8_t *left, float *offsets)
{
    const size_t line = 2 * (size_t)l->patch_columns;
    pad_picture(l, a->right, l->other);
    pad_picture(l, a->left, left);
    for (int row = 0; row < l->patch_rows; row++)
        for (int column = 0; column < l->patch_columns; column++)
            align_patch(l, left, a, row, column, offsets + line * row + 2 * column);
    for (int row = 0; row < a->rows; row++) {
        int first, second;
        float past;
        between(row, l->patch_rows, &first, &second, &past);
        move_row(a, offsets + line * first, offsets + line * second, past, l->patch_columns, row);
    }
}

/* Hand out the memory. */
static void lay_out(Level *l, Block *block, uint8_t **left, float **offsets)
{
    const size_t padded = (size_t)l->stride * (l->rows + 2 * BORDER);
    *offsets = piece(block, 2 * (size_t)l->patch_rows * l->patch_columns, sizeof(float));
    l->other = piece(block, padded, 1);
    *left = piece(block, padded, 1);
}

int align_ends(const EndAlignment *a)
{
    Level l = {.rows = 2 * a->rows, .columns = 2 * a->columns, .step = PATCH,
               .patch_rows = patches_over(2 * a->rows, PATCH),
               .patch_columns = patches_over(2 * a->columns, PATCH),
               .stride = 2 * a->columns + 2 * BORDER, .compare = best_compare()};
    uint8_t *left;
    float *offsets;
    Block block = {NULL, 0, 0};
    lay_out(&l, &block, &left, &offsets);
    if (open_block(&block, 0) < 0)
        return -1;
    lay_out(&l, &block, &left, &offsets);
    align_all(&l, a, left, offsets);
    free(block.memory);
    return 0;
}
