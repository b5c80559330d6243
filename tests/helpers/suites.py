"""Small suites of conformance streams, in folders of their own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from helpers.places import ROOT

SUITE = ROOT / "conformance"


def copied_suite(folder: Path, ids: Collection[str], change: Callable[[dict], None] = lambda entry: None) -> Path:
    """A part of the suite in a folder of its own; returns its manifest."""
    data = json.loads((SUITE / "manifest.json").read_text())
    data["streams"] = [e for e in data["streams"] if e["id"] in ("smoke", *ids)]
    (folder / "streams").mkdir()
    for e in data["streams"]:
        shutil.copy(SUITE / e["file"], folder / e["file"])
        change(e)
    (folder / "manifest.json").write_text(json.dumps(data))
    return folder / "manifest.json"
