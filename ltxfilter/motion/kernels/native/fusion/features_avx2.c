/* Comparing the samples of tiles of 8 bits with AVX2: 16 samples of a row at a time. */
#include "fusion/features.h"

#if HAVE_AVX2
#define AVX2 __attribute__((target("avx2")))

enum { RUN = 16, RUNS = WIDEST_TILE / RUN };

AVX2 static inline __m256i load(const int16_t *from)
{
    return _mm256_loadu_si256((const __m256i *)from);
}

/* Sums of pairs of neighbouring samples, for a row of blocks. */
typedef struct {
    __m256i sizes[RUNS], values[RUNS];
} RowSums;

AVX2 static inline void add(RowSums *s, int run, __m256i difference)
{
    const __m256i ones = _mm256_set1_epi16(1);
    s->sizes[run] = _mm256_add_epi32(s->sizes[run],
                                     _mm256_madd_epi16(_mm256_abs_epi16(difference), ones));
    s->values[run] = _mm256_add_epi32(s->values[run], _mm256_madd_epi16(difference, ones));
}

/* Add up the eight pairs of each run to the sums of its blocks. */
AVX2 static inline void add_pairs(const __m256i *runs, int block, int32_t sums[BLOCKS])
{
    if (block == 4) {
        const __m256i fours = _mm256_hadd_epi32(runs[0], runs[0]);
        const __m128i low = _mm256_castsi256_si128(fours);
        const __m128i high = _mm256_extracti128_si256(fours, 1);
        _mm_storeu_si128((__m128i *)sums, _mm_unpacklo_epi64(low, high));
        return;
    }
    int32_t pairs[WIDEST_TILE / 2];
    for (int run = 0; run < BLOCKS * block / RUN; run++)
        _mm256_storeu_si256((__m256i *)pairs + run, runs[run]);
    for (int column = 0; column < BLOCKS; column++) {
        sums[column] = 0;
        for (int i = column * block / 2; i < (column + 1) * block / 2; i++)
            sums[column] += pairs[i];
    }
}

AVX2 static inline void store(const RowSums *s, int block, int row, BlockSums *out)
{
    add_pairs(s->sizes, block, out->sizes + row * BLOCKS);
    add_pairs(s->values, block, out->values + row * BLOCKS);
}

/* Compare two pictures of a tile. */
AVX2 static void compare(const int16_t *a, const int16_t *b, int block, BlockSums *out)
{
    const int side = BLOCKS * block;
    for (int row = 0; row < BLOCKS; row++) {
        RowSums sums;
        for (int run = 0; run < side / RUN; run++)
            sums.sizes[run] = sums.values[run] = _mm256_setzero_si256();
        for (int y = 0; y < block; y++, a += side, b += side)
            for (int run = 0; run < side / RUN; run++)
                add(&sums, run, _mm256_sub_epi16(load(a + run * RUN), load(b + run * RUN)));
        store(&sums, block, row, out);
    }
}

/* Compare both ends of a motion, and their mix with what was drawn. share: of every sample of the
 * rows of blocks. */
AVX2 static void compare_motion(const int16_t *left, const int16_t *right, const int16_t *drawn,
                                const int16_t share[BLOCKS][WIDEST_TILE], int block,
                                BlockSums *ends, BlockSums *mixed)
{
    const int side = BLOCKS * block;
    for (int row = 0; row < BLOCKS; row++) {
        RowSums apart, off;
        for (int run = 0; run < side / RUN; run++)
            apart.sizes[run] = apart.values[run] = off.sizes[run] = off.values[run] =
                _mm256_setzero_si256();
        for (int y = 0; y < block; y++, left += side, right += side, drawn += side)
            for (int run = 0; run < side / RUN; run++) {
                const __m256i b = load(right + run * RUN);
                const __m256i difference = _mm256_sub_epi16(load(left + run * RUN), b);
                const __m256i part = _mm256_mulhrs_epi16(difference, load(share[row] + run * RUN));
                add(&apart, run, difference);
                add(&off, run, _mm256_sub_epi16(_mm256_add_epi16(b, part),
                                                load(drawn + run * RUN)));
            }
        store(&apart, block, row, ends);
        store(&off, block, row, mixed);
    }
}

/* 16 samples and the one after them: each one's neighbour; the last one's is 0 at a row's end. */
AVX2 static inline __m256i shifted(__m256i here, const int16_t *next, int has_next)
{
    const __m256i high = _mm256_permute2x128_si256(here, here, 0x81); /* its upper half, then 0 */
    const __m256i moved = _mm256_alignr_epi8(high, here, 2);
    return has_next ? _mm256_insert_epi16(moved, *next, 15) : moved;
}

/* Sum the gradients inside blocks. */
AVX2 static void gradients(const int16_t *picture, int block, int32_t *out)
{
    const int side = BLOCKS * block;
    const __m256i ones = _mm256_set1_epi16(1);
    int16_t inner[WIDEST_TILE]; /* 0 where the next sample lies in another block */
    for (int x = 0; x < side; x++)
        inner[x] = (x + 1) % block ? 1 : 0;
    for (int row = 0; row < BLOCKS; row++) {
        __m256i sums[RUNS];
        for (int run = 0; run < side / RUN; run++) {
            const int16_t *at = picture + row * block * side + run * RUN;
            const __m256i within = load(inner + run * RUN);
            __m256i total = _mm256_setzero_si256(), here = load(at);
            for (int y = 0; y < block; y++, at += side) {
                const __m256i next = shifted(here, at + RUN, run + 1 < side / RUN);
                const __m256i across = _mm256_abs_epi16(_mm256_sub_epi16(next, here));
                total = _mm256_add_epi32(total, _mm256_madd_epi16(across, within));
                if (y + 1 == block)
                    break;
                const __m256i below = load(at + side);
                const __m256i down = _mm256_abs_epi16(_mm256_sub_epi16(below, here));
                total = _mm256_add_epi32(total, _mm256_madd_epi16(down, ones));
                here = below;
            }
            sums[run] = total;
        }
        add_pairs(sums, block, out + row * BLOCKS);
    }
}

int can_compare_fast(int block)
{
    return BLOCKS * block % RUN == 0 && __builtin_cpu_supports("avx2");
}

void fast_comparisons(const int16_t *samples, int block, const int32_t *share,
                      BlockSums sums[COMPARED], int32_t texture[CELLS])
{
    const size_t size = (size_t)(CELLS * block * block);
    int16_t wide[BLOCKS][WIDEST_TILE];
    for (int row = 0; row < BLOCKS; row++)
        for (int x = 0; x < BLOCKS * block; x++)
            wide[row][x] = (int16_t)share[row * BLOCKS + x / block];
    compare(samples + 3 * size, samples + 4 * size, block, &sums[0]);
    for (int pair = 1; pair < PAIRS; pair++) {
        const int16_t *left = samples + (size_t)(3 + 2 * pair) * size;
        compare_motion(left, left + size, samples, wide, block, &sums[pair],
                       &sums[PAIRS + pair - 1]);
    }
    compare(samples + size, samples + 2 * size, block, &sums[2 * PAIRS - 1]);
    compare(samples + size, samples, block, &sums[2 * PAIRS]);
    compare(samples + 2 * size, samples, block, &sums[2 * PAIRS + 1]);
    gradients(samples, block, texture);
}
#else
int can_compare_fast(int block)
{
    (void)block;
    return 0;
}

void fast_comparisons(const int16_t *samples, int block, const int32_t *share,
                      BlockSums sums[COMPARED], int32_t texture[CELLS])
{
    (void)samples, (void)block, (void)share, (void)sums, (void)texture;
}
#endif
