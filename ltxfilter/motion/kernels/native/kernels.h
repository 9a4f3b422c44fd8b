/* The kernels of plain.py in C: equal to it sample for sample, on every processor.
 *
 * Integer arithmetic, and floats only where their order is fixed (-ffp-contract=off). Loops that
 * compilers turn into SIMD are cloned per instruction set; only the innermost loops of the warp
 * and the search are written out. All return -1 when out of memory; callers check shapes.
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

/* Planes of one shape that are drawn along one field. */
typedef struct {
    const void *a, *b;
    void *out;
    ptrdiff_t stride_a, stride_b, stride_out; /* bytes */
} WarpPlane;

enum { MOST_PLANES = 4 };

typedef struct {
    WarpPlane planes[MOST_PLANES];
    int count;
    const uint8_t *still;                     /* or NULL */
    const int8_t *taps;                       /* [16, 4] */
    const int32_t *left;                      /* per sample, the padded cell before it */
    const int16_t *part;                      /* per sample, how far past its centre */
    const int16_t *row[5];                    /* the field at this row of samples */
    int width, height, deep, most, tau;
} Warp;

void agree(const float *restrict there, const float *restrict back, int rows, int columns,
           float *restrict out);
int fill(const float *sums, int rows, int columns, float *out);
void make_field(const float *to_left, const float *to_right, const float *mix, float scale_x,
                float scale_y, int rows, int columns, int16_t *out);
int propagate(const float *flow, const float *former, const uint8_t *seen, const uint8_t *other,
              const int32_t *shifts, int count, int32_t bias, int rows, int columns, int16_t *out);
int search(const uint8_t *seen, const uint8_t *other, const float *guesses, int count, int step,
           int rounds, int steps, int rows, int columns, float *out);
int polish(const uint8_t *seen, const uint8_t *other, const float *flow, int steps, int rows,
           int columns, float *out);
int settle(const uint8_t *left, const uint8_t *right, const float *to_left, const float *to_right,
           const float *share, float tau, int steps, int rows, int columns, float *out_left,
           float *out_right);
int share_of_left(const float *left, const float *right, float near, float far, int rows,
                  int columns, float *out);
int splat(const float *flow, const float *weight, int rows, int columns, float *out);
int still(const uint8_t *const *planes, const ptrdiff_t *strides, int count, int width, int height,
          uint8_t *seen, uint8_t *out);
void travel(const float *ahead, const float *behind, const float *sure, float passed, float span,
            float bend, int cells, float *out);
void warp_samples(const Warp *w, const WarpPlane *plane, int y, int begin, int end);

/* The same as warp_samples, 16 samples of 8 bits at a time. */
typedef struct FastWarp FastWarp;
FastWarp *fast_warp(const Warp *w); /* to be freed; NULL where it cannot be used */
void fast_row(FastWarp *f, int y);

int warp(Warp *w, const int16_t *field, int rows, int columns, int cell_x, int cell_y);

static inline int32_t clamp(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* value * part / 32768, rounded half up; part up to 32767. */
static inline int32_t share(int32_t value, int32_t part)
{
    return (int32_t)(((int64_t)value * part + 0x4000) >> 15);
}

#endif
