/* SPDX-License-Identifier: Apache-2.0
 * What describes a model around its tensors: topology (6.5, 7.5) and layers
 * with their folds (6.6, 7.6). */
#include "omc.h"

/* ---- 6.5, 7.5 ---- */

/* R7.5-1 */
static uint64_t most_written(Stream *s)
{
    const Model *m = last_model(s);
    uint64_t most = s->level->unit_bytes, i;
    for (i = 0; i < m->tensor_count; i++)
        most += 2 * bytes_of(&m->tensor[i]); /* at most 2^22 * 2^39 */
    return most;
}

/* Sizes in a topology: of all segments, of literals, and what is written of
 * it as R7.5-1 counts. */
typedef struct {
    uint64_t segments, literals, written;
} Sizes;

static void add_written(Stream *s, Sizes *z, uint64_t n)
{
    z->written += n; /* each at most 2^63 */
    limit(z->written, most_written(s));
}

/* Slots are not kept: this decoder writes no source files. */
static void parse_segment(Stream *s, Bits *b, int64_t *previous, Sizes *z)
{
    const Model *m = last_model(s);
    uint64_t n, coding;
    if (bits_u(b, 1)) {
        *previous += 1 + bits_se(b); /* at most 2^62 in magnitude */
        if (*previous < 0 || (uint64_t)*previous >= m->tensor_count)
            fail("DANGLING_REFERENCE"); /* R7.5.2-1 */
        coding = bits_u(b, 2);
        if (coding > 2)
            fail("OUT_OF_RANGE");
        n = bits_ue(b); /* slot_size */
        add_written(s, z, coding == 2 ? n / 10 : n);
    } else {
        n = bits_ue(b);
        limit(n, s->level->unit_bytes);
        z->literals += n;
        add_written(s, z, n);
        if (z->literals > b->size)
            fail("TRUNCATED");
    }
}

void parse_topology(Stream *s, Bits *b)
{
    uint64_t format = bits_ue(b), files = bits_ue(b), i, j;
    int64_t previous = -1;
    Sizes z = {0, 0, 0};
    if (format != 1 && format != 2)
        fail("RESERVED_VALUE");
    if (files < 1)
        fail("OUT_OF_RANGE");
    limit(files, s->level->files);
    count_items(s, files);
    expect_entries(b, files);
    for (i = 0; i < files; i++) {
        uint64_t segments;
        skip_string(s, b); /* file_path */
        segments = bits_ue(b);
        limit(segments, s->level->segments);
        limit(z.segments += segments, s->level->segments); /* R7.5.1-1 */
        count_items(s, segments);
        expect_entries(b, segments);
        for (j = 0; j < segments; j++)
            parse_segment(s, b, &previous, &z);
    }
    bits_align(b);
    skip_bytes(b, z.literals);
}

/* ---- 6.6, 7.6 ---- */

static void parse_fold(Stream *s, Bits *b, const Tensor *t, Fold *f)
{
    unsigned i, j;
    count_items(s, t->rank);
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

/* all: tensors of the layers so far */
static void parse_layer(Stream *s, Bits *b, Model *m, uint64_t *all)
{
    uint64_t n, i;
    skip_string(s, b);
    skip_string(s, b);
    skip_string(s, b);
    if (bits_u(b, 1))
        parse_activation(b);
    n = bits_ue(b);
    limit(n, s->level->tensors);
    limit(*all += n, 4 * s->level->tensors); /* R7.6.1-1 */
    count_items(s, n);
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
            parse_fold(s, b, &m->tensor[index], &m->fold[index]);
        }
    }
}

void parse_layers(Stream *s, Bits *b)
{
    Model *m = last_model(s);
    uint64_t n = bits_ue(b), i, all = 0;
    limit(n, s->level->layers);
    count_items(s, n);
    expect_entries(b, n);
    m->fold = mem_alloc(m->tensor_count, sizeof *m->fold);
    for (i = 0; i < n; i++)
        parse_layer(s, b, m, &all);
}
