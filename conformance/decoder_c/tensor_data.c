/* SPDX-License-Identifier: Apache-2.0
 * Tensor data units: 6.7 with its semantics, 7.7. */
#include "omc.h"

#include <string.h>

#define ENTRY_MIN_ELEMENTS 65536

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

static void forbid(int condition)
{
    if (condition)
        fail("FORBIDDEN_PATTERN");
}

static uint64_t ue_limit(Parser *p, uint64_t most)
{
    uint64_t v = bits_ue(p->b);
    if (v > most)
        fail("RESOURCE_LIMIT");
    return v;
}

static uint64_t ue_range(Parser *p, uint64_t lo, uint64_t hi)
{
    uint64_t v = bits_ue(p->b);
    if (v < lo || v > hi)
        fail("OUT_OF_RANGE"); /* R4.4-7 */
    return v;
}

static int64_t se_range(Parser *p, int64_t lo, int64_t hi)
{
    int64_t v = bits_se(p->b);
    if (v < lo || v > hi)
        fail("OUT_OF_RANGE");
    return v;
}

static int ue_enum(Parser *p, uint64_t last)
{
    uint64_t v = bits_ue(p->b);
    if (v > last)
        fail("RESERVED_VALUE");
    return (int)v;
}

static void expect_bytes(Parser *p, uint64_t n)
{
    if (n > bits_left(p->b) / 8)
        fail("TRUNCATED");
}

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

/* ---- 6.7.3 to 6.7.9: components ---- */

static void check_tools(Parser *p, Component *c)
{
    const Descriptor *d = p->d;
    int q = c->quantiser, m = c->entropy_mode, mode = d->prediction_mode;
    int predicted = mode == P_INTRA || mode == P_INTER;
    int factor = d->representation >= R_LOW_RANK && d->representation <= R_LOW_RANK_UPDATE;
    const ElementType *w;
    c->words_flag = q == Q_NONE || q == Q_GRID;
    c->word_type = q == Q_GRID ? T_FLOAT16 : p->t->type;
    c->has_predictor = predicted;
    c->spatial = mode == P_SPATIAL ? d->spatial_predictor : -1;
    w = element_type((unsigned)c->word_type);
    c->integer_flag = w->kind != 'f' && !predicted;
    c->float_flag = w->kind == 'f' && !predicted;
    forbid(factor && q != Q_UNIFORM && q != Q_FIXED_POINT && q != Q_INTEGER_CODEBOOK); /* R7.7.3-1 */
    forbid((q == Q_UNIFORM || q >= Q_DECIMAL) && (p->e->words == 2 || p->t->type == T_E8M0)); /* -2 */
    forbid(q == Q_GRID && (p->t->type != T_FLOAT32 || predicted));                            /* -3 */
    forbid(q == Q_CODEBOOK && predicted);                                                     /* -4 */
    forbid(mode == P_SPATIAL && q != Q_UNIFORM && q != Q_FIXED_POINT);                        /* -5 */
    forbid(m == M_CM && (c->words_flag || p->s->profile < 2));                                /* -6 */
    forbid(m == M_MAP && (!c->words_flag || p->e->words == 2));                               /* -7 */
    forbid(p->joined && m != M_CC && m != M_CM && m != M_MAP);                                /* -8 */
}

static void parse_uniform(Parser *p, Component *c)
{
    c->trellis_size = (int)bits_u(p->b, 3);
    if (c->trellis_size > 5)
        fail("OUT_OF_RANGE");
    c->mantissa = (int64_t)bits_u(p->b, 16);
    if (c->mantissa == 0)
        fail("OUT_OF_RANGE");
    c->exponent = se_range(p, -1074, 970);
    forbid(c->trellis_size && p->s->profile == 0); /* R7.7.4-1 */
    c->states = c->trellis_size ? 1 << (c->trellis_size + 1) : 0;
}

static void parse_codebook_size(Parser *p, Component *c)
{
    c->codebook_size = ue_limit(p, p->s->level->codebook_size - 1) + 1;
    c->zero_index = ue_range(p, 0, c->codebook_size - 1);
}

static void parse_codebook(Parser *p, Component *c)
{
    uint64_t i;
    int k, n = p->e->word_bytes;
    parse_codebook_size(p, c);
    expect_bytes(p, c->codebook_size * (uint64_t)n);
    c->codebook_words = mem_alloc(c->codebook_size, 8);
    for (i = 0; i < c->codebook_size; i++) {
        uint64_t w = 0;
        for (k = 0; k < n; k++)
            w |= bits_u(p->b, 8) << (8 * k);
        if (w & ~mask_bits(p->e->bits))
            fail("OUT_OF_RANGE"); /* R7.7.5-1 */
        c->codebook_words[i] = w;
    }
}

static void parse_integer_codebook(Parser *p, Component *c)
{
    uint64_t i;
    parse_uniform(p, c);
    parse_codebook_size(p, c);
    if (c->codebook_size > bits_left(p->b))
        fail("TRUNCATED");
    c->codebook_integers = mem_alloc(c->codebook_size, 8);
    for (i = 0; i < c->codebook_size; i++)
        c->codebook_integers[i] = se_range(p, -1073741824, 1073741824);
}

static void parse_grid(Parser *p, Component *c)
{
    uint64_t i;
    int k;
    expect_bytes(p, c->rows * 4);
    c->grid_scales = mem_alloc(c->rows, 4);
    for (i = 0; i < c->rows; i++)
        for (k = 0; k < 4; k++)
            c->grid_scales[i] |= (uint32_t)bits_u(p->b, 8) << (8 * k);
}

static void parse_quantiser(Parser *p, Component *c)
{
    switch (c->quantiser) {
    case Q_UNIFORM:
        parse_uniform(p, c);
        forbid(c->spatial >= 0 && c->trellis_size); /* R7.7.3-5 */
        break;
    case Q_CODEBOOK: parse_codebook(p, c); break;
    case Q_GRID: parse_grid(p, c); break;
    case Q_DECIMAL: c->decimal_exponent = (int)ue_range(p, 0, 22); break;
    case Q_FIXED_POINT:
        c->fixed_point_width = (int)ue_range(p, 1, 32);
        c->mantissa = 1;
        c->exponent = -se_range(p, -970, 1074);
        break;
    case Q_INTEGER_CODEBOOK:
        parse_integer_codebook(p, c);
        forbid(c->trellis_size); /* R7.7.3-9 */
    }
}

static void parse_word_parameters(Parser *p, Component *c)
{
    const ElementType *w = element_type((unsigned)c->word_type);
    c->word_zeros = (int)bits_u(p->b, 1);
    c->word_sign_mode = (int)bits_u(p->b, 2);
    if (c->word_sign_mode > 2)
        fail("OUT_OF_RANGE");
    c->word_scale_rule = (int)bits_u(p->b, 2);
    if (c->word_scale_rule > 2)
        fail("OUT_OF_RANGE");
    c->word_row_shift = (int)bits_u(p->b, 1);
    if (c->float_flag)
        c->word_trailing = (int)bits_u(p->b, 1);
    c->word_shift = (int)ue_range(p, 0, (uint64_t)(c->float_flag ? w->M : w->bits - 1));
    if (c->integer_flag && bits_u(p->b, 1)) {
        c->word_offset = bits_u(p->b, 8 * w->word_bytes);
        if (c->word_offset & ~mask_bits(w->bits))
            fail("OUT_OF_RANGE");
    }
}

static void check_entries(Parser *p, Component *c)
{
    c->segment_count = bits_ue(p->b) + 1;
    c->coded_flag = c->word_count != 0 &&
                    !((c->quantiser == Q_CODEBOOK || c->quantiser == Q_INTEGER_CODEBOOK) && c->codebook_size == 1);
    if (c->segment_count > 1) /* R7.7.3-10 */
        forbid(p->joined || !(c->entropy_mode >= M_CC && c->entropy_mode <= M_MAP) ||
               c->rows / c->segment_count * c->cols < ENTRY_MIN_ELEMENTS);
}

static void parse_component(Parser *p, Component *c)
{
    int m;
    c->quantiser = ue_enum(p, Q_INTEGER_CODEBOOK);
    m = c->entropy_mode = ue_enum(p, M_LZMA);
    check_tools(p, c);
    parse_quantiser(p, c);
    if (m == M_CC && c->words_flag)
        parse_word_parameters(p, c);
    c->level_bytes = element_type((unsigned)c->word_type)->word_bytes;
    if (m == M_RAW || m >= M_DEFLATE) {
        if (!c->words_flag)
            c->level_bytes = 1 << bits_u(p->b, 2);
        if (m != M_RAW)
            c->byte_planes = (int)bits_u(p->b, 1);
    }
    if (m == M_FIXED)
        c->fixed_length = (int)ue_range(p, 1, 64);
    check_entries(p, c);
}

/* ---- 6.7.1 ---- */

static void parse_descriptor(Parser *p, uint64_t previous)
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
    bits_bytes(p->b, d->digest, 8);
    coded->depth = parse_prediction(p);
    if (d->prediction_mode != P_COPY) {
        d->representation = ue_enum(p, R_ROW_MASK);
        d->column_scan = (int)bits_u(p->b, 1);
        set_matrix(p);
        check_representation(p);
        if (d->representation != R_DIRECT)
            parse_representation(p);
        set_components(d);
        for (c = 0; c < d->component_count; c++)
            parse_component(p, &d->component[c]);
    }
    coded->desc = d;
    coded->unit = p->u;
}

/* ---- 6.7: payloads ---- */

/* derive( payload_count ) */
static void count_payloads(Parser *p)
{
    TensorUnit *u = p->u;
    uint64_t i, words = 0;
    int c;
    for (i = 0; i < u->count; i++) {
        Descriptor *d = &u->desc[i];
        words += p->m->tensor[d->index].word_count;
        for (c = 0; c < d->component_count; c++) {
            Component *k = &d->component[c];
            if (!k->coded_flag)
                continue;
            k->first_payload = p->joined ? 0 : u->payload_count;
            u->payload_count = p->joined ? 1 : u->payload_count + k->segment_count;
        }
    }
    if (u->work > 2 * (p->s->level->nesting + 1) * p->s->level->tensor_elements)
        fail("RESOURCE_LIMIT"); /* R7.7-1 */
    if (p->joined && words > p->s->level->joined_elements)
        fail("RESOURCE_LIMIT"); /* R7.7-2 */
}

/* R7.7-3 */
static void check_payloads(Parser *p)
{
    const TensorUnit *u = p->u;
    uint64_t i;
    int c;
    for (i = 0; i < u->count; i++)
        for (c = 0; c < u->desc[i].component_count; c++) {
            const Component *k = &u->desc[i].component[c];
            const Payload *x;
            if (!k->coded_flag || (k->entropy_mode >= M_CC && k->entropy_mode <= M_MAP))
                continue;
            x = &u->payload[k->first_payload];
            if (x->bypass_size)
                fail("BAD_SIZE");
            if (k->entropy_mode == M_RAW && x->coded_size != k->word_count * (uint64_t)k->level_bytes)
                fail("BAD_SIZE");
        }
}

static const uint8_t *take_bytes(Parser *p, uint64_t n)
{
    const uint8_t *at = p->b->data + p->b->pos / 8;
    expect_bytes(p, n);
    p->b->pos += n * 8;
    return at;
}

static void parse_payloads(Parser *p)
{
    TensorUnit *u = p->u;
    uint64_t i;
    if (u->payload_count > bits_left(p->b))
        fail("TRUNCATED");
    u->payload = mem_alloc(u->payload_count, sizeof *u->payload);
    for (i = 0; i < u->payload_count; i++) {
        u->payload[i].coded_size = bits_ue(p->b);
        u->payload[i].bypass_size = bits_ue(p->b);
    }
    check_payloads(p);
    bits_align(p->b);
    for (i = 0; i < u->payload_count; i++) {
        u->payload[i].coded = take_bytes(p, u->payload[i].coded_size);
        u->payload[i].bypass = take_bytes(p, u->payload[i].bypass_size);
    }
}

void parse_tensor_data(Stream *s, Bits *b, const Unit *unit)
{
    Model *m = last_model(s);
    TensorUnit *u = mem_alloc(1, sizeof *u);
    Parser p;
    uint64_t i;
    p.s = s;
    p.b = b;
    p.m = m;
    p.u = u;
    u->unit = unit->number;
    u->model = m->number;
    u->offset = unit->offset;
    u->size = unit->total;
    u->count = ue_limit(&p, s->level->joined_tensors - 1) + 1;
    if (u->count > bits_left(b))
        fail("TRUNCATED");
    p.joined = u->count > 1;
    u->desc = mem_alloc(u->count, sizeof *u->desc);
    for (i = 0; i < u->count; i++) {
        p.d = &u->desc[i];
        parse_descriptor(&p, i ? u->desc[i - 1].index : (uint64_t)0 - 1);
    }
    count_payloads(&p);
    parse_payloads(&p);
    if (m->unit_count == m->unit_room) {
        m->unit_room = m->unit_room * 2 + 16;
        m->unit = mem_grow(m->unit, m->unit_room, sizeof *m->unit);
    }
    m->unit[m->unit_count++] = u;
}
