/* SPDX-License-Identifier: Apache-2.0
 * Values from levels: 8.5, and spatial prediction, 8.7.1. Every operation on
 * doubles here is one of binary64; compile without contraction (R8.5-1). */
#include "omc.h"

#include <math.h>
#include <string.h>

static uint64_t bits_of(double v)
{
    uint64_t b;
    memcpy(&b, &v, sizeof b);
    return b;
}

static double double_of(uint64_t b)
{
    double v;
    memcpy(&v, &b, sizeof v);
    return v;
}

/* ---- 8.5.2 ---- */

static uint64_t round_to_float(const ElementType *t, double v)
{
    uint64_t b = bits_of(v), f = b & mask_bits(52), q, word, sign = (uint64_t)1 << (t->bits - 1);
    int64_t E = (int64_t)(b >> 52 & 2047), u, h;
    int negative = (int)(b >> 63);
    if (t->bits == 64)
        return b;
    f += E ? (uint64_t)1 << 52 : 0;
    if (f == 0)
        return negative && !t->fnuz ? sign : 0;
    u = max64(max64(E, 1) - 1023, 1 - t->bias);
    h = u - t->M - (max64(E, 1) - 1075);
    if (h > 60)
        h = 60;
    q = (f + ((uint64_t)1 << (h - 1)) - 1 + (f >> h & 1)) >> h;
    word = q + ((uint64_t)(u - (1 - t->bias)) << t->M);
    if (word > t->largest)
        fail("OVERFLOW"); /* R8.5-3 */
    if (negative && !(word == 0 && t->fnuz))
        word += sign;
    return word;
}

static uint64_t round_to_integer(const ElementType *t, double v)
{
    double r = nearbyint(v), low = 0, high; /* low <= r < high */
    int bits = !strcmp(t->name, "bool") ? 1 : t->bits;
    high = ldexp(1.0, t->kind == 'i' ? bits - 1 : bits);
    if (t->kind == 'i')
        low = -high;
    if (!(r >= low && r < high))
        fail("OVERFLOW"); /* R8.5-4 */
    return (r < 0 ? (uint64_t)(int64_t)r : (uint64_t)r) & mask_bits(t->bits);
}

uint64_t round_to_type(const ElementType *t, double v)
{
    if (!isfinite(v))
        fail("OVERFLOW"); /* R8.5-2 */
    return t->kind == 'f' ? round_to_float(t, v) : round_to_integer(t, v);
}

double word_value(const ElementType *t, uint64_t w, int *finite)
{
    uint64_t sign, a, e, f;
    double v;
    *finite = 1;
    if (t->kind == 'u')
        return (double)w;
    if (t->kind == 'i')
        return (double)word_signed(t, w);
    sign = (uint64_t)1 << (t->bits - 1);
    a = w & (sign - 1);
    if (a > t->largest || (t->fnuz && w == sign)) {
        *finite = 0;
        return 0;
    }
    if (t->bits == 64)
        return double_of(w);
    e = a >> t->M;
    f = (a & mask_bits(t->M)) + (e ? (uint64_t)1 << t->M : 0);
    v = ldexp((double)f, (int)max64((int64_t)e, 1) - t->bias - t->M);
    return w & sign ? -v : v;
}

/* p' of 8.5.3: +0 for a NaN or an infinity */
double prediction_value(const ElementType *t, uint64_t w)
{
    int finite;
    return word_value(t, w, &finite);
}

/* ---- 8.5.4, 8.5.9, 8.5.10: indices, in place of levels ---- */

static void check_width(const Component *c, int64_t n)
{
    int64_t most = (int64_t)1 << (c->fixed_point_width - 1);
    if (n < -most || n >= most)
        fail("OUT_OF_RANGE"); /* R8.5-10 */
}

static uint64_t entry_of(const Component *c, int64_t level)
{
    int64_t i = level + (int64_t)c->zero_index;
    if (i < 0 || (uint64_t)i >= c->codebook_size)
        fail("OUT_OF_RANGE"); /* R8.5-7, R8.5-11 */
    return (uint64_t)i;
}

void levels_to_indices(const Component *c, int64_t *level, uint64_t count)
{
    uint64_t i;
    int states[8] = {0}, one = 0;
    for (i = 0; i < count; i++) {
        int64_t k = level[i];
        int *s = c->entropy_mode == M_BINS ? &states[i % 8] : &one;
        if (c->entropy_mode == M_BINS && i % CHUNK_ELEMENTS < 8)
            *s = 0;
        if (c->quantiser == Q_INTEGER_CODEBOOK) {
            level[i] = c->codebook_integers[entry_of(c, k)];
        } else if (c->quantiser == Q_FIXED_POINT) {
            check_width(c, k);
        } else if (c->states) {
            level[i] = 2 * k - sign64(k) * (*s & 1);
            *s = trellis_step(c->states, *s, k);
        }
    }
}

/* 8.7.1, rows of one segment from row0 of the matrix on */
static int64_t spatial_prediction(int predictor, int64_t L, int64_t U, int64_t UL)
{
    int64_t sum = L + U - UL;
    switch (predictor) {
    case 0: return L;
    case 1: return U;
    case 2: return max64(min64(L, U), min64(max64(L, U), sum));
    case 3: return sum;
    default: return sar(L + U, 1);
    }
}

void spatial_indices(const Component *c, uint64_t row0, uint64_t rows, int64_t *level)
{
    uint64_t i, j, cols = c->cols;
    for (i = 0; i < rows; i++)
        for (j = 0; j < cols; j++) {
            int64_t *at = level + i * cols + j;
            int top = i == 0 || (row0 + i) % c->plane_rows == 0;
            int64_t L = j ? at[-1] : 0, U = top ? 0 : *(at - cols), UL = j && !top ? *(at - cols - 1) : 0;
            *at += spatial_prediction(c->spatial, L, U, UL);
            if (*at < -((int64_t)1 << 31) || *at >= (int64_t)1 << 31)
                fail("OUT_OF_RANGE"); /* R8.7.1-1 */
            if (c->quantiser == Q_FIXED_POINT)
                check_width(c, *at);
        }
}

/* ---- values ---- */

double step_of(const Component *c) { return ldexp((double)c->mantissa, (int)c->exponent); }

static double power_of_ten(int p)
{
    static const double ten[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    return ten[p];
}

/* 8.5.7 */
static void grid(const Component *c, uint64_t row0, uint64_t rows, uint64_t *values)
{
    const ElementType *half = element_type(T_FLOAT16), *single = element_type(T_FLOAT32);
    uint64_t i, j;
    for (i = 0; i < rows; i++) {
        int finite;
        double s = word_value(single, c->grid_scales[row0 + i], &finite);
        if (!finite)
            fail("OVERFLOW"); /* R8.5-8 */
        for (j = 0; j < c->cols; j++) {
            double h = word_value(half, values[i * c->cols + j], &finite);
            if (!finite)
                fail("OVERFLOW");
            values[i * c->cols + j] = round_to_type(single, h * s);
        }
    }
}

/* 8.5.3, 8.5.8: r, and the prediction */
static void add_residuals(const Component *c, const ElementType *t, uint64_t count, uint64_t *values,
                          const uint64_t *prediction)
{
    const int64_t *n = (const int64_t *)values;
    double unit = c->quantiser == Q_DECIMAL ? power_of_ten(c->decimal_exponent) : step_of(c);
    uint64_t i;
    for (i = 0; i < count; i++) {
        double r;
        if (c->quantiser == Q_DECIMAL) {
            if (abs64(n[i]) > (int64_t)1 << 53)
                fail("OUT_OF_RANGE"); /* R8.5-9 */
            r = (double)n[i] / unit;
        } else {
            r = (double)n[i] * unit;
        }
        if (prediction)
            r = prediction_value(t, prediction[i]) + r;
        values[i] = round_to_type(t, r);
    }
}

/* One segment of a component of values: integers or words become words. */
void reconstruct(const Component *c, const ElementType *t, uint64_t row0, uint64_t rows, uint64_t *values,
                 const uint64_t *prediction)
{
    uint64_t i, count = rows * c->cols;
    int64_t *level = (int64_t *)values;
    switch (c->quantiser) {
    case Q_NONE: return;
    case Q_GRID: grid(c, row0, rows, values); return;
    case Q_CODEBOOK:
        for (i = 0; i < count; i++)
            values[i] = c->codebook_words[entry_of(c, level[i])];
        return;
    case Q_DECIMAL: break;
    default:
        if (c->spatial >= 0)
            spatial_indices(c, row0, rows, level);
        else
            levels_to_indices(c, level, count);
    }
    add_residuals(c, t, count, values, prediction);
}
