"""Streams that use an entropy mode where 7.7.3 does not allow it, for every mode by what the table says of it."""

from __future__ import annotations

from collections.abc import Iterator

from refcodec.bitstream.limits import Profile
from refcodec.bitstream.structures import RANGE_CODED, EntropyMode, UnitType

from .edits import put
from .faults import Fault, fault

DATA = UnitType.TENSOR_DATA
BELOW = {Profile.MAIN: (Profile.BASELINE, "p-levels"), Profile.HIGH: (Profile.MAIN, "trellis-cc")}    # and a parent


def faults() -> Iterator[Fault]:
    """Words or levels that a mode does not code, profiles that lack it, joined units of what is not range coded."""
    for mode in EntropyMode:
        facts = mode.facts
        cases = [("words", "smoke", "words")] if not facts.words else []
        if facts.profile in BELOW:
            profile, parent = BELOW[facts.profile]
            cases.append((profile.name.lower(), parent, ""))
        cases += [("levels", "p-levels", "levels")] if not facts.levels else []
        cases += [("complex", "p-complex", "complex words")] if not facts.complex_words else []
        for name, parent, what in cases:
            where = f"of {what}" if what else f"in the {name.upper()} profile"
            yield fault(facts.rule, name, parent, put(DATA, "entropy_mode", int(mode)), "FORBIDDEN_PATTERN",
                        f"{mode.name} {where}")
    for value in (int(mode) for mode in EntropyMode if mode not in RANGE_CODED):
        yield fault("R7.7.3-8", f"mode-{value}", "joined", put(DATA, "entropy_mode", value), "FORBIDDEN_PATTERN",
                    f"entropy mode {value} in a joined unit")
