"""The requirements of SPEC.md by their ids, with their texts (requirements.json, made by
tools/requirement_texts.py)."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True)
class Requirement:
    """One 'shall'. id: as in SPEC.md, or its clause where it has none; clause, title: where it stands; text: its
    words."""

    id: str
    clause: str
    title: str
    text: str


@functools.cache
def requirements() -> dict[str, Requirement]:
    """All of them, by id, in the order of SPEC.md."""
    data = resources.files(__package__).joinpath("requirements.json").read_text(encoding="utf-8")
    return {name: Requirement(name, **entry) for name, entry in json.loads(data).items()}
