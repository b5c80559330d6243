/* SPDX-License-Identifier: Apache-2.0
 * One LZMA2 stream: chunks up to and with the end marker 0x00 (7.2, 9.9.2). */
#include "omc.h"

#include <string.h>

#define DICTIONARY ((uint64_t)1 << 24)

typedef uint16_t Prob;

typedef struct {
    Prob choice, choice2, low[16][8], mid[16][8], high[256];
} Lengths;

typedef struct {
    const uint8_t *in;
    uint64_t end, at; /* of the chunk's range-coded bytes */
    uint32_t range, code;
    int bad;
    uint8_t *out;
    uint64_t done, start, chunk_end; /* start: where the dictionary begins */
    int lc, lp, pb, state;
    uint64_t rep[4];
    Prob is_match[12][16], is_rep[12], is_rep0[12], is_rep1[12], is_rep2[12], is_rep0_long[12][16];
    Prob slot[4][64], special[128], align[16];
    Lengths match_length, rep_length;
    Prob literal[0x300 << 4];
} Lzma;

/* ---- binary range coder of LZMA: 11-bit probabilities of a 0 ---- */

static void normalise(Lzma *s)
{
    if (s->range < (uint32_t)1 << 24) {
        s->range <<= 8;
        s->code <<= 8;
        if (s->at >= s->end)
            s->bad = 1;
        else
            s->code |= s->in[s->at++];
    }
}

static uint32_t bit(Lzma *s, Prob *p)
{
    uint32_t bound;
    normalise(s);
    bound = (s->range >> 11) * *p;
    if (s->code < bound) {
        s->range = bound;
        *p = (Prob)(*p + ((2048 - *p) >> 5));
        return 0;
    }
    s->range -= bound;
    s->code -= bound;
    *p = (Prob)(*p - (*p >> 5));
    return 1;
}

static uint32_t direct(Lzma *s, int n)
{
    uint32_t v = 0;
    while (n-- > 0) {
        normalise(s);
        s->range >>= 1;
        v <<= 1;
        if (s->code >= s->range) {
            s->code -= s->range;
            v |= 1;
        }
    }
    return v;
}

static uint32_t tree(Lzma *s, Prob *p, int n)
{
    uint32_t m = 1;
    int i;
    for (i = 0; i < n; i++)
        m = 2 * m + bit(s, p + m);
    return m - ((uint32_t)1 << n);
}

static uint32_t reverse_tree(Lzma *s, Prob *p, int n)
{
    uint32_t m = 1, v = 0;
    int i;
    for (i = 0; i < n; i++) {
        uint32_t b = bit(s, p + m);
        m = 2 * m + b;
        v |= b << i;
    }
    return v;
}

/* ---- resets ---- */

static void fill(void *p, size_t bytes)
{
    Prob *q = p;
    size_t i;
    for (i = 0; i < bytes / sizeof *q; i++)
        q[i] = 1024;
}

static void reset_state(Lzma *s)
{
    s->state = 0;
    memset(s->rep, 0, sizeof s->rep);
    fill(s->is_match, sizeof s->is_match);
    fill(s->is_rep, sizeof s->is_rep);
    fill(s->is_rep0, sizeof s->is_rep0);
    fill(s->is_rep1, sizeof s->is_rep1);
    fill(s->is_rep2, sizeof s->is_rep2);
    fill(s->is_rep0_long, sizeof s->is_rep0_long);
    fill(s->slot, sizeof s->slot);
    fill(s->special, sizeof s->special);
    fill(s->align, sizeof s->align);
    fill(&s->match_length, sizeof s->match_length);
    fill(&s->rep_length, sizeof s->rep_length);
    fill(s->literal, sizeof s->literal);
}

static int set_properties(Lzma *s, int byte)
{
    if (byte >= 9 * 5 * 5)
        return 0;
    s->lc = byte % 9;
    s->lp = byte / 9 % 5;
    s->pb = byte / 45;
    return s->lc + s->lp <= 4;
}

/* ---- literals and matches; rep[ ] holds distances less 1 ---- */

static int distance_ok(const Lzma *s, uint64_t less1)
{
    return less1 < s->done - s->start && less1 < DICTIONARY;
}

static void literal(Lzma *s)
{
    uint64_t position = s->done - s->start;
    uint32_t before = position ? s->out[s->done - 1] : 0, m = 1;
    uint32_t which = ((uint32_t)(position & (((uint64_t)1 << s->lp) - 1)) << s->lc) + (before >> (8 - s->lc));
    Prob *p = s->literal + 0x300 * which;
    if (s->state >= 7) {
        uint32_t match, b;
        if (!distance_ok(s, s->rep[0])) {
            s->bad = 1;
            return;
        }
        match = s->out[s->done - s->rep[0] - 1];
        do {
            uint32_t mb = match >> 7 & 1;
            match <<= 1;
            b = bit(s, p + ((1 + mb) << 8) + m);
            m = 2 * m + b;
            if (mb != b)
                break;
        } while (m < 0x100);
    }
    while (m < 0x100)
        m = 2 * m + bit(s, p + m);
    s->out[s->done++] = (uint8_t)m;
    s->state = s->state < 4 ? 0 : s->state < 10 ? s->state - 3 : s->state - 6;
}

static uint32_t length_of(Lzma *s, Lengths *l, uint32_t pos_state)
{
    if (!bit(s, &l->choice))
        return 2 + tree(s, l->low[pos_state], 3);
    if (!bit(s, &l->choice2))
        return 10 + tree(s, l->mid[pos_state], 3);
    return 18 + tree(s, l->high, 8);
}

static uint64_t distance_of(Lzma *s, uint32_t length)
{
    uint32_t slot = tree(s, s->slot[length < 6 ? length - 2 : 3], 6), d;
    int n = (int)(slot >> 1) - 1;
    if (slot < 4)
        return slot;
    d = (2 | (slot & 1)) << n;
    if (slot < 14)
        return d + reverse_tree(s, s->special + d - slot, n);
    d += direct(s, n - 4) << 4;
    return (uint64_t)d + reverse_tree(s, s->align, 4);
}

static void match(Lzma *s, uint32_t pos_state)
{
    uint32_t length;
    if (!bit(s, &s->is_rep[s->state])) { /* a new distance */
        length = length_of(s, &s->match_length, pos_state);
        memmove(s->rep + 1, s->rep, 3 * sizeof s->rep[0]);
        s->rep[0] = distance_of(s, length);
        s->state = s->state < 7 ? 7 : 10;
    } else {
        if (!bit(s, &s->is_rep0[s->state])) {
            if (!bit(s, &s->is_rep0_long[s->state][pos_state])) { /* one byte */
                s->state = s->state < 7 ? 9 : 11;
                if (!distance_ok(s, s->rep[0]))
                    s->bad = 1;
                else
                    s->out[s->done] = s->out[s->done - s->rep[0] - 1], s->done++;
                return;
            }
        } else {
            uint64_t d;
            int k = !bit(s, &s->is_rep1[s->state]) ? 1 : !bit(s, &s->is_rep2[s->state]) ? 2 : 3;
            d = s->rep[k];
            memmove(s->rep + 1, s->rep, (size_t)k * sizeof s->rep[0]);
            s->rep[0] = d;
        }
        length = length_of(s, &s->rep_length, pos_state);
        s->state = s->state < 7 ? 8 : 11;
    }
    if (!distance_ok(s, s->rep[0]) || length > s->chunk_end - s->done) {
        s->bad = 1; /* also the end marker of LZMA, which LZMA2 has not */
        return;
    }
    while (length-- > 0) {
        s->out[s->done] = s->out[s->done - s->rep[0] - 1];
        s->done++;
    }
}

/* the LZMA data of one chunk, n bytes */
static void lzma_chunk(Lzma *s, uint64_t n)
{
    int k;
    s->end = s->at + n;
    if (n < 5 || s->in[s->at] != 0) {
        s->bad = 1;
        return;
    }
    s->range = 0xFFFFFFFF;
    s->code = 0;
    for (s->at++, k = 0; k < 4; k++)
        s->code = s->code << 8 | s->in[s->at++];
    while (s->done < s->chunk_end && !s->bad) {
        uint32_t pos_state = (uint32_t)((s->done - s->start) & (((uint64_t)1 << s->pb) - 1));
        if (bit(s, &s->is_match[s->state][pos_state]))
            match(s, pos_state);
        else
            literal(s);
    }
    normalise(s);
    if (s->at != s->end || s->code != 0)
        s->bad = 1;
}

/* ---- chunks ---- */

Expand expand_lzma2(const uint8_t *in, uint64_t n, uint8_t *out, uint64_t out_size)
{
    Lzma *s = mem_alloc(1, sizeof *s);
    int need_dictionary = 1, need_properties = 1;
    Expand result = X_DAMAGED;
    s->in = in;
    s->out = out;
    while (s->at < n) {
        int control = in[s->at++];
        uint64_t size, coded;
        if (control == 0) {
            result = s->done == out_size && s->at == n ? X_OK : X_SIZE;
            break;
        }
        if (control >= 0xE0 || control == 1) {
            need_dictionary = 0;
            need_properties = 1;
            s->start = s->done;
        } else if (need_dictionary) {
            break;
        }
        if ((control > 2 && control < 0x80) || n - s->at < 2)
            break;
        size = (uint64_t)in[s->at] * 256 + in[s->at + 1] + 1;
        s->at += 2;
        if (control < 0x80) { /* bytes as they are */
            if (size > n - s->at)
                break;
            if (size > out_size - s->done) {
                result = X_SIZE;
                break;
            }
            memcpy(out + s->done, in + s->at, (size_t)size);
            s->done += size;
            s->at += size;
            continue;
        }
        size += (uint64_t)(control & 31) << 16;
        if (n - s->at < 2)
            break;
        coded = (uint64_t)in[s->at] * 256 + in[s->at + 1] + 1;
        s->at += 2;
        if (control >= 0xC0) {
            if (s->at >= n || !set_properties(s, in[s->at++]))
                break;
            need_properties = 0;
        } else if (need_properties) {
            break;
        }
        if (control >= 0xA0)
            reset_state(s);
        if (coded > n - s->at)
            break;
        if (size > out_size - s->done) {
            result = X_SIZE;
            break;
        }
        s->chunk_end = s->done + size;
        lzma_chunk(s, coded);
        if (s->bad)
            break;
    }
    mem_free(s);
    return result;
}
