/* Shared by every instruction set: the arguments of a convolution over rows of channels.
 *
 * A sequence is rows of channels, [rows, channels] fp32 in memory, as the hardware likes to read it: time is the
 * slow axis. A convolution of K taps is cut into `subs` filters of `r` taps, each done by Toom-Cook (Winograd)
 * minimal filtering with `points` products for `m` outputs; m = r = points = 1 is the plain sum.
 */
#ifndef VOICEWRIGHT_KERNELS_H
#define VOICEWRIGHT_KERNELS_H

enum { VW_PLAIN = 0, VW_LEAKY = 1, VW_SNAKE = 2 };

typedef struct {
    const float *x;       /* [rows_in, x_stride], the first cin columns are read; zeros beyond both ends */
    float *out;           /* [rows_out, out_stride] */
    const float *weight;  /* packed: [panel][point][subs * padded cin][panel width] */
    const unsigned short *half; /* or, in its place, taps in fp16: [panel][subs * padded cin][r][panel width], */
    const float *filter;        /* and the filter transform points x r that makes weights of them, block by block */
    const float *bias;    /* [padded cout] */
    const float *input;   /* points x points input transform */
    const float *output;  /* m x points output transform */
    const float *mean;    /* [cin] with var, gain, shift: AdaIN before the activation; or NULL */
    const float *var;
    const float *gain;
    const float *shift;
    const float *alpha;   /* [cin], for VW_SNAKE */
    const float *add1;    /* [rows_out, out_stride] added to the result, or NULL; may be `out` itself */
    const float *add2;
    float *stats;         /* [2, cout]: mean and variance of the result's rows stat_from..stat_to, or NULL */
    long long rows_in, rows_out, x_stride, out_stride, stat_from, stat_to;
    int cin, cout, center, dilation, m, r, points, subs, activation, threads;
    float slope, eps;
} vw_conv_args;

typedef struct {
    const float *a, *b, *c;     /* [rows, stride], summed; any may be NULL */
    const unsigned short *half; /* the same in bf16 */
    float *out;                 /* the sum, or NULL; may be a, b or c */
    float *stats;               /* [2, channels] of the rows stat_from..stat_to, or NULL */
    long long rows, stride, half_stride, stat_from, stat_to;
    int channels, threads;
} vw_stats_args;

#endif
