/* The warp of 8-bit planes with AVX2: 16 samples at a time, three passes over each row. */
#include "kernels.h"

#if HAVE_AVX2
#include "fetch_avx2.h"

enum { SUMMED = 16 }; /* rows whose squares are summed at once: up to 2^23 per pair of samples */

struct FastWarp {
    Warp *w;
    Source source;
    __m256i before, after;     /* which bytes of eight cells those next to each sample are */
    __m256i past;              /* how far past the cell before each sample lies */
    char *memory;              /* of what follows */
    int16_t *field[5];         /* this row's: 1/16 samples, and the share of the left end */
    int16_t *fetched[MOST_PLANES][2]; /* samples of both ends, in 1/16 codes */
    Run *runs[2];              /* of both ends */
    __m256i *squares[MOST_PLANES]; /* per run, of the last rows */
};

AVX2 static void make_tables(FastWarp *f)
{
    const Warp *w = f->w;
    uint8_t before[32], after[32];
    for (int i = 0; i < RUN; i++) {
        int cell = w->cell_before[i] - w->cell_before[i & 8];
        before[2 * i] = (uint8_t)(2 * cell), before[2 * i + 1] = (uint8_t)(2 * cell + 1);
        cell += w->past_centre[i] != 0; /* a sample on its cell's centre needs no second one */
        after[2 * i] = (uint8_t)(2 * cell), after[2 * i + 1] = (uint8_t)(2 * cell + 1);
    }
    f->before = _mm256_loadu_si256((const __m256i *)before);
    f->after = _mm256_loadu_si256((const __m256i *)after);
    f->past = _mm256_loadu_si256((const __m256i *)w->past_centre);
    f->source = make_source(w->width, w->height, w->taps);
}

/* Hand out the memory, each line at a multiple of 32 bytes. */
static void lay_out(FastWarp *f, Block *block)
{
    const size_t runs = (size_t)f->w->width / RUN, width = runs * RUN;
    for (int k = 0; k < 5; k++)
        f->field[k] = piece(block, width, sizeof(int16_t));
    for (int k = 0; k < f->w->count; k++)
        for (int end = 0; end < 2; end++)
            f->fetched[k][end] = piece(block, width, sizeof(int16_t));
    for (int end = 0; end < 2; end++)
        f->runs[end] = piece(block, runs, sizeof(Run));
    for (int k = 0; k < f->w->count; k++)
        f->squares[k] = piece(block, runs, sizeof(__m256i));
}

FastWarp *open_fast_warp(Warp *w)
{
    if (w->deep || w->width < RUN || w->cell_x > WIDEST_CELL || !__builtin_cpu_supports("avx2"))
        return NULL;
    FastWarp *f = aligned_alloc(64, (sizeof(FastWarp) + 63) & ~(size_t)63);
    if (!f)
        return NULL;
    Block block = {NULL, 0, 0};
    f->w = w;
    lay_out(f, &block);
    f->memory = block.memory = block.too_large ? NULL : aligned_alloc(64, block.used);
    block.used = 0;
    if (!f->memory) {
        free(f);
        return NULL;
    }
    lay_out(f, &block);
    make_tables(f);
    for (int k = 0; k < w->count; k++)
        memset(f->squares[k], 0, (size_t)w->width / RUN * sizeof(__m256i));
    return f;
}

void close_fast_warp(FastWarp *f)
{
    if (f)
        free(f->memory);
    free(f);
}

/* Read this row's field at every sample, displacements rounded to 1/16. */
AVX2 static void grow_row(const FastWarp *f)
{
    const __m256i one = _mm256_set1_epi16(1);
    const int32_t *cell_before = f->w->cell_before;
    for (int k = 0; k < 5; k++)
        for (int x = 0; x + RUN <= f->w->width; x += RUN) {
            const int16_t *row = f->w->row[k];
            __m256i cells = load_pair(row + cell_before[x], row + cell_before[x + 8]);
            __m256i before = _mm256_shuffle_epi8(cells, f->before);
            __m256i step = _mm256_sub_epi16(_mm256_shuffle_epi8(cells, f->after), before);
            __m256i value = _mm256_add_epi16(before, _mm256_mulhrs_epi16(step, f->past));
            if (k < 4)
                value = _mm256_srai_epi16(_mm256_add_epi16(value, one), 1);
            _mm256_store_si256((__m256i *)(f->field[k] + x), value);
        }
}

/* Fetch a row of every plane from one end. */
AVX2 static void fetch_row(const FastWarp *f, int end, int y)
{
    const Warp *w = f->w;
    const Run *run = f->runs[end];
    for (int x = 0; x + RUN <= w->width; x += RUN, run++) {
        const int16_t *flow_x = f->field[2 * end] + x, *flow_y = f->field[2 * end + 1] + x;
        Filter filter;
        if (run->kind != IN_PLACE && run->kind != SCATTERED)
            filter = make_filter(&f->source, flow_x, flow_y);
        for (int k = 0; k < w->count; k++) {
            const WarpPlane *p = w->planes + k;
            const uint8_t *plane = end ? p->right : p->left;
            const ptrdiff_t stride = end ? p->stride_right : p->stride_left;
            int16_t *out = f->fetched[k][end] + x;
            if (run->kind == SCATTERED)
                for (int i = 0; i < RUN; i++)
                    out[i] = fetch_one(&f->source, plane, stride, x + i, y, flow_x[i], flow_y[i]);
            else
                _mm256_store_si256((__m256i *)out,
                                   run->kind == IN_PLACE
                                       ? in_place(plane + stride * y + x)
                                       : fetch_run(&f->source, run, &filter, plane, stride));
        }
    }
}

/* Mix what was fetched from both ends for 16 samples. left, right: the ends' samples in place,
 * which are cross-faded where the mask is not 0; mask: or NULL. squares: of the run. */
AVX2 static inline __m128i mix_run(const FastWarp *f, int plane, int x, const uint8_t *left,
                                   const uint8_t *right, const uint8_t *mask, __m256i *squares)
{
    const __m256i seven = _mm256_set1_epi16(7), one = _mm256_set1_epi16(1);
    const __m256i from_a = load(f->fetched[plane][0] + x), from_b = load(f->fetched[plane][1] + x);
    const __m256i difference = _mm256_sub_epi16(from_a, from_b);
    __m256i apart = _mm256_srai_epi16(difference, 2);
    __m256i mixed =
        _mm256_add_epi16(from_b, _mm256_mulhrs_epi16(difference, load(f->field[4] + x)));
    if (mask) {
        const __m256i values = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)mask));
        const __m256i is_static = _mm256_cmpgt_epi16(values, _mm256_setzero_si256());
        if (!_mm256_testz_si256(is_static, is_static)) {
            const __m256i tau = _mm256_set1_epi16((short)f->w->tau);
            const __m256i a = in_place(left), change = _mm256_sub_epi16(in_place(right), a);
            const __m256i faded = _mm256_add_epi16(a, _mm256_mulhrs_epi16(change, tau));
            mixed = _mm256_blendv_epi8(mixed, faded, is_static);
            apart = _mm256_andnot_si256(is_static, apart);
        }
    }
    *squares = _mm256_add_epi32(*squares, _mm256_madd_epi16(apart, apart));
    __m256i odd = _mm256_and_si256(_mm256_srai_epi16(mixed, 4), one); /* halves to even */
    mixed = _mm256_srai_epi16(_mm256_add_epi16(_mm256_add_epi16(mixed, seven), odd), 4);
    return _mm_packus_epi16(_mm256_castsi256_si128(mixed), _mm256_extracti128_si256(mixed, 1));
}

/* Add up eight unsigned numbers. */
AVX2 static inline int64_t total(__m256i numbers)
{
    uint32_t each[8];
    int64_t sum = 0;
    _mm256_storeu_si256((__m256i *)each, numbers);
    for (int i = 0; i < 8; i++)
        sum += each[i];
    return sum;
}

AVX2 static void mix_row(const FastWarp *f, int plane, int y)
{
    const Warp *w = f->w;
    const WarpPlane *p = w->planes + plane;
    const uint8_t *left = (const uint8_t *)p->left + p->stride_left * y;
    const uint8_t *right = (const uint8_t *)p->right + p->stride_right * y;
    const uint8_t *mask = w->static_mask ? w->static_mask + (ptrdiff_t)y * w->width : NULL;
    uint8_t *out = (uint8_t *)p->out + p->stride_out * y;
    __m256i *squares = f->squares[plane];
    int x = 0;
    for (; x + RUN <= w->width; x += RUN)
        _mm_storeu_si128(
            (__m128i *)(out + x),
            mix_run(f, plane, x, left + x, right + x, mask ? mask + x : NULL, squares++));
    warp_samples(w, p, y, x, w->width);
}

/* Add what was summed up to row y to its tiles: runs do not reach from one tile into another. */
AVX2 static void finish_squares(const FastWarp *f, int y)
{
    const Warp *w = f->w;
    for (int k = 0; k < w->count; k++) {
        int64_t *tiles = w->planes[k].squares + (size_t)(y >> w->tile_bits) * (size_t)w->across;
        for (int run = 0; run < w->width / RUN; run++) {
            tiles[run * RUN >> w->tile_bits] += total(f->squares[k][run]);
            f->squares[k][run] = _mm256_setzero_si256();
        }
    }
}

AVX2 void fast_warp_row(FastWarp *f, int y)
{
    const int whole = f->w->width & -RUN;
    grow_row(f);
    for (int end = 0; end < 2; end++) {
        for (int x = 0; x < whole; x += RUN) {
            const int halves[2] = {x, x + 8}, rows[2] = {y, y};
            plan_run(&f->source, f->runs[end] + x / RUN, f->field[2 * end] + x,
                     f->field[2 * end + 1] + x, halves, rows);
        }
        fetch_row(f, end, y);
    }
    for (int k = 0; k < f->w->count; k++)
        mix_row(f, k, y);
    if ((y + 1) % SUMMED == 0 || y + 1 == f->w->height)
        finish_squares(f, y);
}
#else
FastWarp *open_fast_warp(Warp *w)
{
    (void)w;
    return NULL;
}

void fast_warp_row(FastWarp *f, int y)
{
    (void)f, (void)y;
}

void close_fast_warp(FastWarp *f)
{
    (void)f;
}
#endif
