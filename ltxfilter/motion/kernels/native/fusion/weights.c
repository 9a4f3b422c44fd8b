/* The network: from features of a block to the weights of what may be mixed there. */
#include "fusion/fusion.h"

#if HAVE_AVX2
#define AVX2 __attribute__((target("avx2")))
#endif

enum {
    MOST_INPUTS = FEATURES + 1, /* even: inputs are multiplied in pairs */
    MOST_ACTIVE = 4095,         /* a unit's output, in 1/128 */
    MOST_GAIN = 128,            /* in 1/64 */
    TOGETHER = 2,               /* blocks that the fast sums take at once */
};

/* One layer, its weights in pairs of inputs; outputs that are not there are 0. */
typedef struct {
    int16_t weights[MOST_INPUTS / 2][UNITS][2];
    int32_t bias[UNITS];
    int pairs, shift; /* shift: from sums to what the next layer takes, or to logits */
} Layer;

static void pack(const Network *n, int number, Layer *layer)
{
    const int inputs = number ? UNITS : FEATURES;
    const int outputs = number + 1 < LAYERS ? UNITS : OUTPUTS;
    memset(layer, 0, sizeof *layer);
    layer->pairs = (inputs + 1) / 2;
    layer->shift = number == 0 ? 8 : number + 1 < LAYERS ? 10 : 9;
    for (int i = 0; i < inputs; i++)
        for (int k = 0; k < outputs; k++)
            layer->weights[i / 2][k][i % 2] = n->weights[number][i * outputs + k];
    memcpy(layer->bias, n->bias[number], (size_t)outputs * sizeof *layer->bias);
}

/* Sum up a layer's inputs; sums wrap around, which the caller's weights rule out. */
static void sum_inputs(const Layer *layer, const int16_t *inputs, int outputs, int32_t *sums)
{
    uint32_t total[UNITS];
    memcpy(total, layer->bias, sizeof total);
    for (int pair = 0; pair < layer->pairs; pair++)
        for (int k = 0; k < outputs; k++)
            total[k] += (uint32_t)(layer->weights[pair][k][0] * inputs[2 * pair]) +
                        (uint32_t)(layer->weights[pair][k][1] * inputs[2 * pair + 1]);
    memcpy(sums, total, sizeof total);
}

/* Run the network for TOGETHER blocks; sums: of its last layer. */
static void run(const Layer *layers, const int16_t *features, int32_t sums[TOGETHER][UNITS])
{
    for (int block = 0; block < TOGETHER; block++) {
        int16_t active[MOST_INPUTS] = {0};
        memcpy(active, features + block * FEATURES, FEATURES * sizeof *active);
        for (int number = 0; number < LAYERS; number++) {
            const int last = number + 1 == LAYERS;
            sum_inputs(&layers[number], active, last ? OUTPUTS : UNITS, sums[block]);
            for (int k = 0; k < UNITS && !last; k++)
                active[k] =
                    (int16_t)clamp(sums[block][k] >> layers[number].shift, 0, MOST_ACTIVE);
        }
    }
}

#if HAVE_AVX2
/* Sum up a layer's inputs for two blocks. vectors: of eight outputs. */
AVX2 static inline void sum_both(const Layer *layer, int vectors, const int16_t *inputs,
                                 __m256i (*sums)[UNITS / 8])
{
    for (int k = 0; k < vectors; k++)
        sums[0][k] = sums[1][k] = _mm256_loadu_si256((const __m256i *)layer->bias + k);
    for (int pair = 0; pair < layer->pairs; pair++) {
        const __m256i *weights = (const __m256i *)layer->weights[pair];
        int32_t both[TOGETHER];
        memcpy(both, inputs + 2 * pair, sizeof *both);
        memcpy(both + 1, inputs + MOST_INPUTS + 2 * pair, sizeof *both);
        const __m256i first = _mm256_set1_epi32(both[0]), second = _mm256_set1_epi32(both[1]);
        for (int k = 0; k < vectors; k++) {
            const __m256i weight = _mm256_loadu_si256(weights + k);
            sums[0][k] = _mm256_add_epi32(sums[0][k], _mm256_madd_epi16(first, weight));
            sums[1][k] = _mm256_add_epi32(sums[1][k], _mm256_madd_epi16(second, weight));
        }
    }
}

/* Write what the units of a hidden layer put out. */
AVX2 static inline void activate(const __m256i *sums, int shift, int16_t *active)
{
    const __m256i zero = _mm256_setzero_si256(), most = _mm256_set1_epi32(MOST_ACTIVE);
    for (int k = 0; k < UNITS / 8; k++) {
        const __m256i shifted = _mm256_sra_epi32(sums[k], _mm_cvtsi32_si128(shift));
        const __m256i kept = _mm256_min_epi32(_mm256_max_epi32(shifted, zero), most);
        const __m256i narrow = _mm256_permute4x64_epi64(_mm256_packs_epi32(kept, kept), 0x08);
        _mm_storeu_si128((__m128i *)active + k, _mm256_castsi256_si128(narrow));
    }
}

AVX2 static void run_fast(const Layer *layers, const int16_t *features,
                          int32_t sums[TOGETHER][UNITS])
{
    int16_t active[TOGETHER][MOST_INPUTS] = {{0}};
    __m256i found[TOGETHER][UNITS / 8];
    for (int block = 0; block < TOGETHER; block++)
        memcpy(active[block], features + block * FEATURES, FEATURES * sizeof **active);
    for (int number = 0; number + 1 < LAYERS; number++) {
        sum_both(&layers[number], UNITS / 8, active[0], found);
        for (int block = 0; block < TOGETHER; block++)
            activate(found[block], layers[number].shift, active[block]);
    }
    enum { LAST = (OUTPUTS + 7) / 8 };
    sum_both(&layers[LAYERS - 1], LAST, active[0], found);
    for (int block = 0; block < TOGETHER; block++)
        memcpy(sums[block], found[block], LAST * sizeof **found);
}
#endif

typedef void (*Run)(const Layer *, const int16_t *, int32_t (*)[UNITS]);

static Run best_run(void)
{
#if HAVE_AVX2
    if (__builtin_cpu_supports("avx2"))
        return run_fast;
#endif
    return run;
}

/* Turn logits in 1/256 of factors two into shares in 1/32768. */
static void softmax(const int32_t *logits, const int32_t *halvings, int32_t *parts)
{
    int32_t most = logits[0];
    uint32_t total = 0;
    for (int k = 1; k < CHOICES; k++)
        most = logits[k] > most ? logits[k] : most;
    for (int k = 0; k < CHOICES; k++) {
        const int64_t less = (int64_t)most - logits[k];
        const int below = less < 4095 ? (int)less : 4095;
        parts[k] = halvings[below & 255] >> (below >> 8);
        total += (uint32_t)parts[k];
    }
    const uint32_t unit = (1u << 30) / total; /* total: from 2^15 to 17 times that */
    for (int k = 0; k < CHOICES; k++)
        parts[k] = (int32_t)(((uint32_t)parts[k] * unit) >> 15);
}

/* From shares of choices to weights: a mix of both ends is that much of each. */
static void fold(const int32_t *parts, int32_t share, int16_t *out)
{
    int32_t weights[WEIGHTS];
    for (int k = 0; k < 4; k++)
        weights[k] = parts[1 + k];
    for (int k = 0; k < PAIRS - 1; k++) {
        const int32_t *three = parts + 5 + 3 * k;
        const int32_t of_left = share_of(three[0], share);
        weights[4 + 2 * k] = three[1] + of_left;
        weights[5 + 2 * k] = three[2] + three[0] - of_left;
    }
    for (int k = 0; k < WEIGHTS; k++)
        out[k * CELLS] = (int16_t)(weights[k] < 32767 ? weights[k] : 32767);
}

void tile_weights(const Tiles *t, const int16_t *features, const Network *n, int16_t *weights,
                  int16_t *gains)
{
    const size_t plane = (size_t)t->rows * (size_t)t->columns;
    const Run best = best_run();
    Layer layers[LAYERS];
    for (int number = 0; number < LAYERS; number++)
        pack(n, number, &layers[number]);
    for (int cell = 0; cell < t->count * CELLS; cell += TOGETHER, features += TOGETHER * FEATURES) {
        int32_t sums[TOGETHER][UNITS];
        best(layers, features, sums);
        for (int k = 0; k < TOGETHER; k++) {
            const int tile = (cell + k) / CELLS, block = (cell + k) % CELLS;
            const size_t at = block_at(t, BLOCKS * t->tiles[2 * tile] + block / BLOCKS,
                                       BLOCKS * t->tiles[2 * tile + 1] + block % BLOCKS);
            int32_t parts[CHOICES];
            for (int i = 0; i < OUTPUTS; i++)
                sums[k][i] >>= layers[LAYERS - 1].shift;
            softmax(sums[k], n->halvings, parts);
            fold(parts, t->field[4 * plane + at], weights + tile * WEIGHTS * CELLS + block);
            gains[cell + k] = (int16_t)clamp(sums[k][CHOICES] >> 2, 0, MOST_GAIN);
        }
    }
}
