/* SPDX-License-Identifier: Apache-2.0
 * Between a tensor's elements and its matrix, 8.3, and between the dimensions
 * of a predicting tensor and those of the predicted one, 8.7. */
#include "omc.h"

#include <string.h>

/* part of the element's number for each position among `count` axes */
static uint64_t *axis_offsets(const Tensor *t, const uint32_t *axis, unsigned count, uint64_t *size)
{
    uint64_t stride[64], i, n = 1, step, *o;
    unsigned k;
    for (i = 1, k = t->rank; k-- > 0;) {
        stride[k] = i;
        i *= t->dim[k];
    }
    for (k = 0; k < count; k++)
        n *= t->dim[axis[k]];
    *size = n;
    o = mem_alloc(n, sizeof *o);
    for (step = 1, k = count; k-- > 0; step *= t->dim[axis[k]])
        for (i = 0; i < n; i++)
            o[i] += i / step % t->dim[axis[k]] * stride[axis[k]];
    return o;
}

void arrange(const Model *m, const Descriptor *d, Arrangement *a)
{
    const Tensor *t = &m->tensor[d->index];
    const Fold *f = m->fold && m->fold[d->index].axis ? &m->fold[d->index] : NULL;
    uint32_t axis[64];
    unsigned i, rows = f ? (unsigned)f->row_axis_count : t->rank >= 2;
    for (i = 0; i < t->rank; i++)
        axis[i] = f ? f->axis[i] : i;
    a->row = axis_offsets(t, axis, rows, &a->rows);
    a->col = axis_offsets(t, axis + rows, t->rank - rows, &a->cols);
    a->words = element_type((unsigned)t->type)->words;
    a->column_scan = d->column_scan;
}

void arrange_free(Arrangement *a)
{
    mem_free(a->row);
    mem_free(a->col);
}

static void copy_words(const Arrangement *a, uint8_t *data, int word_bytes, uint64_t *matrix, int back)
{
    uint64_t r, c, at = 0, words = (uint64_t)a->words, w;
    uint64_t outer = a->column_scan ? a->cols : a->rows, inner = a->column_scan ? a->rows : a->cols;
    for (r = 0; r < outer; r++)
        for (c = 0; c < inner; c++) {
            uint64_t element = a->column_scan ? a->row[c] + a->col[r] : a->row[r] + a->col[c];
            for (w = 0; w < words; w++, at++) {
                if (back)
                    word_put(data, word_bytes, element * words + w, matrix[at]);
                else
                    matrix[at] = word_get(data, word_bytes, element * words + w);
            }
        }
}

void to_matrix(const Arrangement *a, const uint8_t *data, int word_bytes, uint64_t *matrix)
{
    copy_words(a, (uint8_t *)data, word_bytes, matrix, 0);
}

void from_matrix(const Arrangement *a, const uint64_t *matrix, int word_bytes, uint8_t *data)
{
    copy_words(a, data, word_bytes, (uint64_t *)matrix, 1);
}

/* 8.7: the words of P fitted to the dimensions of T; new memory */
uint8_t *fit(const Tensor *t, const Tensor *p, const uint8_t *data)
{
    const ElementType *e = element_type((unsigned)t->type);
    uint64_t bytes = (uint64_t)(e->word_bytes * e->words), i;
    uint8_t *out = mem_alloc(t->elements, bytes);
    uint64_t at[64] = {0};
    if (t->rank == 0 || !memcmp(t->dim, p->dim, t->rank * sizeof *t->dim)) {
        memcpy(out, data, (size_t)(t->elements * bytes));
        return out;
    }
    for (i = 0; i < t->elements; i++) {
        uint64_t from = 0;
        unsigned k;
        int inside = 1;
        for (k = 0; k < t->rank; k++) {
            inside = inside && at[k] < p->dim[k];
            from = from * p->dim[k] + at[k]; /* meant only if it is inside */
        }
        if (inside)
            memcpy(out + i * bytes, data + from * bytes, (size_t)bytes);
        for (k = t->rank; k-- > 0;) { /* the next position */
            if (++at[k] < t->dim[k])
                break;
            at[k] = 0;
        }
    }
    return out;
}
