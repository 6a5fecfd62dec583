/* The products and passes of Mimi on a CPU, each layer in one go through the cache.
 *
 * Loaded by mimi_gui/compiled.py. C with the vectors of GCC and Clang, for AVX2 and FMA; nothing of Python or torch is
 * included. All arrays are float32 and contiguous, time-major as in mimi_gui/kernels.py. Nothing is kept between two
 * calls and no memory is allocated: what a tile needs lies on the stack, 350 kB at most.
 *
 * The threads take tiles of the outputs; no sum is shared out among them, so what comes out does not depend on how many
 * they are.
 *
 * Words: a "block" is what a convolution moves by, `stride` rows of C channels, `width` numbers. A "panel" is 16
 * columns of a weight matrix: weights are [N / 16][K][16].
 */
#include "vectors.h"

typedef struct {
    const float *x;
    float *y;
    size numbers, x_step, y_step, tiles; /* of one recording; from one to the next; tiles of a recording */
    float power, unit;
} elu_layer;

#define ELU_TILE 16384

static void elu_tile(const void *layer, size index) {
    const elu_layer *l = layer;
    size b = index / l->tiles, from = index % l->tiles * ELU_TILE, n = smaller(ELU_TILE, l->numbers - from);
    elu(l->x + b * l->x_step + from, l->y + b * l->y_step + from, n, l->power, l->unit);
}

EXPORT void mimi_elu(const float *x, float *y, size batch, size numbers, size x_step, size y_step, float power,
                     float unit, size threads) {
    elu_layer l = {x, y, numbers, x_step, y_step, (numbers + ELU_TILE - 1) / ELU_TILE, power, unit};
    compute(elu_tile, &l, batch * l.tiles, threads);
}

/* ---- products ---- */

/* c[r] = bias + from[r] + sum over k of a[r][k] * panel[k], for `rows` <= 6 rows and 16 columns; `from` may be c. */
INLINE void micro(const int rows, const float *a, size lda, const float *panel, size k_size, const float *bias,
                  const float *from, size ldf, float *c, size ldc) {
    vec sum[ROWS][2];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
        sum[r][0] = sum[r][1] = all(0);
    for (size k = 0; k < k_size; k++) {
        vec b0 = load(panel + k * PANEL), b1 = load(panel + k * PANEL + 8);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            vec s = all(a[r * lda + k]);
            sum[r][0] += s * b0;
            sum[r][1] += s * b1;
        }
    }
    /* last, so that the sum of the products is rounded at its own size */
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
        for (int half = 0; half < 2; half++) {
            if (from)
                sum[r][half] += load(from + r * ldf + 8 * half);
            if (bias)
                sum[r][half] += load(bias + 8 * half);
            store(c + r * ldc + 8 * half, sum[r][half]);
        }
}

/* One panel for any number of rows. */
static void panel_product(const float *a, size lda, size rows, const float *panel, size k, const float *bias,
                          const float *from, size ldf, float *c, size ldc) {
    for (; rows >= ROWS; rows -= ROWS) {
        micro(ROWS, a, lda, panel, k, bias, from, ldf, c, ldc);
        a += ROWS * lda, c += ROWS * ldc, from = from ? from + ROWS * ldf : 0;
    }
    switch (rows) {
    case 5: micro(5, a, lda, panel, k, bias, from, ldf, c, ldc); break;
    case 4: micro(4, a, lda, panel, k, bias, from, ldf, c, ldc); break;
    case 3: micro(3, a, lda, panel, k, bias, from, ldf, c, ldc); break;
    case 2: micro(2, a, lda, panel, k, bias, from, ldf, c, ldc); break;
    case 1: micro(1, a, lda, panel, k, bias, from, ldf, c, ldc); break;
    }
}

typedef struct {
    const float *a, *weight, *bias, *total; /* total: what is added to, [M, N], or none */
    float *y;
    size lda, m, k, n, groups; /* groups: into which the panels are shared out */
} product_layer;

#define M_TILE 126
#define K_ALL 512 /* of a sum; longer ones in parts, whose panels stay in the first cache */
#define K_TILE 384

static void product_tile(const void *layer, size index) {
    const product_layer *l = layer;
    const size panels = l->n / PANEL, m0 = index / l->groups * M_TILE, m = smaller(M_TILE, l->m - m0);
    const size group = index % l->groups, last = panels * (group + 1) / l->groups;
    const size parts = l->k <= K_ALL ? 1 : (l->k + K_TILE - 1) / K_TILE;
    for (size part = 0; part < parts; part++) {
        size k0 = l->k * part / parts, k = l->k * (part + 1) / parts - k0;
        for (size p = panels * group / l->groups; p < last; p++) {
            float *y = l->y + m0 * l->n + p * PANEL;
            const float *from = k0 ? y : l->total ? l->total + m0 * l->n + p * PANEL : 0;
            const float *bias = k0 || !l->bias ? 0 : l->bias + p * PANEL;
            panel_product(l->a + m0 * l->lda + k0, l->lda, m, l->weight + (p * l->k + k0) * PANEL, k, bias, from, l->n,
                          y, l->n);
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
        panel_product(l->x + m0 * l->d, l->d, m, l->panels + p * l->d * PANEL, l->d, l->norms + p * PANEL, 0, 0, scores,
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

/* A convolution of blocks with `taps` taps, `hop` outputs at a time by hop + taps - 1 products instead of hop * taps: the
 * minimal filters (S. Winograd, Arithmetic Complexity of Computations, 1980). F(3, 2) and F(2, 3) have the points 0, 1,
 * -1 and infinity: of four blocks d0 .. d3 they take d0 - d2, d1 + d2, d2 - d1 and d1 - d3, each by its own weights.
 * F(2, 2) has 0, 1 and infinity: d0 - d1, d1 and d1 - d2. A weight plane is as large as one tap's. */
typedef struct {
    const float *x, *state, *weight, *bias; /* weight [planes][H / 16][width][16], bias [H] or none */
    const float *second, *second_bias;      /* of a residual block: [N / 16][H][16], [N] or none; else none */
    float *y;
    size blocks, width, taps, hop, hidden, hops, tiles; /* of one recording: blocks in x, tiles; hops of a tile */
    float power, unit;                                  /* unit 0: no ELU */
} filter_layer;

#define HOPS 48 /* of a tile at most; fewer of wide blocks */
#define PLANE_ROOM 15360 /* numbers of one plane: 24 hops of blocks of 640, the widest */
#define MIDDLE_ROOM 12288 /* of what a residual block has in the middle: 24 hops of 256, the most */
#define BLOCKS_ROOM 4096
#define COLUMNS 64 /* of the first product at a time */

/* `count` blocks from number `index` on, of what came before and what comes now, after the ELU; all of them or, of one,
 * n columns from c0 on. */
static void take_blocks(const filter_layer *l, size recording, size index, size count, size c0, size n, float *to) {
    const size context = l->taps - 1, end = context + l->blocks;
    if (index < context) {
        size before = smaller(count, context - index), bytes = before * n * 4;
        if (l->state)
            memcpy(to, l->state + (recording * context + index) * l->width + c0, (size_t)bytes);
        else
            memset(to, 0, (size_t)bytes);
        index += before, count -= before, to += before * n;
    }
    if (count > 0 && index < end) {
        const float *x = l->x + (recording * l->blocks + index - context) * l->width + c0;
        size now = smaller(count, end - index);
        if (l->unit)
            elu(x, to, now * n, l->power, l->unit);
        else
            memcpy(to, x, (size_t)(now * n * 4));
        count -= now, to += now * n;
    }
    if (count > 0) /* behind the end, for outputs that nobody takes */
        memset(to, 0, (size_t)(count * n * 4));
}

/* What the products of a hop take of its blocks d[0], d[1] ..., n columns. */
INLINE void planes_of(const size planes, const float *const *d, size n, float *v, size plane) {
    for (size i = 0; i < n; i += 8) {
        vec b0 = load(d[0] + i), b1 = load(d[1] + i), b2 = load(d[2] + i);
        if (planes == 3) {
            store(v + i, b0 - b1);
            store(v + plane + i, b1);
            store(v + 2 * plane + i, b1 - b2);
        } else {
            store(v + i, b0 - b2);
            store(v + plane + i, b1 + b2);
            store(v + 2 * plane + i, b2 - b1);
            store(v + 3 * plane + i, b1 - load(d[3] + i));
        }
    }
}

/* The outputs of a hop, 8 columns of each, from its sums. */
INLINE void outputs(const size hop, const size planes, const float *sums, size plane, const float *bias, vec *y) {
    vec m0 = load(sums), m1 = load(sums + plane), m2 = load(sums + 2 * plane), add = bias ? load(bias) : all(0);
    if (planes == 3) {
        y[0] = m1 + m0 + add;
        y[1] = m1 - m2 + add;
        return;
    }
    y[0] = m0 + (m1 + m2) + add;
    y[1] = m1 - m2 + add;
    if (hop == 3)
        y[2] = m1 + m2 + add;
    y[hop - 1] -= load(sums + 3 * plane);
}

INLINE void tile_of(const filter_layer *l, const size hop, const size taps, size index) {
    const size num_planes = hop + taps - 1, overlap = taps - 1;
    const size width = l->width, recording = index / l->tiles, first_hop = index % l->tiles * l->hops;
    const size first = first_hop * hop, rows = smaller(l->hops * hop, l->blocks - first), hops = (rows + hop - 1) / hop;
    float planes[4 * PLANE_ROOM], sums[4 * HOPS * COLUMNS], middle[MIDDLE_ROOM];
    float blocks[BLOCKS_ROOM], nobodys[COLUMNS]; /* nobodys: the last hop may go beyond the end */
    const size most = (BLOCKS_ROOM / width - overlap) / hop;
    for (size h = 0; h < hops; h += most) {
        size some = smaller(most, hops - h);
        if (h)
            memmove(blocks, blocks + most * hop * width, (size_t)(overlap * width * 4));
        else
            take_blocks(l, recording, first, overlap, 0, width, blocks);
        take_blocks(l, recording, first + h * hop + overlap, some * hop, 0, width, blocks + overlap * width);
        for (size i = 0; i < some; i++) {
            const float *d0 = blocks + i * hop * width, *d[4] = {d0, d0 + width, d0 + 2 * width, d0 + 3 * width};
            planes_of(num_planes, d, width, planes + (h + i) * width, PLANE_ROOM);
        }
    }
    float *out = l->second ? middle : l->y + (recording * l->blocks + first) * l->hidden;
    for (size c0 = 0; c0 < l->hidden; c0 += COLUMNS) {
        size columns = smaller(COLUMNS, l->hidden - c0);
        for (size p = 0; p < num_planes; p++)
            for (size c = 0; c < columns; c += PANEL)
                panel_product(planes + p * PLANE_ROOM, width, hops, l->weight + (p * l->hidden + c0 + c) * width,
                              width, 0, 0, 0, sums + p * HOPS * COLUMNS + c, COLUMNS);
        for (size h = 0; h < hops; h++) {
            const float *from = sums + h * COLUMNS;
            float *to[3];
            for (size o = 0; o < hop; o++)
                to[o] = h * hop + o < rows ? out + (h * hop + o) * l->hidden + c0 : nobodys;
            for (size c = 0; c < columns; c += 8) {
                vec y[3];
                outputs(hop, num_planes, from + c, HOPS * COLUMNS, l->bias ? l->bias + c0 + c : 0, y);
                for (size o = 0; o < hop; o++)
                    store(to[o] + c, y[o]);
            }
        }
    }
    if (!l->second)
        return;
    elu(middle, middle, rows * l->hidden, l->power, l->unit);
    /* the second convolution has one tap; its result is added to what came in */
    const float *x = l->x + (recording * l->blocks + first) * width;
    float *y = l->y + (recording * l->blocks + first) * width;
    for (size c = 0; c < width; c += PANEL)
        panel_product(middle, l->hidden, rows, l->second + c * l->hidden, l->hidden,
                      l->second_bias ? l->second_bias + c : 0, x + c, width, y + c, width);
}

static void filter_tile(const void *layer, size index) {
    const filter_layer *l = layer;
    if (l->taps == 3)
        tile_of(l, 2, 3, index);
    else if (l->hop == 3)
        tile_of(l, 3, 2, index);
    else
        tile_of(l, 2, 2, index);
}

EXPORT void mimi_filter(const float *x, const float *state, const float *weight, const float *bias, const float *second,
                        const float *second_bias, float *y, float *new_state, size batch, size blocks, size valid,
                        size width, size taps, size hop, size hidden, float power, float unit, size threads) {
    const size all_hops = (blocks + hop - 1) / hop;
    const size share = (batch * all_hops + threads - 1) / threads;
    const size room = smaller(PLANE_ROOM / width, second ? MIDDLE_ROOM / (hop * hidden) : HOPS);
    const size hops = all_hops ? smaller(smaller(HOPS, room), share) : 1, tiles = (all_hops + hops - 1) / hops;
    filter_layer l = {x,     state, weight, bias,   second, second_bias, y,     blocks,
                      width, taps,  hop,    hidden, hops,   tiles,       power, unit};
    for (size b = 0; b < batch; b++)
        take_blocks(&l, b, valid, taps - 1, 0, width, new_state + b * (taps - 1) * width);
    compute(filter_tile, &l, batch * tiles, threads);
}

/* ---- to one channel ---- */

#define ONE_ROWS 64      /* of a tile */
#define ONE_ROOM 16384   /* numbers that a tile and what came before it take at most */

/* A convolution to one channel with up to 16 taps: what each row gives to each tap is one narrow product, and an output
 * the sum of the shares that the rows before it and its own give. weight [width][16], one column a tap. */
static void one_tile(const void *layer, size index) {
    const filter_layer *l = layer;
    const size recording = index / l->tiles, first = index % l->tiles * ONE_ROWS;
    const size rows = smaller(ONE_ROWS, l->blocks - first), all_rows = rows + l->taps - 1;
    float blocks[ONE_ROOM], shares[(ONE_ROWS + PANEL - 1) * PANEL];
    take_blocks(l, recording, first, all_rows, 0, l->width, blocks);
    panel_product(blocks, l->width, all_rows, l->weight, l->width, 0, 0, 0, shares, PANEL);
    float *y = l->y + recording * l->blocks + first;
    for (size r = 0; r < rows; r++) {
        float sum = 0;
        for (size k = 0; k < l->taps; k++)
            sum += shares[(r + k) * PANEL + k];
        y[r] = l->bias ? sum + *l->bias : sum;
    }
}

EXPORT void mimi_to_one(const float *x, const float *state, const float *weight, const float *bias, float *y,
                        float *new_state, size batch, size blocks, size valid, size width, size taps, float power,
                        float unit, size threads) {
    filter_layer l = {x, state, weight, bias, 0, 0, y, blocks, width, taps, 1, 1, 0, 0, power, unit};
    l.tiles = (blocks + ONE_ROWS - 1) / ONE_ROWS;
    for (size b = 0; b < batch; b++)
        take_blocks(&l, b, valid, taps - 1, 0, width, new_state + b * (taps - 1) * width);
    compute(one_tile, &l, batch * l.tiles, threads);
}

/* F(2, 2) for blocks so wide that the weights do not stay in the cache: the sums of many hops at once, each of the three
 * as a product of its own. */
#define WIDE_TILE 256

typedef struct {
    filter_layer of;
    float *planes, *sums; /* room for [3][slab][width] and [3][slab][hidden] */
    size slab, all_hops, first, hops; /* at a time at most; of a recording; now, counted through all recordings */
} wide_layer;

static void planes_tile(const void *layer, size index) {
    const wide_layer *w = layer;
    const filter_layer *l = &w->of;
    const size c0 = index * WIDE_TILE, n = smaller(WIDE_TILE, l->width - c0);
    float ring[3][WIDE_TILE]; /* the last three blocks */
    for (size i = 0; i < w->hops; i++) {
        const size recording = (w->first + i) / w->all_hops, block = (w->first + i) % w->all_hops * 2;
        for (size k = i && block ? 1 : 0; k < 3; k++)
            take_blocks(l, recording, block + k, 1, c0, n, ring[(block + k) % 3]);
        const float *d[3] = {ring[block % 3], ring[(block + 1) % 3], ring[(block + 2) % 3]};
        planes_of(3, d, n, w->planes + i * l->width + c0, w->slab * l->width);
    }
}

static void outputs_tile(const void *layer, size index) {
    const wide_layer *w = layer;
    const filter_layer *l = &w->of;
    const size recording = (w->first + index) / w->all_hops, first = (w->first + index) % w->all_hops * 2;
    float *to = l->y + (recording * l->blocks + first) * l->hidden;
    for (size c = 0; c < l->hidden; c += 8) {
        vec y[3];
        outputs(2, 3, w->sums + index * l->hidden + c, w->slab * l->hidden, l->bias ? l->bias + c : 0, y);
        for (size o = 0; o < smaller(2, l->blocks - first); o++) /* the last hop may go beyond the end */
            store(to + o * l->hidden + c, y[o]);
    }
}

EXPORT void mimi_wide_filter(const float *x, const float *state, const float *weight, const float *bias, float *y,
                             float *new_state, float *planes, float *sums, size batch, size blocks, size valid,
                             size width, size hidden, size slab, float power, float unit, size threads) {
    const size all_hops = (blocks + 1) / 2;
    wide_layer w = {{x, state, weight, bias, 0, 0, y, blocks, width, 2, 2, hidden, 0, 0, power, unit},
                    planes, sums, slab, all_hops, 0, 0};
    for (size b = 0; b < batch; b++)
        take_blocks(&w.of, b, valid, 1, 0, width, new_state + b * width);
    for (; w.first < batch * all_hops; w.first += slab) {
        w.hops = smaller(slab, batch * all_hops - w.first);
        compute(planes_tile, &w, (width + WIDE_TILE - 1) / WIDE_TILE, threads);
        for (size p = 0; p < 3; p++)
            mimi_product(planes + p * slab * width, width, weight + p * hidden * width, 0, 0, sums + p * slab * hidden,
                         w.hops, width, hidden, threads);
        compute(outputs_tile, &w, w.hops, threads);
    }
}
