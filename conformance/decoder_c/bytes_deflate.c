/* SPDX-License-Identifier: Apache-2.0
 * DEFLATE (RFC 1951) with a preset dictionary (7.2), zlib (RFC 1950) and gzip
 * (RFC 1952). */
#include "omc.h"

#include <string.h>

typedef struct {
    const uint8_t *in;
    uint64_t n, at;
    uint32_t hold; /* bits not used yet, first bit lowest */
    int held;
    int bad; /* damaged, or the input ended */
    const uint8_t *dict;
    uint64_t dict_size;
    uint8_t *out;
    uint64_t size, done;
    int too_long;
} Inflate;

static uint32_t bits(Inflate *s, int n)
{
    uint32_t v;
    while (s->held < n) {
        if (s->at >= s->n) {
            s->bad = 1;
            return 0;
        }
        s->hold |= (uint32_t)s->in[s->at++] << s->held;
        s->held += 8;
    }
    v = s->hold & (((uint32_t)1 << n) - 1);
    s->hold >>= n;
    s->held -= n;
    return v;
}

/* ---- codes: 3.2.2 of RFC 1951 ---- */

typedef struct {
    uint16_t count[16], symbol[288];
} Code;

/* Returns the number of codewords left over, or -1 if there are too many. */
static int make_code(Code *c, const uint8_t *length, int n)
{
    int offset[16], i, left = 1;
    memset(c->count, 0, sizeof c->count);
    for (i = 0; i < n; i++)
        c->count[length[i]]++;
    c->count[0] = 0;
    for (i = 1; i < 16; i++) {
        left = 2 * left - c->count[i];
        if (left < 0)
            return -1;
    }
    offset[1] = 0;
    for (i = 1; i < 15; i++)
        offset[i + 1] = offset[i] + c->count[i];
    for (i = 0; i < n; i++)
        if (length[i])
            c->symbol[offset[length[i]]++] = (uint16_t)i;
    return left;
}

/* A code may be incomplete only if it has no codeword or one of 1 bit. */
static int code_ok(const Code *c, int left)
{
    int i, total = 0;
    for (i = 1; i < 16; i++)
        total += c->count[i];
    return left == 0 || (left > 0 && (total == 0 || (total == 1 && c->count[1] == 1)));
}

static int symbol(Inflate *s, const Code *c)
{
    int code = 0, first = 0, index = 0, l;
    for (l = 1; l < 16; l++) {
        code |= (int)bits(s, 1);
        if (s->bad)
            return 0;
        if (code - first < c->count[l])
            return c->symbol[index + code - first];
        index += c->count[l];
        first = (first + c->count[l]) * 2;
        code *= 2;
    }
    s->bad = 1; /* no such codeword */
    return 0;
}

/* ---- blocks ---- */

static void put(Inflate *s, uint8_t byte)
{
    if (s->done == s->size)
        s->too_long = 1;
    else
        s->out[s->done++] = byte;
}

static void copy(Inflate *s, uint64_t distance, int length)
{
    if (distance > s->done + s->dict_size) {
        s->bad = 1;
        return;
    }
    while (length-- > 0 && !s->too_long)
        put(s, distance <= s->done ? s->out[s->done - distance] : s->dict[s->dict_size + s->done - distance]);
}

static void codes(Inflate *s, const Code *literal, const Code *distance)
{
    static const uint16_t base[29] = {3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27,
                                      31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
    static const uint8_t extra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    while (!s->bad && !s->too_long) {
        int v = symbol(s, literal), d, length, e;
        uint64_t far;
        if (s->bad || v == 256)
            return;
        if (v < 256) {
            put(s, (uint8_t)v);
            continue;
        }
        if (v > 285) {
            s->bad = 1;
            return;
        }
        length = base[v - 257] + (int)bits(s, extra[v - 257]);
        d = symbol(s, distance);
        if (s->bad || d > 29) {
            s->bad = 1;
            return;
        }
        e = d < 2 ? 0 : d / 2 - 1;
        far = (d < 2 ? (uint64_t)d : (uint64_t)(2 + (d & 1)) << e) + 1 + bits(s, e);
        if (!s->bad)
            copy(s, far, length);
    }
}

static void fixed_block(Inflate *s)
{
    uint8_t length[288];
    Code literal, distance;
    int i;
    for (i = 0; i < 288; i++)
        length[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    make_code(&literal, length, 288);
    memset(length, 5, 32);
    make_code(&distance, length, 32);
    codes(s, &literal, &distance);
}

static void dynamic_block(Inflate *s)
{
    static const uint8_t order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    uint8_t length[320] = {0};
    Code code, literal, distance;
    int literals = (int)bits(s, 5) + 257, distances = (int)bits(s, 5) + 1, n = (int)bits(s, 4) + 4, i;
    if (s->bad || literals > 286 || distances > 30) {
        s->bad = 1;
        return;
    }
    for (i = 0; i < n; i++)
        length[order[i]] = (uint8_t)bits(s, 3);
    if (s->bad || make_code(&code, length, 19) != 0) {
        s->bad = 1;
        return;
    }
    memset(length, 0, sizeof length);
    for (i = 0; i < literals + distances && !s->bad;) {
        int v = symbol(s, &code), repeat = 1;
        uint8_t l = (uint8_t)v;
        if (v == 16) {
            if (i == 0)
                s->bad = 1;
            else
                l = length[i - 1];
            repeat = 3 + (int)bits(s, 2);
        } else if (v > 16) {
            l = 0;
            repeat = v == 17 ? 3 + (int)bits(s, 3) : 11 + (int)bits(s, 7);
        }
        if (i + repeat > literals + distances)
            s->bad = 1;
        else
            while (repeat-- > 0)
                length[i++] = l;
    }
    if (s->bad || length[256] == 0 || !code_ok(&literal, make_code(&literal, length, literals)) ||
        !code_ok(&distance, make_code(&distance, length + literals, distances)))
        s->bad = 1;
    else
        codes(s, &literal, &distance);
}

static void stored_block(Inflate *s)
{
    uint32_t n, inverse;
    s->hold = 0; /* fewer than 8 bits are held */
    s->held = 0;
    n = bits(s, 16);
    inverse = bits(s, 16);
    if (s->bad || (n ^ 0xFFFF) != inverse)
        s->bad = 1;
    while (!s->bad && !s->too_long && n-- > 0)
        put(s, (uint8_t)bits(s, 8));
}

Expand inflate_raw(const uint8_t *in, uint64_t n, uint64_t *used, const uint8_t *dict, uint64_t dict_size,
                   uint8_t *out, uint64_t out_size)
{
    Inflate s;
    int last;
    memset(&s, 0, sizeof s);
    s.in = in;
    s.n = n;
    s.dict = dict;
    s.dict_size = dict_size;
    s.out = out;
    s.size = out_size;
    do {
        int type;
        last = (int)bits(&s, 1);
        type = (int)bits(&s, 2);
        if (s.bad)
            break;
        if (type == 0)
            stored_block(&s);
        else if (type == 1)
            fixed_block(&s);
        else if (type == 2)
            dynamic_block(&s);
        else
            s.bad = 1;
    } while (!last && !s.bad && !s.too_long);
    *used = s.at;
    return s.too_long ? X_SIZE : s.bad ? X_DAMAGED : s.done == out_size ? X_OK : X_SIZE;
}

/* ---- containers ---- */

static uint32_t adler32(const uint8_t *p, uint64_t n)
{
    uint32_t a = 1, b = 0;
    uint64_t i;
    for (i = 0; i < n; i++) {
        a = (a + p[i]) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

Expand expand_zlib(const uint8_t *in, uint64_t n, uint8_t *out, uint64_t out_size)
{
    uint64_t used;
    Expand r;
    uint32_t check;
    if (n < 6 || (in[0] & 15) != 8 || in[0] >> 4 > 7 || (in[0] * 256 + in[1]) % 31 || (in[1] & 32))
        return X_DAMAGED; /* R9.9.2-2: FDICT is 0 */
    r = inflate_raw(in + 2, n - 6, &used, NULL, 0, out, out_size);
    if (r != X_OK)
        return r;
    if (used != n - 6)
        return X_SIZE;
    in += n - 4;
    check = (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
    return check == adler32(out, out_size) ? X_OK : X_DAMAGED;
}

Expand expand_gzip(const uint8_t *in, uint64_t n, uint8_t *out, uint64_t out_size)
{
    uint64_t used;
    Expand r;
    if (n < 18 || in[0] != 0x1F || in[1] != 0x8B || in[2] != 8 || in[3] != 0)
        return X_DAMAGED; /* R9.9.2-3: FLG is 0 */
    r = inflate_raw(in + 10, n - 18, &used, NULL, 0, out, out_size);
    if (r != X_OK)
        return r;
    if (used != n - 18)
        return X_SIZE;
    in += n - 8;
    if (word_get(in, 4, 0) != crc32_of(out, out_size) || word_get(in, 4, 1) != (out_size & 0xFFFFFFFF))
        return X_DAMAGED;
    return X_OK;
}
