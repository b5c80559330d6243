"""The syntax structures as data (SPEC 6): one dataclass each, fields named as the syntax elements."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from .limits import Profile

Bytes = bytes | bytearray | memoryview        # what a reader gives are views of the unit's body


class UnitType(IntEnum):
    """unit_type. 10..31 are reserved (a decoder rejects them); 32..63 are extensions (skipped)."""

    STREAM_HEADER = 1
    MODEL_HEADER = 2
    TOPOLOGY = 3
    LAYER_DESCRIPTORS = 4
    TENSOR_DATA = 5
    METADATA = 6
    INDEX = 7
    MODEL_END = 8
    STREAM_END = 9


class UnitCoding(IntEnum):
    """unit_coding: how the body of a unit stands in the stream."""

    PLAIN = 0
    DEFLATE = 1
    LZMA = 2
    DEFLATE_HEADER = 3       # DEFLATE with the model header's body as preset dictionary


class SourceFormat(IntEnum):
    """source_format."""

    ONNX = 1
    SAFETENSORS = 2


class PredictionMode(IntEnum):
    """prediction_mode: what the coded values are added to."""

    NONE = 0
    COPY = 1         # the tensor is the predicting tensor
    INTRA = 2        # difference from another tensor of this model
    INTER = 3        # difference from a tensor of a reference model
    SPATIAL = 4      # difference from neighbours in the same matrix


class SpatialPredictor(IntEnum):
    """spatial_predictor: what an index is predicted from, of its decoded neighbours."""

    LEFT = 0
    UP = 1
    MEDIAN = 2       # of left, up and left + up - upleft
    PLANAR = 3       # left + up - upleft
    AVERAGE = 4      # of left and up, rounded down


class Representation(IntEnum):
    """representation: how the coded arrays make up the tensor."""

    DIRECT = 0           # one array, element by element
    LOW_RANK = 1         # L * R
    MAPPING = 2          # L * the first right singular vectors of the predicting matrix
    AUGMENTATION = 3     # singular values of the predicting matrix changed, and L * R
    LOW_RANK_UPDATE = 4  # L * R, R random integers of a seed
    RANDOM_MASK = 5      # elements chosen by random integers of a seed
    ROW_MASK = 6         # some of the rows


class Quantiser(IntEnum):
    """quantiser: how integers become values."""

    NONE = 0              # words, lossless
    UNIFORM = 1           # levels of one step, plain or trellis-coded
    CODEBOOK = 2          # indices of listed words
    GRID = 3              # half-precision words scaled row by row
    DECIMAL = 4           # levels over a power of ten
    FIXED_POINT = 5       # levels of a stated width over a power of two
    INTEGER_CODEBOOK = 6  # indices of listed integers of one step


@dataclass(frozen=True)
class ModeFacts:
    """What syntax, semantics and encoder know of an entropy mode without its coder (entropy/modes.py has that).

    called: in words.  words, levels: the clause by which it codes them, None: it cannot.  range_coded: it codes block
    after block into one payload, so that components can be joined or have entry points.  as_bytes: it lays integers
    out as bytes.  profile: the lowest that has it.  complex_words: words of complex types, too.  lanes: levels of a
    trellis have a path for each lane (SPEC 8.5.4).  rule: the requirement that forbids what it cannot.
    """

    called: str
    words: str | None = None
    levels: str | None = None
    range_coded: bool = False
    as_bytes: bool = False
    profile: Profile = Profile.BASELINE
    complex_words: bool = True
    lanes: bool = False
    rule: str = ""

    def codes(self, words: bool) -> bool:
        """True if it codes words, or levels."""
        return (self.words if words else self.levels) is not None


class EntropyMode(IntEnum):
    """entropy_mode: how integers become bytes. One row is all that there is to say of a mode outside its coder."""

    facts: ModeFacts

    def __new__(cls, value: int, facts: ModeFacts | None = None) -> EntropyMode:
        assert facts is not None            # EntropyMode(number) looks a row up and makes none
        mode = int.__new__(cls, value)
        mode._value_, mode.facts = value, facts
        return mode

    RAW = 0, ModeFacts("raw integers", "9.10.2", "9.10.2", as_bytes=True)
    CC = 1, ModeFacts("context coding", "9.5", "9.3", range_coded=True)
    CM = 2, ModeFacts("mixed coding", None, "9.4", range_coded=True, profile=Profile.HIGH, rule="R7.7.3-6")
    MAP = 3, ModeFacts("map coding", "9.6", None, range_coded=True, complex_words=False, rule="R7.7.3-7")
    HUFFMAN = 4, ModeFacts("relative indices and values, canonical Huffman", "9.7", "9.7")
    FIXED = 5, ModeFacts("fixed length", "9.8", "9.8")
    DEFLATE = 6, ModeFacts("bytes by zlib", "9.9", "9.9", as_bytes=True)
    GZIP = 7, ModeFacts("bytes by gzip", "9.9", "9.9", as_bytes=True)
    BZIP2 = 8, ModeFacts("bytes by bzip2", "9.9", "9.9", as_bytes=True)
    LZMA = 9, ModeFacts("bytes by LZMA2", "9.9", "9.9", as_bytes=True)
    BINS = 10, ModeFacts("static bins, in chunks", "9.12", "9.12", lanes=True)


def mode_facts(number: int) -> ModeFacts:
    """The facts of a mode; of a reserved number, which a reader refuses beforehand, facts that forbid nothing."""
    return EntropyMode(number).facts if number in EntropyMode._value2member_map_ else ModeFacts("", "", "")


BY_TENSOR = (PredictionMode.COPY, PredictionMode.INTRA, PredictionMode.INTER)      # have a predicting tensor
BY_DIFFERENCE = (PredictionMode.INTRA, PredictionMode.INTER)          # code differences from the predicting tensor
BY_NEIGHBOURS = (PredictionMode.SPATIAL,)                             # code differences from indices of the same matrix
WORDS = (Quantiser.NONE, Quantiser.GRID)                              # code words, the others levels
INDICES = (Quantiser.UNIFORM, Quantiser.FIXED_POINT, Quantiser.INTEGER_CODEBOOK)   # value = index * step
NEAR_INDICES = (Quantiser.UNIFORM, Quantiser.FIXED_POINT)             # of which neighbours have near values
RANGE_CODED = tuple(m for m in EntropyMode if m.facts.range_coded)
AS_BYTES = tuple(m for m in EntropyMode if m.facts.as_bytes)          # raw, and
BYTES = AS_BYTES[1:]                                                  # general-purpose coders of bytes
MASKS = (Representation.RANDOM_MASK, Representation.ROW_MASK)
FACTORED = (Representation.LOW_RANK, Representation.MAPPING, Representation.AUGMENTATION,
            Representation.LOW_RANK_UPDATE)                           # products of matrices
DECOMPOSED = (Representation.MAPPING, Representation.AUGMENTATION)    # decompose the predicting matrix


@dataclass
class StreamHeader:
    version_major: int = 0
    version_minor: int = 2
    profile: int = 0
    level: int = 1


@dataclass
class ReferenceEntry:
    external_flag: int = 0
    reference_digest: Bytes = b""      # of an external model
    model_distance: int = 1            # to an earlier model of the stream


@dataclass
class TensorEntry:
    tensor_name: str = ""
    element_type: int = 16
    rank: int = 0
    dimension: list[int] = field(default_factory=list)


@dataclass
class ModelHeader:
    model_name: str = ""
    enhancement_flag: int = 0          # a finer quality layer of the model before
    reference_count: int = 0
    reference: list[ReferenceEntry] = field(default_factory=list)
    inherit_flag: int = 0              # the tensor table is that of reference[0]
    tensor_count: int = 0
    tensor: list[TensorEntry] = field(default_factory=list)


VARINT = 2                         # of slot_coding


@dataclass
class SegmentEntry:
    slot_flag: int = 0
    literal_size: int = 0
    slot_tensor_delta: int = 0
    slot_coding: int = 0
    slot_size: int = 0
    literal: Bytes = b""


@dataclass
class FileEntry:
    file_path: str = ""
    segment_count: int = 0
    segment: list[SegmentEntry] = field(default_factory=list)


@dataclass
class Topology:
    source_format: int = 1
    file_count: int = 0
    file: list[FileEntry] = field(default_factory=list)


@dataclass
class FoldParameters:
    row_axis_count: int = 0
    axis: list[int] = field(default_factory=list)
    kernel_size: int = 1


@dataclass
class LayerTensor:
    tensor_index: int = 0
    tensor_role: int = 0
    fold_flag: int = 0
    fold: FoldParameters = field(default_factory=FoldParameters)


@dataclass
class ActivationFormat:
    """activation_format(): the integers that a layer takes, and its accumulators."""

    activation_signed_flag: int = 0
    activation_width: int = 8
    activation_fraction_bits: int = 0
    accumulator_width: int = 32


@dataclass
class LayerDescriptor:
    layer_name: str = ""
    operator_domain: str = ""
    operator_name: str = ""
    layer_tensor_count: int = 0
    layer_tensor: list[LayerTensor] = field(default_factory=list)
    activation_flag: int = 0
    activation: ActivationFormat = field(default_factory=ActivationFormat)


@dataclass
class LayerDescriptors:
    layer_count: int = 0
    layer: list[LayerDescriptor] = field(default_factory=list)


@dataclass
class UniformParameters:
    trellis_size: int = 0              # 0: plain; else 2 ** (trellis_size + 1) states
    step_mantissa: int = 32768
    step_exponent: int = 0

    @property
    def states(self) -> int:
        return 2 << self.trellis_size if self.trellis_size else 0


@dataclass
class Codebook:
    codebook_size_minus1: int = 0
    zero_index: int = 0
    codebook_words: Bytes = b""


@dataclass
class IntegerCodebook:
    codebook_size_minus1: int = 0
    zero_index: int = 0
    codebook_integer: list[int] = field(default_factory=list)


@dataclass
class FixedPoint:
    fixed_point_width: int = 8
    fraction_bits: int = 0


@dataclass
class WordParameters:
    """Syntax elements of word_parameters() (SPEC 7.7.8).

    zeros:      word_zeros_flag, 0..1: a zero flag is coded for every element; 0: no element is zero.
    signs:      word_sign_mode, 0..2: no element is negative; sign in the bypass substream; sign modelled.
    scale_rule: word_scale_rule, 0..2: first weights of row and column in the expected scale, one half or one each;
                2: steady, no weights; zero flag and class by the overall mean or the predictor's exponent alone.
    trailing:   word_trailing_flag, 0..1: the trailing zeros of each mantissa are modelled.
    row_shifts: word_row_shift_flag, 0..1: each row codes how many more low bits are zero.
    shift:      word_shift, 0..63: low bits of mantissa (float) or integer that are zero in all elements.
    offset:     word_offset, 0..2^bits-1: subtracted modulo 2^bits from integer words without predictor.
    repeats:    0..1: repeats are coded. Not in the descriptor: a segment of floats without predictor starts with it.
    """

    zeros: int = 1
    signs: int = 1
    scale_rule: int = 0
    trailing: int = 0
    row_shifts: int = 0
    shift: int = 0
    offset: int = 0
    repeats: int = 0


@dataclass
class ByteParameters:
    level_bytes_log2: int = 2
    byte_planes_flag: int = 0


@dataclass
class Component:
    """component(): one coded array of integers and how it becomes values."""

    quantiser: int = 0
    entropy_mode: int = 0
    uniform: UniformParameters = field(default_factory=UniformParameters)
    codebook: Codebook = field(default_factory=Codebook)
    grid_scales: Bytes = b""
    decimal_exponent: int = 0
    fixed_point: FixedPoint = field(default_factory=FixedPoint)
    integer_codebook: IntegerCodebook = field(default_factory=IntegerCodebook)
    word: WordParameters = field(default_factory=WordParameters)
    word_offset_flag: int = 0
    byte: ByteParameters = field(default_factory=ByteParameters)
    fixed_length: int = 0
    entry_count_minus1: int = 0
    # derived variables (SPEC 7.7)
    row_count: int = 0
    column_count: int = 0
    words_flag: int = 0
    bytes_flag: int = 0
    word_bytes: int = 0
    integer_flag: int = 0
    float_flag: int = 0
    word_shift_max: int = 0
    word_offset_max: int = 0
    coded_flag: int = 0
    first_payload: int = 0

    @property
    def word_count(self) -> int:
        return self.row_count * self.column_count


@dataclass
class FactorParameters:
    """representation_parameters()."""

    factor_rank: int = 0
    gain_count_minus1: int = 0
    additive_flag: int = 0
    random_seed: int = 0
    random_density: int = 0
    selected_count: int = 0
    row_mask: Bytes = b""


@dataclass
class TensorDescriptor:
    """tensor_descriptor(); tensor_index, word_bytes and what follows is derived, not transmitted."""

    tensor_index_delta: int = 0
    tensor_digest: int = 0
    prediction_mode: int = 0
    reference_index: int = 0
    reference_tensor_delta: int = 0
    spatial_predictor: int = 0
    representation: int = 0
    column_scan_flag: int = 0
    factor: FactorParameters = field(default_factory=FactorParameters)
    component: list[Component] = field(default_factory=list)
    piece_digests: Bytes = b""
    # derived variables (SPEC 7.7)
    joined: int = 0
    tensor_index: int = 0
    word_bytes: int = 0
    word_count: int = 0
    piece_count: int = 0
    row_count: int = 0
    column_count: int = 0
    plane_rows: int = 1
    component_count: int = 0

    @property
    def within_model(self) -> bool:
        """True if the predicting tensor is one of the same model (SPEC 7.7.1)."""
        own_copy = self.prediction_mode == PredictionMode.COPY and self.reference_index == 0
        return own_copy or self.prediction_mode == PredictionMode.INTRA

    @property
    def predicting_tensor(self) -> int:
        """Number of the predicting tensor in its model (SPEC 7.7.1)."""
        return self.tensor_index + self.reference_tensor_delta

    @property
    def coded_flag(self) -> int:
        """1 if any component has a payload."""
        return int(any(c.coded_flag for c in self.component))


@dataclass
class Payload:
    coded_size: int = 0
    bypass_size: int = 0
    coded: Bytes = b""
    bypass: Bytes = b""


@dataclass
class TensorData:
    tensor_count_minus1: int = 0
    descriptor: list[TensorDescriptor] = field(default_factory=list)
    payload_count: int = 0             # derived (SPEC 7.7)
    payload: list[Payload] = field(default_factory=list)
    unit_digest: int = 0


@dataclass
class MetadataEntry:
    metadata_key: str = ""
    metadata_size: int = 0
    metadata_value: Bytes = b""


@dataclass
class Metadata:
    metadata_count: int = 0
    entry: list[MetadataEntry] = field(default_factory=list)


@dataclass
class IndexEntry:
    unit_distance: int = 0             # from the end of the entry before
    unit_size: int = 0
    indexed_tensor_count_minus1: int = 0
    indexed_tensor_delta: list[int] = field(default_factory=list)


@dataclass
class Index:
    index_count: int = 0
    entry: list[IndexEntry] = field(default_factory=list)


@dataclass
class ModelEnd:
    tensor_data_count: int = 0
    model_digest: Bytes = b""
    model_seal: int = 0


@dataclass
class StreamEnd:
    model_count: int = 0
    unit_count: int = 0
    index_offset: int = 0
