/* By how much a mix changes blocks, sixteen samples at a time. */
#include "fusion/limit.h"

#if HAVE_AVX2
#define AVX2 __attribute__((target("avx2")))

int open_fast_changes(const TileLimit *l, WeightBytes bytes)
{
    for (int x = 0; x < BLOCKS * l->block; x++) {
        bytes[x][0] = (uint8_t)(2 * (x / l->block));
        bytes[x][1] = (uint8_t)(bytes[x][0] + 1);
    }
    return !l->deep && BLOCKS * l->block >= AT_ONCE && __builtin_cpu_supports("avx2");
}

AVX2 void fast_changes(const TileLimit *l, WeightBytes bytes, size_t first, const int16_t *weights,
                       int32_t *sums)
{
    const int side = BLOCKS * l->block, log_block = __builtin_ctz((unsigned)l->block);
    const size_t size = (size_t)(side * side);
    const int16_t *samples = (const int16_t *)l->samples + first;
    const __m256i least = _mm256_set1_epi16(-MOST_NARROW), ones = _mm256_set1_epi16(1);
    for (int x = 0; x < side; x += AT_ONCE) {
        const __m256i of_each = _mm256_loadu_si256((const __m256i *)bytes[x]);
        __m256i every[WEIGHTS], total = _mm256_setzero_si256();
        for (int k = 0; k < WEIGHTS; k++) {
            const __m128i four = _mm_loadl_epi64((const __m128i *)(weights + k * CELLS));
            every[k] = _mm256_shuffle_epi8(_mm256_broadcastq_epi64(four), of_each);
        }
        for (int y = 0; y < l->block; y++) {
            const int16_t *at = samples + y * side + x;
            const __m256i base = _mm256_loadu_si256((const __m256i *)at);
            __m256i change = _mm256_setzero_si256();
            for (int k = 0; k < WEIGHTS; k++) {
                const __m256i shown = _mm256_loadu_si256((const __m256i *)(at + (k + 1) * size));
                const __m256i step = _mm256_max_epi16(_mm256_subs_epi16(shown, base), least);
                change = _mm256_adds_epi16(change, _mm256_mulhrs_epi16(step, every[k]));
                change = _mm256_max_epi16(change, least);
            }
            total = _mm256_add_epi32(total, _mm256_madd_epi16(_mm256_abs_epi16(change), ones));
        }
        int32_t pairs[AT_ONCE / 2];
        _mm256_storeu_si256((__m256i *)pairs, total);
        for (int i = 0; i < AT_ONCE / 2; i++)
            sums[(x + 2 * i) >> log_block] += pairs[i];
    }
}

#else

int open_fast_changes(const TileLimit *l, WeightBytes bytes)
{
    (void)l, (void)bytes;
    return 0;
}

void fast_changes(const TileLimit *l, WeightBytes bytes, size_t first, const int16_t *weights,
                  int32_t *sums)
{
    (void)l, (void)bytes, (void)first, (void)weights, (void)sums;
}

#endif
