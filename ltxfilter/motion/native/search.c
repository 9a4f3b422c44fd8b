/* Inverse search of one level: patches look for where they went, then are blended densely. */
#include "kernels.h"

enum {
    PATCH = 8,   /* samples */
    BORDER = 24, /* samples around the padded planes */
    FINE = 16,   /* positions per sample that patches are compared at */
};

typedef struct {
    int rows, columns;         /* of the level */
    int step; /* samples from patch to patch */
    int patch_rows, patch_columns;
    int stride;                /* of the padded planes */
    uint8_t *other;            /* padded */
    int16_t *seen, *slope_x, *slope_y; /* padded: 16 times the samples, twice the gradient */
    float *flow;               /* per patch, x then y */
    int64_t *error;            /* per patch */
} Level;

/* What comparing a patch at some displacement yields. */
typedef struct {
    int64_t error;  /* 64 times the variance of the difference, 1/256 codes^2, summed */
    int32_t sum, x, y; /* sums of the difference, and of it times the slopes */
    float at_x, at_y;  /* the displacement in steps of 1/16 */
} Match;

static inline int32_t to_fine(float value, int low, int high)
{
    float scaled = value * (float)FINE;
    scaled = scaled < -1048576.0f ? -1048576.0f : scaled > 1048576.0f ? 1048576.0f : scaled;
    union { float f; int32_t i; } bits = { scaled + 12582912.0f }; /* round half to even */
    return clamp(bits.i - 0x4B400000, low * FINE, high * FINE);
}

/* Sum difference, its square and its products with the slopes over a patch. */
static inline void compare(const Level *l, int x, int y, int32_t to_x, int32_t to_y,
                           int32_t sums[4], uint16_t *apart)
{
    const int part_x = to_x & 15, part_y = to_y & 15;
    const int offset = (y + BORDER) * l->stride + x + BORDER;
    const uint8_t *from = l->other + (to_y >> 4) * l->stride + (to_x >> 4) + offset;
#if HAVE_AVX2
    const __m128i w00 = _mm_set1_epi16((short)((16 - part_x) * (16 - part_y)));
    const __m128i w01 = _mm_set1_epi16((short)(part_x * (16 - part_y)));
    const __m128i w10 = _mm_set1_epi16((short)((16 - part_x) * part_y));
    const __m128i w11 = _mm_set1_epi16((short)(part_x * part_y));
    const __m128i zero = _mm_setzero_si128(), one = _mm_set1_epi16(1);
    __m128i sum = zero, square = zero, by_x = zero, by_y = zero;
    __m128i p = _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)from), zero);
    __m128i q = _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)(from + 1)), zero);
    for (int row = 0; row < PATCH; row++) {
        const int at = offset + row * l->stride;
        from += l->stride;
        __m128i r = _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)from), zero);
        __m128i s = _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)(from + 1)), zero);
        __m128i value = _mm_add_epi16(
            _mm_add_epi16(_mm_mullo_epi16(p, w00), _mm_mullo_epi16(q, w01)),
            _mm_add_epi16(_mm_mullo_epi16(r, w10), _mm_mullo_epi16(s, w11)));
        __m128i off = _mm_sub_epi16(_mm_srli_epi16(value, 4),
                                    _mm_loadu_si128((const __m128i *)(l->seen + at)));
        sum = _mm_add_epi32(sum, _mm_madd_epi16(off, one));
        square = _mm_add_epi32(square, _mm_madd_epi16(off, off));
        by_x = _mm_add_epi32(
            by_x, _mm_madd_epi16(off, _mm_loadu_si128((const __m128i *)(l->slope_x + at))));
        by_y = _mm_add_epi32(
            by_y, _mm_madd_epi16(off, _mm_loadu_si128((const __m128i *)(l->slope_y + at))));
        if (apart) {
            __m128i absolute = _mm_max_epi16(off, _mm_sub_epi16(zero, off));
            _mm_storeu_si128((__m128i *)(apart + row * PATCH), absolute);
        }
        p = r, q = s;
    }
    __m128i low = _mm_add_epi32(_mm_unpacklo_epi32(sum, square), _mm_unpackhi_epi32(sum, square));
    __m128i high = _mm_add_epi32(_mm_unpacklo_epi32(by_x, by_y), _mm_unpackhi_epi32(by_x, by_y));
    _mm_storeu_si128((__m128i *)sums, _mm_add_epi32(_mm_unpacklo_epi64(low, high),
                                                    _mm_unpackhi_epi64(low, high)));
#else
    memset(sums, 0, 4 * sizeof(int32_t));
    for (int row = 0; row < PATCH; row++) {
        const int at = offset + row * l->stride;
        const uint8_t *top = from + row * l->stride, *bottom = top + l->stride;
        for (int i = 0; i < PATCH; i++) {
            int32_t value = (top[i] * (16 - part_x) + top[i + 1] * part_x) * (16 - part_y) +
                            (bottom[i] * (16 - part_x) + bottom[i + 1] * part_x) * part_y;
            int32_t off = (value >> 4) - l->seen[at + i];
            sums[0] += off, sums[1] += off * off;
            sums[2] += off * l->slope_x[at + i], sums[3] += off * l->slope_y[at + i];
            if (apart)
                apart[row * PATCH + i] = (uint16_t)(off < 0 ? -off : off);
        }
    }
#endif
}

static Match match(const Level *l, int x, int y, float way_x, float way_y)
{
    int32_t sums[4];
    const int32_t to_x = to_fine(way_x, -x - PATCH, l->columns - x);
    const int32_t to_y = to_fine(way_y, -y - PATCH, l->rows - y);
    compare(l, x, y, to_x, to_y, sums, NULL);
    Match m = {64 * (int64_t)sums[1] - (int64_t)sums[0] * sums[0], sums[0], sums[2], sums[3],
               (float)to_x / (float)FINE, (float)to_y / (float)FINE};
    return m;
}

/* The normal equations of a patch, its mean taken out, and their solution's common factor. */
typedef struct {
    int32_t sum_x, sum_y;
    double xx, xy, yy, factor;
} Normal;

static Normal normal_equations(const Level *l, int x, int y)
{
    int32_t xx = 0, xy = 0, yy = 0, sum_x = 0, sum_y = 0;
    for (int row = 0; row < PATCH; row++) {
        const int at = (y + row + BORDER) * l->stride + x + BORDER;
        for (int i = 0; i < PATCH; i++) {
            int32_t gx = l->slope_x[at + i], gy = l->slope_y[at + i];
            xx += gx * gx, xy += gx * gy, yy += gy * gy, sum_x += gx, sum_y += gy;
        }
    }
    /* 4096 keeps flat patches from running away: half a code of gradient */
    Normal n = {sum_x, sum_y, (double)((int64_t)64 * xx - (int64_t)sum_x * sum_x + 4096),
                (double)((int64_t)64 * xy - (int64_t)sum_x * sum_y),
                (double)((int64_t)64 * yy - (int64_t)sum_y * sum_y + 4096), 0.0};
    double across = n.xx * n.yy, along = n.xy * n.xy;
    n.factor = 0.125 / (across - along);
    return n;
}

static inline float limited(double value)
{
    return (float)(value < -2.0 ? -2.0 : value > 2.0 ? 2.0 : value);
}

/* Gauss-Newton steps from a match, as long as they improve it. */
static Match descend(const Level *l, int x, int y, Match best, int steps, float way[2])
{
    if (!steps)
        return best;
    const Normal n = normal_equations(l, x, y);
    while (steps--) {
        double bx = (double)((int64_t)64 * best.x - (int64_t)n.sum_x * best.sum);
        double by = (double)((int64_t)64 * best.y - (int64_t)n.sum_y * best.sum);
        double dx = n.yy * bx, dy = n.xx * by;
        double cross_x = n.xy * by, cross_y = n.xy * bx;
        float to_x = best.at_x - limited((dx - cross_x) * n.factor);
        float to_y = best.at_y - limited((dy - cross_y) * n.factor);
        Match next = match(l, x, y, to_x, to_y);
        if (next.error > best.error)
            break;
        way[0] = to_x, way[1] = to_y;
        if (next.error == best.error)
            break;
        best = next;
    }
    return best;
}

static void start_patch(Level *l, const float *guesses, int count, int steps, int row, int column)
{
    const int patches = l->patch_rows * l->patch_columns, index = row * l->patch_columns + column;
    const int x = l->step * column, y = l->step * row;
    float *way = l->flow + 2 * index;
    Match best;
    for (int k = 0; k < count; k++) {
        const float *guess = guesses + 2 * (k * patches + index);
        Match found = match(l, x, y, guess[0], guess[1]);
        if (k == 0 || found.error < best.error) {
            best = found;
            way[0] = guess[0], way[1] = guess[1];
        }
    }
    l->error[index] = descend(l, x, y, best, steps, way).error;
}

/* Try the four neighbours' flow of the round before, `hop` patches away. */
static void try_neighbours(Level *l, const float *flow, int hop, int steps, int row, int column)
{
    static const int across[4] = {-1, 1, 0, 0}, along[4] = {0, 0, -1, 1};
    const int index = row * l->patch_columns + column;
    const int x = l->step * column, y = l->step * row;
    float *way = l->flow + 2 * index;
    Match best = {l->error[index], 0, 0, 0, 0.0f, 0.0f};
    int changed = 0;
    for (int k = 0; k < 4; k++) {
        int from_row = row + hop * along[k], from_column = column + hop * across[k];
        if (from_row < 0 || from_row >= l->patch_rows || from_column < 0 ||
            from_column >= l->patch_columns)
            continue;
        const float *guess = flow + 2 * (from_row * l->patch_columns + from_column);
        Match found = match(l, x, y, guess[0], guess[1]);
        if (found.error < best.error) {
            best = found, changed = 1;
            way[0] = guess[0], way[1] = guess[1];
        }
    }
    if (changed)
        l->error[index] = descend(l, x, y, best, steps, way).error;
}

/* Every sample: the mean of the flows of the patches over it, weighted by how well they fit. */
static void blend_patches(const Level *l, int32_t *sums, float *out)
{
    memset(sums, 0, (size_t)l->stride * (l->rows + 2 * BORDER) * 3 * sizeof(int32_t));
    for (int row = 0; row < l->patch_rows; row++)
        for (int column = 0; column < l->patch_columns; column++) {
            const float *way = l->flow + 2 * (row * l->patch_columns + column);
            const int x = l->step * column, y = l->step * row;
            int32_t ignored[4];
            uint16_t apart[64];
            compare(l, x, y, to_fine(way[0], -x - PATCH, l->columns - x),
                    to_fine(way[1], -y - PATCH, l->rows - y), ignored, apart);
            const int32_t fixed_x = to_fine(way[0] * 8.0f, -2047, 2047);
            const int32_t fixed_y = to_fine(way[1] * 8.0f, -2047, 2047);
            for (int j = 0; j < PATCH; j++) {
                int32_t *sum = sums + 3 * ((y + j) * l->stride + x);
                for (int i = 0; i < PATCH; i++, sum += 3) {
                    int32_t off = apart[j * PATCH + i] >> 4;
                    int32_t weight = 4096 / (off > 1 ? off : 1);
                    sum[0] += weight * fixed_x, sum[1] += weight * fixed_y, sum[2] += weight;
                }
            }
        }
    for (int y = 0; y < l->rows; y++)
        for (int x = 0; x < l->columns; x++) {
            const int32_t *sum = sums + 3 * (y * l->stride + x);
            float weight = (float)sum[2] * 128.0f;
            out[2 * (y * l->columns + x)] = (float)sum[0] / weight;
            out[2 * (y * l->columns + x) + 1] = (float)sum[1] / weight;
        }
}

/* The same where patches do not overlap: every sample has the flow of its own. */
static void spread_patches(const Level *l, float *out)
{
    for (int row = 0; row < l->patch_rows; row++) {
        const int y = PATCH * row, rows = y + PATCH < l->rows ? PATCH : l->rows - y;
        float *line = out + 2 * (size_t)y * l->columns;
        for (int x = 0; x < l->columns; x++) {
            const float *way = l->flow + 2 * (row * l->patch_columns + x / PATCH);
            line[2 * x] = (float)to_fine(way[0] * 8.0f, -2047, 2047) / 128.0f;
            line[2 * x + 1] = (float)to_fine(way[1] * 8.0f, -2047, 2047) / 128.0f;
        }
        for (int j = 1; j < rows; j++)
            memcpy(line + 2 * (size_t)j * l->columns, line, 2 * sizeof(float) * l->columns);
    }
}

CLONES static void prepare_row(const uint8_t *restrict line, const uint8_t *restrict above,
                               const uint8_t *restrict below, int16_t *restrict seen,
                               int16_t *restrict slope_x, int16_t *restrict slope_y, int columns)
{
    for (int x = 0; x < columns; x++) {
        seen[x] = (int16_t)(16 * line[x]);
        slope_y[x] = (int16_t)(below[x] - above[x]);
    }
    for (int x = 1; x < columns - 1; x++)
        slope_x[x] = (int16_t)(line[x + 1] - line[x - 1]);
    slope_x[0] = (int16_t)(line[columns > 1] - line[0]);
    if (columns > 1)
        slope_x[columns - 1] = (int16_t)(line[columns - 1] - line[columns - 2]);
}

/* Prepare both pictures; beyond the border samples repeat and their slopes along x vanish. */
static void pad_level(Level *l, const uint8_t *seen, const uint8_t *other)
{
    const int columns = l->columns, far = columns - 1;
    for (int y = -BORDER; y < l->rows + BORDER; y++) {
        const int row = clamp(y, 0, l->rows - 1), at = (y + BORDER) * l->stride + BORDER;
        const uint8_t *line = seen + row * columns;
        uint8_t *copy = l->other + at;
        prepare_row(line, seen + clamp(y - 1, 0, l->rows - 1) * columns,
                    seen + clamp(y + 1, 0, l->rows - 1) * columns, l->seen + at, l->slope_x + at,
                    l->slope_y + at, columns);
        memcpy(copy, other + row * columns, (size_t)columns);
        memset(copy - BORDER, copy[0], BORDER);
        memset(copy + columns, copy[far], BORDER);
        for (int x = 1; x <= BORDER; x++) {
            l->seen[at - x] = l->seen[at], l->seen[at + far + x] = l->seen[at + far];
            l->slope_x[at - x] = 0, l->slope_x[at + far + x] = 0;
            l->slope_y[at - x] = l->slope_y[at], l->slope_y[at + far + x] = l->slope_y[at + far];
        }
    }
}

static int patches_over(int samples, int step)
{
    return samples <= PATCH ? 1 : (samples - PATCH + step - 1) / step + 1;
}

int search(const uint8_t *seen, const uint8_t *other, const float *guesses, int count, int step,
           int rounds, int steps, int rows, int columns, float *out)
{
    Level l = {.rows = rows, .columns = columns, .step = step,
               .patch_rows = patches_over(rows, step),
               .patch_columns = patches_over(columns, step), .stride = columns + 2 * BORDER};
    const size_t padded = (size_t)l.stride * (rows + 2 * BORDER);
    const size_t patches = (size_t)l.patch_rows * l.patch_columns;
    char *memory = malloc(patches * 24 + padded * 19 + 64);
    if (!memory)
        return -1;
    l.error = (int64_t *)memory;
    l.flow = (float *)(l.error + patches);
    float *before = l.flow + 2 * patches;
    int32_t *sums = (int32_t *)(before + 2 * patches);
    l.seen = (int16_t *)(sums + 3 * padded);
    l.slope_x = l.seen + padded;
    l.slope_y = l.slope_x + padded;
    l.other = (uint8_t *)(l.slope_y + padded);
    pad_level(&l, seen, other);
    for (int row = 0; row < l.patch_rows; row++)
        for (int column = 0; column < l.patch_columns; column++)
            start_patch(&l, guesses, count, steps, row, column);
    for (int round = 0; round < rounds; round++) {
        memcpy(before, l.flow, patches * 2 * sizeof(float));
        for (int row = 0; row < l.patch_rows; row++)
            for (int column = 0; column < l.patch_columns; column++)
                try_neighbours(&l, before, 1 << (rounds - 1 - round), steps, row, column);
    }
    if (step == PATCH)
        spread_patches(&l, out);
    else
        blend_patches(&l, sums, out);
    free(memory);
    return 0;
}
