/* What each marked tile shows: as drawn, in both keyframes, and along each of its motions. */
#include "fusion.h"
#include "fusion/samples.h"

/* Copy a tile of a picture in 1/16 codes; beyond the border it repeats. */
static void copy_tile(const TilePlane *p, int number, int row, int column, void *out)
{
    const int high = BLOCKS * p->block_y, wide = BLOCKS * p->block_x;
    for (int y = 0; y < high; y++) {
        const char *line = (const char *)p->pictures[number] +
                           p->stride[number] * clamp(high * row + y, 0, p->height - 1);
        for (int x = 0; x < wide; x++) {
            const int at = clamp(wide * column + x, 0, p->width - 1);
            if (p->deep)
                ((int32_t *)out)[y * wide + x] = ((const uint16_t *)line)[at] << 4;
            else
                ((int16_t *)out)[y * wide + x] = (int16_t)(((const uint8_t *)line)[at] << 4);
        }
    }
}

static int32_t sample_at(const TilePlane *p, const char *line, int x)
{
    x = clamp(x, 0, p->width - 1);
    return p->deep ? ((const uint16_t *)line)[x] : ((const uint8_t *)line)[x];
}

/* Fetch one sample of a keyframe at (x, y), displaced by (dx, dy) in 1/32. */
static int32_t fetch(const TilePlane *p, int end, int x, int y, int dx, int dy)
{
    dx = (dx + 1) >> 1, dy = (dy + 1) >> 1;
    const int8_t *across = p->taps + TAPS * (dx & 15), *down = p->taps + TAPS * (dy & 15);
    int32_t total = 0;
    x += dx >> 4, y += dy >> 4;
    for (int k = 0; k < TAPS; k++) {
        const char *line = (const char *)p->pictures[1 + end] +
                           p->stride[1 + end] * clamp(y + k - 1, 0, p->height - 1);
        int32_t sum = 0;
        for (int i = 0; i < TAPS; i++)
            sum += sample_at(p, line, x + i - 1) * across[i];
        total += p->deep ? sum * down[k] : share_of(sum, down[k] * 128);
    }
    return p->deep ? (total + 128) >> 8 : total;
}

void pad_motion(const TilePlane *p, const int16_t *blocks, int axis, PaddedMotion out)
{
    const int shift = axis ? p->shift_y : p->shift_x;
    for (int row = 0; row < PADDED; row++)
        for (int column = 0; column < LANES; column++) {
            const int from = BLOCKS * clamp(row - 1, 0, BLOCKS - 1) + clamp(column - 1, 0, BLOCKS - 1);
            out[row][column] = (int16_t)((blocks[from] + ((1 << shift) >> 1)) >> shift);
        }
}

/* Fetch a tile from one end along one motion, sample by sample. */
static void fetch_tile(const TilePlane *p, const Between *along, const Between *down, int end,
                       const PaddedMotion *motion, int row, int column, void *out)
{
    const int high = BLOCKS * p->block_y, wide = BLOCKS * p->block_x;
    for (int y = 0; y < high; y++) {
        int16_t line[2][LANES];
        for (int axis = 0; axis < 2; axis++)
            between_lines(motion[axis][down->before[y]], motion[axis][down->after[y]],
                          down->past[y], line[axis]);
        for (int x = 0; x < wide; x++) {
            int32_t moved[2];
            for (int axis = 0; axis < 2; axis++) {
                const int32_t first = line[axis][along->before[x]];
                moved[axis] =
                    first + share_of(line[axis][along->after[x]] - first, along->past[x]);
            }
            const int32_t value =
                fetch(p, end, wide * column + x, high * row + y, moved[0], moved[1]);
            if (p->deep)
                ((int32_t *)out)[y * wide + x] = value;
            else
                ((int16_t *)out)[y * wide + x] = (int16_t)value;
        }
    }
}

void tile_samples(const Tiles *t, const TilePlane *p)
{
    const size_t size = (size_t)(CELLS * p->block_x * p->block_y) * (p->deep ? 4 : 2);
    Between along, down;
    fill_between(&along, p->block_x);
    fill_between(&down, p->block_y);
    FastTiles *fast = open_fast_tiles(p, &along, &down);
    char *out = p->out;
    for (int n = 0; n < t->count; n++) {
        const int row = t->tiles[2 * n], column = t->tiles[2 * n + 1];
        for (int number = 0; number < 3; number++, out += size)
            copy_tile(p, number, row, column, out);
        for (int pair = 0; pair < PAIRS; pair++)
            for (int end = 0; end < 2; end++, out += size) {
                PaddedMotion motion[2];
                for (int axis = 0; axis < 2; axis++)
                    pad_motion(p, p->motions + ((size_t)n * 4 * PAIRS + 4 * (size_t)pair +
                                                2 * (size_t)end + (size_t)axis) * CELLS,
                               axis, motion[axis]);
                if (fast)
                    fast_fetch_tile(fast, end, motion, row, column, (int16_t *)out);
                else
                    fetch_tile(p, &along, &down, end, motion, row, column, out);
            }
    }
    close_fast_tiles(fast);
}
