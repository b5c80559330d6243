"""External data of ONNX: a model brings nothing into a stream but what its tensors use."""

from __future__ import annotations

import os

import numpy as np
import pytest
from onnx import TensorProto, helper

from refcodec import encode, load
from refcodec.cli.main import main
from refcodec.errors import FormatError

SECRET = b"-----BEGIN OPENSSH PRIVATE KEY-----" * 12


def model(folder, *tensors: tuple[str, list[int], int, dict]) -> str:
    """An ONNX file whose tensors (name, shape, type, entries of external data) lie elsewhere."""
    protos = []
    for name, shape, kind, entries in tensors:
        t = TensorProto(name=name, dims=shape, data_type=kind, data_location=TensorProto.EXTERNAL)
        for key, value in entries.items():
            t.external_data.add(key=key, value=str(value))
        protos.append(t)
    path = folder / "m.onnx"
    path.write_bytes(helper.make_model(helper.make_graph([], "g", [], [], protos)).SerializeToString())
    return str(path)


@pytest.mark.parametrize("tensor", [
    ([0], 1, {}),                                          # no elements
    ([4, 0], 1, {"length": len(SECRET)}),
    ([1], 1, {}),                                          # one of many
    ([1], 1, {"offset": 40, "length": 4}),
    ([1], 1, {"length": len(SECRET)}),                     # of another length
    ([len(SECRET)], 99, {"length": len(SECRET)}),          # of no known type
    ([len(SECRET)], 8, {"length": len(SECRET)}),           # strings
    ([-1], 2, {"length": len(SECRET)}),
    ([1] * 40, 2, {"length": len(SECRET)})])
def test_a_file_that_no_tensor_uses(tensor, tmp_path, capsys):
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_rsa").write_bytes(SECRET)
    shape, kind, entries = tensor
    path = model(tmp_path, ("t", shape, kind, {"location": ".ssh/id_rsa", **entries}))
    with pytest.raises(FormatError) as error:
        load(path)
    assert "id_rsa" in str(error.value)
    assert main(["encode", path, "-o", str(tmp_path / "out.omc")]) not in (0, None)
    assert "id_rsa" in capsys.readouterr().err
    assert not (tmp_path / "out.omc").exists()


@pytest.mark.parametrize("at", [0, 70, 199])
def test_bytes_beside_those_that_tensors_use(at, tmp_path):
    words = np.zeros(200, np.uint8)
    words[at] = 1
    (tmp_path / "w").write_bytes(words.tobytes())
    path = model(tmp_path, ("a", [4], 1, {"location": "w", "offset": 16, "length": 16}),
                 ("b", [4], 1, {"location": "w", "offset": 128, "length": 16}))
    with pytest.raises(FormatError, match="'w'"):
        load(path)


def test_zeros_that_align_tensors_are_honest(tmp_path):
    words = np.zeros(3 << 16, np.uint8)
    words[:8], words[1 << 16: (1 << 16) + 8] = 1, 2
    (tmp_path / "w").write_bytes(words[: 2 << 16].tobytes())
    path = model(tmp_path, ("a", [8], 2, {"location": "w", "length": 8}),
                 ("b", [8], 2, {"location": "w", "offset": 1 << 16, "length": 8}))
    assert len(encode(load(path))) < 2000


def test_a_large_hole_is_not_read(tmp_path):
    with open(tmp_path / "w", "wb") as f:
        os.truncate(f.fileno(), 1 << 40)
    path = model(tmp_path, ("a", [8], 2, {"location": "w", "length": 8}))
    with pytest.raises(FormatError, match="'w'"):
        load(path)


@pytest.mark.parametrize("what", ["fifo", "link", "folder", "device"])
def test_what_is_no_file_of_the_folder(what, tmp_path):
    place = tmp_path / "w"
    if what == "fifo":
        os.mkfifo(place)
    elif what == "folder":
        place.mkdir()
    else:
        place.symlink_to("/etc/passwd" if what == "link" else "/dev/zero")
    with pytest.raises(FormatError, match="BAD_PATH|MISSING_FILE"):
        load(model(tmp_path, ("a", [8], 2, {"location": "w", "length": 8})))
