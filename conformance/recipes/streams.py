"""What a recipe is, and what a stream of the suite is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from refcodec.bitstream.limits import Profile
from refcodec.model import Model

from .builder import Builder


@dataclass
class Recipe:
    """A valid stream. write: puts its units; references: names of external models (external_models)."""

    id: str
    purpose: str
    write: Callable[[Builder], None]
    kind: str = "valid"
    profile: Profile = Profile.BASELINE
    level: int = 1
    references: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()


@dataclass
class Made:
    """A stream that a recipe gave. codes: empty for streams that decode."""

    id: str
    purpose: str
    kind: str
    recipe: str
    data: bytes
    references: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    seed: int | None = None


External = dict[str, Model]
