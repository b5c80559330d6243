/* SPDX-License-Identifier: Apache-2.0
 * Representations: products of factors and masks, 8.6. */
#include "omc.h"

#include <math.h>

/* ---- 8.6.6 ---- */

uint64_t random_word(uint64_t seed, uint64_t i)
{
    uint64_t z = seed + (i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static int64_t random_integer(uint64_t seed, uint64_t i)
{
    uint64_t w = random_word(seed, i);
    return (int64_t)((w & 0xFFFF) + (w >> 16 & 0xFFFF) + (w >> 32 & 0xFFFF) + (w >> 48)) - 131070;
}

/* ---- 8.6.5 ---- */

/* a byte for each element: 1 if it is chosen */
uint8_t *make_mask(const Descriptor *d)
{
    uint64_t i, n = d->rows * d->cols, chosen = 0;
    uint8_t *mask = mem_alloc(n, 1);
    for (i = 0; i < n; i++) {
        uint64_t row = i / d->cols;
        if (d->representation == R_ROW_MASK)
            mask[i] = d->row_mask[row / 8] >> (7 - row % 8) & 1;
        else
            mask[i] = random_word(d->random_seed, i) >> 32 < d->random_density;
        chosen += mask[i];
    }
    if (d->representation == R_RANDOM_MASK && chosen != d->selected_count)
        fail("FORBIDDEN_PATTERN"); /* R8.6.5-1 */
    return mask;
}

/* ---- 8.6: Product and Scaled ---- */

static uint64_t largest(const int64_t *a, uint64_t n)
{
    uint64_t i, most = 0;
    for (i = 0; i < n; i++)
        if ((uint64_t)abs64(a[i]) > most)
            most = (uint64_t)abs64(a[i]);
    return most;
}

static int64_t *product(const int64_t *A, const int64_t *B, uint64_t rows, uint64_t k, uint64_t cols)
{
    int64_t *S = mem_alloc(rows * cols, sizeof *S);
    uint64_t a = largest(A, rows * k), b = largest(B, k * cols), i, j, h;
    if (a && b && k > ((uint64_t)1 << 53) / a / b)
        fail("OVERFLOW"); /* R8.6-1 */
    if (rows * cols > state.max_work / (k ? k : 1))
        fail("RESOURCE_LIMIT"); /* the user's budget */
    for (i = 0; i < rows; i++)
        for (h = 0; h < k; h++) {
            int64_t x = A[i * k + h];
            if (x)
                for (j = 0; j < cols; j++)
                    S[i * cols + j] += x * B[h * cols + j];
        }
    return S;
}

/* Scaled(S, m, e), in new memory; S is freed */
static double *scaled(int64_t *S, uint64_t n, int64_t m, int64_t e)
{
    double *D = mem_alloc(n, sizeof *D), unit;
    uint64_t i;
    if (e < -1074 || e > 938)
        fail("OUT_OF_RANGE"); /* R8.6-2 */
    unit = ldexp((double)m, (int)e);
    for (i = 0; i < n; i++)
        D[i] = (double)S[i] * unit;
    mem_free(S);
    return D;
}

/* v * 2^b, rounded to integers */
static int64_t *rounded(const double *v, uint64_t n, int b)
{
    int64_t *q = mem_alloc(n, sizeof *q);
    double unit = ldexp(1.0, b);
    uint64_t i;
    for (i = 0; i < n; i++) {
        double x = nearbyint(v[i] * unit);
        if (!(fabs(x) <= 9007199254740992.0))
            fail("OVERFLOW"); /* R8.6-1 would not hold */
        q[i] = (int64_t)x;
    }
    return q;
}

/* ---- 8.6.1 ---- */

static double *low_rank(const Descriptor *d, const Component *l, const int64_t *L, const int64_t *R)
{
    const Component *r = l + 1;
    int64_t *S = product(L, R, d->rows, d->factor_rank, d->cols);
    return scaled(S, d->rows * d->cols, l->mantissa * r->mantissa, l->exponent + r->exponent);
}

/* ---- 8.6.4 ---- */

static double *low_rank_update(const Descriptor *d, const int64_t *L)
{
    uint64_t n = d->factor_rank * d->cols, i;
    int64_t *R = mem_alloc(n, sizeof *R), *S;
    for (i = 0; i < n; i++)
        R[i] = random_integer(d->random_seed, i);
    S = product(L, R, d->rows, d->factor_rank, d->cols);
    mem_free(R);
    return scaled(S, d->rows * d->cols, d->component[0].mantissa, d->component[0].exponent - 16);
}

/* X as values, R8.6.7-1 */
static double *finite_values(const ElementType *t, const uint64_t *x, uint64_t n)
{
    double *v = mem_alloc(n, sizeof *v);
    uint64_t i;
    for (i = 0; i < n; i++) {
        int finite;
        v[i] = word_value(t, x[i], &finite);
        if (!finite)
            fail("OVERFLOW");
    }
    return v;
}

static void vectors_of(const Descriptor *d, const ElementType *t, const uint64_t *x, Vectors *v)
{
    double *X = finite_values(t, x, d->rows * d->cols);
    uint64_t m = d->rows < d->cols ? d->rows : d->cols;
    if (m * m > state.max_work / (m == d->rows ? d->cols : d->rows))
        fail("RESOURCE_LIMIT"); /* the user's budget */
    decompose(X, d->rows, d->cols, v);
    mem_free(X);
}

/* ---- 8.6.2 ---- */

static double *mapping(const Descriptor *d, const ElementType *t, const int64_t *L, const uint64_t *x)
{
    Vectors v;
    uint64_t r = d->factor_rank;
    int b = (53 - bit_length(r - 1)) / 2;
    int64_t *V, *S;
    vectors_of(d, t, x, &v);
    V = rounded(v.transposed ? v.u : v.v, r * d->cols, b); /* right[ ][ ]: rows of `columns` entries */
    S = product(L, V, d->rows, r, d->cols);
    mem_free(V);
    mem_free(v.u);
    mem_free(v.v);
    return scaled(S, d->rows * d->cols, d->component[0].mantissa, d->component[0].exponent - b);
}

/* ---- 8.6.3 ---- */

static double *transpose(double *D, uint64_t m, uint64_t n)
{
    double *E = mem_alloc(m * n, sizeof *E);
    uint64_t i, j;
    for (i = 0; i < m; i++)
        for (j = 0; j < n; j++)
            E[j * m + i] = D[i * n + j];
    mem_free(D);
    return E;
}

static double *gains(const Descriptor *d, const ElementType *t, const int64_t *gain, const uint64_t *x)
{
    Vectors v;
    const Component *c = &d->component[0];
    uint64_t q = d->gain_count, i, k;
    int w = bit_length(largest(gain, q) * (uint64_t)c->mantissa), b = (53 - bit_length(q - 1)) / 2;
    double *A, *D;
    int64_t *AQ, *VQ, *S;
    vectors_of(d, t, x, &v);
    A = mem_alloc(v.m * q, sizeof *A);
    for (k = 0; k < q; k++) {
        double s = (double)(gain[k] * c->mantissa) * ldexp(1.0, -w);
        for (i = 0; i < v.m; i++)
            A[i * q + k] = v.u[k * v.m + i] * s;
    }
    AQ = rounded(A, v.m * q, b);
    VQ = rounded(v.v, q * v.n, b);
    S = product(AQ, VQ, v.m, q, v.n);
    D = scaled(S, v.m * v.n, 1, c->exponent + w - 2 * b);
    mem_free(A);
    mem_free(AQ);
    mem_free(VQ);
    mem_free(v.u);
    mem_free(v.v);
    return v.transposed ? transpose(D, v.m, v.n) : D;
}

static double *augmentation(const Descriptor *d, const ElementType *t, int64_t *const f[3], const uint64_t *x)
{
    double *D = gains(d, t, f[0], x), *D2;
    uint64_t i;
    if (d->factor_rank) {
        D2 = low_rank(d, &d->component[1], f[1], f[2]);
        for (i = 0; i < d->rows * d->cols; i++)
            D[i] = D[i] + D2[i];
        mem_free(D2);
    }
    return D;
}

/* the residual D, in new memory */
double *residual_of_factors(const Descriptor *d, const ElementType *t, int64_t *const factor[3], const uint64_t *x)
{
    switch (d->representation) {
    case R_LOW_RANK: return low_rank(d, &d->component[0], factor[0], factor[1]);
    case R_MAPPING: return mapping(d, t, factor[0], x);
    case R_AUGMENTATION: return augmentation(d, t, factor, x);
    default: return low_rank_update(d, factor[0]);
    }
}

void factors_to_words(const Descriptor *d, const ElementType *t, int64_t *const factor[3], const uint64_t *x,
                      uint64_t *out)
{
    double *D = residual_of_factors(d, t, factor, x);
    const uint64_t *add = d->representation == R_MAPPING && !d->additive ? NULL : x;
    uint64_t i;
    for (i = 0; i < d->rows * d->cols; i++)
        out[i] = round_to_type(t, add ? prediction_value(t, add[i]) + D[i] : D[i]);
    mem_free(D);
}
