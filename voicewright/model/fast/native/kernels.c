/* Convolutions over rows of channels with everything around them in one pass: AdaIN and activation before, bias,
 * residuals and the statistics of the next AdaIN after. Plain C called through ctypes; each instruction set is
 * compiled in and chosen at run time. Vectors are GCC's and clang's own, so any processor of theirs will do.
 */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#if defined(__x86_64__)
#include <immintrin.h>

#define V 16
#define MR 14
#define NAME(f) f##_avx512
#define TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")))
#define HALVES(p) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i_u *)(p)))
#include "isa.inc.h"
#undef HALVES
#undef V
#undef MR
#undef NAME
#undef TARGET

#define V 8
#define MR 6
#define NAME(f) f##_avx2
#define TARGET __attribute__((target("avx2,fma,f16c")))
#define HALVES(p) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)(p)))
#include "isa.inc.h"
#undef HALVES
#undef V
#undef MR
#undef NAME
#undef TARGET
#endif

#define V 4
#define MR 6
#define NAME(f) f##_plain
#define TARGET
#include "isa.inc.h"
#undef V
#undef MR
#undef NAME
#undef TARGET

typedef void (*block_function)(const vw_conv_args *, long, long, long, int, int, float *, int, const float *, float *,
                               long *);
typedef void (*narrow_function)(const vw_conv_args *, long, long, float *, int, const float *);
typedef void (*sum_function)(const vw_stats_args *, long, long, float *, long *);

typedef void (*lstm_function)(const float *, long, const float *, const unsigned short *, float, float *, long, long,
                              int, int, float *);

typedef struct {
    int vector, rows;
    block_function block;
    narrow_function narrow;
    sum_function sum;
    lstm_function lstm;
} isa;

/* 0: any processor, 1: AVX2 with FMA and F16C, 2: AVX-512. */
static isa choose(int level) {
#if defined(__x86_64__)
    if (level == 2) return (isa){16, 14, block_avx512, narrow_rows_avx512, sum_rows_avx512, lstm_avx512};
    if (level == 1) return (isa){8, 6, block_avx2, narrow_rows_avx2, sum_rows_avx2, lstm_avx2};
#endif
    (void)level;
    return (isa){4, 6, block_plain, narrow_rows_plain, sum_rows_plain, lstm_plain};
}

/* Changes with every change of the structures; `library.py` refuses another. */
int vw_version(void) { return 4; }

/* The best instruction set of this processor. */
int vw_best(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        return 2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) return 1;
#endif
    return 0;
}

int vw_vector(int level) { return choose(level).vector; }

static int padded(int channels, int vector) { return (channels + vector - 1) / vector * vector; }

/* AdaIN as one scale and shift a channel, and Snake's constants: [4, cinp]. */
static void fill_table(const vw_conv_args *g, int cinp, float *table) {
    memset(table, 0, sizeof(float) * 4 * (size_t)cinp);
    for (int c = 0; c < g->cin; c++) {
        float scale = 1.0f, shift = 0.0f;
        if (g->mean) {
            scale = g->gain[c] / __builtin_sqrtf(g->var[c] + g->eps);
            shift = g->shift[c] - g->mean[c] * scale;
        }
        table[c] = scale;
        table[cinp + c] = shift;
        if (g->activation == VW_SNAKE) {
            table[2 * cinp + c] = g->alpha[c];
            table[3 * cinp + c] = 1.0f / g->alpha[c];
        }
    }
}

/* Blocks' sums about their own references -> mean and variance, in double. */
static void merge(const float *partial, const long *counts, long blocks, int channels, float *stats) {
    for (int c = 0; c < channels; c++) {
        double total = 0, mean = 0, spread = 0;
        for (long i = 0; i < blocks; i++) {
            if (counts[i] == 0) continue;
            const float *p = partial + i * 3 * channels + c;
            const double count = (double)counts[i], part = p[channels] / count, own = p[0] + part;
            const double inside = p[2 * channels] - p[channels] * part, delta = own - mean;
            spread += inside + delta * delta * total * count / (total + count);
            mean += delta * count / (total + count);
            total += count;
        }
        stats[c] = (float)mean;
        stats[channels + c] = total > 0 && spread > 0 ? (float)(spread / total) : 0.0f;
    }
}

/* 0, or 1 when memory ran out. */
int vw_conv(const vw_conv_args *g, int level) {
    const isa set = choose(level);
    const int cinp = padded(g->cin, set.vector), threads = g->threads > 0 ? g->threads : 1;
    long total = 0;
    for (int phase = 0; phase < g->dilation; phase++) {
        const long length = (g->rows_out - phase + g->dilation - 1) / g->dilation;
        if (length > 0) total += (length + g->m - 1) / g->m + g->subs - 1;
    }
    if (total == 0) return 0;
    /* As many rows as keep V in half a megabyte of cache, in whole register tiles, the same for every thread. */
    long limit = (512L << 10) / ((long)sizeof(float) * g->points * cinp) / set.rows * set.rows;
    if (limit < 2 * set.rows) limit = 2 * set.rows;
    if (limit > 8 * set.rows) limit = 8 * set.rows;
    long blocks = (total + limit - 1) / limit;
    /* So few rows that threads cannot share them evenly: they share the columns. */
    const int panels = (g->cout + 2 * set.vector - 1) / (2 * set.vector);
    const int parts = g->points == 1 && total < 4L * threads * set.rows && panels >= 2 * threads ? threads : 1;
    if (parts == 1) blocks = (blocks + threads - 1) / threads * threads;
    long size = (total + blocks - 1) / blocks;
    size = (size + set.rows - 1) / set.rows * set.rows;
    blocks = (total + size - 1) / size;

    const size_t scratch = (size_t)g->points * (size_t)cinp * (size_t)(1 + size + g->subs - 1) +
                           (size_t)g->points * (size_t)(size + set.rows) * 2 * (size_t)set.vector +
                           (g->half && g->points > 1 ? 4 * (size_t)g->subs * (size_t)cinp * (size_t)set.vector : 0);
    float *table = malloc(sizeof(float) * 4 * (size_t)cinp);
    float *all = malloc(sizeof(float) * scratch * (size_t)threads);
    float *partial = g->stats ? malloc(sizeof(float) * 3 * (size_t)g->cout * (size_t)blocks) : NULL;
    long *counts = calloc((size_t)blocks, sizeof(long));
    const int failed = !table || !all || !counts || (g->stats && !partial);
    if (!failed) {
        fill_table(g, cinp, table);
#ifdef _OPENMP
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
#endif
        for (long job = 0; job < blocks * parts; job++) {
            int thread = 0;
#ifdef _OPENMP
            thread = omp_get_thread_num();
#endif
            const long i = job / parts, part = job % parts;
            const long from = i * size, to = from + size < total ? from + size : total;
            const int begin = (int)(panels * part / parts), end = (int)(panels * (part + 1) / parts);
            set.block(g, from, to, total, begin, end, all + scratch * (size_t)thread, cinp, table,
                      partial ? partial + i * 3 * g->cout : NULL, counts + i);
        }
        if (g->stats) merge(partial, counts, blocks, g->cout, g->stats);
    }
    free(table);
    free(all);
    free(partial);
    free(counts);
    return failed;
}

/* AdaIN and activation of x [rows_in, cin], written as bf16 into `out`. 0, or 1 when memory ran out. */
int vw_narrow(const vw_conv_args *g, int level) {
    const isa set = choose(level);
    const int cinp = padded(g->cin, set.vector), threads = g->threads > 0 ? g->threads : 1;
    const long size = 64, blocks = (g->rows_in + size - 1) / size;
    float *table = malloc(sizeof(float) * (size_t)(4 + threads) * (size_t)cinp);
    if (!table) return 1;
    fill_table(g, cinp, table);
#ifdef _OPENMP
#pragma omp parallel for schedule(static) num_threads(threads)
#endif
    for (long i = 0; i < blocks; i++) {
        int thread = 0;
#ifdef _OPENMP
        thread = omp_get_thread_num();
#endif
        const long from = i * size, to = from + size < g->rows_in ? from + size : g->rows_in;
        set.narrow(g, from, to, table + (4 + thread) * (long)cinp, cinp, table);
    }
    free(table);
    return 0;
}

/* out = a + b + c + half with the statistics of the sum. 0, or 1 when memory ran out. */
int vw_stats(const vw_stats_args *g, int level) {
    const isa set = choose(level);
    const long size = 256, blocks = (g->rows + size - 1) / size;
    float *partial = malloc(sizeof(float) * 3 * (size_t)g->channels * (size_t)(blocks ? blocks : 1));
    long *counts = calloc((size_t)(blocks ? blocks : 1), sizeof(long));
    const int failed = !partial || !counts;
    if (!failed) {
#ifdef _OPENMP
#pragma omp parallel for schedule(static) num_threads(g->threads > 0 ? g->threads : 1)
#endif
        for (long i = 0; i < blocks; i++) {
            const long from = i * size, to = from + size < g->rows ? from + size : g->rows;
            set.sum(g, from, to, partial + i * 3 * g->channels, counts + i);
        }
        if (g->stats) merge(partial, counts, blocks, g->channels, g->stats);
    }
    free(partial);
    free(counts);
    return failed;
}

/* An LSTM of both directions. gates: [steps, 8 * hidden], what inputs and biases give, forward then backward; weight:
 * packed as [direction][panel][hidden][8 vectors], or NULL and `half`, the same in fp16 to be multiplied by `factor`;
 * out: [steps, 2 * hidden]. 0, or 1 when memory ran out. */
int vw_lstm(const float *gates, const float *weight, const unsigned short *half, float factor, float *out,
            long long steps, int hidden, int threads, int level) {
    const isa set = choose(level);
    float *scratch = malloc(sizeof(float) * 10 * (size_t)hidden);
    if (!scratch) return 1;
#ifdef _OPENMP
#pragma omp parallel for schedule(static, 1) num_threads(threads > 1 ? 2 : 1)
#endif
    for (int way = 0; way < 2; way++) {
        const long skipped = (long)way * 4 * hidden * hidden;
        set.lstm(gates + way * 4 * hidden, 8L * hidden, weight ? weight + skipped : NULL, half ? half + skipped : NULL,
                 factor, out + way * hidden, 2L * hidden, (long)steps, hidden, way, scratch + way * 5 * hidden);
    }
    free(scratch);
    return 0;
}
