"""Conditions of the decoder's own source, watched while it runs uncompiled.

A module with functions whose clause stands in @structure or @clause, or in PARTS, is compiled from a syntax tree in
which every condition, every operand of && and ||, every loop over a range, Min, Max and Clip of these functions reports
which way it went. Each such outcome is a point of coverage:
`branch:<clause>:<condition of a syntax table>:<0 or 1>` or `path:<clause>:<function>: <condition>:<outcome>`.
To be installed before refcodec is imported, in a process with REFCODEC_COMPILE=0. Marks in the source are no matter of
the observer (refcodec/entropy/watch.py): there are some thousand, none of which the decoder should have to tell.
"""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARKS = ("structure", "clause")               # decorators that name the clause of a function
OUTCOMES = {
    "if": ("0", "1"), "for": ("none", "some"), "some": ("some", ), "min": ("first", "second"),
    "max": ("first", "second"), "clip": ("below", "inside", "above")
}
# Functions of the decoder and the clause that each of them carries out. Not listed: those whose clause stands in
# @structure or @clause; the encoder, chunks of memory, files.
PARTS: dict[str, dict[str, str]] = {
    "bitstream.derive": {
        "check_version": "7.3", "check_model_header": "7.4", "check_element_type": "7.4.2",
        "check_layer_tensor": "7.6.2", "check_fold": "7.6.3", "begin_descriptor": "7.7", "tensor_index": "7.7.1",
        "check_prediction": "7.7.1", "check_representation": "7.7.1", "check_rank": "7.7.2", "check_row_mask": "7.7.2",
        "component_shapes": "7.7.1", "check_tools": "7.7.3", "check_trellis": "7.7.4", "check_quantiser": "7.7.3",
        "check_entries": "7.7.3", "payload_count": "7.7", "check_payloads": "7.7"
    },
    "bitstream.visitor": {"ue": "4.4", "se": "4.4", "string": "4.4", "byte_alignment": "4.4", "end": "7.2"},
    "bitstream.units": {"_read_leb": "4.4", "read_unit": "7.2", "read_body": "7.2", "_compare": "7.2"},
    "bitstream.parser": {
        "_next_unit": "7.2", "_check_order": "7.1", "_model_header": "7.4", "_metadata": "7.8", "_index": "7.9",
        "_model_end": "7.10", "_stream_end": "7.11", "check_topology": "7.5.2"
    },
    "quantization.rounding": {"_round_bits": "8.5.2", "_round_to_integer": "8.5.2"},
    "quantization.uniform": {"_indices": "8.5.4"},
    "prediction.spatial": {"_predicted": "8.7.1", "_predict": "8.7.1"},
    "quantization.values": {
        "values": "8.5", "_uniform": "8.5.3", "_uniform_indices": "8.5.4", "_fixed_point_indices": "8.5.9"
    },
    "reconstruction.components": {"_read_integers": "8.5.7", "_read_levels": "9.10.1"},
    "reconstruction.factors": {"exact_product": "8.6", "_scale": "8.6"},
    "reconstruction.representations": {"rebuilt": "8.6", "residual": "8.6", "_masked": "8.6.5", "filled": "8.6.5"},
    "reconstruction.decomposition": {
        "decompose": "8.6.7", "_signed": "8.6.7", "_project": "8.6.7", "_tridiagonalise": "8.6.7",
        "_accumulate": "8.6.7", "_implicit_ql": "8.6.7", "_sweep": "8.6.7"
    },
}


class Watched:
    """All outcomes of the modules that have been loaded: their ids, and for each a byte that is 1 once it was met."""

    def __init__(self):
        self.ids: list[str] = []
        self.met = bytearray()

    def add(self, name: str, kind: str) -> int:
        """Number of the first outcome of a condition."""
        first = len(self.ids)
        self.ids += [f"{name}:{outcome}" for outcome in OUTCOMES[kind]]
        self.met += bytes(len(OUTCOMES[kind]))
        return first

    def take(self) -> set[str]:
        """The outcomes met since the last call."""
        found = {self.ids[i] for i, hit in enumerate(self.met) if hit}
        self.met[:] = bytes(len(self.met))
        return found

    # What the watched source calls.

    def _if(self, n, value):
        self.met[n + 1 if value else n] = 1
        return value

    def _for(self, n, values):
        self.met[n + 1 if len(values) else n] = 1
        return values

    def _some(self, n, values):
        self.met[n] = 1
        return values

    def _min(self, n, a, b):
        if a != b:
            self.met[n if a < b else n + 1] = 1
        return min(a, b)

    def _max(self, n, a, b):
        if a != b:
            self.met[n if a > b else n + 1] = 1
        return max(a, b)

    def _clip(self, n, clip, *arguments):
        value = clip(*arguments)
        x = arguments[1 if len(arguments) == 3 else 0]
        self.met[n + (0 if value > x else 2 if value < x else 1)] = 1
        return value


watched = Watched()


def _mode(test: ast.expr) -> bool | None:
    """What `mode == X` is in a decoder; None for other expressions."""
    match test:
        case ast.Compare(left=ast.Name(id="mode"), ops=[ast.Eq()], comparators=[ast.Name(id=name)]):
            return name == "DECODE"
        case ast.BoolOp(op=ast.And(), values=[first, *_]):
            return False if _mode(first) is False else None
    return None


class Marker(ast.NodeTransformer):
    """Puts the calls of Watched into the functions of a module. functions: name to clause; None takes those with a
    clause of their own."""

    def __init__(self, functions: dict[str, str], notation):
        self.functions, self.notation = functions, notation
        self.clause, self.function, self.names = None, "", {}

    def visit_FunctionDef(self, node: ast.FunctionDef):
        marks = {m.func.id: m.args[0].value for m in node.decorator_list
                 if isinstance(m, ast.Call) and getattr(m.func, "id", "") in MARKS}
        clause = marks.get("structure") or marks.get("clause") or self.functions.get(node.name)
        if clause is None:
            return node
        own = "" if "structure" in marks else f"{node.name}: "
        outer, self.clause, self.function = (self.clause, self.function), clause, own
        node.body = [self.visit(statement) for statement in node.body]
        self.clause, self.function = outer
        return node

    def visit_ClassDef(self, node: ast.ClassDef):
        if node.name in ("Writer", "_Writer", "Tracer"):
            return node
        return self.generic_visit(node)

    def _watch(self, kind: str, text: str, *arguments: ast.expr) -> ast.Call:
        """A call of Watched._<kind> with the number of the point and the arguments."""
        name = f"{'path' if self.function else 'branch'}:{self.clause}:{self.function}{' '.join(text.split())}"
        self.names[name] = self.names.get(name, 0) + 1  # the same condition again is told apart by its number
        number = watched.add(name if self.names[name] == 1 else f"{name} ({self.names[name]})", kind)
        call = ast.Attribute(ast.Name("__watched__", ast.Load()), f"_{kind}", ast.Load())
        return ast.Call(call, [ast.Constant(number), *arguments], [])

    def _text(self, node: ast.expr) -> str:
        return ast.unparse(node) if self.function else self.notation(node)

    def _condition(self, test: ast.expr) -> ast.expr:
        """The test of a branch; of && and || each operand, too."""
        match test:
            case ast.BoolOp(op=ast.And(), values=[first, *_]) if _mode(first) is False:
                return test                                        # the encoder's alone
            case ast.BoolOp(op=op, values=values):
                text, whole = self._text(test), ast.BoolOp(op, [self._condition(value) for value in values])
                return whole if any(_mode(value) is not None for value in values) else self._watch("if", text, whole)
            case ast.UnaryOp(op=ast.Not(), operand=ast.BoolOp() as operand):
                return ast.UnaryOp(ast.Not(), self._condition(operand))
            case ast.Constant():
                return test
        return test if _mode(test) is not None else self._watch("if", self._text(test), self.visit(test))

    def _branch(self, node: ast.If | ast.IfExp):
        if self.clause is None:
            return self.generic_visit(node)
        decoder = _mode(node.test)
        node.test = self._condition(node.test)
        for arm, dead in (("body", False), ("orelse", True)):
            inside = getattr(node, arm)
            if decoder is not dead:                                # the other arm is the encoder's
                setattr(node, arm, [self.visit(s) for s in inside] if isinstance(inside, list) else self.visit(inside))
        return node

    visit_If = visit_IfExp = _branch

    def visit_While(self, node: ast.While):
        node.test = self._condition(node.test) if self.clause else node.test
        return self.generic_visit(node)

    def visit_For(self, node: ast.For):
        node = self.generic_visit(node)
        if self.clause and not self.function:                      # a loop of a syntax table
            count = node.iter.args[0]
            kind = "some" if isinstance(count, ast.BinOp) else "for"        # n_minus1 + 1: never none
            node.iter = self._watch(kind, f"{node.target.id} < {self.notation(count)}", node.iter)
        return node

    def visit_Call(self, node: ast.Call):
        name, text = getattr(node.func, "id", ""), ast.unparse(node)
        coding = bool(node.args) and isinstance(node.args[0], ast.Name) and node.args[0].id == "mode"
        encoded = [node.args.pop()] if coding else []      # the last argument is what an encoder codes: not a decoder's
        node = self.generic_visit(node)
        node.args += encoded
        if not self.clause or not self.function or node.keywords:
            return node
        if name in ("min", "max") and len(node.args) == 2:
            return self._watch(name, text, *node.args)
        return self._watch("clip", text, node.func, *node.args) if name in ("clip", "_clip") else node


def notation_of_spec():
    """What writes an expression of a syntax function as SPEC 4.3 has it."""
    sys.path.append(str(ROOT / "tools"))
    from syntax_tables import expression
    return expression


def is_marked(file: Path) -> bool:
    """Whether a file of refcodec has functions that are watched."""
    name = ".".join(file.relative_to(ROOT / "refcodec").with_suffix("").parts)
    return file.is_file() and (name in PARTS or re.search("^ *@(structure|clause)\\(", file.read_text(encoding="utf-8"),
                                                          re.MULTILINE) is not None)


class Loader(importlib.machinery.SourceFileLoader):
    """Loads a module from its marked tree, never from a cache."""

    def get_code(self, fullname):
        source, name = Path(self.path).read_text(encoding="utf-8"), fullname.removeprefix("refcodec.")
        marker = Marker(PARTS.get(name, {}), notation_of_spec() if "@structure(" in source else None)
        return compile(ast.fix_missing_locations(marker.visit(ast.parse(source))), self.path, "exec")

    def exec_module(self, module):
        module.__watched__ = watched
        super().exec_module(module)


class Finder(importlib.abc.MetaPathFinder):
    """Finds the modules that are marked."""

    def find_spec(self, fullname, path, target=None):
        file = ROOT / (fullname.replace(".", "/") + ".py")
        if not fullname.startswith("refcodec.") or not is_marked(file):
            return None
        return importlib.machinery.ModuleSpec(fullname, Loader(fullname, str(file)), origin=str(file))


def install() -> Watched:
    """Watch every marked module that is imported from now on. Raises RuntimeError where one has been already."""
    early = [name for name in sys.modules if name.startswith("refcodec.")]
    if early:
        raise RuntimeError(f"imported before they could be watched: {', '.join(early)}")
    sys.meta_path.insert(0, Finder())
    return watched
