/* From the flow of patches to that of samples. */
#include "patches.h"

enum {
    STEPS = 128,     /* positions per sample that flow is averaged in */
    FARTHEST = 2047, /* samples; what goes further is cut off */
};

/* Return one part of a flow in 1/STEPS samples. */
static inline int32_t to_steps(float samples)
{
    const int per_fine = STEPS / FINE;
    return to_fine(samples * (float)per_fine, -FARTHEST, FARTHEST);
}

/* Where the sums of x, of y and of weights lie: `plane` numbers apart. */
static size_t plane_of(const Level *l)
{
    return (size_t)l->stride * (l->rows + BORDER);
}

/* Add a patch's flow, in 1/STEPS samples, weighted by how well it fits, to the sums of x, of y and
 * of weights. */
CLONES static void add_patch(const uint16_t *restrict differences, int32_t x, int32_t y,
                             int32_t *restrict sums, size_t plane, int stride)
{
    for (int row = 0; row < PATCH; row++) {
        int32_t weight[PATCH];
        for (int i = 0; i < PATCH; i++) {
            int32_t off = differences[row * PATCH + i] >> 4;
            weight[i] = (int32_t)(4096.0f / (float)(off > 1 ? off : 1)); /* exact for a byte */
        }
        int32_t *sum_x = sums + (size_t)row * stride, *sum_y = sum_x + plane;
        int32_t *weights = sum_y + plane;
        for (int i = 0; i < PATCH; i++)
            sum_x[i] += weight[i] * x;
        for (int i = 0; i < PATCH; i++)
            sum_y[i] += weight[i] * y;
        for (int i = 0; i < PATCH; i++)
            weights[i] += weight[i];
    }
}

CLONES static void mean_row(const int32_t *restrict sums, size_t plane, float *restrict out,
                            int columns)
{
    for (int x = 0; x < columns; x++) {
        float weight = (float)sums[2 * plane + x] * (float)STEPS;
        out[2 * x] = (float)sums[x] / weight;
        out[2 * x + 1] = (float)sums[plane + x] / weight;
    }
}

static void clear_sums(const Level *l)
{
    memset(l->sums, 0, plane_of(l) * 3 * sizeof(int32_t));
}

static void add_flow(const Level *l, const Place *p, const float flow[2],
                     const uint16_t *differences)
{
    add_patch(differences, to_steps(flow[0]), to_steps(flow[1]),
              l->sums + (size_t)p->y * l->stride + p->x, plane_of(l), l->stride);
}

static void mean_rows(const Level *l, float *out)
{
    for (int y = 0; y < l->rows; y++)
        mean_row(l->sums + (size_t)y * l->stride, plane_of(l), out + 2 * (size_t)y * l->columns,
                 l->columns);
}

/* Every sample: the mean of the flows of the patches over it, weighted by how well they fit. */
static void blend_patches(const Level *l, float *out)
{
    clear_sums(l);
    for (int row = 0; row < l->patch_rows; row++)
        for (int column = 0; column < l->patch_columns; column++) {
            const float *flow = l->flow + 2 * (row * l->patch_columns + column);
            uint16_t differences[PATCH * PATCH];
            Place place;
            take_patch(&place, l, l->step * column, l->step * row);
            match(&place, displacement_of(&place, flow[0], flow[1]), differences);
            add_flow(l, &place, flow, differences);
        }
    mean_rows(l, out);
}

void descend_and_blend(const Level *l, const float *flow, int steps, float *out)
{
    clear_sums(l);
    for (int row = 0; row < l->patch_rows; row++)
        for (int column = 0; column < l->patch_columns; column++) {
            const int x = l->step * column, y = l->step * row;
            const int middle_x = clamp(x + PATCH / 2, 0, l->columns - 1);
            const int middle_y = clamp(y + PATCH / 2, 0, l->rows - 1);
            const float *guess = flow + 2 * ((size_t)middle_y * l->columns + middle_x);
            float own[2] = {guess[0], guess[1]};
            Differences differences = {.best = 0};
            Place place;
            take_patch(&place, l, x, y);
            const Match first =
                match(&place, displacement_of(&place, own[0], own[1]), differences.of[0]);
            descend(&place, first, steps, FITS, own, &differences);
            add_flow(l, &place, own, differences.of[differences.best]);
        }
    mean_rows(l, out);
}

/* The same where patches do not overlap: every sample has the flow of its own. */
static void spread_patches(const Level *l, float *out)
{
    for (int row = 0; row < l->patch_rows; row++) {
        const int y = PATCH * row, rows = y + PATCH < l->rows ? PATCH : l->rows - y;
        float *line = out + 2 * (size_t)y * l->columns;
        for (int x = 0; x < l->columns; x++) {
            const float *flow = l->flow + 2 * (row * l->patch_columns + x / PATCH);
            line[2 * x] = (float)to_steps(flow[0]) / (float)STEPS;
            line[2 * x + 1] = (float)to_steps(flow[1]) / (float)STEPS;
        }
        for (int j = 1; j < rows; j++)
            memcpy(line + 2 * (size_t)j * l->columns, line, 2 * sizeof(float) * l->columns);
    }
}

void flow_of_samples(const Level *l, float *out)
{
    if (l->step == PATCH)
        spread_patches(l, out);
    else
        blend_patches(l, out);
}
