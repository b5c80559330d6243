"""The tree of versions as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .graph import shortest_chain

if TYPE_CHECKING:
    from .index import Version
    from .store import Store


def tree(store: Store) -> list[str]:
    """Lines: each version under its first parent, with the streams that are kept of it and its digest."""
    versions, edges = store.index.versions(), store.index.edges()
    children: dict[str | None, list[Version]] = {}
    for v in versions:
        children.setdefault(v.parents[0] if v.parents else None, []).append(v)
    names: dict[str, str] = {}
    for v in versions:
        names.setdefault(v.model_digest, v.name)

    def describe(v: Version) -> str:
        kept = [f"{'whole' if not e.reference else 'from ' + names.get(e.reference, e.reference[:8])} {e.size:,}"
                for e in edges if e.model == v.model]
        chain = shortest_chain(edges, (), v.model)
        reached = f"{sum(e.size for e in chain):,} bytes from nothing" if chain else "LOST: add it again, or repair"
        also = f", also from {', '.join(v.parents[1:])}" if len(v.parents) > 1 else ""
        return f"{v.kind}, {v.bytes:,} bytes{also}; {reached} [{'; '.join(kept)}] {v.model_digest[:16]}"

    lines: list[str] = []
    waiting = [(v, "", "") for v in reversed(children.get(None, []))]
    while waiting:
        v, head, margin = waiting.pop()
        lines.append(f"{head}{v.name}  {describe(v)}")
        below = children.get(v.name, [])
        waiting += [(c, margin + ("`- " if c is below[-1] else "|- "), margin + ("   " if c is below[-1] else "|  "))
                    for c in reversed(below)]
    return lines
