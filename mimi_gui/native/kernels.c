/* The products and passes of Mimi on a CPU, each layer in one go through the cache.
 *
 * Loaded by mimi_gui/native/__init__.py, which says what the arguments are. Plain C with GCC's vectors, for GCC and
 * Clang; nothing of Python or torch is included. All arrays are float32 and contiguous, time-major as in
 * mimi_gui/kernels.py. Nothing is kept between two calls, no memory is allocated: what a tile needs lies on the stack.
 *
 * What comes out does not depend on the number of threads: they take tiles whose size only depends on the layer.
 *
 * Words: a "block" is what a convolution moves by, `stride` rows of C channels, `width` numbers. A "panel" is 16
 * columns of a weight matrix: weights are [N / 16][K][16].
 */
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

typedef struct job {
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
    threads = smaller(threads, tiles);
    if (threads > 1 && run_parallel)
        run_parallel(take_tiles, &j, (unsigned)threads, 0);
    else
        take_tiles(&j);
}

EXPORT void mimi_threads(void *gomp_parallel) {
    run_parallel = (void (*)(region, void *, unsigned, unsigned))gomp_parallel;
}

/* The SHA-256 of this file when it was compiled: an editable installation may have another by now. */
EXPORT const char *mimi_source(void) { return SOURCE; }

/* ---- the ELU ---- */

/* unit * elu(x / unit) for unit 1 and log2(e): max(x, 0) or unit * (2^(x * power) - 1), whose error is below 1.5e-7. */
INLINE vec elu(vec x, float power, float unit) {
    ivec kept = ~(x <= 0); /* NaN too */
    vec t = x * power;
    t = choose(t > -126.0f, t, all(-126.0f));
    vec rounded = t + 12582912.0f; /* 1.5 * 2^23: the nearest whole number is in the last bits */
    vec f = t - (rounded - 12582912.0f);
    /* 2^f on [-1/2, 1/2], least relative error (Remez), 1e-8 before rounding */
    vec p = all(1.5353362e-4f) * f + 1.3398874e-3f;
    p = p * f + 9.6184373e-3f;
    p = p * f + 5.5503324e-2f;
    p = p * f + 2.4022648e-1f;
    p = p * f + 6.9314720e-1f;
    p = p * f + 1.0f;
    p = (vec)((ivec)p + ((ivec)rounded << 23));
    return choose(kept, x, p * unit - unit);
}

typedef struct {
    const float *x;
    float *y;
    size numbers, x_step, y_step, tiles; /* of one recording; from one to the next; tiles of a recording */
    float power, unit;
} elu_layer;

#define ELU_TILE 16384

static void elu_tile(const void *layer, size index) {
    const elu_layer *l = layer;
    size b = index / l->tiles, from = index % l->tiles * ELU_TILE, n = smaller(ELU_TILE, l->numbers - from), i = 0;
    const float *x = l->x + b * l->x_step + from;
    float *y = l->y + b * l->y_step + from, rest[8] = {0};
    for (; i + 8 <= n; i += 8)
        store(y + i, elu(load(x + i), l->power, l->unit));
    if (i < n) {
        memcpy(rest, x + i, (size_t)(n - i) * 4);
        store(rest, elu(load(rest), l->power, l->unit));
        memcpy(y + i, rest, (size_t)(n - i) * 4);
    }
}

EXPORT void mimi_elu(const float *x, float *y, size batch, size numbers, size x_step, size y_step, float power,
                     float unit, size threads) {
    elu_layer l = {x, y, numbers, x_step, y_step, (numbers + ELU_TILE - 1) / ELU_TILE, power, unit};
    compute(elu_tile, &l, batch * l.tiles, threads);
}

/* ---- products ---- */

/* c[r] = from[r] + sum over k of a[r][k] * panel[k], for `rows` <= 6 rows and 16 columns; `from` may be c. */
INLINE void micro(const int rows, const float *a, size lda, const float *panel, size k_size, const float *from,
                  size ldf, float *c, size ldc) {
    vec sum[ROWS][2];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        sum[r][0] = from ? load(from + r * ldf) : all(0);
        sum[r][1] = from ? load(from + r * ldf + 8) : all(0);
    }
    for (size k = 0; k < k_size; k++) {
        vec b0 = load(panel + k * PANEL), b1 = load(panel + k * PANEL + 8);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            vec s = all(a[r * lda + k]);
            sum[r][0] += s * b0;
            sum[r][1] += s * b1;
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        store(c + r * ldc, sum[r][0]);
        store(c + r * ldc + 8, sum[r][1]);
    }
}

/* One panel for any number of rows. */
static void panel_product(const float *a, size lda, size rows, const float *panel, size k_size, const float *from,
                          size ldf, float *c, size ldc) {
    size r = 0;
    for (; r + ROWS <= rows; r += ROWS)
        micro(ROWS, a + r * lda, lda, panel, k_size, from ? from + r * ldf : 0, ldf, c + r * ldc, ldc);
    a += r * lda, c += r * ldc, from = from ? from + r * ldf : 0;
    switch (rows - r) {
    case 5: micro(5, a, lda, panel, k_size, from, ldf, c, ldc); break;
    case 4: micro(4, a, lda, panel, k_size, from, ldf, c, ldc); break;
    case 3: micro(3, a, lda, panel, k_size, from, ldf, c, ldc); break;
    case 2: micro(2, a, lda, panel, k_size, from, ldf, c, ldc); break;
    case 1: micro(1, a, lda, panel, k_size, from, ldf, c, ldc); break;
    }
}

typedef struct {
    const float *a, *weight, *bias, *total; /* total: what is added to, [M, N], or none */
    float *y;
    size lda, m, k, n, groups; /* groups: into which the panels are shared out */
} product_layer;

#define M_TILE 126
#define K_TILE 384

static void product_tile(const void *layer, size index) {
    const product_layer *l = layer;
    float rows[M_TILE * (K_TILE + 8)]; /* the 8 keep rows of 2^i numbers from falling on the same lines of the cache */
    const size ldr = K_TILE + 8, panels = l->n / PANEL;
    size m0 = index / l->groups * M_TILE, m = smaller(M_TILE, l->m - m0), group = index % l->groups;
    size first = panels * group / l->groups, last = panels * (group + 1) / l->groups;
    for (size k0 = 0; k0 < l->k; k0 += K_TILE) {
        size k = smaller(K_TILE, l->k - k0);
        for (size r = 0; r < m; r++)
            memcpy(rows + r * ldr, l->a + (m0 + r) * l->lda + k0, (size_t)k * 4);
        for (size p = first; p < last; p++) {
            const float *panel = l->weight + (p * l->k + k0) * PANEL;
            float *y = l->y + m0 * l->n + p * PANEL;
            if (k0)
                panel_product(rows, ldr, m, panel, k, y, l->n, y, l->n);
            else if (l->total)
                panel_product(rows, ldr, m, panel, k, l->total + m0 * l->n + p * PANEL, l->n, y, l->n);
            else
                panel_product(rows, ldr, m, panel, k, l->bias ? l->bias + p * PANEL : 0, 0, y, l->n);
        }
        if (!k0 && l->total && l->bias)
            for (size r = 0; r < m; r++)
                for (size c = first * PANEL; c < last * PANEL; c += 8) {
                    float *y = l->y + (m0 + r) * l->n + c;
                    store(y, load(y) + load(l->bias + c));
                }
    }
}

EXPORT void mimi_product(const float *a, size lda, const float *weight, const float *bias, const float *total, float *y,
                         size m, size k, size n, size threads) {
    size blocks = (m + M_TILE - 1) / M_TILE;
    product_layer l = {a, weight, bias, total, y, lda, m, k, n, 1};
    if (blocks < 4 * threads)
        l.groups = smaller(threads, n / PANEL);
    compute(product_tile, &l, blocks * l.groups, threads);
}

/* ---- the nearest codewords ---- */

typedef struct {
    const float *x, *panels, *norms;
    float *best;    /* [parts][M] */
    int32_t *index; /* [parts][M] */
    size m, d, n, parts;
} nearest_layer;

#define SEARCH_TILE 126

/* The rows of one tile against the panels of one part: the largest score of each row, of equals the first. */
static void nearest_tile(const void *layer, size tile) {
    const nearest_layer *l = layer;
    float scores[SEARCH_TILE * PANEL], best[SEARCH_TILE * 8];
    int32_t where[SEARCH_TILE * 8];
    size part = tile % l->parts, m0 = tile / l->parts * SEARCH_TILE, m = smaller(SEARCH_TILE, l->m - m0);
    size first = l->n / PANEL * part / l->parts, last = l->n / PANEL * (part + 1) / l->parts;
    const ivec lanes = {0, 1, 2, 3, 4, 5, 6, 7};
    for (size p = first; p < last; p++) {
        panel_product(l->x + m0 * l->d, l->d, m, l->panels + p * l->d * PANEL, l->d, l->norms + p * PANEL, 0, scores,
                      PANEL);
        for (size r = 0; r < m; r++) {
            vec low = load(scores + r * PANEL), high = load(scores + r * PANEL + 8);
            ivec later = high > low, here = lanes + (int32_t)(p * PANEL);
            vec top = choose(later, high, low);
            ivec at = (later & (here + 8)) | (~later & here);
            if (p > first) {
                vec before = load(best + r * 8);
                ivec was;
                memcpy(&was, where + r * 8, 32);
                ivec better = top > before;
                top = choose(better, top, before);
                at = (better & at) | (~better & was);
            }
            store(best + r * 8, top);
            memcpy(where + r * 8, &at, 32);
        }
    }
    for (size r = 0; r < m; r++) {
        float top = best[r * 8];
        int32_t at = where[r * 8];
        for (int i = 1; i < 8; i++) {
            float v = best[r * 8 + i];
            int32_t w = where[r * 8 + i];
            if (v > top || (v == top && w < at))
                top = v, at = w;
        }
        l->best[part * l->m + m0 + r] = top;
        l->index[part * l->m + m0 + r] = at;
    }
}

/* All levels of a residual quantizer. residual [M, D] is written to; codes [levels, M]; best and index are room for
 * [threads, M]. tables [levels, N, D], panels [levels, N / 16, D, 16], norms [levels, N]: -|e|^2 / 2. */
EXPORT void mimi_nearest(float *residual, const float *tables, const float *panels, const float *norms, int64_t *codes,
                         float *best, int32_t *index, size m, size d, size n, size levels, size threads) {
    size parts = smaller(threads, n / PANEL);
    for (size level = 0; level < levels; level++) {
        nearest_layer l = {residual, panels + level * n * d, norms + level * n, best, index, m, d, n, parts};
        compute(nearest_tile, &l, (m + SEARCH_TILE - 1) / SEARCH_TILE * parts, threads);
        for (size r = 0; r < m; r++) {
            size of = 0;
            for (size p = 1; p < parts; p++) /* the parts are in the order of the codewords: of equals the first */
                if (best[p * m + r] > best[of * m + r])
                    of = p;
            int32_t code = index[of * m + r];
            codes[level * m + r] = code;
            const float *word = tables + (level * n + code) * d;
            if (level + 1 < levels)
                for (size i = 0; i < d; i++)
                    residual[r * d + i] -= word[i];
        }
    }
}

/* ---- short filters by fewer products ---- */

/* A convolution of blocks with `taps` = 2 or 3 taps, `hop` = 5 - taps outputs at a time by 4 products, where the plain
 * sum has 6: the minimal filters F(3, 2) and F(2, 3) (S. Winograd, Arithmetic Complexity of Computations, 1980), with
 * the points 0, 1, -1 and infinity. Of four blocks d0 .. d3 they take d0 - d2, d1 + d2, d2 - d1 and d1 - d3, each by
 * its own weights; a weight plane is as large as one tap's. */
typedef struct {
    const float *x, *state, *weight, *bias; /* weight [4][H / 16][width][16], bias [H] or none */
    const float *second, *second_bias;      /* of a residual block: [N / 16][H][16], [N] or none; else none */
    float *y;
    size batch, blocks, width, taps, hidden, hops, tiles; /* of one recording: blocks in x, tiles; hops of a tile */
    float power, unit;                                    /* unit 0: no ELU */
} filter_layer;

#define HOPS 24 /* of a tile at most */
#define MOST_WIDTH 640
#define COLUMNS 64 /* of the first product at a time */
#define MOST_HIDDEN 256 /* of a residual block */

INLINE void block_elu(const filter_layer *l, float *to, const float *from) {
    if (!l->unit) {
        memcpy(to, from, (size_t)l->width * 4);
        return;
    }
    for (size i = 0; i < l->width; i += 8)
        store(to + i, elu(load(from + i), l->power, l->unit));
}

/* Block `index` of what came before and what comes now. */
static void take_block(const filter_layer *l, size recording, size index, float *to) {
    size context = l->taps - 1, bytes = l->width * 4;
    if (index >= context + l->blocks)
        memset(to, 0, (size_t)bytes); /* behind the end, for outputs that nobody takes */
    else if (index >= context)
        block_elu(l, to, l->x + (recording * l->blocks + index - context) * l->width);
    else if (l->state)
        memcpy(to, l->state + (recording * context + index) * l->width, (size_t)bytes);
    else
        memset(to, 0, (size_t)bytes);
}

static void filter_tile(const void *layer, size index) {
    const filter_layer *l = layer;
    const size width = l->width, hop = 5 - l->taps, recording = index / l->tiles;
    const size first = index % l->tiles * l->hops * hop; /* output */
    const size outputs = smaller(l->hops * hop, l->blocks - first), hops = (outputs + hop - 1) / hop;
    float ring[4][MOST_WIDTH], planes[4 * HOPS * MOST_WIDTH], sums[4][HOPS * COLUMNS], middle[HOPS * 2 * MOST_HIDDEN];
    const float *d[4];
    for (size h = 0; h < hops; h++) {
        for (size i = h ? 4 - hop : 0; i < 4; i++)
            take_block(l, recording, first + h * hop + i, ring[(h * hop + i) % 4]);
        for (size i = 0; i < 4; i++)
            d[i] = ring[(h * hop + i) % 4];
        float *v = planes + h * width;
        const size plane = HOPS * width;
        for (size i = 0; i < width; i += 8) {
            vec d0 = load(d[0] + i), d1 = load(d[1] + i), d2 = load(d[2] + i), d3 = load(d[3] + i);
            store(v + i, d0 - d2);
            store(v + plane + i, d1 + d2);
            store(v + 2 * plane + i, d2 - d1);
            store(v + 3 * plane + i, d1 - d3);
        }
    }
    for (size c0 = 0; c0 < l->hidden; c0 += COLUMNS) {
        size columns = smaller(COLUMNS, l->hidden - c0);
        for (size p = 0; p < 4; p++)
            for (size c = 0; c < columns; c += PANEL)
                panel_product(planes + p * HOPS * width, width, hops,
                              l->weight + (p * l->hidden + c0 + c) * width, width, 0, 0, sums[p] + c, COLUMNS);
        for (size h = 0; h < hops; h++) {
            /* a hop may go beyond the end */
            for (size o = 0; o < smaller(hop, outputs - h * hop); o++) {
                float *to = l->second ? middle + (h * hop + o) * l->hidden + c0
                                      : l->y + (recording * l->blocks + first + h * hop + o) * l->hidden + c0;
                for (size c = 0; c < columns; c += 8) {
                    vec m1 = load(sums[1] + h * COLUMNS + c), m2 = load(sums[2] + h * COLUMNS + c), y;
                    if (o == 0)
                        y = load(sums[0] + h * COLUMNS + c) + (m1 + m2);
                    else if (o == 1)
                        y = m1 - m2;
                    else
                        y = m1 + m2;
                    if (o == hop - 1)
                        y -= load(sums[3] + h * COLUMNS + c);
                    if (l->bias)
                        y += load(l->bias + c0 + c);
                    store(to + c, l->second ? elu(y, l->power, l->unit) : y);
                }
            }
        }
    }
    if (!l->second)
        return;
    /* the second convolution has one tap; its result is added to what came in */
    const float *x = l->x + (recording * l->blocks + first) * width;
    float *y = l->y + (recording * l->blocks + first) * width;
    for (size c = 0; c < width; c += PANEL) {
        panel_product(middle, l->hidden, outputs, l->second + c * l->hidden, l->hidden, x + c, width, y + c, width);
        if (l->second_bias)
            for (size r = 0; r < outputs; r++)
                for (size i = c; i < c + PANEL; i += 8)
                    store(y + r * width + i, load(y + r * width + i) + load(l->second_bias + i));
    }
}

EXPORT void mimi_filter(const float *x, const float *state, const float *weight, const float *bias, const float *second,
                        const float *second_bias, float *y, float *new_state, size batch, size blocks, size valid,
                        size width, size taps, size hidden, float power, float unit, size threads) {
    const size hop = 5 - taps, all_hops = (blocks + hop - 1) / hop, share = (batch * all_hops + threads - 1) / threads;
    const size hops = smaller(HOPS, smaller(share, all_hops)), tiles = (all_hops + hops - 1) / hops;
    filter_layer l = {x,     state, weight, bias,   second, second_bias, y,     batch,
                      blocks, width, taps,   hidden, hops,   tiles,       power, unit};
    for (size b = 0; b < batch; b++)
        for (size i = 0; i < taps - 1; i++)
            take_block(&l, b, valid + i, new_state + (b * (taps - 1) + i) * width);
    compute(filter_tile, &l, batch * tiles, threads);
}
