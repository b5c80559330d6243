"""Model files of strangers: headers, nesting and archives that order much, and what may run code."""

from __future__ import annotations

import io
import json
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from refcodec import Budget, load
from refcodec.errors import OmcError
from refcodec.formats import load as load_within
from tools import limited


class Evil:
    """A pickle that would leave a file behind."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def npy(header: str, data: bytes = b"", version: tuple[int, int] = (2, 0)) -> bytes:
    text = header.encode()
    return b"\x93NUMPY" + bytes(version) + len(text).to_bytes(4 if version > (1, 0) else 2, "little") + text + data


def safetensors(header: bytes, size: int | None = None) -> bytes:
    return (len(header) if size is None else size).to_bytes(8, "little") + header


def nested(depth: int, field: int) -> bytes:
    """A message in a message in a message: field 7 of a model is a graph, 1 of it a node, 5 an attribute, 6 a graph."""
    message = b""
    for k in range(depth):
        number = (1, 5, 6)[(depth - 1 - k) % 3]
        message = bytes([number << 3 | 2]) + varint(len(message)) + message
    return b"\x08\x08" + bytes([field << 3 | 2]) + varint(len(message)) + message


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def archive(entries: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as z:
        for name, data in entries.items():
            z.writestr(name, data)
    return out.getvalue()


def claimed(data: bytes, size: int) -> bytes:
    """An archive of one entry that claims to be so large."""
    at = data.rfind(b"PK\1\2")
    return data[: at + 24] + size.to_bytes(4, "little") + data[at + 28 :]


HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s,), }"
PLAIN = npy(HEADER % 2, bytes(8), (1, 0))
MANY = ",".join(f'"{i:x}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}' for i in range(50_000))
FILES = {
    "deep.safetensors": safetensors(b'{"a":' + b"[" * 500_000),
    "deep2.safetensors": safetensors(b"{" + b'"a":{' * 200_000),
    "claims.safetensors": safetensors(b"{}", 1 << 62),
    "claims2.safetensors": safetensors(b"{}", 99_999_999),
    "many.safetensors": safetensors(f"{{{MANY}}}".encode()),
    "digits.safetensors": safetensors(b'{"a":{"dtype":"U8","shape":[' + b"9" * 100_000 + b'],"data_offsets":[0,0]}}'),
    "shape.safetensors": safetensors(b'{"a":{"dtype":"F32","shape":[' + b"4294967296," * 31
                                     + b'4294967296],"data_offsets":[0,0]}}'),
    "deep.onnx": nested(30_000, 7), "deep63.onnx": nested(60, 7),
    "records.onnx": b"\x08\x08" + b"\x3a" + varint(2_000_000) + b"\x0a\x00" * 1_000_000,
    "dims.onnx": b"\x08\x08\x3a" + varint(200_009) + b"\x2a" + varint(200_005) + b"\x0a" + varint(200_001)
                 + b"\x7f" * 200_001,
    "deep.npy": npy("(" * 9_000 + ")" * 9_000), "long.npy": npy(HEADER % ("1," * 200_000)),
    "huge.npy": npy(HEADER % (1 << 60)), "digits.npy": npy(HEADER % ("9" * 9_000)),
    "call.npy": npy("{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': ()}"),
    "object.npy": npy("{'descr': '|O', 'fortran_order': False, 'shape': (), }", b"\x80\x04N."),
    "bomb.npz": archive({"w.npy": npy(HEADER % (1 << 24), bytes(1 << 26))}),
    "claims.npz": claimed(archive({"w.npy": PLAIN}), 0xFFFFFFF0),
    "nested.npz": archive({"a.npz": archive({"w.npy": PLAIN})}),
    "entries.npz": archive({f"{i}.npy": b"" for i in range(4000)}),
    "dtypes.npz": archive({"__dtypes__.npy": npy(HEADER.replace("<f4", "|u1") % 200_000, b"[" * 200_000),
                           "w.npy": PLAIN}),
}
READ = {"many.safetensors", "deep63.onnx", "dims.onnx", "records.onnx", "bomb.npz"}       # what is sound, if odd
PROGRAM = """
import json, sys, pathlib, warnings
from refcodec import load
from refcodec.errors import OmcError
warnings.simplefilter("error")
found = {}
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        for t in load(path).tensors:
            t.array
        found[path.name] = "read"
    except OmcError as error:
        found[path.name] = error.code
    assert "\\n" not in found[path.name]
print(json.dumps(found))
"""


def test_files_that_order_much(tmp_path):
    """One process reads them all, one after the other, under limits of the kernel."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    done = limited.run([sys.executable, "-c", PROGRAM, folder], tmp_path, cpu=60, address_space=3 << 30)
    assert done.exit == 0, done.err
    found = json.loads(done.out)
    assert found.keys() == FILES.keys()
    assert {name for name, code in found.items() if code == "read"} == READ, found
    assert done.peak < 900 << 20


@pytest.mark.parametrize("name", ["w.npy", "w.npz", "w.pt", "w.bin", "w"])
def test_pickles_are_not_run(name, tmp_path):
    mark, path = tmp_path / "mark", tmp_path / name
    array = np.array([Evil(mark)], object)
    if name.endswith(".npz"):
        np.savez(path, w=array)
    elif name.endswith(".npy"):
        np.save(path, array)
    else:
        path.write_bytes(pickle.dumps(Evil(mark)))
    with pytest.raises(OmcError):
        for t in load(path).tensors:
            t.array                                      # noqa: B018 (it is read here)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["many.safetensors", "records.onnx", "entries.npz"])
def test_descriptions_are_within_the_budget(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(FILES[name])
    with pytest.raises(OmcError, match=r"RESOURCE_LIMIT.* --max-memory"):
        load_within(path, Budget(memory=1 << 20))
