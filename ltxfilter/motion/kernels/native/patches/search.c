/* Inverse search of one level (Kroeger et al., ECCV 2016): patches look for where they went. */
#include "patches.h"

#define LONGEST_STEP 2.0f /* samples that one Gauss-Newton step moves a patch by */

Match match(const Place *p, Displacement to, uint16_t *differences)
{
    int32_t sums[4];
    compare_at(p, to, sums, differences);
    Match m = {64 * (int64_t)sums[1] - (int64_t)sums[0] * sums[0], sums[0], sums[2], sums[3],
               (float)to.x / (float)FINE, (float)to.y / (float)FINE};
    return m;
}

/* Let a guess replace the best match if it is better. */
static inline int try_guess(const Place *p, const float *guess, Match *best, float flow[2])
{
    const Displacement to = displacement_of(p, guess[0], guess[1]);
    const Displacement had = displacement_of(p, flow[0], flow[1]);
    if (to.x == had.x && to.y == had.y)
        return 0;
    const Match next = match(p, to, NULL);
    if (next.error >= best->error)
        return 0;
    *best = next;
    flow[0] = guess[0], flow[1] = guess[1];
    return 1;
}

/* The normal equations of a patch, its mean taken out, and their determinant. Sums over 64 products
 * of slopes, or of a slope and a difference, are under 2^28 and 2^32, so that all is exact. */
typedef struct {
    int32_t sum_x, sum_y;
    int64_t xx, xy, yy;
    float determinant;
} Normal;

/* Added to the diagonal: half a code of gradient, which keeps flat patches from running away. */
enum { DAMPING = 4096 };

static Normal normal_equations(const Patch *own)
{
    int32_t xx = 0, xy = 0, yy = 0, sum_x = 0, sum_y = 0;
    for (int i = 0; i < PATCH * PATCH; i++) {
        int32_t gx = own->slope_x[i], gy = own->slope_y[i];
        xx += gx * gx, xy += gx * gy, yy += gy * gy, sum_x += gx, sum_y += gy;
    }
    Normal n = {sum_x, sum_y, (int64_t)64 * xx - (int64_t)sum_x * sum_x + DAMPING,
                (int64_t)64 * xy - (int64_t)sum_x * sum_y,
                (int64_t)64 * yy - (int64_t)sum_y * sum_y + DAMPING, 0.0f};
    n.determinant = (float)(n.xx * n.yy - n.xy * n.xy);
    return n;
}

/* Return a step along one axis in samples. Single precision is a millionth of a sample, and GPUs for
 * games take 64 times as long for double. */
static inline float step_of(int64_t numerator, float determinant)
{
    float move = 0.125f * ((float)numerator / determinant);
    return move < -LONGEST_STEP ? -LONGEST_STEP : move > LONGEST_STEP ? LONGEST_STEP : move;
}

Match descend(const Place *p, Match best, int steps, int64_t enough, float flow[2],
              Differences *differences)
{
    if (!steps || best.error <= enough)
        return best;
    const Normal n = normal_equations(&p->own);
    while (steps-- && best.error > enough) {
        int64_t bx = (int64_t)64 * best.x - (int64_t)n.sum_x * best.sum;
        int64_t by = (int64_t)64 * best.y - (int64_t)n.sum_y * best.sum;
        float to_x = best.at_x - step_of(n.yy * bx - n.xy * by, n.determinant);
        float to_y = best.at_y - step_of(n.xx * by - n.xy * bx, n.determinant);
        Match next = match(p, displacement_of(p, to_x, to_y),
                           differences ? differences->of[!differences->best] : NULL);
        if (next.error > best.error)
            break;
        flow[0] = to_x, flow[1] = to_y;
        if (differences)
            differences->best = !differences->best;
        if (next.error == best.error)
            break;
        best = next;
    }
    return best;
}

static void start_patch(Level *l, const PatchSearch *a, int row, int column)
{
    const int patches = l->patch_rows * l->patch_columns, index = row * l->patch_columns + column;
    float *flow = l->flow + 2 * index;
    Place place;
    Match best;
    take_patch(&place, l, l->step * column, l->step * row);
    flow[0] = a->guesses[2 * index], flow[1] = a->guesses[2 * index + 1];
    best = match(&place, displacement_of(&place, flow[0], flow[1]), NULL);
    for (int k = 1; k < a->count && best.error > FITS; k++)
        try_guess(&place, a->guesses + 2 * (k * patches + index), &best, flow);
    l->error[index] = descend(&place, best, a->steps, 0, flow, NULL).error;
}

/* Try the four neighbours' flow of the round before, `hop` patches away. */
static void try_neighbours(Level *l, int hop, int steps, int row, int column)
{
    static const int across[4] = {-1, 1, 0, 0}, down[4] = {0, 0, -1, 1};
    const int index = row * l->patch_columns + column;
    float *flow = l->flow + 2 * index;
    Place place;
    Match best = {l->error[index], 0, 0, 0, 0.0f, 0.0f};
    int changed = 0;
    take_patch(&place, l, l->step * column, l->step * row);
    for (int k = 0; k < 4; k++) {
        int from_row = row + hop * down[k], from_column = column + hop * across[k];
        if (from_row < 0 || from_row >= l->patch_rows || from_column < 0 ||
            from_column >= l->patch_columns)
            continue;
        const float *guess = l->flow_before + 2 * (from_row * l->patch_columns + from_column);
        changed |= try_guess(&place, guess, &best, flow);
    }
    if (changed)
        l->error[index] = descend(&place, best, steps, 0, flow, NULL).error;
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

/* Hand out the memory. */
static void lay_out(Level *l, Block *block)
{
    const size_t padded = (size_t)l->stride * (l->rows + 2 * BORDER);
    const size_t patches = (size_t)l->patch_rows * l->patch_columns;
    l->error = piece(block, patches, sizeof *l->error);
    l->flow = piece(block, 2 * patches, sizeof *l->flow);
    l->flow_before = piece(block, 2 * patches, sizeof *l->flow_before);
    l->sums = piece(block, 3 * padded, sizeof *l->sums);
    l->seen = piece(block, padded, sizeof *l->seen);
    l->slope_x = piece(block, padded, sizeof *l->slope_x);
    l->slope_y = piece(block, padded, sizeof *l->slope_y);
    l->other = piece(block, padded, sizeof *l->other);
}

/* Make room for the search of a level, and prepare its pictures. Returns what to free, or NULL. */
static char *open_level(Level *l, const PatchSearch *a, int step)
{
    *l = (Level){.rows = a->rows, .columns = a->columns, .step = step,
                 .patch_rows = patches_over(a->rows, step),
                 .patch_columns = patches_over(a->columns, step),
                 .stride = a->columns + 2 * BORDER, .compare = best_compare()};
    Block block = {NULL, 0, 0};
    lay_out(l, &block);
    if (open_block(&block, 0) < 0)
        return NULL;
    lay_out(l, &block);
    pad_level(l, a->seen, a->other);
    return block.memory;
}

int search(const PatchSearch *a)
{
    Level l;
    char *memory = open_level(&l, a, a->step);
    if (!memory)
        return -1;
    for (int row = 0; row < l.patch_rows; row++)
        for (int column = 0; column < l.patch_columns; column++)
            start_patch(&l, a, row, column);
    for (int round = 0; round < a->rounds; round++) {
        const int hop = 1 << (a->rounds - 1 - round);
        memcpy(l.flow_before, l.flow, (size_t)l.patch_rows * l.patch_columns * 2 * sizeof(float));
        for (int row = 0; row < l.patch_rows; row++)
            for (int column = 0; column < l.patch_columns; column++)
                try_neighbours(&l, hop, a->steps, row, column);
    }
    flow_of_samples(&l, a->out);
    free(memory);
    return 0;
}

int polish(const PatchSearch *a)
{
    Level l;
    char *memory = open_level(&l, a, PATCH / 2);
    if (!memory)
        return -1;
    descend_and_blend(&l, a->flow, a->steps, a->out);
    free(memory);
    return 0;
}
