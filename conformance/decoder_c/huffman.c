/* SPDX-License-Identifier: Apache-2.0
 * Huffman and relative index: 9.7. */
#include "omc.h"

#define LENGTH_MAX 20
#define MEAN_START 128

typedef struct {
    uint64_t n;
    int64_t *symbol;  /* in the order of codewords */
    uint32_t start[LENGTH_MAX + 1], count[LENGTH_MAX + 1];
    uint64_t before[LENGTH_MAX + 1]; /* symbols of smaller lengths */
} Table;

/* se(v) of 9.7.3, with ue(v) up to 2^64 - 2 */
static int64_t se_wide(Bits *b)
{
    uint64_t k = bits_ue_wide(b, 63);
    return k & 1 ? (int64_t)(k / 2) + 1 : -(int64_t)(k / 2);
}

/* symbol + add, which shall stay below 2^63 */
static int64_t add_symbol(int64_t symbol, uint64_t add)
{
    uint64_t room = (((uint64_t)1 << 63) - 1) - (uint64_t)symbol; /* modulo 2^64: exact */
    if (add > room)
        fail("OUT_OF_RANGE"); /* R9.7.3-1 */
    add += (uint64_t)symbol;
    return add >> 63 ? -(int64_t)(~add) - 1 : (int64_t)add;
}

static void read_symbols(Bits *b, uint64_t n, int64_t first, int64_t *symbol)
{
    uint64_t i = 0, run, k;
    int shift = -1;
    symbol[0] = first;
    for (;;) {
        run = n - i > 1 ? bits_ue_wide(b, 63) : 0;
        if (run >= n - i)
            fail("OUT_OF_RANGE");
        for (k = 0; k < run; k++, i++)
            symbol[i + 1] = add_symbol(symbol[i], 1);
        i++;
        if (i == n)
            return;
        if (shift < 0)
            shift = (int)bits_u(b, 6);
        k = bits_ue_wide(b, 63 - shift) << shift; /* R9.7.3-2 */
        k += bits_u(b, shift);                    /* below 2^64 - 1 */
        symbol[i] = add_symbol(add_symbol(symbol[i - 1], 2), k);
    }
}

/* 9.7.2: codewords by length, then symbol */
static void sort_by_length(Table *t, int64_t *symbol, const uint8_t *length)
{
    uint64_t i, sum = 0, at = 0, put[LENGTH_MAX + 1];
    int l;
    for (i = 0; i < t->n; i++)
        t->count[length[i]]++;
    for (l = 0; l <= LENGTH_MAX; l++) {
        t->start[l] = (uint32_t)(sum >> (LENGTH_MAX - l));
        t->before[l] = put[l] = at;
        sum += (uint64_t)t->count[l] << (LENGTH_MAX - l);
        at += t->count[l];
        if (sum > (uint64_t)1 << LENGTH_MAX)
            break;
    }
    if (sum != (uint64_t)1 << LENGTH_MAX)
        fail("FORBIDDEN_PATTERN"); /* R9.7.2-1 */
    for (i = 0; i < t->n; i++)
        t->symbol[put[length[i]]++] = symbol[i];
}

static void read_table(Bits *b, Table *t, uint64_t n, int64_t first)
{
    int64_t *symbol, l;
    uint8_t *length;
    uint64_t i;
    if (n - 1 > bits_left(b))
        fail("ENTROPY_END"); /* R9.7.1-3 */
    symbol = mem_alloc(n, sizeof *symbol);
    length = mem_alloc(n, 1);
    t->n = n;
    t->symbol = mem_alloc(n, sizeof *t->symbol);
    read_symbols(b, n, first, symbol);
    l = (int64_t)bits_u(b, 5);
    for (i = 0; i < n; i++) {
        if (i) {
            int64_t d = se_wide(b);
            if (d < -LENGTH_MAX || d > LENGTH_MAX)
                fail("OUT_OF_RANGE");
            l += d;
        }
        if (l < 0 || l > LENGTH_MAX)
            fail("OUT_OF_RANGE");
        length[i] = (uint8_t)l;
    }
    sort_by_length(t, symbol, length);
    mem_free(symbol);
    mem_free(length);
}

static int64_t decode_symbol(Bits *b, const Table *t)
{
    uint32_t code = 0;
    int length = 0;
    for (;;) {
        if (code - t->start[length] < t->count[length])
            return t->symbol[t->before[length] + (code - t->start[length])];
        if (++length > LENGTH_MAX)
            fail("ENTROPY_END"); /* not reached: the code is complete */
        code = code << 1 | (uint32_t)bits_u(b, 1);
    }
}

/* 9.7.3: what symbols of index tables stand for */
typedef struct {
    uint64_t least;
    int extra;
} Range;

static Range range_of(int64_t s, int64_t S, uint64_t bound, int precision)
{
    Range r;
    int64_t e = max64((s >> precision) - 1, 0);
    r.least = (uint64_t)((s - e * ((int64_t)1 << precision)) * ((int64_t)1 << e)) + 1;
    r.extra = s == S ? bit_length(bound - r.least) : (int)e;
    return r;
}

typedef struct {
    Table value, index[8];
    uint64_t bound;
    int precision, thresholds;
    int64_t S, threshold[7];
} Code;

static void read_index_tables(Bits *b, Code *c)
{
    int k, e;
    int64_t sum = 0;
    uint64_t i;
    c->bound = bits_u(b, 16) + 1;
    c->precision = (int)bits_u(b, 4);
    c->thresholds = (int)bits_u(b, 3);
    for (k = 0; k < c->thresholds; k++) {
        uint64_t d = bits_ue_wide(b, 63);
        if (d > 1 << 20)
            fail("OUT_OF_RANGE"); /* R9.7.1-1 */
        sum += (int64_t)d;
        c->threshold[k] = sum;
    }
    e = bit_length(c->bound - 1) - c->precision - 1;
    e = e > 0 ? e : 0;
    c->S = ((int64_t)e << c->precision) + (int64_t)((c->bound - 1) >> e);
    for (k = 0; k <= c->thresholds; k++) {
        uint64_t n = bits_ue_wide(b, 63), first = bits_ue_wide(b, 63);
        if (first > (uint64_t)c->S || n > (uint64_t)c->S - first)
            fail("OUT_OF_RANGE"); /* R9.7.3-3: symbols rise */
        read_table(b, &c->index[k], n + 1, (int64_t)first);
        for (i = 0; i < n + 1; i++)
            if (c->index[k].symbol[i] > c->S)
                fail("OUT_OF_RANGE");
    }
}

/* 9.7.4 */
static void read_entries(Bits *b, const Code *c, uint64_t entries, uint64_t count, uint64_t *out)
{
    uint64_t i, next = 0; /* position + 1 */
    int64_t mean = MEAN_START;
    for (i = 0; i < entries; i++) {
        Range r;
        uint64_t distance;
        int k = 0;
        while (k < c->thresholds && c->threshold[k] <= mean)
            k++;
        r = range_of(decode_symbol(b, &c->index[k]), c->S, c->bound, c->precision);
        distance = r.least + bits_u(b, r.extra);
        if (distance > count - next)
            fail("OUT_OF_RANGE"); /* R9.7.4-1 */
        next += distance;
        out[next - 1] = (uint64_t)decode_symbol(b, &c->value);
        mean += sar((int64_t)distance * 16 - mean, 3);
    }
}

/* R9.7.1-4, for the table; what is decoded is checked by check_integer( ) */
static void check_symbol(const Component *c, int64_t symbol)
{
    int bytes = element_type((unsigned)c->word_type)->word_bytes;
    if (c->words_flag && bytes < 8 && (uint64_t)symbol & ~mask_bits(8 * bytes))
        fail("OUT_OF_RANGE");
}

void decode_huffman(const Payload *p, const Component *c, uint64_t max_values, const uint64_t *pred, uint64_t *out)
{
    static const Code none;
    Code code = none;
    Bits b;
    uint64_t entries, i, n, count = c->word_count;
    int k, width;
    (void)pred;
    bits_init(&b, p->coded, p->coded_size, "ENTROPY_END");
    for (i = 0; i < count; i++)
        out[i] = 0;
    entries = bits_u(&b, bit_length(count));
    if (entries > count)
        fail("OUT_OF_RANGE"); /* R9.7.1-1 */
    if (entries > 0) {
        n = bits_ue_wide(&b, 63);
        if (n >= (uint64_t)1 << 63)
            fail("OUT_OF_RANGE");
        if (n + 1 > max_values)
            fail("RESOURCE_LIMIT"); /* R9.7.1-2 */
        width = (int)bits_u(&b, 6) + 1;
        i = bits_u(&b, width);
        if (i >> (width - 1))
            i |= ~mask_bits(width);
        read_table(&b, &code.value, n + 1, i >> 63 ? -(int64_t)(~i) - 1 : (int64_t)i);
        for (i = 0; i <= n; i++)
            check_symbol(c, code.value.symbol[i]);
        read_index_tables(&b, &code);
        read_entries(&b, &code, entries, count, out);
        for (i = 0; i < count; i++)
            check_integer(c, out[i]);
    }
    while (b.pos & 7)
        if (bits_u(&b, 1))
            fail("ENTROPY_END"); /* R9.7.1-3 */
    if (bits_left(&b))
        fail("ENTROPY_END");
    mem_free(code.value.symbol);
    for (k = 0; k < 8; k++)
        mem_free(code.index[k].symbol);
}
