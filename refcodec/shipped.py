"""Files that come with the codec: the text of the standard and the conformance suite.

In a checkout, and an editable install of one, they stand beside the package; a wheel carries them in the folder
refcodec/standard (setup.py)."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).parent


def shipped(name: str) -> Path:
    """The path of a file or folder that the repository names `name`: ``"SPEC.md"``, ``"conformance/manifest.json"``.

    It need not exist: who opens it says that it is missing."""
    folder = PACKAGE / "standard"
    return (folder if folder.is_dir() else PACKAGE.parent) / name
