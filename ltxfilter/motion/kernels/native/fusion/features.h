/* What the plain and the fast comparison of a tile's samples share. */
#ifndef LTXFILTER_FEATURES_H
#define LTXFILTER_FEATURES_H

#include "fusion/fusion.h"

/* Sums over each block of a tile: of a difference's size, and of the difference. */
typedef struct {
    int32_t sizes[CELLS], values[CELLS]; /* of 16-bit samples, 16 times 256 of them, and more */
} BlockSums;

enum { COMPARED = 2 * PAIRS + 2 }; /* differences between the samples of a tile */

/* For tiles of 8-bit samples: compare both ends of each motion; what each other motion's mix of
 * both ends looks like with what was drawn; left with right, left with drawn, right with drawn.
 * And sum the gradients of what was drawn inside each block into `texture`. share: of the left end,
 * per block. */
void fast_comparisons(const int16_t *samples, int block, const int32_t *share,
                      BlockSums sums[COMPARED], int32_t texture[CELLS]);
int can_compare_fast(int block);

#endif
