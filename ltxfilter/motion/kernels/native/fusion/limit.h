/* What the plain and the fast limit share. */
#ifndef LTXFILTER_LIMIT_H
#define LTXFILTER_LIMIT_H

#include "fusion/fusion.h"

enum {
    MOST_NARROW = 32767, /* changes of samples are narrowed to 16 bits */
    AT_ONCE = 16,        /* samples */
};

/* Which bytes of a row's four weights belong to each sample of a tile's side. */
typedef uint8_t WeightBytes[WIDEST_TILE][2];

/* Return whether `fast_changes` can be called, and fill what it needs. */
int open_fast_changes(const TileLimit *l, WeightBytes bytes);
/* Add to sums, one for each block of a row, by how much what is mixed in changes its samples. first:
 * the row's first sample of the picture that was drawn. weights: of its first block. */
void fast_changes(const TileLimit *l, WeightBytes bytes, size_t first, const int16_t *weights,
                  int32_t *sums);

#endif
