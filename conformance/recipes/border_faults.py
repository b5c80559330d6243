"""Single faults one step beyond the borders that borders.py shows: each value is the first that is wrong."""

from __future__ import annotations

from collections.abc import Iterator

from refcodec.bitstream.structures import UnitType
from refcodec.bitstream.units import leb

from .borders import (
    SHIFTED,
    WIDTHS,
    index_borders,
    largest_shift,
    last_symbol,
    wide_by_one,
)
from .edits import EditedStream, EditedUnit, put
from .edits import payload as payload_of
from .faults import Fault, fault
from .huffman_scripts import TWO_INDICES, VALUES, first_value, huffman, table
from .scripts import packed, u, ue

HEADER, MODEL, TOPOLOGY, LAYERS, DATA, METADATA, INDEX, END, LAST = UnitType
ALLOWED = {  # the table of 7.1
    HEADER: (MODEL, LAST),
    MODEL: (TOPOLOGY, LAYERS, DATA, METADATA, INDEX, END),
    TOPOLOGY: (LAYERS, DATA, METADATA, INDEX, END),
    LAYERS: (DATA, METADATA, INDEX, END),
    DATA: (DATA, METADATA, INDEX, END),
    METADATA: (INDEX, END),
    INDEX: (END,),
    END: (MODEL, LAST),
}


def orders() -> Iterator[Fault]:
    """Each unit after each that it may not follow, and each but the stream header first; the rest is in order."""

    def pair(before: UnitType | None, after: UnitType):
        def edit(s: EditedStream) -> None:
            begun = [] if before is None else s.units[: s.number(before) + 1]
            rest = s.units[1:] if after == HEADER else [s.of(kind) for kind in (END, LAST) if kind > after]
            s.units = [*begun, s.of(after), *rest]

        return edit

    for before, allowed in ALLOWED.items():
        for after in UnitType:
            if after not in allowed:
                yield fault(
                    "R7.1-2",
                    f"{short(before)}-{short(after)}",
                    "units-plain",
                    pair(before, after),
                    "ORDER",
                    f"{after.name} after {before.name}",
                )
    for kind in UnitType:
        if kind != HEADER:
            yield fault(
                "R7.1-2",
                f"first-{short(kind)}",
                "units-plain",
                pair(None, kind),
                "ORDER",
                f"{kind.name} is the first unit",
            )


def short(kind: UnitType) -> str:
    return kind.name.lower().replace("_", "")


def sizes() -> Iterator[Fault]:
    """leb(v) of the most bytes, and of one more: of units that no stream is long enough for."""

    def unit(coding: int, *fields: bytes):
        def edit(s: EditedStream) -> None:
            s.units.insert(
                1,
                EditedUnit(33, coding, coded=b"x", expanded_size=1, head=bytes([33 << 2 | coding]) + b"".join(fields)),
            )

        return edit

    largest, eight = leb((1 << 63) - 1), leb((1 << 56) - 1)
    for name, size in (
        ("nine", largest),
        ("eight", eight),
        ("near", leb((1 << 63) - 5)),
        ("word", leb(1 << 32)),
        ("past", leb(1 << 62)),
    ):
        yield fault(
            "R7.1-3",
            f"leb-{name}",
            "smoke",
            unit(0, size),
            "TRUNCATED",
            f"a coded_size of {len(size)} bytes, beyond the stream",
        )
    ten = bytes([128] * 9 + [1])
    yield fault("R4.4-6", "ten", "smoke", unit(0, ten), "FORBIDDEN_PATTERN", "a coded_size of ten bytes")
    yield fault(
        "R4.4-6", "ten-expanded", "smoke", unit(1, leb(1), ten), "FORBIDDEN_PATTERN", "an expanded_size of ten bytes"
    )
    yield fault(
        "R4.4-6",
        "nine-zero",
        "smoke",
        unit(0, bytes([255] * 8 + [0])),
        "FORBIDDEN_PATTERN",
        "nine bytes of leb(v), the last of them 0",
    )
    yield fault(
        "R4.4-6",
        "zero-expanded",
        "smoke",
        unit(1, leb(1), b"\x81\0"),
        "FORBIDDEN_PATTERN",
        "expanded_size ends with a byte 0",
    )

    def longer(s: EditedStream) -> None:
        unit = s.of(METADATA)
        unit.expanded_size, unit.check = unit.expanded_size + 1, None

    yield fault("R7.2-6", "one", "b-body", longer, "RESOURCE_LIMIT", "an expanded_size one byte beyond level 1")


def models() -> Iterator[Fault]:
    """One reference more than level 1 allows."""

    def edit(s: EditedStream) -> None:
        listed = s.of(MODEL, 5).elements
        at = [i for i, e in enumerate(listed) if e.name in ("external_flag", "model_distance")]
        s.of(MODEL, 5).find("reference_count").value = 5
        listed[at[-1] + 1 : at[-1] + 1] = listed[at[0] : at[1] + 1]

    yield fault("R7.4-5", "references", "b-references", edit, "RESOURCE_LIMIT", "a model with five references")


def shifts() -> Iterator[Fault]:
    """word_shift and map_shift one beyond the largest of a type; of 64 bits no more can be written."""
    for i, t in enumerate(SHIFTED):
        if largest_shift(t) < 63:
            n, name = largest_shift(t) + 1, t.name.replace("_", "")
            yield fault(
                "R4.4-7",
                f"wordshift-{name}",
                "b-word-shifts",
                put(DATA, "word_shift", n, unit=i),
                "OUT_OF_RANGE",
                f"word_shift {n} of {t.name}",
            )
            yield fault(
                "R9.6-1",
                f"{name}-{n}",
                "b-map-shifts",
                payload_of(lambda d, n=n: bytes([d[0] & 0xC0 | n]) + d[1:], unit=i, name="bypass"),
                "OUT_OF_RANGE",
                f"map_shift {n} of {t.name}",
            )


def values() -> Iterator[Fault]:
    """Levels just beyond a width, indices just outside a codebook."""
    for i, (name, _, _, coded) in enumerate(wide_by_one()):
        w = coded.parts[0].component.fixed_point.fixed_point_width - 1
        assert w in WIDTHS
        yield fault(
            "R8.5-10",
            name.replace(" ", "_").lower().replace("-", "m"),
            "b-widths",
            put(DATA, "fixed_point_width", w, unit=i),
            "OUT_OF_RANGE",
            f"the level {name.split()[1]} of {w} bits",
        )
    for unit, requirement in enumerate(("R8.5-7", "R8.5-11")):
        for zero, what in ((3, "after the last"), (1, "before the first")):
            yield fault(
                requirement,
                f"end-{zero}",
                "b-codebooks",
                put(DATA, "zero_index", zero, unit=unit),
                "OUT_OF_RANGE",
                f"an index {what} entry",
            )


def codes() -> Iterator[Fault]:
    """Huffman codes: symbols one beyond that of the bound, one entry too many, codewords of 21 bits."""
    for i, (name, *_) in enumerate(index_borders()):
        precision, bound = map(int, name.split())
        last, _ = last_symbol(bound, precision)
        gap = table(2, ue(0), ue(0) + u(0, 6) + ue(last - 1), [1, 1])
        for kind, indices, entries in (
            ("gap", gap, ("0" + "10",)),
            ("first", table(1, ue(last + 1), "", [0]), ("10",)),
        ):
            data = huffman(bound=bound, precision=precision, indices=(indices,), entries=entries, count=60)
            yield fault(
                "R9.7.3-3",
                f"{kind}-{precision}-{bound}",
                "b-huffman-bounds",
                payload_of(lambda _, d=data: d, unit=i),
                "OUT_OF_RANGE",
                f"an index symbol one beyond that of the bound {bound}, precision {precision}",
            )
    lone = table(1, ue(0), "", [0])
    full = huffman(indices=(lone,), entries=("10",) * 25)
    yield fault(
        "R9.7.1-1",
        "huffman-one-more",
        "p-huffman-levels",
        payload_of(lambda _: full),
        "OUT_OF_RANGE",
        "25 entries of 24 elements",
    )
    deep = [*range(1, 21), 21, 21]
    runs = {
        "values": (table(22, first_value(1, 2), ue(21), deep), TWO_INDICES),
        "indices": (VALUES, table(22, ue(0), ue(21), deep)),
    }
    for name, (listed, indices) in runs.items():
        data = huffman(listed, 24, 15, (), (indices,), ("0" + "0",), 96)
        yield fault(
            "R9.7.3-1",
            f"huffman-deep-{name}",
            "b-huffman-deep",
            payload_of(lambda _, d=data: d),
            "OUT_OF_RANGE",
            f"codewords of 21 bits of {name}",
        )
    yield fault(
        "R9.7.1-3",
        "huffman-none",
        "p-huffman-levels",
        payload_of(lambda _: packed(u(0, 5) + "00000001")),
        "ENTROPY_END",
        "bits after no entries",
    )


def faults() -> Iterator[Fault]:
    """All faults of this module."""
    for part in (orders, sizes, models, shifts, values, codes):
        yield from part()
