/* SPDX-License-Identifier: Apache-2.0
 * A component and its parameters: 6.7.3 to 6.7.9, 7.7.3 to 7.7.9. */
#include "tensor_data.h"

#define ENTRY_MIN_ELEMENTS 65536

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
    forbid(!mode_codes(m, c->words_flag) || p->s->profile < modes[m].profile);                /* -6, -7 */
    forbid(modes[m].real_words && p->e->words == 2);                                          /* -7 */
    forbid(p->joined && !range_coded(m));                                                     /* -8 */
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
    count_items(p->s, c->codebook_size);
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
        forbid(p->joined || !range_coded(c->entropy_mode) ||
               c->rows / c->segment_count * c->cols < ENTRY_MIN_ELEMENTS);
}

void parse_component(Parser *p, Component *c)
{
    int m;
    c->quantiser = ue_enum(p, Q_INTEGER_CODEBOOK);
    m = c->entropy_mode = ue_enum(p, MODES - 1);
    check_tools(p, c);
    parse_quantiser(p, c);
    if (m == M_CC && c->words_flag)
        parse_word_parameters(p, c);
    c->level_bytes = element_type((unsigned)c->word_type)->word_bytes;
    if (modes[m].integers == decode_bytes) {
        if (!c->words_flag)
            c->level_bytes = 1 << bits_u(p->b, 2);
        if (modes[m].expand)
            c->byte_planes = (int)bits_u(p->b, 1);
    }
    if (m == M_FIXED)
        c->fixed_length = (int)ue_range(p, 1, 64);
    check_entries(p, c);
}
