/* Along which motions each block of uncertain tiles may be drawn. */
#include "fusion/fusion.h"

enum { FURTHEST = 5 }; /* blocks, from where motions are taken */

/* The slowest and the fastest motion near each block of a row, as places in the field. */
typedef struct {
    int32_t least[BLOCKS], most[BLOCKS];
    int32_t slow[BLOCKS], fast[BLOCKS];
} Extremes;

/* Look at one block for each of a row. places: where they are. */
static inline void look_at(const int32_t *speed, const int32_t places[BLOCKS], Extremes *found)
{
    for (int k = 0; k < BLOCKS; k++) {
        const int32_t here = speed[places[k]];
        found->slow[k] = here < found->least[k] ? places[k] : found->slow[k];
        found->least[k] = here < found->least[k] ? here : found->least[k];
        found->fast[k] = here > found->most[k] ? places[k] : found->fast[k];
        found->most[k] = here > found->most[k] ? here : found->most[k];
    }
}

/* Look at blocks up to `reach` away from a row of them, every `step`-th along each axis. */
static void look_around(const Tiles *t, const int32_t *speed, int row, int column, int reach,
                        int step, Extremes *found)
{
    for (int dy = -reach; dy <= reach; dy += step)
        for (int dx = -reach; dx <= reach; dx += step) {
            int32_t places[BLOCKS];
            for (int k = 0; k < BLOCKS; k++)
                places[k] = (int32_t)block_at(
                    t, row + dy, clamp(column + k, 0, t->columns - 3) + dx);
            look_at(speed, places, found);
        }
}

#if HAVE_AVX2
/* The same where no block lies beyond the border. corner: the place of the row's first block. */
__attribute__((target("avx2"))) static void look_inside(const int32_t *speed, int columns,
                                                        int32_t corner, int reach, int step,
                                                        Extremes *found)
{
    const __m128i ahead = _mm_setr_epi32(0, 1, 2, 3);
    __m128i least = _mm_loadu_si128((const __m128i *)found->least);
    __m128i most = _mm_loadu_si128((const __m128i *)found->most);
    __m128i slow = _mm_loadu_si128((const __m128i *)found->slow);
    __m128i fast = _mm_loadu_si128((const __m128i *)found->fast);
    for (int dy = -reach; dy <= reach; dy += step)
        for (int dx = -reach; dx <= reach; dx += step) {
            const int32_t first = corner + dy * columns + dx;
            const __m128i here = _mm_loadu_si128((const __m128i *)(speed + first));
            const __m128i places = _mm_add_epi32(_mm_set1_epi32(first), ahead);
            slow = _mm_blendv_epi8(slow, places, _mm_cmpgt_epi32(least, here));
            fast = _mm_blendv_epi8(fast, places, _mm_cmpgt_epi32(here, most));
            least = _mm_min_epi32(least, here), most = _mm_max_epi32(most, here);
        }
    _mm_storeu_si128((__m128i *)found->least, least);
    _mm_storeu_si128((__m128i *)found->most, most);
    _mm_storeu_si128((__m128i *)found->slow, slow);
    _mm_storeu_si128((__m128i *)found->fast, fast);
}

static int can_look_inside(void)
{
    return __builtin_cpu_supports("avx2");
}
#else
static void look_inside(const int32_t *speed, int columns, int32_t corner, int reach, int step,
                        Extremes *found)
{
    (void)speed, (void)columns, (void)corner, (void)reach, (void)step, (void)found;
}

static int can_look_inside(void)
{
    return 0;
}
#endif

CLONES static void speeds(const int16_t *restrict field, size_t plane, int32_t *restrict out)
{
    for (size_t i = 0; i < plane; i++) {
        const uint32_t x = (uint32_t)(field[2 * plane + i] - field[i]);
        const uint32_t y = (uint32_t)(field[3 * plane + i] - field[plane + i]);
        out[i] = (int32_t)(x * x + y * y); /* fits: flow is cut off at 511 samples */
    }
}

/* Write the motions of one row of a tile's blocks. */
static void motions_of_row(const Tiles *t, const int32_t *speed, int row, int column, int16_t *out)
{
    const size_t plane = (size_t)t->rows * (size_t)t->columns;
    const int inside = can_look_inside() && row >= FURTHEST && row + FURTHEST < t->rows - 2 &&
                       column >= FURTHEST && column + BLOCKS - 1 + FURTHEST < t->columns - 2;
    Extremes found;
    int32_t chosen[PAIRS][BLOCKS];
    row = clamp(row, 0, t->rows - 3);
    for (int k = 0; k < BLOCKS; k++) {
        const int32_t own = (int32_t)block_at(t, row, column + k);
        chosen[0][k] = found.slow[k] = found.fast[k] = own;
        found.least[k] = found.most[k] = speed[own];
    }
    for (int far = 0; far < 2; far++) {
        const int reach = far ? FURTHEST : 2, step = far ? 2 : 1;
        if (inside)
            look_inside(speed, t->columns, chosen[0][0], reach, step, &found);
        else
            look_around(t, speed, row, column, reach, step, &found);
        memcpy(chosen[1 + 2 * far], found.slow, sizeof found.slow);
        memcpy(chosen[2 + 2 * far], found.fast, sizeof found.fast);
    }
    for (int pair = 0; pair < PAIRS; pair++)
        for (int part = 0; part < 4; part++)
            for (int k = 0; k < BLOCKS; k++)
                out[(4 * pair + part) * CELLS + k] =
                    t->field[(size_t)part * plane + (size_t)chosen[pair][k]];
}

int tile_motions(const Tiles *t, int16_t *out)
{
    const size_t plane = (size_t)t->rows * (size_t)t->columns;
    int32_t *speed = malloc(plane * sizeof *speed);
    if (!speed)
        return -1;
    speeds(t->field, plane, speed);
    for (int n = 0; n < t->count; n++, out += 4 * PAIRS * CELLS)
        for (int row = 0; row < BLOCKS; row++)
            motions_of_row(t, speed, BLOCKS * t->tiles[2 * n] + row, BLOCKS * t->tiles[2 * n + 1],
                           out + row * BLOCKS);
    free(speed);
    return 0;
}
