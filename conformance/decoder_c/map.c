/* SPDX-License-Identifier: Apache-2.0
 * Map coding: 9.6. */
#include "omc.h"

#define CONTEXTS 3792

typedef struct { /* a decoded word as its neighbours see it; zeros: nothing */
    uint64_t v;
    int64_t log;
    int sign, same, origin;
} Cell;

typedef struct {
    Coder *k;
    Context *context;
    const ElementType *t;
    int is_float, equal_flag, sign_flag, S, M;
    uint64_t offset;
    int64_t max_class;
    int64_t overall, plane, count, plane_count, power, rate;
    int64_t a[10], b[10];
    int have_before, predicted;
    Cell before, *up;
    /* the element at work */
    Cell L, U, UL, UR, there, now;
    int64_t x, y, expected;
    int s;
} Map;

static int bin(Map *m, int context) { return rc_bin(&m->k->rc, &m->context[context], WORD_COUNT_LIMIT); }

static int64_t log_of(int64_t c, uint64_t mantissa, int width)
{
    return 256 * c + (int64_t)(width >= 8 ? mantissa >> (width - 8) : mantissa << (8 - width));
}

/* value of class, sign (0 or 1) and mantissa: 8.4.3 with r = 0 */
static uint64_t value_of(const Map *m, int64_t c, int sign, uint64_t mantissa)
{
    uint64_t v;
    if (m->is_float)
        return (uint64_t)sign << (m->t->E + m->M) | (uint64_t)(max64(c, 1) - 1) << m->M | mantissa;
    if (c == 0)
        return 0;
    v = ((uint64_t)1 << (c - 1)) + mantissa;
    return c == 64 ? (uint64_t)1 << 63 : sign ? 0 - v : v;
}

static uint64_t word_of(const Map *m, uint64_t v)
{
    return m->is_float ? v << m->S & mask_bits(m->t->bits) : ((v << m->S) + m->offset) & mask_bits(m->t->bits);
}

/* a word of the predictor: v, log, sign of `there` */
static void set_there(Map *m, uint64_t p)
{
    uint64_t mag, sign;
    int64_t c;
    Cell *t = &m->there;
    if (m->is_float) {
        t->v = p >> m->S;
        mag = t->v & mask_bits(m->t->E + m->M);
        sign = t->v >> (m->t->E + m->M) & 1;
        c = mag ? 1 + (int64_t)(mag >> m->M) : 0;
        mag &= mask_bits(m->M);
    } else {
        int64_t v = sar(word_signed(m->t, p - m->offset), m->S);
        t->v = (uint64_t)v;
        sign = v < 0;
        mag = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
        c = bit_length(mag);
        if (c)
            mag -= (uint64_t)1 << (c - 1);
    }
    t->log = c ? log_of(c, mag, m->is_float ? m->M : (int)c - 1) : 0;
    t->sign = c ? 1 + (int)sign : 0;
}

static int ratio(int64_t x, int64_t y)
{
    int64_t d = abs64(x - y);
    return (d >= 64) + (d >= 160) + (d >= 384);
}

/* Expect( ) of 9.6.3; there.log is t */
static void expect(Map *m)
{
    int64_t l = m->L.log, u = m->U.log;
    m->x = m->y = 0;
    m->s = 5;
    if (l > 0 && u > 0) {
        m->x = ((l + u) >> 1) - m->plane;
        m->s = m->L.sign == m->U.sign ? ratio(l, u) : 4;
    } else if (l > 0 || u > 0) {
        m->x = l + u - m->plane;
    }
    if (m->there.log > 0) {
        m->y = m->there.log - m->plane;
        m->s = 6 + ratio(m->x, m->y);
    }
    m->expected = m->plane + sar(m->a[m->s] * m->x + m->b[m->s] * m->y, 16);
}

static int zero_place(const Map *m)
{
    int pattern = (m->L.log > 0) + 2 * (m->U.log > 0) + 4 * (m->UL.log > 0) + 8 * (m->UR.log > 0), place;
    if (!m->predicted)
        return pattern * 16 + (int)clip3(0, 15, sar(m->expected - m->overall, 7) + 8);
    place = 256 + (pattern * 3 + m->L.same + m->U.same) * 8;
    if (m->there.log > 0)
        place += 1 + (int)clip3(0, 6, sar(m->there.log - m->overall, 8) + 3);
    return place;
}

static int take(Map *m, const Cell *from, int origin)
{
    m->now = *from;
    m->now.origin = origin;
    return 1;
}

/* 9.6.4 */
static int again(Map *m)
{
    int h;
    if (m->there.log > 0 && bin(m, 641 + 2 * m->L.same + m->U.same))
        return take(m, &m->there, 0);
    if (!m->equal_flag)
        return 0;
    h = 4 * m->U.origin + m->L.origin;
    if (m->U.log > 0 && bin(m, 645 + h)) {
        m->before = m->U;
        m->have_before = 1;
        return take(m, &m->U, 1);
    }
    if (m->L.log > 0 && !(m->U.log > 0 && m->L.v == m->U.v) && bin(m, 661 + h)) {
        m->before = m->L;
        m->have_before = 1;
        return take(m, &m->L, 2);
    }
    if (m->have_before && !(m->U.log > 0 && m->before.v == m->U.v) && !(m->L.log > 0 && m->before.v == m->L.v) &&
        bin(m, 677 + h))
        return take(m, &m->before, 3);
    return 0;
}

/* 9.6.5 */
static void fresh(Map *m)
{
    int64_t centre = clip3(1, m->max_class, sar(m->expected + 128, 8)), c;
    int phase = (int)((m->expected + 128) & 255) >> 5, place = 1168 + (m->s * 8 + phase) * 28;
    int sign = 0, width, w, distance, node = 1, known = 0, most;
    uint64_t top, low = 0, mantissa;
    if (bin(m, place))
        c = centre + 1 + word_steps(m->k, m->context + place + 1, 12);
    else
        c = centre - word_steps(m->k, m->context + place + 13, 15);
    if (c < 1 || c > m->max_class)
        fail("OUT_OF_RANGE"); /* R9.6-3 */
    if (m->sign_flag)
        sign = bin(m, 693 + (m->L.sign * 3 + m->U.sign) * 3 + m->there.sign);
    width = w = m->is_float ? m->M : (int)c - 1;
    distance = (int)(m->is_float || c > 3 ? clip3(-2, 2, c - centre) + 2 : 3 + c);
    place = 720 + (distance * 8 + phase) * 8;
    while (w > 0 && node < 8) {
        w--;
        node = 2 * node + bin(m, place + node);
    }
    top = (uint64_t)node - ((uint64_t)1 << (bit_length((uint64_t)node) - 1));
    most = w < 12 ? w : 12;
    while (known < most && low == 0) {
        if (!bin(m, 3408 + (int)(c & 31) * 12 + known))
            low = (uint64_t)1 << known;
        known++;
    }
    mantissa = ((top << (w - known) | bits_u(&m->k->raw, w - known)) << known) | low;
    m->now.v = value_of(m, c, sign, mantissa);
    m->now.log = log_of(c, mantissa, width);
    m->now.sign = 1 + sign;
    m->now.origin = 0;
}

/* Update( ) of 9.6.3 */
static void update(Map *m)
{
    int64_t log = m->now.log, gain = sar(clip3(-512, 512, log - m->expected) * m->rate, 8);
    m->a[m->s] = clip3(-131072, 131072, m->a[m->s] + sar(gain * m->x, 12));
    m->b[m->s] = clip3(-131072, 131072, m->b[m->s] + sar(gain * m->y, 12));
    m->power += sar(m->x * m->x + m->y * m->y - m->power, 8);
    if (m->count == 0)
        m->overall = m->plane = log;
    m->count = min64(m->count + 1, 1024);
    m->overall = moved(m->overall, log, m->count);
    m->plane_count = min64(m->plane_count + 1, 256);
    m->plane = moved(m->plane, log, m->plane_count + 8);
}

static void element(Map *m, const uint64_t *p)
{
    static const Cell nothing;
    rc_element(&m->k->rc);
    m->there = nothing;
    if (p)
        set_there(m, *p);
    expect(m);
    m->now = nothing;
    if (bin(m, zero_place(m))) {
        int sign = m->is_float && m->sign_flag ? bin(m, 640) : 0;
        m->now.v = value_of(m, 0, sign, 0);
    } else {
        if (!again(m))
            fresh(m);
        update(m);
    }
    m->now.same = p && m->now.v == m->there.v;
}

/* 9.6.2 */
static void begin(Map *m, Coder *k, const Component *c, uint64_t cols)
{
    static const Map none;
    const ElementType *t = element_type((unsigned)c->word_type);
    int i;
    *m = none;
    m->context = coder_contexts(k, M_MAP, 1, CONTEXTS);
    k->words_seen = 1;
    m->k = k;
    m->t = t;
    m->is_float = t->kind == 'f';
    m->predicted = c->has_predictor;
    m->equal_flag = (int)bits_u(&k->raw, 1);
    m->sign_flag = (int)bits_u(&k->raw, 1);
    m->S = (int)bits_u(&k->raw, 6);
    if (m->S > (m->is_float ? t->M : t->bits - 1))
        fail("OUT_OF_RANGE"); /* R9.6-1 */
    if (!m->is_float)
        m->offset = bits_u(&k->raw, t->bits);
    m->M = t->M - m->S;
    m->max_class = m->is_float ? (int64_t)1 << t->E : max64(t->bits - m->S, 1);
    m->overall = m->plane = 256 * (m->is_float ? ((int64_t)1 << (t->E - 1)) - 1 : 4);
    for (i = 0; i < 10; i++) {
        m->a[i] = i < 6 ? 65536 : 32768;
        m->b[i] = i < 6 ? 0 : 32768;
    }
    m->up = mem_alloc(cols, sizeof *m->up);
}

void decode_map(Coder *k, const Component *c, uint64_t row0, uint64_t rows, uint64_t cols, uint64_t *word,
                const uint64_t *pred)
{
    static const Cell nothing;
    Map m;
    uint64_t i, j;
    begin(&m, k, c, cols);
    for (i = 0; i < rows; i++) {
        if ((row0 + i) % c->plane_rows == 0) {
            for (j = 0; j < cols; j++)
                m.up[j] = nothing;
            m.plane = m.overall;
            m.plane_count = 0;
        }
        m.L = m.UL = nothing;
        for (j = 0; j < cols; j++) {
            if (j % 16 == 0)
                m.rate = ((int64_t)655 << 20) / (1311 + m.power);
            m.U = m.up[j];
            m.UR = j + 1 < cols ? m.up[j + 1] : nothing;
            element(&m, pred ? pred + i * cols + j : NULL);
            word[i * cols + j] = word_of(&m, m.now.v);
            m.UL = m.U;
            m.L = m.up[j] = m.now;
        }
    }
    mem_free(m.up);
}
