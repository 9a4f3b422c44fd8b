/* Comparing patches: in plain C, and two rows at a time with AVX2. */
#include "patches.h"

static void compare(const Patch *own, const uint8_t *from, ptrdiff_t stride, int past_x, int past_y,
                    int32_t sums[4], uint16_t *differences)
{
    int32_t sum = 0, square = 0, by_x = 0, by_y = 0;
    for (int row = 0; row < PATCH; row++) {
        const uint8_t *top = from + row * stride, *bottom = top + stride;
        for (int i = 0; i < PATCH; i++) {
            const int at = PATCH * row + i;
            int32_t value = (top[i] * (16 - past_x) + top[i + 1] * past_x) * (16 - past_y) +
                            (bottom[i] * (16 - past_x) + bottom[i + 1] * past_x) * past_y;
            int32_t off = (value >> 4) - own->seen[at];
            sum += off, square += off * off;
            by_x += off * own->slope_x[at], by_y += off * own->slope_y[at];
            if (differences)
                differences[at] = (uint16_t)(off < 0 ? -off : off);
        }
    }
    sums[0] = sum, sums[1] = square, sums[2] = by_x, sums[3] = by_y;
}

#if HAVE_AVX2
#define AVX2 __attribute__((target("avx2")))

/* Two rows, blended along x: 16 times the samples. */
AVX2 static inline __m256i two_rows(const uint8_t *from, ptrdiff_t stride, __m256i shares)
{
    const __m256i pairs = _mm256_setr_epi8(0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8,
                                           0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8);
    __m256i rows = _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)from)),
        _mm_loadu_si128((const __m128i *)(from + stride)), 1);
    return _mm256_maddubs_epi16(_mm256_shuffle_epi8(rows, pairs), shares);
}

AVX2 static inline __m256i load(const int16_t *from)
{
    return _mm256_loadu_si256((const __m256i *)from);
}

AVX2 static void compare_avx2(const Patch *own, const uint8_t *from, ptrdiff_t stride, int past_x,
                              int past_y, int32_t sums[4], uint16_t *differences)
{
    const __m256i shares = _mm256_set1_epi16((short)(past_x << 8 | (16 - past_x)));
    const __m256i upper = _mm256_set1_epi16((short)(16 - past_y));
    const __m256i lower = _mm256_set1_epi16((short)past_y), one = _mm256_set1_epi16(1);
    __m256i sum = _mm256_setzero_si256(), square = sum, by_x = sum, by_y = sum;
    __m256i top = two_rows(from, stride, shares);
    for (int at = 0; at < PATCH * PATCH; at += 2 * PATCH) {
        from += 2 * stride;
        /* The last pair begins with the ninth row, which is the last one that is read. */
        __m256i next = two_rows(from, at + 2 * PATCH < PATCH * PATCH ? stride : 0, shares);
        __m256i bottom = _mm256_permute2x128_si256(top, next, 0x21);
        __m256i value = _mm256_add_epi16(_mm256_mullo_epi16(top, upper),
                                         _mm256_mullo_epi16(bottom, lower));
        __m256i off = _mm256_sub_epi16(_mm256_srli_epi16(value, 4), load(own->seen + at));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(off, one));
        square = _mm256_add_epi32(square, _mm256_madd_epi16(off, off));
        by_x = _mm256_add_epi32(by_x, _mm256_madd_epi16(off, load(own->slope_x + at)));
        by_y = _mm256_add_epi32(by_y, _mm256_madd_epi16(off, load(own->slope_y + at)));
        if (differences)
            _mm256_storeu_si256((__m256i *)(differences + at), _mm256_abs_epi16(off));
        top = next;
    }
    __m256i pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(sum, square), _mm256_hadd_epi32(by_x, by_y));
    _mm_storeu_si128((__m128i *)sums, _mm_add_epi32(_mm256_castsi256_si128(pairs),
                                                    _mm256_extracti128_si256(pairs, 1)));
}
#endif

Compare *best_compare(void)
{
#if HAVE_AVX2
    if (__builtin_cpu_supports("avx2"))
        return compare_avx2;
#endif
    return compare;
}
