/* The network: from features of a block to the weights of what may be mixed there. */
#include "fusion/fusion.h"

#if HAVE_AVX2
#define AVX2 __attribute__((target("avx2")))
#endif

enum {
    MOST_INPUTS = FEATURES + 1, /* even: inputs are multiplied in pairs */
    PACKED_UNITS = 32,          /* outputs of every layer, those that are not there being 0 */
    MOST_ACTIVE = 4095,         /* a unit's output, in 1/128 */
};

/* One layer, its weights in pairs of inputs. */
typedef struct {
    int16_t weights[MOST_INPUTS / 2][PACKED_UNITS][2];
    int32_t bias[PACKED_UNITS];
    int pairs, shift; /* shift: from sums to what the next layer takes, or to logits */
} Layer;

static void pack(const Network *n, int number, Layer *layer)
{
    const int inputs = number ? UNITS : FEATURES;
    const int outputs = number + 1 < LAYERS ? UNITS : CHOICES;
    memset(layer, 0, sizeof *layer);
    layer->pairs = (inputs + 1) / 2;
    layer->shift = number == 0 ? 8 : number + 1 < LAYERS ? 10 : 9;
    for (int i = 0; i < inputs; i++)
        for (int k = 0; k < outputs; k++)
            layer->weights[i / 2][k][i % 2] = n->weights[number][i * outputs + k];
    memcpy(layer->bias, n->bias[number], (size_t)outputs * sizeof *layer->bias);
}

/* Sum up a layer's inputs; sums wrap around, which the caller's weights rule out. */
static void sum_inputs(const Layer *layer, const int16_t *inputs, int32_t *sums)
{
    uint32_t total[PACKED_UNITS];
    memcpy(total, layer->bias, sizeof total);
    for (int pair = 0; pair < layer->pairs; pair++)
        for (int k = 0; k < PACKED_UNITS; k++)
            total[k] += (uint32_t)(layer->weights[pair][k][0] * inputs[2 * pair]) +
                        (uint32_t)(layer->weights[pair][k][1] * inputs[2 * pair + 1]);
    memcpy(sums, total, sizeof total);
}

#if HAVE_AVX2
AVX2 static void sum_inputs_fast(const Layer *layer, const int16_t *inputs, int32_t *sums)
{
    enum { VECTORS = PACKED_UNITS / 8 };
    __m256i total[VECTORS];
    for (int k = 0; k < VECTORS; k++)
        total[k] = _mm256_loadu_si256((const __m256i *)layer->bias + k);
    for (int pair = 0; pair < layer->pairs; pair++) {
        int32_t both;
        memcpy(&both, inputs + 2 * pair, sizeof both);
        const __m256i value = _mm256_set1_epi32(both);
        const __m256i *weights = (const __m256i *)layer->weights[pair];
        for (int k = 0; k < VECTORS; k++)
            total[k] = _mm256_add_epi32(
                total[k], _mm256_madd_epi16(value, _mm256_loadu_si256(weights + k)));
    }
    for (int k = 0; k < VECTORS; k++)
        _mm256_storeu_si256((__m256i *)sums + k, total[k]);
}
#endif

typedef void (*SumInputs)(const Layer *, const int16_t *, int32_t *);

static SumInputs best_sum(void)
{
#if HAVE_AVX2
    if (__builtin_cpu_supports("avx2"))
        return sum_inputs_fast;
#endif
    return sum_inputs;
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

static void block_weights(const Layer *layers, SumInputs sum, const int16_t *features,
                          const int32_t *halvings, int32_t share, int16_t *out)
{
    int16_t active[MOST_INPUTS] = {0};
    int32_t sums[PACKED_UNITS], parts[CHOICES];
    memcpy(active, features, FEATURES * sizeof *active);
    for (int number = 0; number < LAYERS; number++) {
        sum(&layers[number], active, sums);
        if (number + 1 < LAYERS)
            for (int k = 0; k < UNITS; k++)
                active[k] = (int16_t)clamp(sums[k] >> layers[number].shift, 0, MOST_ACTIVE);
    }
    for (int k = 0; k < CHOICES; k++)
        sums[k] >>= layers[LAYERS - 1].shift;
    softmax(sums, halvings, parts);
    fold(parts, share, out);
}

void tile_weights(const Tiles *t, const int16_t *features, const Network *n, int16_t *out)
{
    const size_t plane = (size_t)t->rows * (size_t)t->columns;
    const SumInputs sum = best_sum();
    Layer layers[LAYERS];
    for (int number = 0; number < LAYERS; number++)
        pack(n, number, &layers[number]);
    for (int k = 0; k < t->count; k++, out += WEIGHTS * CELLS)
        for (int cell = 0; cell < CELLS; cell++, features += FEATURES) {
            const size_t at = block_at(t, BLOCKS * t->tiles[2 * k] + cell / BLOCKS,
                                       BLOCKS * t->tiles[2 * k + 1] + cell % BLOCKS);
            block_weights(layers, sum, features, n->halvings, t->field[4 * plane + at], out + cell);
        }
}
