/* What the plain and the fast fetching of tiles share. */
#ifndef LTXFILTER_SAMPLES_H
#define LTXFILTER_SAMPLES_H

#include "fusion/fusion.h"

typedef int16_t PaddedMotion[PADDED][LANES]; /* along one axis, 1/32 samples; borders repeat */

/* Tiles of 8-bit planes, written into each plane's output from sample `at` on, whose rows, or pairs of rows, fill 16 samples. */
typedef struct FastTiles FastTiles;
FastTiles *open_fast_tiles(const TilePlanes *p, const Between *along, const Between *down);
void fast_fetch_tile(FastTiles *f, int end, const PaddedMotion *motion, int row, int column,
                     size_t at);
void close_fast_tiles(FastTiles *f);

#endif
