/* SPDX-License-Identifier: Apache-2.0
 * The descriptor of a tensor: 6.7.1 and 6.7.2, with 7.7.1 and 7.7.2. */
#include "tensor_data.h"

#include <string.h>

/* ---- 7.7.1: predicting tensors ---- */

const Dump *find_dump(const Stream *s, const uint8_t digest[32])
{
    uint64_t i;
    for (i = 0; i < s->dump_count; i++)
        if (!memcmp(s->dump[i]->digest, digest, 32))
            return s->dump[i];
    return NULL;
}

/* R7.7.1-7, R7.7.1-8 */
static void check_predicting(const Parser *p, const Tensor *q)
{
    unsigned i;
    forbid(q->type != p->t->type || q->rank != p->t->rank);
    if (p->d->prediction_mode == P_COPY)
        for (i = 0; i < q->rank; i++)
            forbid(q->dim[i] != p->t->dim[i]);
}

/* The work of the unit of a predicting tensor is added once. */
static void add_work(Parser *p, TensorUnit *w)
{
    if (w == p->u || w->mark == p->u)
        return;
    w->mark = p->u;
    p->u->work += w->work;
}

static unsigned check_internal(Parser *p, const Model *from, uint64_t number)
{
    Coded *c = &from->coded[number];
    if (from == p->m && !c->unit)
        fail("DANGLING_REFERENCE"); /* R7.7.1-3 */
    check_predicting(p, &from->tensor[number]);
    add_work(p, c->unit);
    c->uses++;
    return c->depth + 1;
}

static unsigned check_external(Parser *p, const Reference *r, uint64_t number)
{
    const Dump *x = find_dump(p->s, r->digest);
    if (!x)
        return 0; /* MISSING_REFERENCE if it is wanted */
    if (number >= x->tensor_count)
        fail("DANGLING_REFERENCE");
    check_predicting(p, &x->tensor[number]);
    return 1;
}

static unsigned parse_prediction(Parser *p)
{
    Descriptor *d = p->d;
    Model *m = p->m;
    const Reference *r;
    int64_t number;
    unsigned depth;
    d->prediction_mode = ue_enum(p, P_SPATIAL);
    if (d->prediction_mode == P_COPY || d->prediction_mode == P_INTER)
        d->reference_index = bits_ue(p->b);
    if (d->prediction_mode == P_SPATIAL)
        d->spatial_predictor = ue_enum(p, 4);
    if (d->prediction_mode == P_NONE || d->prediction_mode == P_SPATIAL)
        return 0;
    number = (int64_t)d->index + bits_se(p->b);
    if (d->reference_index > m->reference_count || (d->prediction_mode == P_INTER && d->reference_index == 0))
        fail("DANGLING_REFERENCE"); /* R7.7.1-4 */
    r = d->reference_index ? &m->reference[d->reference_index - 1] : NULL;
    if (number < 0)
        fail("DANGLING_REFERENCE");
    d->reference_tensor = (uint64_t)number;
    if (r && r->external) {
        depth = check_external(p, r, d->reference_tensor);
    } else {
        const Model *from = r ? p->s->model[r->model] : m;
        if (d->reference_tensor >= from->tensor_count)
            fail("DANGLING_REFERENCE"); /* R7.7.1-5 */
        depth = check_internal(p, from, d->reference_tensor);
    }
    if (depth > p->s->level->nesting)
        fail("RESOURCE_LIMIT"); /* R7.7.1-6 */
    return depth;
}

/* ---- 8.3: the matrix of a tensor ---- */

static void set_matrix(Parser *p)
{
    const Tensor *t = p->t;
    const Fold *f = p->m->fold ? &p->m->fold[p->d->index] : NULL;
    uint64_t R = 1, C = 1, kernel = 1, row_axes, words = (uint64_t)p->e->words, last_row, last_col;
    unsigned i;
    int own = f && f->axis;
    row_axes = own ? f->row_axis_count : t->rank >= 2 ? 1 : 0;
    for (i = 0; i < t->rank; i++) {
        uint64_t d = t->dim[own ? f->axis[i] : i];
        if (i < row_axes)
            R *= d;
        else
            C *= d;
        if (i >= 2)
            kernel *= d; /* of the default fold */
    }
    last_row = row_axes ? t->dim[own ? f->axis[row_axes - 1] : row_axes - 1] : 1;
    last_col = row_axes < t->rank ? t->dim[own ? f->axis[t->rank - 1] : t->rank - 1] : 1;
    p->d->rows = p->d->column_scan ? C : R;
    p->d->cols = (p->d->column_scan ? R : C) * words;
    p->d->plane_rows = p->d->column_scan ? last_col : last_row;
    p->d->kernel_size = p->d->column_scan ? 1 : own ? f->kernel_size : kernel;
}

/* ---- 7.7.1: representations ---- */

static void check_representation(Parser *p)
{
    const Descriptor *d = p->d;
    int r = d->representation, factors = r >= R_LOW_RANK && r <= R_LOW_RANK_UPDATE;
    if (r != R_DIRECT)
        forbid(p->joined || p->e->words == 2 || p->t->word_count == 0); /* R7.7.1-9 */
    if (factors)
        forbid(p->e->kind != 'f' || p->t->type == T_E8M0);
    forbid(d->prediction_mode == P_SPATIAL && r != R_DIRECT); /* R7.7.1-10 */
    if (r == R_MAPPING || r == R_AUGMENTATION) {
        uint64_t m = d->rows < d->cols ? d->rows : d->cols, n = d->rows < d->cols ? d->cols : d->rows;
        uint64_t most = p->s->level->decomposition_size;
        forbid(d->prediction_mode != P_INTRA && d->prediction_mode != P_INTER); /* R7.7.1-11 */
        forbid(p->s->profile == 0);
        if (m > most || m * m * n > 16 * most * most * most)
            fail("RESOURCE_LIMIT"); /* R7.7.1-12 */
    }
}

static void parse_row_mask(Parser *p)
{
    Descriptor *d = p->d;
    uint64_t n = (d->rows + 7) / 8, i;
    expect_bytes(p, n);
    d->row_mask = mem_alloc(n, 1);
    bits_bytes(p->b, d->row_mask, n);
    for (i = 0; i < n * 8; i++)
        if (d->row_mask[i / 8] >> (7 - i % 8) & 1) {
            forbid(i >= d->rows); /* R7.7.2-1 */
            d->selected_count++;
        }
}

static void parse_representation(Parser *p)
{
    Descriptor *d = p->d;
    uint64_t least = d->rows < d->cols ? d->rows : d->cols;
    int r = d->representation;
    if (r == R_RANDOM_MASK) {
        d->selected_count = ue_range(p, 0, p->t->word_count);
        d->random_density = (uint32_t)bits_u(p->b, 32);
    } else if (r == R_ROW_MASK) {
        parse_row_mask(p);
    } else {
        d->factor_rank = ue_limit(p, p->s->level->decomposition_size);
        if (d->factor_rank > least || (d->factor_rank == 0 && r != R_AUGMENTATION))
            fail("OUT_OF_RANGE"); /* R7.7.2-2 */
    }
    if (r == R_AUGMENTATION) {
        d->gain_count = bits_ue(p->b) + 1;
        if (d->gain_count > least)
            fail("OUT_OF_RANGE"); /* R7.7.2-3 */
    }
    if (r == R_MAPPING)
        d->additive = (int)bits_u(p->b, 1);
    if (r == R_RANDOM_MASK || r == R_LOW_RANK_UPDATE)
        d->random_seed = bits_u(p->b, 64);
}

/* R7.7.1-13 */
static void check_multiplications(const Parser *p)
{
    const Descriptor *d = p->d;
    uint64_t inner = d->representation <= R_LOW_RANK_UPDATE ? d->factor_rank + d->gain_count : 0;
    if (inner && d->rows * d->cols > p->s->level->multiplications / inner)
        fail("RESOURCE_LIMIT");
}

static void set_size(Descriptor *d, uint64_t rows, uint64_t cols)
{
    Component *c = &d->component[d->component_count++];
    c->rows = rows;
    c->cols = cols;
    c->word_count = rows * cols;
    c->kernel_size = 1;
    c->plane_rows = 1;
}

/* derive( component_count ): the table of 7.7.1 */
static void set_components(Descriptor *d)
{
    switch (d->representation) {
    case R_DIRECT:
        set_size(d, d->rows, d->cols);
        d->component[0].kernel_size = d->kernel_size;
        d->component[0].plane_rows = d->plane_rows;
        break;
    case R_MAPPING:
    case R_LOW_RANK_UPDATE: set_size(d, d->rows, d->factor_rank); break;
    case R_RANDOM_MASK: set_size(d, 1, d->selected_count); break;
    case R_ROW_MASK: set_size(d, d->selected_count, d->cols); break;
    default:
        if (d->representation == R_AUGMENTATION)
            set_size(d, 1, d->gain_count);
        if (d->factor_rank) {
            set_size(d, d->rows, d->factor_rank);
            set_size(d, d->factor_rank, d->cols);
        }
    }
}

/* ---- 6.7.1 ---- */

static void parse_piece_digests(Parser *p)
{
    uint64_t n = 8 * p->d->piece_count;
    expect_bytes(p, n);
    p->d->piece_digests = mem_alloc(n, 1);
    bits_bytes(p->b, p->d->piece_digests, n);
}

void parse_descriptor(Parser *p, uint64_t previous)
{
    Descriptor *d = p->d;
    Coded *coded;
    int c;
    d->index = bits_ue(p->b); /* + previous + 1, which is modulo 2^64 for the first */
    if (d->index >= p->m->tensor_count || (d->index += previous + 1) >= p->m->tensor_count)
        fail("DANGLING_REFERENCE"); /* R7.7.1-1 */
    coded = &p->m->coded[d->index];
    if (coded->unit)
        fail("DUPLICATE_ID"); /* R7.7.1-2 */
    p->t = &p->m->tensor[d->index];
    p->e = element_type((unsigned)p->t->type);
    p->u->work += p->t->word_count;
    d->piece_count = piece_count(p->t);
    if (!p->joined)
        bits_bytes(p->b, d->digest, 8);
    coded->depth = parse_prediction(p);
    if (d->prediction_mode != P_COPY) {
        if (!p->joined && d->piece_count > 1)
            parse_piece_digests(p);
        d->representation = ue_enum(p, R_ROW_MASK);
        d->column_scan = (int)bits_u(p->b, 1);
        set_matrix(p);
        check_representation(p);
        if (d->representation != R_DIRECT)
            parse_representation(p);
        set_components(d);
        check_multiplications(p);
        count_items(p->s, (uint64_t)d->component_count);
        for (c = 0; c < d->component_count; c++)
            parse_component(p, &d->component[c]);
    }
    coded->desc = d;
    coded->unit = p->u;
}
