/* SPDX-License-Identifier: Apache-2.0
 * Damage for fuzz.c: to the bytes of a stream, and to one of its units, after
 * which every check, size and count is made anew, so that it gets past them. */
#include "omc.h"

#include <string.h>

static uint64_t seed; /* of what follows: an input can be made again alone */

static uint64_t any(uint64_t below)
{
    uint64_t z = seed += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return below ? z % below : z;
}

/* One change of size bytes, of room for most; returns the new size. */
static size_t damage(uint8_t *p, size_t size, size_t most)
{
    static const uint8_t extremes[] = {0, 1, 127, 128, 254, 255};
    size_t at = size ? any(size) : 0, n = any(8) ? 1 + any(8) : 1 + any(64), to;
    if (!size)
        return 0;
    n = n < size - at ? n : size - at;
    switch (any(9)) {
    case 0: case 1: p[at] ^= (uint8_t)(1 << any(8)); break;
    case 2: p[at] = (uint8_t)any(256); break;
    case 3: p[at] = extremes[any(6)]; break;
    case 4: p[at] = (uint8_t)(p[at] + any(33) - 16); break;
    case 5: while (n--) p[at++] = (uint8_t)any(256); break;
    case 6: memset(p + at, extremes[any(6)], n); break;
    case 7: memmove(p + at, p + at + n, size - at - n); return size - n;
    default: /* repeat some bytes elsewhere */
        to = any(size - n + 1);
        if (any(2) || size + n > most) {
            memmove(p + to, p + at, n);
            return size;
        }
        memmove(p + to + n, p + to, size - to);
        return size + n;
    }
    return size;
}

static size_t put_leb(uint8_t *to, uint64_t v)
{
    size_t n = 0;
    for (; v > 127; v >>= 7)
        to[n++] = (uint8_t)(v | 128);
    to[n++] = (uint8_t)v;
    return n;
}

static size_t get_leb(const uint8_t *p, size_t size, uint64_t *v)
{
    size_t n = 0;
    for (*v = 0; n < size && n < 9; n++) {
        *v |= (uint64_t)(p[n] & 127) << (7 * n);
        if (p[n] < 128)
            return n + 1;
    }
    return 0;
}

typedef struct {
    const uint8_t *unit; /* of total bytes: head of head bytes, body of size, 4 more */
    size_t total, head, size;
    uint64_t expanded;
} Piece;

#define INPUT_MAX ((size_t)1 << 18)
#define PIECES 512

static size_t cut(const uint8_t *data, size_t size, Piece *piece)
{
    size_t count = 0, at = 4;
    while (at < size && count < PIECES) {
        Piece *p = &piece[count];
        uint64_t body;
        size_t n = 1, k = get_leb(data + at + 1, size - at - 1, &body);
        p->unit = data + at;
        p->expanded = 0;
        n += k;
        if (k && data[at] & 3) {
            k = get_leb(data + at + n, size - at - n, &p->expanded);
            n += k;
        }
        if (!k || body > size - at - n || size - at - n - body < 4)
            break;
        p->head = n;
        p->size = (size_t)body;
        p->total = n + p->size + 4;
        at += p->total;
        count++;
    }
    return count;
}

/* One unit changed, moved, dropped or repeated, and every check, size and count made anew. */
static size_t damage_units(const uint8_t *data, size_t size, const Piece *other, size_t others, uint8_t *out, size_t most)
{
    static Piece piece[PIECES];
    static uint8_t body[INPUT_MAX];
    size_t count = cut(data, size, piece), chosen, at = 4, i;
    uint64_t models = 0, units = 0, index_offset = 0;
    uint64_t what = any(24);
    if (count < 2 || size > most / 2)
        return 0;
    memcpy(out, data, 4);
    chosen = any(4) ? any(count) : count - 1 - any(count < 6 ? count : 6);
    for (i = 0; i < count; i++) {
        Piece p = piece[i];
        int times = i == chosen && what < 2 ? (int)what * 2 : 1; /* 0: drop, 1: repeat */
        if (i == chosen && what == 2 && others)
            p = other[any(others)];
        if (i == chosen && what == 3)
            p = piece[any(count)];
        while (times--) {
            size_t n = p.size, start = at, k;
            uint8_t kind = p.unit[0];
            uint32_t check;
            if (at + n + 4096 > most)
                return 0;
            memcpy(body, p.unit + p.head, n);
            if (kind >> 2 == U_STREAM_END && n == 16 && what != 4) {
                uint64_t values[2];
                values[0] = models << 32 | (units + 1);
                values[1] = index_offset;
                for (k = 0; k < 16; k++)
                    body[k] = (uint8_t)(values[k / 8] >> (56 - 8 * (k % 8)));
            }
            if (i == chosen && what > 3)
                for (k = any(2) ? 1 : 1 + any(5); k--;)
                    n = damage(body, n, n + 1024);
            if (i == chosen && what == 5)
                kind = (uint8_t)any(256);
            out[at++] = kind;
            at += put_leb(out + at, n);
            if (kind & 3)
                at += put_leb(out + at, what == 6 && i == chosen ? any(1 << 16) : p.expanded);
            memcpy(out + at, body, n);
            at += n;
            check = crc32_of(out + start, at - start);
            for (k = 0; k < 4; k++)
                out[at++] = (uint8_t)(check >> (24 - 8 * k));
            units++;
            models += kind >> 2 == U_MODEL_HEADER;
            if (kind >> 2 == U_INDEX)
                index_offset = start;
        }
    }
    return at;
}

#ifdef LIBFUZZER

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned number)
{
    static uint8_t out[INPUT_MAX];
    size_t n = 0;
    seed = number;
    if (any(8))
        n = damage_units(data, size, NULL, 0, out, most < INPUT_MAX ? most : INPUT_MAX);
    if (!n)
        return LLVMFuzzerMutate(data, size, most);
    memcpy(data, out, n);
    return n;
}

#endif
