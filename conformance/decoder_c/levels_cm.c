/* SPDX-License-Identifier: Apache-2.0
 * Quantised levels, mixed coding: 9.4. */
#include "omc.h"

#include <string.h>

#define NODES 64
#define PLACES_A 134
#define PLACES_B 576
#define PLACES_C (134 * 13)
#define FIRST_B (PLACES_A * NODES)
#define FIRST_C (FIRST_B + PLACES_B * NODES)
#define CONTEXTS (FIRST_C + PLACES_C * NODES)

/* --- 9.4.2: tables --- */

static int32_t squash[6143];
static int32_t stretch[4096];

/* E and 2^60 + E have up to 79 bits: limbs of 32 bits, lowest first. */
typedef struct {
    uint32_t w[6];
} Big;

/* (x * y) >> 60 for x below 2^96 and y below 2^64 */
static Big times_shift60(const Big *x, uint64_t y)
{
    uint32_t p[6] = {0}, yl[2];
    Big r;
    int i, j;
    yl[0] = (uint32_t)y;
    yl[1] = (uint32_t)(y >> 32);
    for (j = 0; j < 2; j++) {
        uint64_t carry = 0;
        for (i = 0; i < 4; i++) {
            carry += (uint64_t)x->w[i] * yl[j] + p[i + j];
            p[i + j] = (uint32_t)carry;
            carry >>= 32;
        }
        p[4 + j] = (uint32_t)carry;
    }
    for (i = 0; i < 6; i++) /* 60 = 32 + 28 */
        r.w[i] = (i + 1 < 6 ? p[i + 1] >> 28 : 0) | (i + 2 < 6 ? p[i + 2] << 4 : 0);
    return r;
}

static int not_less(const Big *a, const Big *b)
{
    int i;
    for (i = 5; i >= 0; i--)
        if (a->w[i] != b->w[i])
            return a->w[i] > b->w[i];
    return 1;
}

/* (e * 2^32) // (2^60 + e), one bit of the quotient after the other */
static uint64_t logistic(const Big *e)
{
    Big rest = *e, by = *e;
    uint64_t q = 0, carry = (uint64_t)1 << 28; /* 2^60 is bit 28 of limb 1 */
    int i, k;
    for (i = 1; i < 6; i++) {
        carry += by.w[i];
        by.w[i] = (uint32_t)carry;
        carry >>= 32;
    }
    for (k = 0; k < 32; k++) {
        for (i = 5; i >= 0; i--)
            rest.w[i] = rest.w[i] << 1 | (i ? rest.w[i - 1] >> 31 : 0);
        q <<= 1;
        if (not_less(&rest, &by)) {
            int64_t borrow = 0;
            for (i = 0; i < 6; i++) {
                borrow += (int64_t)rest.w[i] - (int64_t)by.w[i];
                rest.w[i] = (uint32_t)((uint64_t)borrow & 0xFFFFFFFF);
                borrow = sar(borrow, 32);
            }
            q |= 1;
        }
    }
    return q;
}

void cm_tables_init(void)
{
    static int64_t F[6143];
    Big e = {{0, (uint32_t)1 << 28, 0, 0, 0, 0}};
    int x, t;
    for (x = 0; x <= 3071; x++) {
        F[3071 + x] = (int64_t)logistic(&e);
        F[3071 - x] = ((int64_t)1 << 32) - F[3071 + x];
        if (x == 0)
            F[3071] = (int64_t)1 << 31;
        e = times_shift60(&e, 1157433911791679357u);
    }
    for (x = 0; x < 6143; x++)
        squash[x] = (int32_t)clip3(32, 65504, (F[x] + 32768) >> 16);
    for (x = 0, t = 0; t < 4096; t++) {
        while (F[x] < (2 * (int64_t)t + 1) * 524288)
            x++;
        stretch[t] = x - 3071;
    }
}

void cm_tables_check(void)
{
    table_digest("SQUASH", squash, 6143);
    table_digest("STRETCH", stretch, 4096);
}

/* --- 9.4.3: a mixed bin --- */

typedef struct {
    LevelBins b;
    Context *context;
    int64_t *weight;         /* 3 for each node */
    int a[2], bb[2], scale;  /* places of sig (and rest) and of the sign; Bucket(scale) */
    int ratio;
} Bins;

static int mixed_bin(Bins *x, int node, int place_a, int place_b, int place_c)
{
    Context *c[3];
    int64_t t[3], sum = 0, *w = x->weight + 3 * node, error;
    uint32_t p;
    int i, bin;
    c[0] = x->context + place_a * NODES + node;
    c[1] = x->context + FIRST_B + place_b * NODES + node;
    c[2] = x->context + FIRST_C + place_c * NODES + node;
    for (i = 0; i < 3; i++) {
        t[i] = stretch[*c[i] >> 20];
        sum += t[i] * w[i];
    }
    p = (uint32_t)squash[clip3(-3071, 3071, sar(sum, 16)) + 3071];
    bin = rc_bit(x->b.rc, p);
    error = 5 * ((bin ? 65535 : 0) - (int64_t)p);
    for (i = 0; i < 3; i++) {
        w[i] = clip3(-262144, 262144, w[i] + sar(t[i] * error + 131072, 18));
        context_adapt(c[i], bin, LEVEL_COUNT_LIMIT);
    }
    return bin;
}

/* the table of places in 9.4.4 */
static int bin(LevelBins *b, int group, int node)
{
    Bins *x = (Bins *)b;
    int r = group == 0 ? (x->ratio < 0 ? -x->ratio : x->ratio) : group == 1 ? x->ratio : b->negative ? -x->ratio : x->ratio;
    return mixed_bin(x, node, x->a[group == 1], x->bb[group == 1], 13 * x->scale + 6 + r);
}

/* --- 9.4.4 --- */

static int ratio_of(int64_t prediction, int64_t scale)
{
    static const int u[6] = {3, 7, 12, 18, 26, 36};
    int t = 0, i;
    for (i = 0; i < 6; i++)
        t += 20 * abs64(prediction) > u[i] * scale;
    return prediction > 0 ? t : -t;
}

static int side(int64_t mean) { return (int)clip3(0, 23, bucket(mean) - 12); }

#define INPUT_LIMIT 8388608
#define TAP_LIMIT 131072

static int64_t predict(const int64_t *x, const int64_t *h)
{
    int64_t sum = 0;
    int t;
    for (t = 0; t < 9; t++)
        sum += x[t] * h[t];
    return sar(sum, 16);
}

static void learn(const int64_t *x, int64_t *h, int64_t value, int64_t prediction)
{
    int64_t f = 1440 * clip3(-INPUT_LIMIT, INPUT_LIMIT, value - prediction), power = 0;
    int t, shift;
    for (t = 0; t < 9; t++)
        power += x[t] * x[t];
    shift = bit_length((uint64_t)(256 + (power >> 1))) - 1;
    for (t = 0; t < 9; t++)
        h[t] = clip3(-TAP_LIMIT, TAP_LIMIT, h[t] + sar(f * x[t], shift));
}

static void set_places(Bins *y, const int64_t *x, int64_t slow, int64_t column, int64_t scale, int64_t prediction)
{
    int64_t near = 2 * abs64(x[0]) + abs64(x[1]) + 2 * abs64(x[2]) + abs64(x[3]) + abs64(x[4]) + abs64(x[8]);
    y->scale = bucket(scale);
    y->ratio = ratio_of(prediction, scale >> 5);
    y->a[0] = bucket(near);
    y->bb[0] = 24 * side(slow) + side(column);
    y->a[1] = 3 * sign64(x[0]) + sign64(x[2]) + 4;
    y->bb[1] = 3 * sign64(x[6]) + sign64(x[7]) + 4;
}

static int64_t *weights(Coder *k)
{
    int64_t *w = k->kept[M_CM][1]; /* CM codes no words: the place is free */
    int i;
    if (!w) {
        w = k->kept[M_CM][1] = mem_alloc(3 * NODES, sizeof *w);
        for (i = 0; i < 3 * NODES; i++)
            w[i] = 21845;
    }
    return w;
}

void decode_levels_cm(Coder *k, const Component *c, uint64_t rows, uint64_t cols, int64_t *level)
{
    Bins y;
    int64_t overall = 0, row, slow, row_value, h[9] = {0}, x[9];
    int64_t *column = mem_alloc(cols, sizeof *column), *column_value = mem_alloc(cols, sizeof *column_value);
    int64_t *V[3]; /* rows i, i-1 and i-2 of V */
    uint64_t i, j;
    int s = 0;
    for (i = 0; i < 3; i++)
        V[i] = mem_alloc(cols, sizeof *V[i]);
    y.b.rc = &k->rc;
    y.b.bin = bin;
    y.context = coder_contexts(k, M_CM, 0, CONTEXTS);
    y.weight = weights(k);
    for (i = 0; i < rows; i++) {
        row = slow = overall;
        row_value = 0;
        for (j = 0; j < cols; j++) {
            int64_t *at = level + i * cols + j, prediction, scale, n, magnitude, value;
            int Q = s & 1;
            if (i == 0)
                column[j] = row;
            x[0] = j >= 1 ? V[0][j - 1] : 0;
            x[1] = j >= 2 ? V[0][j - 2] : 0;
            x[2] = V[1][j];
            x[3] = j >= 1 ? V[1][j - 1] : 0;
            x[4] = j + 1 < cols ? V[1][j + 1] : 0;
            x[5] = c->kernel_size > 1 && j >= c->kernel_size ? V[0][j - c->kernel_size] : 0;
            x[6] = column_value[j];
            x[7] = row_value;
            x[8] = V[2][j];
            prediction = predict(x, h);
            scale = row + column[j];
            set_places(&y, x, slow, column[j], scale, prediction);
            *at = level_decode(&y.b, Q);
            n = c->states ? 2 * *at - sign64(*at) * Q : *at;
            V[0][j] = value = clip3(-INPUT_LIMIT, INPUT_LIMIT, 16 * n);
            learn(x, h, value, prediction);
            magnitude = abs64(n) * 256;
            row = moved(row, magnitude, min64((int64_t)j + 2, 16));
            slow = moved(slow, magnitude, min64((int64_t)j + 2, 128));
            row_value = moved(row_value, value, min64((int64_t)j + 2, 16));
            column[j] = moved(column[j], magnitude, min64((int64_t)i + 2, 64));
            column_value[j] = moved(column_value[j], value, min64((int64_t)i + 1, 64));
            s = trellis_step(c->states, s, *at);
        }
        overall = moved(overall, row, min64((int64_t)i + 1, 16));
        {
            int64_t *old = V[2];
            V[2] = V[1];
            V[1] = V[0];
            V[0] = old; /* every entry is written before it is read */
        }
    }
    for (i = 0; i < 3; i++)
        mem_free(V[i]);
    mem_free(column);
    mem_free(column_value);
}
