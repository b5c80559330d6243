/* SPDX-License-Identifier: Apache-2.0
 * Quantised levels, context coding: 9.3. */
#include "omc.h"

#define PLACES 134
#define NODES 64

typedef struct {
    LevelBins b;
    Context *context; /* PLACES * NODES, then 9 for the sign */
    int place, sign_place;
} Bins;

static int bin(LevelBins *b, int group, int node)
{
    Bins *x = (Bins *)b; /* b is its first member */
    Context *c = group == 1 ? x->context + PLACES * NODES + x->sign_place : x->context + x->place * NODES + node;
    return rc_bin(b->rc, c, LEVEL_COUNT_LIMIT);
}

void decode_levels_cc(Coder *k, const Component *c, uint64_t rows, uint64_t cols, int64_t *level)
{
    Bins x;
    int64_t overall = 0, row, *column = mem_alloc(cols, sizeof *column);
    uint64_t i, j;
    int s = 0;
    x.b.rc = &k->rc;
    x.b.bin = bin;
    x.context = coder_contexts(k, M_CC, 0, PLACES * NODES + 9);
    for (i = 0; i < rows; i++) {
        row = overall;
        for (j = 0; j < cols; j++) {
            int64_t *at = level + i * cols + j, left = j ? at[-1] : 0, above = i ? *(at - cols) : 0, n, magnitude;
            int Q = s & 1;
            if (i == 0)
                column[j] = row;
            x.place = bucket(row + column[j]);
            x.sign_place = 3 * sign64(left) + sign64(above) + 4;
            *at = level_decode(&x.b, Q);
            n = c->states ? 2 * *at - sign64(*at) * Q : *at;
            magnitude = abs64(n) * 256;
            row = moved(row, magnitude, min64((int64_t)j + 2, 16));
            column[j] = moved(column[j], magnitude, min64((int64_t)i + 2, 64));
            s = trellis_step(c->states, s, *at);
        }
        overall = moved(overall, row, min64((int64_t)i + 1, 16));
    }
    mem_free(column);
}
