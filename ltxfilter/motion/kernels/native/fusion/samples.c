/* What each marked tile shows: as drawn, in both keyframes, and along each of its motions. */
#include "fusion/fusion.h"
#include "fusion/samples.h"

/* Copy a tile of 8 bits that lies in the picture. */
CLONES static void copy_inside(const uint8_t *restrict from, ptrdiff_t stride, int high, int wide,
                               int16_t *restrict to)
{
    for (int y = 0; y < high; y++, from += stride)
        for (int x = 0; x < wide; x++)
            *to++ = (int16_t)(from[x] << 4);
}

static int32_t sample_at(const TilePlanes *p, const char *line, int x)
{
    x = clamp(x, 0, p->width - 1);
    return p->deep ? ((const uint16_t *)line)[x] : ((const uint8_t *)line)[x];
}

/* Copy a tile of a picture in 1/16 codes; beyond the border it repeats. */
static void copy_tile(const TilePlanes *p, const TilePlane *plane, int number, int row, int column,
                      size_t at)
{
    const int high = BLOCKS * p->block_y, wide = BLOCKS * p->block_x;
    const int top = high * row, left = wide * column;
    const char *picture = plane->pictures[number];
    const ptrdiff_t stride = plane->stride[number];
    if (!p->deep && top + high <= p->height && left + wide <= p->width) {
        copy_inside((const uint8_t *)picture + stride * top + left, stride, high, wide,
                    (int16_t *)plane->out + at);
        return;
    }
    for (int y = 0; y < high; y++) {
        const char *line = picture + stride * clamp(top + y, 0, p->height - 1);
        for (int x = 0; x < wide; x++, at++) {
            const int32_t value = sample_at(p, line, left + x) << 4;
            if (p->deep)
                ((int32_t *)plane->out)[at] = value;
            else
                ((int16_t *)plane->out)[at] = (int16_t)value;
        }
    }
}

/* Fetch one sample of a keyframe at (x, y), displaced by (dx, dy) in 1/32. */
static int32_t fetch(const TilePlanes *p, const TilePlane *plane, int end, int x, int y, int dx,
                     int dy)
{
    dx = (dx + 1) >> 1, dy = (dy + 1) >> 1;
    const int8_t *across = p->taps + TAPS * (dx & 15), *down = p->taps + TAPS * (dy & 15);
    int32_t total = 0;
    x += dx >> 4, y += dy >> 4;
    for (int k = 0; k < TAPS; k++) {
        const char *line = (const char *)plane->pictures[1 + end] +
                           plane->stride[1 + end] * clamp(y + k - 1, 0, p->height - 1);
        int32_t sum = 0;
        for (int i = 0; i < TAPS; i++)
            sum += sample_at(p, line, x + i - 1) * across[i];
        total += p->deep ? sum * down[k] : share_of(sum, down[k] * 128);
    }
    return p->deep ? (total + 128) >> 8 : total;
}

/* Pad the motion of a tile's blocks along one axis. */
static void pad_motion(const TilePlanes *p, const int16_t *blocks, int axis, PaddedMotion out)
{
    const int shift = axis ? p->shift_y : p->shift_x;
    for (int row = 0; row < BLOCKS; row++) {
        int16_t *line = out[row + 1];
        for (int column = 0; column < BLOCKS; column++)
            line[column + 1] =
                (int16_t)((blocks[row * BLOCKS + column] + ((1 << shift) >> 1)) >> shift);
        line[0] = line[1];
        for (int column = BLOCKS + 1; column < LANES; column++)
            line[column] = line[BLOCKS];
    }
    memcpy(out[0], out[1], sizeof out[0]);
    memcpy(out[PADDED - 1], out[BLOCKS], sizeof out[0]);
}

/* Fetch a row of every plane's tile. moved: along both axes, per sample. */
static void fetch_row(const TilePlanes *p, int end, int16_t moved[2][WIDEST_TILE], int x, int y,
                      size_t at)
{
    for (int k = 0; k < p->count; k++)
        for (int i = 0; i < BLOCKS * p->block_x; i++) {
            const int32_t value =
                fetch(p, &p->planes[k], end, x + i, y, moved[0][i], moved[1][i]);
            if (p->deep)
                ((int32_t *)p->planes[k].out)[at + (size_t)i] = value;
            else
                ((int16_t *)p->planes[k].out)[at + (size_t)i] = (int16_t)value;
        }
}

/* Fetch a tile from one end along one motion, sample by sample. */
static void fetch_tile(const TilePlanes *p, const Between *along, const Between *down, int end,
                       const PaddedMotion *motion, int row, int column, size_t at)
{
    const int high = BLOCKS * p->block_y, wide = BLOCKS * p->block_x;
    for (int y = 0; y < high; y++, at += (size_t)wide) {
        int16_t moved[2][WIDEST_TILE];
        for (int axis = 0; axis < 2; axis++) {
            int16_t line[LANES];
            between_lines(motion[axis][down->before[y]], motion[axis][down->after[y]],
                          down->past[y], line);
            for (int x = 0; x < wide; x++) {
                const int32_t first = line[along->before[x]];
                moved[axis][x] = (int16_t)(
                    first + share_of(line[along->after[x]] - first, along->past[x]));
            }
        }
        fetch_row(p, end, moved, wide * column, high * row + y, at);
    }
}

/* Fetch a tile from both ends along one motion. blocks: it, [4, CELLS]. */
static void fetch_pair(const TilePlanes *p, FastTiles *fast, const Between *along,
                       const Between *down, const int16_t *blocks, int row, int column, size_t at)
{
    const size_t size = (size_t)(CELLS * p->block_x * p->block_y);
    for (int end = 0; end < 2; end++, at += size) {
        PaddedMotion motion[2];
        for (int axis = 0; axis < 2; axis++)
            pad_motion(p, blocks + (2 * end + axis) * CELLS, axis, motion[axis]);
        if (fast)
            fast_fetch_tile(fast, end, motion, row, column, at);
        else
            fetch_tile(p, along, down, end, motion, row, column, at);
    }
}

void tile_samples(const Tiles *t, const TilePlanes *p)
{
    const size_t size = (size_t)(CELLS * p->block_x * p->block_y);
    const int16_t *blocks = p->motions;
    size_t at = 0;
    Between along, down;
    fill_between(&along, p->block_x);
    fill_between(&down, p->block_y);
    FastTiles *fast = open_fast_tiles(p, &along, &down);
    for (int n = 0; n < t->count; n++) {
        const int row = t->tiles[2 * n], column = t->tiles[2 * n + 1];
        for (int number = 0; number < 3; number++, at += size)
            for (int k = 0; k < p->count; k++)
                copy_tile(p, &p->planes[k], number, row, column, at);
        for (int pair = 0; pair < PAIRS; pair++, at += 2 * size, blocks += 4 * CELLS)
            fetch_pair(p, fast, &along, &down, blocks, row, column, at);
    }
    close_fast_tiles(fast);
}
