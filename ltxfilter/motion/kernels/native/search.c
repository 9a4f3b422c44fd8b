/* Inverse search of one level: patches look for where they went. */
#include "patches.h"

Match match(const Place *p, Spot at, uint16_t *apart)
{
    int32_t sums[4];
    compare_at(p, at.x, at.y, sums, apart);
    Match m = {64 * (int64_t)sums[1] - (int64_t)sums[0] * sums[0], sums[0], sums[2], sums[3],
               (float)at.x / (float)FINE, (float)at.y / (float)FINE};
    return m;
}

/* Let a guess replace the best match if it is better. */
static inline int try_guess(const Place *p, const float *guess, Match *best, float way[2])
{
    const Spot at = spot_of(p, guess[0], guess[1]), had = spot_of(p, way[0], way[1]);
    if (at.x == had.x && at.y == had.y)
        return 0;
    const Match found = match(p, at, NULL);
    if (found.error >= best->error)
        return 0;
    *best = found;
    way[0] = guess[0], way[1] = guess[1];
    return 1;
}

/* The normal equations of a patch, its mean taken out, and their solution's common factor. */
typedef struct {
    int32_t sum_x, sum_y;
    double xx, xy, yy, factor;
} Normal;

static Normal normal_equations(const Patch *own)
{
    int32_t xx = 0, xy = 0, yy = 0, sum_x = 0, sum_y = 0;
    for (int i = 0; i < PATCH * PATCH; i++) {
        int32_t gx = own->slope_x[i], gy = own->slope_y[i];
        xx += gx * gx, xy += gx * gy, yy += gy * gy, sum_x += gx, sum_y += gy;
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
Match descend(const Place *p, Match best, int steps, int64_t enough, float way[2], Apart *apart)
{
    if (!steps || best.error <= enough)
        return best;
    const Normal n = normal_equations(&p->own);
    while (steps-- && best.error > enough) {
        double bx = (double)((int64_t)64 * best.x - (int64_t)n.sum_x * best.sum);
        double by = (double)((int64_t)64 * best.y - (int64_t)n.sum_y * best.sum);
        double dx = n.yy * bx, dy = n.xx * by;
        double cross_x = n.xy * by, cross_y = n.xy * bx;
        float to_x = best.at_x - limited((dx - cross_x) * n.factor);
        float to_y = best.at_y - limited((dy - cross_y) * n.factor);
        Match next = match(p, spot_of(p, to_x, to_y), apart ? apart->of[!apart->best] : NULL);
        if (next.error > best.error)
            break;
        way[0] = to_x, way[1] = to_y;
        if (apart)
            apart->best = !apart->best;
        if (next.error == best.error)
            break;
        best = next;
    }
    return best;
}

static void start_patch(Level *l, const float *guesses, int count, int steps, int row, int column)
{
    const int patches = l->patch_rows * l->patch_columns, index = row * l->patch_columns + column;
    float *way = l->flow + 2 * index;
    Place place;
    Match best;
    take_patch(&place, l, l->step * column, l->step * row);
    way[0] = guesses[2 * index], way[1] = guesses[2 * index + 1];
    best = match(&place, spot_of(&place, way[0], way[1]), NULL);
    for (int k = 1; k < count && best.error > FITS; k++)
        try_guess(&place, guesses + 2 * (k * patches + index), &best, way);
    l->error[index] = descend(&place, best, steps, 0, way, NULL).error;
}

/* Try the four neighbours' flow of the round before, `hop` patches away. */
static void try_neighbours(Level *l, const float *flow, int hop, int steps, int row, int column)
{
    static const int across[4] = {-1, 1, 0, 0}, along[4] = {0, 0, -1, 1};
    const int index = row * l->patch_columns + column;
    float *way = l->flow + 2 * index;
    Place place;
    Match best = {l->error[index], 0, 0, 0, 0.0f, 0.0f};
    int changed = 0;
    take_patch(&place, l, l->step * column, l->step * row);
    for (int k = 0; k < 4; k++) {
        int from_row = row + hop * along[k], from_column = column + hop * across[k];
        if (from_row < 0 || from_row >= l->patch_rows || from_column < 0 ||
            from_column >= l->patch_columns)
            continue;
        const float *guess = flow + 2 * (from_row * l->patch_columns + from_column);
        changed |= try_guess(&place, guess, &best, way);
    }
    if (changed)
        l->error[index] = descend(&place, best, steps, 0, way, NULL).error;
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

void pad_picture(const Level *l, const uint8_t *picture, uint8_t *padded)
{
    for (int y = -BORDER; y < l->rows + BORDER; y++, padded += l->stride) {
        const uint8_t *line = picture + (size_t)clamp(y, 0, l->rows - 1) * l->columns;
        memset(padded, line[0], BORDER);
        memcpy(padded + BORDER, line, (size_t)l->columns);
        memset(padded + BORDER + l->columns, line[l->columns - 1], BORDER);
    }
}

/* Prepare both pictures; beyond the border samples repeat and their slopes along x vanish. */
static void pad_level(Level *l, const uint8_t *seen, const uint8_t *other)
{
    pad_picture(l, other, l->other);
    const int columns = l->columns, far = columns - 1;
    for (int y = -BORDER; y < l->rows + BORDER; y++) {
        const int row = clamp(y, 0, l->rows - 1), at = (y + BORDER) * l->stride + BORDER;
        const uint8_t *line = seen + row * columns;
        prepare_row(line, seen + clamp(y - 1, 0, l->rows - 1) * columns,
                    seen + clamp(y + 1, 0, l->rows - 1) * columns, l->seen + at, l->slope_x + at,
                    l->slope_y + at, columns);
        for (int x = 1; x <= BORDER; x++) {
            l->seen[at - x] = l->seen[at], l->seen[at + far + x] = l->seen[at + far];
            l->slope_x[at - x] = 0, l->slope_x[at + far + x] = 0;
            l->slope_y[at - x] = l->slope_y[at], l->slope_y[at + far + x] = l->slope_y[at + far];
        }
    }
}

int patches_over(int samples, int step)
{
    return samples <= PATCH ? 1 : (samples - PATCH + step - 1) / step + 1;
}

/* Make room for the search of a level and prepare its pictures; returns what to free, or NULL. */
static char *open_level(Level *l, const uint8_t *seen, const uint8_t *other, float **before,
                        int32_t **sums)
{
    l->patch_rows = patches_over(l->rows, l->step);
    l->patch_columns = patches_over(l->columns, l->step);
    l->stride = l->columns + 2 * BORDER;
    l->compare = best_compare();
    const size_t padded = (size_t)l->stride * (l->rows + 2 * BORDER);
    const size_t patches = (size_t)l->patch_rows * l->patch_columns;
    char *memory = malloc(patches * 24 + padded * 19 + 64);
    if (!memory)
        return NULL;
    l->error = (int64_t *)memory;
    l->flow = (float *)(l->error + patches);
    *before = l->flow + 2 * patches;
    *sums = (int32_t *)(*before + 2 * patches);
    l->seen = (int16_t *)(*sums + 3 * padded);
    l->slope_x = l->seen + padded;
    l->slope_y = l->slope_x + padded;
    l->other = (uint8_t *)(l->slope_y + padded);
    pad_level(l, seen, other);
    return memory;
}

int search(const uint8_t *seen, const uint8_t *other, const float *guesses, int count, int step,
           int rounds, int steps, int rows, int columns, float *out)
{
    Level l = {.rows = rows, .columns = columns, .step = step};
    float *before;
    int32_t *sums;
    char *memory = open_level(&l, seen, other, &before, &sums);
    if (!memory)
        return -1;
    for (int row = 0; row < l.patch_rows; row++)
        for (int column = 0; column < l.patch_columns; column++)
            start_patch(&l, guesses, count, steps, row, column);
    for (int round = 0; round < rounds; round++) {
        memcpy(before, l.flow, (size_t)l.patch_rows * l.patch_columns * 2 * sizeof(float));
        for (int row = 0; row < l.patch_rows; row++)
            for (int column = 0; column < l.patch_columns; column++)
                try_neighbours(&l, before, 1 << (rounds - 1 - round), steps, row, column);
    }
    flow_of_samples(&l, sums, out);
    free(memory);
    return 0;
}

int polish(const uint8_t *seen, const uint8_t *other, const float *flow, int steps, int rows,
           int columns, float *out)
{
    Level l = {.rows = rows, .columns = columns, .step = PATCH / 2};
    float *before;
    int32_t *sums;
    char *memory = open_level(&l, seen, other, &before, &sums);
    if (!memory)
        return -1;
    descend_and_blend(&l, flow, steps, sums, out);
    free(memory);
    return 0;
}
