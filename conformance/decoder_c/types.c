/* SPDX-License-Identifier: Apache-2.0
 * Element types (5.2, 8.5.2) and words (8.4). */
#include "omc.h"

#include <string.h>

static const ElementType types[30] = {
    {"bool", 'u', 8, 0, 0, 0, 1, 1, 0, 0, 0},
    {"uint8", 'u', 8, 0, 0, 0, 1, 1, 0, 0, 0},
    {"uint16", 'u', 16, 0, 0, 0, 1, 2, 0, 0, 0},
    {"uint32", 'u', 32, 0, 0, 0, 1, 4, 0, 0, 0},
    {"uint64", 'u', 64, 0, 0, 0, 1, 8, 0, 0, 0},
    {"int8", 'i', 8, 0, 0, 0, 1, 1, 0, 0, 0},
    {"int16", 'i', 16, 0, 0, 0, 1, 2, 0, 0, 0},
    {"int32", 'i', 32, 0, 0, 0, 1, 4, 0, 0, 0},
    {"int64", 'i', 64, 0, 0, 0, 1, 8, 0, 0, 0},
    {"uint4", 'u', 4, 0, 0, 0, 1, 1, 0, 0, 0},
    {"int4", 'i', 4, 0, 0, 0, 1, 1, 0, 0, 0},
    {"uint2", 'u', 2, 0, 0, 0, 1, 1, 0, 0, 0},
    {"int2", 'i', 2, 0, 0, 0, 1, 1, 0, 0, 0},
    {NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
    {NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
    {NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
    {"float32", 'f', 32, 1, 8, 23, 1, 4, 127, 0x7F7FFFFF, 0},
    {"float16", 'f', 16, 1, 5, 10, 1, 2, 15, 0x7BFF, 0},
    {"bfloat16", 'f', 16, 1, 8, 7, 1, 2, 127, 0x7F7F, 0},
    {"float64", 'f', 64, 1, 11, 52, 1, 8, 1023, 0x7FEFFFFFFFFFFFFF, 0},
    {"float8_e4m3fn", 'f', 8, 1, 4, 3, 1, 1, 7, 0x7E, 0},
    {"float8_e5m2", 'f', 8, 1, 5, 2, 1, 1, 15, 0x7B, 0},
    {"float8_e4m3fnuz", 'f', 8, 1, 4, 3, 1, 1, 8, 0x7F, 1},
    {"float8_e5m2fnuz", 'f', 8, 1, 5, 2, 1, 1, 16, 0x7F, 1},
    {"float8_e8m0fnu", 'f', 8, 0, 8, 0, 1, 1, 127, 0, 0},
    {"float4_e2m1fn", 'f', 4, 1, 2, 1, 1, 1, 1, 0x7, 0},
    {"float6_e2m3fn", 'f', 6, 1, 2, 3, 1, 1, 1, 0x1F, 0},
    {"float6_e3m2fn", 'f', 6, 1, 3, 2, 1, 1, 3, 0x1F, 0},
    {"complex64", 'f', 32, 1, 8, 23, 2, 4, 127, 0x7F7FFFFF, 0},
    {"complex128", 'f', 64, 1, 11, 52, 2, 8, 1023, 0x7FEFFFFFFFFFFFFF, 0},
};

const ElementType *element_type(unsigned number)
{
    return number < 30 && types[number].name ? &types[number] : NULL;
}

int element_type_by_name(const char *name)
{
    int i;
    for (i = 0; i < 30; i++)
        if (types[i].name && !strcmp(types[i].name, name))
            return i;
    return -1;
}

uint64_t word_get(const uint8_t *data, int word_bytes, uint64_t i)
{
    uint64_t w = 0;
    int k;
    data += i * (uint64_t)word_bytes;
    for (k = word_bytes - 1; k >= 0; k--)
        w = (w << 8) | data[k];
    return w;
}

void word_put(uint8_t *data, int word_bytes, uint64_t i, uint64_t w)
{
    int k;
    data += i * (uint64_t)word_bytes;
    for (k = 0; k < word_bytes; k++, w >>= 8)
        data[k] = (uint8_t)w;
}

/* Two's complement of 64 bits without implementation-defined conversions. */
static int64_t as_signed(uint64_t x)
{
    int64_t v;
    memcpy(&v, &x, sizeof v);
    return v;
}

int64_t word_signed(const ElementType *t, uint64_t x)
{
    uint64_t h = (uint64_t)1 << (t->bits - 1);
    x &= mask_bits(t->bits);
    return as_signed((x ^ h) - h);
}

/* 8.4.1 */
uint64_t word_ordered(const ElementType *t, uint64_t w)
{
    uint64_t h = (uint64_t)1 << (t->bits - 1), a = w & (h - 1);
    if (t->kind != 'f' || !t->sign || !(w & h))
        return w;
    return a ? 0 - a : 0 - h;
}

uint64_t word_unordered(const ElementType *t, uint64_t x)
{
    uint64_t h = (uint64_t)1 << (t->bits - 1);
    int64_t v;
    if (t->kind != 'f' || !t->sign)
        return x & mask_bits(t->bits);
    v = word_signed(t, x);
    if (v >= 0)
        return (uint64_t)v;
    x = 0 - (uint64_t)v; /* magnitude */
    return x == h ? h : h + x;
}
