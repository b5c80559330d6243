"""SPEC.md against the code, in both directions: syntax, enumerations, levels, constants, tables, errors, ids."""

from __future__ import annotations

import ast
import hashlib
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import syntax_tables  # noqa: E402

import refcodec.errors as errors  # noqa: E402
from refcodec.bitstream import derive, parser, structures  # noqa: E402
from refcodec.bitstream.limits import LEVELS, Profile  # noqa: E402
from refcodec.dtypes import BY_CODE  # noqa: E402
from refcodec.entropy import (  # noqa: E402
    huffman,
    huffman_loop,
    levels,
    map_loop,
    mixed_coding,
    range_coder,
    tables,
    word_loop,
)
from refcodec.model import Role, SlotCoding  # noqa: E402
from refcodec.quantization.rounding import NARROW_FORMATS  # noqa: E402
from refcodec.quantization.uniform import TRELLIS, trellis  # noqa: E402

SPEC = (ROOT / "SPEC.md").read_text()
CODE = syntax_tables.SYNTAX_PY.read_text()


# Markdown tables of SPEC, found by the first cell of their head.

def tables_with(first: str) -> list[list[list[str]]]:
    """Rows (lists of cells, the head first) of each table whose head begins with the cell `first`."""
    found = []
    for block in re.findall(r"(?:^\|.*\|\n)+", SPEC, re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        if rows[0][0] == first:
            found.append([rows[0], *rows[2:]])
    return found


def table(first: str) -> list[list[str]]:
    """The rows, without the head, of the only such table."""
    (rows,) = tables_with(first)
    return rows[1:]


def number(cell: str) -> int:
    """A number of SPEC: decimal, hexadecimal, or a power of two as 2^n."""
    base, _, power = cell.partition("^")
    return int(base, 0) ** int(power or 1)


# Syntax

def test_syntax_tables_agree():
    assert syntax_tables.differences(CODE, SPEC) == []
    assert len(syntax_tables.tables_of_spec(SPEC)) >= 20


def test_syntax_tables_are_complete():
    from refcodec.bitstream.syntax import STRUCTURES
    assert {n: c for n, (c, _) in STRUCTURES.items()} == {
        n: c for n, (c, _) in syntax_tables.tables_of_spec(SPEC).items()}


@pytest.mark.parametrize("before, after", [
    ("                              u(16) ", "                              u(17) "),
    ("limit( rank, level.rank )\n", ""),
    ("```syntax 6.10 model_end", "```syntax 6.12 model_end"),
    ("```syntax 6.3 stream_header", "```syntax 6.3 stream_heading"),
    ("if( !inherit_flag )", "if( inherit_flag )"),
    ("  -1074..970", "  -1074..971"),
])
def test_an_edit_of_the_text_alone_is_noticed(before, after):
    assert SPEC.count(before) == 1
    assert syntax_tables.differences(CODE, SPEC.replace(before, after))


@pytest.mark.parametrize("before, after", [
    ('v.u("step_mantissa", x.step_mantissa, 16, 1, 65535)', 'v.u("step_mantissa", x.step_mantissa, 16, 0, 65535)'),
    ('    derive.check_fold(v, x)\n', ''),
    ('@structure("6.10")', '@structure("6.12")'),
    ('if x.external_flag:', 'if not x.external_flag:'),
    ('v.b("reference_digest", x.reference_digest, 32)', 'v.b("reference_digest", x.reference_digest, 31)'),
    ('v.limit("rank", x.rank, v.level.rank)', 'v.limit("rank", x.rank, v.level.layers)'),
    ('0, Quantiser)', '0, EntropyMode)'),
])
def test_an_edit_of_the_code_alone_is_noticed(before, after):
    assert CODE.count(before) == 1
    assert syntax_tables.differences(CODE.replace(before, after), SPEC)


def test_every_structure_has_its_semantics():
    headings = set(re.findall(r"^#+ (7[\d.]*) ", SPEC, re.MULTILINE))
    for name, (clause, _) in syntax_tables.tables_of_code(CODE).items():
        assert "7" + clause[1:] in headings, name


def test_every_element_and_every_rule_is_explained():
    semantics = SPEC[SPEC.index("\n## 7 "):SPEC.index("\n## 8 ")]
    for name, (_, text) in syntax_tables.tables_of_code(CODE).items():
        for line in text.splitlines():
            rule = re.match(r"\s*derive\( (\w+)", line)
            element = re.match(r"\s*(\w+)(?:\[.*\])? +(?:u\(|ue\(|se\(|b\(|str\()", line)
            if rule:
                assert f"derive( {rule[1]}" in semantics, (name, rule[1])
            if element:
                explained = rf"\*\*{element[1]}\b|^\| {element[1]} \|"
                assert re.search(explained, semantics, re.MULTILINE), (name, element[1])
    for rule in set(re.findall(r"derive\( (\w+)", semantics)):
        assert callable(getattr(derive, rule))


# Enumerations, types, levels, constants

ENUMERATIONS = {
    "unit_type": structures.UnitType, "unit_coding": structures.UnitCoding, "profile": Profile,
    "source_format": structures.SourceFormat, "slot_coding": SlotCoding, "tensor_role": Role,
    "prediction_mode": structures.PredictionMode, "representation": structures.Representation,
    "quantiser": structures.Quantiser, "entropy_mode": structures.EntropyMode,
    "spatial_predictor": structures.SpatialPredictor,
}


@pytest.mark.parametrize("name", ENUMERATIONS)
def test_enumeration(name):
    assert {row[1]: int(row[0]) for row in table(name)} == {m.name: m.value for m in ENUMERATIONS[name]}


def test_sign_modes():
    assert [(int(r[0]), getattr(word_loop, r[1])) for r in table("word_sign_mode")] == [(0, 0), (1, 1), (2, 2)]


def test_unit_order_and_codings():
    found = {structures.UnitType[r[0]]: {structures.UnitType[n] for n in r[1].split(", ")} for r in table("after")}
    assert found == parser._FOLLOWERS
    from refcodec.bitstream.units import CODED_TYPES, DICTIONARY_TYPES
    rows = {structures.UnitType(int(r[0])): r[3] for r in table("unit_type")}
    assert {kind for kind, codings in rows.items() if codings != "PLAIN"} == set(CODED_TYPES)
    assert {kind for kind, codings in rows.items() if codings == "any"} == set(DICTIONARY_TYPES)


def test_element_types():
    def field(d, n):
        return str(n) if d.kind == "f" else "-"
    ours = [[str(d.code), d.name, d.kind, str(d.bits), field(d, d.sign), field(d, d.exponent), field(d, d.mantissa),
             str(d.parts)] for d in BY_CODE.values()]
    assert table("element_type") == ours


def test_levels():
    (rows,) = tables_with("limit")
    assert [int(n) for n in rows[0][1:5]] == list(LEVELS)
    spec = {row[0]: [number(c) for c in row[1:5]] for row in rows[1:]}
    fields = [f for f in LEVELS[1].__dataclass_fields__ if f != "number"]
    assert spec == {f: [getattr(level, f) for level in LEVELS.values()] for f in fields}


CONSTANTS = {
    range_coder: ("RANGE_START", "RANGE_MIN", "PROBABILITY_MIN", "PROBABILITY_MAX", "LEVEL_COUNT_LIMIT",
                  "WORD_COUNT_LIMIT"),
    derive: ("ENTRY_MIN_ELEMENTS",),
    levels: ("LEVEL_MAX", "CLASS_MAX", "NODES", "BUCKETS"),
    mixed_coding: ("SIDES", "SIDE_FIRST", "RATIOS", "WEIGHT_START", "WEIGHT_LIMIT", "LEARNING", "INPUT_LIMIT",
                   "TAP_LIMIT", "TAP_RATE"),
    word_loop: ("OCTAVE", "POWER_FLOOR", "ROW_WINDOW", "COLUMN_WINDOW", "OVERALL_WINDOW", "WEIGHT_MAX", "WINDOW_MAX",
                "ESCAPE_MAX", "ZERO_BUCKETS", "REPEAT_MAX", "UP_STEPS", "DOWN_STEPS", "PHASES", "SLOPES",
                "TRAILING_MAX"),
    huffman_loop: ("LENGTH_MAX", "INDEX_MAX", "MEAN_START"),
}


def test_constants():
    spec = {row[0]: number(row[1]) for rows in tables_with("constant") for row in rows[1:]}
    code = {name: getattr(module, name) for module, names in CONSTANTS.items() for name in names}
    assert spec == code


@pytest.mark.parametrize("number, module, names", [
    (0, word_loop, "ZERO SIGN ZERO_SIGN SHIFT REPEAT REPEAT_SIGN MANTISSA CLASS EXPONENT TRAILING"),
    (1, map_loop, "ZERO ZERO_PREDICTED ZERO_SIGN SAME UP LEFT BEFORE SIGN MANTISSA CLASS TRAILING")])
def test_first_contexts(number, module, names):
    """The first context of each kind, as SPEC 9.5.1 and 9.6.1 list them."""
    rows = tables_with("first context")[number][1:]
    assert [int(r[0]) for r in rows] == [getattr(module, f"{name}_PLACE") for name in names.split()]
    assert int(rows[-1][0]) + int(rows[-1][1]) == module.CONTEXTS


def test_trellises():
    found = tables_with("states")
    assert found
    for rows in found:
        states = [int(n) for n in rows[0][1:]]
        assert [(int(a), int(b)) for a, b in zip(rows[1][1:], rows[2][1:])] == [trellis(s) for s in states]
        assert set(TRELLIS) <= set(states)
        assert all(levels.trellis_masks(s) == trellis(s) for s in states)


def test_float_formats():
    rows = {r[0]: (int(r[2]), int(r[3], 0)) for r in table("type") if r[0] not in ("float64", "float32")}
    assert rows == NARROW_FORMATS


def test_table_digests():
    arrays = {"RATE": range_coder.RATE, "LOG_BUCKET": tables.LOG_BUCKET, "RECIPROCAL (9.3, 9.4)": tables.RECIPROCAL,
              "RECIPROCAL (9.5)": word_loop.RECIPROCAL, "SQUASH": tables.SQUASH, "STRETCH": tables.STRETCH}
    rows = table("table")
    assert {r[0] for r in rows} == set(arrays)
    for name, entries, _, digest in rows:
        assert int(entries) == len(arrays[name])
        assert digest == hashlib.sha256(np.asarray(arrays[name]).astype("<i4").tobytes()).hexdigest()


# Errors and requirements

PHASES = {name: kind.phase for name, kind in vars(errors).items() if isinstance(kind, type)}


def raised_codes() -> set[tuple[str, str]]:
    """(code, phase) of every error that the codec's text makes."""
    found = set()
    for path in (ROOT / "refcodec").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            arguments = node.args
            if name == "fail" and arguments and isinstance(arguments[0], ast.Name):
                name, arguments = arguments[0].id, arguments[1:]
            elif name == "_fail":
                name = "EntropyError"                      # PayloadReader
            elif name == "NotExpandable":
                name = "ContainerError"                    # bitstream/units.py
            if name in PHASES and arguments and isinstance(arguments[0], ast.Constant):
                found.add((arguments[0].value, PHASES[name]))
    return found | {(code, "entropy") for code, _ in huffman.ERRORS.values()}


def listed_codes() -> set[tuple[str, str]]:
    return {(row[0], phase) for rows in tables_with("code") for row in rows[1:] for phase in row[1].split(", ")}


def test_errors_agree():
    assert raised_codes() - listed_codes() == set(), "raised, but not in Annex B"
    assert listed_codes() - raised_codes() == set(), "in Annex B, but never raised"


def test_ids_are_unique_and_stand_in_their_clause():
    clause, seen = "", set()
    for line in SPEC.splitlines():
        heading = re.match(r"#+ (?:Annex )?([\dA-F][\d.]*) ", line)
        clause = heading[1] if heading else clause
        for requirement in re.findall(r"\[R([\dA-F.]+-\d+)\]", line):
            assert requirement not in seen, f"R{requirement} twice"
            seen.add(requirement)
            home = requirement.rpartition("-")[0]
            assert clause == home or clause.startswith(home + "."), f"R{requirement} stands in {clause}"
    cited = set(re.findall(r"\bR(\d+(?:\.\d+)*-\d+)", SPEC))
    assert cited == seen, "an id is cited that does not exist"
    assert len(seen) > 80


def test_clauses_that_the_code_cites_exist():
    headings = set(re.findall(r"^#+ (?:Annex )?([\dA-F][\d.]*) ", SPEC, re.MULTILINE))
    for path in (ROOT / "refcodec").rglob("*.py"):
        for first, more in re.findall(r"SPEC (?:annex )?([\dA-F][\d.]*)((?:, [\d.]+| to [\d.]+)*)", path.read_text()):
            for clause in (first, *re.findall(r"[\d.]+", more)):
                assert clause.rstrip(".") in headings, (path.name, clause)


def test_every_shall_has_an_id():
    text = SPEC[SPEC.index("\n## 4 "):SPEC.index("\n## Annex A")]
    for paragraph in re.split(r"\n\n|\n(?=- )", text):
        if re.search(r"\bshall\b", paragraph) and not paragraph.lstrip().startswith("| line"):
            assert re.search(r"\[R[\d.]+-\d+\]", paragraph), paragraph


def test_annex_b_names_the_requirements_of_each_code():
    (stream_errors, _) = tables_with("code")
    listed = {(i, row[0]) for row in stream_errors[1:] for i in row[3].split(", ")}
    codes_of_streams = {row[0] for row in stream_errors[1:]}
    assert listed == {(i, code) for i, codes in requirements().items() for code in codes if code in codes_of_streams}


def requirements() -> dict[str, list[str]]:
    """id: the codes that its paragraph names."""
    codes = {row[0] for rows in tables_with("code") for row in rows[1:]}
    text, found = SPEC[:SPEC.index("\n## Annex A")], {}
    for part in re.split(r"(?=\[R[\d.]+-\d+\])", text)[1:]:
        paragraph = re.split(r"\n\n|\n- |\n```", part)[0]
        named = [w for w in re.findall(r"\b[A-Z][A-Z_]{4,}\b", paragraph) if w in codes]
        found[part[1:part.index("]")]] = sorted(set(named))
    return found


def test_every_broken_rule_has_a_code():
    """But for the duties of decoders, which no stream can break."""
    without = {i for i, codes in requirements().items() if not codes}
    assert without == {"R8.1-1", "R8.1-2", "R8.5-1", "R9.3-2"}


# Worked example

def test_worked_example_stream():
    """The recipe gives the bytes of C.2, and these give the values of C.1 (compiled or not)."""
    import worked_example as example

    from refcodec import decode
    dump = re.search(r"```hex\n(.*?)```", SPEC, re.DOTALL)[1]
    stream = bytes.fromhex("".join(line[6:] for line in dump.splitlines()))
    assert example.make_stream() == stream
    decoded = {t.name: t.array for t in decode(stream).tensors}
    for name, values in (("bias", example.BIAS), ("ids", example.IDS), ("weight", example.WEIGHT)):
        assert decoded[name].dtype == values.dtype
        assert np.array_equal(decoded[name], values)


def test_worked_example_text():
    """Annex C is what the tool prints: every element, every bin with range and code, in a run without the compiler."""
    tool = ROOT / "tools" / "worked_example.py"
    printed = subprocess.run([sys.executable, str(tool)], capture_output=True, text=True, check=True).stdout
    start = SPEC.index("## Annex C")
    assert printed.strip() == SPEC[start:SPEC.index("\n## Annex D")].strip()
