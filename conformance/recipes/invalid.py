"""Invalid streams: one fault each, an edit of a valid parent, with the requirement of SPEC that it breaks."""

from __future__ import annotations

from collections.abc import Iterator

from refcodec.bitstream.limits import Profile
from refcodec.bitstream.structures import (
    EntropyMode,
    PredictionMode,
    Quantiser,
    Representation,
    SourceFormat,
    SpatialPredictor,
    UnitCoding,
    UnitType,
)

from . import byte_faults, huffman_scripts, mode_faults, scripted
from .byte_coders import zlib_stored
from .edits import (
    Edit,
    EditedStream,
    EditedUnit,
    all_of,
    change,
    cut_after,
    drop,
    insert,
    move,
    on_unit,
    pattern,
    payload,
    plain_as,
    put,
    repeat,
    set_unit,
    stream_field,
)
from .faults import Fault, fault

U = UnitType
HEADER, MODEL, TOPOLOGY, LAYERS, DATA, METADATA, INDEX, END, LAST = U


def descriptors() -> Iterator[Fault]:
    """Clause 4.4."""
    def short(u: EditedUnit) -> None:
        u.coded = u.body()[:-3]

    yield fault("R4.4-1", "element", "smoke", on_unit(END, short), "TRUNCATED", "a body ends inside model_digest")
    yield fault("R4.4-1", "count", "units-plain", put(METADATA, "metadata_count", 900), "TRUNCATED",
                "more entries than bits are left")
    yield fault("R4.4-2", "ue", "units-plain", pattern(METADATA, "metadata_count", "0" * 64 + "1" * 65),
                "FORBIDDEN_PATTERN", "ue(v) with 64 zeros")
    yield fault("R4.4-2", "se", "units-plain", pattern(TOPOLOGY, "slot_tensor_delta", "0" * 64 + "1" * 65),
                "FORBIDDEN_PATTERN", "se(v) with 64 zeros")
    yield fault("R4.4-3", "ue", "units-plain", put(TOPOLOGY, "slot_size", 2**63 + 1), "OUT_OF_RANGE",
                "ue(v) beyond 2^63")
    yield fault("R4.4-4", "name", "smoke", put(MODEL, "model_name", "n" * 257), "RESOURCE_LIMIT",
                "a string longer than level 1 allows")
    for name, data in (("surrogate", b"\xed\xa0\x80"), ("overlong", b"\xc1\x81"), ("nul", b"a\0b"),
                       ("cut", b"ab\xe2\x82"), ("beyond", b"\xf4\x90\x80\x80")):
        yield fault("R4.4-5", name, "smoke", put(MODEL, "model_name", data), "FORBIDDEN_PATTERN",
                    f"a string that is no UTF-8, or holds U+0000: {name}")
    yield fault("R4.4-6", "zero", "smoke",
                lambda s: set_unit(END, head=bytes([END << 2, 128 | len(s.of(END).body()), 0]))(s), "FORBIDDEN_PATTERN",
                "leb(v) that ends with a byte 0")
    yield fault("R4.4-6", "long", "smoke",
                lambda s: set_unit(END, head=bytes([END << 2, 128 | len(s.of(END).body()), *[128] * 8, 1]))(s),
                "FORBIDDEN_PATTERN", "leb(v) of ten bytes")
    yield from ranges()

    def misaligned(u: EditedUnit) -> None:
        e = u.elements[-1]
        e.descriptor, e.value = "bits", "0" * (int(e.bits) - 1) + "1"

    yield fault("R4.4-8", "end", "smoke", on_unit(END, misaligned), "BAD_ALIGNMENT", "a bit of the last alignment is 1")
    yield fault("R4.4-8", "string", "smoke", pattern(MODEL, "model_name", "010" + "00001" + f"{ord('m'):08b}"),
                "BAD_ALIGNMENT", "a bit of the alignment of a string is 1")


def ranges() -> Iterator[Fault]:
    """R4.4-7: a value on either side of each range that a parent has, the first reserved value of each enumeration."""
    uniform, spatial = "c-none-direct-uniform", "c-spatial-direct-uniform"
    for parent, unit, name, values in (("smoke", HEADER, "level", (0, 5)), (uniform, DATA, "step_mantissa", (0, )),
                                       (uniform, DATA, "step_exponent", (-1075, 971)), ("trellis-cc", DATA,
                                                                                        "trellis_size", (6, 7)),
                                       ("c-none-direct-decimal", DATA, "decimal_exponent",
                                        (23, )), ("c-none-direct-fixedpoint", DATA, "fixed_point_width", (0, 33)),
                                       ("c-none-direct-fixedpoint", DATA, "fraction_bits",
                                        (-971, 1075)), ("c-none-direct-codebook", DATA, "zero_index",
                                                        (5, )), ("c-none-direct-integercodebook", DATA, "zero_index",
                                                                 (5, )), ("c-none-direct-integercodebook", DATA,
                                                                          "codebook_integer", (-2**30 - 1, 2**30 + 1)),
                                       ("p-int4-fixed", DATA, "fixed_length",
                                        (0, 65)), ("words-parameters", DATA, "word_sign_mode",
                                                   (3, )), ("words-parameters", DATA, "word_scale_rule",
                                                            (3, )), ("words-parameters", DATA, "word_shift",
                                                                     (24, )), ("folds", LAYERS, "axis", (3, )),
                                       ("folds", LAYERS, "row_axis_count",
                                        (4, )), ("folds", LAYERS, "kernel_size",
                                                 (0, 65536)), ("folds", LAYERS, "activation_width",
                                                               (0, 65)), ("folds", LAYERS, "activation_fraction_bits",
                                                                          (-1075, 1075)),
                                       ("folds", LAYERS, "accumulator_width",
                                        (0, 65)), ("units-plain", TOPOLOGY, "slot_coding",
                                                   (3, )), ("c-none-randommask-none", DATA, "selected_count",
                                                            (64, )), ("units-plain", TOPOLOGY, "file_count", (0, ))):
        for value in values:
            label = f"{name.replace('_', '')}{len(parent)}-{value}".replace("--", "-m")
            yield fault("R4.4-7", label, parent, put(unit, name, value), "OUT_OF_RANGE", f"{name} is {value}")
    for value in (0, 17):
        yield fault("R4.4-7", f"modeldistance-{value}", "models", put(MODEL, "model_distance", value, unit=1),
                    "OUT_OF_RANGE" if value == 0 else "OUT_OF_RANGE DANGLING_REFERENCE", f"model_distance is {value}")
    for parent, unit, name, value in (
            ("smoke", HEADER, "profile", max(Profile) + 1), ("smoke", HEADER, "profile", 255),
            ("units-plain", TOPOLOGY, "source_format", 0),
            ("units-plain", TOPOLOGY, "source_format", max(SourceFormat) + 1),
            (spatial, DATA, "prediction_mode", max(PredictionMode) + 1),
            (spatial, DATA, "spatial_predictor", max(SpatialPredictor) + 1),
            (uniform, DATA, "representation", max(Representation) + 1),
            (uniform, DATA, "quantiser", max(Quantiser) + 1), (uniform, DATA, "entropy_mode", max(EntropyMode) + 1)):
        yield fault("R4.4-7", f"{name.replace('_', '')}-{value}", parent, put(unit, name, value), "RESERVED_VALUE",
                    f"{name} is {value}, a reserved value")


def units() -> Iterator[Fault]:
    """Clauses 7.1 to 7.3."""
    yield fault("R7.1-1", "magic", "smoke", stream_field("magic", b"\x8fOMX"), "BAD_MAGIC", "another omc_magic")
    yield fault("R7.1-1", "cut", "smoke", stream_field("cut_at", 3), "TRUNCATED", "the stream ends inside omc_magic")
    yield fault("R7.1-1", "empty", "smoke", stream_field("cut_at", 0), "TRUNCATED", "no byte at all")
    yield fault("R7.1-2", "metadata", "units-plain", move(METADATA, 3), "ORDER", "METADATA before the tensor data")
    yield fault("R7.1-2", "layers", "units-plain", move(LAYERS, 2), "ORDER", "LAYER_DESCRIPTORS before TOPOLOGY")
    yield fault("R7.1-2", "header", "smoke", repeat(HEADER), "ORDER", "a second STREAM_HEADER")
    yield fault("R7.1-2", "first", "smoke", drop(HEADER), "ORDER", "no STREAM_HEADER")
    yield fault("R7.1-2", "data", "smoke", drop(MODEL), "ORDER", "tensor data outside a model")
    yield fault("R7.1-3", "end", "smoke", cut_after(END), "MISSING_UNIT", "the stream ends after a model")
    yield fault("R7.1-3", "header", "smoke", cut_after(HEADER), "MISSING_UNIT", "the stream ends after its header")
    yield fault("R7.1-3", "magic", "smoke", stream_field("cut_at", 4), "TRUNCATED", "the stream ends after omc_magic")
    yield fault("R7.1-3", "data", "smoke", cut_after(DATA), "TRUNCATED", "the stream ends after a tensor data unit")
    for extra in (-1, -5, -40):
        yield fault("R7.1-3", f"inside{extra}", "smoke", cut_after(DATA, extra), "TRUNCATED",
                    "the stream ends inside a unit")
    yield fault("R7.1-3", "last", "smoke", cut_after(LAST, -1), "TRUNCATED", "the last byte is missing")
    yield fault("R7.1-4", "zero", "smoke", stream_field("appended", b"\0"), "TRAILING_DATA", "a byte after STREAM_END")
    def empty(s: EditedStream) -> None:
        s.units = [s.of(HEADER), s.of(LAST)]

    yield fault("R7.1-5", "none", "smoke", empty, "MISSING_UNIT", "a stream without models")
    for kind in (0, 10, 31):
        yield fault("R7.2-1", f"type-{kind}", "smoke", lambda s, kind=kind: s.units.insert(2, EditedUnit(kind)),
                    "RESERVED_VALUE", f"unit_type {kind}")
    for kind, coding in ((DATA, 1), (HEADER, 2), (END, 1), (LAST, 1), (MODEL, 3), (INDEX, 3)):
        yield fault("R7.2-2", f"{kind.name.lower().replace('_', '')}-{coding}", "units-plain",
                    lambda s, kind=kind, coding=coding: plain_as(kind, UnitCoding(coding),
                                                                 s.of(kind).body(), 5)(s), "FORBIDDEN_PATTERN",
                    f"unit_coding {coding} of {kind.name}")
    yield fault("R7.2-4", "deflate", "units-plain", plain_as(METADATA, UnitCoding.DEFLATE, b"\x07\xff\xff\xff", 9),
                "ENTROPY_END", "a DEFLATE block of the reserved type")
    yield fault("R7.2-4", "lzma", "units-plain", plain_as(METADATA, UnitCoding.LZMA, b"\x7f\xff\xff\xff", 9),
                "ENTROPY_END", "an LZMA2 chunk of a reserved type")
    for name, difference in (("less", -1), ("more", 1)):
        def stored(s: EditedStream, difference=difference) -> None:
            body = s.of(METADATA).body()
            size = len(body).to_bytes(2, "little")
            plain_as(METADATA, UnitCoding.DEFLATE, b"\x01" + size + bytes(255 - b for b in size) + body,
                     len(body) + difference)(s)
        yield fault("R7.2-5", name, "units-plain", stored, "BAD_SIZE", f"expanded_size is off by {difference}")
    yield fault("R7.2-6", "expanded", "units-plain", plain_as(METADATA, UnitCoding.DEFLATE, b"\x03\x00", 2**22 + 1),
                "RESOURCE_LIMIT", "an expanded_size beyond level 1")
    yield fault("R7.2-7", "units", "smoke", lambda s: s.units.__setitem__(slice(2, 2), [EditedUnit(32)] * 4096),
                "RESOURCE_LIMIT", "more units than level 1 allows")
    yield fault("R7.2-7", "before", "level-2", lambda s: s.units.__setitem__(slice(0, 0), [EditedUnit(32)] * 4096),
                "RESOURCE_LIMIT", "more units than level 1 allows before the header of a stream of level 2")
    for kind in (HEADER, MODEL, DATA, METADATA, END):
        yield fault("R7.2-8",
                    kind.name.lower().replace("_", ""), "units-plain", set_unit(kind, check=b"\0\1\2\3"),
                    "DIGEST_MISMATCH", f"the check of {kind.name} is wrong")
    for kind in (HEADER, MODEL, METADATA, END, LAST):
        yield fault("R7.2-9",
                    kind.name.lower().replace("_", ""), "units-plain", set_unit(kind, tail=b"\0"), "BAD_SIZE",
                    f"a byte follows the structure of {kind.name}")
    yield fault("R7.3-1", "minor", "smoke", put(HEADER, "version_minor", 3), "UNSUPPORTED_VERSION", "version 0.3")
    yield fault("R7.3-1", "older", "smoke", put(HEADER, "version_minor", 1), "UNSUPPORTED_VERSION", "version 0.1")
    yield fault("R7.3-1", "major", "smoke", put(HEADER, "version_major", 1), "UNSUPPORTED_VERSION", "version 1.1")


def models() -> Iterator[Fault]:
    """Clauses 7.4 to 7.6 and 7.8 to 7.11."""
    yield fault("R7.4-1", "distance", "models", put(MODEL, "model_distance", 2, unit=1), "DANGLING_REFERENCE",
                "a reference before the first model")
    yield fault("R7.4-2", "none", "smoke", put(MODEL, "inherit_flag", 1), "DANGLING_REFERENCE",
                "inherit_flag without a reference")
    yield fault("R7.4-2", "external", "external", put(MODEL, "inherit_flag", 1), "DANGLING_REFERENCE",
                "inherit_flag with an external reference")
    yield fault("R7.4-3", "enhancement", "smoke", put(MODEL, "enhancement_flag", 1), "FORBIDDEN_PATTERN",
                "an enhancement of nothing")
    yield fault("R7.4-4", "names", "units-plain", put(MODEL, "tensor_name", "a weight of four letters", 1),
                "DUPLICATE_ID", "two tensors of one name")
    yield fault("R7.4-5", "models", "limit-models", lambda s: s.units.__setitem__(slice(-1, -1), s.units[-4:-1]),
                "RESOURCE_LIMIT", "one model more than level 1 allows")
    for value in (13, 15, 30, 63):
        yield fault("R7.4.2-1", f"type-{value}", "smoke", put(MODEL, "element_type", value), "RESERVED_VALUE",
                    f"element_type {value}")
    two = all_of(put(MODEL, "dimension", 2048, 0), put(MODEL, "dimension", 2049, 1))
    yield fault("R7.4.2-2", "elements", "n-bool", two, "RESOURCE_LIMIT", "more elements than level 1 allows")
    huge = all_of(put(MODEL, "dimension", 2**22, 0), put(MODEL, "dimension", 2**22, 1))
    yield fault("R7.4.2-2", "product", "n-bool", huge, "RESOURCE_LIMIT", "2^44 elements")
    empty = all_of(put(MODEL, "dimension", 0, 0), put(MODEL, "dimension", 2**22 + 1, 1))
    yield fault("R7.4.2-2", "empty", "n-bool", empty, "RESOURCE_LIMIT", "an empty tensor with an axis that is too long")
    bytes_ = all_of(put(MODEL, "dimension", 2048, 0), put(MODEL, "dimension", 2048, 1), put(MODEL, "element_type", 4))
    yield fault("R7.4.2-3", "bytes", "n-bool", bytes_, "RESOURCE_LIMIT", "more bytes than level 1 allows")
    yield fault("R7.5.2-1", "slot", "units-plain", put(TOPOLOGY, "slot_tensor_delta", 1, 1), "DANGLING_REFERENCE",
                "a slot for a tensor that does not exist")
    yield fault("R7.5.2-1", "before", "units-plain", put(TOPOLOGY, "slot_tensor_delta", -2), "DANGLING_REFERENCE",
                "a slot for tensor -2")
    yield fault("R7.6.2-1", "layer", "units-plain", put(LAYERS, "tensor_index", 2), "DANGLING_REFERENCE",
                "a layer of a tensor that does not exist")
    yield fault("R7.6.2-2", "folds", "folds", put(LAYERS, "tensor_index", 0, 1), "DUPLICATE_ID",
                "two folds of one tensor")
    yield fault("R7.6.3-1", "axes", "folds", put(LAYERS, "axis", 0, 1), "DUPLICATE_ID", "an axis twice in a fold")
    yield fault("R7.8-1", "keys", "units-plain", put(METADATA, "metadata_key", "", 0), "DUPLICATE_ID",
                "two entries of one key")
    for name in ("unit_distance", "unit_size", "indexed_tensor_delta"):
        yield fault("R7.9.1-1", name.replace("_", ""), "units-plain", change(INDEX, name, lambda v: v + 1),
                    "DANGLING_REFERENCE", f"{name} is off by one")
    yield fault("R7.10-1", "more", "smoke", put(END, "tensor_data_count", 2), "MISSING_UNIT",
                "tensor_data_count is too large")
    yield fault("R7.10-1", "dropped", "units-deflate", lambda s: s.units.pop(s.number(DATA)),
                "MISSING_UNIT DANGLING_REFERENCE", "a tensor data unit was taken out")
    yield fault("R7.10-2", "tensor", "p-others", all_of(drop(DATA, 0), put(END, "tensor_data_count", 4)),
                "MISSING_UNIT", "a tensor without data")
    yield fault("R7.11-1", "models", "smoke", put(LAST, "model_count", 2), "MISSING_UNIT", "model_count is too large")
    yield fault("R7.11-1", "units", "smoke", put(LAST, "unit_count", 4), "MISSING_UNIT", "unit_count is too small")
    yield fault("R7.11-2", "none", "smoke", put(LAST, "index_offset", 4), "DANGLING_REFERENCE",
                "index_offset without an index")
    yield fault("R7.11-2", "zero", "units-plain", put(LAST, "index_offset", 0), "DANGLING_REFERENCE",
                "index_offset is 0 though there is an index")


def tensors() -> Iterator[Fault]:
    """Clause 7.7."""
    low, none = "c-intra-lowrank-uniform", "c-none-direct-none"
    yield fault("R7.7-1", "work", "p-work", change(DATA, "reference_tensor_delta", lambda v: v + 10, nth=1, unit=79),
                "RESOURCE_LIMIT", "the decoding work is beyond level 1")
    yield fault("R7.7-2", "elements", "limit-tensors", put(MODEL, "dimension", 65, 1023), "RESOURCE_LIMIT",
                "a joined unit of 65537 words")
    yield fault("R7.7-3", "size", "smoke", payload(lambda d: d[:-1]), "BAD_SIZE", "a byte of raw words is missing")
    yield fault("R7.7-3", "bypass", "smoke", payload(lambda d: b"\0", name="bypass"), "BAD_SIZE",
                "a bypass substream with raw words")
    yield fault("R7.7-3", "huffman", "p-int4-huffman", payload(lambda d: b"\0", name="bypass"), "BAD_SIZE",
                "a bypass substream with Huffman codes")
    yield fault("R7.7.1-1", "index", "smoke", put(DATA, "tensor_index_delta", 1), "DANGLING_REFERENCE",
                "data of a tensor that does not exist")
    yield fault("R7.7.1-2", "twice", "units-deflate", put(DATA, "tensor_index_delta", 0, unit=1), "DUPLICATE_ID",
                "a tensor is coded twice")
    yield fault("R7.7.1-3", "itself", "limit-nesting", put(DATA, "reference_tensor_delta", 0, unit=1),
                "DANGLING_REFERENCE", "a tensor predicted from itself")
    yield fault("R7.7.1-3", "later", "limit-nesting", put(DATA, "reference_tensor_delta", 1, unit=1),
                "DANGLING_REFERENCE", "a tensor predicted from a later one")
    yield fault("R7.7.1-4", "zero", "models", put(DATA, "reference_index", 0, unit=2), "DANGLING_REFERENCE",
                "INTER with reference_index 0")
    yield fault("R7.7.1-4", "two", "models", put(DATA, "reference_index", 2, unit=2), "DANGLING_REFERENCE",
                "reference_index 2 of 1")
    yield fault("R7.7.1-5", "delta", "models", put(DATA, "reference_tensor_delta", 2, unit=2), "DANGLING_REFERENCE",
                "no such tensor in the reference model")
    yield fault("R7.7.1-5", "copy", "p-chain", put(DATA, "reference_tensor_delta", 100, unit=9), "DANGLING_REFERENCE",
                "no such tensor in the model itself")
    yield fault("R7.7.1-6", "depth", "p-chain", put(DATA, "reference_tensor_delta", -1, unit=9), "RESOURCE_LIMIT",
                "predictions nested once too often")
    yield fault("R7.7.1-7", "type", "p-others", put(DATA, "reference_tensor_delta", -2, unit=4), "FORBIDDEN_PATTERN",
                "a copy of another element type")
    yield fault("R7.7.1-7", "rank", "p-others", put(DATA, "reference_tensor_delta", -4, unit=4), "FORBIDDEN_PATTERN",
                "a copy of another rank")
    yield fault("R7.7.1-8", "shape", "p-others", put(DATA, "reference_tensor_delta", -3, unit=4), "FORBIDDEN_PATTERN",
                "a copy of other dimensions")
    for name, parent, value in (("joined", "joined", 1), ("complex", "p-complex", 1), ("integer", "p-int4-raw", 1),
                                ("e8m0", "p-e8m0", 4)):
        yield fault("R7.7.1-9", name, parent, put(DATA, "representation", value), "FORBIDDEN_PATTERN",
                    f"representation {value} where only DIRECT may be: {name}")
    yield fault("R7.7.1-10", "spatial", "c-spatial-direct-uniform", put(DATA, "representation", 1), "FORBIDDEN_PATTERN",
                "spatial prediction of factors")
    yield fault("R7.7.1-11", "none", "trellis-cc", put(DATA, "representation", 2), "FORBIDDEN_PATTERN",
                "MAPPING without prediction")
    yield fault("R7.7.1-11", "baseline", low, put(DATA, "representation", 2, unit=1), "FORBIDDEN_PATTERN",
                "MAPPING in the BASELINE profile")
    for name, parent in (("side", "p-side"), ("area", "p-area")):
        yield fault("R7.7.1-12", name, parent, put(DATA, "representation", 2, unit=1), "RESOURCE_LIMIT",
                    f"a decomposition beyond level 1: {name}")
    huge = all_of(put(HEADER, "level", 3), put(MODEL, "element_type", 20), put(MODEL, "dimension", 2**14, 0),
                  put(MODEL, "dimension", 2**14 + 1, 1), put(DATA, "factor_rank", 2**12),
                  insert(DATA, "representation", "piece_digests", bytes(8 * 257)))
    yield fault("R7.7.1-13", "product", "p-product", huge, "RESOURCE_LIMIT",
                "more than 2^40 multiplications without a payload")
    yield fault("R7.7.2-1", "mask", "c-none-rowmask-none", change(DATA, "row_mask", lambda m: bytes([bytes(m)[0] | 1])),
                "FORBIDDEN_PATTERN", "a bit of row_mask beyond the last row")
    for value in (0, 8):
        yield fault("R7.7.2-2", f"rank-{value}", "c-none-lowrank-uniform", put(DATA, "factor_rank", value),
                    "OUT_OF_RANGE", f"factor_rank {value} of 7 by 9")
    yield fault("R7.7.2-3", "gains", "c-intra-augmentation-uniform", put(DATA, "gain_count_minus1", 7, unit=1),
                "OUT_OF_RANGE", "8 singular values of 7 by 9")
    yield fault("R7.7.3-1", "factor", "c-none-lowrank-uniform", put(DATA, "quantiser", 0), "FORBIDDEN_PATTERN",
                "a factor of words")
    for parent in ("p-complex", "p-e8m0"):
        for value in (1, 4, 5, 6):
            yield fault("R7.7.3-2", f"{parent[2:]}-{value}", parent, put(DATA, "quantiser", value), "FORBIDDEN_PATTERN",
                        f"quantiser {value} of {parent[2:]}")
    yield fault("R7.7.3-3", "type", "p-int4-cc", put(DATA, "quantiser", 3), "FORBIDDEN_PATTERN", "GRID of int4")
    yield fault("R7.7.3-3", "intra", "c-intra-direct-none", put(DATA, "quantiser", 3, unit=1), "FORBIDDEN_PATTERN",
                "GRID with INTRA")
    yield fault("R7.7.3-4", "intra", "c-intra-direct-none", put(DATA, "quantiser", 2, unit=1), "FORBIDDEN_PATTERN",
                "CODEBOOK with INTRA")
    for value in (0, 2, 3, 4, 6):
        yield fault("R7.7.3-5", f"quantiser-{value}", "c-spatial-direct-uniform", put(DATA, "quantiser", value),
                    "FORBIDDEN_PATTERN", f"quantiser {value} with SPATIAL")
    yield fault("R7.7.3-5", "trellis", "c-spatial-direct-uniform-cm", put(DATA, "trellis_size", 2), "FORBIDDEN_PATTERN",
                "a trellis with SPATIAL")
    yield from mode_faults.faults()
    yield fault("R7.7.3-9", "trellis", "p-integercodebook-main", put(DATA, "trellis_size", 1), "FORBIDDEN_PATTERN",
                "a trellis with INTEGER_CODEBOOK")
    for name, parent, unit in (("small", "p-levels", 0), ("raw", none, 0), ("joined", "joined", 0)):
        yield fault("R7.7.3-10", name, parent, put(DATA, "entry_count_minus1", 1, unit=unit), "FORBIDDEN_PATTERN",
                    f"two entry points where one is allowed: {name}")
    yield fault("R7.7.3-10", "rows", "entries", put(DATA, "entry_count_minus1", 2), "FORBIDDEN_PATTERN",
                "three entry points where two are allowed")
    yield fault("R7.7.4-1", "trellis", "p-levels", put(DATA, "trellis_size", 3), "FORBIDDEN_PATTERN",
                "a trellis in the BASELINE profile")
    yield fault("R7.7.5-1", "entry", "p-codebook-int4", put(DATA, "codebook_words", bytes([1, 7, 16])), "OUT_OF_RANGE",
                "an entry that is no int4")


def level_bytes(values: list[int], width: int = 4) -> bytes:
    return b"".join(v.to_bytes(width, "little", signed=True) for v in values)


def values() -> Iterator[Fault]:
    """Clause 8."""
    yield fault("R8.2-1", "missing", "external", lambda s: None, "MISSING_REFERENCE",
                "the external model is not supplied", without_references=True)
    yield fault("R8.5-2", "infinite", "p-largest-float64", put(DATA, "step_exponent", 970, unit=1), "OVERFLOW",
                "a float64 beyond the largest")
    yield fault("R8.5-3", "float16", "p-uniform-float16", put(DATA, "step_exponent", 13), "OVERFLOW",
                "a float16 beyond the largest")
    yield fault("R8.5-4", "int8", "p-uniform-int8", put(DATA, "step_exponent", 4), "OVERFLOW",
                "an int8 beyond its range")
    yield fault("R8.5-5", "mantissa", "p-levels", put(DATA, "step_mantissa", 0), "OUT_OF_RANGE", "a step of 0")
    yield fault("R8.5-7", "level", "c-none-direct-codebook", put(DATA, "zero_index", 0), "OUT_OF_RANGE",
                "a level without an entry")
    infinite = change(DATA, "grid_scales", lambda g: b"\0\0\x80\x7f" + bytes(g)[4:])
    yield fault("R8.5-8", "scale", "c-none-direct-grid", infinite, "OVERFLOW", "an infinite scale")
    yield fault("R8.5-9", "decimal", "p-decimal-raw", payload(lambda d: level_bytes([2**53 + 1], 8) + d[8:]),
                "OUT_OF_RANGE", "a decimal level beyond 2^53")
    yield fault("R8.5-10", "width", "p-fixedpoint", put(DATA, "fixed_point_width", 1), "OUT_OF_RANGE",
                "levels beyond their width")
    beyond = payload(lambda d: level_bytes([3, 1]) + d[8:])
    yield fault("R8.5-10", "spatial", "p-fixedpoint-spatial", beyond, "OUT_OF_RANGE",
                "an index beyond its width, where both differences fit")
    yield fault("R8.5-11", "level", "c-none-direct-integercodebook", put(DATA, "zero_index", 0), "OUT_OF_RANGE",
                "a level without an entry")
    large = all_of(payload(lambda d: level_bytes([2**30] * 4)), payload(lambda d: level_bytes([2**30] * 6), 1))
    yield fault("R8.6-1", "sums", "p-lowrank-raw", large, "OVERFLOW", "sums of products beyond 2^53")
    both = all_of(put(DATA, "step_exponent", 500, 0), put(DATA, "step_exponent", 439, 1))
    yield fault("R8.6-2", "exponent", "p-lowrank-raw", both, "OUT_OF_RANGE", "the sum of exponents is 939")
    yield fault("R8.6.5-1", "seed", "c-none-randommask-none", put(DATA, "random_seed", 78), "FORBIDDEN_PATTERN",
                "another number of elements is chosen")
    yield fault("R8.6.7-1", "infinite", "p-decomposed", put(DATA, "reference_tensor_delta", -2, unit=2), "OVERFLOW",
                "the decomposition of an infinity")
    yield fault("R8.7.1-1", "sum", "p-spatial-raw", payload(lambda d: level_bytes([2**31 - 1, 1]) + d[8:]),
                "OUT_OF_RANGE", "an index beyond 2^31")
    for nth, name in ((0, "c-none-direct-none"), (2, "models")):
        yield fault("R8.8-1",
                    name.split("-")[0] + str(nth), name, change(DATA, "tensor_digest", lambda v: v ^ 1, unit=0),
                    "DIGEST_MISMATCH", "a bit of a tensor_digest")
    yield fault("R8.8-4", "joined", "joined", change(DATA, "unit_digest", lambda v: v ^ 1), "DIGEST_MISMATCH",
                "a bit of a unit_digest")
    yield fault("R8.8-2", "model", "smoke",
                change(END, "model_digest", lambda d: bytes(d)[:-1] + bytes([bytes(d)[-1] ^ 1])), "DIGEST_MISMATCH",
                "a bit of model_digest")


def flipped(bit: int) -> Edit:
    """The payload with one bit changed, counted from its first."""
    return payload(lambda d: d[: bit // 8] + bytes([d[bit // 8] ^ 128 >> bit % 8]) + d[bit // 8 + 1 :])


def payloads() -> Iterator[Fault]:
    """Clause 9."""
    for parent in ("p-words-signs", "p-map", "p-levels", "kernels-cm"):
        yield fault("R9.1.4-1", f"{parent.split('-')[1]}-more", parent, payload(lambda d: d + b"\0"), "ENTROPY_END",
                    "a byte after a range-coded string")
        yield fault("R9.1.4-1", f"{parent.split('-')[1]}-less", parent, payload(lambda d: d[:-1]),
                    "ENTROPY_END OUT_OF_RANGE", "the last byte of a range-coded string is missing")
        yield fault("R9.1.4-2",
                    parent.split("-")[1], parent, payload(lambda d: d[:2]), "ENTROPY_END OUT_OF_RANGE",
                    "two bytes of a range-coded string")
    yield fault("R9.3-3", "empty", "p-levels", payload(lambda d: b""), "ENTROPY_END", "no byte of a range-coded string")
    for requirement, parent in (("R9.5-2", "p-words-signs"), ("R9.6-2", "p-map")):
        yield fault(requirement, "short", parent, payload(lambda d: d[:-1], name="bypass"), "ENTROPY_END",
                    "the bypass substream is too short")
    for requirement, parent in (("R9.5-3", "p-words-signs"), ("R9.6-2", "p-map")):
        yield fault(requirement, "long", parent, payload(lambda d: d + b"\0", name="bypass"), "ENTROPY_END",
                    "the bypass substream is too long")
    yield fault("R9.10.1-1", "levels", "p-levels", payload(lambda d: b"\0", name="bypass"), "ENTROPY_END",
                "a bypass substream with levels")
    for parent in ("p-levels-huffman", "p-int4-huffman"):
        name = parent.split("-")[1]
        yield fault("R9.7.1-1", name, parent, payload(lambda d: bytes([d[0] | 0xF8]) + d[1:]), "OUT_OF_RANGE",
                    "31 entries of 24 elements")
        yield fault("R9.7.1-3", f"{name}-more", parent, payload(lambda d: d + b"\0"), "ENTROPY_END",
                    "a byte after a Huffman payload")
        yield fault("R9.7.1-3", f"{name}-less", parent, payload(lambda d: d[:-1]), "ENTROPY_END",
                    "the last byte of a Huffman payload is missing")
        yield fault("R9.7.1-3", f"{name}-none", parent, payload(lambda d: b""), "ENTROPY_END",
                    "no byte of a Huffman payload")
    for parent, bit in (("p-int4-huffman", 5), ("p-levels-huffman", 24)):
        yield fault("R9.7.2-1",
                    parent.split("-")[1], parent, flipped(bit), "FORBIDDEN_PATTERN OUT_OF_RANGE",
                    "a code that is not complete")
    many = int("00001" + f"{4097:025b}" + "0" * 10, 2).to_bytes(5, "big") + bytes(700)
    yield fault("R9.7.1-2", "values", "p-int4-huffman", payload(lambda d: many), "RESOURCE_LIMIT",
                "more values than level 1 allows")
    yield fault("R9.5-1", "class", "p-int4-cc", flipped(0), "OUT_OF_RANGE", "a class that does not exist")
    yield fault("R9.8-1", "more", "p-int4-fixed", payload(lambda d: d + b"\0"), "ENTROPY_END",
                "a byte after integers of fixed length")
    yield fault("R9.8-1", "less", "p-int4-fixed", payload(lambda d: d[:-1]), "ENTROPY_END",
                "a byte of integers of fixed length is missing")
    yield fault("R9.8-1", "bits", "p-fixed-odd", payload(lambda d: d[:-1] + bytes([d[-1] | 1])), "ENTROPY_END",
                "a bit after the last integer")
    wide = all_of(put(DATA, "fixed_length", 8), payload(lambda d: bytes([16] * 24)))
    yield fault("R9.8-2", "int4", "p-int4-fixed", wide, "OUT_OF_RANGE", "words that are no int4")
    yield fault("R9.9.1-1", "int4", "p-int4-deflate", payload(lambda d: zlib_stored(bytes([16] * 24))), "OUT_OF_RANGE",
                "words that are no int4")
    for parent in ("p-int4-deflate", "p-gzip", "p-bzip2", "p-lzma"):
        name = parent.split("-")[-1]
        yield fault("R9.9.2-1", f"{name}-more", parent, payload(lambda d: d + b"\0"), "ENTROPY_END",
                    "a byte after the end")
        yield fault("R9.9.2-1", f"{name}-less", parent, payload(lambda d: d[:-1]), "ENTROPY_END",
                    "the last byte is missing")
        if name != "lzma":
            at = -6 if name == "gzip" else 10 if name == "bzip2" else -1
            yield fault("R9.9.2-1", f"{name}-check", parent,
                        payload(lambda d, at=at: d[:at] + bytes([d[at] ^ 1]) + d[at:][1:]), "ENTROPY_END",
                        "a wrong check")
    yield fault("R9.9.2-1", "deflate-size", "p-int4-deflate", payload(lambda d: zlib_stored(bytes(23))), "ENTROPY_END",
                "a byte too few comes out")
    yield fault("R9.9.2-1", "deflate-large", "p-int4-deflate", payload(lambda d: zlib_stored(bytes(25))), "ENTROPY_END",
                "a byte too many comes out")
    yield fault("R9.9.2-2", "dictionary", "p-int4-deflate", payload(lambda d: b"\x78\x20" + b"\0\0\0\1" + d[2:]),
                "ENTROPY_END", "FDICT is 1")
    yield fault("R9.9.2-3", "name", "p-gzip", payload(lambda d: d[:3] + b"\x08" + d[4:10] + b"a\0" + d[10:]),
                "ENTROPY_END", "a gzip member with a name")
    yield fault("R9.10.1-2", "wide", "p-uniform-raw8", payload(lambda d: level_bytes([2**31], 8) + d[8:]),
                "OUT_OF_RANGE", "a level beyond 32 bits")
    yield fault("R9.10.2-1", "more", "p-int4-raw", payload(lambda d: d + b"\0"), "BAD_SIZE",
                "a byte after raw integers")
    yield fault("R9.10.2-2", "int4", "p-int4-raw", payload(lambda d: b"\x10" + d[1:]), "OUT_OF_RANGE",
                "a word that is no int4")


def faults() -> Iterator[Fault]:
    """All of them."""
    for group in (descriptors, units, models, tensors, values, payloads, scripted.faults, huffman_scripts.faults,
                  byte_faults.faults):
        yield from group()
