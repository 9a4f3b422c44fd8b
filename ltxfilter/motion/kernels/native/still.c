/* Find what stands still over consecutive pictures. */
#include "kernels.h"

enum { LASTING = 2 }; /* pairs that a sample must stand still in to be remembered */

CLONES static void change_row(const uint8_t *restrict a, const uint8_t *restrict b,
                              uint8_t *restrict most, int width, int first)
{
    for (int x = 0; x < width; x++) {
        uint8_t change = a[x] > b[x] ? (uint8_t)(a[x] - b[x]) : (uint8_t)(b[x] - a[x]);
        most[x] = first || change > most[x] ? change : most[x];
    }
}

/* The largest and smallest of five rows. */
CLONES static void extreme_row(const uint8_t *const rows[5], uint8_t *restrict high,
                               uint8_t *restrict low, int width)
{
    const uint8_t *restrict a = rows[0], *restrict b = rows[1], *restrict c = rows[2];
    const uint8_t *restrict d = rows[3], *restrict e = rows[4];
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

/* 1 where there is detail and it hardly changes. */
CLONES static void candidate_row(const uint8_t *restrict change, const uint8_t *restrict contrast,
                                 uint8_t *restrict out, int width)
{
    for (int x = 0; x < width; x++) {
        int16_t most = (int16_t)(3 * contrast[x]), moved = (int16_t)(25 * change[x]);
        most = most > 250 ? most : 250;
        out[x] = ((contrast[x] >= 60) & (moved <= most)) | ((contrast[x] >= 24) & (change[x] <= 2));
    }
}

/* Keep candidates that have company: eight of the 5x5 around them. rows: padded by two. */
CLONES static int company_row(const uint8_t *const rows[5], uint8_t *restrict sum,
                              uint8_t *restrict out, int width)
{
    const uint8_t *restrict a = rows[0], *restrict b = rows[1], *restrict c = rows[2];
    const uint8_t *restrict d = rows[3], *restrict e = rows[4];
    int count = 0;
    for (int x = 0; x < width + 4; x++)
        sum[x] = (uint8_t)(a[x] + b[x] + c[x] + d[x] + e[x]);
    for (int x = 0; x < width; x++) {
        uint8_t near = (uint8_t)(sum[x] + sum[x + 1] + sum[x + 2] + sum[x + 3] + sum[x + 4]);
        out[x] = (uint8_t)-(c[x + 2] & (near >= 8));
    }
    for (int x = 0; x < width; x++)
        count += out[x] & 1;
    return count;
}

/* Add what stood still before and hardly changes now; seen: how often, up to LASTING. */
CLONES static int lasting_row(const uint8_t *restrict change, uint8_t *restrict seen,
                              uint8_t *restrict out, int width)
{
    int count = 0;
    for (int x = 0; x < width; x++) {
        const uint8_t often = seen[x], now = out[x];
        const uint8_t known = (uint8_t)-((often >= LASTING) & (change[x] <= 6));
        const uint8_t more = (uint8_t)(often + (often < LASTING));
        seen[x] = (uint8_t)((now & more) | (~now & known & often));
        out[x] = now | known;
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

/* Rows that are worked on; all but the first two and the last are padded by two. */
typedef struct {
    uint8_t *contrast, *high, *low, *ring[5], *changed[5], *none;
} Lines;

static void candidates(const Lines *l, const uint8_t *const *planes, const ptrdiff_t *strides,
                       int count, int width, int height, int y)
{
    const uint8_t *around[5];
    uint8_t *change = l->changed[y % 5];
    for (int k = 0; k + 1 < count; k++)
        change_row(planes[k] + strides[k] * y, planes[k + 1] + strides[k + 1] * y, change, width,
                   k == 0);
    for (int k = 0; k < 5; k++)
        around[k] = planes[0] + strides[0] * clamp(y + k - 2, 0, height - 1);
    extreme_row(around, l->high + 2, l->low + 2, width);
    pad8(l->high, width), pad8(l->low, width);
    contrast_row(l->high, l->low, l->contrast, width);
    candidate_row(change, l->contrast, l->ring[y % 5] + 2, width);
}

int still(const uint8_t *const *planes, const ptrdiff_t *strides, int count, int width, int height,
          uint8_t *seen, uint8_t *out)
{
    const size_t line = (size_t)width + 64;
    uint8_t *memory = calloc(line, 14);
    if (!memory)
        return -1;
    Lines l = {.contrast = memory, .high = memory + line, .low = memory + 2 * line,
               .none = memory + 3 * line};
    for (int k = 0; k < 5; k++)
        l.ring[k] = memory + (4 + k) * line, l.changed[k] = memory + (9 + k) * line;
    int found = 0, ready = 0;
    for (int y = 0; y < height; y++) {
        const uint8_t *around[5];
        for (; ready < height && ready <= y + 2; ready++)
            candidates(&l, planes, strides, count, width, height, ready);
        for (int k = 0; k < 5; k++) {
            const int row = y + k - 2;
            around[k] = row < 0 || row >= height ? l.none : l.ring[row % 5];
        }
        const size_t at = (size_t)y * width;
        const int alone = company_row(around, l.high, out + at, width);
        found += seen ? lasting_row(l.changed[y % 5], seen + at, out + at, width) : alone;
    }
    free(memory);
    return found;
}
