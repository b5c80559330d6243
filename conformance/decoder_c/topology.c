/* SPDX-License-Identifier: Apache-2.0
 * Slots of source files: 8.9.2. This decoder writes tensors, not files; it
 * checks that slots could be filled. */
#include "omc.h"

static uint64_t varint_size(uint64_t w)
{
    int n = bit_length(w);
    return n <= 7 ? 1 : (uint64_t)(n + 6) / 7;
}

static uint64_t slot_bytes(const Tensor *t, const ElementType *e, const uint8_t *data, int coding)
{
    uint64_t size = 0, i;
    if (coding == 0)
        return t->word_count * (uint64_t)e->word_bytes;
    if (coding == 1) {
        if (e->bits >= 8)
            fail("FORBIDDEN_PATTERN"); /* R8.9.2-1 */
        return (t->word_count * (uint64_t)e->bits + 7) / 8;
    }
    for (i = 0; i < t->word_count; i++) {
        uint64_t w = word_get(data, e->word_bytes, i);
        size += varint_size(e->kind == 'i' ? (uint64_t)word_signed(e, w) : w);
    }
    return size;
}

/* R8.9-1; for the topology of the model, which may be inherited */
void check_slots(const Model *m)
{
    uint64_t i;
    for (i = 0; m->topology && i < m->topology->count; i++) {
        const Slot *x = &m->topology->slots[i];
        const Tensor *t = &m->tensor[x->tensor];
        if (slot_bytes(t, element_type((unsigned)t->type), m->coded[x->tensor].data, x->coding) != x->size)
            fail("BAD_SIZE");
    }
}
