/* From the flow of patches to that of samples. */
#include "patches.h"

/* Add a patch's flow, in 1/128 samples, weighted by how well it fits, to the sums of x, of y and
 * of weights, which lie `plane` apart. */
CLONES static void add_patch(const uint16_t *restrict apart, int32_t fixed_x, int32_t fixed_y,
                             int32_t *restrict sums, size_t plane, int stride)
{
    for (int row = 0; row < PATCH; row++) {
        int32_t weight[PATCH];
        for (int i = 0; i < PATCH; i++) {
            int32_t off = apart[row * PATCH + i] >> 4;
            weight[i] = (int32_t)(4096.0f / (float)(off > 1 ? off : 1)); /* exact for a byte */
        }
        int32_t *x = sums + (size_t)row * stride, *y = x + plane, *w = y + plane;
        for (int i = 0; i < PATCH; i++)
            x[i] += weight[i] * fixed_x;
        for (int i = 0; i < PATCH; i++)
            y[i] += weight[i] * fixed_y;
        for (int i = 0; i < PATCH; i++)
            w[i] += weight[i];
    }
}

CLONES static void mean_row(const int32_t *restrict sums, size_t plane, float *restrict out,
                            int columns)
{
    for (int x = 0; x < columns; x++) {
        float weight = (float)sums[2 * plane + x] * 128.0f;
        out[2 * x] = (float)sums[x] / weight;
        out[2 * x + 1] = (float)sums[plane + x] / weight;
    }
}

static void clear_sums(const Level *l, int32_t *sums)
{
    memset(sums, 0, (size_t)l->stride * (l->rows + BORDER) * 3 * sizeof(int32_t));
}

static void add_way(const Level *l, const Place *p, const float way[2], const uint16_t *apart,
                    int32_t *sums)
{
    add_patch(apart, to_fine(way[0] * 8.0f, -2047, 2047), to_fine(way[1] * 8.0f, -2047, 2047),
              sums + (size_t)p->y * l->stride + p->x, (size_t)l->stride * (l->rows + BORDER),
              l->stride);
}

static void mean_rows(const Level *l, const int32_t *sums, float *out)
{
    for (int y = 0; y < l->rows; y++)
        mean_row(sums + (size_t)y * l->stride, (size_t)l->stride * (l->rows + BORDER),
                 out + 2 * (size_t)y * l->columns, l->columns);
}

/* Every sample: the mean of the flows of the patches over it, weighted by how well they fit. */
static void blend_patches(const Level *l, int32_t *sums, float *out)
{
    clear_sums(l, sums);
    for (int row = 0; row < l->patch_rows; row++)
        for (int column = 0; column < l->patch_columns; column++) {
            const float *way = l->flow + 2 * (row * l->patch_columns + column);
            uint16_t apart[PATCH * PATCH];
            Place place;
            take_patch(&place, l, l->step * column, l->step * row);
            match(&place, spot_of(&place, way[0], way[1]), apart);
            add_way(l, &place, way, apart, sums);
        }
    mean_rows(l, sums, out);
}

void descend_and_blend(const Level *l, const float *flow, int steps, int32_t *sums, float *out)
{
    clear_sums(l, sums);
    for (int row = 0; row < l->patch_rows; row++)
        for (int column = 0; column < l->patch_columns; column++) {
            const int x = l->step * column, y = l->step * row;
            const int middle_x = clamp(x + PATCH / 2, 0, l->columns - 1);
            const int middle_y = clamp(y + PATCH / 2, 0, l->rows - 1);
            const float *guess = flow + 2 * ((size_t)middle_y * l->columns + middle_x);
            float way[2] = {guess[0], guess[1]};
            Apart apart = {.best = 0};
            Place place;
            take_patch(&place, l, x, y);
            const Match first = match(&place, spot_of(&place, way[0], way[1]), apart.of[0]);
            descend(&place, first, steps, FITS, way, &apart);
            add_way(l, &place, way, apart.of[apart.best], sums);
        }
    mean_rows(l, sums, out);
}

/* The same where patches do not overlap: every sample has the flow of its own. */
static void spread_patches(const Level *l, float *out)
{
    for (int row = 0; row < l->patch_rows; row++) {
        const int y = PATCH * row, rows = y + PATCH < l->rows ? PATCH : l->rows - y;
        float *line = out + 2 * (size_t)y * l->columns;
        for (int x = 0; x < l->columns; x++) {
            const float *way = l->flow + 2 * (row * l->patch_columns + x / PATCH);
            line[2 * x] = (float)to_fine(way[0] * 8.0f, -2047, 2047) / 128.0f;
            line[2 * x + 1] = (float)to_fine(way[1] * 8.0f, -2047, 2047) / 128.0f;
        }
        for (int j = 1; j < rows; j++)
            memcpy(line + 2 * (size_t)j * l->columns, line, 2 * sizeof(float) * l->columns);
    }
}

void flow_of_samples(const Level *l, int32_t *sums, float *out)
{
    if (l->step == PATCH)
        spread_patches(l, out);
    else
        blend_patches(l, sums, out);
}
