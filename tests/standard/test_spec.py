"""SPEC.md against the code, in both directions: syntax, enumerations, levels, constants, tables, errors, ids."""

from __future__ import annotations

import ast
import functools
import hashlib
import math
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

import syntax_tables  # noqa: E402

import refcodec.errors as errors  # noqa: E402
from refcodec import digests  # noqa: E402
from refcodec.bitstream import cost, derive, parser, structures  # noqa: E402
from refcodec.bitstream.limits import DECOMPOSITION_WORK, LEVELS, Profile  # noqa: E402
from refcodec.bitstream.structures import Component  # noqa: E402
from refcodec.dtypes import BY_CODE, BY_NAME  # noqa: E402
from refcodec.encoder import components as made  # noqa: E402
from refcodec.entropy import (  # noqa: E402
    bins_plane,
    huffman,
    huffman_loop,
    huffman_tables,
    levels,
    map_loop,
    mixed_coding,
    range_coder,
    tables,
    word_parts,
    word_steps,
)
from refcodec.model import Role, SlotCoding  # noqa: E402
from refcodec.prediction import spatial  # noqa: E402
from refcodec.quantization import decimal  # noqa: E402
from refcodec.quantization.rounding import (  # noqa: E402
    NARROW_FORMATS,
    round_to_dtype,
)
from refcodec.quantization.uniform import TRELLIS, trellis  # noqa: E402
from refcodec.quantization.values import levels_type, values  # noqa: E402
from refcodec.reconstruction import (  # noqa: E402
    components,
    decomposition,
    factors,
    random_integers,
)

SPEC = (ROOT / "SPEC.md").read_text()
CODE = syntax_tables.SYNTAX_PY.read_text()


# Markdown tables of SPEC, found by the first cell of their head.

def tables_with(first: str, text: str = SPEC) -> list[list[list[str]]]:
    """Rows (lists of cells, the head first) of each table whose head begins with the cell `first`."""
    found = []
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        if rows[0][0] == first:
            found.append([rows[0], *rows[2:]])
    return found


def table(first: str) -> list[list[str]]:
    """The rows, without the head, of the only such table."""
    (rows,) = tables_with(first)
    return rows[1:]


@functools.cache
def clauses() -> dict[str, str]:
    """Number of each clause: its text, without that of clauses within it."""
    parts = re.split(r"^#+ (?:Annex )?([\dA-F][\d.]*) ", SPEC, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def log2(power: float) -> int:
    """The exponent of a power of two."""
    mantissa, exponent = math.frexp(power)
    assert mantissa == 0.5
    return exponent - 1


def number(cell: str) -> int:
    """A number of SPEC: decimal, hexadecimal, or a power of two as 2^n, also times a number."""
    factor, _, rest = cell.rpartition(" * ")
    base, _, power = rest.partition("^")
    return int(factor or 1) * int(base, 0) ** int(power or 1)


# Syntax

def test_syntax_tables_agree():
    differences = syntax_tables.differences(CODE, SPEC)
    assert not differences, "SPEC.md and syntax.py differ:\n" + "\n".join(differences)


def test_syntax_tables_are_many():
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


LIMIT = "limit( rank, level.rank )\n"


@pytest.mark.parametrize("after, place, spec, code", [
    ("", "after row 4:", "(no such row)", LIMIT),
    ("limit( rank, level.layers )\n", "row 5:", "limit( rank, level.layers )\n", LIMIT),
    (LIMIT + "limit( rank, 9 )\n", "row 6:", "limit( rank, 9 )\n", "(no such row)"),
    ("limit( rank,  level.rank )\n", "row 5 (in spaces only):", "limit( rank,  level.rank )\n", LIMIT),
])
def test_the_row_that_differs_is_said(after, place, spec, code):
    assert syntax_tables.tables_of_spec(SPEC)["tensor_entry"][1].splitlines(keepends=True)[4] == LIMIT
    (said,) = syntax_tables.differences(CODE, SPEC.replace(LIMIT, after))
    assert said == (f"tensor_entry (6.4.2), {place}\n    SPEC.md    {spec.strip()}\n    syntax.py  {code.strip()}")


@pytest.mark.parametrize("before, after, said", [
    ("```syntax 6.10 model_end", "```syntax 6.12 model_end", ["model_end: clause 6.12 in SPEC.md, 6.10 in the code"]),
    ("```syntax 6.3 stream_header", "```syntax 6.3 stream_heading", [
        "stream_header: not in SPEC.md", "stream_heading: not in the code"]),
])
def test_a_structure_of_another_name_or_clause_is_said(before, after, said):
    assert syntax_tables.differences(CODE, SPEC.replace(before, after)) == said


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
    assert [(int(r[0]), getattr(word_steps, r[1])) for r in table("word_sign_mode")] == [(0, 0), (1, 1), (2, 2)]


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


def test_memory():
    found = [int(row[0]) for row in tables_with("bytes", clauses()["A.3"])[0][1:]]
    assert found == [cost.WORD_FACTOR, cost.LEVEL_BYTES, cost.COLUMN_BYTES, cost.PRODUCT_BYTES, cost.VECTOR_BYTES,
                     cost.SQUARE_BYTES]


def test_profiles():
    """Annex A.1: the first profile of each representation and entropy mode; no quantiser is kept from BASELINE."""
    first = {name: Profile[("BASELINE", "MAIN", "HIGH")[row[1:].index("yes")]] for row in table("tool")
             for name in re.findall(r"\b[A-Z_]{2,}\b", row[0])}
    for r in structures.Representation:
        assert first[r.name] == (Profile.MAIN if r in structures.DECOMPOSED else Profile.BASELINE)
    assert {m.name: m.facts.profile for m in structures.EntropyMode} == {
        m.name: first.get(m.name, Profile.BASELINE) for m in structures.EntropyMode}


def test_derived_variables():
    """7.12 lists every field that the structures call derived."""
    source = pathlib.Path(structures.__file__).read_text()
    for block in re.findall(r"# derived variables.*\n((?:    \w+: int = \d+\n)+)", source):
        for name in re.findall(r"(\w+): int", block):
            assert re.search(rf"\b{name}\b", clauses()["7.12"]), name


CONSTANTS = [
    ("7.7.3", derive, "ENTRY_MIN_ELEMENTS"), ("8.8", digests, "PIECE_BYTES"),
    ("9.1", range_coder, "RANGE_START RANGE_MIN PROBABILITY_MIN PROBABILITY_MAX"),
    ("9.2", range_coder, "LEVEL_COUNT_LIMIT WORD_COUNT_LIMIT"), ("9.3.1", levels, "LEVEL_MAX CLASS_MAX NODES BUCKETS"),
    ("9.4.1", mixed_coding,
     "SIDES SIDE_FIRST RATIOS WEIGHT_START WEIGHT_LIMIT LEARNING INPUT_LIMIT TAP_LIMIT TAP_RATE"),
    ("9.5.1", word_parts, "OCTAVE POWER_FLOOR OVERALL_WINDOW ESCAPE_MAX UP_STEPS DOWN_STEPS TRAILING_MAX"),
    ("9.5.1", word_steps, "ROW_WINDOW COLUMN_WINDOW WEIGHT_MAX WINDOW_MAX ZERO_BUCKETS REPEAT_MAX PHASES SLOPES"),
    ("9.6.1", map_loop,
     "PLANE_WINDOW OVERALL_WINDOW WEIGHT_ONE WEIGHT_MAX SETTINGS PREDICTED PHASES DISTANCES TOP_BITS"),
    ("9.7.1", huffman_loop, "LENGTH_MAX INDEX_MAX MEAN_START"),
    ("9.12.1", bins_plane, "CHUNK_ELEMENTS LANES STATE_MIN SLOT_BITS SYMBOLS_MAX TABLES_LOG2_MAX SIZE_START"),
]


def test_constants():
    spec = {(clause, row[0]): number(row[1]) for clause in clauses()
            for rows in tables_with("constant",
                                    clauses()[clause]) for row in rows[1:]}
    assert spec == {(clause, name): getattr(module, name) for clause, module, names in CONSTANTS
                    for name in names.split()}


def test_map_coding_shares_the_other_constants_of_word_coding():
    for name in ["OCTAVE", "POWER_FLOOR", "RATE", "CLASS_NODES", "TRAILING_MAX", "moved_mean", "word_bin"]:
        assert getattr(map_loop, name) is getattr(word_parts, name)       # RECIPROCAL is that of moved_mean


@pytest.mark.parametrize("clause, text", [
    ("7.7.1", f"{DECOMPOSITION_WORK} * level.decomposition_size^3"),
    ("8.5.8", f"|level| shall not exceed 2^{log2(decimal.LEVEL_LIMIT)}"),
    ("8.6", f"shall not exceed 2^{log2(factors.EXACT_LIMIT)}. (OVERFLOW)"),
    ("8.6", f"range {factors.SCALE_EXPONENT_MIN}..{factors.SCALE_EXPONENT_MAX}."),
    ("8.6.4", f"exponent(L) - {-random_integers.RANDOM_EXPONENT})"),
    ("8.6.6", f"(i + 1) * 0x{int(random_integers.INCREMENT):X}"),
    ("8.6.6", f"(z >> 30)) * 0x{int(random_integers.MULTIPLIER_1):X}"),
    ("8.6.6", f"(z >> 27)) * 0x{int(random_integers.MULTIPLIER_2):X}"),
    ("8.6.6", f"(w >> 48) - {random_integers.RANDOM_LIMIT}"),
    ("8.6.7", f"small = trace * 2^{log2(decomposition.SMALL)}"),
    ("8.6.7", f"less than {decomposition.MAX_ITERATIONS}. (OVERFLOW)"),
    ("8.6.7", f"<= 2^{log2(decomposition.EPSILON)} * (Abs"),
    ("8.6.7", f"square < 2^{log2(decomposition.SMALL_SQUARE)}:"),
    ("8.6.7", f"magnitude below 2^{log2(decomposition.ZERO_ENTRY)} become +0"),
    ("8.6.7", f"norm[k] > 2^{log2(decomposition.ZERO_NORM)} * Max"),
    ("8.7.1", f"-2^{log2(spatial.INDEX_LIMIT)} .. 2^{log2(spatial.INDEX_LIMIT)} - 1. (OUT_OF_RANGE)"),
    ("9.10.1", f"-2^{log2(components.LEVEL_LIMIT)}..2^{log2(components.LEVEL_LIMIT)} - 1"),
    ("9.7.1", f"shall not exceed 2^{log2(huffman_loop.INDEX_MAX << 4)},"),
])
def test_numbers_of_the_code_in_the_text(clause, text):
    assert " ".join(clauses()[clause].split()).count(text) == 1


@pytest.mark.parametrize("number, module, names", [
    (0, word_steps, "ZERO SIGN ZERO_SIGN SHIFT REPEAT REPEAT_SIGN MANTISSA CLASS EXPONENT TRAILING"),
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
              "RECIPROCAL (9.5, 9.6)": word_parts.RECIPROCAL, "SQUASH": tables.SQUASH, "STRETCH": tables.STRETCH}
    rows = table("table")
    assert {r[0] for r in rows} == set(arrays)
    for name, entries, _, digest in rows:
        assert int(entries) == len(arrays[name])
        assert digest == hashlib.sha256(np.asarray(arrays[name]).astype("<i4").tobytes()).hexdigest()


# Errors and requirements

PHASES = {name: kind.phase for name, kind in vars(errors).items() if name.endswith("Error")}


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
    return found | {(code, "entropy") for code, _, _ in huffman.ERRORS.values()}


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
    """But for the duties of decoders, which no stream can break, and of those who evaluate layers."""
    without = {i for i, codes in requirements().items() if not codes}
    assert without == {"R7.6.4-1", "R8.1-1", "R8.1-2", "R8.5-1", "R9.3-2"}


def test_ids_of_a_clause_are_in_order():
    found = re.findall(r"\[R([\dA-F.]+)-(\d+)\]", SPEC)
    for home in {h for h, _ in found}:
        numbers = [int(n) for h, n in found if h == home]
        assert numbers == sorted(numbers), home


# Examples

def example_rows() -> list[list[str]]:
    """The rows of 8.5.11, 'the same' filled in."""
    (rows,) = tables_with("case", clauses()["8.5.11"])
    rows = [list(row) for row in rows[1:]]
    for row, before in zip(rows[1:], rows):
        if row[0].startswith("the same with"):
            row[0] = before[0] + ";" + row[0]
    return rows


def words_of(cells: str, dtype) -> list[int]:
    """Values, or words in hexadecimal, as words."""
    return [int(c, 0) if c.startswith("0x") else int(round_to_dtype(np.array([float(c)]), dtype).view(dtype.word)[0])
            for c in cells.split(", ")]


def example_values(case: str, dtype, states: str, step: str, levels: list[int]) -> np.ndarray:
    """The words that the codec makes of a row of 8.5.11, but for the prediction of values after the first ones."""
    base = re.search(r"prediction ((?:[^,;]+, )*[^,;]+)", case)
    if base:
        words = words_of(base[1].replace("NaN", "0x7FC00000").replace("+inf", "0x7F800000"), dtype)
        words = words * len(levels) if len(words) == 1 else words
        base = np.array(words[: len(levels)], dtype.word)
    component = example_component(case, states, step)
    return values(component, np.array(levels, levels_type(component)), dtype, base)


def example_component(case: str, states: str, step: str) -> Component:
    """The quantiser of a row."""
    if step.startswith("p = "):
        return made.decimal_component(int(step[4:]))
    if step.startswith("("):
        return made.fixed_point_component(*map(int, step.strip("()").split(", ")))
    mantissa, exponent = map(int, step.split(" * 2^"))
    listed = re.match(r"integers (.*), zero_index (\d+)", case)
    if listed:
        return made.integer_codebook_component(np.array(listed[1].split(", "), np.int64), int(listed[2]),
                                               (mantissa, exponent))
    return made.uniform_component((mantissa, exponent), int(states))


@pytest.mark.parametrize("case, element_type, states, step, given, expected", example_rows())
def test_examples_of_quantisers(case, element_type, states, step, given, expected):
    dtype, levels, cells = BY_NAME[element_type], [int(x) for x in given.split(", ")], expected.split(", ")
    assert len(levels) == len(cells)
    good = [x for x, cell in zip(levels, cells) if not cell.startswith("error")]
    found = example_values(case, dtype, states, step, good).tolist()
    assert found == words_of(", ".join(c for c in cells if not c.startswith("error")), dtype)
    for level, cell in zip(levels, cells):
        if cell.startswith("error"):
            with pytest.raises(errors.ReconstructionError) as error:
                example_values(case, dtype, states, step, [level])
            assert error.value.code == cell.split()[1]


def test_example_of_the_trellis():
    (row,) = (r for r in example_rows() if r[0].startswith("trellis"))
    path = [int(n) for n in re.findall(r"\d+", row[0])]
    a, b = trellis(int(row[2]))
    state = path[0]
    for level, following in zip(row[4].split(", "), path[1:], strict=True):
        state = (state >> 1) ^ (a if state & 1 else 0) ^ (b if int(level) & 1 else 0)
        assert state == following


def test_random_words():
    seed, listed, count = re.search(r"RandomWord\((\d+), i\) is ([\d, \n]+) for i = 0 \.\. (\d+)",
                                    clauses()["8.6.6"]).groups()
    words = [int(w) for w in re.findall(r"\d+", listed)]
    assert len(words) == int(count) + 1
    assert random_integers.random_words(int(seed), 0, len(words)).tolist() == words


def test_digest_of_the_decomposition():
    """8.6.7, NOTE 3, in its own words."""
    i, j = np.mgrid[0:8, 0:8]
    x = (random_integers.random_words(0, 0, 8) >> np.uint64(60)).astype(np.int64)[(j - i) % 8] - 8.0
    gains = factors.Factor(np.arange(1, 9)[None], 1, -5)
    residual = factors.augmentation(decomposition.decompose(x), gains)
    assert hashlib.sha256(residual.astype("<f4").tobytes()).hexdigest() in clauses()["8.6.7"]


def test_example_of_index_symbols():
    text = " ".join(clauses()["9.7.3"].split())
    bound, precision = map(int, re.search(r"Let b = (\d+) and precision (\d+)", text).groups())
    least = [int(n) for n in re.search(r"symbols 0 \.\. \d+ are ([\d, ]+)\.", text)[1].split(", ")]
    extra = [int(n) for n in re.search(r"symbols 0 \.\. \d+ have ([\d, ]+) extra bits", text)[1].split(", ")]
    last = int(re.search(r"has BitLength\(38 - 33\) = (\d+) of them", text)[1])
    first_index, extra_bits = huffman_tables.symbol_extents(bound, precision)
    assert (first_index.tolist(), extra_bits.tolist()) == (least, [*extra, last])


# Text

def test_lines_are_wrapped():
    long = [n for n, line in enumerate(SPEC.splitlines(), 1) if len(line) > 120 and not line.startswith("|")]
    assert long == []


def test_what_the_text_names_exists():
    from refcodec.encoder.config import PRESETS
    for path in re.findall(r"\b(?:refcodec|tools|tests)/[\w/]+\.py\b", SPEC):
        assert (ROOT / path).is_file(), path
    for preset in re.findall(r"\bs[1-5]-\w+", SPEC):
        assert preset in PRESETS, preset
    options = "".join(path.read_text() for path in (ROOT / "refcodec" / "cli").glob("*.py"))
    for option in re.findall(r"`(--[\w-]+)", SPEC):
        assert f'"{option}"' in options, option


# Worked example

def test_worked_example_stream():
    """The recipe gives the bytes of C.2, and these give the values of C.1 (compiled or not)."""
    import worked_example as example

    from refcodec import decode
    dump = re.search(r"```hex\n(.*?)```", SPEC, re.DOTALL)[1]
    stream = bytes.fromhex("".join(line[6:] for line in dump.splitlines()))
    assert example.make_stream() == stream
    decoded = {t.name: t.array for t in decode(stream).tensors}
    for name, wanted in (("bias", example.BIAS), ("ids", example.IDS), ("weight", example.WEIGHT)):
        assert decoded[name].dtype == wanted.dtype
        assert np.array_equal(decoded[name], wanted)


def test_worked_example_text():
    """Annex C is what the tool prints: every element, every bin with range and code, in a run without the compiler."""
    tool = ROOT / "tools" / "worked_example.py"
    printed = subprocess.run([sys.executable, str(tool)], capture_output=True, text=True, check=True).stdout
    start = SPEC.index("## Annex C")
    assert printed.strip() == SPEC[start:SPEC.index("\n## Annex D")].strip()


RULE = re.compile(r"R[\d.]+-\d+( R[\d.]+-\d+)*")


def raised_requirements() -> set[str]:
    """The ids that the codec names where it finds them broken."""
    found = set()
    for path in (ROOT / "refcodec").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and RULE.fullmatch(node.value):
                found.update(node.value.split())
    return found


def test_requirements_of_annex_b_are_those_that_the_code_names():
    (stream_errors, _) = tables_with("code")
    listed = {i for row in stream_errors[1:] for i in row[3].split(", ")}
    assert listed - raised_requirements() == set(), "in Annex B, but the code names it nowhere"
    assert raised_requirements() - listed == {"R7.6.4-1"
                                              }, "named by the code, but not in Annex B"  # which no decoder tests


def test_every_error_of_a_stream_names_its_requirement():
    """Errors of the parsing and decoding processes; those without are guards of the library, not of streams."""
    unnamed = set()
    for folder in ("bitstream", "prediction", "reconstruction", "quantization", "entropy"):
        for path in (ROOT / "refcodec" / folder).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
                if (name.endswith("Error") and name in PHASES and name != "FormatError" and 0 < len(node.args) < 5
                        and not any(k.arg == "rules" for k in node.keywords)):
                    unnamed.add((path.name, ast.unparse(node.args[1])[:40]))
    guards = {name for name, _ in unnamed}
    assert guards <= {
        "factors.py", "masks.py", "uniform.py", "fixed_point.py", "decimal.py", "rounding.py", "byte_coding.py",
        "fixed_length.py", "huffman.py", "payload.py"
    }, unnamed
    assert len(unnamed) < 20, unnamed
