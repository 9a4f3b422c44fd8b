/* The kernels of numpy_grids.py and numpy_search.py in C: equal to them sample for sample, on every
 * processor.
 *
 * Integer arithmetic, and floats only where their order is fixed (-ffp-contract=off). Loops that
 * compilers turn into SIMD are cloned per instruction set; only the innermost loops of the warp
 * and the search are written out. c_kernels.py documents what each kernel computes; sizes are those
 * that module.c has checked: positive, and small enough that no index overflows an int. Kernels
 * that return an int return -1 when out of memory.
 */
#ifndef LTXFILTER_KERNELS_H
#define LTXFILTER_KERNELS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__)
#define CLONES __attribute__((target_clones("avx2", "default")))
#define HAVE_AVX2 1
#include <immintrin.h>
#else
#define CLONES
#define HAVE_AVX2 0
#endif

enum {
    MOST_PLANES = 4,     /* that are warped together */
    MOST_PICTURES = 4,   /* that a static mask is made from */
    LONGEST_SHIFT = 16,  /* cells, to a candidate of `propagate` */
    MOST_SHIFTS = 253,   /* candidates of `propagate`: their number is kept in a byte */
    TAPS = 4, PHASES = 16, /* of the cubic filter: per sample, and positions between two samples */
};

/* Planes of one shape that are drawn along one field. */
typedef struct {
    const void *left, *right;
    void *out;
    ptrdiff_t stride_left, stride_right, stride_out; /* bytes from row to row */
    int64_t *squares;           /* [down, across]: to each tile's, its sum is added */
} WarpPlane;

typedef struct {
    WarpPlane planes[MOST_PLANES];
    int count;
    const uint8_t *static_mask; /* [height, width]: 255 where both ends are cross-faded; or NULL */
    const int8_t *taps;         /* [PHASES, TAPS] in 1/64 */
    const int16_t *field;       /* [5, rows, columns], one cell of border on each side */
    int rows, columns, cell_x, cell_y;
    int width, height;
    int deep;                   /* whether samples have 16 bits */
    int most;                   /* the largest code */
    int quarters;               /* by how many bits to shift 1/16 codes to 1/4 codes of 8 bits */
    int tile, down, across;     /* tiles: samples along a side, and how many cover the planes */
    int tile_bits;              /* log2 of `tile` */
    int tau;                    /* the right end's share where they are cross-faded, 1/32768 */
    /* Of the row that is being drawn: */
    int32_t *cell_before;       /* per sample, the padded cell whose centre lies before it */
    int16_t *past_centre;       /* per sample, how far past that centre it lies, 1/32768 cells */
    const int16_t *row[5];      /* the field at this row of samples */
} Warp;

/* The arguments of `propagate`; out: [rows, columns, 2] int16. */
typedef struct {
    const float *flow, *former; /* former: or NULL */
    const uint8_t *seen, *other;
    const int32_t *shifts;      /* [count, 2] */
    int count;
    int32_t bias;
    int rows, columns;
    int16_t *out;
} Propagation;

/* The arguments of `search` and `polish`, of which `guesses` and `rounds` are those of the first
 * and `flow` is that of the second; out: [rows, columns, 2] */
typedef struct {
    const uint8_t *seen, *other;
    const float *guesses;       /* [count, patch rows, patch columns, 2] */
    const float *flow;
    int count, step, rounds, steps;
    int rows, columns;
    float *out;
} PatchSearch;

/* The arguments of `align_ends`; rows, columns: of cells. */
typedef struct {
    const uint8_t *left, *right;
    const float *to_left, *to_right, *share;
    float tau;
    int steps;
    int rows, columns;
    float *out_left, *out_right;
} EndAlignment;

void agree(const float *restrict there, const float *restrict back, int rows, int columns,
           float *restrict out);
int fill(const float *sums, int rows, int columns, float *out);
void make_field(const float *to_left, const float *to_right, const float *share, float scale_x,
                float scale_y, int rows, int columns, int16_t *out);
int propagate(const Propagation *arguments);
int search(const PatchSearch *arguments);
int polish(const PatchSearch *arguments);
int align_ends(const EndAlignment *arguments);
int share_of_left(const float *left, const float *right, float near, float far, int rows,
                  int columns, float *out);
int splat(const float *flow, const float *weight, int rows, int columns, float *out);
/* Returns how many samples are static, or -1. */
int static_mask(const uint8_t *const *pictures, const ptrdiff_t *strides, int count, int width,
                int height, uint8_t *seen, uint8_t *out);
void travel(const float *ahead, const float *behind, const float *sure, float passed, float span,
            float bend, int cells, float *out);
int warp(Warp *w);

/* How many patches, `step` samples apart, cover that many samples. */
int patches_over(int samples, int step);

/* Draw samples begin..end of one row of a plane. */
void warp_samples(const Warp *w, const WarpPlane *plane, int y, int begin, int end);

/* The same for whole rows of all planes, 16 samples of 8 bits at a time. */
typedef struct FastWarp FastWarp;
FastWarp *open_fast_warp(Warp *w); /* NULL where it cannot be used */
void fast_warp_row(FastWarp *f, int y);
void close_fast_warp(FastWarp *f);

/* The working memory of one call, in one block: several would cost more page faults than some
 * kernels take. The function that hands out its pieces runs twice: with no memory yet they are only
 * counted. */
typedef struct {
    char *memory;  /* to be freed by the caller */
    size_t used;   /* bytes */
    int too_large; /* more than can be counted */
} Block;

/* Return room for `count` elements of `size` bytes, at a multiple of 64 bytes from the start. */
static inline void *piece(Block *b, size_t count, size_t size)
{
    void *at = b->memory ? b->memory + b->used : NULL;
    if (count > (SIZE_MAX - b->used - 63) / size)
        b->too_large = 1;
    else
        b->used += (count * size + 63) & ~(size_t)63;
    return at;
}

/* Get the memory that was counted, all 0 if it must be. Returns -1 if there is none. */
static inline int open_block(Block *b, int zeroed)
{
    if (b->too_large)
        return -1;
    b->memory = zeroed ? calloc(1, b->used) : malloc(b->used);
    b->used = 0;
    return b->memory ? 0 : -1;
}

static inline int32_t clamp(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* Return value * share / 32768, rounded half up; share up to 32767. */
static inline int32_t share_of(int32_t value, int32_t share)
{
    return (int32_t)(((int64_t)value * share + 0x4000) >> 15);
}

/* 1.5 * 2^23. Added to a float32 of up to 2^22 it leaves the nearest whole number, halves to even,
 * in the lowest bits of the sum, above those of ROUNDING_BITS. */
#define ROUNDING 12582912.0f
#define ROUNDING_BITS 0x4B400000u /* of the float32 ROUNDING itself */

static inline int32_t rounded(float value)
{
    union { float number; uint32_t bits; } sum = { value + ROUNDING };
    return (int32_t)(sum.bits - ROUNDING_BITS);
}

/* Return value * steps, rounded half to even and cut off at 2^20. */
static inline int32_t to_fixed(float value, float steps)
{
    const float most = 1048576.0f, scaled = value * steps;
    return rounded(scaled < -most ? -most : scaled > most ? most : scaled);
}

#endif
