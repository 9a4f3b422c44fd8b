/* Fetch samples of 8 bits with byte shuffles: in runs of 16, and one by one. */
#ifndef LTXFILTER_FETCH_AVX2_H
#define LTXFILTER_FETCH_AVX2_H

#include "kernels.h"

#define AVX2 __attribute__((target("avx2")))

enum {
    RUN = 16,   /* samples that are drawn together, in halves of eight */
    WIDEST_CELL = 16, /* samples; a run then reads at most eight cells from each half's first on */
    REACH = 12, /* columns that a half's displacements may differ by: a window holds 16 */
    SPREAD = 4, /* rows that they may differ by */
};

/* How the samples of a run are fetched from one end. */
enum {
    IN_PLACE,  /* nothing moves */
    NEAR,      /* their rows differ by one at most */
    WIDE,      /* by SPREAD at most */
    BORDER,    /* the same, from a copy that repeats the plane's border */
    SCATTERED, /* one by one */
};

typedef struct {
    int column[2], top[2]; /* of both halves' windows */
    int kind;
} Run;

/* Planes of one size, and the filter that they are read with. */
typedef struct {
    int width, height;
    const int8_t *taps;    /* [PHASES, TAPS] in 1/64 */
    __m256i lanes[TAPS];   /* the k-th tap of each phase */
} Source;

AVX2 static inline Source make_source(int width, int height, const int8_t *taps)
{
    Source source = {.width = width, .height = height, .taps = taps};
    uint8_t lanes[32];
    for (int k = 0; k < TAPS; k++) {
        for (int i = 0; i < 32; i++)
            lanes[i] = (uint8_t)taps[TAPS * (i % PHASES) + k];
        source.lanes[k] = _mm256_loadu_si256((const __m256i *)lanes);
    }
    return source;
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

/* Copy both windows of a run, repeating the plane's border. */
static void copy_windows(const Source *w, const uint8_t *plane, ptrdiff_t stride, const Run *run,
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
                memcpy(to + before, line + (column + before), (size_t)(16 - before - after));
            memset(to + 16 - after, line[w->width - 1], (size_t)after);
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
 * first tap's column and dy into the row, both above their 1/16 samples. x, y: where both halves
 * of the run begin. */
AVX2 static inline void plan_run(const Source *w, Run *run, int16_t *flow_x, int16_t *flow_y,
                                 const int x[2], const int y[2])
{
    const __m256i phases = _mm256_set1_epi16(15);
    const __m256i dx = load(flow_x), dy = load(flow_y), moved = _mm256_or_si256(dx, dy);
    if (_mm256_testz_si256(moved, moved)) {
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
        run->column[half] = x[half] + low_x[half] - 1;
        run->top[half] = y[half] + low_y[half] - 1;
        inside &= ((unsigned)run->column[half] <= last_column) &
                  ((unsigned)run->top[half] <= last_top);
    }
    run->kind = !inside || w->height < 4 + SPREAD ? BORDER : far ? WIDE : NEAR;
    off = _mm256_or_si256(_mm256_slli_epi16(off, 4), _mm256_and_si256(dx, phases));
    level = _mm256_or_si256(_mm256_slli_epi16(level, 4), _mm256_and_si256(dy, phases));
    _mm256_storeu_si256((__m256i *)flow_x, off);
    _mm256_storeu_si256((__m256i *)flow_y, level);
}

/* What a run is filtered with, for every plane alike. */
typedef struct {
    __m256i pick01, pick23, taps01, taps23; /* along x: which bytes, times what */
    __m256i level, height[4];               /* along y: the first row, and the taps from there */
} Filter;

AVX2 static inline Filter make_filter(const Source *f, const int16_t *flow_x,
                                      const int16_t *flow_y)
{
    const __m256i phases = _mm256_set1_epi16(15), low_zero = _mm256_set1_epi16(0x0080);
    const __m256i high_zero = _mm256_set1_epi16((short)0x8000);
    const __m256i x = load(flow_x), y = load(flow_y);
    Filter filter;
    __m256i off = _mm256_srli_epi16(x, 4), phase = _mm256_and_si256(x, phases);
    filter.pick01 = _mm256_add_epi16(_mm256_or_si256(off, _mm256_slli_epi16(off, 8)),
                                     _mm256_set1_epi16(0x0100));
    filter.pick23 = _mm256_add_epi16(filter.pick01, _mm256_set1_epi16(0x0202));
    __m256i even = _mm256_or_si256(phase, high_zero);
    __m256i odd = _mm256_or_si256(_mm256_slli_epi16(phase, 8), low_zero);
    filter.taps01 = _mm256_or_si256(_mm256_shuffle_epi8(f->lanes[0], even),
                                    _mm256_shuffle_epi8(f->lanes[1], odd));
    filter.taps23 = _mm256_or_si256(_mm256_shuffle_epi8(f->lanes[2], even),
                                    _mm256_shuffle_epi8(f->lanes[3], odd));
    filter.level = _mm256_srli_epi16(y, 4);
    odd = _mm256_or_si256(_mm256_slli_epi16(_mm256_and_si256(y, phases), 8), low_zero);
    for (int k = 0; k < 4; k++)
        filter.height[k] = _mm256_srai_epi16(_mm256_shuffle_epi8(f->lanes[k], odd), 1);
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
AVX2 static inline __m256i fetch_run(const Source *f, const Run *run, const Filter *filter,
                                     const uint8_t *plane, ptrdiff_t stride)
{
    const uint8_t *base[2];
    uint8_t copy[32 * (4 + SPREAD)];
    if (run->kind == BORDER) {
        copy_windows(f, plane, stride, run, copy);
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

static inline int64_t eight_bytes(const void *from)
{
    int64_t value;
    memcpy(&value, from, 8);
    return value;
}

/* The 4x4 samples around (x, y), where the plane's border may be among them. */
static void copy_square(const Source *w, const uint8_t *plane, ptrdiff_t stride, int x, int y,
                        uint8_t square[16])
{
    for (int i = 0; i < 16; i++)
        square[i] = plane[stride * clamp(y + i / 4 - 1, 0, w->height - 1) +
                          clamp(x + i % 4 - 1, 0, w->width - 1)];
}

/* Fetch one sample at (x, y), displaced by (dx, dy) in 1/16. */
AVX2 static inline int16_t fetch_one(const Source *w, const uint8_t *plane, ptrdiff_t stride, int x,
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
    const __m128i across = _mm_set1_epi32(four_bytes(w->taps + TAPS * (dx & 15)));
    const __m128i down = _mm_slli_epi16(
        _mm_cvtepi8_epi16(_mm_cvtsi32_si128(four_bytes(w->taps + TAPS * (dy & 15)))), 7);
    __m128i sums = _mm_hadd_epi16(_mm_maddubs_epi16(square, across), _mm_setzero_si128());
    sums = _mm_madd_epi16(_mm_mulhrs_epi16(sums, down), one);
    return (int16_t)(_mm_cvtsi128_si32(sums) + _mm_extract_epi32(sums, 1));
}

#endif
