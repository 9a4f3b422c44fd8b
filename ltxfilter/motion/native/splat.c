/* Summation splatting with bilinear weights. */
#include "kernels.h"

static inline float into(float value, float high)
{
    value = value > 0.0f ? value : 0.0f;
    return value < high ? value : high;
}

int splat(const float *flow, const float *weight, int rows, int columns, float *out)
{
    const int width = columns + 2;
    const size_t cells = (size_t)rows * columns;
    const float far_x = (float)(columns + 0.999), far_y = (float)(rows + 0.999);
    double *sums = calloc((size_t)width * (rows + 2) * 3 + 3, sizeof(double));
    if (!sums)
        return -1;
    for (int row = 0; row < rows; row++)
        for (int i = 0; i < columns; i++) {
            const float *way = flow + 2 * (row * columns + i);
            const float share_of_cell = weight[row * columns + i];
            float x = into((float)(i + 1) + way[0], far_x);
            float y = into((float)(row + 1) + way[1], far_y);
            const int left = (int)x, top = (int)y;
            x -= (float)left, y -= (float)top;
            const float below = y * share_of_cell, above = share_of_cell - below;
            const float northeast = above * x, southeast = below * x;
            const float shares[4] = {above - northeast, northeast, below - southeast, southeast};
            double *target = sums + 3 * ((size_t)top * width + left);
            for (int k = 0; k < 4; k++) {
                double *cell = target + (k & 1 ? 3 : 0) + (k & 2 ? 3 * width : 0);
                cell[0] += (double)(shares[k] * -way[0]);
                cell[1] += (double)(shares[k] * -way[1]);
                cell[2] += (double)shares[k];
            }
        }
    for (int row = 0; row < rows; row++)
        for (int i = 0; i < columns; i++) {
            const double *sum = sums + 3 * ((size_t)(row + 1) * width + i + 1);
            for (size_t part = 0; part < 3; part++)
                out[part * cells + (size_t)row * columns + i] = (float)sum[part];
        }
    free(sums);
    return 0;
}
