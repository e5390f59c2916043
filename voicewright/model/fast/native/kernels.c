/* Convolutions over rows of channels with everything around them in one pass: AdaIN and activation before, bias,
 * residuals and the statistics of the next AdaIN after. Plain C called through ctypes; each instruction set is
 * compiled in and chosen at run time. Vectors are GCC's and clang's own, so any processor of theirs will do.
 * Nothing but the C library is linked, so one file serves every Python; threads are the caller's (vw_share).
 */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

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

#if defined(__aarch64__)
#include <arm_neon.h>

#define V 4
#define MR 14 /* 28 sums, two vectors of weights and one of samples in 32 registers */
#define NAME(f) f##_neon
#define TARGET
#define HALVES(p) vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)))
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
    const char *name;
    int vector, rows;
    block_function block;
    narrow_function narrow;
    sum_function sum;
    lstm_function lstm;
} isa;

/* 0: any processor; 1: AVX2 with FMA and F16C, or NEON; 2: AVX-512. */
static isa choose(int level) {
#if defined(__x86_64__)
    if (level == 2) return (isa){"avx512", 16, 14, block_avx512, narrow_rows_avx512, sum_rows_avx512, lstm_avx512};
    if (level == 1) return (isa){"avx2", 8, 6, block_avx2, narrow_rows_avx2, sum_rows_avx2, lstm_avx2};
#elif defined(__aarch64__)
    if (level == 1) return (isa){"neon", 4, 14, block_neon, narrow_rows_neon, sum_rows_neon, lstm_neon};
#endif
    (void)level;
    return (isa){"plain", 4, 6, block_plain, narrow_rows_plain, sum_rows_plain, lstm_plain};
}

/* Changes with every change of the structures; `library.py` refuses another. */
int vw_version(void) { return 5; }

/* The best instruction set of this processor. */
int vw_best(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        return 2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) return 1;
#elif defined(__aarch64__)
    return 1; /* every one has NEON */
#endif
    return 0;
}

int vw_vector(int level) { return choose(level).vector; }
const char *vw_name(int level) { return choose(level).name; }

/* OpenMP's runtime as GCC calls it, GOMP_parallel(work, job, threads, flags); LLVM's and Intel's have it too. It is
 * handed over rather than linked: the one that torch has loaded already, so that both share one pool of threads. */
typedef void (*work_function)(void *);
typedef void (*share_function)(work_function, void *, unsigned, unsigned);
static share_function share;

void vw_share(void *function) { share = (share_function)function; }

/* Work that takes its tickets from a counter in the job, done by as many threads as there are. */
static void together(work_function work, void *job, int threads) {
    if (share && threads > 1) share(work, job, (unsigned)threads, 0);
    else work(job);
}

static long ticket(long *counter) { return __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED); }

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

typedef struct {
    const vw_conv_args *g;
    isa set;
    long total, size, blocks, parts, panels;
    size_t scratch;
    int cinp;
    const float *table;
    float *all, *partial;
    long *counts, next, team;
} conv_job;

static void conv_work(void *given) {
    conv_job *j = given;
    float *own = j->all + j->scratch * (size_t)ticket(&j->team);
    for (long job; (job = ticket(&j->next)) < j->blocks * j->parts;) {
        const long i = job / j->parts, part = job % j->parts;
        const long from = i * j->size, to = from + j->size < j->total ? from + j->size : j->total;
        const int begin = (int)(j->panels * part / j->parts), end = (int)(j->panels * (part + 1) / j->parts);
        j->set.block(j->g, from, to, j->total, begin, end, own, j->cinp, j->table,
                     j->partial ? j->partial + i * 3 * j->g->cout : NULL, j->counts + i);
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
        conv_job job = {g,       set,  total, size, blocks,  parts,  panels,
                        scratch, cinp, table, all,  partial, counts, 0, 0};
        together(conv_work, &job, threads);
        if (g->stats) merge(partial, counts, blocks, g->cout, g->stats);
    }
    free(table);
    free(all);
    free(partial);
    free(counts);
    return failed;
}

typedef struct {
    const vw_conv_args *g;
    isa set;
    long size, blocks;
    int cinp;
    float *table;
    long next, team;
} narrow_job;

static void narrow_work(void *given) {
    narrow_job *j = given;
    float *own = j->table + (4 + ticket(&j->team)) * (long)j->cinp;
    for (long i; (i = ticket(&j->next)) < j->blocks;) {
        const long from = i * j->size, to = from + j->size < j->g->rows_in ? from + j->size : j->g->rows_in;
        j->set.narrow(j->g, from, to, own, j->cinp, j->table);
    }
}

/* AdaIN and activation of x [rows_in, cin], written as bf16 into `out`. 0, or 1 when memory ran out. */
int vw_narrow(const vw_conv_args *g, int level) {
    const isa set = choose(level);
    const int cinp = padded(g->cin, set.vector), threads = g->threads > 0 ? g->threads : 1;
    const long size = 64, blocks = (g->rows_in + size - 1) / size;
    float *table = malloc(sizeof(float) * (size_t)(4 + threads) * (size_t)cinp);
    if (!table) return 1;
    fill_table(g, cinp, table);
    narrow_job job = {g, set, size, blocks, cinp, table, 0, 0};
    together(narrow_work, &job, threads);
    free(table);
    return 0;
}

typedef struct {
    const vw_stats_args *g;
    isa set;
    long size, blocks;
    float *partial;
    long *counts, next;
} stats_job;

static void stats_work(void *given) {
    stats_job *j = given;
    for (long i; (i = ticket(&j->next)) < j->blocks;) {
        const long from = i * j->size, to = from + j->size < j->g->rows ? from + j->size : j->g->rows;
        j->set.sum(j->g, from, to, j->partial + i * 3 * j->g->channels, j->counts + i);
    }
}

/* out = a + b + c + half with the statistics of the sum. 0, or 1 when memory ran out. */
int vw_stats(const vw_stats_args *g, int level) {
    const isa set = choose(level);
    const long size = 256, blocks = (g->rows + size - 1) / size;
    float *partial = malloc(sizeof(float) * 3 * (size_t)g->channels * (size_t)(blocks ? blocks : 1));
    long *counts = calloc((size_t)(blocks ? blocks : 1), sizeof(long));
    const int failed = !partial || !counts;
    if (!failed) {
        stats_job job = {g, set, size, blocks, partial, counts, 0};
        together(stats_work, &job, g->threads);
        if (g->stats) merge(partial, counts, blocks, g->channels, g->stats);
    }
    free(partial);
    free(counts);
    return failed;
}

typedef struct {
    isa set;
    const float *gates, *weight;
    const unsigned short *half;
    float factor, *out;
    long steps;
    int hidden;
    float *scratch;
    long next;
} lstm_job;

static void lstm_work(void *given) {
    lstm_job *j = given;
    const long hidden = j->hidden;
    for (long way; (way = ticket(&j->next)) < 2;) {
        const long skipped = way * 4 * hidden * hidden;
        j->set.lstm(j->gates + way * 4 * hidden, 8 * hidden, j->weight ? j->weight + skipped : NULL,
                    j->half ? j->half + skipped : NULL, j->factor, j->out + way * hidden, 2 * hidden, j->steps,
                    j->hidden, (int)way, j->scratch + way * 5 * hidden);
    }
}

/* An LSTM of both directions. gates: [steps, 8 * hidden], what inputs and biases give, forward then backward; weight:
 * packed as [direction][panel][hidden][8 vectors], or NULL and `half`, the same in fp16 to be multiplied by `factor`;
 * out: [steps, 2 * hidden]. 0, or 1 when memory ran out. */
int vw_lstm(const float *gates, const float *weight, const unsigned short *half, float factor, float *out,
            long long steps, int hidden, int threads, int level) {
    const isa set = choose(level);
    float *scratch = malloc(sizeof(float) * 10 * (size_t)hidden);
    if (!scratch) return 1;
    lstm_job job = {set, gates, weight, half, factor, out, (long)steps, hidden, scratch, 0};
    together(lstm_work, &job, threads > 1 ? 2 : 1);
    free(scratch);
    return 0;
}
