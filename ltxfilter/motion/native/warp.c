/* Fetch both keyframes along a field and mix them. */
#include "kernels.h"

static inline int32_t grown(const Warp *w, int plane, int x)
{
    const int16_t *cell = w->row[plane] + w->left[x];
    return cell[0] + share(cell[1] - cell[0], w->part[x]);
}

static int32_t fetch8(const Warp *w, const uint8_t *plane, ptrdiff_t stride, int x, int y,
                      int dx, int dy)
{
    const int8_t *across = w->taps + 4 * (dx & 15), *down = w->taps + 4 * (dy & 15);
    int32_t total = 0;
    x += dx >> 4, y += dy >> 4;
    for (int k = 0; k < 4; k++) {
        const uint8_t *line = plane + stride * clamp(y + k - 1, 0, w->height - 1);
        int32_t sum = 0;
        for (int i = 0; i < 4; i++)
            sum += line[clamp(x + i - 1, 0, w->width - 1)] * across[i];
        total += share(sum, down[k] * 128);
    }
    return total;
}

static int32_t fetch16(const Warp *w, const void *plane, ptrdiff_t stride, int x, int y,
                       int dx, int dy)
{
    const int8_t *across = w->taps + 4 * (dx & 15), *down = w->taps + 4 * (dy & 15);
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

static void warp_samples(const Warp *w, int y, int begin, int end)
{
    for (int x = begin; x < end; x++) {
        int32_t mixed;
        if (w->still && w->still[(ptrdiff_t)y * w->width + x]) {
            const char *a = (const char *)w->a + w->stride_a * y, *b = (const char *)w->b + w->stride_b * y;
            int32_t from_a = w->deep ? ((const uint16_t *)a)[x] : ((const uint8_t *)a)[x];
            int32_t from_b = w->deep ? ((const uint16_t *)b)[x] : ((const uint8_t *)b)[x];
            mixed = 16 * from_a + share(16 * (from_b - from_a), w->tau);
        } else {
            int ax = (grown(w, 0, x) + 1) >> 1, ay = (grown(w, 1, x) + 1) >> 1;
            int bx = (grown(w, 2, x) + 1) >> 1, by = (grown(w, 3, x) + 1) >> 1;
            int32_t from_a, from_b;
            if (w->deep) {
                from_a = fetch16(w, w->a, w->stride_a, x, y, ax, ay);
                from_b = fetch16(w, w->b, w->stride_b, x, y, bx, by);
            } else {
                from_a = fetch8(w, w->a, w->stride_a, x, y, ax, ay);
                from_b = fetch8(w, w->b, w->stride_b, x, y, bx, by);
            }
            mixed = from_b + share(from_a - from_b, grown(w, 4, x));
        }
        mixed = clamp((mixed + 7 + ((mixed >> 4) & 1)) >> 4, 0, w->most); /* halves to even */
        char *out = (char *)w->out + w->stride_out * y;
        if (w->deep)
            ((uint16_t *)out)[x] = (uint16_t)mixed;
        else
            ((uint8_t *)out)[x] = (uint8_t)mixed;
    }
}

#if HAVE_AVX2
#define AVX2 __attribute__((target("avx2")))

/* Constants of a call: how 16 samples read the field, and the taps as shuffle tables. */
typedef struct {
    __m256i left, right, part; /* bytes of the cells before and after each sample */
    __m256i taps[4];           /* the k-th tap of each phase */
} Tables;

AVX2 static Tables make_tables(const Warp *w)
{
    uint8_t left[32], right[32];
    int16_t part[16];
    int8_t taps[32];
    Tables t;
    for (int i = 0; i < 16; i++) {
        int cell = w->left[i] - w->left[i & 8];
        left[2 * i] = (uint8_t)(2 * cell), left[2 * i + 1] = (uint8_t)(2 * cell + 1);
        cell += w->part[i] != 0; /* a sample on its cell's centre needs no second one */
        right[2 * i] = (uint8_t)(2 * cell), right[2 * i + 1] = (uint8_t)(2 * cell + 1);
        part[i] = w->part[i];
    }
    t.left = _mm256_loadu_si256((const __m256i *)left);
    t.right = _mm256_loadu_si256((const __m256i *)right);
    t.part = _mm256_loadu_si256((const __m256i *)part);
    for (int k = 0; k < 4; k++) {
        for (int i = 0; i < 32; i++)
            taps[i] = w->taps[4 * (i & 15) + k];
        t.taps[k] = _mm256_loadu_si256((const __m256i *)taps);
    }
    return t;
}

AVX2 static inline __m256i load_pair(const void *low, const void *high)
{
    __m128i first = _mm_loadu_si128((const __m128i *)low);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(first),
                                   _mm_loadu_si128((const __m128i *)high), 1);
}

AVX2 static inline __m256i grow16(const Tables *t, const int16_t *row, int first, int second)
{
    __m256i cells = load_pair(row + first, row + second);
    __m256i left = _mm256_shuffle_epi8(cells, t->left);
    __m256i right = _mm256_shuffle_epi8(cells, t->right);
    return _mm256_add_epi16(left, _mm256_mulhrs_epi16(_mm256_sub_epi16(right, left), t->part));
}

/* The smallest of each half's eight 16-bit numbers, in every place of that half. */
AVX2 static inline __m256i least(__m256i values, int low[2])
{
    const __m256i flip = _mm256_set1_epi16((short)0x8000);
    __m256i up = _mm256_xor_si256(values, flip);
    __m128i a = _mm_minpos_epu16(_mm256_castsi256_si128(up));
    __m128i b = _mm_minpos_epu16(_mm256_extracti128_si256(up, 1));
    low[0] = (int16_t)(_mm_cvtsi128_si32(a) ^ 0x8000);
    low[1] = (int16_t)(_mm_cvtsi128_si32(b) ^ 0x8000);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_set1_epi16((short)low[0])),
                                   _mm_set1_epi16((short)low[1]), 1);
}

AVX2 static inline int exceeds(__m256i values, int limit)
{
    __m256i over = _mm256_cmpgt_epi16(values, _mm256_set1_epi16((short)limit));
    return !_mm256_testz_si256(over, over);
}

/* Copy both windows of 16 columns and `rows` rows, repeating the plane's border. */
static void copy_windows(const Warp *w, const uint8_t *plane, ptrdiff_t stride,
                         const int columns[2], const int tops[2], int rows, uint8_t *copy)
{
    for (int half = 0; half < 2; half++)
        for (int row = 0; row < rows; row++) {
            const uint8_t *line = plane + stride * clamp(tops[half] + row, 0, w->height - 1);
            uint8_t *to = copy + 32 * row + 16 * half;
            const int before = clamp(-columns[half], 0, 16);
            const int after = clamp(columns[half] + 16 - w->width, 0, 16);
            if (!before && !after) {
                memcpy(to, line + columns[half], 16);
                continue;
            }
            memset(to, line[0], (size_t)before);
            if (before + after < 16)
                memcpy(to + before, line + columns[half] + before, (size_t)(16 - before - after));
            memset(to + 16 - after, line[w->width - 1], (size_t)after);
        }
}

enum { SPREAD = 4 }; /* rows that eight neighbours' displacements may differ by */

/* Filter one row of both windows along x. */
AVX2 static inline __m256i filter_row(const uint8_t *const base[2], ptrdiff_t offset,
                                      __m256i pick01, __m256i pick23, __m256i taps01,
                                      __m256i taps23)
{
    __m256i line = load_pair(base[0] + offset, base[1] + offset);
    return _mm256_add_epi16(_mm256_maddubs_epi16(_mm256_shuffle_epi8(line, pick01), taps01),
                            _mm256_maddubs_epi16(_mm256_shuffle_epi8(line, pick23), taps23));
}

/* Filter 16 samples displaced by (dx, dy) in 1/32; 0 if eight neighbours lie too far apart. */
AVX2 static inline int fetch16x8(const Warp *w, const Tables *t, const uint8_t *plane,
                                 ptrdiff_t stride, int x, int y, __m256i dx, __m256i dy,
                                 __m256i *found)
{
    const __m256i one = _mm256_set1_epi16(1), phases = _mm256_set1_epi16(15);
    const __m256i lanes = _mm256_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7);
    dx = _mm256_srai_epi16(_mm256_add_epi16(dx, one), 1);
    dy = _mm256_srai_epi16(_mm256_add_epi16(dy, one), 1);
    const __m256i way = _mm256_or_si256(dx, dy);
    if (_mm256_testz_si256(way, way)) { /* what stands still needs no filter */
        const uint8_t *here = plane + stride * y + x;
        *found = _mm256_slli_epi16(
            _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)here)), 4);
        return 1;
    }
    __m256i off = _mm256_add_epi16(_mm256_srai_epi16(dx, 4), lanes);
    __m256i down = _mm256_srai_epi16(dy, 4);
    int low_x[2], low_y[2], columns[2], tops[2], inside = 1;
    off = _mm256_sub_epi16(off, least(off, low_x));
    const __m256i level = _mm256_sub_epi16(down, least(down, low_y));
    if (exceeds(off, 12) || exceeds(level, SPREAD))
        return 0;
    const int spread = !exceeds(level, 0) ? 0 : !exceeds(level, 1) ? 1 : SPREAD;
    const uint8_t *base[2];
    uint8_t copy[32 * (4 + SPREAD)];
    for (int half = 0; half < 2; half++) {
        columns[half] = x + 8 * half + low_x[half] - 1, tops[half] = y + low_y[half] - 1;
        inside &= columns[half] >= 0 && columns[half] + 16 <= w->width && tops[half] >= 0 &&
                  tops[half] + 4 + spread <= w->height;
        base[half] = plane + stride * tops[half] + columns[half];
    }
    if (!inside) {
        copy_windows(w, plane, stride, columns, tops, 4 + spread, copy);
        base[0] = copy, base[1] = copy + 16, stride = 32;
    }
    __m256i pick01 = _mm256_add_epi16(_mm256_or_si256(off, _mm256_slli_epi16(off, 8)),
                                      _mm256_set1_epi16(0x0100));
    __m256i pick23 = _mm256_add_epi16(pick01, _mm256_set1_epi16(0x0202));
    const __m256i high_zero = _mm256_set1_epi16((short)0x8000), low_zero = _mm256_set1_epi16(0x0080);
    __m256i phase = _mm256_and_si256(dx, phases);
    __m256i even = _mm256_or_si256(phase, high_zero);
    __m256i odd = _mm256_or_si256(_mm256_slli_epi16(phase, 8), low_zero);
    __m256i taps01 = _mm256_or_si256(_mm256_shuffle_epi8(t->taps[0], even),
                                     _mm256_shuffle_epi8(t->taps[1], odd));
    __m256i taps23 = _mm256_or_si256(_mm256_shuffle_epi8(t->taps[2], even),
                                     _mm256_shuffle_epi8(t->taps[3], odd));
    __m256i height[4];
    odd = _mm256_or_si256(_mm256_slli_epi16(_mm256_and_si256(dy, phases), 8), low_zero);
    for (int k = 0; k < 4; k++)
        height[k] = _mm256_srai_epi16(_mm256_shuffle_epi8(t->taps[k], odd), 1);
    __m256i total = _mm256_setzero_si256();
    if (!spread) {
        for (int row = 0; row < 4; row++) {
            __m256i sum = filter_row(base, stride * row, pick01, pick23, taps01, taps23);
            total = _mm256_add_epi16(total, _mm256_mulhrs_epi16(sum, height[row]));
        }
        *found = total;
        return 1;
    }
    for (int row = 0; row < 4 + spread; row++) {
        __m256i sum = filter_row(base, stride * row, pick01, pick23, taps01, taps23);
        __m256i tap = _mm256_setzero_si256();
        for (int k = row < spread ? 0 : row - spread; k < 4 && k <= row; k++) {
            __m256i here = _mm256_cmpeq_epi16(level, _mm256_set1_epi16((short)(row - k)));
            tap = _mm256_or_si256(tap, _mm256_and_si256(here, height[k]));
        }
        total = _mm256_add_epi16(total, _mm256_mulhrs_epi16(sum, tap));
    }
    *found = total;
    return 1;
}

AVX2 static void warp_row_avx2(const Warp *w, const Tables *t, int y)
{
    const uint8_t *a = (const uint8_t *)w->a, *b = (const uint8_t *)w->b;
    uint8_t *out = (uint8_t *)w->out + w->stride_out * y;
    const __m256i tau = _mm256_set1_epi16((short)w->tau);
    const __m256i seven = _mm256_set1_epi16(7), one = _mm256_set1_epi16(1);
    int x = 0;
    for (; x + 16 <= w->width; x += 16) {
        const int first = w->left[x], second = w->left[x + 8];
        __m256i from_a, from_b;
        if (!fetch16x8(w, t, a, w->stride_a, x, y, grow16(t, w->row[0], first, second),
                       grow16(t, w->row[1], first, second), &from_a) ||
            !fetch16x8(w, t, b, w->stride_b, x, y, grow16(t, w->row[2], first, second),
                       grow16(t, w->row[3], first, second), &from_b)) {
            warp_samples(w, y, x, x + 16);
            continue;
        }
        __m256i part = grow16(t, w->row[4], first, second);
        __m256i mixed = _mm256_add_epi16(
            from_b, _mm256_mulhrs_epi16(_mm256_sub_epi16(from_a, from_b), part));
        if (w->still) {
            const __m128i *mask = (const __m128i *)(w->still + (ptrdiff_t)y * w->width + x);
            __m256i keep = _mm256_cvtepi8_epi16(_mm_loadu_si128(mask));
            if (!_mm256_testz_si256(keep, keep)) {
                __m256i left = _mm256_slli_epi16(_mm256_cvtepu8_epi16(_mm_loadu_si128(
                    (const __m128i *)(a + w->stride_a * y + x))), 4);
                __m256i right = _mm256_slli_epi16(_mm256_cvtepu8_epi16(_mm_loadu_si128(
                    (const __m128i *)(b + w->stride_b * y + x))), 4);
                left = _mm256_add_epi16(left, _mm256_mulhrs_epi16(_mm256_sub_epi16(right, left), tau));
                mixed = _mm256_blendv_epi8(mixed, left, keep);
            }
        }
        __m256i odd = _mm256_and_si256(_mm256_srai_epi16(mixed, 4), one);
        mixed = _mm256_srai_epi16(_mm256_add_epi16(_mm256_add_epi16(mixed, seven), odd), 4);
        _mm_storeu_si128((__m128i *)(out + x),
                         _mm_packus_epi16(_mm256_castsi256_si128(mixed),
                                          _mm256_extracti128_si256(mixed, 1)));
    }
    warp_samples(w, y, x, w->width);
}
#endif

CLONES static void between_rows(const int16_t *restrict top, const int16_t *restrict bottom,
                                int part, int16_t *restrict out, int columns)
{
    for (int i = 0; i < columns; i++)
        out[i] = (int16_t)(top[i] + (((bottom[i] - top[i]) * part + 0x4000) >> 15));
}

/* For a sample: the padded cell whose centre lies before it, and how far past it lies. */
static int before(int sample, int cell, int16_t *part)
{
    if (cell == 1) {
        *part = 0;
        return sample + 1;
    }
    int left = (sample + cell / 2) / cell;
    *part = (int16_t)((2 * (sample + cell / 2 - left * cell) + 1) * (0x8000 / (2 * cell)));
    return left;
}

int warp(Warp *w, const int16_t *field, int rows, int columns, int cell_x, int cell_y)
{
    const size_t line = (size_t)columns + 16;
    char *memory = calloc(1, ((size_t)w->width + 16) * 6 + 5 * line * 2);
    if (!memory)
        return -1;
    int32_t *left = (int32_t *)memory;
    int16_t *part = (int16_t *)(left + w->width + 16), *buffer = part + w->width + 16;
    for (int x = 0; x < w->width; x++)
        left[x] = before(x, cell_x, part + x);
    w->left = left, w->part = part;
#if HAVE_AVX2
    const int fast = !w->deep && w->width >= 16 && cell_x <= 16 && __builtin_cpu_supports("avx2");
    Tables tables;
    if (fast)
        tables = make_tables(w);
#endif
    for (int y = 0; y < w->height; y++) {
        int16_t past;
        int top = before(y, cell_y, &past);
        for (int k = 0; k < 5; k++) {
            const int16_t *from = field + (size_t)k * rows * columns + (size_t)top * columns;
            const int16_t *to = past ? from + columns : from;
            between_rows(from, to, past, buffer + k * line, columns);
            w->row[k] = buffer + k * line;
        }
#if HAVE_AVX2
        if (fast) {
            warp_row_avx2(w, &tables, y);
            continue;
        }
#endif
        warp_samples(w, y, 0, w->width);
    }
    free(memory);
    return 0;
}
