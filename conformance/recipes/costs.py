"""Work and memory as numbers (SPEC A.3), nested counts in sum: streams at the limits of level 1, and beyond them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from refcodec.bitstream.limits import LEVELS, Profile
from refcodec.bitstream.parser import Parser
from refcodec.bitstream.structures import (
    FileEntry,
    LayerDescriptor,
    LayerDescriptors,
    LayerTensor,
    PredictionMode,
    Representation,
    SegmentEntry,
    Topology,
    UnitType,
)
from refcodec.bitstream.units import ByteSource

from .builder import Builder, Coded
from .edits import EditedStream, EditedUnit, change, put
from .faults import Fault, fault
from .parts import MODES, codebook, direct, integer_codebook, levels, represented, words
from .streams import Recipe

DATA, MODEL = UnitType.TENSOR_DATA, UnitType.MODEL_HEADER
TOPOLOGY, LAYERS = UnitType.TOPOLOGY, UnitType.LAYER_DESCRIPTORS
ONE, SIDE, ENTRIES = LEVELS[1], 256, 4096
SLOT = 1 << 20


def recipes() -> Iterator[Recipe]:
    work, tensors, memory = work_of_items, work_of_tensors, memory_of_columns
    for name, purpose, write in (
            ("work", "as much excess work, by entries of lists, as level 1 allows", fitted(work)),
            ("work-tensors", "as much excess work, by decompositions, as level 1 allows", fitted(tensors)),
            ("memory", "as much memory, by columns of words, as level 1 allows", fitted(memory)),
            ("files", "source files as large as level 1 allows", lambda b: slots(b, 6, 0)),
            ("files-varint", "slots in VARINT, of which a tenth counts", lambda b: slots(b, 5, 10)),
            ("segments-sum", "segments of two files, as many together as level 1 allows", segments),
            ("layer-tensors", "tensors of five layers, as many together as level 1 allows", layers)):
        yield Recipe(f"limit-{name}", purpose, write, kind="limit", profile=int(name == "work-tensors"))
    for make, name in ((work, "work"), (memory, "memory")):
        yield Recipe(f"level-2-{name}", f"a little more {name} than level 1 allows", fitted(make, 32), level=2)
    yield Recipe("costs", "one tensor of each representation: what each is counted for", representations, profile=1)


# Streams that are filled up to a limit

Shape = Callable[[Builder, int, str], None]         # (where to, a number to be chosen, a name that fills up)


def fitted(make: Shape, beyond: int = 0) -> Callable[[Builder], None]:
    """A stream of `make` that reaches the limit of level 1, or passes it by `beyond`, exactly."""
    def cost(number: int, name: str) -> int:
        trial = Builder(Profile.MAIN, level=2)
        make(trial, number, name)
        found = Parser(ByteSource(bytes(trial.data))).parse().cost
        return found.memory() if make is memory_of_columns else found.work()

    def write(b: Builder) -> None:
        wanted = (ONE.memory if make is memory_of_columns else ONE.work) + beyond
        base = 1 << 21 if make is memory_of_columns else 1        # of as many bits as the number that is found
        step = cost(base + 1, "") - cost(base, "")
        for length in range(256):
            left = wanted - cost(base, "n" * length)
            if left % step == 0:
                make(b, base + left // step, "n" * length)
                return
        raise ValueError(f"no name fills up to {wanted} in steps of {step}")

    return write


def constant(shape: tuple[int, int], dtype: str = "float32", entries: int = 1) -> Coded:
    """A tensor, or its part below, of which nothing is coded but a codebook. entries: of the codebook, which are 0."""
    part = levels(np.zeros(shape), integer_codebook([0] * entries, 0), dtype=dtype)
    part.array = part.array if entries > 1 else None
    return direct(part)


def work_of_items(b: Builder, number: int, name: str) -> None:
    """Entries of codebooks: eight thousandths of a millisecond each. number: of the last codebook."""
    count = 31
    b.model(name, [(f"t{i}", "float32", (1, 1)) for i in range(count + 1)])
    for i in range(count):
        b.tensors((i, constant((1, 1), entries=ENTRIES)))
    b.tensors((count, constant((1, 1), entries=number + 1)))
    b.end_model()
    b.end()


def mapping(rank: int, delta: int) -> Coded:
    """A tensor of a decomposition, with a constant factor of which nothing is coded."""
    return represented(Representation.MAPPING, [constant((SIDE, rank)).parts[0]], PredictionMode.INTRA, 0, delta,
                       factor_rank=rank)


def work_of_tensors(b: Builder, number: int, name: str) -> None:
    """Decompositions of a constant matrix. number: of a codebook, as one rank more is too coarse a step."""
    count = 59
    b.model(name, [*((f"t{i}", "float8_e4m3fn", (SIDE, SIDE)) for i in range(count + 1)), ("fill", "float32", (1, 1))])
    c = direct(levels(np.zeros((SIDE, SIDE)), codebook(np.array([0x38], np.uint8), 0), dtype="float8_e4m3fn"))
    c.parts[0].array = None
    b.tensors((0, c))
    for i in range(1, count + 1):
        b.tensors((i, mapping(1 if i > 1 else 97, -i)))
    b.tensors((count + 1, constant((1, 1), entries=number + 1)))
    b.end_model()
    b.end()


def memory_of_columns(b: Builder, number: int, name: str) -> None:
    """An empty tensor of many columns. number: of columns."""
    b.model(name, [("w", "uint8", (0, number))])
    b.tensors((0, direct(words("uint8", np.zeros((0, number), np.uint8)))))
    b.end_model()
    b.end()


# Nested counts

def ones(shape: tuple[int, int]) -> Coded:
    """A constant tensor of uint8, of which nothing is coded."""
    c = direct(levels(np.zeros(shape), codebook(np.array([3], np.uint8), 0), dtype="uint8"))
    c.parts[0].array = None
    return c


def slots(b: Builder, plain: int, varint: int) -> None:
    """One tensor of a mebibyte in many slots."""
    entries = [SegmentEntry(1, 0, -1 if i else 0, 0 if i < plain else 2, SLOT) for i in range(plain + varint)]
    b.model("m", [("w", "uint8", (1, SLOT))])
    b.topology(Topology(1, 1, [FileEntry("m.onnx", len(entries), entries)]))
    b.tensors((0, ones((1, SLOT))))
    b.end_model()
    b.end()


def segments(b: Builder) -> None:
    half = ONE.segments // 2
    b.model("m", [("w", "uint8", (1, 1))])
    slots = [[SegmentEntry(1, 0, -1 if i + k else 0, 0, 1) for i in range(half)] for k in range(2)]
    b.topology(Topology(1, 2, [FileEntry(name, half, own) for name, own in zip("ab", slots)]))
    b.tensors((0, ones((1, 1))))
    b.end_model()
    b.end()


def layers(b: Builder) -> None:
    counts = [ONE.tensors, ONE.tensors, ONE.tensors, ONE.tensors - 1, 1]
    b.model("m", [("w", "uint8", (1, 1))])
    b.layers(LayerDescriptors(5, [LayerDescriptor("", "", "", n, [LayerTensor() for _ in range(n)]) for n in counts]))
    b.tensors((0, ones((1, 1))))
    b.end_model()
    b.end()


def representations(b: Builder) -> None:
    """Wide and tall matrices of each representation, a joined unit, a copy, words and levels."""
    both = ((6, 20), (20, 6))
    kinds = [Representation.LOW_RANK, Representation.MAPPING, Representation.AUGMENTATION,
             Representation.LOW_RANK_UPDATE]
    table = [("wide", "float32", both[0]), ("tall", "float32", both[1])]
    table += [(f"{k.name} {shape[0]}", "float32", shape) for k in kinds for shape in both]
    table.append(("words", "int16", (3, 5)))
    b.model("costs", table)
    start = np.arange(120, dtype=np.float32)
    for i, shape in enumerate(both):
        b.tensors((i, direct(words("float32", start.reshape(shape).view(np.uint32), MODES.RAW))))
    for i, (kind, shape) in enumerate((k, shape) for k in kinds for shape in both):
        rows, columns = shape
        sizes = {Representation.LOW_RANK: [(rows, 3), (3, columns)], Representation.MAPPING: [(rows, 3)],
                 Representation.AUGMENTATION: [(1, 4), (rows, 3), (3, columns)],
                 Representation.LOW_RANK_UPDATE: [(rows, 3)]}[kind]
        factor = {"factor_rank": 3, "additive_flag": 1, "gain_count_minus1": 3, "random_seed": 1}
        parts = [levels(np.ones(size, np.int32), integer_codebook([0, 1], 0)) for size in sizes]
        b.tensors((2 + i, represented(kind, parts, PredictionMode.INTRA, 0, -2 - i + i % 2, **factor)))
    b.tensors((len(table) - 1, direct(words("int16", np.arange(15, dtype=np.uint16).reshape(3, 5)))))
    b.end_model()
    b.end()


def faults() -> Iterator[Fault]:
    """A little more than the streams above have."""
    def beyond(requirement: str, name: str, parent: str, edit, purpose: str) -> Fault:
        return fault(requirement, name, parent, edit, "RESOURCE_LIMIT", purpose)

    def longer(name: str | bytes) -> str:
        return str(name) + "n"

    yield beyond("R7.2-10", "body", "limit-work", change(MODEL, "model_name", longer), "a byte of a body too many")
    yield beyond("R7.2-10", "unit", "limit-work", lambda s: s.units.insert(2, EditedUnit(32)),
                 "an extension unit too many")
    yield beyond("R7.2-10", "items", "limit-work", _one_more,
                 "an entry of a codebook too many")
    yield beyond("R7.2-10", "product", "limit-work-tensors", change(DATA, "factor_rank", lambda n: n + 1, unit=1),
                 "a rank too many")
    yield beyond("R7.2-11", "columns", "limit-memory", change(MODEL, "dimension", lambda n: n + 1, nth=1),
                 "a column too many")
    yield beyond("R7.2-11", "body", "limit-memory", change(MODEL, "model_name", longer), "a byte of a body too many")
    yield beyond("R7.5-1", "slot", "limit-files", put(TOPOLOGY, "slot_size", SLOT + 1, 5), "a byte of a slot too many")
    yield beyond("R7.5-1", "huge", "limit-files", put(TOPOLOGY, "slot_size", 2**63, 0), "a slot of 2^63 bytes")
    yield beyond("R7.5-1", "varint", "limit-files-varint", put(TOPOLOGY, "slot_size", 10 * SLOT, 14),
                 "a tenth of a slot in VARINT is too many bytes")
    yield beyond("R7.5.1-1", "sum", "limit-segments-sum", put(TOPOLOGY, "segment_count", ONE.segments // 2 + 1, 1),
                 "a segment too many in two files")
    yield beyond("R7.6.1-1", "sum", "limit-layer-tensors", put(LAYERS, "layer_tensor_count", 2, 4),
                 "a tensor too many in five layers")


def _one_more(s: EditedStream) -> None:
    """An entry more in the last codebook."""
    unit = s.of(DATA, 31)
    first = unit.find("codebook_integer")
    unit.find("codebook_size_minus1").value += 1
    unit.elements.insert(unit.elements.index(first), replace(first))
