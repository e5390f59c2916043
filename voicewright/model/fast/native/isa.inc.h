/* The kernels, once for each instruction set: the file that includes this defines
 *   V       floats in a vector            MR    rows of the register tile
 *   NAME(f) the function's name           TARGET  attribute of every function
 *   HALVES(p) a vector of floats from V fp16 numbers (where the instruction set has no such conversion, none)
 */
#define NR (2 * V)
#define INLINE static inline __attribute__((always_inline)) TARGET

typedef float NAME(vf) __attribute__((vector_size(4 * V), aligned(4), may_alias));
typedef int NAME(vi) __attribute__((vector_size(4 * V), aligned(4), may_alias));
typedef unsigned NAME(vu) __attribute__((vector_size(4 * V), aligned(4), may_alias));
typedef unsigned short NAME(vh) __attribute__((vector_size(2 * V), aligned(2), may_alias));
#define vf NAME(vf)
#define vi NAME(vi)

INLINE vf NAME(load)(const float *p) { return *(const vf *)p; }
INLINE void NAME(store)(float *p, vf v) { *(vf *)p = v; }
INLINE vf NAME(part)(const float *p, int count) {
    vf v = {0};
    memcpy(&v, p, sizeof(float) * (size_t)count);
    return v;
}

/* fp16 -> fp32, of finite numbers. */
INLINE vf NAME(widen_half)(const unsigned short *p) {
#ifdef HALVES
    return (vf)HALVES(p);
#else
    /* exponent and fraction at their places in a float, whose exponent is then 112 too small */
    NAME(vu) bits = __builtin_convertvector(*(const NAME(vh) *)p, NAME(vu));
    bits = (bits & 0x7fff) << 13 | (bits & 0x8000) << 16;
    return (vf)bits * 0x1p112f;
#endif
}

/* sin²(u). u is brought to [-pi/2, pi/2] by multiples of pi, whose sign the square forgets; then an odd polynomial
 * of degree 11. Absolute error below 3e-7 for |u| < 1000. */
INLINE vf NAME(sin2)(vf u) {
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    vf k = (u * 0.318309886183790672f + magic) - magic;
    vf r = u - k * 3.140625f;
    r = r - k * 9.67502593994140625e-4f;
    r = r - k * 1.50995798e-7f;
    vf s = r * r;
    vf p = s * -2.3868346521e-8f + 2.7525562e-6f;
    p = p * s + -1.98408743e-4f;
    p = p * s + 8.33333072e-3f;
    p = p * s + -1.66666667e-1f;
    p = r + r * s * p;
    return p * p;
}

INLINE vf NAME(activate)(vf x, vf scale, vf shift, vf alpha, vf inverse, int kind, float slope) {
    x = x * scale + shift;
    if (kind == VW_SNAKE) return x + NAME(sin2)(x * alpha) * inverse;
    if (kind == VW_LEAKY) {
        vf size = (vf)((vi)x & 0x7fffffff);
        return x * (0.5f + 0.5f * slope) + size * (0.5f - 0.5f * slope);
    }
    return x;
}

/* One row through AdaIN and the activation: `to` is padded to whole vectors. table: scale, shift, alpha, 1/alpha. */
INLINE void NAME(row_of)(const float *from, float *to, int cin, int cinp, const float *table, int kind,
                         float slope) {
    int c = 0;
    for (; c + V <= cin; c += V)
        NAME(store)(to + c, NAME(activate)(NAME(load)(from + c), NAME(load)(table + c), NAME(load)(table + cinp + c),
                                           NAME(load)(table + 2 * cinp + c), NAME(load)(table + 3 * cinp + c), kind,
                                           slope));
    if (c < cin)
        NAME(store)(to + c, NAME(activate)(NAME(part)(from + c, cin - c), NAME(load)(table + c),
                                           NAME(load)(table + cinp + c), NAME(load)(table + 2 * cinp + c),
                                           NAME(load)(table + 3 * cinp + c), kind, slope));
}

TARGET static void NAME(activate_row)(const float *from, float *to, int cin, int cinp, const float *table,
                                      int kind, float slope) {
    if (kind == VW_SNAKE) NAME(row_of)(from, to, cin, cinp, table, VW_SNAKE, slope);
    else if (kind == VW_LEAKY) NAME(row_of)(from, to, cin, cinp, table, VW_LEAKY, slope);
    else NAME(row_of)(from, to, cin, cinp, table, VW_PLAIN, slope);
}

/* C[rows, NR] = A[rows, K] B[K, NR]; rows of A are lda apart, and may overlap. half: B is fp16, to be multiplied by
 * `factor`. */
INLINE void NAME(tile)(const int rows, const int half, const float *a, long lda, const void *from, int depth,
                       float factor, float *c) {
    const float *b = from;
    const unsigned short *narrow = from;
    vf acc[MR][2];
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) acc[i][0] = acc[i][1] = (vf){0};
    for (int k = 0; k < depth; k++) {
        vf b0 = half ? NAME(widen_half)(narrow) : NAME(load)(b);
        vf b1 = half ? NAME(widen_half)(narrow + V) : NAME(load)(b + V);
        if (half) narrow += NR;
        else b += NR;
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            float s = a[i * lda + k];
            acc[i][0] += b0 * s;
            acc[i][1] += b1 * s;
        }
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        if (half) {
            acc[i][0] *= factor;
            acc[i][1] *= factor;
        }
        NAME(store)(c + i * NR, acc[i][0]);
        NAME(store)(c + i * NR + V, acc[i][1]);
    }
}

#define CASE(n) case n: NAME(tile)(n, half, a, lda, b, depth, factor, c); break;
INLINE void NAME(tiles)(int rows, const int half, const float *a, long lda, const void *b, int depth, float factor,
                        float *c) {
    for (; rows > 0; rows -= MR, a += MR * lda, c += MR * NR)
        switch (rows) {
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5)
#if MR > 6
            CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13)
#endif
            default: NAME(tile)(MR, half, a, lda, b, depth, factor, c);
        }
}
#undef CASE

TARGET static void NAME(product)(int rows, const float *a, long lda, const float *b, int depth, float *c) {
    NAME(tiles)(rows, 0, a, lda, b, depth, 1.0f, c);
}

TARGET static void NAME(product_half)(int rows, const float *a, long lda, const unsigned short *b, int depth,
                                      float factor, float *c) {
    NAME(tiles)(rows, 1, a, lda, b, depth, factor, c);
}

/* Filter transform of a panel for one pair of points +p, -p: taps [depth][r][NR] in fp16 -> two times [depth][NR].
 * w, v: the pair's rows of the transform, which are equal but for signs. */
INLINE void NAME(pair)(const int r, const unsigned short *taps, int depth, const float *w, const float *v, float *to) {
    const float sign = (w[0] > 0) == (v[0] > 0) ? 1.0f : -1.0f;
    float *other = to + (long)depth * NR;
    for (int k = 0; k < depth; k++, taps += r * NR, to += NR, other += NR)
#pragma GCC unroll 2
        for (int h = 0; h < NR; h += V) {
            vf even = {0}, odd = {0};
#pragma GCC unroll 8
            for (int i = 0; i < r; i++) {
                vf tap = NAME(widen_half)(taps + i * NR + h) * w[i];
                if (i % 2) odd += tap;
                else even += tap;
            }
            NAME(store)(to + h, even + odd);
            NAME(store)(other + h, (even - odd) * sign);
        }
}

TARGET static void NAME(pair_any)(int r, const unsigned short *taps, int depth, const float *w, const float *v,
                                  float *to) {
    switch (r) {
        case 3: NAME(pair)(3, taps, depth, w, v, to); break;
        case 4: NAME(pair)(4, taps, depth, w, v, to); break;
        case 6: NAME(pair)(6, taps, depth, w, v, to); break;
        default: NAME(pair)(7, taps, depth, w, v, to); break;
    }
}

/* The same for the points 0 and infinity, which take one tap alone. */
TARGET static void NAME(lone)(int r, const unsigned short *taps, int depth, float w, float *to) {
    for (int k = 0; k < depth; k++, taps += r * NR, to += NR) {
        NAME(store)(to, NAME(widen_half)(taps) * w);
        NAME(store)(to + V, NAME(widen_half)(taps + V) * w);
    }
}

/* All points' products of one panel whose taps are fp16; `wide` holds two points' weights. */
TARGET static void NAME(products_half)(const vw_conv_args *g, int rows, const float *v, long step, long lda, int panel,
                                       int depth, float *wide, float *c, long apart) {
    const int n = g->points, r = g->r;
    const unsigned short *taps = g->half + (long)panel * depth * r * NR;
    if (n == 1) {
        NAME(product_half)(rows, v, lda, taps, depth, g->filter[0], c);
        return;
    }
    NAME(lone)(r, taps, depth, g->filter[0], wide);
    NAME(product)(rows, v, lda, wide, depth, c);
    for (int p = 1; p + 1 < n; p += 2) {
        NAME(pair_any)(r, taps, depth, g->filter + p * r, g->filter + (p + 1) * r, wide);
        NAME(product)(rows, v + p * step, lda, wide, depth, c + p * apart);
        NAME(product)(rows, v + (p + 1) * step, lda, wide + (long)depth * NR, depth, c + (p + 1) * apart);
    }
    if (n % 2 == 0) {
        NAME(lone)(r, taps + (r - 1) * NR, depth, g->filter[n * r - 1], wide);
        NAME(product)(rows, v + (n - 1) * step, lda, wide, depth, c + (n - 1) * apart);
    }
}

/* Input transform of one tile: n activated rows -> n rows of V, `step` apart. Points come as 0, +p, -p, ..., and
 * infinity when n is even, so rows 2q+1 and 2q+2 share their even and their odd part. */
INLINE void NAME(transform)(const int n, float *const *rows, const float *t, float *to, long step, int cinp) {
    for (int c = 0; c < cinp; c += V) {
        vf d[12];
#pragma GCC unroll 12
        for (int i = 0; i < n; i++) d[i] = NAME(load)(rows[i] + c);
        vf zero = {0};
#pragma GCC unroll 12
        for (int i = 0; i < n; i += 2) zero += d[i] * t[i];
        NAME(store)(to + c, zero);
        for (int q = 1; q + 1 < n; q += 2) {
            const float *w = t + q * n;
            vf even = {0}, odd = {0};
#pragma GCC unroll 12
            for (int i = 0; i < n; i += 2) even += d[i] * w[i];
#pragma GCC unroll 12
            for (int i = 1; i < n; i += 2) odd += d[i] * w[i];
            NAME(store)(to + q * step + c, even + odd);
            NAME(store)(to + (q + 1) * step + c, even - odd);
        }
        if (n % 2 == 0) {
            vf last = {0};
            const float *w = t + (n - 1) * n;
#pragma GCC unroll 12
            for (int i = 1; i < n; i += 2) last += d[i] * w[i];
            NAME(store)(to + (n - 1) * step + c, last);
        }
    }
}

TARGET static void NAME(transform_any)(int n, float *const *rows, const float *t, float *to, long step, int cinp) {
    switch (n) {
        case 1: memcpy(to, rows[0], sizeof(float) * (size_t)cinp); break;
        case 6: NAME(transform)(6, rows, t, to, step, cinp); break;
        case 7: NAME(transform)(7, rows, t, to, step, cinp); break;
        case 8: NAME(transform)(8, rows, t, to, step, cinp); break;
        case 9: NAME(transform)(9, rows, t, to, step, cinp); break;
        case 10: NAME(transform)(10, rows, t, to, step, cinp); break;
        case 11: NAME(transform)(11, rows, t, to, step, cinp); break;
        default: NAME(transform)(12, rows, t, to, step, cinp); break;
    }
}

/* Where a row of V belongs: its phase (of the dilation) and its number there. */
typedef struct { int phase; long tile, tiles; } NAME(place);

INLINE NAME(place) NAME(locate)(const vw_conv_args *g, long row) {
    NAME(place) p = {0, row, 0};
    for (;; p.phase++) {
        long length = (g->rows_out - p.phase + g->dilation - 1) / g->dilation;
        p.tiles = length > 0 ? (length + g->m - 1) / g->m : 0;
        long own = p.tiles ? p.tiles + g->subs - 1 : 0;
        if (p.tile < own || p.phase + 1 == g->dilation) return p;
        p.tile -= own;
    }
}

/* Rows of V from..to of the whole layer, transformed into `v` ([point][rows][cinp]). */
TARGET static void NAME(fill)(const vw_conv_args *g, long from, long to, float *v, float *ring, int cinp,
                              const float *table) {
    const int n = g->points;
    const long step = (to - from) * cinp;
    NAME(place) at = NAME(locate)(g, from);
    long held = -1; /* the first input index not in the ring yet; -1: nothing is */
    for (long row = from; row < to; row++) {
        if (at.tile >= at.tiles + g->subs - 1) {
            at = NAME(locate)(g, row);
            held = -1;
        }
        const long first = at.tile * g->m - g->center;
        float *rows[12];
        for (int i = 0; i < n; i++) {
            const long index = first + i;
            rows[i] = ring + ((index % n + n) % n) * cinp;
            if (held >= 0 && index < held) continue;
            const long source = index * g->dilation + at.phase;
            if (index < 0 || source >= g->rows_in) memset(rows[i], 0, sizeof(float) * (size_t)cinp);
            else
                NAME(activate_row)(g->x + source * g->x_stride, rows[i], g->cin, cinp, table, g->activation,
                                   g->slope);
        }
        held = first + n;
        NAME(transform_any)(n, rows, g->input, v + (row - from) * cinp, step, cinp);
        at.tile++;
    }
}

/* Sums for the statistics of one panel in one block, taken about `ref` so that a large mean costs no digits. */
typedef struct { vf ref[2], sum[2], square[2]; long count[2]; } NAME(sums);

/* One tile of a panel: m output rows of `width` columns from the products, plus bias and what is added. */
INLINE void NAME(finish)(const int m, const int n, const vw_conv_args *g, const float *products, long step, long t0,
                         int column, int width, NAME(sums) *sums) {
    for (int h = 0; h < 2; h++) {
        const int c = column + h * V, left = width - h * V < V ? width - h * V : V;
        if (left <= 0) break;
        vf p[12];
#pragma GCC unroll 12
        for (int i = 0; i < n; i++) p[i] = NAME(load)(products + i * step + h * V);
        if (n > 1) {
            /* sums and differences of the products of +p and -p: even rows need one, odd rows the other */
#pragma GCC unroll 12
            for (int i = 1; i + 1 < n; i += 2) {
                vf a = p[i], b = p[i + 1];
                p[i] = a + b;
                p[i + 1] = a - b;
            }
        }
        const vf bias = NAME(load)(g->bias + c);
#pragma GCC unroll 8
        for (int o = 0; o < m; o++) {
            const long t = t0 + (long)o * g->dilation;
            if (t >= g->rows_out) break;
            const float *w = g->output + o * n;
            vf y = bias;
            if (n == 1) y += p[0];
            else {
                if (o == 0) y += p[0];
#pragma GCC unroll 12
                for (int i = 1; i + 1 < n; i += 2) y += p[i + (o & 1)] * w[i];
                if (n % 2 == 0 && o == m - 1) y += p[n - 1];
            }
            const long at = t * g->out_stride + c;
            if (left == V) {
                if (g->add1) y += NAME(load)(g->add1 + at);
                if (g->add2) y += NAME(load)(g->add2 + at);
                NAME(store)(g->out + at, y);
            } else {
                if (g->add1) y += NAME(part)(g->add1 + at, left);
                if (g->add2) y += NAME(part)(g->add2 + at, left);
                memcpy(g->out + at, &y, sizeof(float) * (size_t)left);
            }
            if (g->stats && t >= g->stat_from && t < g->stat_to) {
                if (sums->count[h]++ == 0) sums->ref[h] = y;
                vf d = y - sums->ref[h];
                sums->sum[h] += d;
                sums->square[h] += d * d;
            }
        }
    }
}

#define SHAPE(m, n) NAME(finish)(m, n, g, products, step, t0, column, width, sums)
TARGET static void NAME(finish_any)(const vw_conv_args *g, const float *products, long step, long t0, int column,
                                    int width, NAME(sums) *sums) {
    switch (g->m * 16 + g->points) {
        case 1 * 16 + 1: SHAPE(1, 1); break;
        case 4 * 16 + 6: SHAPE(4, 6); break;
        case 6 * 16 + 8: SHAPE(6, 8); break;
        case 4 * 16 + 7: SHAPE(4, 7); break;
        case 5 * 16 + 9: SHAPE(5, 9); break;
        case 4 * 16 + 10: SHAPE(4, 10); break;
        case 6 * 16 + 11: SHAPE(6, 11); break;
        default: SHAPE(6, 12); break;
    }
}
#undef SHAPE

/* Output rows from..to (in rows of V) of panels begin..end. partial: [3, cout] reference, sum, sum of squares; count. */
TARGET static void NAME(block)(const vw_conv_args *g, long from, long to, long total, int begin, int end,
                               float *scratch, int cinp, const float *table, float *partial, long *count) {
    const int n = g->points, depth = g->subs * cinp;
    const long rows = to - from, filled = (to + g->subs - 1 < total ? to + g->subs - 1 : total) - from;
    float *ring = scratch, *v = ring + (long)n * cinp, *products = v + n * (rows + g->subs - 1) * cinp;
    float *wide = products + n * (rows + MR) * NR;
    NAME(fill)(g, from, from + filled, v, ring, cinp, table);
    long counted = 0;
    for (int panel = begin; panel < end; panel++) {
        const int column = panel * NR, width = g->cout - column < NR ? g->cout - column : NR;
        const float *weight = g->half ? 0 : g->weight + (long)panel * n * depth * NR;
        /* the last rows of the layer have no rows of V after them; they are no outputs either */
        const long useful = filled - (g->subs - 1) < rows ? filled - (g->subs - 1) : rows;
        if (g->half)
            NAME(products_half)(g, (int)useful, v, filled * cinp, cinp, panel, depth, wide, products, rows * NR);
        else
            for (int p = 0; p < n; p++)
                NAME(product)((int)useful, v + p * filled * cinp, cinp, weight + (long)p * depth * NR, depth,
                              products + p * rows * NR);
        NAME(sums) sums;
        memset(&sums, 0, sizeof sums);
        NAME(place) at = NAME(locate)(g, from);
        for (long row = 0; row < useful; row++) {
            if (at.tile >= at.tiles + g->subs - 1) at = NAME(locate)(g, from + row);
            if (at.tile < at.tiles)
                NAME(finish_any)(g, products + row * NR, rows * NR, at.tile * g->m * g->dilation + at.phase, column,
                                 width, &sums);
            at.tile++;
        }
        if (partial) {
            memcpy(partial + column, &sums.ref, sizeof(float) * (size_t)width);
            memcpy(partial + g->cout + column, &sums.sum, sizeof(float) * (size_t)width);
            memcpy(partial + 2 * g->cout + column, &sums.square, sizeof(float) * (size_t)width);
            counted = sums.count[0];
        }
    }
    if (begin == 0) *count = counted; /* the same for all panels */
}

/* bf16 is the upper half of a float. */
INLINE vf NAME(widen)(const unsigned short *from, int count) {
    NAME(vh) narrow = {0};
    memcpy(&narrow, from, sizeof(short) * (size_t)count);
    NAME(vu) wide = __builtin_convertvector(narrow, NAME(vu)) << 16;
    return (vf)wide;
}

/* Rounded to bf16, to the nearest, ties to even. */
INLINE void NAME(narrow)(const float *from, unsigned short *to, const int count) {
    NAME(vu) bits = (NAME(vu))NAME(load)(from);
    bits = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    NAME(vh) narrow = __builtin_convertvector(bits, NAME(vh));
    memcpy(to, &narrow, sizeof(short) * (size_t)count);
}

/* Rows through AdaIN and the activation, in bf16. */
TARGET static void NAME(narrow_rows)(const vw_conv_args *g, long from, long to, float *row, int cinp,
                                     const float *table) {
    for (long t = from; t < to; t++) {
        unsigned short *out = (unsigned short *)g->out + t * g->out_stride;
        NAME(activate_row)(g->x + t * g->x_stride, row, g->cin, cinp, table, g->activation, g->slope);
        int c = 0;
        for (; c + V <= g->cin; c += V) NAME(narrow)(row + c, out + c, V);
        if (c < g->cin) NAME(narrow)(row + c, out + c, g->cin - c);
    }
}

/* Columns c..c+left of one row; `left` is a constant wherever whole vectors are summed. */
INLINE void NAME(sum_part)(const vw_stats_args *g, long t, int c, const int left, int counts, int first,
                           float *partial) {
    const float *given[3] = {g->a, g->b, g->c};
    const size_t bytes = sizeof(float) * (size_t)left;
    vf y = {0};
    for (int i = 0; i < 3; i++)
        if (given[i]) y += NAME(part)(given[i] + t * g->stride + c, left);
    if (g->half) y += NAME(widen)(g->half + t * g->half_stride + c, left);
    if (g->out) memcpy(g->out + t * g->stride + c, &y, bytes);
    if (!counts) return;
    float *ref = partial + c, *sum = ref + g->channels, *square = sum + g->channels;
    if (first) memcpy(ref, &y, bytes);
    vf d = y - NAME(part)(ref, left), s = NAME(part)(sum, left) + d, q = NAME(part)(square, left) + d * d;
    memcpy(sum, &s, bytes);
    memcpy(square, &q, bytes);
}

TARGET static void NAME(sum_rows)(const vw_stats_args *g, long from, long to, float *partial, long *count) {
    long low = from > g->stat_from ? from : g->stat_from, high = to < g->stat_to ? to : g->stat_to;
    *count = high > low ? high - low : 0;
    memset(partial, 0, sizeof(float) * 3 * (size_t)g->channels);
    for (long t = from; t < to; t++) {
        const int counts = g->stats && t >= low && t < high;
        int c = 0;
        for (; c + V <= g->channels; c += V) NAME(sum_part)(g, t, c, V, counts, t == low, partial);
        if (c < g->channels) NAME(sum_part)(g, t, c, g->channels - c, counts, t == low, partial);
    }
}

/* exp(x) to 2e-7 of itself, for |x| < 87: powers of two times a polynomial of degree 6. */
INLINE vf NAME(exponential)(vf x) {
    const float magic = 12582912.0f;
    vf k = (x * 1.44269504088896341f + magic) - magic;
    vf r = x - k * 0.693359375f;
    r = r + k * 2.12194440e-4f;
    vf p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    vi power = (__builtin_convertvector(k, vi) + 127) << 23;
    return p * (vf)power;
}

INLINE vf NAME(bounded)(vf x, float most) {
    const vf zero = {0}, high = zero + most, low = zero - most;
    vi over = x > high, under = x < low;
    return (vf)(((vi)high & over) | ((vi)low & under) | ((vi)x & ~over & ~under));
}

INLINE vf NAME(sigmoid)(vf x) { return 1.0f / (1.0f + NAME(exponential)(-NAME(bounded)(x, 80.0f))); }
INLINE vf NAME(tangent)(vf x) {
    vf e = NAME(exponential)(NAME(bounded)(x, 40.0f) * 2.0f);
    return (e - 1.0f) / (e + 1.0f);
}

#define WIDE (8 * V)
/* One direction of an LSTM over what its inputs gave already. weight: [panel][hidden][WIDE], or the same in fp16 as
 * `narrow`, to be multiplied by `factor`; scratch: 5 * hidden. */
INLINE void NAME(recur)(const int half, const float *gates, long stride, const float *weight,
                        const unsigned short *narrow, float factor, float *out, long out_stride, long steps,
                        int hidden, int backward, float *scratch) {
    float *cell = scratch + 4 * hidden;
    memset(cell, 0, sizeof(float) * (size_t)hidden);
    for (long s = 0; s < steps; s++) {
        const long t = backward ? steps - 1 - s : s;
        const float *now = gates + t * stride, *before = out + (backward ? t + 1 : t - 1) * out_stride;
        for (int panel = 0; panel < 4 * hidden / WIDE; panel++) {
            vf acc[8];
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) acc[i] = NAME(load)(now + panel * WIDE + i * V);
            const long first = (long)panel * hidden * WIDE;
            for (int k = 0; s > 0 && k < hidden; k++) {
                const float h = half ? before[k] * factor : before[k];
                const long at = first + (long)k * WIDE;
#pragma GCC unroll 8
                for (int i = 0; i < 8; i++)
                    acc[i] += (half ? NAME(widen_half)(narrow + at + i * V) : NAME(load)(weight + at + i * V)) * h;
            }
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) NAME(store)(scratch + panel * WIDE + i * V, acc[i]);
        }
        for (int c = 0; c < hidden; c += V) { /* torch's order: input, forget, cell, output */
            vf in = NAME(sigmoid)(NAME(load)(scratch + c)), keep = NAME(sigmoid)(NAME(load)(scratch + hidden + c));
            vf fresh = NAME(tangent)(NAME(load)(scratch + 2 * hidden + c));
            vf open = NAME(sigmoid)(NAME(load)(scratch + 3 * hidden + c));
            vf held = keep * NAME(load)(cell + c) + in * fresh;
            NAME(store)(cell + c, held);
            NAME(store)(out + t * out_stride + c, open * NAME(tangent)(held));
        }
    }
}
#undef WIDE

TARGET static void NAME(lstm)(const float *gates, long stride, const float *weight, const unsigned short *narrow,
                              float factor, float *out, long out_stride, long steps, int hidden, int backward,
                              float *scratch) {
    if (narrow)
        NAME(recur)(1, gates, stride, 0, narrow, factor, out, out_stride, steps, hidden, backward, scratch);
    else NAME(recur)(0, gates, stride, weight, 0, 1.0f, out, out_stride, steps, hidden, backward, scratch);
}

#undef vf
#undef vi
#undef NR
#undef INLINE
