"""The floors of refcodec and the arrows of its imports: circles, imports that climb, and a picture of both.

    python tools/floors.py                          what breaks the rules; ends with 1 if anything does
    python tools/floors.py --svg docs/floors.svg    the picture: a box for each folder or module, on its floor
    python tools/floors.py --root FOLDER ...        of another copy of the repository

An import is any statement that imports, inside functions too, and any name that a package gives away when it is first
asked for (its table _HOMES); those under `if TYPE_CHECKING:` are none. Rules: no circle of modules or of folders; no
module imports from a floor above its own (so decoder code imports nothing from the encoder, which stands higher);
nothing in refcodec imports from conformance, tools or tests.
"""

from __future__ import annotations

import argparse
import ast
import pathlib
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from html import escape

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = "refcodec"
OUTSIDE = ("conformance", "tools", "tests")

# From the ground up: folders and modules of the package, "" for what stands in the package itself.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("errors", "memory", "parallel", "shipped", "compile_cache"),
    ("files", "compiler"),
    ("budget", "dtypes", "expansion", "fold", "vectors"),
    ("digests",),
    ("model",),
    ("bitstream",),
    ("entropy", "quantization", "prediction"),
    ("reconstruction",),
    ("topology", "pieces", "places", "conversion", "costs", "signing"),
    ("decoder",),
    ("formats",),
    ("encoder",),
    ("rewriting",),
    ("transcoding", "upgrading"),
    ("inputs", "opened", "to_file"),
    ("api",),
    ("",),                                      # refcodec itself: the names that it gives to its users
    ("inspection",),
    ("integers", "validator"),
    ("calibration",),
    ("checker",),
    ("cli",),
    ("__main__",),
)

Graph = dict[str, set[str]]                     # module -> modules that it imports


def modules(root: pathlib.Path = ROOT) -> dict[str, pathlib.Path]:
    """Dotted name of each module of the package -> its file."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def statements(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """The statements that import when the module or one of its functions runs."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            yield from (s for branch in node.orelse for s in statements(ast.Module([branch], [])))
        else:
            yield from statements(node)


def imported(node: ast.Import | ast.ImportFrom, module: str, is_package: bool,
             known: Mapping[str, pathlib.Path]) -> Iterator[str]:
    """The modules that a statement names: of `from a import b` a.b if that is a module, else a."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        parts = module.split(".")
        parts = parts[: len(parts) - node.level + is_package]
        base = ".".join(parts + ([node.module] if node.module else []))
    for alias in node.names:
        name = f"{base}.{alias.name}"
        yield name if name in known else base


def given_away(tree: ast.Module) -> Iterator[str]:
    """The modules, relative to a package, in its table _HOMES (name -> module that is imported for it)."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name("_HOMES")], value=ast.Dict(values=values)):
                yield from (ast.literal_eval(value) for value in values)


def graph(root: pathlib.Path = ROOT) -> tuple[Graph, list[tuple[str, str]]]:
    """(imports among the modules of the package, (module, name) of imports from OUTSIDE)."""
    known = modules(root)
    inside: Graph = {}
    outside: list[tuple[str, str]] = []
    for module, path in known.items():
        inside[module] = set()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inside[module].update(f"{module}.{name}" for name in given_away(tree))
        for node in statements(tree):
            for name in imported(node, module, path.name == "__init__.py", known):
                if name in known and name != module:
                    inside[module].add(name)
                elif name.split(".")[0] in OUTSIDE:
                    outside.append((module, name))
    return inside, outside


def circles(imports: Graph) -> list[list[str]]:
    """The sets of modules that import each other in a circle (strongly connected, Tarjan's algorithm)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for other in sorted(imports[module]):
            if other not in order:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], order[other])
        if low[module] == order[module]:
            at = stack.index(module)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for module in sorted(imports):
        if module not in order:
            visit(module)
    return found


def room(module: str) -> str:
    """The folder or module directly in the package in which a module lies; "" for the package itself."""
    return (module.split(".") + [""])[1]


def rooms(imports: Graph) -> Graph:
    """The rooms, and which of the others each imports from."""
    found: Graph = {}
    for module, others in imports.items():
        found.setdefault(room(module), set()).update(room(other) for other in others)
    return {name: others - {name} for name, others in found.items()}


def floors(imports: Graph) -> dict[str, int]:
    """Room -> number of its floor, 0 for the ground. One that FLOORS does not name stands on the highest that it
    imports from, as far as these are named.
    """
    found = {name: n for n, names in enumerate(FLOORS) for name in names}
    for name, others in sorted(rooms(imports).items()):
        if name not in found:
            found[name] = max((found[other] for other in others if other in found), default=0)
    return found


def climbs(imports: Graph) -> list[tuple[str, str]]:
    """(module, imported module) where the imported one stands higher."""
    floor = floors(imports)
    return [(module, other) for module in sorted(imports) for other in sorted(imports[module])
            if floor[room(other)] > floor[room(module)]]


def faults(root: pathlib.Path = ROOT) -> list[str]:
    """Whatever breaks the rules, a line each."""
    imports, outside = graph(root)
    there, named = set(rooms(imports)), {name for names in FLOORS for name in names}
    return [*(f"circle: {' '.join(names)}" for names in circles(imports)),
            *(f"circle of folders: {' '.join(names)}" for names in circles(rooms(imports))),
            *(f"climbs: {module} imports {other}" for module, other in climbs(imports)),
            *(f"outside: {module} imports {name}" for module, name in outside),
            *(f"on no floor: {name}" for name in sorted(there - named)),
            *(f"not there: {name}" for name in sorted(named - there))]


# The picture

WIDTH, HEIGHT, BOX, MARGIN, LEFT = 1120, 78, 30, 14, 40


def boxes(imports: Graph) -> dict[str, tuple[float, float, float, str]]:
    """Room -> (left, top, width, text) of its box."""
    floor = floors(imports)
    count = Counter(map(room, imports))
    found: dict[str, tuple[float, float, float, str]] = {}
    for n in range(len(FLOORS)):
        names = [name for name in floor if floor[name] == n and name in count]
        texts = [(name or PACKAGE) + (f" ({count[name]})" if count[name] > 1 else "") for name in names]
        widths = [8.0 * len(text) + 20 for text in texts]
        gap = (WIDTH - LEFT - sum(widths)) / (len(names) + 1)
        x = LEFT + gap
        for name, text, width in zip(names, texts, widths, strict=True):
            found[name] = (x, (len(FLOORS) - 1 - n) * HEIGHT + MARGIN, width, text)
            x += width + gap
    return found


def arrow(a: tuple[float, float, float, str], b: tuple[float, float, float, str], kind: str) -> str:
    """A curve from box a to box b: from floor to ceiling, or between two boxes of a floor."""
    ax, ay, bx, by = a[0] + a[2] / 2, a[1], b[0] + b[2] / 2, b[1]
    if ay == by:
        ax, bx = (a[0] + a[2], b[0]) if ax < bx else (a[0], b[0] + b[2])
        path = f"M{ax:.0f} {ay + BOX / 2:.0f} L{bx:.0f} {by + BOX / 2:.0f}"
    else:
        ay, by = (ay + BOX, by) if ay < by else (ay, by + BOX)
        middle = (ay + by) / 2
        path = f"M{ax:.0f} {ay:.0f} C{ax:.0f} {middle:.0f} {bx:.0f} {middle:.0f} {bx:.0f} {by:.0f}"
    return f'<path class="{kind}" d="{path}" marker-end="url(#{kind})"/>'


def picture(imports: Graph) -> str:
    """SVG: an arrow for each pair of rooms of which one imports from the other, red if it climbs or lies in a circle.

    An arrow that goes down is left out where a way of other such arrows leads to the same place.
    """
    floor, box = floors(imports), boxes(imports)
    arrows = rooms(imports)
    ringed = {name: n for n, names in enumerate(circles(arrows)) for name in names}
    bad = {(m, o) for m in arrows for o in arrows[m]
           if floor[o] > floor[m] or m in ringed and ringed[m] == ringed.get(o)}
    good: Graph = {m: {o for o in arrows[m] if (m, o) not in bad} for m in arrows}

    def reached(name: str, steps: int) -> set[str]:
        """Where ways of good arrows lead, of more than one arrow if steps is 1."""
        return {r for o in good[name] for r in (reached(o, 0) | (set() if steps else {o}))}

    colours = {"down": "#7a8794", "climbs": "#c62828"}
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {len(FLOORS) * HEIGHT + 30}" '
             'font-family="sans-serif" font-size="14">',
             "<style>path{fill:none;stroke-width:1.3} .down{stroke:#7a8794} .climbs{stroke:#c62828;stroke-width:2} "
             ".box{fill:#eef3f8;stroke:#44546a} .band{fill:#f8f9fa} .band.odd{fill:#ffffff}</style>",
             *(f'<marker id="{kind}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
               'markerUnits="userSpaceOnUse" orient="auto">'
               f'<path d="M0 0 L8 4 L0 8 z" style="fill:{colour};stroke:none"/></marker>'
               for kind, colour in colours.items()),
             f'<rect width="{WIDTH}" height="{len(FLOORS) * HEIGHT + 30}" fill="#ffffff"/>']
    for n in range(len(FLOORS)):
        top = (len(FLOORS) - 1 - n) * HEIGHT
        parts.append(f'<rect class="band{" odd" * (n % 2)}" y="{top}" width="{WIDTH}" height="{HEIGHT}"/>'
                     f'<text x="12" y="{top + MARGIN + 20}" fill="#7a8794">{n}</text>')
    parts += [arrow(box[m], box[o], "down") for m in sorted(good) for o in sorted(good[m] - reached(m, 1))]
    parts += [arrow(box[m], box[o], "climbs") for m, o in sorted(bad)]
    parts += [f'<rect class="box" x="{x:.0f}" y="{y}" width="{w:.0f}" height="{BOX}" rx="5"/>'
              f'<text x="{x + w / 2:.0f}" y="{y + 20}" text-anchor="middle">{escape(text)}</text>'
              for x, y, w, text in box.values()]
    parts.append(f'<text x="12" y="{len(FLOORS) * HEIGHT + 20}">{escape(summary(imports))}</text>')
    return "\n".join([*parts, "</svg>", ""])


def summary(imports: Graph) -> str:
    """One sentence about all modules."""
    ringed = [name for names in circles(imports) for name in names]
    return (f"{len(imports)} modules, {sum(map(len, imports.values()))} imports among them; "
            f"{len(ringed)} modules in circles, {len(climbs(imports))} imports that climb")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--svg", type=pathlib.Path, help="write the picture here")
    parser.add_argument("--root", type=pathlib.Path, default=ROOT, help="of this copy of the repository")
    options = parser.parse_args()
    imports, _ = graph(options.root)
    if options.svg:
        options.svg.write_text(picture(imports), encoding="utf-8")
    found = faults(options.root)
    print(*found, summary(imports), sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
