/* SPDX-License-Identifier: Apache-2.0
 * Structures of 6.3, 6.4 and 6.8 to 6.10 with their semantics. Topology and
 * layers are in description.c, tensor data in tensor_data.c. */
#include "omc.h"

#include <stdlib.h>
#include <string.h>

void limit(uint64_t e, uint64_t most)
{
    if (e > most)
        fail("RESOURCE_LIMIT");
}

/* R4.4-1: each entry of a list takes at least a bit, so nothing is allocated
 * for entries that cannot be there. */
void expect_entries(const Bits *b, uint64_t n)
{
    if (n > bits_left(b))
        fail("TRUNCATED");
}

Model *last_model(Stream *s) { return s->model[s->model_count - 1]; }

/* R4.4-5: well-formed UTF-8 without U+0000 */
static int utf8_ok(const uint8_t *p, uint64_t n)
{
    uint64_t i = 0;
    while (i < n) {
        uint32_t c = p[i++];
        int more, k;
        uint32_t least;
        if (c == 0)
            return 0;
        if (c < 0x80)
            continue;
        if (c >= 0xC2 && c <= 0xDF) more = 1, least = 0x80, c &= 31;
        else if ((c & 0xF0) == 0xE0) more = 2, least = 0x800, c &= 15;
        else if (c >= 0xF0 && c <= 0xF4) more = 3, least = 0x10000, c &= 7;
        else return 0;
        for (k = 0; k < more; k++) {
            if (i >= n || (p[i] & 0xC0) != 0x80)
                return 0;
            c = c << 6 | (p[i++] & 63);
        }
        if (c < least || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
            return 0;
    }
    return 1;
}

/* str(v); *text is one byte longer than the string and ends with 0 */
void read_string(Stream *s, Bits *b, uint8_t **text, uint64_t *size)
{
    *size = bits_ue(b);
    limit(*size, s->level->name_length); /* R4.4-4 */
    bits_align(b);
    expect_entries(b, *size);
    *text = mem_alloc(*size + 1, 1);
    bits_bytes(b, *text, *size);
    if (!utf8_ok(*text, *size))
        fail("FORBIDDEN_PATTERN");
}

void skip_string(Stream *s, Bits *b)
{
    uint8_t *text;
    uint64_t size;
    read_string(s, b, &text, &size);
    mem_free(text);
}

void skip_bytes(Bits *b, uint64_t n)
{
    if (n > bits_left(b) / 8)
        fail(b->end_code);
    b->pos += n * 8;
}

/* ---- distinct strings: R7.4-4, R7.8-1 ---- */

typedef struct {
    const uint8_t *text;
    uint64_t size;
} Text;

static int compare_texts(const void *a, const void *b)
{
    const Text *x = a, *y = b;
    int c = memcmp(x->text, y->text, (size_t)(x->size < y->size ? x->size : y->size));
    return c ? c : (x->size > y->size) - (x->size < y->size);
}

static void check_distinct(Text *t, uint64_t n)
{
    uint64_t i;
    qsort(t, (size_t)n, sizeof *t, compare_texts);
    for (i = 1; i < n; i++)
        if (!compare_texts(t + i - 1, t + i))
            fail("DUPLICATE_ID");
}

/* ---- 6.3, 7.3 ---- */

void parse_stream_header(Stream *s, Bits *b)
{
    uint64_t major = bits_u(b, 8), minor = bits_u(b, 8), level;
    if (major != 0 || minor != 2)
        fail("UNSUPPORTED_VERSION"); /* R7.3-1 */
    s->profile = (int)bits_u(b, 8);
    if (s->profile > 2)
        fail("RESERVED_VALUE");
    level = bits_u(b, 8);
    if (level < 1 || level > 4)
        fail("OUT_OF_RANGE");
    s->level = &level_limits[level];
}

/* ---- 6.4, 7.4 ---- */

static void parse_references(Stream *s, Bits *b, Model *m, int enhancement)
{
    uint64_t i;
    int inherit;
    m->reference_count = bits_ue(b);
    limit(m->reference_count, s->level->references);
    count_items(s, m->reference_count);
    m->reference = mem_alloc(m->reference_count, sizeof *m->reference);
    for (i = 0; i < m->reference_count; i++) {
        Reference *r = &m->reference[i];
        r->external = (int)bits_u(b, 1);
        if (r->external) {
            bits_bytes(b, r->digest, 32);
        } else {
            uint64_t distance = bits_ue(b);
            if (distance < 1 || distance > s->level->models)
                fail("OUT_OF_RANGE");
            if (distance > m->number)
                fail("DANGLING_REFERENCE"); /* R7.4-1 */
            r->model = m->number - distance;
        }
    }
    inherit = (int)bits_u(b, 1);
    if (inherit && (m->reference_count == 0 || m->reference[0].external))
        fail("DANGLING_REFERENCE"); /* R7.4-2 */
    if (enhancement && (!inherit || m->reference[0].model + 1 != m->number))
        fail("FORBIDDEN_PATTERN"); /* R7.4-3 */
    if (inherit) {
        const Model *from = s->model[m->reference[0].model];
        m->tensor_count = from->tensor_count;
        m->tensor = from->tensor;
        m->fold = from->fold;
        memcpy(m->sealed[SEAL_TOPOLOGY], from->sealed[SEAL_TOPOLOGY], 32);
        memcpy(m->sealed[SEAL_LAYERS], from->sealed[SEAL_LAYERS], 32);
    }
}

static void parse_tensor_entry(Stream *s, Bits *b, Tensor *t)
{
    const ElementType *e;
    uint64_t size = 1, i, most = s->level->tensor_elements;
    read_string(s, b, &t->name, &t->name_size);
    t->type = (int)bits_u(b, 6);
    e = element_type((unsigned)t->type);
    if (!e)
        fail("RESERVED_VALUE"); /* R7.4.2-1 */
    i = bits_ue(b);
    limit(i, s->level->rank);
    count_items(s, i);
    t->rank = (unsigned)i;
    t->dim = mem_alloc(i, sizeof *t->dim);
    t->elements = 1;
    for (i = 0; i < t->rank; i++) {
        uint64_t d = bits_ue(b);
        limit(d, most);
        t->dim[i] = d;
        size = size > most / (d ? d : 1) ? most + 1 : size * (d ? d : 1);
        t->elements = size > most ? 0 : t->elements * d;
    }
    limit(size, most); /* R7.4.2-2 */
    limit(size * (uint64_t)(e->word_bytes * e->words), s->level->tensor_memory); /* R7.4.2-3 */
    t->word_count = t->elements * (uint64_t)e->words;
}

static void parse_tensor_table(Stream *s, Bits *b, Model *m)
{
    uint64_t i;
    Text *names;
    m->tensor_count = bits_ue(b);
    limit(m->tensor_count, s->level->tensors);
    count_items(s, m->tensor_count);
    expect_entries(b, m->tensor_count);
    m->tensor = mem_alloc(m->tensor_count, sizeof *m->tensor);
    names = mem_alloc(m->tensor_count, sizeof *names);
    for (i = 0; i < m->tensor_count; i++) {
        parse_tensor_entry(s, b, &m->tensor[i]);
        names[i].text = m->tensor[i].name;
        names[i].size = m->tensor[i].name_size;
    }
    check_distinct(names, m->tensor_count); /* R7.4-4 */
    mem_free(names);
}

void parse_model_header(Stream *s, Bits *b, const Unit *u)
{
    Model *m;
    uint8_t *name;
    uint64_t name_size;
    int enhancement, k;
    limit(s->model_count + 1, s->level->models); /* R7.4-5 */
    m = mem_alloc(1, sizeof *m);
    m->number = s->model_count;
    m->offset = u->offset;
    m->header = mem_alloc(u->size, 1);
    m->header_size = u->size;
    memcpy(m->header, u->body, (size_t)u->size);
    read_string(s, b, &name, &name_size);
    sha256_of(name, name_size, m->sealed[SEAL_NAME]);
    mem_free(name);
    for (k = SEAL_TOPOLOGY; k < SEALED; k++)
        sha256_of(NULL, 0, m->sealed[k]);
    enhancement = (int)bits_u(b, 1);
    parse_references(s, b, m, enhancement);
    if (!m->tensor)
        parse_tensor_table(s, b, m);
    m->coded = mem_alloc(m->tensor_count, sizeof *m->coded);
    if (s->model_count == s->model_room) {
        s->model_room = s->model_room * 2 + 4;
        s->model = mem_grow(s->model, s->model_room, sizeof *s->model);
    }
    s->model[s->model_count++] = m;
}

/* ---- 6.8, 7.8 ---- */

void parse_metadata(Stream *s, Bits *b)
{
    uint64_t n = bits_ue(b), i;
    Text *keys;
    limit(n, s->level->tensors);
    count_items(s, n);
    expect_entries(b, n);
    keys = mem_alloc(n, sizeof *keys);
    for (i = 0; i < n; i++) {
        uint8_t *key;
        uint64_t size;
        read_string(s, b, &key, &keys[i].size);
        keys[i].text = key;
        size = bits_ue(b);
        limit(size, s->level->unit_bytes);
        skip_bytes(b, size);
    }
    check_distinct(keys, n); /* R7.8-1 */
    for (i = 0; i < n; i++)
        mem_free((void *)keys[i].text);
    mem_free(keys);
}

/* ---- 6.9, 7.9: R7.9.1-1, exactly the values of the units ---- */

static void must_be(uint64_t a, uint64_t b)
{
    if (a != b)
        fail("DANGLING_REFERENCE");
}

void parse_index(Stream *s, Bits *b)
{
    const Model *m = last_model(s);
    uint64_t n = bits_ue(b), i, j, end = m->offset;
    limit(n, s->level->tensors);
    count_items(s, n);
    must_be(n, m->unit_count);
    for (i = 0; i < n; i++) {
        const TensorUnit *u = m->unit[i];
        uint64_t count, previous = (uint64_t)0 - 1;
        must_be(bits_ue(b), u->offset - end);
        must_be(bits_ue(b), u->size);
        end = u->offset + u->size;
        count = bits_ue(b);
        limit(count, s->level->joined_tensors - 1);
        count_items(s, count + 1);
        must_be(count + 1, u->count);
        for (j = 0; j < u->count; j++) {
            must_be(bits_ue(b), u->desc[j].index - previous - 1);
            previous = u->desc[j].index;
        }
    }
}

/* ---- 6.10, 7.10 ---- */

void parse_model_end(Stream *s, Bits *b)
{
    Model *m = last_model(s);
    uint8_t seal[8];
    uint64_t i;
    if (bits_ue(b) != m->unit_count)
        fail("MISSING_UNIT"); /* R7.10-1 */
    bits_bytes(b, m->digest, 32);
    bits_bytes(b, seal, 8);
    for (i = 0; i < m->tensor_count; i++)
        if (!m->coded[i].unit)
            fail("MISSING_UNIT"); /* R7.10-2 */
    check_seal(m, seal);
}
