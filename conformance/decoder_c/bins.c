/* SPDX-License-Identifier: Apache-2.0
 * Bins: 9.12. */
#include "omc.h"

#define SLOTS (1 << SLOT_BITS)
#define SLOT_BITS 12
#define SYMBOLS_MAX 256
#define PLANES_MAX 8
#define STATE_MIN ((uint32_t)1 << 16)

enum { PLAIN, SIGNED, FLOAT }; /* 9.12.2 */

typedef struct {
    int W, shift; /* bits of a value, and of those below it in the integer */
    int raw_bits, symbols, narrow, tables_log2, tables;
    uint64_t low[SYMBOLS_MAX];
    uint8_t log[SYMBOLS_MAX];
    uint16_t *frequency; /* by table and symbol */
    uint16_t *start;
    uint8_t *symbol; /* by table and slot */
} Plane;

typedef struct {
    const Component *c;
    const ElementType *t; /* of words */
    const uint64_t *pred;
    int kind, bits, tails, group_log2, by_exponent, top_exponent;
    Plane plane[PLANES_MAX];
} Bins;

static uint64_t ue32(Bits *b)
{
    uint64_t v = bits_ue_wide(b, 63);
    if (v > mask_bits(33) - 1)
        fail("ENTROPY_END"); /* R9.12.1-1 */
    return v;
}

static int64_t se32(Bits *b)
{
    uint64_t k = ue32(b);
    return k & 1 ? (int64_t)(k / 2) + 1 : -(int64_t)(k / 2);
}

static void require(int condition)
{
    if (!condition)
        fail("OUT_OF_RANGE");
}

/* 9.12.5 */
static void read_frequencies(Bits *b, Plane *p, int t)
{
    uint16_t *f = p->frequency + t * SYMBOLS_MAX, *start = p->start + t * SYMBOLS_MAX;
    uint32_t sum = 0, k;
    int64_t size = 5;
    int s;
    for (s = 0; s < p->symbols; s++) {
        uint32_t v;
        size += se32(b);
        require(size >= 1 && size <= SLOT_BITS + 1);
        v = ((uint32_t)1 << (size - 1)) - 1 + (uint32_t)bits_u(b, (int)size - 1);
        require(v < SLOTS && sum + v <= SLOTS);
        f[s] = (uint16_t)v;
        start[s] = (uint16_t)sum;
        for (k = 0; k < v; k++)
            p->symbol[(uint32_t)t * SLOTS + sum + k] = (uint8_t)s;
        sum += v;
    }
    require(sum == SLOTS); /* R9.12.5-1 */
}

/* 9.12.4 */
static void read_plane(Bits *b, Plane *p, int parities)
{
    uint64_t first, narrow, wide, above = 0, gap, base, end;
    int64_t size;
    int s, t, code = (int)bits_u(b, 2);
    p->raw_bits = 4 * code;
    first = ue32(b);
    narrow = ue32(b);
    wide = ue32(b);
    require(code <= 2 && p->raw_bits <= p->W && narrow + wide >= 1 && narrow + wide <= SYMBOLS_MAX); /* R9.12.4-1 */
    require(narrow || !first);
    p->narrow = (int)narrow;
    p->symbols = (int)(narrow + wide);
    base = first << p->raw_bits;
    end = base + (narrow << p->raw_bits);
    require(end <= (uint64_t)1 << p->W);
    for (s = 0; s < p->narrow; s++) {
        p->low[s] = (first + (uint64_t)s) << p->raw_bits;
        p->log[s] = (uint8_t)p->raw_bits;
    }
    size = p->raw_bits;
    for (; s < p->symbols; s++) {
        size += se32(b);
        gap = ue32(b);
        require(size >= p->raw_bits && size <= p->W && !(gap >> (p->W - size))); /* R9.12.4-2; no bit is lost below */
        p->low[s] = (((above + ((uint64_t)1 << size) - 1) >> size) + gap) << size;
        p->log[s] = (uint8_t)size;
        above = p->low[s] + ((uint64_t)1 << size);
        require(above <= (uint64_t)1 << p->W && (above <= base || p->low[s] >= end));
    }
    if (p->symbols == 1)
        return;
    p->tables_log2 = (int)bits_u(b, 3);
    require(p->tables_log2 <= 4);
    p->tables = parities << p->tables_log2;
    p->frequency = mem_alloc((uint64_t)p->tables * SYMBOLS_MAX, sizeof *p->frequency);
    p->start = mem_alloc((uint64_t)p->tables * SYMBOLS_MAX, sizeof *p->start);
    p->symbol = mem_alloc((uint64_t)p->tables * SLOTS, 1);
    for (t = 0; t < p->tables; t++)
        read_frequencies(b, p, t);
}

/* 9.12.3 */
static void read_header(Bits *b, Bins *x)
{
    int p, signed_float = x->t && x->t->kind == 'f' && x->t->sign;
    x->tails = (int)bits_u(b, 3);
    x->bits = x->t ? x->t->bits : (int)bits_u(b, 6) + 1;
    x->group_log2 = (int)bits_u(b, 4) + 3;
    require(x->bits - 8 * x->tails >= 1 && x->bits - 8 * x->tails <= 32 && !(x->tails && x->c->states)); /* R9.12.3-1 */
    require(x->group_log2 <= 17); /* R9.12.3-2 */
    x->by_exponent = x->pred && signed_float && bits_u(b, 1);
    if (x->by_exponent)
        x->top_exponent = (int)bits_u(b, 11);
    if (x->pred || !x->t)
        x->kind = SIGNED;
    else
        x->kind = signed_float ? FLOAT : x->t->kind == 'i' ? SIGNED : PLAIN;
    for (p = 0; p <= x->tails; p++) {
        x->plane[p].W = p ? 8 : x->bits - 8 * x->tails;
        x->plane[p].shift = p ? 8 * (p - 1) : 8 * x->tails;
        read_plane(b, &x->plane[p], x->c->states && !p ? 2 : 1);
    }
    while (b->pos & 7)
        if (bits_u(b, 1))
            fail("ENTROPY_END"); /* R9.12.3-3 */
}

/* ---- chunks ---- */

static uint64_t low_first(const uint8_t *data, uint64_t bit, int n)
{
    uint64_t v = 0;
    int k;
    for (k = 0; k < n; k++, bit++)
        v |= (uint64_t)(data[bit / 8] >> (bit % 8) & 1) << k;
    return v;
}

typedef struct {
    const uint8_t *choices, *coded, *raw, *extra;
    uint64_t words, extra_size, bit; /* bit: position in extra */
} Part;

static uint64_t choice_bytes(const Bins *x, int p, uint64_t n)
{
    const Plane *l = &x->plane[p];
    if (l->symbols == 1 || (p == 0 && x->by_exponent))
        return 0;
    return (((n + mask_bits(x->group_log2)) >> x->group_log2) * (uint64_t)l->tables_log2 + 7) / 8;
}

static uint64_t coded_bytes(const Plane *l, uint64_t words)
{
    if (l->symbols == 1 && words)
        fail("ENTROPY_END"); /* R9.12.6-1 */
    return l->symbols == 1 ? 0 : 32 + 2 * words;
}

static int table_of(const Bins *x, int p, const Part *part, uint64_t i, uint64_t element, int q)
{
    const Plane *l = &x->plane[p];
    int64_t c;
    if (p == 0 && x->by_exponent) {
        int64_t e = (int64_t)(x->pred[element] >> x->t->M & mask_bits(x->t->E));
        c = clip3(0, ((int64_t)1 << l->tables_log2) - 1, x->top_exponent - e);
    } else {
        c = (int64_t)low_first(part->choices, (i >> x->group_log2) * (uint64_t)l->tables_log2, l->tables_log2);
    }
    return (int)(x->c->states && p == 0 ? 2 * c + (q & 1) : c);
}

/* 9.12.7 */
static int next_symbol(const Plane *l, int t, uint32_t *state, const Part *part, uint64_t *j)
{
    uint32_t slot = *state & (SLOTS - 1);
    int s = l->symbol[(uint32_t)t * SLOTS + slot];
    *state = l->frequency[t * SYMBOLS_MAX + s] * (*state >> SLOT_BITS) + slot - l->start[t * SYMBOLS_MAX + s];
    if (*state < STATE_MIN) {
        if (*j == part->words)
            fail("ENTROPY_END"); /* R9.12.7-1 */
        *state = *state << 16 | (uint32_t)low_first(part->coded + 32 + 2 * *j, 0, 16);
        ++*j;
    }
    return s;
}

/* 9.12.8 */
static uint64_t next_value(const Plane *l, int s, Part *part, uint64_t i, uint64_t n)
{
    uint64_t h = (n + 1) / 2, r = 0, e;
    int more = l->log[s] - l->raw_bits;
    if (l->raw_bits == 8)
        r = part->raw[i];
    else if (l->raw_bits == 4)
        r = i < h ? part->raw[i] & 15 : part->raw[i - h] >> 4;
    if (part->bit + (uint64_t)more > 8 * part->extra_size)
        fail("ENTROPY_END"); /* R9.12.8-1 */
    e = low_first(part->extra, part->bit, more);
    part->bit += (uint64_t)more;
    return l->low[s] + (e << l->raw_bits) + r;
}

/* a value of plane p into the integer, which is m and, in bit 64, the sign */
static void put_value(const Bins *x, int p, uint64_t v, uint64_t *m, uint8_t *sign)
{
    if (p == 0 && x->kind != PLAIN) {
        *sign = v & 1;
        v >>= 1;
    }
    *m |= v << x->plane[p].shift;
}

static int64_t integer_of(const Bins *x, uint64_t m, int sign)
{
    if (x->kind == FLOAT)
        m |= (uint64_t)sign << (x->bits - 1);
    else if (sign)
        m = ~m; /* -1 - m */
    return m >> 63 ? -(int64_t)(~m) - 1 : (int64_t)m;
}

static void decode_plane(const Bins *x, int p, Part *part, uint64_t first, uint64_t n, uint64_t *m, uint8_t *sign)
{
    const Plane *l = &x->plane[p];
    uint32_t state[8] = {0};
    int q[8] = {0}, k;
    uint64_t i, j = 0;
    for (k = 0; k < 8 && l->symbols > 1; k++) {
        state[k] = (uint32_t)low_first(part->coded + 4 * k, 0, 32);
        if (state[k] < STATE_MIN)
            fail("ENTROPY_END");
    }
    for (i = 0; i < n; i++) {
        int s = 0;
        k = (int)(i % 8);
        if (l->symbols > 1)
            s = next_symbol(l, table_of(x, p, part, i, first + i, q[k]), &state[k], part, &j);
        put_value(x, p, next_value(l, s, part, i, n), &m[i], &sign[i]);
        if (x->c->states)
            q[k] = trellis_step(x->c->states, q[k], integer_of(x, m[i], sign[i]));
    }
    for (k = 0; k < 8 && l->symbols > 1; k++)
        if (state[k] != STATE_MIN)
            fail("ENTROPY_END");
    if (j != part->words || part->extra_size != (part->bit + 7) / 8)
        fail("ENTROPY_END");
    if (low_first(part->extra, part->bit, (int)(8 * part->extra_size - part->bit)))
        fail("ENTROPY_END"); /* R9.12.8-1 */
    if (l->raw_bits == 4 && n % 2 && part->raw[n / 2] >> 4)
        fail("ENTROPY_END");
}

static const uint8_t *decode_chunk(const Bins *x, const uint8_t *at, const uint8_t *sizes, uint64_t first, uint64_t n,
                                   uint64_t *out)
{
    uint64_t *m = mem_alloc(n, sizeof *m), i;
    uint8_t *sign = mem_alloc(n, 1);
    int p;
    for (p = 0; p <= x->tails; p++) {
        const Plane *l = &x->plane[p];
        Part part = {0};
        part.words = low_first(sizes + 8 * p, 0, 32);
        part.extra_size = low_first(sizes + 8 * p + 4, 0, 32);
        part.choices = at;
        part.coded = part.choices + choice_bytes(x, p, n);
        part.raw = part.coded + coded_bytes(l, part.words);
        part.extra = part.raw + (n * (uint64_t)l->raw_bits + 7) / 8;
        at = part.extra + part.extra_size;
        decode_plane(x, p, &part, first, n, m, sign);
    }
    for (i = 0; i < n; i++)
        out[i] = (uint64_t)integer_of(x, m[i], sign[i]);
    mem_free(sign);
    mem_free(m);
    return at;
}

/* R9.12.6-1: before any chunk is decoded */
static void check_sizes(const Bins *x, const uint8_t *sizes, uint64_t chunks, uint64_t count, uint64_t left)
{
    uint64_t c, size, n;
    int p;
    for (c = 0; c < chunks; c++) {
        n = c + 1 < chunks ? CHUNK_ELEMENTS : count - c * CHUNK_ELEMENTS;
        for (p = 0; p <= x->tails; p++, sizes += 8) {
            size = choice_bytes(x, p, n) + coded_bytes(&x->plane[p], low_first(sizes, 0, 32)) +
                   (n * (uint64_t)x->plane[p].raw_bits + 7) / 8 + low_first(sizes + 4, 0, 32);
            if (size > left)
                fail("ENTROPY_END");
            left -= size;
        }
    }
    if (left)
        fail("ENTROPY_END");
}

void decode_bins(const Payload *payload, const Component *c, uint64_t max_values, const uint64_t *pred, uint64_t *out)
{
    Bins *x = mem_alloc(1, sizeof *x);
    uint64_t count = c->word_count, chunks = (count + CHUNK_ELEMENTS - 1) / CHUNK_ELEMENTS, i, left;
    const uint8_t *sizes, *at;
    Bits b;
    int p;
    (void)max_values;
    bits_init(&b, payload->coded, payload->coded_size, "ENTROPY_END");
    x->c = c;
    x->t = c->words_flag ? element_type((unsigned)c->word_type) : NULL;
    x->pred = c->words_flag ? pred : NULL;
    read_header(&b, x);
    sizes = payload->coded + b.pos / 8;
    left = payload->coded_size - b.pos / 8;
    if (left / (8 * ((uint64_t)x->tails + 1)) < chunks)
        fail("ENTROPY_END"); /* R9.12.1-1 */
    at = sizes + 8 * ((uint64_t)x->tails + 1) * chunks;
    check_sizes(x, sizes, chunks, count, left - (uint64_t)(at - sizes));
    for (i = 0; i < count; i += CHUNK_ELEMENTS, sizes += 8 * (x->tails + 1))
        at = decode_chunk(x, at, sizes, i, (uint64_t)min64((int64_t)(count - i), CHUNK_ELEMENTS), out + i);
    for (i = 0; i < count; i++)
        if (c->words_flag)
            out[i] &= mask_bits(x->bits);
        else
            check_integer(c, out[i]);
    for (p = 0; p <= x->tails; p++) {
        mem_free(x->plane[p].frequency);
        mem_free(x->plane[p].start);
        mem_free(x->plane[p].symbol);
    }
    mem_free(x);
}
