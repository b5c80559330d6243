"""The syntax structures of SPEC 6.3 to 6.11: one function each, run by Reader, Tracer and Writer alike.

A test compares these functions, line by line, with the tables of SPEC.md (tools/syntax_tables.py).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from . import derive
from .limits import LEVELS, Profile
from .structures import (
    ActivationFormat,
    Component,
    EntropyMode,
    FileEntry,
    FixedPoint,
    FoldParameters,
    Index,
    IndexEntry,
    IntegerCodebook,
    LayerDescriptor,
    LayerDescriptors,
    LayerTensor,
    Metadata,
    MetadataEntry,
    ModelEnd,
    ModelHeader,
    Payload,
    PredictionMode,
    Quantiser,
    ReferenceEntry,
    Representation,
    SegmentEntry,
    SourceFormat,
    SpatialPredictor,
    StreamEnd,
    StreamHeader,
    TensorData,
    TensorDescriptor,
    TensorEntry,
    Topology,
    UniformParameters,
)
from .visitor import Visitor

X = TypeVar("X")
Syntax = Callable[[Visitor, X], None]
STRUCTURES: dict[str, tuple[str, Syntax[Any]]] = {}       # name: (clause, function)


def structure(clause: str) -> Callable[[Syntax[X]], Syntax[X]]:
    """Marks a syntax function with its clause of SPEC."""
    def mark(function: Syntax[X]) -> Syntax[X]:
        name = function.__name__
        place = clause, name

        @functools.wraps(function)
        def run(v: Visitor, x: X) -> None:
            v.clauses.append(place)
            function(v, x)
            v.clauses.pop()                            # an error keeps the place where it arose
        STRUCTURES[name] = (clause, function)
        return run
    return mark


@structure("6.3")
def stream_header(v: Visitor, x: StreamHeader) -> None:
    x.version_major = v.u("version_major", x.version_major, 8)
    x.version_minor = v.u("version_minor", x.version_minor, 8)
    derive.check_version(v, x)
    x.profile = v.u("profile", x.profile, 8, 0, Profile)
    x.level = v.u("level", x.level, 8, 1, max(LEVELS))


@structure("6.4")
def model_header(v: Visitor, x: ModelHeader) -> None:
    x.model_name = v.string("model_name", x.model_name)
    x.enhancement_flag = v.u("enhancement_flag", x.enhancement_flag, 1)
    x.reference_count = v.ue("reference_count", x.reference_count)
    v.limit("reference_count", x.reference_count, v.level.references)
    v.resize(x.reference, x.reference_count, ReferenceEntry)
    for i in range(x.reference_count):
        reference_entry(v, x.reference[i])
    x.inherit_flag = v.u("inherit_flag", x.inherit_flag, 1)
    derive.check_model_header(v, x)
    if not x.inherit_flag:
        x.tensor_count = v.ue("tensor_count", x.tensor_count)
        v.limit("tensor_count", x.tensor_count, v.level.tensors)
        v.resize(x.tensor, x.tensor_count, TensorEntry)
        for i in range(x.tensor_count):
            tensor_entry(v, x.tensor[i])


@structure("6.4.1")
def reference_entry(v: Visitor, x: ReferenceEntry) -> None:
    x.external_flag = v.u("external_flag", x.external_flag, 1)
    if x.external_flag:
        x.reference_digest = v.b("reference_digest", x.reference_digest, 32)
    else:
        x.model_distance = v.ue("model_distance", x.model_distance, 1, v.level.models)


@structure("6.4.2")
def tensor_entry(v: Visitor, x: TensorEntry) -> None:
    x.tensor_name = v.string("tensor_name", x.tensor_name)
    x.element_type = v.u("element_type", x.element_type, 6)
    derive.check_element_type(v, x)
    x.rank = v.ue("rank", x.rank)
    v.limit("rank", x.rank, v.level.rank)
    v.resize(x.dimension, x.rank, int)
    for i in range(x.rank):
        x.dimension[i] = v.ue("dimension", x.dimension[i])
        v.limit("dimension", x.dimension[i], v.level.tensor_elements)
    derive.check_tensor_size(v, x)


@structure("6.5")
def topology(v: Visitor, x: Topology) -> None:
    x.source_format = v.ue("source_format", x.source_format, 0, SourceFormat)
    x.file_count = v.ue("file_count", x.file_count, 1)
    v.limit("file_count", x.file_count, v.level.files)
    v.resize(x.file, x.file_count, FileEntry)
    for i in range(x.file_count):
        file_entry(v, x.file[i])
    derive.check_files(v, x)
    v.byte_alignment()
    for i in range(x.file_count):
        for s in range(x.file[i].segment_count):
            x.file[i].segment[s].literal = v.b("literal", x.file[i].segment[s].literal,
                                               x.file[i].segment[s].literal_size)


@structure("6.5.1")
def file_entry(v: Visitor, x: FileEntry) -> None:
    x.file_path = v.string("file_path", x.file_path)
    x.segment_count = v.ue("segment_count", x.segment_count)
    v.limit("segment_count", x.segment_count, v.level.segments)
    derive.count_segments(v, x)
    v.resize(x.segment, x.segment_count, SegmentEntry)
    for s in range(x.segment_count):
        segment_entry(v, x.segment[s])


@structure("6.5.2")
def segment_entry(v: Visitor, x: SegmentEntry) -> None:
    x.slot_flag = v.u("slot_flag", x.slot_flag, 1)
    if x.slot_flag:
        x.slot_tensor_delta = v.se("slot_tensor_delta", x.slot_tensor_delta)
        x.slot_coding = v.u("slot_coding", x.slot_coding, 2, 0, 2)
        x.slot_size = v.ue("slot_size", x.slot_size)
    else:
        x.literal_size = v.ue("literal_size", x.literal_size)
        v.limit("literal_size", x.literal_size, v.level.unit_bytes)


@structure("6.6")
def layer_descriptors(v: Visitor, x: LayerDescriptors) -> None:
    x.layer_count = v.ue("layer_count", x.layer_count)
    v.limit("layer_count", x.layer_count, v.level.layers)
    v.resize(x.layer, x.layer_count, LayerDescriptor)
    for i in range(x.layer_count):
        layer_descriptor(v, x.layer[i])


@structure("6.6.1")
def layer_descriptor(v: Visitor, x: LayerDescriptor) -> None:
    x.layer_name = v.string("layer_name", x.layer_name)
    x.operator_domain = v.string("operator_domain", x.operator_domain)
    x.operator_name = v.string("operator_name", x.operator_name)
    x.activation_flag = v.u("activation_flag", x.activation_flag, 1)
    if x.activation_flag:
        activation_format(v, x.activation)
    x.layer_tensor_count = v.ue("layer_tensor_count", x.layer_tensor_count)
    v.limit("layer_tensor_count", x.layer_tensor_count, v.level.tensors)
    derive.count_layer_tensors(v, x)
    v.resize(x.layer_tensor, x.layer_tensor_count, LayerTensor)
    for i in range(x.layer_tensor_count):
        layer_tensor(v, x.layer_tensor[i])


@structure("6.6.2")
def layer_tensor(v: Visitor, x: LayerTensor) -> None:
    x.tensor_index = v.ue("tensor_index", x.tensor_index)
    x.tensor_role = v.u("tensor_role", x.tensor_role, 4)
    x.fold_flag = v.u("fold_flag", x.fold_flag, 1)
    derive.check_layer_tensor(v, x)
    if x.fold_flag:
        fold_parameters(v, x.fold)


@structure("6.6.3")
def fold_parameters(v: Visitor, x: FoldParameters) -> None:
    v.resize(x.axis, derive.folded_rank(v), int)
    for i in range(derive.folded_rank(v)):
        x.axis[i] = v.ue("axis", x.axis[i], 0, derive.folded_rank(v) - 1)
    x.row_axis_count = v.ue("row_axis_count", x.row_axis_count, 0, derive.folded_rank(v))
    x.kernel_size = v.ue("kernel_size", x.kernel_size, 1, 65535)
    derive.check_fold(v, x)


@structure("6.6.4")
def activation_format(v: Visitor, x: ActivationFormat) -> None:
    x.activation_signed_flag = v.u("activation_signed_flag", x.activation_signed_flag, 1)
    x.activation_width = v.ue("activation_width", x.activation_width, 1, 64)
    x.activation_fraction_bits = v.se("activation_fraction_bits", x.activation_fraction_bits, -1074, 1074)
    x.accumulator_width = v.ue("accumulator_width", x.accumulator_width, 1, 64)


@structure("6.7")
def tensor_data(v: Visitor, x: TensorData) -> None:
    x.tensor_count_minus1 = v.ue("tensor_count_minus1", x.tensor_count_minus1)
    v.limit("tensor_count_minus1", x.tensor_count_minus1, v.level.joined_tensors - 1)
    if x.tensor_count_minus1 > 0:
        x.unit_digest = v.u("unit_digest", x.unit_digest, 64)
    v.resize(x.descriptor, x.tensor_count_minus1 + 1, TensorDescriptor)
    for i in range(x.tensor_count_minus1 + 1):
        derive.begin_descriptor(v, x, i)
        tensor_descriptor(v, x.descriptor[i])
    derive.payload_count(v, x)
    v.resize(x.payload, x.payload_count, Payload)
    for e in range(x.payload_count):
        x.payload[e].coded_size = v.ue("coded_size", x.payload[e].coded_size)
        x.payload[e].bypass_size = v.ue("bypass_size", x.payload[e].bypass_size)
    derive.check_payloads(v, x)
    v.byte_alignment()
    for e in range(x.payload_count):
        x.payload[e].coded = v.b("coded", x.payload[e].coded, x.payload[e].coded_size)
        x.payload[e].bypass = v.b("bypass", x.payload[e].bypass, x.payload[e].bypass_size)


@structure("6.7.1")
def tensor_descriptor(v: Visitor, x: TensorDescriptor) -> None:
    x.tensor_index_delta = v.ue("tensor_index_delta", x.tensor_index_delta)
    derive.tensor_index(v, x)
    if not x.joined:
        x.tensor_digest = v.u("tensor_digest", x.tensor_digest, 64)
    x.prediction_mode = v.ue("prediction_mode", x.prediction_mode, 0, PredictionMode)
    if x.prediction_mode == PredictionMode.COPY or x.prediction_mode == PredictionMode.INTER:
        x.reference_index = v.ue("reference_index", x.reference_index)
    if x.prediction_mode == PredictionMode.SPATIAL:
        x.spatial_predictor = v.ue("spatial_predictor", x.spatial_predictor, 0, SpatialPredictor)
    if x.prediction_mode != PredictionMode.NONE and x.prediction_mode != PredictionMode.SPATIAL:
        x.reference_tensor_delta = v.se("reference_tensor_delta", x.reference_tensor_delta)
        derive.check_prediction(v, x)
    if x.prediction_mode != PredictionMode.COPY:
        if not x.joined and x.piece_count > 1:
            x.piece_digests = v.b("piece_digests", x.piece_digests, 8 * x.piece_count)
        x.representation = v.ue("representation", x.representation, 0, Representation)
        x.column_scan_flag = v.u("column_scan_flag", x.column_scan_flag, 1)
        derive.check_representation(v, x)
        if x.representation != Representation.DIRECT:
            representation_parameters(v, x)
        derive.component_count(v, x)
        v.resize(x.component, x.component_count, Component)
        for c in range(x.component_count):
            derive.begin_component(v, x, c)
            component(v, x.component[c])


@structure("6.7.2")
def representation_parameters(v: Visitor, x: TensorDescriptor) -> None:
    if x.representation == Representation.RANDOM_MASK:
        x.factor.selected_count = v.ue("selected_count", x.factor.selected_count, 0, x.word_count)
        x.factor.random_density = v.u("random_density", x.factor.random_density, 32)
    elif x.representation == Representation.ROW_MASK:
        x.factor.row_mask = v.b("row_mask", x.factor.row_mask, derive.row_mask_bytes(v, x))
        derive.check_row_mask(v, x)
    else:
        x.factor.factor_rank = v.ue("factor_rank", x.factor.factor_rank)
        v.limit("factor_rank", x.factor.factor_rank, v.level.decomposition_size)
        derive.check_rank(v, x)
    if x.representation == Representation.AUGMENTATION:
        x.factor.gain_count_minus1 = v.ue("gain_count_minus1", x.factor.gain_count_minus1)
        derive.check_gains(v, x)
    if x.representation == Representation.MAPPING:
        x.factor.additive_flag = v.u("additive_flag", x.factor.additive_flag, 1)
    if x.representation == Representation.RANDOM_MASK or x.representation == Representation.LOW_RANK_UPDATE:
        x.factor.random_seed = v.u("random_seed", x.factor.random_seed, 64)


@structure("6.7.3")
def component(v: Visitor, x: Component) -> None:
    x.quantiser = v.ue("quantiser", x.quantiser, 0, Quantiser)
    x.entropy_mode = v.ue("entropy_mode", x.entropy_mode, 0, EntropyMode)
    derive.check_tools(v, x)
    if x.quantiser == Quantiser.UNIFORM:
        uniform_parameters(v, x.uniform)
    if x.quantiser == Quantiser.CODEBOOK:
        codebook_parameters(v, x)
    if x.quantiser == Quantiser.GRID:
        x.grid_scales = v.b("grid_scales", x.grid_scales, 4 * x.row_count)
    if x.quantiser == Quantiser.DECIMAL:
        x.decimal_exponent = v.ue("decimal_exponent", x.decimal_exponent, 0, 22)
    if x.quantiser == Quantiser.FIXED_POINT:
        fixed_point_parameters(v, x.fixed_point)
    if x.quantiser == Quantiser.INTEGER_CODEBOOK:
        uniform_parameters(v, x.uniform)
        integer_codebook_parameters(v, x.integer_codebook)
    derive.check_quantiser(v, x)
    if x.entropy_mode == EntropyMode.CC and x.words_flag:
        word_parameters(v, x)
    if x.bytes_flag:
        byte_parameters(v, x)
    if x.entropy_mode == EntropyMode.FIXED:
        x.fixed_length = v.ue("fixed_length", x.fixed_length, 1, 64)
    x.entry_count_minus1 = v.ue("entry_count_minus1", x.entry_count_minus1)
    derive.check_entries(v, x)


@structure("6.7.4")
def uniform_parameters(v: Visitor, x: UniformParameters) -> None:
    x.trellis_size = v.u("trellis_size", x.trellis_size, 3, 0, 5)
    x.step_mantissa = v.u("step_mantissa", x.step_mantissa, 16, 1, 65535)
    x.step_exponent = v.se("step_exponent", x.step_exponent, -1074, 970)
    derive.check_trellis(v, x)


@structure("6.7.5")
def codebook_parameters(v: Visitor, x: Component) -> None:
    x.codebook.codebook_size_minus1 = v.ue("codebook_size_minus1", x.codebook.codebook_size_minus1)
    v.limit("codebook_size_minus1", x.codebook.codebook_size_minus1, v.level.codebook_size - 1)
    x.codebook.zero_index = v.ue("zero_index", x.codebook.zero_index, 0, x.codebook.codebook_size_minus1)
    x.codebook.codebook_words = v.b("codebook_words", x.codebook.codebook_words,
                                    (x.codebook.codebook_size_minus1 + 1) * x.word_bytes)


@structure("6.7.6")
def fixed_point_parameters(v: Visitor, x: FixedPoint) -> None:
    x.fixed_point_width = v.ue("fixed_point_width", x.fixed_point_width, 1, 32)
    x.fraction_bits = v.se("fraction_bits", x.fraction_bits, -970, 1074)


@structure("6.7.7")
def integer_codebook_parameters(v: Visitor, x: IntegerCodebook) -> None:
    x.codebook_size_minus1 = v.ue("codebook_size_minus1", x.codebook_size_minus1)
    v.limit("codebook_size_minus1", x.codebook_size_minus1, v.level.codebook_size - 1)
    x.zero_index = v.ue("zero_index", x.zero_index, 0, x.codebook_size_minus1)
    v.resize(x.codebook_integer, x.codebook_size_minus1 + 1, int)
    for i in range(x.codebook_size_minus1 + 1):
        x.codebook_integer[i] = v.se("codebook_integer", x.codebook_integer[i], -1073741824, 1073741824)


@structure("6.7.8")
def word_parameters(v: Visitor, x: Component) -> None:
    x.word.zeros = v.u("word_zeros_flag", x.word.zeros, 1)
    x.word.signs = v.u("word_sign_mode", x.word.signs, 2, 0, 2)
    x.word.scale_rule = v.u("word_scale_rule", x.word.scale_rule, 2, 0, 2)
    x.word.row_shifts = v.u("word_row_shift_flag", x.word.row_shifts, 1)
    if x.float_flag:
        x.word.trailing = v.u("word_trailing_flag", x.word.trailing, 1)
    x.word.shift = v.ue("word_shift", x.word.shift, 0, x.word_shift_max)
    if x.integer_flag:
        x.word_offset_flag = v.u("word_offset_flag", x.word_offset_flag, 1)
        if x.word_offset_flag:
            x.word.offset = v.u("word_offset", x.word.offset, 8 * x.word_bytes, 0, x.word_offset_max)


@structure("6.7.9")
def byte_parameters(v: Visitor, x: Component) -> None:
    if not x.words_flag:
        x.byte.level_bytes_log2 = v.u("level_bytes_log2", x.byte.level_bytes_log2, 2)
    if x.entropy_mode != EntropyMode.RAW:
        x.byte.byte_planes_flag = v.u("byte_planes_flag", x.byte.byte_planes_flag, 1)


@structure("6.8")
def metadata(v: Visitor, x: Metadata) -> None:
    x.metadata_count = v.ue("metadata_count", x.metadata_count)
    v.limit("metadata_count", x.metadata_count, v.level.tensors)
    v.resize(x.entry, x.metadata_count, MetadataEntry)
    for i in range(x.metadata_count):
        x.entry[i].metadata_key = v.string("metadata_key", x.entry[i].metadata_key)
        x.entry[i].metadata_size = v.ue("metadata_size", x.entry[i].metadata_size)
        v.limit("metadata_size", x.entry[i].metadata_size, v.level.unit_bytes)
        x.entry[i].metadata_value = v.b("metadata_value", x.entry[i].metadata_value, x.entry[i].metadata_size)


@structure("6.9")
def index(v: Visitor, x: Index) -> None:
    x.index_count = v.ue("index_count", x.index_count)
    v.limit("index_count", x.index_count, v.level.tensors)
    v.resize(x.entry, x.index_count, IndexEntry)
    for i in range(x.index_count):
        index_entry(v, x.entry[i])


@structure("6.9.1")
def index_entry(v: Visitor, x: IndexEntry) -> None:
    x.unit_distance = v.ue("unit_distance", x.unit_distance)
    x.unit_size = v.ue("unit_size", x.unit_size)
    x.indexed_tensor_count_minus1 = v.ue("indexed_tensor_count_minus1", x.indexed_tensor_count_minus1)
    v.limit("indexed_tensor_count_minus1", x.indexed_tensor_count_minus1, v.level.joined_tensors - 1)
    v.resize(x.indexed_tensor_delta, x.indexed_tensor_count_minus1 + 1, int)
    for i in range(x.indexed_tensor_count_minus1 + 1):
        x.indexed_tensor_delta[i] = v.ue("indexed_tensor_delta", x.indexed_tensor_delta[i])


@structure("6.10")
def model_end(v: Visitor, x: ModelEnd) -> None:
    x.tensor_data_count = v.ue("tensor_data_count", x.tensor_data_count)
    x.model_digest = v.b("model_digest", x.model_digest, 32)
    x.model_seal = v.u("model_seal", x.model_seal, 64)


@structure("6.11")
def stream_end(v: Visitor, x: StreamEnd) -> None:
    x.model_count = v.u("model_count", x.model_count, 32)
    x.unit_count = v.u("unit_count", x.unit_count, 32)
    x.index_offset = v.u("index_offset", x.index_offset, 64)
