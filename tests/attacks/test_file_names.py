"""Names of files in streams and models: a name that means another file, or a device, on some system is refused."""

from __future__ import annotations

import numpy as np
import pytest

from refcodec import Tensor
from refcodec.errors import FormatError
from refcodec.formats.files import check_path, check_paths
from refcodec.formats.writer import SourceWriter
from refcodec.model import Literal, Slot, SlotCoding, Source, SourceFile

TENSOR = Tensor("t", np.zeros(1, np.uint8))


def source(*paths: str) -> Source:
    return Source("onnx", [SourceFile(path, [Literal(b"x"), Slot(0, SlotCoding.PLAIN, 1)]) for path in paths])


@pytest.mark.parametrize("path", [
    "nul", "NUL", "Aux", "con.bin", "a/PRN", "com1", "COM0.tar.gz", "lpt9.x", "CONIN$", "conout$.bin", "nul .txt",
    "aux  .b.c", *(f"a{c}b" for c in '<>|?*":\\'), "a\x7f", "a\x85", "a\tb", "a\nb", "\x1b[2J",
    "w\u202enib.exe", "w\u200b", "\ufeffw", "e\u0301.bin", "\u00e9.bin", "\u0130", "\u212a", "\uff0e\uff0e",
    "\U0001f4a9", "PROGRA~1", "w~2.bin", ".", "..", "a/../b", "/a", "a//b", "a/", "", "a.", "a ", "x" * 256,
    "d/" * 512 + "x"])
def test_names_that_are_not_portable(path, tmp_path):
    with pytest.raises(FormatError, match="BAD_PATH"):
        check_path(path)
    with pytest.raises(FormatError, match="BAD_PATH"):
        SourceWriter(source("m.onnx", path), [TENSOR], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["w.bin", "nullify", "console.bin", "com", "com10", "xnul", "a.nul", "a b", "~w",
                                  "w~x", ".hidden", "-w", "a/b/c", "x" * 255, "#$%&'()+,;=@[]^`{}!"])
def test_names_that_are(path):
    assert check_path(path) == path


@pytest.mark.parametrize("paths", [("W.bin", "w.bin"), ("a/W", "A/w"), ("w", "w"), ("W", "w/x"), ("a/b/c", "A/B"),
                                   ("a/b", "A/B/c")])
def test_names_that_are_one_elsewhere(paths, tmp_path):
    for order in (paths, paths[::-1]):
        with pytest.raises(FormatError, match="BAD_PATH"):
            check_paths(order)
        with pytest.raises(FormatError, match="BAD_PATH"):
            SourceWriter(source(*order), [TENSOR], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_folders_may_be_shared():
    check_paths(["a/x", "A/y", "b", "c.d/e"])
