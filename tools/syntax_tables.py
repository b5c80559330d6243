"""The syntax tables of SPEC.md, read from the codec's syntax functions.

    python tools/syntax_tables.py                  # print all tables
    python tools/syntax_tables.py --write SPEC.md  # replace the tables of SPEC.md in place

A table is a fenced block ```syntax CLAUSE NAME with one line per syntax element, condition, loop,
nested structure, level limit or semantic rule; tests/standard/test_spec.py compares blocks and functions.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from refcodec.bitstream import limits, structures  # noqa: E402

SYNTAX_PY = ROOT / "refcodec" / "bitstream" / "syntax.py"
BLOCK = re.compile(r"^```syntax (?P<clause>[\d.]+) (?P<name>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
INDENT = "    "
NO_ROW = "(no such row)"
NAME_WIDTH, DESCRIPTOR_WIDTH = 48, 28
CONSTANTS = {**vars(limits), **vars(structures)}
OPERATORS = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Eq: "==", ast.NotEq: "!=", ast.GtE: ">=",
    ast.LtE: "<=", ast.Gt: ">", ast.And: "&&", ast.Or: "||"
}


def expression(node: ast.expr) -> str:
    """An expression in the notation of SPEC 4.3: x.a[i].b is b[ i ], v.level.tensors is level.tensors."""
    match node:
        case ast.Constant(value=value):
            return str(value)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)):
            return f"-{value}"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return f"!{expression(operand)}"
        case ast.BinOp(left=left, op=op, right=right):
            return f"{_operand(left, node)} {OPERATORS[type(op)]} {_operand(right, node)}"
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return f"{expression(left)} {OPERATORS[type(op)]} {expression(right)}"
        case ast.BoolOp(op=op, values=values):
            return f" {OPERATORS[type(op)]} ".join(_operand(v, node) for v in values)
        case ast.Call(func=ast.Attribute(value=ast.Name(id="derive"), attr=name)):
            return name
        case ast.Name(id=name):
            return name
        case ast.Attribute() | ast.Subscript():
            return _path(node)
    raise SyntaxError(f"line {node.lineno}: no notation for {ast.unparse(node)}")


def _operand(node: ast.expr, parent: ast.expr) -> str:
    weaker = isinstance(node, ast.BoolOp) or (isinstance(node, ast.BinOp) and isinstance(parent, ast.BinOp)
                                              and isinstance(parent.op, ast.Mult))
    return f"( {expression(node)} )" if weaker else expression(node)


def _path(node: ast.expr) -> str:
    """The last name of a path, with all its subscripts; an enumeration or a level keeps its own name before it."""
    names, subscripts = _walk(node)
    if names[0] in ("x", "v"):
        names = names[1:]
    if names[0] == "level" or names[0] in CONSTANTS:
        return ".".join(names)
    return names[-1] + subscripts


def _walk(node: ast.expr) -> tuple[list[str], str]:
    match node:
        case ast.Name(id=name):
            return [name], ""
        case ast.Attribute(value=value, attr=name):
            names, subscripts = _walk(value)
            return [*names, name], subscripts
        case ast.Subscript(value=value, slice=index):
            names, subscripts = _walk(value)
            return names, f"{subscripts}[ {expression(index)} ]"
    raise SyntaxError(f"line {node.lineno}: no path: {ast.unparse(node)}")


def _range(arguments: list[ast.expr]) -> str:
    """Low..high, or the name of an enumeration; constants are evaluated."""
    if not arguments:
        return ""
    low, high = (arguments + [None])[:2]
    if isinstance(high, ast.Name):
        return high.id
    if high is None:
        return f"{expression(low)}.."
    names = {n.id for n in ast.walk(high) if isinstance(n, ast.Name)}
    if names and not names & {"x", "v"}:
        return f"{expression(low)}..{eval(ast.unparse(high), CONSTANTS)}"
    return f"{expression(low)}..{expression(high)}"


def _element(target: ast.expr, call: ast.Call) -> str:
    """`name[ i ]`, descriptor and range of one syntax element, with tabs between them."""
    method, (name, _, *arguments) = call.func.attr, call.args
    descriptor, rest = {"u": "u", "ue": "ue(v)", "se": "se(v)", "b": "b", "string": "str(v)"}[method], arguments
    if method in ("u", "b"):
        descriptor, rest = f"{descriptor}({expression(arguments[0])})", arguments[1:]
    return f"{name.value}{_walk(target)[1]}\t{descriptor}\t{_range(rest)}"


def _statement(node: ast.stmt) -> list[str]:
    match node:
        case ast.Assign(targets=[target], value=ast.Call(func=ast.Attribute(value=ast.Name(id="v"))) as call):
            return [_element(target, call)]
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="v"), attr="resize"))):
            return []                                        # memory of the reader, no syntax
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="v"), attr="byte_alignment"))):
            return ["byte_alignment( )"]
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="v"), attr="limit"), args=[_, value, most])):
            return [f"limit( {expression(value)}, {expression(most)} )"]
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="derive"), attr=name), args=[_, _, *rest])):
            return [f"derive( {', '.join([name, *map(expression, rest)])} )"]
        case ast.Expr(value=ast.Call(func=ast.Name(id=name), args=[ast.Name(id="v"), argument])):
            return [f"{name}( ){_walk(argument)[1]}"]
        case ast.If(test=test, body=body, orelse=other):
            lines = [f"if( {expression(test)} ) {{", *_block(body)]
            return [*lines, "} else {", *_block(other), "}"] if other else [*lines, "}"]
        case ast.For(target=ast.Name(id=i), iter=ast.Call(func=ast.Name(id="range"), args=[count]), body=body):
            return [f"for( {i} = 0; {i} < {expression(count)}; {i}++ ) {{", *_block(body), "}"]
    raise SyntaxError(f"line {node.lineno}: no notation for {ast.unparse(node)}")


def _block(body: list[ast.stmt]) -> list[str]:
    return [INDENT + line for statement in body for line in _statement(statement)]


def _aligned(line: str) -> str:
    if "\t" not in line:
        return line
    name, descriptor, values = line.split("\t")
    return f"{name:{NAME_WIDTH}} {descriptor:{DESCRIPTOR_WIDTH}} {values}".rstrip()


def tables_of_code(source: str) -> dict[str, tuple[str, str]]:
    """name: (clause, text of the table) of every @structure function of a source text."""
    tables = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and getattr(mark.func, "id", "") == "structure":
                lines = [line for statement in node.body for line in _statement(statement)]
                tables[node.name] = (mark.args[0].value, "\n".join(map(_aligned, lines)) + "\n")
    return tables


def tables_of_spec(text: str) -> dict[str, tuple[str, str]]:
    """name: (clause, text of the table) of every syntax block of SPEC."""
    return {m["name"]: (m["clause"], m["body"]) for m in BLOCK.finditer(text)}


def differences(code: str, spec: str) -> list[str]:
    """What differs between syntax.py and SPEC.md, both as text, row by row; empty if nothing does."""
    ours, theirs = tables_of_code(code), tables_of_spec(spec)
    found = [f"{name}: not in SPEC.md" for name in ours if name not in theirs]
    found += [f"{name}: not in the code" for name in theirs if name not in ours]
    for name in ours:
        if name in theirs:
            (clause, our_text), (their_clause, their_text) = ours[name], theirs[name]
            if clause != their_clause:
                found.append(f"{name}: clause {their_clause} in SPEC.md, {clause} in the code")
            found += [f"{name} ({their_clause}), {difference}" for difference in _rows(our_text, their_text)]
    return found


def _rows(code: str, spec: str) -> list[str]:
    """Where the rows of two texts of a table differ: number in SPEC, from 1, and both rows, one over the other."""
    ours, theirs, found = code.splitlines(), spec.splitlines(), []
    for kind, i, i_end, j, j_end in difflib.SequenceMatcher(None, theirs, ours, autojunk=False).get_opcodes():
        for k in range(max(i_end - i, j_end - j) if kind != "equal" else 0):
            place = f"row {i + k + 1}" if i + k < i_end else f"after row {i_end}"
            their_row = theirs[i + k] if i + k < i_end else NO_ROW
            our_row = ours[j + k] if j + k < j_end else NO_ROW
            spaces = " (in spaces only)" if their_row.split() == our_row.split() else ""
            found.append(f"{place}{spaces}:\n    SPEC.md    {their_row}\n    syntax.py  {our_row}")
    return found


def rewritten(code: str, spec: str) -> str:
    """SPEC with its syntax blocks replaced by those of the code."""
    tables = tables_of_code(code)

    def replace(m: re.Match) -> str:
        clause, body = tables[m["name"]]
        return f"```syntax {clause} {m['name']}\n{body}```"

    return BLOCK.sub(replace, spec)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", metavar="SPEC", type=pathlib.Path)
    path = parser.parse_args().write
    code = SYNTAX_PY.read_text()
    if path is None:
        for name, (clause, body) in tables_of_code(code).items():
            print(f"```syntax {clause} {name}\n{body}```\n")
        return
    path.write_text(rewritten(code, path.read_text()))
    if found := differences(code, path.read_text()):
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
