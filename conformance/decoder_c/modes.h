/* SPDX-License-Identifier: Apache-2.0
 * The entropy modes (7.7.3, clause 9), a row each. Included by omc.h. */
#ifndef MODES_H
#define MODES_H

enum { M_RAW, M_CC, M_CM, M_MAP, M_HUFFMAN, M_FIXED, M_DEFLATE, M_GZIP, M_BZIP2, M_LZMA, M_BINS, MODES };

/* the state of one payload (9.10.1) */
typedef struct {
    RangeCoder rc;
    Bits raw;             /* bypass substream */
    void *kept[MODES][2]; /* what persists from block to block, made when first used */
    int words_seen;
} Coder;

void coder_init(Coder *k, const Payload *p);
void coder_end(Coder *k);
Context *coder_contexts(Coder *k, int mode, int words, uint64_t n); /* n contexts of a mode */

/* A mode that is range coded has `levels`, `words` or both, which decode the
 * rows of one segment; any other has `integers`, which decodes all (words as
 * differences where there is a predictor), and of coders of bytes `expand`. */
typedef struct {
    int profile;    /* the lowest that has it */
    int real_words; /* 1: not for complex types */
    void (*levels)(Coder *k, const Component *c, uint64_t rows, uint64_t cols, int64_t *level);
    void (*words)(Coder *k, const Component *c, uint64_t row0, uint64_t rows, uint64_t cols, uint64_t *word,
                  const uint64_t *pred);
    void (*integers)(const Payload *p, const Component *c, uint64_t max_values, const uint64_t *pred, uint64_t *out);
    Expand (*expand)(const uint8_t *in, uint64_t n, uint8_t *out, uint64_t out_size);
} Mode;

extern const Mode modes[MODES];
int range_coded(int mode);
int mode_codes(int mode, int words); /* words, or levels */

/* ---- levels_cc.c, levels_cm.c (9.3, 9.4), words.c (9.5), map.c (9.6) ---- */

void decode_levels_cc(Coder *k, const Component *c, uint64_t rows, uint64_t cols, int64_t *level);
void decode_levels_cm(Coder *k, const Component *c, uint64_t rows, uint64_t cols, int64_t *level);
void decode_words(Coder *k, const Component *c, uint64_t row0, uint64_t rows, uint64_t cols, uint64_t *word,
                  const uint64_t *pred);
void decode_map(Coder *k, const Component *c, uint64_t row0, uint64_t rows, uint64_t cols, uint64_t *word,
                const uint64_t *pred);

/* ---- huffman.c (9.7), raw.c (9.8, 9.9.1, 9.10.2) ---- */

void decode_huffman(const Payload *p, const Component *c, uint64_t max_values, const uint64_t *pred, uint64_t *out);
void decode_fixed(const Payload *p, const Component *c, uint64_t max_values, const uint64_t *pred, uint64_t *out);
void decode_bytes(const Payload *p, const Component *c, uint64_t max_values, const uint64_t *pred, uint64_t *out);

/* ---- bins.c (9.12) ---- */

#define CHUNK_ELEMENTS ((uint64_t)1 << 17)
void decode_bins(const Payload *p, const Component *c, uint64_t max_values, const uint64_t *pred, uint64_t *out);

#endif
