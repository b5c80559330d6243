/* SPDX-License-Identifier: Apache-2.0
 * Errors (Annex B, and the records of the decoder contract) and memory. */
#include "omc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

State state = {-1, NULL, (uint64_t)4 << 30, 0, (uint64_t)1 << 38};

NORETURN void fail(const char *code)
{
    printf("{\"code\": \"%s\", \"unit\": ", code);
    if (state.unit >= 0)
        printf("%" PRId64, state.unit);
    else
        printf("null");
    if (state.reader)
        printf(", \"bit\": %" PRIu64 "}\n", state.reader->pos);
    else
        printf(", \"bit\": null}\n");
    fflush(stdout);
    exit(10);
}

NORETURN void unsupported(const char *feature)
{
    printf("{\"feature\": \"%s\"}\n", feature);
    fflush(stdout);
    exit(11);
}

/* Each block has a header; all blocks are in one list. */
typedef union header Header;
union header {
    struct {
        Header *next, *previous;
        uint64_t size;
    } h;
    long double align;
};

static Header *blocks;

static void link_block(Header *b)
{
    b->h.previous = NULL;
    b->h.next = blocks;
    if (blocks)
        blocks->h.previous = b;
    blocks = b;
}

static void unlink_block(Header *b)
{
    if (b->h.previous)
        b->h.previous->h.next = b->h.next;
    else
        blocks = b->h.next;
    if (b->h.next)
        b->h.next->h.previous = b->h.previous;
}

void *mem_alloc(uint64_t count, uint64_t size) { return mem_grow(NULL, count, size); }

/* New bytes are 0. */
void *mem_grow(void *p, uint64_t count, uint64_t size)
{
    Header *b = p ? (Header *)p - 1 : NULL;
    uint64_t old = b ? b->h.size : 0, left = state.max_memory - state.used_memory, total;
    if (size && count > UINT64_MAX / 2 / size)
        fail("RESOURCE_LIMIT");
    total = count * size;
    if (total > old && (left < sizeof(Header) || total - old > left - sizeof(Header) || total > SIZE_MAX / 2))
        fail("RESOURCE_LIMIT");
    if (b) {
        unlink_block(b);
        state.used_memory -= sizeof(Header) + old;
        b = realloc(b, (size_t)(sizeof(Header) + total));
    } else {
        b = calloc(1, (size_t)(sizeof(Header) + total));
    }
    if (!b)
        fail("RESOURCE_LIMIT");
    if (p && total > old)
        memset((uint8_t *)(b + 1) + old, 0, (size_t)(total - old));
    b->h.size = total;
    link_block(b);
    state.used_memory += sizeof(Header) + total;
    return b + 1;
}

void mem_free(void *p)
{
    if (p) {
        Header *b = (Header *)p - 1;
        unlink_block(b);
        state.used_memory -= sizeof(Header) + b->h.size;
        free(b);
    }
}

void mem_free_all(void)
{
    while (blocks)
        mem_free(blocks + 1);
}
