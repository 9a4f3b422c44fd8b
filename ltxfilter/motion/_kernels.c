/* The kernels of plain.py, compiled: equal to it sample for sample, on every processor.
 *
 * Integer arithmetic, and floats only where their order is fixed (-ffp-contract=off). Loops that
 * compilers turn into SIMD are cloned per instruction set; only the 8-bit warp is written out.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__)
#define CLONES __attribute__((target_clones("avx2", "default")))
#define HAVE_AVX2 1
#include <immintrin.h>
#else
#define CLONES
#define HAVE_AVX2 0
#endif

static inline int32_t clamp(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* value * part / 32768, rounded half up; part up to 32767. */
static inline int32_t share(int32_t value, int32_t part)
{
    return (int32_t)(((int64_t)value * part + 0x4000) >> 15);
}

/* ---- propagate -------------------------------------------------------------------------- */

enum { REACH = 16 }; /* cells; longest shift of a candidate */

typedef struct {
    int rows, columns, stride; /* stride of the padded planes below */
    int32_t *x, *y;            /* flow in 1/32 cells, padded by REACH on all sides */
    uint32_t *quads;           /* every sample of the other picture with its three neighbours */
    const uint8_t *seen;
    uint16_t *ring[5];         /* rows of costs, blurred along x */
    uint16_t *line;            /* one row of costs, padded by two */
    int32_t *best;
    uint8_t *choice;
} Search;

CLONES static void cost_row(const Search *s, int row, int offset)
{
    const int32_t *x = s->x + (row + REACH) * s->stride + REACH + offset;
    const int32_t *y = s->y + (row + REACH) * s->stride + REACH + offset;
    const uint8_t *seen = s->seen + row * s->columns;
    const int columns = s->columns;
    const int32_t far_x = 32 * (columns - 1), far_y = 32 * (s->rows - 1);
    uint16_t *cost = s->line + 2;
    for (int i = 0; i < columns; i++) {
        int32_t at_x = 32 * i + x[i], at_y = 32 * row + y[i];
        int32_t outside = (at_x < -16) | (at_x > far_x + 16) | (at_y < -16) | (at_y > far_y + 16);
        at_x = clamp(at_x, 0, far_x);
        at_y = clamp(at_y, 0, far_y);
        uint32_t quad = s->quads[(at_y >> 5) * columns + (at_x >> 5)];
        int32_t part_x = at_x & 31, part_y = at_y & 31;
        int32_t top = (int32_t)(quad & 255) * (32 - part_x) + (int32_t)(quad >> 8 & 255) * part_x;
        int32_t bottom = (int32_t)(quad >> 16 & 255) * (32 - part_x) + (int32_t)(quad >> 24) * part_x;
        int32_t value = (top * (32 - part_y) + bottom * part_y + 32) >> 6;
        int32_t off = 16 * seen[i] - value;
        off = off < 0 ? -off : off;
        off = off > 640 ? 640 : off;
        cost[i] = (uint16_t)(off + 80 * outside);
    }
}

CLONES static void blur_row(const uint16_t *restrict line, uint16_t *restrict out, int columns)
{
    for (int i = 0; i < columns; i++)
        out[i] = (uint16_t)(line[i] + line[i + 4] + 4 * (line[i + 1] + line[i + 3]) + 6 * line[i + 2]);
}

CLONES static void judge_row(uint16_t *const rows[5], int32_t *restrict best,
                             uint8_t *restrict choice, int columns, int index, int32_t bias)
{
    const uint16_t *restrict a = rows[0], *restrict b = rows[1], *restrict c = rows[2];
    const uint16_t *restrict d = rows[3], *restrict e = rows[4];
    for (int i = 0; i < columns; i++) {
        int32_t cost = a[i] + e[i] + 4 * (b[i] + d[i]) + 6 * c[i] - bias;
        int32_t better = cost < best[i];
        best[i] = better ? cost : best[i];
        choice[i] = better ? (uint8_t)index : choice[i];
    }
}

static void ring_row(const Search *s, int row, int offset)
{
    const int columns = s->columns;
    uint16_t *line = s->line;
    cost_row(s, row, offset);
    line[0] = line[1] = line[2];
    line[columns + 2] = line[columns + 3] = line[columns + 1];
    blur_row(line, s->ring[row % 5], columns);
}

/* Try the candidate that lies `offset` samples away in the padded planes. */
static void try_candidate(const Search *s, int offset, int index, int32_t bias)
{
    int ready = 0;
    for (int row = 0; row < s->rows; row++) {
        uint16_t *around[5];
        for (; ready < s->rows && ready <= row + 2; ready++)
            ring_row(s, ready, offset);
        for (int k = 0; k < 5; k++)
            around[k] = s->ring[clamp(row + k - 2, 0, s->rows - 1) % 5];
        judge_row(around, s->best + row * s->columns, s->choice + row * s->columns, s->columns,
                  index, bias);
    }
}

static inline int32_t to_fixed(float cells)
{
    float scaled = cells * 32.0f;
    scaled = scaled < -1048576.0f ? -1048576.0f : scaled > 1048576.0f ? 1048576.0f : scaled;
    union { float f; int32_t i; } bits = { scaled + 12582912.0f }; /* round half to even */
    return bits.i - 0x4B400000;
}

static void fill_search(Search *s, const float *flow, const uint8_t *other)
{
    const int rows = s->rows, columns = s->columns;
    for (int row = -REACH; row < rows + REACH; row++) {
        const float *from = flow + 2 * clamp(row, 0, rows - 1) * columns;
        int32_t *x = s->x + (row + REACH) * s->stride + REACH;
        int32_t *y = s->y + (row + REACH) * s->stride + REACH;
        for (int i = 0; i < columns; i++) {
            x[i] = to_fixed(from[2 * i]);
            y[i] = to_fixed(from[2 * i + 1]);
        }
        for (int i = 1; i <= REACH; i++) {
            x[-i] = x[0], y[-i] = y[0];
            x[columns - 1 + i] = x[columns - 1], y[columns - 1 + i] = y[columns - 1];
        }
    }
    for (int row = 0; row < rows; row++) {
        const uint8_t *top = other + row * columns;
        const uint8_t *bottom = other + clamp(row + 1, 0, rows - 1) * columns;
        for (int i = 0; i < columns; i++) {
            int next = i + 1 < columns ? i + 1 : i;
            s->quads[row * columns + i] = (uint32_t)top[i] | (uint32_t)top[next] << 8 |
                                          (uint32_t)bottom[i] << 16 | (uint32_t)bottom[next] << 24;
        }
    }
    for (int i = 0; i < rows * columns; i++)
        s->best[i] = INT32_MAX;
    memset(s->choice, 0, (size_t)rows * columns);
}

static int propagate(const float *flow, const uint8_t *seen, const uint8_t *other,
                     const int32_t *shifts, int count, int32_t bias, int rows, int columns,
                     float *out)
{
    Search s = {rows, columns, columns + 2 * REACH, NULL, NULL, NULL, seen, {NULL}, NULL, NULL, NULL};
    const size_t padded = (size_t)s.stride * (rows + 2 * REACH), cells = (size_t)rows * columns;
    const size_t line = (size_t)columns + 32;
    char *memory = malloc(padded * 8 + cells * 9 + line * 12 + 64);
    if (!memory)
        return -1;
    s.x = (int32_t *)memory;
    s.y = s.x + padded;
    s.quads = (uint32_t *)(s.y + padded);
    s.best = (int32_t *)(s.quads + cells);
    s.line = (uint16_t *)(s.best + cells);
    for (int k = 0; k < 5; k++)
        s.ring[k] = s.line + line * (k + 1);
    s.choice = (uint8_t *)(s.line + line * 6);
    fill_search(&s, flow, other);
    try_candidate(&s, 0, 0, bias);
    for (int k = 0; k < count; k++)
        try_candidate(&s, shifts[2 * k + 1] * s.stride + shifts[2 * k], k + 1, 0);
    for (int row = 0; row < rows; row++)
        for (int i = 0; i < columns; i++) {
            int k = s.choice[row * columns + i];
            int x = i, y = row;
            if (k) {
                x = clamp(i + shifts[2 * k - 2], 0, columns - 1);
                y = clamp(row + shifts[2 * k - 1], 0, rows - 1);
            }
            memcpy(out + 2 * (row * columns + i), flow + 2 * (y * columns + x), 2 * sizeof(float));
        }
    free(memory);
    return 0;
}

/* ---- splat ------------------------------------------------------------------------------ */

static inline float into(float value, float high)
{
    value = value > 0.0f ? value : 0.0f;
    return value < high ? value : high;
}

static int splat(const float *flow, const float *weight, int rows, int columns, float *out)
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

/* ---- warp ------------------------------------------------------------------------------- */

typedef struct {
    const void *a, *b;
    void *out;
    ptrdiff_t stride_a, stride_b, stride_out; /* bytes */
    const uint8_t *still;                     /* or NULL */
    const int8_t *taps;                       /* [16, 4] */
    const int32_t *left;                      /* per sample, the padded cell before it */
    const int16_t *part;                      /* per sample, how far past its centre */
    const int16_t *row[5];                    /* the field at this row of samples */
    int width, height, deep, most, tau;
} Warp;

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
        mixed = clamp((mixed + 8) >> 4, 0, w->most);
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

/* The smallest and largest of each half's eight 16-bit numbers. */
typedef struct { int low[2], high[2]; } Range;

AVX2 static inline Range range16(__m256i values)
{
    const __m256i flip = _mm256_set1_epi16((short)0x8000), turn = _mm256_set1_epi16(0x7fff);
    __m256i up = _mm256_xor_si256(values, flip), down = _mm256_xor_si256(values, turn);
    Range r;
    __m128i a = _mm_minpos_epu16(_mm256_castsi256_si128(up));
    __m128i b = _mm_minpos_epu16(_mm256_extracti128_si256(up, 1));
    __m128i c = _mm_minpos_epu16(_mm256_castsi256_si128(down));
    __m128i d = _mm_minpos_epu16(_mm256_extracti128_si256(down, 1));
    r.low[0] = (int)(_mm_cvtsi128_si32(a) & 0xffff) - 0x8000;
    r.low[1] = (int)(_mm_cvtsi128_si32(b) & 0xffff) - 0x8000;
    r.high[0] = 0x7fff - (int)(_mm_cvtsi128_si32(c) & 0xffff);
    r.high[1] = 0x7fff - (int)(_mm_cvtsi128_si32(d) & 0xffff);
    return r;
}

enum { SPREAD = 4 }; /* rows that eight neighbours' displacements may differ by */

/* Filter 16 samples displaced by (dx, dy) in 1/32; 0 if they lie too far apart or outside. */
AVX2 static inline int fetch16x8(const Warp *w, const Tables *t, const uint8_t *plane,
                                 ptrdiff_t stride, int x, int y, __m256i dx, __m256i dy,
                                 __m256i *found)
{
    const __m256i one = _mm256_set1_epi16(1), phases = _mm256_set1_epi16(15);
    const __m256i lanes = _mm256_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7);
    dx = _mm256_srai_epi16(_mm256_add_epi16(dx, one), 1);
    dy = _mm256_srai_epi16(_mm256_add_epi16(dy, one), 1);
    __m256i off = _mm256_add_epi16(_mm256_srai_epi16(dx, 4), lanes);
    __m256i down = _mm256_srai_epi16(dy, 4);
    Range across = range16(off), along = range16(down);
    int spread = 0;
    const uint8_t *base[2];
    for (int half = 0; half < 2; half++) {
        int column = x + 8 * half + across.low[half] - 1, row = y + along.low[half] - 1;
        int rows = along.high[half] - along.low[half];
        if (across.high[half] - across.low[half] > 12 || rows > SPREAD || column < 0 ||
            column + 16 > w->width || row < 0)
            return 0;
        spread = rows > spread ? rows : spread;
        base[half] = plane + stride * row + column;
    }
    for (int half = 0; half < 2; half++)
        if (y + along.low[half] + 2 + spread >= w->height)
            return 0;
    const __m256i low_x = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_set1_epi16((short)across.low[0])),
        _mm_set1_epi16((short)across.low[1]), 1);
    off = _mm256_sub_epi16(off, low_x);
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
    __m256i total = _mm256_setzero_si256(), level = total;
    if (spread) {
        const __m256i low_y = _mm256_inserti128_si256(
            _mm256_castsi128_si256(_mm_set1_epi16((short)along.low[0])),
            _mm_set1_epi16((short)along.low[1]), 1);
        level = _mm256_sub_epi16(down, low_y);
    }
    for (int row = 0; row < 4 + spread; row++) {
        __m256i line = load_pair(base[0] + stride * row, base[1] + stride * row);
        __m256i sum = _mm256_add_epi16(
            _mm256_maddubs_epi16(_mm256_shuffle_epi8(line, pick01), taps01),
            _mm256_maddubs_epi16(_mm256_shuffle_epi8(line, pick23), taps23));
        __m256i tap;
        if (!spread) {
            tap = height[row];
        } else {
            tap = _mm256_setzero_si256();
            for (int k = row < spread ? 0 : row - spread; k < 4 && k <= row; k++) {
                __m256i here = _mm256_cmpeq_epi16(level, _mm256_set1_epi16((short)(row - k)));
                tap = _mm256_or_si256(tap, _mm256_and_si256(here, height[k]));
            }
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
    const __m256i tau = _mm256_set1_epi16((short)w->tau), half = _mm256_set1_epi16(8);
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
        mixed = _mm256_srai_epi16(_mm256_add_epi16(mixed, half), 4);
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

static int warp(Warp *w, const int16_t *field, int rows, int columns, int cell_x, int cell_y)
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

/* ---- still ------------------------------------------------------------------------------ */

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

/* sum, high, low: padded by two on both sides. */
CLONES static int still_row(const uint16_t *restrict sum, const uint8_t *restrict high,
                            const uint8_t *restrict low, uint8_t *restrict out, int width)
{
    int count = 0;
    for (int x = 0; x < width; x++) {
        uint16_t total = (uint16_t)(sum[x] + sum[x + 1] + sum[x + 2] + sum[x + 3] + sum[x + 4]);
        uint8_t top = high[x], bottom = low[x];
        top = high[x + 1] > top ? high[x + 1] : top, bottom = low[x + 1] < bottom ? low[x + 1] : bottom;
        top = high[x + 2] > top ? high[x + 2] : top, bottom = low[x + 2] < bottom ? low[x + 2] : bottom;
        top = high[x + 3] > top ? high[x + 3] : top, bottom = low[x + 3] < bottom ? low[x + 3] : bottom;
        top = high[x + 4] > top ? high[x + 4] : top, bottom = low[x + 4] < bottom ? low[x + 4] : bottom;
        uint16_t limit = (uint16_t)(3 * (uint16_t)(uint8_t)(top - bottom));
        limit = limit > 50 ? limit : 50;
        out[x] = total < limit ? 255 : 0;
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

static int still(const uint8_t *const *planes, const ptrdiff_t *strides, int count, int width,
                 int height, uint8_t *out)
{
    const size_t line = (size_t)width + 64;
    char *memory = malloc(line * 9);
    if (!memory)
        return -1;
    uint16_t *sum = (uint16_t *)memory;
    uint8_t *high = (uint8_t *)(sum + line), *low = high + line, *ring = low + line;
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
        found += still_row(sum, high, low, out + (ptrdiff_t)y * width, width);
    }
    free(memory);
    return found;
}

/* ---- Python ----------------------------------------------------------------------------- */

/* Borrow the buffers of `count` objects; on failure none is held. */
static int borrow(PyObject **objects, Py_buffer *views, int count, int last_writable)
{
    for (int i = 0; i < count; i++) {
        int flags = PyBUF_STRIDES | (last_writable && i == count - 1 ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(objects[i], &views[i], flags) < 0) {
            while (i--)
                PyBuffer_Release(&views[i]);
            return -1;
        }
    }
    return 0;
}

static PyObject *give_back(Py_buffer *views, int count, int failed)
{
    while (count--)
        PyBuffer_Release(&views[count]);
    if (failed)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *py_propagate(PyObject *module, PyObject *args)
{
    PyObject *objects[5];
    Py_buffer v[5];
    int bias, failed;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOOiO", &objects[0], &objects[1], &objects[2], &objects[3], &bias,
                          &objects[4]) || borrow(objects, v, 5, 1) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    failed = propagate(v[0].buf, v[1].buf, v[2].buf, v[3].buf, (int)v[3].shape[0], bias,
                       (int)v[0].shape[0], (int)v[0].shape[1], v[4].buf);
    Py_END_ALLOW_THREADS
    return give_back(v, 5, failed);
}

static PyObject *py_splat(PyObject *module, PyObject *args)
{
    PyObject *objects[3];
    Py_buffer v[3];
    int failed;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOO", &objects[0], &objects[1], &objects[2]) ||
        borrow(objects, v, 3, 1) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    failed = splat(v[0].buf, v[1].buf, (int)v[0].shape[0], (int)v[0].shape[1], v[2].buf);
    Py_END_ALLOW_THREADS
    return give_back(v, 3, failed);
}

static PyObject *py_warp(PyObject *module, PyObject *args)
{
    PyObject *objects[6];
    Py_buffer v[6];
    int cell_x, cell_y, depth, tau, failed, masked;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOOOiiiOiO", &objects[0], &objects[1], &objects[2], &objects[3],
                          &cell_x, &cell_y, &depth, &objects[4], &tau, &objects[5]))
        return NULL;
    masked = objects[4] != Py_None;
    if (!masked)
        objects[4] = objects[3];
    if (borrow(objects, v, 6, 1) < 0)
        return NULL;
    Warp w = {.a = v[0].buf, .b = v[1].buf, .out = v[5].buf, .stride_a = v[0].strides[0],
              .stride_b = v[1].strides[0], .stride_out = v[5].strides[0],
              .still = masked ? v[4].buf : NULL, .taps = v[3].buf, .width = (int)v[0].shape[1],
              .height = (int)v[0].shape[0], .deep = v[0].itemsize == 2, .most = (1 << depth) - 1,
              .tau = tau};
    Py_BEGIN_ALLOW_THREADS
    failed = warp(&w, v[2].buf, (int)v[2].shape[1], (int)v[2].shape[2], cell_x, cell_y);
    Py_END_ALLOW_THREADS
    return give_back(v, 6, failed);
}

static PyObject *py_still(PyObject *module, PyObject *args)
{
    PyObject *objects[5], *planes;
    Py_buffer v[5];
    const uint8_t *pointers[4];
    ptrdiff_t strides[4];
    int found, count;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO", &planes, &objects[4]))
        return NULL;
    count = (int)PyTuple_Size(planes);
    if (count < 2 || count > 4)
        return PyErr_Format(PyExc_ValueError, "two to four planes, not %d", count);
    for (int i = 0; i < count; i++)
        objects[i] = PyTuple_GetItem(planes, i);
    objects[count] = objects[4];
    if (borrow(objects, v, count + 1, 1) < 0)
        return NULL;
    for (int i = 0; i < count; i++)
        pointers[i] = v[i].buf, strides[i] = v[i].strides[0];
    Py_BEGIN_ALLOW_THREADS
    found = still(pointers, strides, count, (int)v[0].shape[1], (int)v[0].shape[0], v[count].buf);
    Py_END_ALLOW_THREADS
    PyObject *none = give_back(v, count + 1, found < 0);
    if (!none)
        return NULL;
    Py_DECREF(none);
    return PyLong_FromLong(found);
}

static PyMethodDef methods[] = {
    {"propagate", py_propagate, METH_VARARGS, "propagate(flow, seen, other, shifts, bias, out)"},
    {"splat", py_splat, METH_VARARGS, "splat(flow, weight, out)"},
    {"warp", py_warp, METH_VARARGS,
     "warp(a, b, field, taps, cell_x, cell_y, depth, still, tau, out)"},
    {"still", py_still, METH_VARARGS, "still(planes, out) -> how many samples stand still"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_kernels", "plain.py, compiled: trusts shapes and types.", -1, methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModule_Create(&definition);
}
