/* What the plain and the fast mix share. */
#ifndef LTXFILTER_MIX_H
#define LTXFILTER_MIX_H

#include "fusion/fusion.h"

typedef int16_t PaddedWeights[WEIGHTS][PADDED][LANES];

typedef struct FastMix FastMix;
FastMix *open_fast_mix(const TileMix *m, const Between *along, const Between *down);
int fast_mix_rows(const FastMix *f); /* how many rows are mixed at once */
/* Mix rows from y on. covered: the sum of each sample's weights, in 1/32768. */
void fast_mix(const FastMix *f, PaddedWeights weights, int y, const int16_t *samples, size_t size,
              int32_t *out, int16_t *covered);
void close_fast_mix(FastMix *f);

#endif
