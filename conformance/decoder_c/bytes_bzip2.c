/* SPDX-License-Identifier: Apache-2.0
 * One bzip2 stream, as the decoder of bzip2 1.0.8 takes it (9.9.3). */
#include "omc.h"

#include <string.h>

#define MAX_LENGTH 20
#define GROUP 50
#define MAX_SELECTORS 18002

typedef struct {
    const uint8_t *in;
    uint64_t n, at; /* at: in bits */
    int bad;
    uint8_t *out;
    uint64_t size, done;
    int too_long;
    uint32_t *block; /* low byte: symbol of the block; above: links */
    uint32_t block_max;
    uint32_t crc;
} Bz;

static uint32_t bits(Bz *s, int n)
{
    uint32_t v = 0;
    while (n-- > 0) {
        if (s->at >= s->n * 8) {
            s->bad = 1;
            return 0;
        }
        v = v << 1 | (s->in[s->at / 8] >> (7 - s->at % 8) & 1u);
        s->at++;
    }
    return v;
}

/* ---- prefix codes ---- */

typedef struct {
    int32_t limit[MAX_LENGTH + 2], base[MAX_LENGTH + 2];
    int perm[258], least;
} Code;

static void make_code(Code *c, const uint8_t *length, int n)
{
    int32_t count[MAX_LENGTH + 2] = {0}, code = 0;
    int i, l, at = 0;
    memset(c, 0, sizeof *c);
    c->least = MAX_LENGTH;
    for (l = 1; l <= MAX_LENGTH; l++)
        for (i = 0; i < n; i++)
            if (length[i] == l) {
                c->perm[at++] = i;
                count[l]++;
            }
    at = 0;
    for (l = 1; l <= MAX_LENGTH; l++) {
        if (count[l] && l < c->least)
            c->least = l;
        c->base[l] = code - at; /* codeword - base is the index into perm */
        code += count[l];
        at += count[l];
        c->limit[l] = code - 1;
        code *= 2; /* at most 258 * 2^20 */
    }
}

static int symbol(Bz *s, const Code *c)
{
    int l = c->least;
    int32_t v = (int32_t)bits(s, l);
    while (!s->bad && v > c->limit[l]) {
        if (++l > MAX_LENGTH)
            s->bad = 1;
        v = v << 1 | (int32_t)bits(s, 1);
    }
    if (!s->bad && (v - c->base[l] < 0 || v - c->base[l] >= 258))
        s->bad = 1;
    return s->bad ? 0 : c->perm[v - c->base[l]];
}

/* ---- tables of a block ---- */

typedef struct {
    uint8_t used[256];
    int used_count, groups, selectors;
    uint8_t selector[MAX_SELECTORS];
    Code code[6];
} Tables;

static void read_used(Bz *s, Tables *t)
{
    uint32_t rows = bits(s, 16), row;
    int i, j;
    t->used_count = 0;
    for (i = 0; i < 16; i++)
        if (rows >> (15 - i) & 1) {
            row = bits(s, 16);
            for (j = 0; j < 16; j++)
                if (row >> (15 - j) & 1)
                    t->used[t->used_count++] = (uint8_t)(16 * i + j);
        }
    if (t->used_count == 0)
        s->bad = 1;
}

static void read_selectors(Bz *s, Tables *t)
{
    uint8_t order[6] = {0, 1, 2, 3, 4, 5};
    int n, i, j;
    t->groups = (int)bits(s, 3);
    n = (int)bits(s, 15);
    if (t->groups < 2 || t->groups > 6 || n < 1)
        s->bad = 1;
    for (i = 0; i < n && !s->bad; i++) {
        uint8_t x;
        for (j = 0; bits(s, 1); )
            if (++j >= t->groups) {
                s->bad = 1;
                return;
            }
        x = order[j];
        memmove(order + 1, order, (size_t)j);
        order[0] = x;
        if (i < MAX_SELECTORS) /* more of them are read and not used */
            t->selector[i] = x;
    }
    t->selectors = n < MAX_SELECTORS ? n : MAX_SELECTORS;
}

static void read_codes(Bz *s, Tables *t)
{
    uint8_t length[258];
    int g, i, n = t->used_count + 2;
    for (g = 0; g < t->groups && !s->bad; g++) {
        int l = (int)bits(s, 5);
        for (i = 0; i < n && !s->bad; i++) {
            for (;;) {
                if (l < 1 || l > 20)
                    s->bad = 1;
                if (s->bad || !bits(s, 1))
                    break;
                l += bits(s, 1) ? -1 : 1;
            }
            length[i] = (uint8_t)l;
        }
        if (!s->bad)
            make_code(&t->code[g], length, n);
    }
}

/* ---- the symbols of a block: runs and move to front ---- */

static uint32_t read_symbols(Bz *s, Tables *t)
{
    uint8_t order[256];
    uint32_t n = 0;
    uint64_t run = 0, weight = 1;
    int group = -1, left = 0, end = t->used_count + 1;
    memcpy(order, t->used, 256);
    for (;;) {
        int v;
        if (left == 0) {
            if (++group >= t->selectors)
                s->bad = 1;
            left = GROUP;
        }
        if (s->bad)
            return 0;
        left--;
        v = symbol(s, &t->code[t->selector[group]]);
        if (s->bad)
            return 0;
        if (v <= 1) { /* a digit, 1 or 2, of the length of a run */
            if (weight >= 2 * 1024 * 1024) {
                s->bad = 1;
                return 0;
            }
            run += weight << v;
            weight *= 2;
            continue;
        }
        if (run > s->block_max - n) {
            s->bad = 1;
            return 0;
        }
        while (run > 0) {
            s->block[n++] = order[0];
            run--;
        }
        weight = 1;
        if (v == end)
            return n;
        if (n >= s->block_max) {
            s->bad = 1;
            return 0;
        }
        {
            uint8_t x = order[v - 1];
            memmove(order + 1, order, (size_t)(v - 1));
            order[0] = x;
            s->block[n++] = x;
        }
    }
}

/* ---- the inverse of the sort, and of the first run-length code ---- */

static void put(Bz *s, uint8_t byte, int times)
{
    while (times-- > 0 && !s->too_long) {
        int k;
        if (s->done == s->size) {
            s->too_long = 1;
            return;
        }
        s->out[s->done++] = byte;
        s->crc ^= (uint32_t)byte << 24;
        for (k = 0; k < 8; k++)
            s->crc = s->crc << 1 ^ (s->crc >> 31 ? 0x04C11DB7u : 0);
    }
}

static void write_block(Bz *s, uint32_t n, uint32_t origin)
{
    uint32_t start[256] = {0}, i, sum = 0, at;
    int last = -1, run = 0;
    if (origin >= n) {
        s->bad = 1;
        return;
    }
    for (i = 0; i < n; i++)
        start[s->block[i] & 255]++;
    for (i = 0; i < 256; i++) {
        uint32_t c = start[i];
        start[i] = sum;
        sum += c;
    }
    for (i = 0; i < n; i++)
        s->block[start[s->block[i] & 255]++] |= i << 8;
    at = s->block[origin] >> 8;
    for (i = 0; i < n; i++) {
        int byte = (int)(s->block[at] & 255);
        at = s->block[at] >> 8;
        if (run == 4) { /* after four equal bytes: a count */
            put(s, (uint8_t)last, byte);
            run = 0;
            last = -1;
            continue;
        }
        run = byte == last ? run + 1 : 1;
        last = byte;
        put(s, (uint8_t)byte, 1);
    }
    if (run == 4)
        s->bad = 1; /* the count is missing */
}

static void block(Bz *s, Tables *t)
{
    uint32_t check = bits(s, 32), origin, n;
    if (bits(s, 1))
        s->bad = 1; /* R9.9.2-4: randomised */
    origin = bits(s, 24);
    read_used(s, t);
    if (!s->bad)
        read_selectors(s, t);
    if (!s->bad)
        read_codes(s, t);
    n = s->bad ? 0 : read_symbols(s, t);
    if (s->bad)
        return;
    s->crc = 0xFFFFFFFF;
    write_block(s, n, origin);
    s->crc = ~s->crc;
    if (!s->too_long && s->crc != check)
        s->bad = 1;
}

Expand expand_bzip2(const uint8_t *in, uint64_t n, uint8_t *out, uint64_t out_size)
{
    Bz s;
    Tables *t;
    uint32_t combined = 0;
    memset(&s, 0, sizeof s);
    s.in = in;
    s.n = n;
    s.out = out;
    s.size = out_size;
    if (n < 14 || memcmp(in, "BZh", 3) || in[3] < '1' || in[3] > '9')
        return X_DAMAGED;
    s.at = 32;
    s.block_max = 100000u * (uint32_t)(in[3] - '0');
    s.block = mem_alloc(s.block_max, sizeof *s.block);
    t = mem_alloc(1, sizeof *t);
    while (!s.bad && !s.too_long) {
        uint32_t high = bits(&s, 24), low = bits(&s, 24);
        if (high == 0x177245 && low == 0x385090) { /* the end */
            if (bits(&s, 32) != combined)
                s.bad = 1;
            break;
        }
        if (s.bad || high != 0x314159 || low != 0x265359) {
            s.bad = 1;
            break;
        }
        block(&s, t);
        combined = (combined << 1 | combined >> 31) ^ s.crc;
    }
    mem_free(s.block);
    mem_free(t);
    if (s.too_long)
        return X_SIZE;
    if (s.bad)
        return X_DAMAGED;
    return s.done == out_size && (s.at + 7) / 8 == n ? X_OK : X_SIZE;
}
