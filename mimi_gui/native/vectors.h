/* What all kernels stand on: vectors of AVX2, the threads that share the work, the ELU. */
#ifndef MIMI_VECTORS_H
#define MIMI_VECTORS_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#ifndef SOURCE
#define SOURCE "unknown"
#endif
#define INLINE static inline __attribute__((always_inline))
#define PANEL 16
#define ROWS 6 /* of a microkernel: 6 x 16 sums fill 12 of the 16 registers of AVX2 */

typedef ptrdiff_t size;
typedef float vec __attribute__((vector_size(32)));
typedef int32_t ivec __attribute__((vector_size(32)));
typedef float loose __attribute__((vector_size(32), aligned(4), may_alias)); /* anywhere in memory */

INLINE vec load(const float *p) { return *(const loose *)p; }
INLINE void store(float *p, vec v) { *(loose *)p = v; }
INLINE vec all(float s) { return (vec){s, s, s, s, s, s, s, s}; }
INLINE vec choose(ivec mask, vec yes, vec no) { return (vec)((mask & (ivec)yes) | (~mask & (ivec)no)); }
INLINE size smaller(size a, size b) { return a < b ? a : b; }

/* ---- threads: those that torch computes with, so that there are never two sets of them ---- */

typedef void (*region)(void *);
static void (*run_parallel)(region, void *, unsigned, unsigned); /* GOMP_parallel of the libgomp that torch loaded */

typedef struct {
    void (*tile)(const void *layer, size index);
    const void *layer;
    size tiles, next;
} job;

static void take_tiles(void *argument) {
    job *j = argument;
    for (;;) {
        size i = __atomic_fetch_add(&j->next, 1, __ATOMIC_RELAXED);
        if (i >= j->tiles)
            return;
        j->tile(j->layer, i);
    }
}

static void compute(void (*tile)(const void *, size), const void *layer, size tiles, size threads) {
    job j = {tile, layer, tiles, 0};
    /* Always all of them: libgomp ends those that a smaller team leaves out, and begins new ones for the next. */
    if (threads > 1 && tiles > 1 && run_parallel)
        run_parallel(take_tiles, &j, (unsigned)threads, 0);
    else
        take_tiles(&j);
}

EXPORT void mimi_threads(void *gomp_parallel) {
    run_parallel = (void (*)(region, void *, unsigned, unsigned))gomp_parallel;
}

/* The SHA-256 of the sources when this was compiled: an editable installation may have another by now. */
EXPORT const char *mimi_source(void) { return SOURCE; }

/* ---- the ELU ---- */

/* to = unit * elu(from / unit) for unit 1 and log2(e), `num` vectors: the larger of x and unit * (2^(x * power) - 1)
 * with a power of at most 0, within 1.5e-7. Max and min give their second operand where one is NaN. Step by step for
 * all of them: one chain alone would fill the queues of the processor with operations that wait. */
INLINE void elu_of(const int num, const float *from, float *to, const float power, const float unit) {
    vec t[4], rounded[4], p[4];
#define EACH _Pragma("GCC unroll 4") for (int i = 0; i < num; i++)
    EACH t[i] = _mm256_min_ps(all(0.0f), load(from + 8 * i) * power);
    EACH t[i] = _mm256_max_ps(all(-126.0f), t[i]);
    EACH rounded[i] = t[i] + 12582912.0f; /* 1.5 * 2^23: the nearest whole number is in the last bits */
    EACH t[i] = t[i] - (rounded[i] - 12582912.0f);
    /* 2^t on [-1/2, 1/2], least relative error (Remez), 1e-8 before rounding */
    EACH p[i] = all(1.5353362e-4f) * t[i] + 1.3398874e-3f;
    EACH p[i] = p[i] * t[i] + 9.6184373e-3f;
    EACH p[i] = p[i] * t[i] + 5.5503324e-2f;
    EACH p[i] = p[i] * t[i] + 2.4022648e-1f;
    EACH p[i] = p[i] * t[i] + 6.9314720e-1f;
    EACH p[i] = p[i] * t[i] + 1.0f;
    EACH p[i] = (vec)((ivec)p[i] + ((ivec)rounded[i] << 23));
    EACH store(to + 8 * i, _mm256_max_ps(p[i] * unit - unit, load(from + 8 * i)));
#undef EACH
}

INLINE void elu_by(const float *from, float *to, size n, const float power, const float unit) {
    size i = 0;
    for (; i + 32 <= n; i += 32)
        elu_of(4, from + i, to + i, power, unit);
    for (; i + 8 <= n; i += 8)
        elu_of(1, from + i, to + i, power, unit);
    if (i < n) {
        float rest[8] = {0};
        memcpy(rest, from + i, (size_t)(n - i) * 4);
        elu_of(1, rest, rest, power, unit);
        memcpy(to + i, rest, (size_t)(n - i) * 4);
    }
}

/* `to` may be `from`. */
static void elu(const float *from, float *to, size n, float power, float unit) {
    if (power == 1)
        elu_by(from, to, n, 1, unit);
    else
        elu_by(from, to, n, power, unit);
}

#endif
