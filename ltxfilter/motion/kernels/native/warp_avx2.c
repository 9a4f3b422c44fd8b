/* The warp of 8-bit planes with byte shuffles: 16 samples at a time, three passes over each row. */
#include "kernels.h"

#if HAVE_AVX2
#define AVX2 __attribute__((target("avx2")))

enum {
    RUN = 16,   /* samples that are drawn together, in halves of eight */
    REACH = 12, /* columns that a half's displacements may differ by: a window holds 16 */
    SPREAD = 4, /* rows that they may differ by */
};

/* How the samples of a run are fetched from one end. */
enum { IN_PLACE, NEAR, WIDE, BORDER, SCATTERED };

typedef struct {
    int column[2], top[2]; /* of both halves' windows */
    int kind;
} Run;

struct FastWarp {
    const Warp *w;
    __m256i left, right, part; /* bytes of the cells before and after each sample */
    __m256i taps[4];           /* the k-th tap of each phase */
    int16_t *way[5];           /* this row's field: 1/16 samples, and the share of the left */
    int16_t *fetched[MOST_PLANES][2]; /* what both ends have there, in 1/16 codes */
    Run *runs[2];
};

AVX2 static void make_tables(FastWarp *f)
{
    const Warp *w = f->w;
    uint8_t left[32], right[32];
    int16_t part[16];
    int8_t taps[32];
    for (int i = 0; i < 16; i++) {
        int cell = w->left[i] - w->left[i & 8];
        left[2 * i] = (uint8_t)(2 * cell), left[2 * i + 1] = (uint8_t)(2 * cell + 1);
        cell += w->part[i] != 0; /* a sample on its cell's centre needs no second one */
        right[2 * i] = (uint8_t)(2 * cell), right[2 * i + 1] = (uint8_t)(2 * cell + 1);
        part[i] = w->part[i];
    }
    f->left = _mm256_loadu_si256((const __m256i *)left);
    f->right = _mm256_loadu_si256((const __m256i *)right);
    f->part = _mm256_loadu_si256((const __m256i *)part);
    for (int k = 0; k < 4; k++) {
        for (int i = 0; i < 32; i++)
            taps[i] = w->taps[4 * (i & 15) + k];
        f->taps[k] = _mm256_loadu_si256((const __m256i *)taps);
    }
}

FastWarp *fast_warp(const Warp *w)
{
    if (w->deep || w->width < RUN || !__builtin_cpu_supports("avx2"))
        return NULL;
    const size_t width = (size_t)w->width & -RUN, runs = width / RUN, lines = 5 + 2 * w->count;
    const size_t size = sizeof(FastWarp) + lines * width * 2 + 2 * runs * sizeof(Run);
    FastWarp *f = aligned_alloc(32, (size + 31) & ~(size_t)31);
    if (!f)
        return NULL;
    int16_t *line = (int16_t *)(f + 1);
    f->w = w;
    for (int k = 0; k < 5; k++, line += width)
        f->way[k] = line;
    for (int end = 0; end < 2; end++)
        for (int k = 0; k < w->count; k++, line += width)
            f->fetched[k][end] = line;
    for (int end = 0; end < 2; end++)
        f->runs[end] = (Run *)line + end * runs;
    make_tables(f);
    return f;
}

AVX2 static inline __m256i load_pair(const void *low, const void *high)
{
    __m128i first = _mm_loadu_si128((const __m128i *)low);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(first),
                                   _mm_loadu_si128((const __m128i *)high), 1);
}

AVX2 static inline __m256i load(const int16_t *from)
{
    return _mm256_loadu_si256((const __m256i *)from);
}

/* Read this row's field at every sample, displacements rounded to 1/16. */
AVX2 static void grow_row(const FastWarp *f)
{
    const __m256i one = _mm256_set1_epi16(1);
    for (int k = 0; k < 5; k++)
        for (int x = 0; x + RUN <= f->w->width; x += RUN) {
            const int16_t *row = f->w->row[k];
            __m256i cells = load_pair(row + f->w->left[x], row + f->w->left[x + 8]);
            __m256i left = _mm256_shuffle_epi8(cells, f->left);
            __m256i apart = _mm256_sub_epi16(_mm256_shuffle_epi8(cells, f->right), left);
            __m256i value = _mm256_add_epi16(left, _mm256_mulhrs_epi16(apart, f->part));
            if (k < 4)
                value = _mm256_srai_epi16(_mm256_add_epi16(value, one), 1);
            _mm256_store_si256((__m256i *)(f->way[k] + x), value);
        }
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
    __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(a), b, 1);
    const __m256i first = _mm256_set1_epi16(0x0100);
    return _mm256_xor_si256(_mm256_shuffle_epi8(both, first), flip);
}

AVX2 static inline __m256i columns_of(__m256i dx)
{
    const __m256i lanes = _mm256_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_add_epi16(_mm256_srai_epi16(dx, 4), lanes);
}

/* Find where a run's windows lie, and turn displacements into places within them: dx into the
 * first tap's column and dy into the row, both above their 1/16 samples. */
AVX2 static inline void plan_run(const Warp *w, Run *run, int16_t *way_x, int16_t *way_y, int x,
                                 int y)
{
    const __m256i phases = _mm256_set1_epi16(15);
    const __m256i dx = load(way_x), dy = load(way_y), way = _mm256_or_si256(dx, dy);
    if (_mm256_testz_si256(way, way)) {
        run->kind = IN_PLACE;
        return;
    }
    int low_x[2], low_y[2], inside = 1;
    __m256i off = columns_of(dx), level = _mm256_srai_epi16(dy, 4);
    off = _mm256_sub_epi16(off, least(off, low_x));
    level = _mm256_sub_epi16(level, least(level, low_y));
    const __m256i over = _mm256_or_si256(_mm256_cmpgt_epi16(off, _mm256_set1_epi16(REACH)),
                                         _mm256_cmpgt_epi16(level, _mm256_set1_epi16(SPREAD)));
    if (!_mm256_testz_si256(over, over)) {
        run->kind = SCATTERED;
        return;
    }
    const __m256i below = _mm256_cmpgt_epi16(level, _mm256_set1_epi16(1));
    const int far = !_mm256_testz_si256(below, below);
    const unsigned last_column = (unsigned)w->width - 16;
    const unsigned last_top = (unsigned)(w->height - (far ? 4 + SPREAD : 5));
    for (int half = 0; half < 2; half++) {
        run->column[half] = x + 8 * half + low_x[half] - 1;
        run->top[half] = y + low_y[half] - 1;
        inside &= ((unsigned)run->column[half] <= last_column) &
                  ((unsigned)run->top[half] <= last_top);
    }
    run->kind = !inside || w->height < 4 + SPREAD ? BORDER : far ? WIDE : NEAR;
    off = _mm256_or_si256(_mm256_slli_epi16(off, 4), _mm256_and_si256(dx, phases));
    level = _mm256_or_si256(_mm256_slli_epi16(level, 4), _mm256_and_si256(dy, phases));
    _mm256_storeu_si256((__m256i *)way_x, off);
    _mm256_storeu_si256((__m256i *)way_y, level);
}

/* Copy both windows of a run, repeating the plane's border. */
static void copy_windows(const Warp *w, const uint8_t *plane, ptrdiff_t stride, const Run *run,
                         uint8_t *copy)
{
    for (int half = 0; half < 2; half++)
        for (int row = 0; row < 4 + SPREAD; row++) {
            const int column = run->column[half];
            const uint8_t *line = plane + stride * clamp(run->top[half] + row, 0, w->height - 1);
            uint8_t *to = copy + 32 * row + 16 * half;
            const int before = clamp(-column, 0, 16);
            const int after = clamp(column + 16 - w->width, 0, 16);
            memset(to, line[0], (size_t)before);
            if (before + after < 16)
                memcpy(to + before, line + column + before, (size_t)(16 - before - after));
            memset(to + 16 - after, line[w->width - 1], (size_t)after);
        }
}

/* What a run is filtered with, for every plane alike. */
typedef struct {
    __m256i pick01, pick23, taps01, taps23; /* along x: which bytes, times what */
    __m256i level, height[4];               /* along y: the first row, and the taps from there */
} Filter;

AVX2 static inline Filter make_filter(const FastWarp *f, const int16_t *way_x,
                                      const int16_t *way_y)
{
    const __m256i phases = _mm256_set1_epi16(15), low_zero = _mm256_set1_epi16(0x0080);
    const __m256i high_zero = _mm256_set1_epi16((short)0x8000);
    const __m256i x = load(way_x), y = load(way_y);
    Filter filter;
    __m256i off = _mm256_srli_epi16(x, 4), phase = _mm256_and_si256(x, phases);
    filter.pick01 = _mm256_add_epi16(_mm256_or_si256(off, _mm256_slli_epi16(off, 8)),
                                     _mm256_set1_epi16(0x0100));
    filter.pick23 = _mm256_add_epi16(filter.pick01, _mm256_set1_epi16(0x0202));
    __m256i even = _mm256_or_si256(phase, high_zero);
    __m256i odd = _mm256_or_si256(_mm256_slli_epi16(phase, 8), low_zero);
    filter.taps01 = _mm256_or_si256(_mm256_shuffle_epi8(f->taps[0], even),
                                    _mm256_shuffle_epi8(f->taps[1], odd));
    filter.taps23 = _mm256_or_si256(_mm256_shuffle_epi8(f->taps[2], even),
                                    _mm256_shuffle_epi8(f->taps[3], odd));
    filter.level = _mm256_srli_epi16(y, 4);
    odd = _mm256_or_si256(_mm256_slli_epi16(_mm256_and_si256(y, phases), 8), low_zero);
    for (int k = 0; k < 4; k++)
        filter.height[k] = _mm256_srai_epi16(_mm256_shuffle_epi8(f->taps[k], odd), 1);
    return filter;
}

/* Filter one row of both windows along x. */
AVX2 static inline __m256i filter_row(const Filter *f, const uint8_t *const base[2],
                                      ptrdiff_t offset)
{
    __m256i line = load_pair(base[0] + offset, base[1] + offset);
    return _mm256_add_epi16(
        _mm256_maddubs_epi16(_mm256_shuffle_epi8(line, f->pick01), f->taps01),
        _mm256_maddubs_epi16(_mm256_shuffle_epi8(line, f->pick23), f->taps23));
}

/* Filter a run whose rows differ by one at most. */
AVX2 static inline __m256i filter_near(const Filter *f, const uint8_t *const base[2],
                                       ptrdiff_t stride)
{
    const __m256i lower = _mm256_cmpgt_epi16(f->level, _mm256_setzero_si256());
    const __m256i *height = f->height;
    __m256i total = _mm256_mulhrs_epi16(filter_row(f, base, 0),
                                        _mm256_andnot_si256(lower, height[0]));
    for (int row = 1; row < 4; row++) {
        __m256i tap = _mm256_blendv_epi8(height[row], height[row - 1], lower);
        total = _mm256_add_epi16(total,
                                 _mm256_mulhrs_epi16(filter_row(f, base, stride * row), tap));
    }
    return _mm256_add_epi16(total, _mm256_mulhrs_epi16(filter_row(f, base, stride * 4),
                                                       _mm256_and_si256(lower, height[3])));
}

AVX2 static __m256i filter_wide(const Filter *f, const uint8_t *const base[2], ptrdiff_t stride)
{
    __m256i total = _mm256_setzero_si256();
    for (int row = 0; row < 4 + SPREAD; row++) {
        __m256i tap = _mm256_setzero_si256();
        for (int k = row < SPREAD ? 0 : row - SPREAD; k < 4 && k <= row; k++) {
            __m256i here = _mm256_cmpeq_epi16(f->level, _mm256_set1_epi16((short)(row - k)));
            tap = _mm256_or_si256(tap, _mm256_and_si256(here, f->height[k]));
        }
        total = _mm256_add_epi16(total,
                                 _mm256_mulhrs_epi16(filter_row(f, base, stride * row), tap));
    }
    return total;
}

AVX2 static inline __m256i in_place(const uint8_t *from)
{
    return _mm256_slli_epi16(_mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)from)), 4);
}

/* Fetch a run of one plane from one end, in 1/16 codes. */
AVX2 static inline __m256i fetch_run(const FastWarp *f, const Run *run, const Filter *filter,
                                     const uint8_t *plane, ptrdiff_t stride)
{
    const uint8_t *base[2];
    uint8_t copy[32 * (4 + SPREAD)];
    if (run->kind == BORDER) {
        copy_windows(f->w, plane, stride, run, copy);
        base[0] = copy, base[1] = copy + 16;
        return filter_wide(filter, base, 32);
    }
    for (int half = 0; half < 2; half++)
        base[half] = plane + stride * run->top[half] + run->column[half];
    return run->kind == NEAR ? filter_near(filter, base, stride)
                             : filter_wide(filter, base, stride);
}

static inline int32_t four_bytes(const void *from)
{
    int32_t value;
    memcpy(&value, from, 4);
    return value;
}

/* The 4x4 samples around (x, y), where the plane's border may be among them. */
static void copy_square(const Warp *w, const uint8_t *plane, ptrdiff_t stride, int x, int y,
                        uint8_t square[16])
{
    for (int i = 0; i < 16; i++)
        square[i] = plane[stride * clamp(y + i / 4 - 1, 0, w->height - 1) +
                          clamp(x + i % 4 - 1, 0, w->width - 1)];
}

/* Fetch one sample at (x, y), displaced by (dx, dy) in 1/16. */
AVX2 static inline int16_t fetch_one(const Warp *w, const uint8_t *plane, ptrdiff_t stride, int x,
                                     int y, int dx, int dy)
{
    const __m128i one = _mm_set1_epi16(1);
    __m128i square;
    x += dx >> 4, y += dy >> 4;
    if (x >= 1 && y >= 1 && x + 2 < w->width && y + 2 < w->height) {
        const uint8_t *at = plane + stride * (y - 1) + x - 1;
        square = _mm_setr_epi32(four_bytes(at), four_bytes(at + stride),
                                four_bytes(at + 2 * stride), four_bytes(at + 3 * stride));
    } else {
        uint8_t copy[16];
        copy_square(w, plane, stride, x, y, copy);
        square = _mm_loadu_si128((const __m128i *)copy);
    }
    const __m128i across = _mm_set1_epi32(four_bytes(w->taps + 4 * (dx & 15)));
    const __m128i down = _mm_slli_epi16(
        _mm_cvtepi8_epi16(_mm_cvtsi32_si128(four_bytes(w->taps + 4 * (dy & 15)))), 7);
    __m128i sums = _mm_hadd_epi16(_mm_maddubs_epi16(square, across), _mm_setzero_si128());
    sums = _mm_madd_epi16(_mm_mulhrs_epi16(sums, down), one);
    return (int16_t)(_mm_cvtsi128_si32(sums) + _mm_extract_epi32(sums, 1));
}

/* Fetch a row of every plane from one end. */
AVX2 static void fetch_row(const FastWarp *f, int end, int y)
{
    const Warp *w = f->w;
    const Run *run = f->runs[end];
    for (int x = 0; x + RUN <= w->width; x += RUN, run++) {
        const int16_t *way_x = f->way[2 * end] + x, *way_y = f->way[2 * end + 1] + x;
        Filter filter;
        if (run->kind != IN_PLACE && run->kind != SCATTERED)
            filter = make_filter(f, way_x, way_y);
        for (int k = 0; k < w->count; k++) {
            const WarpPlane *p = w->planes + k;
            const uint8_t *plane = end ? p->b : p->a;
            const ptrdiff_t stride = end ? p->stride_b : p->stride_a;
            int16_t *found = f->fetched[k][end] + x;
            if (run->kind == SCATTERED)
                for (int i = 0; i < RUN; i++)
                    found[i] = fetch_one(w, plane, stride, x + i, y, way_x[i], way_y[i]);
            else
                _mm256_store_si256((__m256i *)found,
                                   run->kind == IN_PLACE
                                       ? in_place(plane + stride * y + x)
                                       : fetch_run(f, run, &filter, plane, stride));
        }
    }
}

/* Mix what both ends have for 16 samples; mask: NULL or where to cross-fade a and b instead. */
AVX2 static inline __m128i mix_run(const FastWarp *f, int plane, int x, const uint8_t *a,
                                   const uint8_t *b, const uint8_t *mask)
{
    const __m256i seven = _mm256_set1_epi16(7), one = _mm256_set1_epi16(1);
    const __m256i from_a = load(f->fetched[plane][0] + x), from_b = load(f->fetched[plane][1] + x);
    __m256i mixed = _mm256_add_epi16(
        from_b, _mm256_mulhrs_epi16(_mm256_sub_epi16(from_a, from_b), load(f->way[4] + x)));
    if (mask) {
        __m256i keep = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)mask));
        if (!_mm256_testz_si256(keep, keep)) {
            const __m256i tau = _mm256_set1_epi16((short)f->w->tau);
            __m256i left = in_place(a), right = in_place(b);
            left = _mm256_add_epi16(left, _mm256_mulhrs_epi16(_mm256_sub_epi16(right, left), tau));
            mixed = _mm256_blendv_epi8(mixed, left, keep);
        }
    }
    __m256i odd = _mm256_and_si256(_mm256_srai_epi16(mixed, 4), one); /* halves to even */
    mixed = _mm256_srai_epi16(_mm256_add_epi16(_mm256_add_epi16(mixed, seven), odd), 4);
    return _mm_packus_epi16(_mm256_castsi256_si128(mixed), _mm256_extracti128_si256(mixed, 1));
}

AVX2 static void mix_row(const FastWarp *f, int plane, int y)
{
    const Warp *w = f->w;
    const WarpPlane *p = w->planes + plane;
    const uint8_t *a = (const uint8_t *)p->a + p->stride_a * y;
    const uint8_t *b = (const uint8_t *)p->b + p->stride_b * y;
    const uint8_t *still = w->still ? w->still + (ptrdiff_t)y * w->width : NULL;
    uint8_t *out = (uint8_t *)p->out + p->stride_out * y;
    int x = 0;
    for (; x + RUN <= w->width; x += RUN)
        _mm_storeu_si128((__m128i *)(out + x),
                         mix_run(f, plane, x, a + x, b + x, still ? still + x : NULL));
    warp_samples(w, p, y, x, w->width);
}

AVX2 void fast_row(FastWarp *f, int y)
{
    const int whole = f->w->width & -RUN;
    grow_row(f);
    for (int end = 0; end < 2; end++) {
        for (int x = 0; x < whole; x += RUN)
            plan_run(f->w, f->runs[end] + x / RUN, f->way[2 * end] + x, f->way[2 * end + 1] + x,
                     x, y);
        fetch_row(f, end, y);
    }
    for (int k = 0; k < f->w->count; k++)
        mix_row(f, k, y);
}
#else
FastWarp *fast_warp(const Warp *w)
{
    (void)w;
    return NULL;
}

void fast_row(FastWarp *f, int y)
{
    (void)f, (void)y;
}
#endif
