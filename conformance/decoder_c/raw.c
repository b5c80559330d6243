/* SPDX-License-Identifier: Apache-2.0
 * Integers of fixed length (9.8), as bytes (9.9.1) and raw (9.10.2). */
#include "omc.h"

static int64_t to_signed(uint64_t x) { return x >> 63 ? -(int64_t)(~x) - 1 : (int64_t)x; }

/* R9.7.1-4, R9.8-2, R9.9.1-1, R9.10.1-2, R9.10.2-2, and what quantisers
 * allow. Levels are two's complement of 64 bits. */
void check_integer(const Component *c, uint64_t x)
{
    int64_t level = to_signed(x), most = (int64_t)1 << 31;
    if (c->words_flag) {
        if (x & ~mask_bits(element_type((unsigned)c->word_type)->bits))
            fail("OUT_OF_RANGE");
        return;
    }
    if (c->quantiser == Q_DECIMAL)
        most = ((int64_t)1 << 53) + 1; /* R8.5-9 */
    if (level < -most + (c->quantiser == Q_DECIMAL) || level >= most)
        fail("OUT_OF_RANGE");
    if (c->quantiser == Q_FIXED_POINT && c->spatial < 0) {
        most = (int64_t)1 << (c->fixed_point_width - 1); /* R8.5-10 */
        if (level < -most || level >= most)
            fail("OUT_OF_RANGE");
    }
    if (c->quantiser == Q_CODEBOOK || c->quantiser == Q_INTEGER_CODEBOOK) { /* R8.5-7, R8.5-11 */
        level += (int64_t)c->zero_index;
        if (level < 0 || (uint64_t)level >= c->codebook_size)
            fail("OUT_OF_RANGE");
    }
}

/* 9.8 */
void decode_fixed(const Payload *p, const Component *c, uint64_t max_values, const uint64_t *pred, uint64_t *out)
{
    int n = c->fixed_length;
    Bits b;
    uint64_t i, count = c->word_count;
    (void)max_values;
    (void)pred;
    bits_init(&b, p->coded, p->coded_size, "ENTROPY_END");
    if (p->coded_size != count / 8 * (uint64_t)n + (count % 8 * (uint64_t)n + 7) / 8)
        fail("ENTROPY_END"); /* R9.8-1 */
    for (i = 0; i < count; i++) {
        uint64_t x = bits_u(&b, n);
        if (!c->words_flag && x >> (n - 1))
            x |= ~mask_bits(n);
        check_integer(c, x);
        out[i] = x;
    }
    if (bits_u(&b, (int)bits_left(&b)))
        fail("ENTROPY_END");
}

/* 9.9, 9.10.2 */
void decode_bytes(const Payload *p, const Component *c, uint64_t max_values, const uint64_t *pred, uint64_t *out)
{
    uint64_t W = (uint64_t)c->level_bytes, count = c->word_count, size = count * W, i, k;
    const uint8_t *bytes = p->coded;
    uint8_t *expanded = NULL;
    (void)max_values;
    (void)pred;
    if (!modes[c->entropy_mode].expand) {
        if (p->coded_size != size)
            fail("ENTROPY_END"); /* R9.10.2-1 */
    } else {
        bytes = expanded = mem_alloc(size, 1);
        if (modes[c->entropy_mode].expand(p->coded, p->coded_size, expanded, size) != X_OK)
            fail("ENTROPY_END"); /* R9.9.2-1 */
    }
    for (i = 0; i < count; i++) {
        uint64_t x = 0;
        for (k = 0; k < W; k++)
            x |= (uint64_t)bytes[c->byte_planes ? k * count + i : i * W + k] << (8 * k);
        if (!c->words_flag && W < 8 && x >> (8 * W - 1))
            x |= ~mask_bits((int)(8 * W));
        check_integer(c, x);
        out[i] = x;
    }
    mem_free(expanded);
}
