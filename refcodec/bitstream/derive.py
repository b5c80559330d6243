"""Derived variables and the constraints between syntax elements (SPEC 7).

Each function is named in a syntax table at the place where a parser must do the same. What it derives goes into the
structure at hand, or into the visitor's context for functions that follow.
"""

from __future__ import annotations

import math

from ..digests import piece_count
from ..dtypes import BY_CODE, BY_NAME
from ..errors import SemanticsError
from ..fold import Fold
from .cost import multiplications
from .limits import UPGRADED, VERSION, Profile, size_needed
from .structures import (
    AS_BYTES,
    BY_DIFFERENCE,
    BY_NEIGHBOURS,
    DECOMPOSED,
    FACTORED,
    INDICES,
    NEAR_INDICES,
    RANGE_CODED,
    VARINT,
    WORDS,
    Component,
    EntropyMode,
    FileEntry,
    FoldParameters,
    LayerDescriptor,
    LayerTensor,
    ModelHeader,
    PredictionMode,
    Quantiser,
    Representation,
    StreamHeader,
    TensorData,
    TensorDescriptor,
    TensorEntry,
    Topology,
    UniformParameters,
    mode_facts,
)
from .visitor import Visitor

ENTRY_MIN_ELEMENTS = 65536


def forbid(v: Visitor, wrong: bool | int, rule: str, message: str) -> None:
    """FORBIDDEN_PATTERN, where something is wrong."""
    if wrong:
        v.violated(v.fail(SemanticsError, "FORBIDDEN_PATTERN", message, rule))


def check_version(v: Visitor, x: StreamHeader) -> None:
    if (x.version_major, x.version_minor) != VERSION:
        raise v.fail(
            SemanticsError, "UNSUPPORTED_VERSION", f"version {x.version_major}.{x.version_minor}, this decoder "
            f"knows {VERSION[0]}.{VERSION[1]}; {_way(x.version_major, x.version_minor)}", "R7.3-1")


def _way(major: int, minor: int) -> str:
    """How a stream of another version is read."""
    if (major, minor) == UPGRADED:
        return f"refcodec {major}.{minor} decodes it, and 'refcodec upgrade' makes a stream of this version of it"
    return "decode it with the codec of that version"


def check_model_header(v: Visitor, x: ModelHeader) -> None:
    for reference in x.reference:
        if not reference.external_flag and reference.model_distance > v.context.model.number:
            raise v.fail(SemanticsError, "DANGLING_REFERENCE",
                         f"model_distance {reference.model_distance} reaches before "
                         "the first model of the stream", "R7.4-1")
    if x.inherit_flag and not (x.reference and not x.reference[0].external_flag):
        raise v.fail(SemanticsError, "DANGLING_REFERENCE", "inherit_flag, but reference 0 is no model of the stream",
                     "R7.4-2")
    forbid(v, x.enhancement_flag and not (x.inherit_flag and x.reference[0].model_distance == 1), "R7.4-3",
           "an enhancement inherits from the model just before it")


def check_element_type(v: Visitor, x: TensorEntry) -> None:
    if x.element_type not in BY_CODE:
        raise v.fail(SemanticsError, "RESERVED_VALUE", f"element_type {x.element_type} is reserved", "R7.4.2-1")


def check_tensor_size(v: Visitor, x: TensorEntry) -> None:
    # Dimensions of 0 count as 1: rows and columns of an empty tensor stay within the level, too.
    count = math.prod(max(1, n) for n in x.dimension)
    v.limit("tensor elements", count, v.level.tensor_elements, "R7.4.2-2")
    v.limit("tensor bytes", count * BY_CODE[x.element_type].itemsize, v.level.tensor_memory, "R7.4.2-3")


def count_segments(v: Visitor, x: FileEntry) -> None:
    v.context.segments += x.segment_count
    v.limit("segments of all files", v.context.segments, v.level.segments, "R7.5.1-1")


def check_files(v: Visitor, x: Topology) -> None:
    """Bounds what a few bytes can order to be written. A VARINT slot counts a tenth: it may be ten bytes a word."""
    most, size = v.level.unit_bytes, 0
    for t in v.context.model.tensors:
        most += 2 * math.prod(t.dimension) * BY_CODE[t.element_type].itemsize
    for s in (s for f in x.file for s in f.segment):
        size += s.slot_size // 10 if s.slot_coding == VARINT else s.slot_size
        size += s.literal_size
    v.limit("bytes of the source files", size, most, "R7.5-1")


def count_layer_tensors(v: Visitor, x: LayerDescriptor) -> None:
    v.context.layer_tensors += x.layer_tensor_count
    v.limit("tensors of all layers", v.context.layer_tensors, 4 * v.level.tensors, "R7.6.1-1")


def check_layer_tensor(v: Visitor, x: LayerTensor) -> None:
    model = v.context.model
    if x.tensor_index >= len(model.tensors):
        raise v.fail(SemanticsError, "DANGLING_REFERENCE",
                     f"tensor_index {x.tensor_index} of {len(model.tensors)} tensors", "R7.6.2-1")
    if x.fold_flag and v.reading and x.tensor_index in model.folds:
        v.violated(v.fail(SemanticsError, "DUPLICATE_ID", f"a second fold for tensor {x.tensor_index}", "R7.6.2-2"))
    v.context.folded = x.tensor_index


def folded_rank(v: Visitor) -> int:
    return v.context.model.tensors[v.context.folded].rank


def check_fold(v: Visitor, x: FoldParameters) -> None:
    if sorted(x.axis) != list(range(folded_rank(v))):
        raise v.fail(SemanticsError, "DUPLICATE_ID", "the axes of a fold are not a permutation", "R7.6.3-1")
    v.context.model.folds[v.context.folded] = Fold(tuple(x.axis), x.row_axis_count, x.kernel_size)


def begin_descriptor(v: Visitor, x: TensorData, i: int) -> None:
    v.context.previous_index = x.descriptor[i - 1].tensor_index if i else -1
    x.descriptor[i].joined = int(x.tensor_count_minus1 > 0)
    if i == 0:
        v.context.needed = {}


def tensor_index(v: Visitor, x: TensorDescriptor) -> None:
    model = v.context.model
    x.tensor_index = v.context.previous_index + 1 + x.tensor_index_delta
    if x.tensor_index >= len(model.tensors):
        raise v.fail(SemanticsError, "DANGLING_REFERENCE", f"tensor {x.tensor_index} of {len(model.tensors)}",
                     "R7.7.1-1")
    if x.tensor_index in model.coded:
        raise v.fail(SemanticsError, "DUPLICATE_ID", f"tensor {x.tensor_index} is coded twice", "R7.7.1-2")
    model.coded[x.tensor_index] = 0
    dtype = model.dtype(x.tensor_index)
    x.word_bytes = dtype.word_bytes
    x.word_count = math.prod(model.tensors[x.tensor_index].dimension) * dtype.parts
    x.piece_count = piece_count(x.word_count, x.word_bytes)


def check_prediction(v: Visitor, x: TensorDescriptor) -> None:
    model, predicting = v.context.model, x.predicting_tensor
    if x.within_model:
        if predicting not in model.coded or predicting == x.tensor_index:
            raise v.fail(SemanticsError, "DANGLING_REFERENCE", f"tensor {predicting} is not decoded before it is "
                         "used", "R7.7.1-3")
        holder = model
    else:
        if not 1 <= x.reference_index <= len(model.references):
            raise v.fail(SemanticsError, "DANGLING_REFERENCE", f"reference_index {x.reference_index} of "
                         f"{len(model.references)} reference models", "R7.7.1-4")
        reference = model.references[x.reference_index - 1]
        if reference is None:
            return
        if not 0 <= predicting < len(reference.tensors):
            raise v.fail(SemanticsError, "DANGLING_REFERENCE",
                         f"tensor {predicting} of {len(reference.tensors)} of the reference model", "R7.7.1-5")
        holder = reference
    depth = holder.coded[predicting] + 1
    model.coded[x.tensor_index] = v.limit("nesting of predictions", depth, v.level.nesting, "R7.7.1-6")
    if predicting in holder.work:
        unit, work = holder.work[predicting]
        v.context.needed[holder.number, unit] = work
    own, entry = model.tensors[x.tensor_index], holder.tensors[predicting]
    forbid(v, entry.element_type != own.element_type or entry.rank != own.rank, "R7.7.1-7",
           "the predicting tensor has another element type or rank")
    forbid(v, x.prediction_mode == PredictionMode.COPY and entry.dimension != own.dimension, "R7.7.1-8",
           "a copy of a tensor of another shape")


def check_representation(v: Visitor, x: TensorDescriptor) -> None:
    model, direct = v.context.model, x.representation == Representation.DIRECT
    dtype, predicted = model.dtype(x.tensor_index), x.prediction_mode in BY_DIFFERENCE
    forbid(v, not direct and (x.joined or dtype.parts != 1 or x.word_count == 0), "R7.7.1-9",
           "a representation other than direct in a joined unit, of complex or of no elements")
    forbid(v, x.representation in FACTORED and (dtype.kind != "f" or dtype.name == "float8_e8m0fnu"), "R7.7.1-9",
           f"factors of {dtype.name}")
    forbid(v, x.prediction_mode in BY_NEIGHBOURS and not direct, "R7.7.1-10",
           "spatial prediction of what is not direct")
    forbid(v, x.representation in DECOMPOSED and (not predicted or model.profile < Profile.MAIN), "R7.7.1-11",
           "a decomposition without a predicting tensor, or in the baseline profile")
    x.row_count, x.column_count, x.plane_rows = model.matrix(x.tensor_index, x.column_scan_flag)
    if x.representation in DECOMPOSED:
        v.limit("size to decompose", size_needed(x.row_count, x.column_count), v.level.decomposition_size,
                "R7.7.1-12")


def check_rank(v: Visitor, x: TensorDescriptor) -> None:
    low = 0 if x.representation == Representation.AUGMENTATION else 1
    v.check("factor_rank", x.factor.factor_rank, low, min(x.row_count, x.column_count), "R7.7.2-2")


def check_gains(v: Visitor, x: TensorDescriptor) -> None:
    v.check("gain_count_minus1", x.factor.gain_count_minus1, 0, min(x.row_count, x.column_count) - 1,
            "R7.7.2-3")


def row_mask_bytes(v: Visitor, x: TensorDescriptor) -> int:
    return (x.row_count + 7) // 8


def check_row_mask(v: Visitor, x: TensorDescriptor) -> None:
    bits = int.from_bytes(bytes(x.factor.row_mask), "big")
    forbid(v, bits & ((1 << -x.row_count % 8) - 1) != 0, "R7.7.2-1", "bits of row_mask beyond the last row")
    x.factor.selected_count = bits.bit_count()


def component_shapes(x: TensorDescriptor) -> list[tuple[int, int]]:
    """Rows and columns of each coded array of a tensor (SPEC 7.7.2)."""
    rows, columns, rank = x.row_count, x.column_count, x.factor.factor_rank
    gains = x.factor.gain_count_minus1 + 1
    shapes: dict[int, list[tuple[int, int]]] = {
        Representation.DIRECT: [(rows, columns)],
        Representation.LOW_RANK: [(rows, rank), (rank, columns)],
        Representation.MAPPING: [(rows, rank)],
        Representation.AUGMENTATION: [(1, gains)] + ([(rows, rank), (rank, columns)] if rank else []),
        Representation.LOW_RANK_UPDATE: [(rows, rank)],
        Representation.RANDOM_MASK: [(1, x.factor.selected_count)],
        Representation.ROW_MASK: [(x.factor.selected_count, columns)],
    }
    return shapes[x.representation]


def component_count(v: Visitor, x: TensorDescriptor) -> None:
    x.component_count = len(component_shapes(x))
    v.limit("multiplications of factors", multiplications(x), v.level.multiplications, "R7.7.1-13")


def begin_component(v: Visitor, x: TensorDescriptor, c: int) -> None:
    x.component[c].row_count, x.component[c].column_count = component_shapes(x)[c]
    v.context.descriptor = x


def check_tools(v: Visitor, x: Component) -> None:
    d = v.context.descriptor
    dtype = v.context.model.dtype(d.tensor_index)
    factor, predicted = d.representation in FACTORED, d.prediction_mode in BY_DIFFERENCE
    x.words_flag = int(x.quantiser in WORDS)
    x.bytes_flag = int(x.entropy_mode in AS_BYTES)
    spatial, mode = d.prediction_mode in BY_NEIGHBOURS, mode_facts(x.entropy_mode)
    forbid(v, factor and x.quantiser not in INDICES, "R7.7.3-1", "a factor whose values are not indices times a step")
    forbid(v, x.quantiser in (*INDICES, Quantiser.DECIMAL) and (dtype.parts != 1 or dtype.name == "float8_e8m0fnu"),
           "R7.7.3-2", f"quantisation of {dtype.name}")
    forbid(v, x.quantiser == Quantiser.GRID and (dtype.name != "float32" or predicted), "R7.7.3-3",
           "a scaled grid is for float32 without prediction")
    forbid(v, x.quantiser == Quantiser.CODEBOOK and predicted, "R7.7.3-4", "a codebook with prediction")
    forbid(v, spatial and x.quantiser not in NEAR_INDICES, "R7.7.3-5",
           "spatial prediction of what are no indices")
    forbid(v, not mode.codes(x.words_flag != 0), mode.rule, f"{mode.called} of {'words' if x.words_flag else 'levels'}")
    forbid(v, v.context.model.profile < mode.profile, mode.rule,
           f"{mode.called} in a profile below {mode.profile.name.lower()}")
    forbid(v, dtype.parts != 1 and not mode.complex_words, mode.rule, f"{mode.called} of complex words")
    forbid(v, not mode.range_coded and d.joined, "R7.7.3-8", "a joined unit holds what is range coded")
    words = BY_NAME["float16"] if x.quantiser == Quantiser.GRID else dtype
    x.word_bytes = words.word_bytes
    x.integer_flag = 1 if words.kind != "f" and not predicted else 0
    x.float_flag = 1 if words.kind == "f" and not predicted else 0
    x.word_shift_max = words.mantissa if x.float_flag else words.bits - 1
    x.word_offset_max = (1 << words.bits) - 1


def check_trellis(v: Visitor, x: UniformParameters) -> None:
    forbid(v, x.trellis_size and v.context.model.profile < Profile.MAIN, "R7.7.4-1",
           "trellis-coded quantisation in the baseline profile")


def check_quantiser(v: Visitor, x: Component) -> None:
    spatial = v.context.descriptor.prediction_mode in BY_NEIGHBOURS
    forbid(v, spatial and x.uniform.trellis_size, "R7.7.3-5", "a trellis with spatial prediction")
    forbid(v, x.quantiser == Quantiser.INTEGER_CODEBOOK and x.uniform.trellis_size, "R7.7.3-9",
           "a trellis with an integer codebook")


def check_entries(v: Visitor, x: Component) -> None:
    entries = x.entry_count_minus1 + 1
    if entries > 1 and (v.context.descriptor.joined or x.entropy_mode not in RANGE_CODED
                        or x.row_count // entries * x.column_count < ENTRY_MIN_ELEMENTS):
        forbid(v, True, "R7.7.3-10", f"{entries} entry points in {x.row_count} rows of {x.column_count}")
    constant = ((x.quantiser == Quantiser.CODEBOOK and x.codebook.codebook_size_minus1 == 0)
                or (x.quantiser == Quantiser.INTEGER_CODEBOOK and x.integer_codebook.codebook_size_minus1 == 0))
    x.coded_flag = 0 if constant or x.word_count == 0 else 1


def check_work(v: Visitor, x: TensorData, words: int) -> None:
    """Bounds the words to be decoded for access to one tensor: joined units that predict each other must not
    multiply."""
    most = 2 * (v.level.nesting + 1) * v.level.tensor_elements
    words = v.limit("decoding_work", words + sum(v.context.needed.values()), most, "R7.7-1")
    for d in x.descriptor:
        v.context.model.work[d.tensor_index] = (x.descriptor[0].tensor_index, words)


def segment_borders(rows: int, entries: int) -> list[int]:
    """First row of each segment, and the end (SPEC 8.3)."""
    return [e * rows // entries for e in range(entries + 1)]


def payload_count(v: Visitor, x: TensorData) -> None:
    words = sum(d.word_count for d in x.descriptor)
    check_work(v, x, words)
    x.payload_count = 0
    for d in x.descriptor:
        for c in d.component:
            c.first_payload = 0 if d.joined else x.payload_count
            x.payload_count += (c.entry_count_minus1 + 1) * c.coded_flag
    if x.tensor_count_minus1 > 0:
        v.limit("joined elements", words, v.level.joined_elements, "R7.7-2")
        x.payload_count = min(x.payload_count, 1)
    v.count_tensors(x.descriptor)


def check_payloads(v: Visitor, x: TensorData) -> None:
    """Outside range coding the size of the bypass string is 0, and that of raw integers is known."""
    for c in (c for d in x.descriptor for c in d.component if v.reading and c.coded_flag and not d.joined):
        if c.entropy_mode in RANGE_CODED:
            continue
        payload = x.payload[c.first_payload]
        size = c.word_count * (c.word_bytes if c.words_flag else 1 << c.byte.level_bytes_log2)
        if payload.bypass_size:
            v.violated(v.fail(SemanticsError, "BAD_SIZE", "a bypass string outside range coding", "R7.7-3"))
        if c.entropy_mode == EntropyMode.RAW and payload.coded_size != size:
            v.violated(v.fail(SemanticsError, "BAD_SIZE", f"{size} bytes of raw integers, not {payload.coded_size}",
                              "R7.7-3 R9.10.2-1"))
