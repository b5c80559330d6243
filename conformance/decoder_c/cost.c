/* SPDX-License-Identifier: Apache-2.0
 * Work and memory, told by descriptors: A.3. */
#include "omc.h"

static void check_cost(const Stream *s)
{
    limit(excess_work(s), s->level->work);     /* R7.2-10 */
    limit(memory_needed(s), s->level->memory); /* R7.2-11 */
}

uint64_t excess_work(const Stream *s)
{
    const Cost *c = &s->cost;
    return ((uint64_t)1 << 17) * c->units + ((uint64_t)1 << 13) * c->items + 32 * c->bodies + c->tensors;
}

uint64_t memory_needed(const Stream *s) { return 512 * s->cost.items + 2 * s->cost.bodies + s->cost.largest; }

void count_unit(Stream *s) { s->cost.units++; }

void count_body(Stream *s, uint64_t bytes)
{
    s->cost.bodies += bytes;
    check_cost(s);
}

void count_items(Stream *s, uint64_t n)
{
    s->cost.items += n;
    check_cost(s);
}

static int made_of_factors(const Descriptor *d)
{
    return d->representation >= R_LOW_RANK && d->representation <= R_LOW_RANK_UPDATE;
}

static int decomposed(const Descriptor *d)
{
    return d->representation == R_MAPPING || d->representation == R_AUGMENTATION;
}

static uint64_t smaller_side(const Descriptor *d) { return d->rows < d->cols ? d->rows : d->cols; }

static uint64_t excess_of(const Tensor *t, const Descriptor *d)
{
    uint64_t work = 4 * bytes_of(t), allowed = 500 * bytes_of(t), m;
    int c;
    for (c = 0; c < d->component_count; c++)
        if (d->component[c].coded_flag)
            work += (range_coded(d->component[c].entropy_mode) ? 100 : 16) * d->component[c].word_count;
    if (d->representation == R_RANDOM_MASK)
        work += 8 * t->word_count;
    if (made_of_factors(d))
        work += d->rows * d->cols * (d->factor_rank + d->gain_count) / 4;
    if (decomposed(d)) {
        m = smaller_side(d);
        work += m * m * (d->rows + d->cols - m + 2 * m);
    }
    return work > allowed ? work - allowed : 0;
}

static uint64_t memory_of(const Tensor *t, const Descriptor *d)
{
    uint64_t need = 4 * bytes_of(t), inner = d->factor_rank > d->gain_count ? d->factor_rank : d->gain_count;
    int c;
    for (c = 0; c < d->component_count; c++)
        need += d->component[c].words_flag ? 80 * d->component[c].cols : 24 * d->component[c].word_count;
    if (made_of_factors(d))
        need += 32 * t->word_count + 24 * inner * (d->rows + d->cols);
    if (decomposed(d))
        need += 40 * smaller_side(d) * smaller_side(d);
    return need;
}

void count_tensors(Stream *s, const Model *m, const TensorUnit *u)
{
    uint64_t i, memory = 0;
    for (i = 0; i < u->count; i++) {
        const Descriptor *d = &u->desc[i];
        s->cost.tensors += excess_of(&m->tensor[d->index], d);
        memory += memory_of(&m->tensor[d->index], d);
    }
    if (memory > s->cost.largest)
        s->cost.largest = memory;
    check_cost(s);
}
