/* SPDX-License-Identifier: Apache-2.0
 * Range coder (9.1), estimator (9.2), running means and buckets (9.3), and
 * the state of a payload (9.10.1). */
#include "omc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int32_t rate_table[1024];
static int32_t log_bucket[4096];

void tables_init(void)
{
    uint64_t v;
    int c;
    for (c = 0; c < 1024; c++)
        rate_table[c] = 65536 * 5 / (5 * c + 8);
    for (v = 1; v < 4096; v++)
        log_bucket[v] = bit_length(v * v * v);
    cm_tables_init();
}

/* --- 9.1 --- */

static uint32_t next_byte(RangeCoder *r)
{
    uint64_t at = r->pos++;
    return at < r->size ? r->p[at] : 0;
}

void rc_init(RangeCoder *r, const uint8_t *p, uint64_t size)
{
    int k;
    r->p = p;
    r->size = size;
    r->pos = 0;
    r->range = 0xFFFFFFFF;
    r->code = 0;
    for (k = 0; k < 4; k++)
        r->code = r->code << 8 | next_byte(r);
}

static void renormalise(RangeCoder *r)
{
    while (r->range < (uint32_t)1 << 24) {
        r->range <<= 8;
        r->code = r->code << 8 | next_byte(r);
    }
}

/* 9.1.2 */
int rc_bit(RangeCoder *r, uint32_t p)
{
    uint32_t bound = (r->range >> 16) * p;
    int bin = r->code < bound;
    if (bin) {
        r->range = bound;
    } else {
        r->range -= bound;
        r->code -= bound;
    }
    renormalise(r);
    return bin;
}

/* 9.1.3 */
uint64_t rc_bypass(RangeCoder *r, int n)
{
    uint64_t value = 0;
    while (n > 0) {
        int k = n < 8 ? n : 8;
        uint32_t chunk, most = ((uint32_t)1 << k) - 1;
        n -= k;
        r->range >>= k;
        chunk = r->code / r->range;
        if (chunk > most)
            chunk = most;
        r->code -= chunk * r->range;
        value = value << k | chunk;
        renormalise(r);
    }
    return value;
}

/* R9.1.4-2: no element begins more than 3 bytes past the end */
void rc_element(const RangeCoder *r)
{
    if (r->pos > r->size + 3)
        fail("ENTROPY_END");
}

/* R9.1.4-1 */
void rc_end(const RangeCoder *r)
{
    if (r->pos != r->size + 3 || r->code >= (uint32_t)1 << 24)
        fail("ENTROPY_END");
}

/* --- 9.2 --- */

void contexts_init(Context *c, uint64_t n)
{
    uint64_t i;
    for (i = 0; i < n; i++)
        c[i] = (Context)1 << 31; /* p = 2^19, c = 0 */
}

void context_adapt(Context *x, int bin, unsigned limit)
{
    int64_t p = (int64_t)(*x >> 12);
    unsigned c = *x & 4095;
    p += sar(((bin ? 1048575 : 0) - p) * rate_table[c], 16);
    if (c < limit)
        c++;
    *x = (Context)p << 12 | c;
}

int rc_bin(RangeCoder *r, Context *x, unsigned limit)
{
    int bin = rc_bit(r, (uint32_t)clip3(32, 65504, (int64_t)(*x >> 16)));
    context_adapt(x, bin, limit);
    return bin;
}

/* --- 9.3.1, 9.3.3 --- */

int64_t moved(int64_t mean, int64_t x, int64_t d) { return mean + sar((x - mean) * (65536 / d), 16); }

int bucket(int64_t v)
{
    int steps = 0;
    while (v >= 4096) {
        v >>= 4;
        steps += 12;
    }
    return log_bucket[v] + steps;
}

/* --- 9.10.1 --- */

void coder_init(Coder *k, const Payload *p)
{
    memset(k, 0, sizeof *k);
    rc_init(&k->rc, p->coded, p->coded_size);
    bits_init(&k->raw, p->bypass, p->bypass_size, "ENTROPY_END");
}

void coder_end(Coder *k)
{
    int m;
    rc_end(&k->rc);
    if (!k->words_seen && k->raw.size)
        fail("ENTROPY_END"); /* R9.10.1-1 */
    if (bits_left(&k->raw) >= 8 || bits_u(&k->raw, (int)bits_left(&k->raw)))
        fail("ENTROPY_END"); /* R9.5-3, R9.6-2 */
    for (m = 0; m < MODES; m++) {
        mem_free(k->kept[m][0]);
        mem_free(k->kept[m][1]);
    }
}

Context *coder_contexts(Coder *k, int mode, int words, uint64_t n)
{
    void **kept = &k->kept[mode][words];
    if (!*kept) {
        *kept = mem_alloc(n, sizeof(Context));
        contexts_init(*kept, n);
    }
    return *kept;
}

/* --- 9.11: digests of tables, for `omc_decode selftest` --- */

void table_digest(const char *name, const int32_t *t, uint64_t n)
{
    Sha256 s;
    uint8_t d[32], w[4];
    uint64_t i;
    sha256_init(&s);
    for (i = 0; i < n; i++) {
        word_put(w, 4, 0, (uint64_t)(int64_t)t[i]);
        sha256_add(&s, w, 4);
    }
    sha256_end(&s, d);
    printf("%s ", name);
    for (i = 0; i < 32; i++)
        printf("%02x", d[i]);
    printf("\n");
}

void tables_check(void)
{
    table_digest("RATE", rate_table, 1024);
    table_digest("LOG_BUCKET", log_bucket, 4096);
    cm_tables_check();
}
