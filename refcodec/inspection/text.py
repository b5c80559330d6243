"""Names of models, tensors and layers as they may be shown: no control characters, no longer than a table bears."""

from __future__ import annotations

NAME_WIDTH = 72          # characters of a name in a table; in JSON names are whole


def printable(text: str) -> str:
    """A name from a stream as it may be shown: control characters cannot reach the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shown(name: str, width: int = NAME_WIDTH) -> str:
    """A printable name of at most `width` characters: of a longer one the middle is left out."""
    name = printable(name)
    if len(name) <= width:
        return name
    head = (width - 3) // 2
    return f"{name[:head]}...{name[head + 3 - width:]}"
