/* SPDX-License-Identifier: Apache-2.0
 * What describes a model around its tensors: topology (6.5, 7.5) and layers
 * with their folds (6.6, 7.6). */
#include "omc.h"

/* ---- 6.5, 7.5 ---- */

/* Slots are not kept: this decoder writes no source files. */
static void parse_segment(Stream *s, Bits *b, int64_t *previous, uint64_t *literals)
{
    const Model *m = last_model(s);
    if (bits_u(b, 1)) {
        *previous += 1 + bits_se(b); /* at most 2^62 in magnitude */
        if (*previous < 0 || (uint64_t)*previous >= m->tensor_count)
            fail("DANGLING_REFERENCE"); /* R7.5.2-1 */
        if (bits_u(b, 2) > 2)
            fail("OUT_OF_RANGE");
        bits_ue(b); /* slot_size */
    } else {
        uint64_t n = bits_ue(b);
        limit(n, s->level->unit_bytes);
        *literals += n; /* at most 2^16 * 2^24 * 2^31 */
        if (*literals > b->size)
            fail("TRUNCATED");
    }
}

void parse_topology(Stream *s, Bits *b)
{
    uint64_t format = bits_ue(b), files = bits_ue(b), i, j, literals = 0;
    int64_t previous = -1;
    if (format != 1 && format != 2)
        fail("RESERVED_VALUE");
    if (files < 1)
        fail("OUT_OF_RANGE");
    limit(files, s->level->files);
    expect_entries(b, files);
    for (i = 0; i < files; i++) {
        uint64_t segments;
        skip_string(s, b); /* file_path */
        segments = bits_ue(b);
        limit(segments, s->level->segments);
        expect_entries(b, segments);
        for (j = 0; j < segments; j++)
            parse_segment(s, b, &previous, &literals);
    }
    bits_align(b);
    skip_bytes(b, literals);
}

/* ---- 6.6, 7.6 ---- */

static void parse_fold(Bits *b, const Tensor *t, Fold *f)
{
    unsigned i, j;
    f->axis = mem_alloc((uint64_t)t->rank + 1, sizeof *f->axis); /* not NULL */
    for (i = 0; i < t->rank; i++) {
        uint64_t a = bits_ue(b);
        if (a >= t->rank)
            fail("OUT_OF_RANGE");
        f->axis[i] = (uint32_t)a;
    }
    f->row_axis_count = bits_ue(b);
    if (f->row_axis_count > t->rank)
        fail("OUT_OF_RANGE");
    f->kernel_size = bits_ue(b);
    if (f->kernel_size < 1 || f->kernel_size > 65535)
        fail("OUT_OF_RANGE");
    for (i = 0; i < t->rank; i++)
        for (j = 0; j < i; j++)
            if (f->axis[i] == f->axis[j])
                fail("DUPLICATE_ID"); /* R7.6.3-1 */
}

static void parse_activation(Bits *b)
{
    uint64_t n;
    int64_t f;
    bits_u(b, 1);
    n = bits_ue(b);
    if (n < 1 || n > 64)
        fail("OUT_OF_RANGE");
    f = bits_se(b);
    if (f < -1074 || f > 1074)
        fail("OUT_OF_RANGE");
    n = bits_ue(b);
    if (n < 1 || n > 64)
        fail("OUT_OF_RANGE");
}

static void parse_layer(Stream *s, Bits *b, Model *m)
{
    uint64_t n, i;
    skip_string(s, b);
    skip_string(s, b);
    skip_string(s, b);
    if (bits_u(b, 1))
        parse_activation(b);
    n = bits_ue(b);
    limit(n, s->level->tensors);
    expect_entries(b, n);
    for (i = 0; i < n; i++) {
        uint64_t index = bits_ue(b);
        int fold;
        bits_u(b, 4); /* tensor_role: any */
        fold = (int)bits_u(b, 1);
        if (index >= m->tensor_count)
            fail("DANGLING_REFERENCE"); /* R7.6.2-1 */
        if (fold) {
            if (m->fold[index].axis)
                fail("DUPLICATE_ID"); /* R7.6.2-2 */
            parse_fold(b, &m->tensor[index], &m->fold[index]);
        }
    }
}

void parse_layers(Stream *s, Bits *b)
{
    Model *m = last_model(s);
    uint64_t n = bits_ue(b), i;
    limit(n, s->level->layers);
    expect_entries(b, n);
    m->fold = mem_alloc(m->tensor_count, sizeof *m->fold);
    for (i = 0; i < n; i++)
        parse_layer(s, b, m);
}
