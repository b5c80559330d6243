/* SPDX-License-Identifier: Apache-2.0
 * Cutting a stream into units: 6.1, 6.2, 7.1, 7.2, 7.11. */
#include "omc.h"

#include <string.h>

/* A.2; entry 0 is not used */
#define P2(n) ((uint64_t)1 << (n))
const Limits level_limits[5] = {
    {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
    {P2(12), 16, 4, 8, P2(10), P2(10), 8, 256, P2(22), P2(24), P2(12), P2(22), P2(12), 16, P2(10), P2(16), 256, P2(30), P2(30), 3 * P2(26)},
    {P2(16), 256, 16, 32, P2(14), P2(14), 16, P2(10), P2(26), P2(28), P2(16), P2(26), P2(16), 256, P2(12), P2(18), P2(10), P2(36), P2(33), 3 * P2(30)},
    {P2(20), P2(12), 64, 64, P2(18), P2(18), 32, P2(12), P2(30), P2(32), P2(18), P2(28), P2(20), P2(12), P2(14), P2(20), P2(12), P2(40), P2(36), 3 * P2(34)},
    {P2(24), P2(16), 256, 64, P2(22), P2(22), 48, P2(16), P2(36), P2(38), P2(20), P2(31), P2(24), P2(16), P2(16), P2(22), P2(14), P2(44), P2(62), P2(62)},
};

enum { C_PLAIN, C_DEFLATE, C_LZMA, C_DEFLATE_HEADER };

/* 7.2: unit codings that each type allows, as bits */
static const uint8_t coding_allowed[10] = {0, 1, 7, 15, 15, 1, 15, 7, 1, 1};

#define B(t) (1 << (t))
/* 7.1: types that may follow each type, as bits */
static const uint16_t may_follow[10] = {
    B(U_STREAM_HEADER),
    B(U_MODEL_HEADER) | B(U_STREAM_END),
    B(U_TOPOLOGY) | B(U_LAYERS) | B(U_TENSOR_DATA) | B(U_METADATA) | B(U_INDEX) | B(U_MODEL_END),
    B(U_LAYERS) | B(U_TENSOR_DATA) | B(U_METADATA) | B(U_INDEX) | B(U_MODEL_END),
    B(U_TENSOR_DATA) | B(U_METADATA) | B(U_INDEX) | B(U_MODEL_END),
    B(U_TENSOR_DATA) | B(U_METADATA) | B(U_INDEX) | B(U_MODEL_END),
    B(U_INDEX) | B(U_MODEL_END),
    B(U_MODEL_END),
    B(U_MODEL_HEADER) | B(U_STREAM_END),
    0};

static uint64_t read_leb(const Stream *s, uint64_t *at)
{
    uint64_t v = 0;
    int k;
    for (k = 0; k < 9; k++) {
        uint8_t byte;
        if (*at >= s->size)
            fail("TRUNCATED");
        byte = s->data[(*at)++];
        v |= (uint64_t)(byte & 127) << (7 * k);
        if (!(byte & 128)) {
            if (byte == 0 && k > 0)
                fail("FORBIDDEN_PATTERN"); /* R4.4-6 */
            return v;
        }
    }
    fail("FORBIDDEN_PATTERN");
}

static void expand(Stream *s, Unit *u, const uint8_t *coded, uint64_t n, int coding)
{
    Expand result;
    uint64_t used = 0;
    const uint8_t *dict = NULL;
    uint64_t dict_size = 0;
    u->expanded = mem_alloc(u->size, 1);
    if (coding == C_LZMA) {
        result = expand_lzma2(coded, n, u->expanded, u->size);
        used = n;
    } else {
        if (coding == C_DEFLATE_HEADER) {
            const Model *m = last_model(s);
            dict_size = m->header_size < 32768 ? m->header_size : 32768;
            dict = m->header + (m->header_size - dict_size);
        }
        result = inflate_raw(coded, n, &used, dict, dict_size, u->expanded, u->size);
    }
    if (result == X_DAMAGED)
        fail("ENTROPY_END"); /* R7.2-4 */
    if (result == X_SIZE || used != n)
        fail("BAD_SIZE"); /* R7.2-5 */
    u->body = u->expanded;
}

/* The head of the unit, its checks in the order of 7.2, and its body. */
static void read_unit(Stream *s, uint64_t at, Unit *u, int last_type)
{
    uint64_t coded_size, limit = s->level->unit_bytes;
    const uint8_t *coded;
    uint32_t check;
    int k;
    u->offset = at;
    u->type = s->data[at] >> 2;
    u->coding = s->data[at] & 3;
    at++;
    if (u->type == 0 || (u->type >= 10 && u->type < 32))
        fail("RESERVED_VALUE"); /* R7.2-1 */
    if (u->type < 32 && !(coding_allowed[u->type] >> u->coding & 1))
        fail("FORBIDDEN_PATTERN"); /* R7.2-2 */
    coded_size = read_leb(s, &at);
    u->size = u->coding != C_PLAIN ? read_leb(s, &at) : coded_size;
    if (coded_size > s->size - at || s->size - at - coded_size < 4)
        fail("TRUNCATED");
    coded = s->data + at;
    at += coded_size;
    u->total = at + 4 - u->offset;
    if ((uint64_t)u->number + 1 > s->level->units)
        fail("RESOURCE_LIMIT"); /* R7.2-7 */
    count_unit(s);
    if (u->type >= 32)
        return;
    if (!(may_follow[last_type] >> u->type & 1))
        fail("ORDER"); /* R7.1-2 */
    for (check = 0, k = 0; k < 4; k++)
        check = check << 8 | s->data[at + (uint64_t)k];
    if (check != crc32_of(s->data + u->offset, at - u->offset))
        fail("DIGEST_MISMATCH"); /* R7.2-8 */
    if (u->type != U_TENSOR_DATA && (coded_size > limit || u->size > limit))
        fail("RESOURCE_LIMIT"); /* R7.2-6 */
    count_body(s, u->type != U_TENSOR_DATA ? u->size : 0);
    if (u->coding == C_PLAIN)
        u->body = coded;
    else
        expand(s, u, coded, coded_size, u->coding);
}

/* 6.11, 7.11 */
static void parse_stream_end(Stream *s, Bits *b, const Unit *u, uint64_t last_index)
{
    if (bits_u(b, 32) != s->model_count || bits_u(b, 32) != (uint64_t)u->number + 1)
        fail("MISSING_UNIT"); /* R7.11-1 */
    if (bits_u(b, 64) != last_index)
        fail("DANGLING_REFERENCE"); /* R7.11-2 */
}

static void parse_body(Stream *s, const Unit *u, uint64_t last_index)
{
    static const uint8_t sealed[10] = {0, 0, 0, SEAL_TOPOLOGY, SEAL_LAYERS, 0, SEAL_METADATA, 0, 0, 0}; /* 8.8 */
    Bits b;
    if (sealed[u->type])
        sha256_of(u->body, u->size, last_model(s)->sealed[sealed[u->type]]);
    bits_init(&b, u->body, u->size, "TRUNCATED");
    state.reader = &b;
    switch (u->type) {
    case U_STREAM_HEADER: parse_stream_header(s, &b); break;
    case U_MODEL_HEADER: parse_model_header(s, &b, u); break;
    case U_TOPOLOGY: parse_topology(s, &b); break;
    case U_LAYERS: parse_layers(s, &b); break;
    case U_TENSOR_DATA: parse_tensor_data(s, &b, u); break;
    case U_METADATA: parse_metadata(s, &b); break;
    case U_INDEX: parse_index(s, &b); break;
    case U_MODEL_END: parse_model_end(s, &b); break;
    default: parse_stream_end(s, &b, u, last_index);
    }
    bits_align(&b);
    if (b.pos != b.size * 8)
        fail("BAD_SIZE"); /* R7.2-9 */
    state.reader = NULL;
}

void parse_stream(Stream *s)
{
    static const uint8_t magic[4] = {0x8F, 0x4F, 0x4D, 0x43};
    uint64_t at = 4, last_index = 0;
    int64_t number = 0;
    int last_type = 0;
    s->level = &level_limits[1]; /* R7.2-6, R7.2-7: until the header is read */
    if (memcmp(s->data, magic, (size_t)(s->size < 4 ? s->size : 4)))
        fail("BAD_MAGIC"); /* R7.1-1 */
    if (s->size < 4)
        fail("TRUNCATED");
    for (;;) {
        Unit u = {0, 0, 0, 0, 0, NULL, NULL, 0};
        if (at == s->size) /* R7.1-3 */
            fail(last_type == U_MODEL_END || last_type == U_STREAM_HEADER ? "MISSING_UNIT" : "TRUNCATED");
        u.number = state.unit = number++;
        read_unit(s, at, &u, last_type);
        at += u.total;
        if (u.type >= 32)
            continue;
        if (u.type == U_INDEX)
            last_index = u.offset;
        parse_body(s, &u, last_index);
        mem_free(u.expanded);
        last_type = u.type;
        if (u.type == U_STREAM_END)
            break;
    }
    if (at != s->size)
        fail("TRAILING_DATA"); /* R7.1-4 */
    if (!s->model_count)
        fail("MISSING_UNIT"); /* R7.1-5 */
    state.unit = -1;
}
