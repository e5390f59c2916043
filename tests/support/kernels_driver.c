/* One call of a kernel, for processors that are emulated and have no Python: numbers and arrays on standard input,
 * results on standard output, both as the processor has them (tests/model/test_kernels_elsewhere.py).
 *
 * In: int32 what (0 convolution, 1 bf16, 2 LSTM, 3 names), level; then each number and array in the order below, an
 * array as int64 bytes (-1: NULL) and its content.
 */
#include "../voicewright/model/fast/native/kernels.h"

#include <stdio.h>
#include <stdlib.h>

int vw_best(void);
const char *vw_name(int level);
int vw_vector(int level);
int vw_conv(const vw_conv_args *g, int level);
int vw_narrow(const vw_conv_args *g, int level);
int vw_lstm(const float *gates, const float *weight, const unsigned short *half, float factor, float *out,
            long long steps, int hidden, int threads, int level);

static void take(void *to, size_t bytes) {
    if (bytes && fread(to, bytes, 1, stdin) != 1) exit(3);
}

static int whole(void) {
    int number;
    take(&number, sizeof number);
    return number;
}

static float real(void) {
    float number;
    take(&number, sizeof number);
    return number;
}

static void *array(void) {
    long long bytes;
    take(&bytes, sizeof bytes);
    if (bytes < 0) return NULL;
    void *found = malloc((size_t)bytes + 1);
    if (!found) exit(4);
    take(found, (size_t)bytes);
    return found;
}

static void *room(size_t bytes) {
    void *found = calloc(bytes + 1, 1);
    if (!found) exit(4);
    return found;
}

static void give(const void *from, size_t bytes) {
    if (bytes && fwrite(from, bytes, 1, stdout) != 1) exit(5);
}

static int convolution(int what, int level) {
    vw_conv_args g = {0};
    g.rows_in = whole(), g.rows_out = whole(), g.cin = whole(), g.cout = whole(), g.center = whole();
    g.dilation = whole(), g.m = whole(), g.r = whole(), g.points = whole(), g.subs = whole();
    g.activation = whole(), g.stat_from = whole(), g.stat_to = whole();
    g.slope = real(), g.eps = real();
    g.x = array(), g.weight = array(), g.half = array(), g.filter = array(), g.bias = array();
    g.input = array(), g.output = array(), g.mean = array(), g.var = array(), g.gain = array();
    g.shift = array(), g.alpha = array(), g.add1 = array();
    g.x_stride = g.cin, g.out_stride = g.cout, g.threads = 2;
    const size_t cells = (size_t)g.rows_out * (size_t)g.cout;
    if (what == 1) {
        g.out = room(sizeof(short) * cells);
        if (vw_narrow(&g, level)) return 1;
        give(g.out, sizeof(short) * cells);
        return 0;
    }
    g.out = room(sizeof(float) * cells);
    g.stats = room(sizeof(float) * 2 * (size_t)g.cout);
    if (vw_conv(&g, level)) return 1;
    give(g.out, sizeof(float) * cells);
    give(g.stats, sizeof(float) * 2 * (size_t)g.cout);
    return 0;
}

static int recurrent(int level) {
    const int steps = whole(), hidden = whole();
    const float factor = real();
    const float *gates = array(), *weight = array();
    const unsigned short *half = array();
    const size_t bytes = sizeof(float) * 2 * (size_t)steps * (size_t)hidden;
    float *out = room(bytes);
    if (vw_lstm(gates, weight, half, factor, out, steps, hidden, 1, level)) return 1;
    give(out, bytes);
    return 0;
}

int main(void) {
    const int what = whole(), level = whole();
    if (what == 2) return recurrent(level);
    if (what < 2) return convolution(what, level);
    for (int i = 0; i <= vw_best(); i++) printf("%s %d\n", vw_name(i), vw_vector(i));
    return 0;
}
