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
    const float far_x = (float)(columns + 0.999), far_y = (float)(rows + 0.999);
    double *sums = calloc((size_t)width * (rows + 2) * 3 + 3, sizeof(double));
    if (!sums)
        return -1;
    for (int row = 0; row < rows; row++)
        for (int i = 0; i < columns; i++) {
            const float *way = flow + 2 * (row * columns + i);
            float share_of_cell = weight[row * columns + i];
            float x = into((float)(i + 1) + way[0], far_x);
            float y = into((float)(row + 1) + way[1], far_y);
            int left = (int)x, top = (int)y;
            x -= (float)left, y -= (float)top;
            float below = y * share_of_cell, above = share_of_cell - below;
            float northeast = above * x, southeast = below * x;
            const float shares[4] = {above - northeast, northeast, below - southeast, southeast};
            double *target = sums + 3 * ((size_t)top * width + left);
            for (int k = 0; k < 4; k++) {
                double *cell = target + (k & 1 ? 3 : 0) + (k & 2 ? 3 * width : 0);
                cell[0] += shares[k] * -way[0];
                cell[1] += shares[k] * -way[1];
                cell[2] += shares[k];
            }
        }
    for (int row = 0; row < rows; row++)
        for (int i = 0; i < 3 * columns; i++)
            out[3 * row * columns + i] = (float)sums[3 * (size_t)(row + 1) * width + 3 + i];
    free(sums);
    return 0;
}
