/* SPDX-License-Identifier: Apache-2.0
 * What the parsers of tensor_data.c, descriptor.c and component.c share. */
#ifndef TENSOR_DATA_H
#define TENSOR_DATA_H

#include "omc.h"

/* what the functions of one descriptor share */
typedef struct {
    Stream *s;
    Bits *b;
    Model *m;
    TensorUnit *u;
    Descriptor *d;
    const Tensor *t;
    const ElementType *e;
    int joined;
} Parser;

void parse_descriptor(Parser *p, uint64_t previous);
void parse_component(Parser *p, Component *c);

static inline void forbid(int condition)
{
    if (condition)
        fail("FORBIDDEN_PATTERN");
}

static inline uint64_t ue_limit(Parser *p, uint64_t most)
{
    uint64_t v = bits_ue(p->b);
    if (v > most)
        fail("RESOURCE_LIMIT");
    return v;
}

static inline uint64_t ue_range(Parser *p, uint64_t lo, uint64_t hi)
{
    uint64_t v = bits_ue(p->b);
    if (v < lo || v > hi)
        fail("OUT_OF_RANGE"); /* R4.4-7 */
    return v;
}

static inline int64_t se_range(Parser *p, int64_t lo, int64_t hi)
{
    int64_t v = bits_se(p->b);
    if (v < lo || v > hi)
        fail("OUT_OF_RANGE");
    return v;
}

static inline int ue_enum(Parser *p, uint64_t last)
{
    uint64_t v = bits_ue(p->b);
    if (v > last)
        fail("RESERVED_VALUE");
    return (int)v;
}

static inline void expect_bytes(Parser *p, uint64_t n)
{
    if (n > bits_left(p->b) / 8)
        fail("TRUNCATED");
}

#endif
