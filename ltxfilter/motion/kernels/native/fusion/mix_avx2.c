/* Mixing tiles of 8-bit planes with AVX2: 16 samples at a time, of one row or of two. */
#include "fusion/mix.h"

#if HAVE_AVX2
#include "fusion/spread_avx2.h"

struct FastMix {
    Spread along;
    const Between *down;
    int wide;
};

FastMix *open_fast_mix(const TileMix *m, const Between *along, const Between *down)
{
    if (m->deep || !can_spread(m->block_x, m->block_y))
        return NULL;
    FastMix *f = aligned_alloc(64, (sizeof(FastMix) + 63) & ~(size_t)63);
    if (!f)
        return NULL;
    f->wide = BLOCKS * m->block_x, f->down = down;
    f->along = make_spread(along, f->wide);
    return f;
}

void close_fast_mix(FastMix *f)
{
    free(f);
}

int fast_mix_rows(const FastMix *f)
{
    return f->wide < SPREAD_RUN ? 2 : 1;
}

AVX2 void fast_mix(const FastMix *f, PaddedWeights weights, int y, const int16_t *samples,
                   size_t size, int32_t *out, int16_t *covered)
{
    const int rows = fast_mix_rows(f);
    for (int x = 0; x < f->wide; x += SPREAD_RUN) {
        const __m256i base = _mm256_loadu_si256((const __m256i *)(samples + x));
        __m256i total = base, sum = _mm256_setzero_si256();
        for (int k = 0; k < WEIGHTS; k++) {
            const __m256i weight = spread_rows(&f->along, x, weights[k], f->down, y, rows);
            const __m256i value = _mm256_loadu_si256(
                (const __m256i *)(samples + (size_t)(k + 1) * size + x));
            total = _mm256_add_epi16(
                total, _mm256_mulhrs_epi16(_mm256_sub_epi16(value, base), weight));
            sum = _mm256_adds_epi16(sum, weight);
        }
        _mm256_storeu_si256((__m256i *)(out + x),
                            _mm256_cvtepi16_epi32(_mm256_castsi256_si128(total)));
        _mm256_storeu_si256((__m256i *)(out + x + 8),
                            _mm256_cvtepi16_epi32(_mm256_extracti128_si256(total, 1)));
        _mm256_storeu_si256((__m256i *)(covered + x), sum);
    }
}
#else
FastMix *open_fast_mix(const TileMix *m, const Between *along, const Between *down)
{
    (void)m, (void)along, (void)down;
    return NULL;
}

int fast_mix_rows(const FastMix *f)
{
    (void)f;
    return 1;
}

void fast_mix(const FastMix *f, PaddedWeights weights, int y, const int16_t *samples, size_t size,
              int32_t *out, int16_t *covered)
{
    (void)f, (void)weights, (void)y, (void)samples, (void)size, (void)out, (void)covered;
}

void close_fast_mix(FastMix *f)
{
    (void)f;
}
#endif
