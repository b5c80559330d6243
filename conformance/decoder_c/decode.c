/* SPDX-License-Identifier: Apache-2.0
 * The decoding process: 8.1, 8.2, 8.7, 8.8, and payloads, 9.10.1.
 *
 * Units that the wanted model needs are found from the last to the first, as
 * what a unit needs comes before it, and then decoded in their order. A unit
 * is decoded once, whatever number of models need it. */
#include "omc.h"

#include <string.h>

/* ---- which units are needed ---- */

static int is_predicted(const Descriptor *d)
{
    return d->prediction_mode == P_COPY || d->prediction_mode == P_INTRA || d->prediction_mode == P_INTER;
}

static const Reference *reference_of(const Model *m, const Descriptor *d)
{
    return d->reference_index ? &m->reference[d->reference_index - 1] : NULL;
}

static void need_predictors(Stream *s, const Model *m, const TensorUnit *u)
{
    uint64_t i;
    for (i = 0; i < u->count; i++) {
        const Descriptor *d = &u->desc[i];
        const Reference *r = reference_of(m, d);
        if (is_predicted(d) && !(r && r->external))
            (r ? s->model[r->model] : m)->coded[d->reference_tensor].unit->needed = 1;
    }
}

static void mark_needed(Stream *s, uint64_t number)
{
    uint64_t n, i;
    for (i = 0; i < s->model[number]->unit_count; i++)
        s->model[number]->unit[i]->needed = 1;
    for (n = number + 1; n-- > 0;)
        for (i = s->model[n]->unit_count; i-- > 0;)
            if (s->model[n]->unit[i]->needed && !s->model[n]->unit[i]->done)
                need_predictors(s, s->model[n], s->model[n]->unit[i]);
}

/* ---- 8.7: predictions ---- */

static uint8_t *fitted_prediction(Stream *s, Model *m, const Descriptor *d)
{
    const Reference *r = reference_of(m, d);
    if (r && r->external) {
        const Dump *x = find_dump(s, r->digest);
        if (!x)
            fail("MISSING_REFERENCE"); /* R8.2-1 */
        return fit(&m->tensor[d->index], &x->tensor[d->reference_tensor], x->data[d->reference_tensor]);
    } else {
        Model *from = r ? s->model[r->model] : m;
        Coded *c = &from->coded[d->reference_tensor];
        uint8_t *out = fit(&m->tensor[d->index], &from->tensor[d->reference_tensor], c->data);
        c->uses--;
        return out;
    }
}

/* ---- components ---- */

/* words from differences, where words are coded neither by 9.5 nor by 9.6 */
static void add_differences(const Component *c, uint64_t count, uint64_t *word, const uint64_t *pred)
{
    const ElementType *t = element_type((unsigned)c->word_type);
    uint64_t i;
    for (i = 0; i < count; i++)
        word[i] = word_unordered(t, word[i] + word_ordered(t, pred[i]));
}

static void decode_plain(const Stream *s, const Component *c, const Payload *p, uint64_t *out, const uint64_t *pred)
{
    modes[c->entropy_mode].integers(p, c, s->level->codebook_size, pred, out);
    if (c->words_flag && pred)
        add_differences(c, c->word_count, out, pred);
}

/* integers of one segment, by range coding */
static void decode_segment(Coder *k, const Component *c, uint64_t row0, uint64_t rows, uint64_t *out,
                           const uint64_t *pred)
{
    if (c->words_flag)
        modes[c->entropy_mode].words(k, c, row0, rows, c->cols, out, pred);
    else
        modes[c->entropy_mode].levels(k, c, rows, c->cols, (int64_t *)out);
}

/* 9.1.4: no payload of n bytes holds more than 16384 * n elements. */
static void check_plausible(const Component *c, const Payload *p)
{
    uint64_t e, total = 0;
    if (!c->coded_flag || !range_coded(c->entropy_mode))
        return;
    for (e = 0; e < c->segment_count; e++)
        total += p[e].coded_size;
    if (c->word_count / 16384 > total)
        fail("ENTROPY_END");
}

/* All segments of a component: integers, and for components of values words.
 * `shared` is the coder of a joined unit. */
static uint64_t *decode_component(const Stream *s, const TensorUnit *u, const Component *c, const ElementType *t,
                                  const uint64_t *pred, Coder *shared)
{
    const Payload *p = c->coded_flag ? &u->payload[c->first_payload] : NULL;
    uint64_t *out, e;
    check_plausible(c, p);
    out = mem_alloc(c->word_count, sizeof *out);
    for (e = 0; e < c->segment_count && c->word_count; e++) {
        uint64_t row0 = e * c->rows / c->segment_count, rows = (e + 1) * c->rows / c->segment_count - row0;
        uint64_t at = row0 * c->cols;
        const uint64_t *pr = pred ? pred + at : NULL;
        if (!c->coded_flag) {
            /* every level is 0 */
        } else if (!range_coded(c->entropy_mode)) {
            decode_plain(s, c, p, out, pred);
        } else if (shared) {
            decode_segment(shared, c, row0, rows, out + at, pr);
        } else {
            Coder k;
            coder_init(&k, p + e);
            decode_segment(&k, c, row0, rows, out + at, pr);
            coder_end(&k);
        }
        if (t)
            reconstruct(c, t, row0, rows, out + at, pr);
        else
            levels_to_indices(c, (int64_t *)(out + at), rows * c->cols);
    }
    return out;
}

/* ---- representations ---- */

static uint64_t *decode_masked(const Stream *s, const TensorUnit *u, const Descriptor *d, const ElementType *t,
                               const uint64_t *x)
{
    const Component *c = &d->component[0];
    uint8_t *mask = make_mask(d);
    uint64_t n = d->rows * d->cols, i, at = 0;
    uint64_t *chosen = NULL, *words, *out;
    if (x) {
        chosen = mem_alloc(c->word_count, sizeof *chosen);
        for (i = 0; i < n; i++)
            if (mask[i])
                chosen[at++] = x[i];
    }
    words = decode_component(s, u, c, t, chosen, NULL);
    out = mem_alloc(n, sizeof *out);
    for (i = at = 0; i < n; i++)
        out[i] = mask[i] ? words[at++] : x && d->representation == R_RANDOM_MASK ? x[i] : 0;
    mem_free(mask);
    mem_free(chosen);
    mem_free(words);
    return out;
}

static uint64_t *decode_matrix(const Stream *s, const TensorUnit *u, const Descriptor *d, const ElementType *t,
                               const uint64_t *x, Coder *shared)
{
    int64_t *factor[3] = {NULL, NULL, NULL};
    uint64_t *out;
    int c;
    if (d->representation == R_DIRECT)
        return decode_component(s, u, &d->component[0], t, x, shared);
    if (d->representation >= R_RANDOM_MASK)
        return decode_masked(s, u, d, t, x);
    for (c = 0; c < d->component_count; c++)
        factor[c] = (int64_t *)decode_component(s, u, &d->component[c], NULL, NULL, NULL);
    out = mem_alloc(d->rows * d->cols, sizeof *out);
    factors_to_words(d, t, factor, x, out);
    for (c = 0; c < d->component_count; c++)
        mem_free(factor[c]);
    return out;
}

/* ---- tensors, units, models ---- */

static void release(Coded *c)
{
    if (c->uses == 0) {
        mem_free(c->data);
        c->data = NULL;
    }
}

void release_model(Stream *s, uint64_t number)
{
    uint64_t i;
    for (i = 0; i < s->model[number]->tensor_count; i++)
        release(&s->model[number]->coded[i]);
}

static void decode_tensor(Stream *s, Model *m, const TensorUnit *u, const Descriptor *d, Coder *shared)
{
    const Tensor *t = &m->tensor[d->index];
    const ElementType *e = element_type((unsigned)t->type);
    Coded *c = &m->coded[d->index];
    uint8_t *p = is_predicted(d) ? fitted_prediction(s, m, d) : NULL;
    if (d->prediction_mode == P_COPY) {
        c->data = p;
    } else {
        Arrangement a;
        uint64_t *x = NULL, *words;
        if (d->representation == R_DIRECT)
            check_plausible(&d->component[0], d->component[0].coded_flag ? &u->payload[d->component[0].first_payload] : NULL);
        arrange(m, d, &a);
        if (p) {
            x = mem_alloc(t->word_count, sizeof *x);
            to_matrix(&a, p, e->word_bytes, x);
            mem_free(p);
        }
        words = decode_matrix(s, u, d, e, x, shared);
        mem_free(x);
        c->data = mem_alloc(t->word_count, (uint64_t)e->word_bytes);
        from_matrix(&a, words, e->word_bytes, c->data);
        mem_free(words);
        arrange_free(&a);
    }
    tensor_digest(t, c->data, d->piece_digests, c->digest);
    if (u->count == 1 && memcmp(c->digest, d->digest, 8))
        fail("DIGEST_MISMATCH"); /* R8.8-1 */
}

/* Tensors of earlier models go when nothing needs them any more. */
static void free_predictors(Stream *s, const TensorUnit *u)
{
    uint64_t i;
    for (i = 0; i < u->count; i++) {
        const Descriptor *d = &u->desc[i];
        const Reference *r = reference_of(s->model[u->model], d);
        if (is_predicted(d) && r && !r->external && r->model != s->kept)
            release(&s->model[r->model]->coded[d->reference_tensor]);
    }
}

/* R8.8-4 */
static void check_joined(const Model *m, const TensorUnit *u)
{
    uint8_t digest[32];
    uint64_t i;
    Sha256 h;
    sha256_init(&h);
    for (i = 0; i < u->count; i++)
        sha256_add(&h, m->coded[u->desc[i].index].digest, 32);
    sha256_end(&h, digest);
    if (memcmp(digest, u->digest, 8))
        fail("DIGEST_MISMATCH");
}

static void decode_unit(Stream *s, const TensorUnit *u)
{
    Model *m = s->model[u->model];
    Coder k;
    uint64_t i;
    int shared = u->count > 1 && u->payload_count;
    if (shared)
        coder_init(&k, &u->payload[0]);
    for (i = 0; i < u->count; i++)
        decode_tensor(s, m, u, &u->desc[i], shared ? &k : NULL);
    if (shared)
        coder_end(&k);
    if (u->count > 1)
        check_joined(m, u);
}

void decode_model(Stream *s, uint64_t number)
{
    Model *m = s->model[number];
    uint64_t n, i;
    Sha256 h;
    uint8_t digest[32];
    mark_needed(s, number);
    for (n = 0; n <= number; n++)
        for (i = 0; i < s->model[n]->unit_count; i++) {
            TensorUnit *u = s->model[n]->unit[i];
            if (!u->needed || u->done)
                continue;
            state.unit = u->unit;
            decode_unit(s, u);
            u->done = 1;
            free_predictors(s, u);
        }
    state.unit = -1;
    sha256_init(&h);
    for (i = 0; i < m->tensor_count; i++)
        sha256_add(&h, m->coded[i].digest, 32);
    sha256_end(&h, digest);
    if (memcmp(digest, m->digest, 32))
        fail("DIGEST_MISMATCH"); /* R8.8-2 */
}
