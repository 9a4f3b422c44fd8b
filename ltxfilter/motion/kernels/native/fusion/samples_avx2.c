/* Fetching tiles of 8-bit planes with AVX2: 16 samples at a time, of one row or of two. */
#include "fusion/samples.h"

#if HAVE_AVX2
#include "fusion/spread_avx2.h"
#include "warp/fetch_avx2.h"

struct FastTiles {
    Source source;
    const TilePlanes *p;
    Spread along;
    const Between *down;
};

FastTiles *open_fast_tiles(const TilePlanes *p, const Between *along, const Between *down)
{
    if (p->deep || p->width < RUN || !can_spread(p->block_x, p->block_y))
        return NULL;
    FastTiles *f = aligned_alloc(64, (sizeof(FastTiles) + 63) & ~(size_t)63);
    if (!f)
        return NULL;
    f->source = make_source(p->width, p->height, p->taps);
    f->p = p, f->down = down;
    f->along = make_spread(along, BLOCKS * p->block_x);
    return f;
}

void close_fast_tiles(FastTiles *f)
{
    free(f);
}

/* Fetch 16 samples one by one. */
AVX2 static __m256i fetch_scattered(const FastTiles *f, const uint8_t *plane, ptrdiff_t stride,
                                    int16_t flow[2][RUN], const int x[2], const int y[2])
{
    int16_t out[RUN];
    for (int i = 0; i < RUN; i++)
        out[i] = fetch_one(&f->source, plane, stride, x[i / 8] + i % 8, y[i / 8], flow[0][i],
                           flow[1][i]);
    return load(out);
}

/* Fetch one run of every plane, its halves from (x, y) on. moved: along both axes, 1/32. */
AVX2 static inline void fetch_halves(const FastTiles *f, int end, const __m256i moved[2],
                                     const int x[2], const int y[2], size_t at)
{
    const __m256i one = _mm256_set1_epi16(1);
    int16_t flow[2][RUN];
    for (int axis = 0; axis < 2; axis++)
        _mm256_storeu_si256((__m256i *)flow[axis],
                            _mm256_srai_epi16(_mm256_add_epi16(moved[axis], one), 1));
    Run run = {.kind = SCATTERED};
    Filter filter;
    if (x[1] + 8 <= f->source.width && y[1] < f->source.height)
        plan_run(&f->source, &run, flow[0], flow[1], x, y);
    if (run.kind != IN_PLACE && run.kind != SCATTERED)
        filter = make_filter(&f->source, flow[0], flow[1]);
    for (int k = 0; k < f->p->count; k++) {
        const uint8_t *plane = f->p->planes[k].pictures[1 + end];
        const ptrdiff_t stride = f->p->planes[k].stride[1 + end];
        __m256i value;
        if (run.kind == SCATTERED)
            value = fetch_scattered(f, plane, stride, flow, x, y);
        else if (run.kind == IN_PLACE)
            value = _mm256_slli_epi16(_mm256_cvtepu8_epi16(_mm_set_epi64x(
                        eight_bytes(plane + stride * y[1] + x[1]),
                        eight_bytes(plane + stride * y[0] + x[0]))), 4);
        else
            value = fetch_run(&f->source, &run, &filter, plane, stride);
        _mm256_storeu_si256((__m256i *)((int16_t *)f->p->planes[k].out + at), value);
    }
}

AVX2 void fast_fetch_tile(FastTiles *f, int end, const PaddedMotion *motion, int row, int column,
                          size_t at)
{
    const int high = BLOCKS * f->p->block_y, wide = BLOCKS * f->p->block_x;
    const int rows = wide < RUN ? 2 : 1; /* that a run covers */
    for (int y = 0; y < high; y += rows)
        for (int x = 0; x < wide; x += RUN, at += RUN) {
            __m256i moved[2];
            for (int axis = 0; axis < 2; axis++)
                moved[axis] = spread_rows(&f->along, x, motion[axis], f->down, y, rows);
            const int left = wide * column + x, top = high * row + y;
            const int begins[2] = {left, rows == 2 ? left : left + 8};
            const int lines[2] = {top, top + rows - 1};
            fetch_halves(f, end, moved, begins, lines, at);
        }
}
#else
FastTiles *open_fast_tiles(const TilePlanes *p, const Between *along, const Between *down)
{
    (void)p, (void)along, (void)down;
    return NULL;
}

void close_fast_tiles(FastTiles *f)
{
    (void)f;
}

void fast_fetch_tile(FastTiles *f, int end, const PaddedMotion *motion, int row, int column,
                     size_t at)
{
    (void)f, (void)end, (void)motion, (void)row, (void)column, (void)at;
}
#endif
