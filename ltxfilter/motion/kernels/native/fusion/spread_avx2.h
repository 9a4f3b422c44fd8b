/* From numbers per block to numbers per sample, 16 at a time. */
#ifndef LTXFILTER_SPREAD_AVX2_H
#define LTXFILTER_SPREAD_AVX2_H

#include "fusion/fusion.h"

#ifndef AVX2
#define AVX2 __attribute__((target("avx2")))
#endif

enum { SPREAD_RUN = 16, SPREAD_RUNS = WIDEST_TILE / SPREAD_RUN };

/* Which bytes of a padded row the blocks next to each sample are, and how far past they lie. */
typedef struct {
    __m256i before[SPREAD_RUNS], after[SPREAD_RUNS], past[SPREAD_RUNS];
} Spread;

/* Whether rows of a tile, or pairs of rows, fill runs of 16. */
static inline int can_spread(int block_x, int block_y)
{
    const int wide = BLOCKS * block_x;
    return __builtin_cpu_supports("avx2") &&
           (wide % SPREAD_RUN == 0 || (wide == SPREAD_RUN / 2 && (BLOCKS * block_y) % 2 == 0));
}

AVX2 static inline Spread make_spread(const Between *along, int wide)
{
    Spread s;
    for (int x = 0; x < wide; x += SPREAD_RUN) {
        int8_t before[2 * SPREAD_RUN], after[2 * SPREAD_RUN];
        int16_t past[SPREAD_RUN];
        for (int i = 0; i < SPREAD_RUN; i++) {
            const int at = (x + i) % wide;
            before[2 * i] = (int8_t)(2 * along->before[at]);
            after[2 * i] = (int8_t)(2 * along->after[at]);
            before[2 * i + 1] = (int8_t)(before[2 * i] + 1);
            after[2 * i + 1] = (int8_t)(after[2 * i] + 1);
            past[i] = along->past[at];
        }
        s.before[x / SPREAD_RUN] = _mm256_loadu_si256((const __m256i *)before);
        s.after[x / SPREAD_RUN] = _mm256_loadu_si256((const __m256i *)after);
        s.past[x / SPREAD_RUN] = _mm256_loadu_si256((const __m256i *)past);
    }
    return s;
}

/* Read padded rows at row y of samples. */
AVX2 static inline __m128i between_padded(const int16_t padded[PADDED][LANES],
                                          const Between *down, int y)
{
    const __m128i top = _mm_loadu_si128((const __m128i *)padded[down->before[y]]);
    const __m128i bottom = _mm_loadu_si128((const __m128i *)padded[down->after[y]]);
    return _mm_add_epi16(
        top, _mm_mulhrs_epi16(_mm_sub_epi16(bottom, top), _mm_set1_epi16(down->past[y])));
}

/* Read 16 samples of a tile, from column x and row y on: of one row, or halves of two. */
AVX2 static inline __m256i spread_rows(const Spread *s, int x,
                                       const int16_t padded[PADDED][LANES], const Between *down,
                                       int y, int rows)
{
    const __m128i first = between_padded(padded, down, y);
    const __m128i second = rows == 2 ? between_padded(padded, down, y + 1) : first;
    const __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(first), second, 1);
    const __m256i before = _mm256_shuffle_epi8(both, s->before[x / SPREAD_RUN]);
    const __m256i after = _mm256_shuffle_epi8(both, s->after[x / SPREAD_RUN]);
    return _mm256_add_epi16(
        before, _mm256_mulhrs_epi16(_mm256_sub_epi16(after, before), s->past[x / SPREAD_RUN]));
}

#endif
