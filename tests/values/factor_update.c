/* SPEC 8.6 in plain C: factors and a reference matrix in, D out.  Written from the text, without blocks.

   factor_update INPUT OUTPUT.  INPUT: int64 kind, rows, columns, rank, extra, mantissa[3], exponent[3], seed; float64
   reference[rows][columns] (kinds 0, 2, 3); then the factors, int64: kinds 1, 2, 4 left[rows][rank]; kind 1
   right[rank][columns]; kind 3 gains[rank], left[rows][extra], right[extra][columns].  mantissa and exponent are those
   of left, right and gains.  OUTPUT: float64 D[rows][columns]; kind 0: u[m][m], v[m][n].
   Build: cc -O3 -ffp-contract=off factor_update.c -lm */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DECOMPOSITION, LOW_RANK, MAPPING, AUGMENTATION, LOW_RANK_UPDATE };

static void fail(const char *text) { fprintf(stderr, "%s\n", text); exit(1); }
static double *doubles(size_t n) { double *p = calloc(n + 1, sizeof *p); if (!p) fail("memory"); return p; }
static int64_t *integers(size_t n) { int64_t *p = calloc(n + 1, sizeof *p); if (!p) fail("memory"); return p; }
static int bit_length(uint64_t x) { int n = 0; for (; x; x >>= 1) n++; return n; }

/* 8.6.7.2: a becomes tridiagonal (d, e); h: halves of the squares of the reflectors, which stay in the rows of a */
static void tridiagonalise(int m, double *a, double *d, double *e, double *h, double small) {
    double *p = doubles(m);
    for (int k = 0; k < m - 1; k++) {
        double *v = a + (size_t)k * m, tail = 0, total = 0;
        d[k] = v[k], e[k] = v[k + 1], h[k] = 0;
        for (int i = k + 2; i < m; i++) tail += v[i] * v[i];
        if (tail <= small * small) continue;
        double head = v[k + 1], norm = sqrt(head * head + tail);
        e[k] = head >= 0 ? -norm : norm;
        v[k + 1] = head >= 0 ? head + norm : head - norm;
        h[k] = norm * fabs(v[k + 1]);
        for (int i = k + 1; i < m; i++) {
            double sum = 0;
            for (int j = k + 1; j < m; j++) sum += v[j] * a[(size_t)j * m + i];
            p[i] = sum / h[k];
            total += p[i] * v[i];
        }
        double c = total / h[k] * 0.5;
        for (int i = k + 1; i < m; i++) p[i] = p[i] - c * v[i];
        for (int j = k + 1; j < m; j++)
            for (int i = k + 1; i < m; i++) a[(size_t)j * m + i] -= v[j] * p[i] + p[j] * v[i];
    }
    d[m - 1] = a[(size_t)m * m - 1];
    free(p);
}

/* 8.6.7.3: z = rows of the transposed product of the reflections */
static void accumulate(int m, const double *a, const double *h, double *z) {
    double *g = doubles(m);
    for (int i = 0; i < m; i++) z[(size_t)i * m + i] = 1;
    for (int k = m - 2; k >= 0; k--) {
        const double *v = a + (size_t)k * m;
        if (h[k] == 0) continue;
        for (int j = k + 1; j < m; j++) {
            double sum = 0;
            for (int i = k + 1; i < m; i++) sum += v[i] * z[(size_t)j * m + i];
            g[j] = sum / h[k];
        }
        for (int i = k + 1; i < m; i++)
            for (int j = k + 1; j < m; j++) z[(size_t)j * m + i] -= v[i] * g[j];
    }
    free(g);
}

/* 8.6.7.4: eigenvalues in d, eigenvectors in the rows of z */
static void implicit_ql(int m, double *d, double *e, double *z, double small) {
    for (int low = 0; low < m; low++)
        for (int iteration = 0;; iteration++) {
            int high = low, i;
            for (; high < m - 1; high++)
                if (fabs(e[high]) <= 0x1p-52 * (fabs(d[high]) + fabs(d[high + 1])) || fabs(e[high]) <= small) break;
            if (high == low) break;
            if (iteration == 60) fail("an eigenvalue is not found");
            double g = (d[low + 1] - d[low]) / (2 * e[low]), r = sqrt(g * g + 1), s = 1, c = 1, p = 0;
            g = d[high] - d[low] + e[low] / (g >= 0 ? g + r : g - r);
            e[high] = 0;
            for (i = high - 1; i >= low; i--) {
                double f = s * e[i], b = c * e[i], square = f * f + g * g;
                if (square < 0x1p-200) { e[i + 1] = 0; d[i + 1] -= p; break; }
                r = sqrt(square);
                e[i + 1] = i == high - 1 ? 0 : r;
                s = f / r, c = g / r;
                g = d[i + 1] - p;
                r = (d[i] - g) * s + 2 * c * b;
                p = s * r;
                d[i + 1] = g + p;
                g = c * r - b;
                for (int j = 0; j < m; j++) {
                    double x = z[(size_t)i * m + j], y = z[(size_t)(i + 1) * m + j];
                    z[(size_t)(i + 1) * m + j] = s * x + c * y;
                    z[(size_t)i * m + j] = c * x - s * y;
                }
            }
            if (i < low) d[low] -= p, e[low] = g;
        }
}

/* 8.6.7: u[m][m], v[m][n] of the reference x[m][n] (transposed already) */
static void decompose(int m, int n, const double *given, double *u, double *v) {
    double *x = doubles((size_t)m * n), *a = doubles((size_t)m * m), *z = doubles((size_t)m * m);
    double *d = doubles(m), *e = doubles(m), *h = doubles(m), *norms = doubles(m), largest = 0, trace = 0;
    for (size_t i = 0; i < (size_t)m * n; i++) {
        if (!isfinite(given[i])) fail("the reference is not finite");
        if (fabs(given[i]) > largest) largest = fabs(given[i]);
    }
    int exponent;
    frexp(largest, &exponent);
    int half = (exponent - (exponent & 1)) / 2;            /* the floor of exponent / 2 */
    double scale = ldexp(1, -half), again = ldexp(1, half - exponent);
    for (size_t i = 0; i < (size_t)m * n; i++) x[i] = given[i] * scale, x[i] = x[i] * again;
    for (int i = 0; i < m; i++)
        for (int j = 0; j < m; j++)
            for (int k = 0; k < n; k++) a[(size_t)i * m + j] += x[(size_t)i * n + k] * x[(size_t)j * n + k];
    for (int i = 0; i < m; i++) trace += a[(size_t)i * m + i];
    double small = trace * 0x1p-56;
    tridiagonalise(m, a, d, e, h, small);
    accumulate(m, a, h, z);
    implicit_ql(m, d, e, z, small);
    char *used = calloc(m, 1);
    for (int k = 0; k < m; k++) {
        int best = -1, top = 0;
        for (int i = 0; i < m; i++) if (!used[i] && (best < 0 || d[i] > d[best])) best = i;
        used[best] = 1;
        const double *row = z + (size_t)best * m;
        for (int i = 1; i < m; i++) if (fabs(row[i]) > fabs(row[top])) top = i;
        for (int i = 0; i < m; i++) u[(size_t)k * m + i] = fabs(row[i]) < 0x1p-64 ? 0 : row[top] < 0 ? -row[i] : row[i];
    }
    largest = 0;
    for (int k = 0; k < m; k++) {
        double sum = 0, *p = v + (size_t)k * n;
        for (int j = 0; j < n; j++) {
            p[j] = 0;
            for (int i = 0; i < m; i++) p[j] += u[(size_t)k * m + i] * x[(size_t)i * n + j];
        }
        for (int j = 0; j < n; j++) sum += p[j] * p[j];
        norms[k] = sqrt(sum);
        if (norms[k] > largest) largest = norms[k];
    }
    for (int k = 0; k < m; k++)
        for (int j = 0; j < n; j++) {
            double *p = v + (size_t)k * n + j;
            *p = norms[k] > largest * 0x1p-20 ? *p / norms[k] : 0;
        }
    free(x), free(a), free(z), free(d), free(e), free(h), free(norms), free(used);
}

/* 8.6.6 */
static uint64_t random_word(uint64_t seed, uint64_t i) {
    uint64_t z = seed + (i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* d[i][j] = (sum of left[i][k] right[k][j]) * mantissa * 2^exponent */
static void product(int rows, int rank, int columns, const int64_t *left, const int64_t *right,
                    int64_t mantissa, int64_t exponent, double *d) {
    double scale = ldexp((double)mantissa, (int)exponent);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++) {
            int64_t sum = 0;
            for (int k = 0; k < rank; k++) sum += left[(size_t)i * rank + k] * right[(size_t)k * columns + j];
            d[(size_t)i * columns + j] = (double)sum * scale;
        }
}

int main(int count, char **name) {
    FILE *file = count == 3 ? fopen(name[1], "rb") : NULL;
    int64_t head[12];
    if (!file || fread(head, 8, 12, file) != 12) fail("factor_update INPUT OUTPUT");
    int kind = (int)head[0], rows = (int)head[1], columns = (int)head[2], rank = (int)head[3], extra = (int)head[4];
    const int64_t *mantissa = head + 5, *exponent = head + 8;
    uint64_t seed = (uint64_t)head[11];
    int transposed = rows > columns, m = transposed ? columns : rows, n = transposed ? rows : columns;
    double *d = doubles((size_t)rows * columns), *x = doubles((size_t)m * n);
    double *u = doubles((size_t)m * m), *v = doubles((size_t)m * n);
    if (kind == DECOMPOSITION || kind == MAPPING || kind == AUGMENTATION) {
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++) {
                size_t place = transposed ? (size_t)j * n + i : (size_t)i * n + j;
                if (fread(x + place, 8, 1, file) != 1) fail("short input");
            }
        decompose(m, n, x, u, v);
    }
    int left_rank = kind == AUGMENTATION ? extra : rank;
    size_t left_size = (size_t)rows * left_rank, right_size = (size_t)left_rank * columns;
    int64_t *gains = integers(rank), *left = integers(left_size), *right = integers(right_size);
    if (kind == AUGMENTATION && fread(gains, 8, rank, file) != (size_t)rank) fail("short input");
    if (kind != DECOMPOSITION && fread(left, 8, left_size, file) != left_size) fail("short input");
    int has_right = kind == LOW_RANK || kind == AUGMENTATION;
    if (has_right && fread(right, 8, right_size, file) != right_size) fail("short input");
    int64_t both_mantissas = mantissa[0] * mantissa[1], both_exponents = exponent[0] + exponent[1];
    int bits = (53 - (rank ? bit_length(rank - 1) : 0)) / 2;
    if (kind == LOW_RANK) product(rows, rank, columns, left, right, both_mantissas, both_exponents, d);
    if (kind == LOW_RANK_UPDATE) {
        for (size_t i = 0; i < (size_t)rank * columns; i++) {
            uint64_t w = random_word(seed, i);
            right[i] = (int64_t)((w & 0xFFFF) + (w >> 16 & 0xFFFF) + (w >> 32 & 0xFFFF) + (w >> 48)) - 131070;
        }
        product(rows, rank, columns, left, right, mantissa[0], exponent[0] - 16, d);
    }
    if (kind == MAPPING) {
        const double *vectors = transposed ? u : v;
        for (size_t i = 0; i < (size_t)rank * columns; i++) right[i] = (int64_t)rint(vectors[i] * ldexp(1, bits));
        product(rows, rank, columns, left, right, mantissa[0], exponent[0] - bits, d);
    }
    if (kind == AUGMENTATION) {
        int64_t *a = integers((size_t)m * rank), *vq = integers((size_t)rank * n), largest = 0;
        double *dt = doubles((size_t)m * n), *extra_d = doubles((size_t)rows * columns);
        for (int k = 0; k < rank; k++)
            if (llabs(gains[k] * mantissa[2]) > largest) largest = llabs(gains[k] * mantissa[2]);
        int width = bit_length((uint64_t)largest);
        for (int i = 0; i < m; i++)
            for (int k = 0; k < rank; k++) {
                double t = (double)(gains[k] * mantissa[2]) * ldexp(1, -width), ut = u[(size_t)k * m + i] * t;
                a[(size_t)i * rank + k] = (int64_t)rint(ut * ldexp(1, bits));
            }
        for (size_t i = 0; i < (size_t)rank * n; i++) vq[i] = (int64_t)rint(v[i] * ldexp(1, bits));
        product(m, rank, n, a, vq, 1, exponent[2] + width - 2 * bits, dt);
        if (extra) product(rows, extra, columns, left, right, both_mantissas, both_exponents, extra_d);
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++)
                d[(size_t)i * columns + j] = dt[transposed ? (size_t)j * n + i : (size_t)i * n + j]
                                             + extra_d[(size_t)i * columns + j];
    }
    FILE *out = fopen(name[2], "wb");
    if (!out) fail("cannot write");
    if (kind == DECOMPOSITION) {
        fwrite(u, 8, (size_t)m * m, out), fwrite(v, 8, (size_t)m * n, out);
    } else fwrite(d, 8, (size_t)rows * columns, out);
    return fclose(out) ? 1 : 0;
}
