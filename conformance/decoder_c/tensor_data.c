/* SPDX-License-Identifier: Apache-2.0
 * A tensor data unit: 6.7, with 7.7 up to 7.7.1. */
#include "tensor_data.h"

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
    count_tensors(p->s, p->m, u);
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
            if (!k->coded_flag || range_coded(k->entropy_mode))
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
    count_items(p->s, u->payload_count);
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
    count_items(s, u->count);
    if (u->count > bits_left(b))
        fail("TRUNCATED");
    p.joined = u->count > 1;
    if (p.joined)
        bits_bytes(b, u->digest, 8);
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
