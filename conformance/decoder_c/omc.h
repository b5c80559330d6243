/* SPDX-License-Identifier: Apache-2.0
 * A decoder of OMC, written from the text of SPEC.md alone. Clause numbers in
 * comments are those of that text.
 *
 * Errors: fail( ) prints the record of the contract and ends the process, so
 * no function returns an error of the stream. Memory comes from mem_alloc( ),
 * which keeps to a budget and fails with RESOURCE_LIMIT beyond it.
 */
#ifndef OMC_H
#define OMC_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define NORETURN __attribute__((noreturn))
#else
#define NORETURN
#endif

/* ---- support.c: errors and memory ---- */

typedef struct Bits Bits;

typedef struct {
    int64_t unit;       /* number of the unit at work, -1 if none */
    const Bits *reader; /* body being parsed, or NULL */
    uint64_t max_memory;
    uint64_t used_memory;
    uint64_t max_work; /* multiplications in one product of matrices */
} State;

extern State state;

NORETURN void fail(const char *code);
NORETURN void unsupported(const char *feature);

void *mem_alloc(uint64_t count, uint64_t size); /* zeroed */
void *mem_grow(void *p, uint64_t count, uint64_t size);
void mem_free(void *p);
void mem_free_all(void);

/* ---- 4.1: functions on integers ---- */

static inline int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t clip3(int64_t lo, int64_t hi, int64_t x) { return x < lo ? lo : x > hi ? hi : x; }
static inline int64_t abs64(int64_t x) { return x < 0 ? -x : x; }
static inline int sign64(int64_t x) { return (x > 0) - (x < 0); }

/* a >> n of 4.1: the floor of a / 2^n, for negative a too */
static inline int64_t sar(int64_t a, int n) { return a < 0 ? ~(~a >> n) : a >> n; }

static inline int bit_length(uint64_t x)
{
    int n = 0;
    while (x) {
        n++;
        x >>= 1;
    }
    return n;
}

static inline uint64_t mask_bits(int n) { return n >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1; }

/* ---- 4.4: descriptors (bits.c) ---- */

struct Bits {
    const uint8_t *data;
    uint64_t size;        /* bytes */
    uint64_t pos;         /* bits */
    const char *end_code; /* error when it ends too early */
};

void bits_init(Bits *b, const uint8_t *data, uint64_t size, const char *end_code);
uint64_t bits_left(const Bits *b);
uint64_t bits_u(Bits *b, int n);               /* u(n), n <= 64 */
uint64_t bits_ue(Bits *b);                     /* ue(v) */
uint64_t bits_ue_wide(Bits *b, int max_zeros); /* ue(v) of 9.7.3: up to 2^64 - 2 */
int64_t bits_se(Bits *b);
void bits_align(Bits *b);
void bits_bytes(Bits *b, uint8_t *to, uint64_t n); /* b(n) */

/* ---- 5.2: element types (types.c) ---- */

typedef struct {
    const char *name; /* NULL: reserved */
    char kind;        /* 'u', 'i', 'f' */
    int bits, sign, E, M, words, word_bytes;
    int bias;         /* 8.5.2 */
    uint64_t largest; /* 8.5.2 */
    int fnuz;         /* the word 1 << S is a NaN */
} ElementType;

enum {
    T_BOOL = 0, T_FLOAT32 = 16, T_FLOAT16 = 17, T_FLOAT64 = 19, T_E8M0 = 24,
    T_COMPLEX64 = 28, T_COMPLEX128 = 29
};

const ElementType *element_type(unsigned number); /* NULL: reserved */
int element_type_by_name(const char *name);       /* -1: unknown */

uint64_t word_get(const uint8_t *data, int word_bytes, uint64_t i);
void word_put(uint8_t *data, int word_bytes, uint64_t i, uint64_t w);
int64_t word_signed(const ElementType *t, uint64_t x);    /* Signed(x) of 8.4 */
uint64_t word_ordered(const ElementType *t, uint64_t w);  /* Ordered, modulo 2^64 */
uint64_t word_unordered(const ElementType *t, uint64_t x); /* Unordered(Signed(x)) */

#include "stream.h"

/* ---- container.c (6.1, 6.2, 7.1, 7.2), syntax.c (6.3, 6.4, 6.8 to 6.11), description.c (6.5, 6.6) ---- */

void parse_stream(Stream *s);
extern const Limits level_limits[5];

typedef struct {
    int type, coding;
    int64_t number;
    uint64_t offset, total; /* in the stream */
    uint8_t *expanded;      /* to be freed, or NULL */
    const uint8_t *body;
    uint64_t size;
} Unit;

void parse_stream_header(Stream *s, Bits *b);
void parse_model_header(Stream *s, Bits *b, const Unit *u);
void parse_topology(Stream *s, Bits *b);
void parse_layers(Stream *s, Bits *b);
void parse_metadata(Stream *s, Bits *b);
void parse_index(Stream *s, Bits *b);
void parse_model_end(Stream *s, Bits *b);
void read_string(Stream *s, Bits *b, uint8_t **text, uint64_t *size);
void skip_string(Stream *s, Bits *b);
void skip_bytes(Bits *b, uint64_t n);
void limit(uint64_t e, uint64_t most);           /* RESOURCE_LIMIT beyond */
/* A.3 */
uint64_t excess_work(const Stream *s);
uint64_t memory_needed(const Stream *s);
void count_unit(Stream *s);
void count_body(Stream *s, uint64_t bytes);
void count_items(Stream *s, uint64_t n);
void count_tensors(Stream *s, const Model *m, const TensorUnit *u);
uint64_t bytes_of(const Tensor *t);

void expect_entries(const Bits *b, uint64_t n);  /* R4.4-1 */
Model *last_model(Stream *s);

/* ---- tensor_data.c, descriptor.c, component.c (6.7, 7.7) ---- */

void parse_tensor_data(Stream *s, Bits *b, const Unit *u);
const Dump *find_dump(const Stream *s, const uint8_t digest[32]);

/* ---- decode.c (8.1, 8.2, 8.8), arrange.c (8.3, 8.7) ---- */

void decode_model(Stream *s, uint64_t number);  /* with what it needs of models before */
void release_model(Stream *s, uint64_t number); /* tensors that no later unit needs */

typedef struct {
    uint64_t rows, cols; /* R and C, in elements */
    uint64_t *row, *col; /* their parts of the element's number */
    int words, column_scan;
} Arrangement;
void arrange(const Model *m, const Descriptor *d, Arrangement *a);
void arrange_free(Arrangement *a);
void to_matrix(const Arrangement *a, const uint8_t *data, int word_bytes, uint64_t *matrix);
void from_matrix(const Arrangement *a, const uint64_t *matrix, int word_bytes, uint8_t *data);
uint8_t *fit(const Tensor *t, const Tensor *p, const uint8_t *data);

/* ---- quantise.c (8.5) ---- */

uint64_t round_to_type(const ElementType *t, double v);
double word_value(const ElementType *t, uint64_t w, int *finite);
double prediction_value(const ElementType *t, uint64_t w); /* p' of 8.5.3 */
void levels_to_indices(const Component *c, int64_t *level, uint64_t count);
void spatial_indices(const Component *c, uint64_t row0, uint64_t rows, int64_t *level);
double step_of(const Component *c);
void reconstruct(const Component *c, const ElementType *t, uint64_t row0, uint64_t rows, uint64_t *values,
                 const uint64_t *prediction);

/* ---- representation.c (8.6), decomposition.c (8.6.7) ---- */

uint64_t random_word(uint64_t seed, uint64_t i);
double *residual_of_factors(const Descriptor *d, const ElementType *t, int64_t *const factor[3], const uint64_t *x);
void factors_to_words(const Descriptor *d, const ElementType *t, int64_t *const factor[3], const uint64_t *x,
                      uint64_t *out);
uint8_t *make_mask(const Descriptor *d);

typedef struct {
    uint64_t m, n;
    int transposed;
    double *u; /* m rows of m */
    double *v; /* m rows of n */
} Vectors;
void decompose(const double *x, uint64_t rows, uint64_t cols, Vectors *out);

/* ---- range_coder.c (9.1, 9.2) ---- */

typedef struct {
    const uint8_t *p;
    uint64_t size, pos;
    uint32_t range, code;
} RangeCoder;

typedef uint32_t Context; /* p in the upper 20 bits, c in the low 12 */
#define LEVEL_COUNT_LIMIT 250
#define WORD_COUNT_LIMIT 1023

void tables_init(void);
void tables_check(void);
void table_digest(const char *name, const int32_t *t, uint64_t n);
void rc_init(RangeCoder *r, const uint8_t *p, uint64_t size);
int rc_bit(RangeCoder *r, uint32_t p);
uint64_t rc_bypass(RangeCoder *r, int n);
int rc_bin(RangeCoder *r, Context *c, unsigned limit);
void context_adapt(Context *c, int bin, unsigned limit);
void contexts_init(Context *c, uint64_t n);
void rc_element(const RangeCoder *r); /* R9.1.4-2 */
void rc_end(const RangeCoder *r);     /* R9.1.4-1 */
int64_t moved(int64_t mean, int64_t x, int64_t d);
int bucket(int64_t v);

/* ---- levels.c (9.3.2, 9.3.5) ---- */

typedef struct LevelBins LevelBins;
struct LevelBins {
    RangeCoder *rc;
    int negative;
    int (*bin)(LevelBins *b, int group, int node); /* group 0 sig, 1 sign, 2 rest */
};
int64_t level_decode(LevelBins *b, int Q);
int trellis_step(int states, int s, int64_t k);
void cm_tables_init(void);
void cm_tables_check(void);

/* ---- bytes_*.c: general-purpose coders ---- */

typedef enum { X_OK, X_DAMAGED, X_SIZE } Expand;
Expand inflate_raw(const uint8_t *in, uint64_t n, uint64_t *used, const uint8_t *dict, uint64_t dict_size,
                   uint8_t *out, uint64_t out_size);
Expand expand_zlib(const uint8_t *in, uint64_t n, uint8_t *out, uint64_t out_size);
Expand expand_gzip(const uint8_t *in, uint64_t n, uint8_t *out, uint64_t out_size);
Expand expand_bzip2(const uint8_t *in, uint64_t n, uint8_t *out, uint64_t out_size);
Expand expand_lzma2(const uint8_t *in, uint64_t n, uint8_t *out, uint64_t out_size);

#include "modes.h"

int64_t word_steps(Coder *k, Context *first, int limit); /* words.c: Steps of 9.5.6 */
void check_integer(const Component *c, uint64_t x);      /* raw.c: range of a word or level */

/* ---- digest.c (7.2, 8.8) ---- */

typedef struct {
    uint32_t h[8];
    uint8_t block[64];
    uint64_t size;
} Sha256;
void sha256_init(Sha256 *s);
void sha256_add(Sha256 *s, const void *p, uint64_t n);
void sha256_end(Sha256 *s, uint8_t out[32]);
void sha256_of(const void *data, uint64_t n, uint8_t out[32]);
void check_seal(const Model *m, const uint8_t *stated);
uint32_t crc32_of(const uint8_t *p, uint64_t n);
#define PIECE_BYTES ((uint64_t)1 << 20)
uint64_t bytes_of(const Tensor *t); /* of its words */
uint64_t piece_count(const Tensor *t);
void piece_digest(const Tensor *t, const uint8_t *data, uint64_t k, uint8_t out[32]);
void tensor_digest(const Tensor *t, const uint8_t *data, const uint8_t *stated, uint8_t out[32]);

/* ---- json.c: as much of JSON as dumps and requests have ---- */

typedef struct {
    const uint8_t *p, *end;
} Json;
int json_take(Json *j, int c);  /* 1: it was the next character */
void json_must(Json *j, int c);
uint8_t *json_text(Json *j, uint64_t *size); /* new memory, ends with 0 */
uint64_t json_number(Json *j);
void json_skip(Json *j);

/* ---- dump.c, decoder.c, serve.c: the contract ---- */

NORETURN void trouble(const char *what); /* with files, not with the stream: exit 1 */
uint8_t *file_read(const char *path, uint64_t *size); /* NULL: cannot be read */
Dump *dump_read(const char *folder);
void dump_write(const char *folder, const Stream *s);
#define LAST_MODEL UINT64_MAX
void decode_file(const char *path, const char *folder, uint64_t model, char *const *dump, uint64_t dumps);
void serve_requests(void);

#endif
