/* SPDX-License-Identifier: Apache-2.0
 * Singular vectors: 8.6.7. Operations stand in the order of the text; compile
 * without contraction. */
#include "omc.h"

#include <math.h>

/* ---- step 1 ---- */

static double *scale(const double *X, uint64_t rows, uint64_t cols, const Vectors *o)
{
    uint64_t i, j, count = rows * cols;
    double most = 0, *x = mem_alloc(count, sizeof *x), first, second;
    int e = 0, half;
    for (i = 0; i < count; i++)
        if (fabs(X[i]) > most)
            most = fabs(X[i]);
    if (most > 0)
        (void)frexp(most, &e); /* most is below 2^e and at least 2^(e-1) */
    half = (int)sar(e, 1);
    first = ldexp(1.0, -half);
    second = ldexp(1.0, -(e - half));
    for (i = 0; i < o->m; i++)
        for (j = 0; j < o->n; j++)
            x[i * o->n + j] = (o->transposed ? X[j * cols + i] : X[i * cols + j]) * first * second;
    return x;
}

/* G, the trace's small value is returned */
static double gram(const double *x, uint64_t m, uint64_t n, double *G)
{
    uint64_t i, j, k;
    double trace = 0;
    for (i = 0; i < m; i++)
        for (j = 0; j <= i; j++) {
            double sum = 0;
            for (k = 0; k < n; k++)
                sum = sum + x[i * n + k] * x[j * n + k];
            G[i * m + j] = G[j * m + i] = sum;
        }
    for (i = 0; i < m; i++)
        trace = trace + G[i * m + i];
    return trace * ldexp(1.0, -56);
}

/* ---- step 2: a becomes tridiagonal (d, e); row k of v and h[k] hold the reflection ---- */

static void reflect(double *a, uint64_t m, uint64_t k, double norm, double *v, double *e, double *h, double *p)
{
    uint64_t i, j;
    double c, sum, x = a[k * m + k + 1];
    for (i = k + 2; i < m; i++)
        v[i] = a[k * m + i];
    if (x >= 0) {
        *e = -norm;
        v[k + 1] = x + norm;
    } else {
        *e = norm;
        v[k + 1] = x - norm;
    }
    *h = norm * fabs(v[k + 1]);
    for (i = k + 1; i < m; i++)
        p[i] = 0;
    for (j = k + 1; j < m; j++) /* each p[i] takes its terms as j rises */
        for (i = k + 1; i < m; i++)
            p[i] = p[i] + v[j] * a[j * m + i];
    for (i = k + 1; i < m; i++)
        p[i] = p[i] / *h;
    sum = 0;
    for (i = k + 1; i < m; i++)
        sum = sum + p[i] * v[i];
    c = sum / *h * 0.5;
    for (i = k + 1; i < m; i++)
        p[i] = p[i] - c * v[i]; /* w[i] */
    for (j = k + 1; j < m; j++)
        for (i = k + 1; i < m; i++)
            a[j * m + i] = a[j * m + i] - (v[j] * p[i] + p[j] * v[i]);
}

static void tridiagonal(double *a, uint64_t m, double small, double *d, double *e, double *h, double *v, double *p)
{
    uint64_t k, i;
    for (k = 0; k + 1 < m; k++) {
        double tail = 0;
        d[k] = a[k * m + k];
        for (i = k + 2; i < m; i++)
            tail = tail + a[k * m + i] * a[k * m + i];
        e[k] = a[k * m + k + 1];
        h[k] = 0;
        if (tail > small * small)
            reflect(a, m, k, sqrt(a[k * m + k + 1] * a[k * m + k + 1] + tail), v + k * m, &e[k], &h[k], p);
    }
    d[m - 1] = a[m * m - 1];
    e[m - 1] = 0;
}

/* ---- step 3: z, the transpose of the product of the reflections ---- */

static void reflections(uint64_t m, const double *v, const double *h, double *q, double *g, double *z)
{
    uint64_t i, j, k;
    for (i = 0; i < m; i++)
        q[i * m + i] = 1;
    for (k = m - 1; k-- > 0;) {
        const double *vk = v + k * m;
        if (!(h[k] != 0))
            continue;
        for (j = k + 1; j < m; j++)
            g[j] = 0;
        for (i = k + 1; i < m; i++)
            for (j = k + 1; j < m; j++)
                g[j] = g[j] + vk[i] * q[i * m + j];
        for (j = k + 1; j < m; j++)
            g[j] = g[j] / h[k];
        for (i = k + 1; i < m; i++)
            for (j = k + 1; j < m; j++)
                q[i * m + j] = q[i * m + j] - vk[i] * g[j];
    }
    for (i = 0; i < m; i++)
        for (j = 0; j < m; j++)
            z[i * m + j] = q[j * m + i];
}

/* ---- step 4 ---- */

static uint64_t border(uint64_t low, uint64_t m, const double *d, const double *e, double small)
{
    uint64_t high = low;
    double eps = ldexp(1.0, -52);
    while (high != m - 1 && !(fabs(e[high]) <= eps * (fabs(d[high]) + fabs(d[high + 1])) || fabs(e[high]) <= small))
        high++;
    return high;
}

static void sweep(uint64_t low, uint64_t high, uint64_t m, double *d, double *e, double *z)
{
    double g = (d[low + 1] - d[low]) / (2 * e[low]), r = sqrt(g * g + 1), s = 1, c = 1, p = 0;
    uint64_t i, j;
    g = d[high] - d[low] + e[low] / (g >= 0 ? g + r : g - r);
    e[high] = 0;
    for (i = high; i-- > low;) {
        double f = s * e[i], b = c * e[i], square = f * f + g * g;
        if (square < ldexp(1.0, -200)) {
            e[i + 1] = 0;
            d[i + 1] = d[i + 1] - p;
            return;
        }
        r = sqrt(square);
        e[i + 1] = i == high - 1 ? 0 : r;
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        r = (d[i] - g) * s + 2 * c * b;
        p = s * r;
        d[i + 1] = g + p;
        g = c * r - b;
        for (j = 0; j < m; j++) {
            double zf = z[i * m + j], y = z[(i + 1) * m + j];
            z[(i + 1) * m + j] = s * zf + c * y;
            z[i * m + j] = c * zf - s * y;
        }
    }
    d[low] = d[low] - p;
    e[low] = g;
}

static void eigenvalues(uint64_t m, double *d, double *e, double *z, double small)
{
    uint64_t low, high;
    for (low = 0; low < m; low++) {
        int iteration = 0;
        while ((high = border(low, m, d, e, small)) != low) {
            if (iteration++ >= 60)
                fail("OVERFLOW"); /* R8.6.7-2 */
            sweep(low, high, m, d, e, z);
        }
    }
}

/* ---- step 5 ---- */

/* rows of z by falling d; equal ones keep their order */
static void sorted_rows(uint64_t m, const double *d, const double *z, double *u, uint64_t *order)
{
    uint64_t i, j, k;
    for (i = 0; i < m; i++) {
        for (k = i; k > 0 && d[order[k - 1]] < d[i]; k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
    for (k = 0; k < m; k++) {
        const double *from = z + order[k] * m;
        uint64_t most = 0;
        for (j = 1; j < m; j++)
            if (fabs(from[j]) > fabs(from[most]))
                most = j;
        for (j = 0; j < m; j++) {
            double x = from[most] < 0 ? -from[j] : from[j];
            u[k * m + j] = fabs(x) < ldexp(1.0, -64) ? 0 : x;
        }
    }
}

static void right_vectors(uint64_t m, uint64_t n, const double *u, const double *x, double *v, double *norm)
{
    uint64_t i, j, k;
    double most = 0;
    for (k = 0; k < m; k++) {
        double *P = v + k * n, sum = 0; /* P is 0 at first */
        for (i = 0; i < m; i++)
            for (j = 0; j < n; j++)
                P[j] = P[j] + u[k * m + i] * x[i * n + j];
        for (j = 0; j < n; j++)
            sum = sum + P[j] * P[j];
        norm[k] = sqrt(sum);
        if (norm[k] > most)
            most = norm[k];
    }
    for (k = 0; k < m; k++)
        for (j = 0; j < n; j++)
            v[k * n + j] = norm[k] > ldexp(1.0, -20) * most ? v[k * n + j] / norm[k] : 0;
}

void decompose(const double *X, uint64_t rows, uint64_t cols, Vectors *o)
{
    double *x, *a, *d, *e, *h, *v, *p, *z, small;
    uint64_t m, *order;
    o->transposed = rows > cols;
    m = o->m = o->transposed ? cols : rows;
    o->n = o->transposed ? rows : cols;
    x = scale(X, rows, cols, o);
    a = mem_alloc(m * m, sizeof *a);
    v = mem_alloc(m * m, sizeof *v);
    z = mem_alloc(m * m, sizeof *z);
    d = mem_alloc(m, sizeof *d);
    e = mem_alloc(m, sizeof *e);
    h = mem_alloc(m, sizeof *h);
    p = mem_alloc(m, sizeof *p);
    order = mem_alloc(m, sizeof *order);
    small = gram(x, m, o->n, a);
    tridiagonal(a, m, small, d, e, h, v, p);
    mem_free(a);
    o->u = mem_alloc(m * m, sizeof *o->u); /* q of step 3, then u */
    reflections(m, v, h, o->u, p, z);
    eigenvalues(m, d, e, z, small);
    sorted_rows(m, d, z, o->u, order);
    o->v = mem_alloc(m * o->n, sizeof *o->v);
    right_vectors(m, o->n, o->u, x, o->v, p);
    mem_free(x);
    mem_free(v);
    mem_free(z);
    mem_free(d);
    mem_free(e);
    mem_free(h);
    mem_free(p);
    mem_free(order);
}
