/* Find what does not change over consecutive pictures, such as burned-in text. */
#include "kernels.h"

enum {
    LASTING = 2,          /* pairs of pictures that a sample is static in before it is remembered */
    AROUND = 5,           /* samples along each side of the neighbourhood that is looked at */
    REACH = AROUND / 2,
    COMPANY = 8,          /* candidates in the neighbourhood, itself included, that confirm one */
    REMEMBERED_CHANGE = 6, /* codes that a remembered sample may change by */
    STRONG_DETAIL = 60, STRONG_CHANGE = 10, /* codes: detail that may change by that or by 12 % */
    WEAK_DETAIL = 24, WEAK_CHANGE = 2,      /* codes: detail that may change by that only */
};

/* The larger of the change between two rows and of what was there. */
CLONES static void change_row(const uint8_t *restrict a, const uint8_t *restrict b,
                              uint8_t *restrict most, int width, int first)
{
    for (int x = 0; x < width; x++) {
        uint8_t change = a[x] > b[x] ? (uint8_t)(a[x] - b[x]) : (uint8_t)(b[x] - a[x]);
        most[x] = first || change > most[x] ? change : most[x];
    }
}

/* The largest and smallest of five rows. */
CLONES static void extreme_row(const uint8_t *const rows[AROUND], uint8_t *restrict high,
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

/* The local contrast: largest minus smallest of five neighbours. high, low: padded by REACH. */
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
        /* In 1/25 codes, of which 3 per code of contrast are 12 %. */
        int16_t allowed = (int16_t)(3 * contrast[x]), changed = (int16_t)(25 * change[x]);
        allowed = allowed > 25 * STRONG_CHANGE ? allowed : 25 * STRONG_CHANGE;
        out[x] = ((contrast[x] >= STRONG_DETAIL) & (changed <= allowed)) |
                 ((contrast[x] >= WEAK_DETAIL) & (change[x] <= WEAK_CHANGE));
    }
}

/* Keep the candidates that have COMPANY; return how many. rows: padded by REACH. */
CLONES static int confirm_row(const uint8_t *const rows[AROUND], uint8_t *restrict sum,
                              uint8_t *restrict out, int width)
{
    const uint8_t *restrict a = rows[0], *restrict b = rows[1], *restrict c = rows[2];
    const uint8_t *restrict d = rows[3], *restrict e = rows[4];
    int count = 0;
    for (int x = 0; x < width + 2 * REACH; x++)
        sum[x] = (uint8_t)(a[x] + b[x] + c[x] + d[x] + e[x]);
    for (int x = 0; x < width; x++) {
        uint8_t near = (uint8_t)(sum[x] + sum[x + 1] + sum[x + 2] + sum[x + 3] + sum[x + 4]);
        out[x] = (uint8_t)-(c[x + REACH] & (near >= COMPANY));
    }
    for (int x = 0; x < width; x++)
        count += out[x] & 1;
    return count;
}

/* Add the samples that are remembered and hardly change now; return how many are static then.
 * seen: how many pairs in a row a sample was static in, up to LASTING. */
CLONES static int remember_row(const uint8_t *restrict change, uint8_t *restrict seen,
                               uint8_t *restrict out, int width)
{
    int count = 0;
    for (int x = 0; x < width; x++) {
        const uint8_t pairs = seen[x], now = out[x];
        const uint8_t known =
            (uint8_t)-((pairs >= LASTING) & (change[x] <= REMEMBERED_CHANGE));
        const uint8_t more = (uint8_t)(pairs + (pairs < LASTING));
        seen[x] = (uint8_t)((now & more) | (~now & known & pairs));
        out[x] = now | known;
    }
    for (int x = 0; x < width; x++)
        count += out[x] & 1;
    return count;
}

/* Repeat the first and last of a row's `width` samples, which begin at line + REACH. */
static void pad_row(uint8_t *line, int width)
{
    line[0] = line[1] = line[REACH];
    line[width + REACH] = line[width + REACH + 1] = line[width + REACH - 1];
}

/* Rows that are worked on, in one block of memory; of `candidates` and `changes` row y is the one
 * numbered y % AROUND. */
typedef struct {
    uint8_t *memory;
    uint8_t *contrast;
    uint8_t *changes[AROUND];
    uint8_t *high, *low, *candidates[AROUND], *none; /* padded by REACH; none: all 0 */
} Lines;

static int open_lines(Lines *l, int width)
{
    const size_t line = (size_t)width + 64; /* the padding, and what SIMD may read beyond it */
    uint8_t *memory = calloc(4 + 2 * AROUND, line);
    if (!memory)
        return -1;
    l->memory = memory;
    l->contrast = memory;
    l->high = memory + line;
    l->low = memory + 2 * line;
    l->none = memory + 3 * line;
    for (int k = 0; k < AROUND; k++) {
        l->changes[k] = memory + (4 + k) * line;
        l->candidates[k] = memory + (4 + AROUND + k) * line;
    }
    return 0;
}

/* Find the candidates of row y. */
static void find_candidates(const Lines *l, const uint8_t *const *pictures,
                            const ptrdiff_t *strides, int count, int width, int height, int y)
{
    const uint8_t *around[AROUND];
    uint8_t *change = l->changes[y % AROUND];
    for (int k = 0; k + 1 < count; k++)
        change_row(pictures[k] + strides[k] * y, pictures[k + 1] + strides[k + 1] * y, change,
                   width, k == 0);
    for (int k = 0; k < AROUND; k++)
        around[k] = pictures[0] + strides[0] * clamp(y + k - REACH, 0, height - 1);
    extreme_row(around, l->high + REACH, l->low + REACH, width);
    pad_row(l->high, width), pad_row(l->low, width);
    contrast_row(l->high, l->low, l->contrast, width);
    candidate_row(change, l->contrast, l->candidates[y % AROUND] + REACH, width);
}

int static_mask(const uint8_t *const *pictures, const ptrdiff_t *strides, int count, int width,
                int height, uint8_t *seen, uint8_t *out)
{
    Lines l;
    if (open_lines(&l, width) < 0)
        return -1;
    int total = 0, ready = 0;
    for (int y = 0; y < height; y++) {
        const uint8_t *around[AROUND];
        for (; ready < height && ready <= y + REACH; ready++)
            find_candidates(&l, pictures, strides, count, width, height, ready);
        for (int k = 0; k < AROUND; k++) {
            const int row = y + k - REACH;
            around[k] = row < 0 || row >= height ? l.none : l.candidates[row % AROUND];
        }
        const size_t at = (size_t)y * width;
        const int confirmed = confirm_row(around, l.high, out + at, width);
        total += seen ? remember_row(l.changes[y % AROUND], seen + at, out + at, width) : confirmed;
    }
    free(l.memory);
    return total;
}
