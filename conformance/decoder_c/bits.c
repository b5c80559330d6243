/* SPDX-License-Identifier: Apache-2.0
 * Descriptors of 4.4. */
#include "omc.h"

#include <string.h>

void bits_init(Bits *b, const uint8_t *data, uint64_t size, const char *end_code)
{
    b->data = data;
    b->size = size;
    b->pos = 0;
    b->end_code = end_code;
}

uint64_t bits_left(const Bits *b) { return b->size * 8 - b->pos; }

uint64_t bits_u(Bits *b, int n)
{
    uint64_t v = 0;
    if ((uint64_t)n > bits_left(b))
        fail(b->end_code); /* R4.4-1 */
    while (n > 0) {
        int have = 8 - (int)(b->pos & 7), take = n < have ? n : have;
        uint64_t byte = b->data[b->pos >> 3];
        v = (v << take) | ((byte >> (have - take)) & mask_bits(take));
        b->pos += (uint64_t)take;
        n -= take;
    }
    return v;
}

uint64_t bits_ue_wide(Bits *b, int max_zeros)
{
    int z = 0;
    while (!bits_u(b, 1))
        if (++z > max_zeros)
            fail("FORBIDDEN_PATTERN"); /* R4.4-2, R9.7.3-2 */
    return (((uint64_t)1 << z) - 1) + bits_u(b, z);
}

uint64_t bits_ue(Bits *b)
{
    uint64_t v = bits_ue_wide(b, 63);
    if (v > (uint64_t)1 << 63)
        fail("OUT_OF_RANGE"); /* R4.4-3 */
    return v;
}

int64_t bits_se(Bits *b)
{
    uint64_t k = bits_ue(b);
    return k & 1 ? (int64_t)(k / 2) + 1 : -(int64_t)(k / 2);
}

void bits_align(Bits *b)
{
    while (b->pos & 7)
        if (bits_u(b, 1))
            fail("BAD_ALIGNMENT"); /* R4.4-8 */
}

void bits_bytes(Bits *b, uint8_t *to, uint64_t n)
{
    uint64_t i;
    if (n > bits_left(b) / 8)
        fail(b->end_code);
    if (n && !(b->pos & 7)) {
        memcpy(to, b->data + b->pos / 8, (size_t)n);
        b->pos += n * 8;
        return;
    }
    for (i = 0; i < n; i++)
        to[i] = (uint8_t)bits_u(b, 8);
}
