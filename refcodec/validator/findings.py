"""What a validation finds: violations of requirements, what could not be checked, and advice."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from ..errors import OmcError
from .texts import Requirement, requirements

VALID, INVALID, INCOMPLETE = 0, 10, 11


class Kind(Enum):
    """VIOLATION: a requirement is broken.  UNCHECKED: nothing can be said of this.  WARNING: legal, but not
    advisable."""

    VIOLATION = "violation"
    UNCHECKED = "not checked"
    WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """One finding.

    rules: ids of the requirements that are broken, the nearest first.  code, phase: as a decoder reports it.
    unit: number of the unit.  bit: in its expanded body.
    """

    kind: Kind
    message: str
    unit: int | None = None
    bit: int | None = None
    rules: tuple[str, ...] = ()
    code: str = ""
    phase: str = ""

    @classmethod
    def of(cls, error: OmcError) -> Finding:
        """The violation that an error stands for; one without requirement (such as a lack of memory) checks nothing."""
        kind = Kind.VIOLATION if error.rules else Kind.UNCHECKED
        return cls(kind, error.message, error.unit, error.bit, error.rules, error.code, error.phase)

    @property
    def requirements(self) -> list[Requirement]:
        return [requirements()[rule] for rule in self.rules]

    @property
    def place(self) -> str:
        """Such as 'unit 3, bit 70'; '' for the stream as a whole."""
        return ", ".join(f"{name} {n}" for name, n in (("unit", self.unit), ("bit", self.bit)) if n is not None)

    def text(self) -> str:
        """For a terminal: the place, what is wrong, and the text that says so."""
        head = " ".join(part for part in (f"{self.kind.value}:", *self.rules[:1], self.code) if part)
        lines = [f"{head}{' at ' if self.place else ''}{self.place}", f"    {self.message}"]
        lines += [f"    SPEC {r.clause} {r.title} [{r.id}]: \"{r.text}\"" for r in self.requirements]
        return "\n".join(lines)

    def data(self) -> dict[str, Any]:
        """As plain values."""
        return {"kind": self.kind.value, "message": self.message, "unit": self.unit, "bit": self.bit, "code": self.code,
                "phase": self.phase, "requirements": [asdict(r) for r in self.requirements]}


@dataclass
class Validation:
    """All that was found in one stream, in the order in which it was found."""

    findings: list[Finding] = field(default_factory=list)
    units: int = 0
    models: int = 0
    tensors: int = 0                  # decoded and compared with their digests

    def of_kind(self, kind: Kind) -> list[Finding]:
        return [f for f in self.findings if f.kind == kind]

    @property
    def violations(self) -> list[Finding]:
        return self.of_kind(Kind.VIOLATION)

    @property
    def exit_code(self) -> int:
        """0: valid; 10: not valid; 11: not all could be checked, for want of a reference model or of memory."""
        if any(f.code != "MISSING_REFERENCE" for f in self.violations):
            return INVALID
        return INCOMPLETE if self.violations or any(f.code for f in self.of_kind(Kind.UNCHECKED)) else VALID

    def text(self) -> str:
        """For a terminal."""
        verdict = {VALID: "valid", INVALID: "NOT VALID", INCOMPLETE: "not all could be checked"}[self.exit_code]
        plural = {Kind.VIOLATION: "violations", Kind.UNCHECKED: "not checked", Kind.WARNING: "warnings"}
        counts = "".join(f"; {name}: {len(found)}" for kind, name in plural.items() if (found := self.of_kind(kind)))
        last = f"{verdict}: {self.units} units, {self.models} models, {self.tensors} tensors decoded{counts}"
        return "\n".join([*(f.text() for f in self.findings), last])

    def data(self) -> dict[str, Any]:
        """As plain values."""
        return {"valid": self.exit_code == VALID, "exit": self.exit_code, "units": self.units, "models": self.models,
                "tensors": self.tensors, "findings": [f.data() for f in self.findings]}
