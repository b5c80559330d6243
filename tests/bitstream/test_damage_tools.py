"""Bad input to the tools of the published systems: entropy modes, quantisers, representations, spatial prediction."""

from __future__ import annotations

import bz2
import contextlib
import dataclasses
import gzip
import lzma
import math
import random
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from helpers import glue, matrices_model, plain, reseal, weights
from helpers.damage import CODES, at_most, damaged, outcome

from refcodec import Config, Model, OmcError, Tensor, decode, encode
from refcodec.bitstream import derive, syntax
from refcodec.bitstream.context import ModelState
from refcodec.bitstream.cost import memory_of
from refcodec.bitstream.limits import LEVELS, Profile
from refcodec.bitstream.parser import Parser
from refcodec.bitstream.structures import (
    BYTES,
    RANGE_CODED,
    Codebook,
    Component,
    EntropyMode,
    FactorParameters,
    FixedPoint,
    IntegerCodebook,
    ModelEnd,
    ModelHeader,
    Payload,
    PredictionMode,
    Quantiser,
    ReferenceEntry,
    Representation,
    StreamEnd,
    StreamHeader,
    TensorData,
    TensorDescriptor,
    TensorEntry,
    UniformParameters,
    UnitType,
)
from refcodec.bitstream.units import ByteSource, seal_unit
from refcodec.bitstream.visitor import Writer
from refcodec.decoder import StreamDecoder
from refcodec.digests import STATED_BYTES, piece_count, seal_of, stated
from refcodec.dtypes import BY_NAME
from refcodec.encoder.candidate import Part
from refcodec.entropy.modes import whole_array
from refcodec.reconstruction import decomposition
from refcodec.reconstruction.random_integers import random_choice

DESCRIPTOR = 48            # bytes of a tensor data unit that mostly are no payload
SHAPE = (4, 6)
Q, E, P, R = Quantiser, EntropyMode, PredictionMode, Representation
WHOLE_ARRAYS = [mode for mode in E if mode not in RANGE_CODED]
SOUND = ("reconstruction", "DIGEST_MISMATCH")        # of a made stream in which all but the digest is right


# Streams whose syntax elements are wrong

class Careless(Writer):
    """Writes what it is given, in as many bits as there are."""

    def check(self, name, value, *_):
        return value

    limit = check

    def u(self, name, value, n, low=0, high=None):
        self._put(int(value) & ((1 << n) - 1), n)
        return value

    def se(self, name, value, low=0, high=None):
        self.ue(name, 2 * value - 1 if value > 0 else -2 * value)
        return value

    def b(self, name, value, n):
        return super().b(name, bytes(value), len(value))


@contextlib.contextmanager
def rules_off():
    """Rules between syntax elements are those of the decoder only."""
    kept = {name: getattr(derive, name) for name in ("forbid", "check_prediction", "check_work", "check_row_mask")}
    for name in kept:
        setattr(derive, name, lambda *_: None)
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(derive, name, function)


def part(quantiser: Quantiser, mode: EntropyMode, integers, dtype: str = "float32", **parameters) -> Part:
    """A coded component; words have the numpy type of `integers`, levels any."""
    array = np.asarray(integers)
    if quantiser not in (Q.NONE, Q.GRID) and (array.dtype != np.int64 or mode in (E.CC, E.CM)):
        array = array.astype(np.int32)
    p = Part(Component(quantiser, mode, **parameters), array if array.size else None, BY_NAME[dtype])
    return p.code()


def made(d: TensorDescriptor | list[TensorDescriptor], *parts: Part, shape=SHAPE, dtype: str = "float32",
         profile: int = Profile.HIGH, level: int = 1, reference: Model | None = None, tensors: int = 1,
         payload: bytes | None = None) -> bytes:
    """A stream of one unit for the first tensors of `tensors` equal ones, whose digests are wrong.

    payload: instead of that of the parts.  reference: an external model.
    """
    descriptors = d if isinstance(d, list) else [dataclasses.replace(d, component=[p.component for p in parts])]
    element = BY_NAME[dtype]
    for d in descriptors:
        d.piece_digests = bytes(STATED_BYTES * piece_count(math.prod(shape) * element.parts, element.word_bytes))
    entries = [TensorEntry(f"t{i}", element.code, len(shape), list(shape)) for i in range(tensors)]
    references = [ReferenceEntry(1, reference.digest())] if reference else []
    header = ModelHeader("made", reference_count=len(references), reference=references, tensor_count=tensors,
                         tensor=entries)
    state = ModelState(Profile.HIGH, 0, header, entries)
    payloads = [p for q in parts for p in q.payloads] if payload is None else [Payload(len(payload), 0, payload, b"")]
    units = []

    def put(kind: UnitType, function: Callable, x) -> None:
        writer = Careless(LEVELS[4], None, state)
        function(writer, x)
        units.append(seal_unit(kind, writer.body()))

    seal = stated(seal_of(bytes(32), header.model_name, [None] * 3))
    with rules_off():
        put(UnitType.STREAM_HEADER, syntax.stream_header, StreamHeader(profile=profile, level=level))
        put(UnitType.MODEL_HEADER, syntax.model_header, header)
        put(UnitType.TENSOR_DATA, syntax.tensor_data, TensorData(len(descriptors) - 1, descriptors, 0, payloads))
        put(UnitType.MODEL_END, syntax.model_end, ModelEnd(1, bytes(32), seal))
        put(UnitType.STREAM_END, syntax.stream_end, StreamEnd(1, len(units) + 1, 0))
    return glue(units)


def answer(stream: bytes, reference: Model | None = None, **options) -> tuple[str, str]:
    """(phase, code) of the error, of the unit with the tensor."""
    with at_most(), pytest.raises(OmcError) as error:
        decode(stream, [reference] if reference else [], **options)
    assert error.value.code in CODES
    return error.value.phase, error.value.code


def semantics(code: str) -> tuple[str, str]:
    return "semantics", code


# Random errors

@pytest.fixture(scope="module", autouse=True)          # autouse: loops are compiled before anything is timed
def exact(system_streams) -> dict[str, Model]:
    return {name: decode(stream, references) for name, (stream, references) in system_streams.items()}


def test_truncation(system_streams, exact):
    rng = random.Random(11)
    for name, (stream, references) in system_streams.items():
        borders = {u.end for u in Parser(ByteSource(stream)).parse().units
                   if u.type in (UnitType.MODEL_END, UnitType.STREAM_HEADER)}
        for n in rng.sample(range(len(stream)), 40):
            assert outcome(stream[:n], references, exact[name]) == ("MISSING_UNIT" if n in borders else "TRUNCATED")


def resealed(units: list[bytes], rng: random.Random) -> bytes:
    """A stream with damage behind unit_check: in tensor data mostly, every other time near its descriptor."""
    units, k = list(units), rng.randrange(len(units))
    if rng.random() < 0.8:
        k = rng.choice([i for i, u in enumerate(units) if u[0] >> 2 == UnitType.TENSOR_DATA])
    end = len(units[k]) - 4
    units[k] = reseal(damaged(units[k], rng, 2, min(end, DESCRIPTOR) if rng.random() < 0.5 else end))
    return glue(units)


def fuzz(streams, exact, rounds: int, seed: int) -> dict[str, int]:
    """Outcomes of rounds of damage: raw, and behind the checks."""
    rng, found = random.Random(seed), {}
    whole = {name: plain(stream) for name, (stream, _) in streams.items()}
    names = sorted(streams)
    for n in range(rounds):
        name = rng.choice(names)
        stream, references = streams[name]
        bad = resealed(whole[name], rng) if n % 8 else damaged(stream, rng, 0, len(stream))
        code = outcome(bad, references, exact[name])
        found[code] = found.get(code, 0) + 1
    return found


def test_random_errors(system_streams, exact):
    found = fuzz(system_streams, exact, 3000, 12)
    assert set(found) >= {"DIGEST_MISMATCH", "ENTROPY_END", "OUT_OF_RANGE", "FORBIDDEN_PATTERN", "RESOURCE_LIMIT",
                          "BAD_SIZE", "TRUNCATED", "OVERFLOW", "RESERVED_VALUE"}


EXTREMES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 31, 63, 64, 255, 256, 65535, 1 << 20, (1 << 31) - 1, 1 << 32,
            (1 << 62) - 1)
DERIVED = ("tensor_digest", "unit_digest", "piece_digests", "joined", "piece_count", "row_count", "column_count",
           "word_count", "word_bytes", "plane_rows", "component_count", "first_payload", "coded_flag", "words_flag",
           "tensor_index")


def elements_of(x) -> list[tuple[object, str]]:
    """Syntax elements that are integers, or byte strings, in a structure and those inside."""
    found = []
    for f in dataclasses.fields(x):
        value = getattr(x, f.name)
        if dataclasses.is_dataclass(value):
            found += elements_of(value)
        elif isinstance(value, list):
            found += [e for y in value if dataclasses.is_dataclass(y) for e in elements_of(y)]
        elif f.name not in DERIVED:
            found.append((x, f.name))
    return found


def with_other_elements(stream: bytes, rng: random.Random) -> bytes | None:
    """A stream with syntax elements of a tensor data unit changed, and all else as they ask for; None if that fails."""
    source = ByteSource(stream)
    parsed = Parser(source).parse()
    model = rng.choice(parsed.models)
    chosen = rng.choice(model.tensor_units)
    payloads = [Payload(coded, bypass, source.read(at, coded), source.read(at + coded, bypass))
                for at, coded, bypass in chosen.places]
    x = TensorData(len(chosen.descriptors) - 1, chosen.descriptors, len(payloads), payloads + [Payload()] * 4)
    for d in x.descriptor:                                   # some may become more
        d.component += [Component(fixed_length=8) for _ in range(4)]

    def body() -> bytes:
        model.state.coded = {}
        writer = Careless(LEVELS[4], None, model.state)
        syntax.tensor_data(writer, x)
        return writer.body()

    changes = [e for e in elements_of(x) if not isinstance(e[0], Payload)]
    with rules_off(), contextlib.suppress(IndexError, KeyError, OmcError):
        before = body()
        for _ in range(40):
            holder, name = rng.choice(changes)
            value = getattr(holder, name)
            other = rng.choice((value + 1, max(value - 1, 0), rng.choice(EXTREMES), rng.randrange(12))) \
                if isinstance(value, int) else damaged(bytes(value), rng, 0, len(value)) if len(value) else value
            setattr(holder, name, other)
            changed = body()
            if changed != before and rng.random() < 0.7:
                units = [stream[u.offset : u.end] for u in parsed.units]
                units[chosen.unit.number] = seal_unit(UnitType.TENSOR_DATA, changed)
                return glue(units)
    return None


def test_other_elements(system_streams, exact):
    """Valid syntax, other tools and parameters: what damage to bits rarely reaches."""
    rng, found = random.Random(13), {}
    names = sorted(system_streams)
    for _ in range(1200):
        name = rng.choice(names)
        stream, references = system_streams[name]
        bad = with_other_elements(stream, rng)
        if bad is not None:
            code = outcome(bad, references, exact[name])
            found[code] = found.get(code, 0) + 1
    assert sum(found.values()) > 700, found
    assert set(found) >= {
        "OUT_OF_RANGE", "FORBIDDEN_PATTERN", "RESERVED_VALUE", "ENTROPY_END", "DIGEST_MISMATCH", "BAD_SIZE",
        "DANGLING_REFERENCE"}, found


# Representations

STEP = UniformParameters(0, 32768, -20)


def factor(rows: int, columns: int, value: int = 3, mode: EntropyMode = E.CC, quantiser: Quantiser = Q.UNIFORM,
           **parameters) -> Part:
    return part(quantiser, mode, np.full((min(rows, 8), min(columns, 8)), value), **{"uniform": STEP, **parameters})


def of(representation: Representation, prediction: PredictionMode = P.NONE, shape=SHAPE, **parameters
       ) -> TensorDescriptor:
    rows, columns = shape
    return TensorDescriptor(prediction_mode=prediction, reference_index=1, representation=representation,
                            factor=FactorParameters(**parameters), row_count=rows, column_count=columns)


def factors(d: TensorDescriptor, **options) -> list[Part]:
    """A component for each factor that a descriptor has."""
    return [factor(*shape, **options) for shape in derive.component_shapes(d)]


def deployed(fill: float = 1.0, shape=SHAPE) -> Model:
    array = weights(shape, seed=3)
    array[0, 0] = fill
    return Model([Tensor("t0", array)])


FACTORED = (R.LOW_RANK, R.MAPPING, R.AUGMENTATION, R.LOW_RANK_UPDATE)


@pytest.mark.parametrize("representation", FACTORED)
@pytest.mark.parametrize(("rank", "code"), [
    (0, "OUT_OF_RANGE"), (4, None), (5, "OUT_OF_RANGE"), (1 << 20, "RESOURCE_LIMIT"), (1 << 62, "RESOURCE_LIMIT"),
])
def test_factors_of_any_rank(representation, rank, code):
    base, d = deployed(), of(representation, P.INTER, factor_rank=rank)
    sound = code is None or (rank == 0 and representation == R.AUGMENTATION)
    assert answer(made(d, *factors(d), reference=base), base) == (SOUND if sound else semantics(code))


@pytest.mark.parametrize(("count", "expected"), [
    (4, SOUND), (5, semantics("OUT_OF_RANGE")), (1 << 40, semantics("OUT_OF_RANGE")),
], ids=["4", "5", "2^40"])
def test_gains_out_of_range(count, expected):
    base, d = deployed(), of(R.AUGMENTATION, P.INTER, gain_count_minus1=count - 1)
    assert answer(made(d, *factors(d), reference=base), base) == expected


@pytest.mark.parametrize("representation", FACTORED)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_references_that_are_not_finite(representation, value):
    """Only a decomposition needs all of the reference; elsewhere such an element predicts 0."""
    d = of(representation, P.INTER, factor_rank=2)
    base = deployed(value)
    found = answer(made(d, *factors(d), reference=base), base)
    assert found == (("reconstruction", "OVERFLOW") if representation in (R.MAPPING, R.AUGMENTATION) else SOUND)


@pytest.mark.parametrize("update", ["lra", "ml", "ka", "rm", "lru", "fp"])
@pytest.mark.parametrize("there", [False, True], ids=["no reference", "another reference"])
def test_update_of_another_deployed_model(update, there):
    base = matrices_model()
    other = matrices_model()
    other.tensors[0].array[0, 0] += np.float32(1e-6)
    larger = Model([Tensor(t.name, t.array * np.float32(1.01)) for t in base.tensors])
    stream = encode(larger, Config(preset=f"s4-{update}"), [base])
    assert answer(stream, other if there else None) == ("reconstruction", "MISSING_REFERENCE")


@pytest.mark.parametrize("representation", FACTORED)
def test_products_beyond_2_to_53(representation):
    shape = (40, 40)
    base, d = deployed(shape=shape), of(representation, P.INTER, shape=shape, factor_rank=40, gain_count_minus1=1)
    parts = [part(Q.UNIFORM, E.FIXED, np.full(s, 2**31 - 1), uniform=STEP) for s in derive.component_shapes(d)]
    assert answer(made(d, *parts, shape=shape, reference=base), base) == ("reconstruction", "OVERFLOW")


@pytest.mark.parametrize("exponent", [970, 500, -1074, -600])
def test_scales_out_of_range(exponent):
    """Steps that are allowed, whose product is not: the values would not be finite, or not exact."""
    d = of(R.LOW_RANK, factor_rank=2)
    parts = factors(d, uniform=UniformParameters(0, 1, exponent))
    assert answer(made(d, *parts)) == ("reconstruction", "OUT_OF_RANGE")


def test_scales_that_a_wider_type_bears():
    d = of(R.LOW_RANK, factor_rank=2)
    parts = factors(d, uniform=UniformParameters(0, 65535, 469))
    assert answer(made(d, *parts, dtype="float64")) == SOUND
    assert answer(made(d, *parts)) == ("reconstruction", "OVERFLOW")


def test_gains_beyond_2_to_37():
    """No quantiser makes indices so large: an integer codebook would have to hold them."""
    base = deployed()
    d = of(R.AUGMENTATION, P.INTER)
    integers = IntegerCodebook(1, 0, [1 << 38, 0])
    parts = [part(Q.INTEGER_CODEBOOK, E.CC, np.zeros((1, 1)), uniform=STEP, integer_codebook=integers)]
    assert answer(made(d, *parts, reference=base), base) == semantics("OUT_OF_RANGE")


@pytest.mark.parametrize("prediction", [P.NONE, P.SPATIAL])
@pytest.mark.parametrize("representation", [R.MAPPING, R.AUGMENTATION])
def test_decompositions_that_are_not_allowed(representation, prediction):
    base, d = deployed(), of(representation, P.INTER, factor_rank=1)
    assert answer(made(d, *factors(d), profile=Profile.MAIN, reference=base), base) == SOUND
    baseline = made(d, *factors(d), profile=Profile.BASELINE, reference=base)
    assert answer(baseline, base) == semantics("FORBIDDEN_PATTERN")
    without = dataclasses.replace(d, prediction_mode=prediction)
    assert answer(made(without, *factors(d))) == semantics("FORBIDDEN_PATTERN")


@pytest.mark.parametrize("shape", [(257, 300), (256, 4097)])
def test_decompositions_beyond_the_level(shape):
    base, d = deployed(shape=shape), of(R.MAPPING, P.INTER, shape=shape, factor_rank=1)
    assert answer(made(d, *factors(d), shape=shape, reference=base), base) == semantics("RESOURCE_LIMIT")


def test_a_decomposition_that_does_not_converge(monkeypatch):
    """[R8.6.7-2] No matrix is known for which this happens."""
    monkeypatch.setattr(decomposition, "_eigenvectors", lambda *_: 0)
    base, d = deployed(), of(R.MAPPING, P.INTER, factor_rank=1)
    assert answer(made(d, *factors(d), reference=base), base) == ("reconstruction", "OVERFLOW")


@pytest.mark.parametrize("dtype", ["int32", "bool", "uint4", "complex64", "float8_e8m0fnu"])
def test_factors_of_types_without_sums(dtype):
    d = of(R.LOW_RANK, factor_rank=1)
    assert answer(made(d, *factors(d), dtype=dtype)) == semantics("FORBIDDEN_PATTERN")


@pytest.mark.parametrize("quantiser", [Q.NONE, Q.CODEBOOK, Q.DECIMAL, Q.GRID])
def test_factors_without_indices(quantiser):
    d = of(R.LOW_RANK, factor_rank=1)
    parts = factors(d)
    for p in parts:
        p.component.quantiser = quantiser
    assert answer(made(d, *parts)) == semantics("FORBIDDEN_PATTERN")


@pytest.mark.parametrize("representation", [*FACTORED, R.RANDOM_MASK, R.ROW_MASK])
def test_representations_of_nothing(representation):
    d = of(representation, shape=(0, 6), factor_rank=1)
    assert answer(made(d, *[factor(1, 1)] * 3, shape=(0, 6))) == semantics("FORBIDDEN_PATTERN")


# Masks

HALF_CHOSEN = int(random_choice(7, 1 << 31, 24).sum())         # of 24 elements, by the seed of the tests below


def words(rows: int, columns: int, mode: EntropyMode = E.RAW) -> Part:
    return part(Q.NONE, mode, np.arange(rows * columns, dtype=np.uint32).reshape(rows, columns))


@pytest.mark.parametrize(("density", "selected"), [
    (density, selected) for density, chosen in ((0, 0), (1 << 31, HALF_CHOSEN), (0xFFFFFFFF, 24))
    for selected in sorted({0, chosen - 1, chosen, chosen + 1, 24} & set(range(25)))
])
def test_random_masks_that_do_not_fit(density, selected):
    chosen = {0: 0, 1 << 31: HALF_CHOSEN, 0xFFFFFFFF: 24}[density]
    d = of(R.RANDOM_MASK, random_seed=7, random_density=density, selected_count=selected)
    expected = SOUND if selected == chosen else ("reconstruction", "FORBIDDEN_PATTERN")
    assert answer(made(d, words(1, selected))) == expected


def test_random_masks_of_more_than_there_is():
    d = of(R.RANDOM_MASK, random_density=1 << 31, selected_count=25)
    assert answer(made(d, words(1, 25))) == semantics("OUT_OF_RANGE")


@pytest.mark.parametrize(("padding", "expected"), [
    (0, SOUND), (0b1000, semantics("FORBIDDEN_PATTERN")), (0b1, semantics("FORBIDDEN_PATTERN")),
], ids=["no padding", "first bit of padding", "last bit of padding"])
@pytest.mark.parametrize(("mask", "kept"), [(0b1010_0000, 2), (0b1111_0000, 4), (0, 0)])
def test_row_masks(mask, kept, padding, expected):
    d = of(R.ROW_MASK, row_mask=bytes([mask | padding]), selected_count=kept)
    assert answer(made(d, words(kept, 6))) == expected


# References within a model

@pytest.mark.parametrize("mode", [P.COPY, P.INTRA])
@pytest.mark.parametrize("delta", [0, 1, 2, -1, 1 << 40, -(1 << 40)])
def test_predictions_in_a_circle(mode, delta):
    """A tensor is predicted from what came before, never from itself or a later one, in any mode."""
    d = TensorDescriptor(prediction_mode=mode, reference_tensor_delta=delta)
    stream = made([d], tensors=3, payload=b"") if mode == P.COPY else made(d, words(4, 6), tensors=3)
    assert answer(stream) == semantics("DANGLING_REFERENCE")


def test_tensors_of_a_joined_unit_in_a_circle():
    joined = [TensorDescriptor(prediction_mode=P.COPY, reference_tensor_delta=1),
              TensorDescriptor(prediction_mode=P.COPY, reference_tensor_delta=-1)]
    assert answer(made(joined, tensors=2, payload=b"")) == semantics("DANGLING_REFERENCE")


# Tools that exclude each other

def exclusive() -> dict[str, bytes]:
    """Streams of tools that exclude each other, by what they are."""
    zeros, direct = np.zeros(SHAPE, np.int64), TensorDescriptor()
    spatial = TensorDescriptor(prediction_mode=P.SPATIAL)
    trellis = UniformParameters(2, 32768, -20)
    low_rank = dataclasses.replace(of(R.LOW_RANK, factor_rank=1), prediction_mode=P.SPATIAL)
    return {
        "spatial, trellis": made(spatial, part(Q.UNIFORM, E.CC, zeros, uniform=trellis)),
        "spatial, factors": made(low_rank, *factors(low_rank)),
        "spatial words": made(spatial, words(4, 6)),
        "spatial codebook": made(spatial, part(Q.CODEBOOK, E.CC, zeros, codebook=Codebook(1, 0, bytes(8)))),
        "spatial decimal": made(spatial, part(Q.DECIMAL, E.CC, zeros)),
        "codebook of integers, trellis": made(direct, part(Q.INTEGER_CODEBOOK, E.CC, zeros, uniform=trellis,
                                                           integer_codebook=IntegerCodebook(1, 0, [0, 1]))),
        "mixed words": made(direct, dataclasses.replace(words(4, 6), component=Component(Q.NONE, E.CM))),
        "levels as a map": made(direct, dataclasses.replace(part(Q.UNIFORM, E.CC, zeros, uniform=STEP),
                                                            component=Component(Q.UNIFORM, E.MAP))),
        "mixing in main": made(direct, part(Q.UNIFORM, E.CM, zeros, uniform=STEP), profile=Profile.MAIN),
        "trellis in baseline": made(direct, part(Q.UNIFORM, E.CC, zeros, uniform=trellis), profile=Profile.BASELINE),
        "grid of float64": made(direct, part(Q.GRID, E.RAW, zeros.astype(np.uint16), grid_scales=bytes(16)),
                                dtype="float64"),
    }


@pytest.mark.parametrize("name", exclusive())
def test_tools_that_exclude_each_other(name):
    assert answer(exclusive()[name]) == semantics("FORBIDDEN_PATTERN")


def test_spatial_levels_without_a_trellis_are_sound():
    spatial = TensorDescriptor(prediction_mode=P.SPATIAL)
    assert answer(made(spatial, part(Q.UNIFORM, E.CC, np.zeros(SHAPE, np.int64), uniform=STEP))) == SOUND


@pytest.mark.parametrize("mode", WHOLE_ARRAYS)
def test_joined_units_are_range_coded(mode):
    d = [TensorDescriptor(component=[Component(Q.NONE, mode)]) for _ in range(2)]
    assert answer(made(d, tensors=2, payload=bytes(9))) == semantics("FORBIDDEN_PATTERN")


@pytest.mark.parametrize("mode", WHOLE_ARRAYS)
def test_entry_points_are_range_coded(mode):
    p = words(4, 6, mode)
    p.component.entry_count_minus1 = 1
    p.payloads = p.payloads * 2
    assert answer(made(TensorDescriptor(), p)) == semantics("FORBIDDEN_PATTERN")
    p = words(4, 6, mode)
    p.payloads = [dataclasses.replace(p.payloads[0], bypass_size=1, bypass=b"x")]
    assert answer(made(TensorDescriptor(), p)) == semantics("BAD_SIZE")


# Integers beyond what they may be

BEYOND = "reconstruction", "OUT_OF_RANGE"
in_modes_of_integers = pytest.mark.parametrize("mode", [E.RAW, E.HUFFMAN, E.FIXED, E.DEFLATE])


def level(mode: EntropyMode, n: int, quantiser: Quantiser, dtype: str = "float32",
          prediction: PredictionMode = P.NONE, **parameters) -> tuple[str, str]:
    """The answer to a level n among zeros."""
    values = np.zeros(SHAPE, np.int64)
    values[2, 3] = n
    d = TensorDescriptor(prediction_mode=prediction)
    return answer(made(d, part(quantiser, mode, values, **parameters), dtype=dtype))


@in_modes_of_integers
@pytest.mark.parametrize(("n", "found"), [
    (2**31 - 1, SOUND), (-(2**31), SOUND), (2**31, BEYOND), (-(2**31) - 1, BEYOND), (2**62, BEYOND),
    (-(2**63), BEYOND),
])
def test_indices_beyond_32_bits(mode, n, found):
    assert level(mode, n, Q.UNIFORM, uniform=STEP) == found
    if n != 2**31 - 1:                                  # its sum with a neighbour is another matter
        assert level(mode, n, Q.UNIFORM, prediction=P.SPATIAL, uniform=STEP) == found


@in_modes_of_integers
@pytest.mark.parametrize(("n", "found"), [
    (2**53, SOUND), (-(2**53), SOUND), (2**53 + 1, BEYOND), (-(2**63), BEYOND),
])
def test_decimals_beyond_2_to_53(mode, n, found):
    assert level(mode, n, Q.DECIMAL, decimal_exponent=3) == found


@in_modes_of_integers
def test_an_exponent_of_ten_out_of_range(mode):
    assert level(mode, 7, Q.DECIMAL, decimal_exponent=23) == semantics("OUT_OF_RANGE")


@in_modes_of_integers
@pytest.mark.parametrize(("n", "found"), [
    (7, SOUND), (-8, SOUND), (8, BEYOND), (-9, BEYOND), (2**31 - 1, BEYOND), (2**40, BEYOND),
])
def test_fixed_points_beyond_their_width(mode, n, found):
    assert level(mode, n, Q.FIXED_POINT, fixed_point=FixedPoint(4, 2)) == found


@in_modes_of_integers
@pytest.mark.parametrize("width", [0, 33, 64])
def test_widths_out_of_range(mode, width):
    assert level(mode, 1, Q.FIXED_POINT, fixed_point=FixedPoint(width, 2)) == semantics("OUT_OF_RANGE")


@in_modes_of_integers
@pytest.mark.parametrize(("n", "found"), [
    (-1, SOUND), (1, SOUND), (2, BEYOND), (-2, BEYOND), (2**31 - 1, BEYOND), (-(2**31), BEYOND),
])
def test_levels_beyond_their_codebook(mode, n, found):
    integers = IntegerCodebook(2, 1, [5, 0, 9])
    assert level(mode, n, Q.CODEBOOK, codebook=Codebook(2, 1, bytes(12))) == found
    assert level(mode, n, Q.INTEGER_CODEBOOK, uniform=STEP, integer_codebook=integers) == found


@in_modes_of_integers
def test_a_zero_that_the_codebook_has_not(mode):
    assert level(mode, 0, Q.CODEBOOK, codebook=Codebook(2, 3, bytes(12))) == semantics("OUT_OF_RANGE")


@in_modes_of_integers
def test_values_beyond_their_type(mode):
    assert level(mode, 9, Q.UNIFORM, "uint2", uniform=UniformParameters(0, 1, 0)) == ("reconstruction", "OVERFLOW")


@pytest.mark.parametrize("predictor", range(5))
@pytest.mark.parametrize("quantiser", [Q.UNIFORM, Q.FIXED_POINT])
@pytest.mark.parametrize("value", [2**31 - 1, -(2**31)])
def test_spatial_sums_beyond_32_bits(predictor, quantiser, value):
    d = TensorDescriptor(prediction_mode=P.SPATIAL, spatial_predictor=predictor)
    p = part(quantiser, E.RAW, np.full((6, 6), value, np.int64), uniform=STEP, fixed_point=FixedPoint(32, 0))
    assert answer(made(d, p, shape=(6, 6))) == BEYOND


def test_a_spatial_predictor_that_is_reserved():
    d = TensorDescriptor(prediction_mode=P.SPATIAL, spatial_predictor=5)
    p = part(Q.FIXED_POINT, E.RAW, np.full((6, 6), 1, np.int64), uniform=STEP, fixed_point=FixedPoint(32, 0))
    assert answer(made(d, p, shape=(6, 6))) == semantics("RESERVED_VALUE")


@pytest.mark.parametrize("dtype", ["int4", "uint4", "int2", "uint2", "float4_e2m1fn", "float6_e2m3fn", "float6_e3m2fn"])
@pytest.mark.parametrize("mode", [m for m in WHOLE_ARRAYS if whole_array(m).word_rule])
@pytest.mark.parametrize("prediction", [P.NONE, P.INTER])
def test_words_narrower_than_a_byte(dtype, mode, prediction):
    """A word beyond 2^bits, also as a difference, in every mode that could hold it."""
    bits, base = BY_NAME[dtype].bits, Model([Tensor("t0", np.zeros(SHAPE, np.uint8).view(BY_NAME[dtype].numpy))])
    d = TensorDescriptor(prediction_mode=prediction, reference_index=int(prediction == P.INTER))
    for value in ((1 << bits) - 1, 1 << bits, 255):
        array = np.zeros(SHAPE, np.uint8)
        array[3, 5] = value
        found = answer(made(d, part(Q.NONE, mode, array, dtype), dtype=dtype, reference=base), base)
        assert found[1] == ("OUT_OF_RANGE" if value >> bits else "DIGEST_MISMATCH"), value


@pytest.mark.parametrize("dtype", ["uint8", "bfloat16", "float32", "int64", "uint4", "complex64"])
def test_fixed_length_words_beyond_their_type(dtype):
    """[R9.8-2] A longer field does not wrap."""
    kind = BY_NAME[dtype]
    for length in {n for n in (kind.bits, kind.bits + 1, 33, 64) if kind.bits <= n <= 64}:
        for value in ((1 << kind.bits) - 1, 1 << kind.bits):
            if value.bit_length() <= length:
                array = np.zeros((4, 6 * kind.parts), np.uint64)
                array[1, 2] = value
                p = Part(Component(Q.NONE, E.FIXED, fixed_length=length), array, kind)
                payload = fixed_payload(array, length)
                found = answer(made(TensorDescriptor(), p, dtype=dtype, payload=payload))
                assert found[1] == ("OUT_OF_RANGE" if value >> kind.bits else "DIGEST_MISMATCH"), (length, value)


def fixed_payload(array: np.ndarray, length: int) -> bytes:
    text = "".join(f"{int(v):0{length}b}" for v in array.reshape(-1))
    return int(text + "0" * (-len(text) % 8), 2).to_bytes((len(text) + 7) // 8, "big")


def test_codebook_words_beyond_their_type():
    p = part(Q.CODEBOOK, E.CC, np.zeros(SHAPE), "uint4", codebook=Codebook(1, 0, b"\1\20"))
    assert answer(made(TensorDescriptor(), p, dtype="uint4")) == ("reconstruction", "OUT_OF_RANGE")


# Payloads

@pytest.mark.parametrize("mode", WHOLE_ARRAYS[1:])
@pytest.mark.parametrize("quantiser", [Q.NONE, Q.UNIFORM])
def test_payloads_with_errors(mode, quantiser):
    values = np.random.default_rng(1).integers(0, 90, (12, 20))
    p = part(quantiser, mode, values.astype(np.uint32 if quantiser == Q.NONE else np.int64), uniform=STEP)
    good = p.payloads[0].coded

    def found(payload: bytes) -> tuple[str, str]:
        return answer(made(TensorDescriptor(), p, shape=(12, 20), payload=payload))

    assert found(good) == SOUND
    for bad in (b"", good[:-1], good[: len(good) // 2], good + b"\0", good + good):
        assert found(bad) == ("entropy", "ENTROPY_END")
    rng, codes = random.Random(3), set()
    for _ in range(60):
        codes.add(found(damaged(good, rng, 0, len(good)))[1])
    allowed = {"ENTROPY_END", "DIGEST_MISMATCH", "OUT_OF_RANGE", "FORBIDDEN_PATTERN", "RESOURCE_LIMIT"}
    checked = mode in (E.DEFLATE, E.GZIP, E.BZIP2)         # by a sum of their own
    assert codes <= ({"ENTROPY_END", "DIGEST_MISMATCH"} if checked else allowed), codes


WORDS = np.arange(24, dtype="<u4").tobytes()
MEMBER = gzip.compress(WORDS, mtime=0)
NAMED_MEMBER = MEMBER[:3] + b"\x08" + MEMBER[4:10] + b"name\0" + MEMBER[10:]


def with_preset_dictionary() -> bytes:
    machine = zlib.compressobj(9, zlib.DEFLATED, 15, 9, zdict=b"\1\0\0\0")
    return machine.compress(WORDS) + machine.flush()


def test_a_named_member_of_gzip_is_one_for_the_library():
    assert gzip.decompress(NAMED_MEMBER) == WORDS


@pytest.mark.parametrize(("mode", "payload", "sound"), [
    pytest.param(E.DEFLATE, zlib.compress(WORDS), True, id="zlib"),
    pytest.param(E.DEFLATE, with_preset_dictionary(), False, id="zlib, preset dictionary"),
    pytest.param(E.DEFLATE, zlib.compress(WORDS)[2:-4], False, id="raw deflate"),
    pytest.param(E.DEFLATE, MEMBER, False, id="gzip for zlib"),
    pytest.param(E.GZIP, MEMBER, True, id="gzip"),
    pytest.param(E.GZIP, MEMBER[:4] + b"\1\2\3\4\2\7" + MEMBER[10:], True, id="gzip, time and system"),
    pytest.param(E.GZIP, NAMED_MEMBER, False, id="gzip, name"),
    pytest.param(E.GZIP, zlib.compress(WORDS), False, id="zlib for gzip"),
    pytest.param(E.GZIP, gzip.compress(WORDS[:40]) + gzip.compress(WORDS[40:]), False, id="gzip, two members"),
    pytest.param(E.GZIP, b"\x1f\x8b\x08", False, id="gzip, part of a header"),
    pytest.param(E.BZIP2, bz2.compress(WORDS), True, id="bzip2"),
    pytest.param(E.BZIP2, bz2.compress(WORDS[:40]) + bz2.compress(WORDS[40:]), False, id="bzip2, two streams"),
    pytest.param(E.LZMA, lzma.compress(WORDS), False, id="xz"),
    pytest.param(E.LZMA, lzma.compress(WORDS, lzma.FORMAT_ALONE), False, id="lzma alone"),
    pytest.param(E.LZMA, b"\0", False, id="lzma, end alone"),
])
def test_containers_with_options(mode, payload, sound):
    """A preset dictionary, optional fields of gzip, several members, an .xz file: not what SPEC 9.9.2 names."""
    p = words(4, 6, mode)
    p.component.byte.byte_planes_flag = 0
    found = answer(made(TensorDescriptor(), p, payload=payload))
    assert found == (SOUND if sound else ("entropy", "ENTROPY_END"))


@pytest.mark.parametrize("mode", BYTES)
def test_bombs_in_payloads(mode):
    """A payload of 20 MB of zeros in some kilobytes, for a tensor of 96 bytes: no more is made than it holds."""
    bomb = whole_array(mode).byte_coder.compress(bytes(20 << 20), 0)
    p = words(4, 6, mode)
    stream = made(TensorDescriptor(), p, payload=bomb)
    with at_most(bytes=(2 << 20) + 3 * len(stream)):
        assert answer(stream) == ("entropy", "ENTROPY_END")


def bits(text: str) -> bytes:
    text = text.replace(" ", "")
    return int(text + "0" * (-len(text) % 8), 2).to_bytes((len(text) + 7) // 8, "big")


# 24 elements: entry_count has 5 bits; then tables of one value and one index; the entries have no bits.
COUNT, VALUE, LENGTHS = "00001", "1 000001 01", "00000"          # one entry; the value 1, a code of 0 bits
BOUND, INDEX = "0000000000000000 0000 000", "1 1 00000"
WIDE, SHORT, EVERY = "0" * 16 + " 0000 000", "0" * 16 + " 0000 111", "0000000000111111 1111 000"     # bounds 1, 1, 64
TWO = "010 000001 01 1 "                                         # two values: 1, a run of one ...


@pytest.mark.parametrize(("text", "code"), [
    pytest.param(COUNT + VALUE + LENGTHS + BOUND + INDEX, "DIGEST_MISMATCH", id="sound"),
    pytest.param("11000" + VALUE + LENGTHS + BOUND + INDEX, "DIGEST_MISMATCH", id="all 24 are entries"),
    pytest.param("11001" + VALUE + LENGTHS + BOUND + INDEX, "OUT_OF_RANGE", id="25 entries"),
    pytest.param(COUNT + VALUE + "00001" + BOUND + INDEX, "FORBIDDEN_PATTERN", id="a lone codeword of 1 bit"),
    pytest.param(COUNT + TWO + "000000 1 00010 1" + BOUND + INDEX + "1" * 20, "FORBIDDEN_PATTERN", id="incomplete"),
    pytest.param(COUNT + TWO + "000000 1 00000 1" + BOUND + INDEX + "1" * 20, "FORBIDDEN_PATTERN", id="over-full"),
    pytest.param(COUNT + VALUE + "10101" + BOUND + INDEX, "OUT_OF_RANGE", id="a codeword of 21 bits"),
    pytest.param(COUNT + "0" * 25 + "1" + "0" * 25, "RESOURCE_LIMIT", id="2^25 values"),
    pytest.param(COUNT + "0" * 12 + "1" + "0" * 12, "ENTROPY_END", id="4096 values in no bits"),
    pytest.param(COUNT + VALUE + LENGTHS + SHORT + "0" * 24 + "1" + "0" * 24, "OUT_OF_RANGE", id="a threshold of 2^24"),
    pytest.param(COUNT + VALUE + LENGTHS + WIDE + "1 00100", "OUT_OF_RANGE", id="index symbol 3 of 1"),
    pytest.param(COUNT + VALUE + LENGTHS + EVERY + "1 0000001000000 00000", "OUT_OF_RANGE", id="index 64 of 24"),
    pytest.param(COUNT + VALUE + LENGTHS + BOUND + INDEX + "00000000", "ENTROPY_END", id="a byte more"),
    pytest.param(COUNT + VALUE + LENGTHS, "ENTROPY_END", id="no bound"),
])
def test_huffman_payloads(text, code):
    p = part(Q.UNIFORM, E.HUFFMAN, np.zeros(SHAPE), uniform=STEP)
    assert answer(made(TensorDescriptor(), p, payload=bits(text)))[1] == code


@pytest.mark.parametrize("mode", [m for m in E if m not in (E.CM, E.MAP)])
@pytest.mark.parametrize("quantiser", [Q.NONE, Q.UNIFORM, Q.DECIMAL, Q.FIXED_POINT])
def test_tensors_of_nothing(mode, quantiser):
    """Without elements there is no payload in any mode; one is too many."""
    for shape in ((0, 6), (3, 0), (0,), (0, 0, 5)):
        d = TensorDescriptor(component=[Component(quantiser, mode, uniform=STEP, fixed_length=8)])
        assert decode_past_digests(made([d], shape=shape, payload=b"")).shape == shape


@pytest.mark.parametrize("mode", [m for m in E if m not in (E.CM, E.MAP)])
@pytest.mark.parametrize("quantiser", [Q.CODEBOOK, Q.INTEGER_CODEBOOK])
def test_tensors_of_one_value(mode, quantiser):
    """With one entry in the codebook there is no payload in any mode."""
    c = Component(quantiser, mode, uniform=UniformParameters(0, 1, 0), fixed_length=8,
                  codebook=Codebook(0, 0, np.float32(2).tobytes()), integer_codebook=IntegerCodebook(0, 0, [2]))
    assert (decode_past_digests(made([TensorDescriptor(component=[c])], payload=b"")) == 2).all()


def decode_past_digests(stream: bytes) -> np.ndarray:
    """The first tensor of a made stream, whose digests are wrong."""
    with StreamDecoder(stream) as decoder:
        decoder.compare_digests = lambda *_: None
        dtype = decoder.parsed.models[0].state.dtype(0)
        return decoder.words(0, 0).view(dtype.numpy).reshape(decoder.parsed.models[0].state.tensors[0].dimension)


# Memory

LARGE = (1000, 1400)
LARGE_NAMES = ("words of one row", "bytes", "levels", "differences", "low rank", "update", "decomposed")
SLACK = 12 << 20           # what is in flight however large a tensor is


def large_streams() -> dict[str, tuple[bytes, Model | None]]:
    """Tensors of 1.4 million elements whose working memory is far beyond that of their words."""
    count, levels = LARGE[0] * LARGE[1], np.random.default_rng(1).integers(-3, 4, LARGE)
    base = Model([Tensor("t0", weights(LARGE, BY_NAME["bfloat16"].numpy))])
    spatial, inter = (TensorDescriptor(prediction_mode=mode, reference_index=1) for mode in (P.SPATIAL, P.INTER))
    mask = of(R.RANDOM_MASK, P.INTER, LARGE, random_density=(1 << 32) - 1, selected_count=count)
    low, update = (of(kind, P.INTER, LARGE, factor_rank=200) for kind in (R.LOW_RANK, R.LOW_RANK_UPDATE))
    square, small = (256, 256), Model([Tensor("t0", weights((256, 256), BY_NAME["bfloat16"].numpy))])
    gains = of(R.AUGMENTATION, P.INTER, square, factor_rank=256, gain_count_minus1=255)
    row = part(Q.NONE, E.DEFLATE, np.zeros((1, count), np.uint16), "bfloat16")
    flat = part(Q.UNIFORM, E.CC, np.zeros(LARGE), uniform=STEP)
    fixed = part(Q.FIXED_POINT, E.FIXED, levels, fixed_point=FixedPoint(8, 9))
    kinds = {"dtype": "bfloat16", "shape": LARGE}
    with_base = {**kinds, "reference": base}

    def full(d: TensorDescriptor) -> list[Part]:
        return [part(Q.UNIFORM, E.FIXED, np.ones(s, np.int64), uniform=STEP) for s in derive.component_shapes(d)]

    return {
        "words of one row": (made(mask, row, **with_base), base),
        "bytes": (made(spatial, flat, dtype="uint8", shape=LARGE), None),
        "levels": (made(TensorDescriptor(), part(Q.DECIMAL, E.RAW, levels), **kinds), None),
        "differences": (made(inter, fixed, **with_base), base),
        "low rank": (made(low, *full(low), **with_base), base),
        "update": (made(update, *full(update), **with_base), base),
        "decomposed": (made(gains, *full(gains), dtype="bfloat16", shape=square, reference=small), small),
    }


@pytest.fixture(scope="module")
def large() -> dict[str, tuple[bytes, Model | None]]:
    return large_streams()


def needed(stream: bytes, reference: Model | None) -> int:
    """What memory_of() tells of the first tensor, with its payloads and what is held of the stream's syntax."""
    with StreamDecoder(stream, [reference] if reference else []) as decoder:
        unit = decoder.parsed.models[0].tensor_units[0]
        return memory_of(unit.descriptors[0]) + sum(sum(p[1:]) for p in unit.places) + decoder.budget.held


@pytest.mark.parametrize("name", LARGE_NAMES)
def test_memory_is_what_was_asked_for(name, large):
    """Decoding takes no more than memory_of() tells, and not far less."""
    stream, reference = large[name]
    need = needed(stream, reference)
    tracemalloc.start()
    assert answer(stream, reference, max_memory=need) == SOUND
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert need / 4 < peak < need + 2 * len(stream) + SLACK


@pytest.mark.parametrize("name", LARGE_NAMES)
def test_a_smaller_budget_is_refused_before_memory_is_taken(name, large):
    stream, reference = large[name]
    need = needed(stream, reference)
    with at_most(bytes=(1 << 20) + 2 * len(stream)):
        assert answer(stream, reference, max_memory=need - 1) == ("reconstruction", "RESOURCE_LIMIT")


def test_all_large_streams_are_tried(large):
    assert set(large) == set(LARGE_NAMES)
