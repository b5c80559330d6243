"""The table of formats: what each row promises, and what is said of files that no row reads or writes."""

from __future__ import annotations

import os
import re
import zipfile

import numpy as np
import pytest
from helpers import ROOT, run_python

from refcodec import FormatError, Model, Tensor, load, save
from refcodec.bitstream.structures import SourceFormat
from refcodec.formats.foreign import FOREIGN
from refcodec.formats.table import FORMATS, by_ending, by_name, by_source, listed, recognised
from refcodec.formats.writer import TensorWriter
from refcodec.model import Literal, Slot, SlotCoding, Source, SourceFile
from refcodec.topology import name_of

SPEC = (ROOT / "SPEC.md").read_text(encoding="utf-8")
ONE = [Tensor("t", np.array([1, 2, 3], np.float32))]
OF_SOURCES = [row for row in FORMATS if row.source is not None]
MADE_ANEW = [row for row in FORMATS if row.create]


def code_of(call) -> tuple[str, str]:
    """(code, message) of the FormatError that a call raises."""
    with pytest.raises(FormatError) as error:
        call()
    return error.value.code, error.value.message


def source(kind: str = "onnx", paths=("m.onnx",)) -> Source:
    return Source(kind, [SourceFile(p, [Literal(b"<"), Slot(0, SlotCoding.PLAIN, 12), Literal(b">")]) for p in paths])


# Rows

def test_each_source_format_has_one_row():
    assert sorted(row.source for row in OF_SOURCES) == sorted(SourceFormat)


@pytest.mark.parametrize("row", OF_SOURCES, ids=lambda row: row.name)
def test_rows_are_those_of_the_standard(row):
    clause = SPEC[SPEC.index(f"### {row.clause} "):]
    table = re.search(r"\| source_format .*?\n\n", clause, re.DOTALL)[0]
    assert re.search(rf"^\| {row.source.value} \| {row.name.upper()} \|", table, re.MULTILINE)


@pytest.mark.parametrize("row", OF_SOURCES, ids=lambda row: row.name)
def test_rows_are_found_by_name_and_value(row):
    assert by_name(row.name) is row is by_source(row.source)
    assert row.name == row.source.name.lower()


@pytest.mark.parametrize("row", OF_SOURCES, ids=lambda row: row.name)
def test_the_bitstream_knows_a_source_by_the_same_name(row):
    assert name_of(row.source) == row.name


def test_no_ending_stands_twice():
    endings = [e for row in (*FORMATS, *FOREIGN) for e in row.endings]
    assert len(set(endings)) == len(endings)


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.name)
@pytest.mark.parametrize("change", [str, str.upper])
def test_endings_of_any_case(row, change):
    assert by_ending(f"folder.x/model{change(row.endings[0])}") is row


@pytest.mark.parametrize("row", MADE_ANEW, ids=lambda row: row.name)
def test_new_files_are_read_again(row, tmp_path):
    path = tmp_path / f"m{row.endings[0]}"
    writer = row.writer(ONE, path)
    assert isinstance(writer, TensorWriter)
    with writer:
        writer.write_tensor(0, ONE[0].array)
        writer.commit()
    assert load(path).tensors[0].words.tolist() == ONE[0].words.tolist()


@pytest.mark.parametrize("row", MADE_ANEW, ids=lambda row: row.name)
def test_new_files_are_recognised_by_their_bytes(row, tmp_path):
    save(Model(ONE), tmp_path / f"m{row.endings[0]}")
    os.rename(tmp_path / f"m{row.endings[0]}", tmp_path / "model")
    assert recognised(str(tmp_path / "model")) is row


@pytest.mark.parametrize("row", MADE_ANEW, ids=lambda row: row.name)
def test_nothing_is_left_of_a_file_that_was_not_finished(row, tmp_path):
    with row.writer(ONE, tmp_path / f"m{row.endings[0]}") as writer:
        writer.write_tensor(0, ONE[0].array)
    assert os.listdir(tmp_path) == []


def test_formats_that_are_not_made_anew():
    with pytest.raises(ValueError):
        by_name("onnx").writer(ONE, "m.onnx")


def test_the_table_is_read_without_numpy():
    code = "import refcodec.formats.table, sys; assert not {'numpy', 'numba', 'onnx'} & set(sys.modules)"
    assert run_python("-c", code).returncode == 0


@pytest.mark.parametrize("words, text", [(["a"], "a"), (["a", "b"], "a or b"), (["a", "b", "c"], "a, b or c")])
def test_lists_in_words(words, text):
    assert listed(words) == text


# What is not read

def pytorch(path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\2}q\0.")


def keras(path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", b"{}")
        archive.writestr("model.weights.h5", b"")


MADE = {
    "pytorch": (pytorch, "safetensors"),
    "old pytorch": (lambda p: p.write_bytes(b"\x80\2\x8a\nl\xfc\x9c"), "safetensors"),
    "gguf": (lambda p: p.write_bytes(b"GGUF\3\0\0\0" + bytes(16)), "safetensors"),
    "tflite": (lambda p: p.write_bytes(b"\x1c\0\0\0TFL3" + bytes(16)), "tf2onnx"),
    "keras": (keras, "ONNX"), "hdf5": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(16)), "ONNX"),
}


@pytest.mark.parametrize("kind", MADE)
def test_files_of_other_formats_by_their_bytes(kind, tmp_path):
    make, advice = MADE[kind]
    make(tmp_path / "model.weights")
    code, message = code_of(lambda: load(tmp_path / "model.weights"))
    assert code == "UNSUPPORTED_TYPE"
    assert advice in message


@pytest.mark.parametrize("row", FOREIGN, ids=lambda row: row.name)
def test_files_of_other_formats_by_their_names(row, tmp_path):
    for ending in row.endings:
        (tmp_path / f"m{ending}").write_bytes(b"nothing known")
        code, message = code_of(lambda name=f"m{ending}": load(tmp_path / name))
        assert code == "UNSUPPORTED_TYPE"
        assert row.name in message
        assert row.advice in message


def test_a_known_file_under_a_foreign_name_is_read(tmp_path):
    save(Model(ONE), tmp_path / "m.safetensors")
    os.rename(tmp_path / "m.safetensors", tmp_path / "model.bin")
    assert load(tmp_path / "model.bin").tensors[0].name == "t"


def test_what_is_no_model_file_is_told_what_is(tmp_path):
    (tmp_path / "x").write_bytes(b"what is this?")
    assert code_of(lambda: load(tmp_path / "x")) == ("UNSUPPORTED_TYPE", "'x' is not ONNX, safetensors, npz or npy")


def test_folders(tmp_path):
    assert code_of(lambda: load(tmp_path))[0] == "MISSING_FILE"
    (tmp_path / "saved_model.pb").write_bytes(b"")
    assert "--saved-model" in code_of(lambda: load(tmp_path))[1]


# What is not written

@pytest.mark.parametrize("name", ["x.gguf", "x.pt", "x.txt", "x", "x.onnx.bak", "new/", "x.onnx/"])
@pytest.mark.parametrize("origin", [None, source()], ids=["npz", "onnx"])
def test_unknown_endings_are_refused(name, origin, tmp_path):
    code, message = code_of(lambda: save(Model(ONE, source=origin), f"{tmp_path}/{name}"))
    assert code == "TARGET"
    assert ".safetensors, .npz or .npy" in message
    assert (".onnx" in message.removeprefix(f"cannot write '{tmp_path}/{name}'")) == (origin is not None)
    assert os.listdir(tmp_path) == []


def test_folders_are_no_files(tmp_path):
    (tmp_path / "m.npz").mkdir()
    assert code_of(lambda: save(Model(ONE), tmp_path / "m.npz"))[0] == "TARGET"


@pytest.mark.parametrize("name", ["m.onnx", "m.gguf"])
def test_several_files_need_a_folder(name, tmp_path):
    code, message = code_of(lambda: save(Model(ONE, source=source(paths=("m.onnx", "w"))), tmp_path / name))
    assert code == "TARGET"
    assert "2 files (ONNX with external data), so name a folder" in message


@pytest.mark.parametrize("name", ["new", "new/", "v1.2"])
def test_several_files_go_to_a_folder(name, tmp_path):
    save(Model(ONE, source=source(paths=("m.onnx", "w"))), f"{tmp_path}/{name}")
    assert sorted(os.listdir(tmp_path / name)) == ["m.onnx", "w"]


@pytest.mark.parametrize("row", MADE_ANEW, ids=lambda row: row.name)
def test_tensors_of_any_source_go_to_a_new_file(row, tmp_path):
    path = tmp_path / f"m{row.endings[0]}"
    save(Model(ONE, source=source(paths=("m.onnx", "w"))), path)
    assert load(path).tensors[0].words.tolist() == ONE[0].words.tolist()


def test_streams_have_no_sources_of_unknown_formats():
    from refcodec.topology import topology_of

    assert code_of(lambda: topology_of(source("zip")))[0] == "UNSUPPORTED_TYPE"
