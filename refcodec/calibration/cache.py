"""Sensitivities kept in a file beside the model, MODEL.sensitivity.json: measuring takes long, and changes nothing.

The file is one JSON object: `format`, a number that is 1; `key`, the SHA-256 of everything that the measurement depends
on (the model's tensors and graph, the inputs, the outputs that were asked for, the seed); `outputs`, `never_run` and
`tensors` as `refcodec sensitivity --json` has them. A file that does not fit is not an error: it is not used, and gets
replaced.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Sequence
from typing import Any

from ..errors import FormatError
from ..files import atomic_file
from ..model import Literal, Model
from .inputs import digest_of
from .measure import KINDS, Output
from .runtime import Arrays
from .sensitivity import DRAWS, Sensitivities, Sensitivity

FORMAT = 1
ENDING = ".sensitivity.json"
_SIZE_MAX = 1 << 26


def key_of(model: Model, runs: Sequence[Arrays], outputs: Sequence[str], seed: int) -> str:
    """What a measurement is told by: SHA-256 in hexadecimal digits."""
    h = hashlib.sha256(model.digest())
    for file in model.source.files if model.source else []:
        for segment in file.segments:
            h.update(segment.data if isinstance(segment, Literal) else repr(segment).encode())
    h.update(json.dumps([FORMAT, DRAWS, digest_of(runs), list(outputs), seed]).encode())
    return h.hexdigest()


def stored(path: str, key: str) -> Sensitivities | None:
    """What the file at `path` holds, where it is of this key; None where it is not, or is damaged."""
    try:
        if os.path.getsize(path) > _SIZE_MAX:
            return None
        with open(path, encoding="utf-8") as f:
            data = json.load(f)
        if data["format"] != FORMAT or data["key"] != key:
            return None
        tensors = [Sensitivity(**t) for t in data["tensors"]]
        outputs = [Output(**o) for o in data["outputs"]]
        sound = tensors and outputs and all(_sound(s) for s in tensors) and any(s.value > 0 for s in tensors)
        if not sound or any(o.kind not in KINDS for o in outputs):
            return None
        return Sensitivities(tensors, outputs, [str(n) for n in data["never_run"]], int(data["seed"]))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _sound(s: Sensitivity) -> bool:
    numbers = (s.elements, s.value, s.spread, s.noise, s.distance)
    return isinstance(s.name, str) and all(isinstance(x, (int, float)) and math.isfinite(x) and x >= 0 for x in numbers)


def as_json(found: Sensitivities) -> dict[str, Any]:
    """The same as plain data."""
    return {"outputs": [dataclasses.asdict(o) for o in found.outputs], "seed": found.seed,
            "never_run": found.never_run, "tensors": [dataclasses.asdict(s) for s in found.tensors]}


def store(path: str, key: str, found: Sensitivities) -> bool:
    """Writes the file, whole or not at all. False where it cannot be written there."""
    try:
        with atomic_file(path) as f:
            f.write(json.dumps({"format": FORMAT, "key": key, **as_json(found)}, indent=1).encode())
    except (OSError, FormatError):
        return False
    return True
