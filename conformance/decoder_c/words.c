/* SPDX-License-Identifier: Apache-2.0
 * Word coding: 9.5, with 8.4.2 and 8.4.3. */
#include "omc.h"

#define CONTEXTS 2207

typedef struct {
    Coder *k;
    Context *context;
    const Component *c;
    const ElementType *t;
    int is_float, steady, by_exponent; /* Float, Steady, ByExponent of 9.5.2 */
    int S, M, E;                       /* M is M' of 8.4.3 */
    int64_t max_class;
    int64_t overall, row, col, row_weight, column_weight, count, power, rate, row_count;
    int64_t *column, *column_count;
    uint8_t *up;
    int row_shift, left_sign;
    /* repeats, 9.5.5 */
    int repeats, direction, length;
    unsigned flips;
    int64_t n, source, window;
    uint64_t *past;
    int64_t *table;
    /* the element at work */
    int64_t e, x, y, expected, cls;
    int repeated, sign;
    uint64_t mantissa;
} Words;

static int bin(Words *w, int context) { return rc_bin(&w->k->rc, &w->context[context], WORD_COUNT_LIMIT); }

/* Steps of 9.5.6, also for 9.6.5 */
int64_t word_steps(Coder *k, Context *first, int limit)
{
    int i, z;
    for (i = 0; i < limit; i++)
        if (!rc_bin(&k->rc, first + i, WORD_COUNT_LIMIT))
            return i;
    for (z = 0; z <= 12; z++)
        if (rc_bypass(&k->rc, 1))
            return limit - 1 + (((int64_t)1 << z) | (int64_t)rc_bypass(&k->rc, z));
    fail("OUT_OF_RANGE"); /* R9.5-5 */
}

/* 9.5.4 */
static void row_shift(Words *w)
{
    if (!bin(w, 266))
        w->row_shift = (int)rc_bypass(&w->k->rc, 6);
    if (w->row_shift > (w->is_float ? w->M : w->max_class - 1))
        fail("OUT_OF_RANGE"); /* R9.5-4 */
}

/* --- 9.5.5 --- */

static uint64_t magnitude_at(const Words *w, int64_t k)
{
    return w->past[k % w->window] & mask_bits(w->E + w->M);
}

static void find_repeat(Words *w)
{
    int64_t found = -1, q;
    int d = 0;
    if (w->length > 0 && (w->source < 0 || w->n - w->source > w->window - 2))
        w->length = 0;
    if (w->n >= 2) {
        uint64_t a = magnitude_at(w, w->n - 2), b = magnitude_at(w, w->n - 1), key = a ^ b;
        uint64_t slot = ((((key ^ (key >> 32)) & 0x7FFFFFFF) * 0x9E3779B1u) >> 15) & (uint64_t)(w->window - 1);
        q = w->table[slot];
        w->table[slot] = w->n - 1;
        if (q >= 1 && w->n - q <= w->window - 2) {
            if (magnitude_at(w, q - 1) == a && magnitude_at(w, q) == b)
                found = q + 1, d = 1;
            else if (magnitude_at(w, q - 1) == b && magnitude_at(w, q) == a)
                found = q - 2, d = -1;
        }
    }
    if (w->length == 0 && found >= 0) {
        w->source = found;
        w->direction = d;
        w->length = 1;
    }
}

static void repeat(Words *w)
{
    uint64_t there, mag;
    int flip;
    find_repeat(w);
    if (w->length == 0)
        return;
    there = w->past[w->source % w->window];
    w->repeated = bin(w, 267 + w->length);
    w->source += w->direction;
    w->length = w->repeated ? (int)min64(w->length + 1, 15) : 0;
    if (!w->repeated)
        return;
    flip = bin(w, 283 + (int)w->flips);
    w->flips = ((w->flips << 1) & 3) | (unsigned)flip;
    mag = there & mask_bits(w->E + w->M);
    w->cls = mag ? 1 + (int64_t)(mag >> w->M) : 0;
    w->mantissa = (mag & mask_bits(w->M)) >> w->row_shift;
    w->sign = flip ^ (int)(there >> (w->E + w->M) & 1);
}

/* --- 9.5.6 --- */

static int trailing(Words *w, int width, uint64_t *low)
{
    int known = 0, most = width < 12 ? width : 12;
    while (known < most) {
        known++;
        if (!bin(w, 1823 + (int)(w->cls & 31) * 12 + known - 1)) {
            *low = (uint64_t)1 << (known - 1);
            break;
        }
    }
    return known;
}

static void class_and_mantissa(Words *w, int64_t centre, uint8_t up)
{
    int phase = (int)((w->expected + 128) & 255) >> 6;
    int slope = w->steady ? 2 : (int)clip3(0, 4, sar(w->row - w->col + 640, 8));
    int place = 335 + (phase * 5 + slope) * 28, width, known = 0, m;
    uint64_t t = 0, low = 0;
    if (w->by_exponent) {
        centre = 1;
        place = 895 + (int)((w->e >> 8) & 31) * 29 + 1;
    }
    if (bin(w, place))
        w->cls = centre + 1 + word_steps(w->k, w->context + place + 1, 12);
    else
        w->cls = centre - word_steps(w->k, w->context + place + 13, 15);
    if (w->cls < 1 || w->cls > w->max_class || (!w->is_float && w->cls + w->row_shift > w->max_class))
        fail("OUT_OF_RANGE"); /* R9.5-1, R8.4-1 */
    width = w->is_float ? w->M - w->row_shift : (int)w->cls - 1;
    m = 287 + 4 * (int)(w->is_float || w->cls > 3 ? clip3(-4, 4, w->cls - centre) + 4 : 8 + w->cls);
    if (width >= 1)
        t = (uint64_t)bin(w, m);
    if (width >= 2)
        t = 2 * t + (uint64_t)bin(w, m + 1 + (int)t);
    width -= width < 2 ? width : 2;
    if (w->c->word_sign_mode == 2)
        w->sign = bin(w, 256 + w->left_sign * 3 + (up >> 1));
    if (w->c->word_trailing)
        known = trailing(w, width, &low);
    width -= known;
    if (w->c->word_sign_mode == 1)
        w->sign = (int)bits_u(&w->k->raw, 1);
    w->mantissa = ((t << width | bits_u(&w->k->raw, width)) << known) | low;
}

/* 9.5.7 */
static void update(Words *w, uint64_t j)
{
    int full = w->is_float ? w->M - w->row_shift : (int)w->cls - 1;
    int64_t top = (int64_t)(full >= 2 ? w->mantissa >> (full - 2) : w->mantissa << (2 - full));
    int64_t log = 256 * w->cls + w->e + 64 * top + 32;
    int64_t gain = sar(clip3(-512, 512, log - w->e - w->expected) * w->rate, 8);
    if (!w->steady) {
        w->row_weight = clip3(-131072, 131072, w->row_weight + sar(gain * w->x, 12));
        w->column_weight = clip3(-131072, 131072, w->column_weight + sar(gain * w->y, 12));
    }
    w->power += sar(w->x * w->x + w->y * w->y - w->power, 8);
    if (w->count == 0)
        w->row = log;
    w->column[j] = w->column_count[j] > 0 ? moved(w->col, log, min64(w->column_count[j] + 2, 128)) : log;
    w->column_count[j] = min64(w->column_count[j] + 1, 128);
    w->row_count++;
    w->row = moved(w->row, log, min64(w->row_count + 1, 64));
    w->count = min64(w->count + 1, 1024);
    w->overall = moved(w->overall, log, w->count);
    w->left_sign = 1 + w->sign;
    w->up[j] = (uint8_t)(2 * w->left_sign);
}

/* 8.4.2, 8.4.3 */
static uint64_t make_word(const Words *w, const uint64_t *p)
{
    uint64_t v;
    if (w->is_float) {
        v = (uint64_t)(max64(w->cls, 1) - 1) << w->t->M | w->mantissa << (w->row_shift + w->S);
        return w->t->sign && w->sign ? v | (uint64_t)1 << (w->t->bits - 1) : v;
    }
    if (w->cls == 0)
        v = 0;
    else if (w->cls + w->row_shift == 64)
        v = (uint64_t)1 << 63;
    else
        v = (((uint64_t)1 << (w->cls - 1)) + w->mantissa) << w->row_shift;
    if (w->sign && w->cls)
        v = 0 - v;
    v <<= w->S;
    return p ? word_unordered(w->t, v + word_ordered(w->t, *p)) : (v + w->c->word_offset) & mask_bits(w->t->bits);
}

static uint64_t element(Words *w, uint64_t j, const uint64_t *p, int *left, int *left2)
{
    int zero = 0;
    rc_element(&w->k->rc);
    if (j % 16 == 0)
        w->rate = ((int64_t)655 << 20) / (1311 + w->power);
    w->repeated = w->sign = 0;
    w->cls = 0;
    w->mantissa = 0;
    if (w->repeats)
        repeat(w);
    w->e = p && w->t->kind == 'f' ? 256 * (int64_t)(*p >> w->t->M & mask_bits(w->t->E)) : 0;
    w->col = w->column_count[j] ? w->column[j] : w->row;
    w->x = w->row - w->overall;
    w->y = w->col - w->overall;
    w->expected = w->overall + sar(w->row_weight * w->x + w->column_weight * w->y, 16) - w->e;
    if (w->repeated)
        zero = w->cls == 0;
    else if (w->c->word_zeros)
        zero = bin(w, w->by_exponent ? 895 + (int)((w->e >> 8) & 31) * 29
                                     : ((w->up[j] & 1) * 4 + *left2 * 2 + *left) * 32 +
                                           (int)clip3(0, 31, sar(w->expected, 7) + 12));
    *left2 = *left;
    *left = zero;
    if (zero) {
        if (w->is_float && w->c->word_sign_mode != 0 && !w->repeated)
            w->sign = bin(w, 265);
        w->cls = 0;
        w->mantissa = 0;
        w->left_sign = 0;
        w->up[j] = 1;
    } else {
        if (!w->repeated)
            class_and_mantissa(w, clip3(1, w->max_class, sar(w->expected + 128, 8)), w->up[j]);
        update(w, j);
    }
    if (w->repeats)
        w->past[w->n % w->window] = (uint64_t)w->sign << (w->E + w->M) |
                                    (uint64_t)(max64(w->cls, 1) - 1) << w->M | w->mantissa << w->row_shift;
    w->n++;
    return make_word(w, p);
}

/* 9.5.2 */
static void begin(Words *w, Coder *k, const Component *c, uint64_t rows, uint64_t cols)
{
    static const int64_t weight[3] = {32768, 65536, 0};
    const ElementType *t = element_type((unsigned)c->word_type);
    int64_t u = t->kind != 'f' ? 4 : ((int64_t)1 << (t->E - 1)) - 5 + (c->has_predictor ? t->M - 7 : 0);
    int bits = bit_length(rows * cols - 1 > 0 ? rows * cols - 1 : 1);
    Words zero = {0};
    *w = zero;
    w->k = k;
    w->c = c;
    w->t = t;
    w->is_float = c->float_flag;
    w->steady = c->word_scale_rule == 2;
    w->by_exponent = w->steady && t->kind == 'f' && c->has_predictor;
    w->S = c->word_shift;
    w->E = t->E;
    w->M = t->M - w->S;
    w->max_class = w->is_float ? (int64_t)1 << t->E : max64(t->bits - w->S, 1);
    w->overall = 256 * u;
    w->row_weight = w->column_weight = weight[c->word_scale_rule];
    w->column = mem_alloc(cols, sizeof *w->column);
    w->column_count = mem_alloc(cols, sizeof *w->column_count);
    w->up = mem_alloc(cols, 1);
    w->window = bits >= 16 ? 65536 : (int64_t)1 << bits;
    w->context = coder_contexts(k, M_CC, 1, CONTEXTS);
    k->words_seen = 1;
}

void decode_words(Coder *k, const Component *c, uint64_t row0, uint64_t rows, uint64_t cols, uint64_t *word,
                  const uint64_t *pred)
{
    Words w;
    uint64_t i, j;
    (void)row0;
    begin(&w, k, c, rows, cols);
    if (w.is_float)
        w.repeats = (int)rc_bypass(&k->rc, 1);
    if (w.repeats) {
        w.past = mem_alloc((uint64_t)w.window, sizeof *w.past);
        w.table = mem_alloc((uint64_t)w.window, sizeof *w.table);
    }
    for (i = 0; i < rows; i++) {
        int left = 0, left2 = 0;
        if (c->word_row_shift)
            row_shift(&w);
        w.row = w.overall;
        w.row_count = 0;
        w.left_sign = 0;
        for (j = 0; j < cols; j++)
            word[i * cols + j] = element(&w, j, pred ? pred + i * cols + j : NULL, &left, &left2);
    }
    mem_free(w.column);
    mem_free(w.column_count);
    mem_free(w.up);
    mem_free(w.past);
    mem_free(w.table);
}
