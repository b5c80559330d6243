"""What a fault is: one edit of a valid parent, the requirement that it breaks, the codes that may tell it."""

from __future__ import annotations

from dataclasses import dataclass

from .edits import Edit


@dataclass
class Fault:
    """name: of the stream, after 'x-' and the requirement. codes: each that a legal order of parsing can meet first."""

    requirement: str
    name: str
    parent: str
    edit: Edit
    codes: tuple[str, ...]
    purpose: str
    without_references: bool = False

    @property
    def id(self) -> str:
        return f"x-{self.requirement.replace('.', '_').lower()}-{self.name}"


def fault(requirement: str, name: str, parent: str, edit: Edit, codes: str, purpose: str, **options) -> Fault:
    return Fault(requirement, name, parent, edit, tuple(codes.split()), purpose, **options)
