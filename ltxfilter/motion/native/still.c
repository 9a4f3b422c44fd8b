/* Find what stands still over consecutive pictures. */
#include "kernels.h"

CLONES static void change_row(const uint8_t *restrict a, const uint8_t *restrict b,
                              uint8_t *restrict most, int width, int first)
{
    for (int x = 0; x < width; x++) {
        uint8_t change = a[x] > b[x] ? (uint8_t)(a[x] - b[x]) : (uint8_t)(b[x] - a[x]);
        most[x] = first || change > most[x] ? change : most[x];
    }
}

CLONES static void column_row(const uint8_t *const change[5], const uint8_t *const light[5],
                              uint16_t *restrict sum, uint8_t *restrict high,
                              uint8_t *restrict low, int width)
{
    const uint8_t *restrict a = change[0], *restrict b = change[1], *restrict c = change[2];
    const uint8_t *restrict d = change[3], *restrict e = change[4];
    for (int x = 0; x < width; x++)
        sum[x] = (uint16_t)(a[x] + b[x] + c[x] + d[x] + e[x]);
    a = light[0], b = light[1], c = light[2], d = light[3], e = light[4];
    for (int x = 0; x < width; x++) {
        uint8_t top = a[x] > b[x] ? a[x] : b[x], bottom = a[x] < b[x] ? a[x] : b[x];
        top = top > c[x] ? top : c[x], bottom = bottom < c[x] ? bottom : c[x];
        top = top > d[x] ? top : d[x], bottom = bottom < d[x] ? bottom : d[x];
        high[x] = top > e[x] ? top : e[x], low[x] = bottom < e[x] ? bottom : e[x];
    }
}

/* The local contrast: largest minus smallest of five neighbours. high, low: padded by two. */
CLONES static void contrast_row(const uint8_t *restrict high, const uint8_t *restrict low,
                                uint8_t *restrict out, int width)
{
    for (int x = 0; x < width; x++) {
        uint8_t a = high[x] > high[x + 1] ? high[x] : high[x + 1];
        uint8_t b = high[x + 2] > high[x + 3] ? high[x + 2] : high[x + 3];
        a = a > b ? a : b;
        out[x] = a > high[x + 4] ? a : high[x + 4];
    }
    for (int x = 0; x < width; x++) {
        uint8_t a = low[x] < low[x + 1] ? low[x] : low[x + 1];
        uint8_t b = low[x + 2] < low[x + 3] ? low[x + 2] : low[x + 3];
        a = a < b ? a : b;
        out[x] = (uint8_t)(out[x] - (a < low[x + 4] ? a : low[x + 4]));
    }
}

/* sum: padded by two on both sides. */
CLONES static int still_row(const uint16_t *restrict sum, const uint8_t *restrict contrast,
                            uint8_t *restrict out, int width)
{
    int count = 0;
    for (int x = 0; x < width; x++) {
        int16_t total = (int16_t)(sum[x] + sum[x + 1] + sum[x + 2] + sum[x + 3] + sum[x + 4]);
        int16_t limit = (int16_t)(3 * contrast[x]);
        limit = limit > 50 ? limit : 50;
        out[x] = (uint8_t)-(total < limit);
    }
    for (int x = 0; x < width; x++)
        count += out[x] & 1;
    return count;
}

static void pad8(uint8_t *line, int width)
{
    line[0] = line[1] = line[2];
    line[width + 2] = line[width + 3] = line[width + 1];
}

int still(const uint8_t *const *planes, const ptrdiff_t *strides, int count, int width,
                 int height, uint8_t *out)
{
    const size_t line = (size_t)width + 64;
    char *memory = malloc(line * 10);
    if (!memory)
        return -1;
    uint16_t *sum = (uint16_t *)memory;
    uint8_t *high = (uint8_t *)(sum + line), *low = high + line;
    uint8_t *contrast = low + line, *ring = contrast + line;
    int found = 0, ready = 0;
    for (int y = 0; y < height; y++) {
        const uint8_t *change[5], *light[5];
        for (; ready < height && ready <= y + 2; ready++)
            for (int k = 0; k + 1 < count; k++)
                change_row(planes[k] + strides[k] * ready, planes[k + 1] + strides[k + 1] * ready,
                           ring + line * (ready % 5), width, k == 0);
        for (int k = 0; k < 5; k++) {
            int row = clamp(y + k - 2, 0, height - 1);
            change[k] = ring + line * (row % 5);
            light[k] = planes[0] + strides[0] * row;
        }
        column_row(change, light, sum + 2, high + 2, low + 2, width);
        sum[0] = sum[1] = sum[2];
        sum[width + 2] = sum[width + 3] = sum[width + 1];
        pad8(high, width), pad8(low, width);
        contrast_row(high, low, contrast, width);
        found += still_row(sum, contrast, out + (ptrdiff_t)y * width, width);
    }
    free(memory);
    return found;
}
