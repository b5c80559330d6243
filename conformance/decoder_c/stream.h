/* SPDX-License-Identifier: Apache-2.0
 * What a stream holds, as syntax and semantics (clauses 6 and 7) yield it.
 * Included by omc.h. */
#ifndef STREAM_H
#define STREAM_H

/* ---- Annex A.2: levels ---- */

typedef struct {
    uint64_t units, models, references, nesting, tensors, layers, rank, name_length, tensor_elements,
        tensor_memory, codebook_size, unit_bytes, segments, files, joined_tensors, joined_elements,
        decomposition_size, multiplications, work, memory;
} Limits;

/* ---- A.3: what has been counted so far ---- */

typedef struct {
    uint64_t units, items, bodies, tensors, largest;
} Cost;

/* ---- clause 7: what syntax yields ---- */

enum { U_STREAM_HEADER = 1, U_MODEL_HEADER, U_TOPOLOGY, U_LAYERS, U_TENSOR_DATA, U_METADATA, U_INDEX, U_MODEL_END, U_STREAM_END };
enum { P_NONE, P_COPY, P_INTRA, P_INTER, P_SPATIAL };
enum { R_DIRECT, R_LOW_RANK, R_MAPPING, R_AUGMENTATION, R_LOW_RANK_UPDATE, R_RANDOM_MASK, R_ROW_MASK };
enum { Q_NONE, Q_UNIFORM, Q_CODEBOOK, Q_GRID, Q_DECIMAL, Q_FIXED_POINT, Q_INTEGER_CODEBOOK };

typedef struct {
    uint32_t *axis;
    uint64_t row_axis_count, kernel_size;
} Fold;

typedef struct {
    uint8_t *name;
    uint64_t name_size;
    int type;
    unsigned rank;
    uint64_t *dim;
    uint64_t elements, word_count;
} Tensor;

typedef struct {
    int external;
    uint8_t digest[32];
    uint64_t model; /* number of the model in the stream */
} Reference;

typedef struct {
    const uint8_t *coded, *bypass;
    uint64_t coded_size, bypass_size;
} Payload;

typedef struct {
    int quantiser, entropy_mode;
    uint64_t rows, cols, word_count, kernel_size, plane_rows;
    int words_flag, word_type; /* check_tools */
    int integer_flag, float_flag;
    int trellis_size, states;
    int64_t mantissa, exponent; /* of the step */
    uint64_t codebook_size, zero_index;
    uint64_t *codebook_words;
    int64_t *codebook_integers;
    uint32_t *grid_scales;
    int decimal_exponent;
    int fixed_point_width;
    int word_zeros, word_sign_mode, word_scale_rule, word_row_shift, word_trailing, word_shift;
    uint64_t word_offset;
    int level_bytes, byte_planes, fixed_length;
    uint64_t segment_count;
    int coded_flag;
    uint64_t first_payload;
    int spatial; /* -1, or spatial_predictor */
    int has_predictor;
} Component;

typedef struct TensorUnit TensorUnit;

enum { SEAL_NAME, SEAL_TOPOLOGY, SEAL_LAYERS, SEAL_METADATA, SEALED }; /* 8.8 */

typedef struct {
    uint64_t index; /* tensor_index */
    uint8_t digest[8]; /* of a tensor in a unit of its own */
    uint64_t piece_count;
    uint8_t *piece_digests; /* 8 bytes each; NULL: not in the stream */
    int prediction_mode, representation, column_scan, spatial_predictor;
    uint64_t reference_index, reference_tensor;
    uint64_t rows, cols, plane_rows, kernel_size; /* the matrix of 8.3 */
    uint64_t selected_count, factor_rank, gain_count, random_seed;
    uint32_t random_density;
    uint8_t *row_mask;
    int additive;
    int component_count;
    Component component[3];
} Descriptor;

struct TensorUnit { /* one TENSOR_DATA unit */
    int64_t unit;   /* number in the stream */
    uint64_t model, offset, size;
    uint64_t count;
    uint8_t digest[8]; /* of a joined unit */
    Descriptor *desc;
    uint64_t payload_count;
    Payload *payload;
    uint64_t work; /* decoding work */
    const TensorUnit *mark; /* last unit that counted this one */
    int needed, done;
};

typedef struct { /* a tensor as coded in a model */
    TensorUnit *unit;
    Descriptor *desc;
    unsigned depth;
    uint8_t *data; /* decoded words, row-major, little-endian */
    uint8_t digest[32];
    uint64_t uses; /* tensors that are still to be predicted from it */
} Coded;

typedef struct {
    uint64_t number, offset;
    uint8_t *header;
    uint64_t header_size;
    uint64_t reference_count;
    Reference *reference;
    uint64_t tensor_count;
    Tensor *tensor;
    Fold *fold; /* axis NULL: default */
    Coded *coded;
    uint64_t unit_count, unit_room;
    TensorUnit **unit;
    uint8_t digest[32];
    uint8_t sealed[SEALED][32]; /* digests of its name and of the bodies that describe it */
} Model;

typedef struct { /* an external model */
    uint64_t tensor_count;
    Tensor *tensor;
    uint8_t **data;
    uint8_t digest[32];
} Dump;

typedef struct {
    const uint8_t *data;
    uint64_t size;
    const Limits *level;
    Cost cost;
    int profile;
    uint64_t model_count, model_room;
    Model **model;
    uint64_t dump_count;
    Dump **dump;
    uint64_t kept; /* number of the model whose tensors stay when nothing needs them */
} Stream;

#endif
