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

/* The same where no block lies beyond the border. */
CLONES static void look_inside(const int32_t *restrict speed, int columns, int32_t corner,
                               int reach, int step, Extremes *restrict found)
{
    for (int dy = -reach; dy <= reach; dy += step)
        for (int dx = -reach; dx <= reach; dx += step) {
            const int32_t first = corner + dy * columns + dx;
            for (int k = 0; k < BLOCKS; k++) {
                const int32_t here = speed[first + k];
                const int slower = here < found->least[k], faster = here > found->most[k];
                found->slow[k] = slower ? first + k : found->slow[k];
                found->least[k] = slower ? here : found->least[k];
                found->fast[k] = faster ? first + k : found->fast[k];
                found->most[k] = faster ? here : found->most[k];
            }
        }
}

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
    const int inside = row >= FURTHEST && row + FURTHEST < t->rows - 2 && column >= FURTHEST &&
                       column + BLOCKS - 1 + FURTHEST < t->columns - 2;
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
