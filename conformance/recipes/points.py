"""The points of coverage that SPEC.md itself names: read from its syntax tables, enumerations, limits and requirements.

A point is `class:clause:rest`. Those of the classes branch and path come from the decoder's source (instrument.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from refcodec.bitstream.limits import Profile
from refcodec.bitstream.parser import _FOLLOWERS
from refcodec.bitstream.structures import (
    BY_DIFFERENCE,
    BY_NEIGHBOURS,
    DECOMPOSED,
    FACTORED,
    INDICES,
    NEAR_INDICES,
    RANGE_CODED,
    WORDS,
    EntropyMode,
    PredictionMode,
    Quantiser,
    Representation,
    SourceFormat,
    SpatialPredictor,
    UnitCoding,
    UnitType,
)
from refcodec.bitstream.units import CODED_TYPES, DICTIONARY_TYPES
from refcodec.dtypes import BY_CODE
from refcodec.entropy.modes import MODES, RangeCoded
from refcodec.quantization.rounding import supports

SPEC = Path(__file__).parents[2] / "SPEC.md"
CLASSES = {
    "clause": "a clause of which some other point is shown",
    "requirement": "a 'shall': with an error code, a stream that breaks it; else a stream that shows it",
    "branch": "a condition or loop of a syntax table, each way",
    "value": "each value of an enumeration, a flag or a short range, and a reserved one",
    "range": "an end of a range, its neighbour inside, and what lies outside",
    "limit": "a limit of a level, reached and passed",
    "unit": "a type of unit in a coding, and after another",
    "combination": "prediction, representation, quantiser and entropy mode that go together, by profile",
    "path": "a condition, Min, Max or Clip of the decoding process, each way",
    "context": "an adaptive context with each value of a bin",
    "coder": "the range coder: bytes shifted in, ends of range and code, ends of the estimator, carries of the encoder",
    "rounding": "how a value is rounded, by element type and by quantiser",
}
ENUMERATIONS = {
    e.__name__: e
    for e in (Profile, SourceFormat, PredictionMode, SpatialPredictor, Representation, Quantiser, EntropyMode)
}
SMALL = 16                                     # a range of so many values is shown value by value
FOLLOWING = {
    "coded_size", "version_major", "version_minor", "tensor_digest", "unit_digest", "model_count", "unit_count",
    "index_offset", "reference_digest", "model_digest", "model_seal", "unit_size", "bypass_size"
}  # values that follow from the rest of the stream
STRINGS = ("b", "str")


def text() -> str:
    return SPEC.read_text(encoding="utf-8")


def syntax() -> Iterator[tuple[str, str, str, str]]:
    """(clause, element, descriptor, range) of each line of the syntax tables; limits have the descriptor 'limit'."""
    for clause, body in re.findall(r"^```syntax ([\d.]+) \w+\n(.*?)^```", text(), re.MULTILINE | re.DOTALL):
        for line in body.splitlines():
            if m := re.match(r" *limit\( (\w+)[^,]*, level\.(\w+)", line):
                yield clause, m[1], "limit", m[2]
            elif m := re.match(r" *(\w+)(?:\[ \w+ \])* +((?:u|ue|se|b|str)\(.*?\)(?=\s{2}|$)) *(.*)", line):
                yield clause, m[1], m[2], m[3].strip()


def elements() -> set[str]:
    """Points of values, ranges and limits."""
    found = set()
    for clause, name, descriptor, values in syntax():
        kind = descriptor.split("(")[0]
        if kind == "limit":
            found |= {f"limit:{clause}:{name}:max", f"limit:{clause}:{name}:above"}
        elif values in ENUMERATIONS:
            found |= {f"value:{clause}:{name}:{m.name}"
                      for m in ENUMERATIONS[values]} | {f"value:{clause}:{name}:reserved"}
        elif values:
            found |= _range(clause, name, descriptor, *values.split(".."))
        elif name not in FOLLOWING and kind not in STRINGS:
            found |= _free(clause, name, kind, descriptor)
    found |= {f"value:6.4.2:element_type:{t.name}" for t in BY_CODE.values()} | {"value:6.4.2:element_type:reserved"}
    return found


def _range(clause: str, name: str, descriptor: str, low: str, high: str) -> set[str]:
    numbers = [int(x) if re.fullmatch(r"-?\d+", x) else None for x in (low, high)]
    full = numbers[
        1] is not None and descriptor == f"u({(numbers[1] + 1).bit_length() - 1})" and not numbers[1] & numbers[1] + 1
    outside = {"above"} if high and not full else set()
    if descriptor == "se(v)" or numbers[0] is None or numbers[0] > 0:
        outside.add("below")
    if None not in numbers and numbers[1] - numbers[0] < SMALL:
        inside = {f"value:{clause}:{name}:{v}" for v in range(numbers[0], numbers[1] + 1)}
    else:
        inside = {f"range:{clause}:{name}:{end}" for end in ("min", "min+1", *(("max-1", "max") if high else ()))}
    return inside | {f"range:{clause}:{name}:{side}" for side in outside}


def _free(clause: str, name: str, kind: str, descriptor: str) -> set[str]:
    if kind == "u" and name != "element_type":
        bits = int(descriptor[2:-1])
        if 1 << bits <= SMALL:
            return {f"value:{clause}:{name}:{v}" for v in range(1 << bits)}
        return {f"range:{clause}:{name}:{end}" for end in ("min", "max")}
    signs = {"ue": ("zero", "positive"), "se": ("negative", "zero", "positive")}
    return {f"range:{clause}:{name}:{sign}" for sign in signs.get(kind, ())}


DERIVED_LIMITS = {                             # limits that no syntax table has: (clause, name in the code)
    "tensor elements": ("7.4.2", "tensor_elements"), "tensor bytes": ("7.4.2", "tensor_memory"),
    "nesting of predictions": ("7.7.1", "nesting"), "size to decompose": ("7.7.1", "decomposition_size"),
    "joined elements": ("7.7", "joined_elements"), "decoding_work": ("7.7", "decoding work"),
    "string length": ("4.4", "name_length"),
}


def limits() -> set[str]:
    found = {f"limit:{clause}:{name}:{end}" for clause, name in DERIVED_LIMITS.values() for end in ("max", "above")}
    found.discard("limit:7.7.1:decomposition_size:max")            # a matrix of 256 rows; its side is the limit below
    return found | {"limit:7.2:units:max", "limit:7.4:models:max", "limit:7.2:unit_bytes:max",
                    "limit:7.7.1:decomposition_size:max"}


def units() -> set[str]:
    """Types of units in each coding, and each pair of neighbours (7.1, 7.2)."""
    found = {f"unit:7.1:{UnitType(a).name} {UnitType(b).name}" for a, after in _FOLLOWERS.items() for b in after}
    for t in UnitType:
        codings = [UnitCoding.PLAIN, *([UnitCoding.DEFLATE, UnitCoding.LZMA] if t in CODED_TYPES else []),
                   *([UnitCoding.DEFLATE_HEADER] if t in DICTIONARY_TYPES else [])]
        found |= {f"unit:7.2:{t.name} {c.name}" for c in codings}
    return found | {f"unit:7.2:extension {c.name}"
                    for c in UnitCoding} | {"unit:7.1:joined", "unit:7.1:single", "unit:7.1:no payload"}


def allowed(prediction: PredictionMode, representation: Representation, quantiser: Quantiser, entropy: EntropyMode,
            words: bool) -> bool:
    """The rules of 7.7.1 and 7.7.3 for a tensor of type float32 (words: one without levels)."""
    by_difference = prediction in BY_DIFFERENCE
    if prediction == PredictionMode.COPY or (quantiser in WORDS) != words:
        return False
    if prediction in BY_NEIGHBOURS and (representation != Representation.DIRECT or quantiser not in NEAR_INDICES):
        return False
    if representation in FACTORED and quantiser not in INDICES or representation in DECOMPOSED and not by_difference:
        return False
    if by_difference and quantiser in (Quantiser.GRID, Quantiser.CODEBOOK):
        return False
    return entropy.facts.codes(words)


def combinations() -> set[str]:
    return {f"combination:7.7.3:{p.name} {r.name} {q.name} {e.name}" for p in PredictionMode for r in Representation
            for q in Quantiser for e in EntropyMode if allowed(p, r, q, e, q in WORDS)} | {
            f"combination:7.7.3:joined {q.name} {e.name}" for q in Quantiser for e in RANGE_CODED
            if allowed(PredictionMode.NONE, Representation.DIRECT, q, e, q in WORDS)}


# Contexts: groups of many like points, by the name of the group.

def contexts() -> dict[str, list[str]]:
    """Group of contexts to the names of its points, number=bin."""
    tables = [coder.table for row in MODES.values() if isinstance(row, RangeCoded)
              for coder in (row.words, row.levels) if coder]
    return {f"context:{table.clause}:{group}": names for table in tables for group, names in table.groups().items()}


# The range coder and the estimator.

CODER = {f"coder:9.1.2:{n} bytes shifted in"
         for n in (0, 1, 2)} | {f"coder:9.1.3:{n} bytes shifted in" for n in (0, 1)} | {
             f"coder:9.1.2:{what}"
             for what in ("code = bound", "code = bound - 1", "code = 0", "code = range - 1", "range = 2^24",
                          "range = 2^32 - 1", "range below 2^24 + 2^16", "range from 2^32 - 2^16 on")
         } | {
             f"coder:9.1.3:{what}"
             for what in ("chunk 0 of 8 bits", "chunk 255", "code // range above the chunk", *(f"{k} bits"
                                                                                               for k in range(1, 9)))
         } | {
             f"coder:9.2:{what}" for what in ("p clipped to 32", "p clipped to 65504", "p = 0", "count 250 of levels",
                                              "count 1023 of words")
         } | {
             f"coder:9.1.4:{what}"
             for what in ("carry into a byte", "carry through one 0xFF", "carry through two 0xFF or more",
                          "one 0xFF without carry", "two 0xFF or more without carry", "payload of 1 byte")
         } | {f"coder:9.4.3:{what}" for what in ("p = 32", "p = 65504")}


def rounding() -> set[str]:
    """How values become words, by type; and by quantiser for float32, bfloat16 and int8."""
    found = set()
    for t in (t for t in BY_CODE.values() if t.parts == 1 and supports(t)):
        if t.kind == "f":
            events = {"largest", "smallest subnormal", "subnormal", "overflow"
                      } | (set() if t.name.endswith("fnuz") else {"-0"})
            if t.name != "float64":
                events |= {
                    "tie to even below", "tie to even above", "up", "down", "carry into the exponent", "underflow to 0"
                }
        else:
            events = {"least", "greatest", "below the least", "above the greatest", "tie to even below"}
            events |= set() if t.name == "bool" else {"tie to even above"}
        found |= {f"rounding:8.5.2:{t.name}: {e}" for e in events}
    for q in ("UNIFORM", "trellis", "DECIMAL", "FIXED_POINT", "INTEGER_CODEBOOK", "GRID", "factors"):
        found |= {
            f"rounding:8.5:{q}: {e}" for e in ("tie to even below", "tie to even above", "subnormal", "-0", "largest")
        }
    return found


def error_codes() -> dict[str, list[str]]:
    """Error codes of Annex B.1 to the requirements that name them."""
    table = text().split("### B.1")[1].split("### B.2")[0]
    rows = re.findall(r"^\| ([A-Z_]+) \|.*\| ([^|]+) \|$", table, re.MULTILINE)
    return {code: re.findall(r"R[0-9.]+-\d+", ids) for code, ids in rows}


def requirements() -> list[str]:
    """All requirements, in their order."""
    return list(dict.fromkeys(re.findall(r"\[(R\d[\d.]*-\d+)\]", text())))


def clauses() -> list[str]:
    """Clauses 4 to 9 that hold a rule; not those of conventions, overviews, examples and tables."""
    found = re.findall(r"^#{2,4} ([4-9](?:\.\d+)*) (.*)", text(), re.MULTILINE)
    return [
        number for number, title in found
        if not re.search(r"informative|General|Overview|Operators|Pseudo-code|Examples|Tables$", title)
        and not number.startswith("5")
    ]


def wanted() -> set[str]:
    """All points but those of contexts, branches and paths."""
    found = elements() | limits() | units() | combinations() | CODER | rounding()
    found |= {f"requirement:{re.match(r'R([0-9.]+)-', r)[1]}:{r}" for r in requirements()}
    return found | {f"clause:{c}:{c}" for c in clauses()}
