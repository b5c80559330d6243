"""Model files in and out: byte identity, exact arrays, damage, hostile paths."""

from __future__ import annotations

import glob
import io
import json
import os
import random
import threading
import zipfile

import ml_dtypes
import numpy as np
import onnx
import onnx.backend.test
import pytest
from onnx import TensorProto, helper, numpy_helper

from refcodec.budget import Budget
from refcodec.dtypes import BY_CODE, BY_NAME, dtype_of
from refcodec.errors import FormatError, ReconstructionError
from refcodec.fold import Fold
from refcodec.formats import load, open_writer, save
from refcodec.formats.onnx_file import DATA_TYPES
from refcodec.formats.roles import guess_role
from refcodec.formats.safetensors_file import DTYPES
from refcodec.formats.slots import decode_words, encode_words, size_range
from refcodec.formats.writer import SourceWriter
from refcodec.model import (
    Literal,
    Model,
    Role,
    Slot,
    SlotCoding,
    Source,
    SourceFile,
    Tensor,
)

RNG = np.random.default_rng(20261122)


def random_array(dtype, shape):
    """Every bit pattern of the type is likely, NaNs included; bool stays 0 or 1."""
    words = RNG.integers(0, 1 << min(dtype.bits, 63), (int(np.prod(shape)) * dtype.parts,), np.uint64)
    words = words & np.uint64(1) if dtype.name == "bool" else words
    return words.astype(dtype.word).view(dtype.numpy).reshape(shape)


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def varint(n):
    n &= (1 << 64) - 1
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def message(*fields):
    """Protobuf bytes of (number, value) pairs: int, or bytes or str."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            value = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return out


def tensor_bytes(name, data_type, dims, *fields):
    return message(*((1, d) for d in dims), (2, data_type), (8, name), *fields)


def model_bytes(*tensors):
    return message((1, 10), (7, message(*((5, t) for t in tensors))), (8, message((2, 20))))


def round_trip(path, data):
    """Loads and saves; the file must come back.  Returns the Model."""
    path.write_bytes(data)
    model = load(path)
    out = path.with_name("out" + path.suffix)
    save(model, out)
    assert out.read_bytes() == data
    assert b"".join(s.data if isinstance(s, Literal) else bytes(s.size) for s in model.source.files[0].segments)
    assert model.source.files[0].size == len(data)
    return model


def names(model):
    return [t.name for t in model.tensors]


# ---- slot codings

@pytest.mark.parametrize("code", sorted(BY_CODE))
def test_slot_codings_invert(code):
    dtype = BY_CODE[code]
    codings = [SlotCoding.PACKED if dtype.bits < 8 else SlotCoding.PLAIN] + [SlotCoding.VARINT] * (dtype.parts == 1)
    for coding in codings:
        for count in (1, 2, 3, 4, 5, 12, 13, 1000):
            array = random_array(dtype, (count,))
            words = array.view(dtype.word)
            data = encode_words(words, dtype, coding)
            smallest, largest = size_range(dtype, count, coding)
            assert smallest <= data.size <= largest
            assert np.array_equal(decode_words(data, dtype, coding, count), words)


def test_varints_across_blocks_match_protobuf():
    values = RNG.integers(-2**63, 2**63 - 1, 300_000) >> RNG.integers(0, 63, 300_000)
    dtype = BY_NAME["int64"]
    data = encode_words(values.view(np.uint64), dtype, SlotCoding.VARINT)
    assert data[:2000].tobytes() == b"".join(varint(int(v)) for v in values[:2000])[:2000]
    assert np.array_equal(decode_words(data, dtype, SlotCoding.VARINT, values.size), values.view(np.uint64))


# ---- ONNX: fields and types

@pytest.mark.parametrize("data_type", sorted(DATA_TYPES))
def test_onnx_every_type_raw_and_typed(tmp_path, data_type):
    dtype = DATA_TYPES[data_type]
    assert helper.tensor_dtype_to_np_dtype(data_type) == dtype.numpy
    array = random_array(dtype, (3, 5))
    raw = numpy_helper.from_array(array, "raw")
    typed = TensorProto(name="typed", data_type=data_type, dims=[3, 5])
    field = helper.tensor_dtype_to_field(data_type)
    words = array.reshape(-1).view(dtype.word)
    if dtype.bits < 8 and "float6" not in dtype.name:      # packed bytes, one in each int32: stays literal
        getattr(typed, field).extend(encode_words(words, dtype, SlotCoding.PACKED).tolist())
    elif field in ("float_data", "double_data"):
        getattr(typed, field).extend(words.view(f"f{dtype.bits // 8}").tolist())
    else:
        getattr(typed, field).extend((words.view(dtype.numpy) if dtype.kind == "i" else words).tolist())
    if dtype.kind == "f" and field in ("float_data", "double_data"):   # Python floats quieten NaNs
        array = np.nan_to_num(array)
        raw = numpy_helper.from_array(array, "raw")
        del getattr(typed, field)[:]
        getattr(typed, field).extend(array.reshape(-1).view(f"f{dtype.bits // 8}").tolist())
    data = helper.make_model(helper.make_graph([], "g", [], [], [raw, typed])).SerializeToString()
    model = round_trip(tmp_path / "m.onnx", data)
    literal = dtype.bits < 8 and "float6" not in dtype.name
    assert names(model) == (["raw"] if literal else ["raw", "typed"])
    for tensor in model.tensors:
        assert same(tensor.array, array), tensor
    slots = [s.coding for s in model.source.files[0].segments if isinstance(s, Slot)]
    assert slots[0] == (SlotCoding.PACKED if dtype.bits < 8 else SlotCoding.PLAIN)


OPAQUE = {
    "string": tensor_bytes("t", 8, [2], (6, b"ab"), (6, b"c")),
    "unpacked floats": message((1, 2), (2, 1), (8, "t")) + b"\x25\0\0\0\0" * 2,
    "unpacked ints": tensor_bytes("t", 7, [2], (7, 1), (7, 2)),
    "split raw": tensor_bytes("t", 2, [2], (9, b"ab"), (9, b"cd")),
    "split packed": tensor_bytes("t", 7, [2], (7, b"\1"), (7, b"\2")),
    "non-minimal varint": tensor_bytes("t", 7, [2], (7, b"\1\x82\0")),
    "negative int32 of 5 bytes": tensor_bytes("t", 6, [1], (5, b"\xff\xff\xff\xff\x0f")),
    "int8 out of range": tensor_bytes("t", 3, [1], (5, varint(300))),
    "float16 out of range": tensor_bytes("t", 10, [1], (5, varint(1 << 16))),
    "unfinished varint": tensor_bytes("t", 7, [1], (7, b"\x81")),
    "varint of 11 bytes": tensor_bytes("t", 7, [1], (7, b"\x81" * 10 + b"\1")),
    "too few": tensor_bytes("t", 7, [3], (7, b"\1\2")),
    "wrong size": tensor_bytes("t", 1, [2], (9, b"abcdefg")),
    "dirty padding": tensor_bytes("t", 21, [3], (9, b"\x21\xf3")),
    "dirty padding of 6 bits": tensor_bytes("t", 27, [1], (9, b"\x40")),
    "no elements": tensor_bytes("t", 1, [0, 3], (9, b"")),
    "negative dim": tensor_bytes("t", 1, [-1], (9, b"abcd")),
    "huge dims": tensor_bytes("t", 1, [2**62] * 8, (9, b"abcd")),
    "unknown type": tensor_bytes("t", 99, [1], (9, b"abcd")),
    "no type": message((1, 1), (9, b"abcd")),
    "segment": tensor_bytes("t", 1, [1], (3, message((1, 0), (2, 1))), (9, b"abcd")),
    "int field for floats": tensor_bytes("t", 1, [1], (5, b"\1")),
    "no data": tensor_bytes("t", 1, [2]),
    "40 dims": tensor_bytes("t", 2, [1] * 40, (9, b"a")),
}


@pytest.mark.parametrize("case", OPAQUE)
def test_onnx_what_cannot_be_placed_stays_literal(tmp_path, case):
    good = tensor_bytes("good", 2, [3], (9, b"xyz"))
    model = round_trip(tmp_path / "m.onnx", model_bytes(OPAQUE[case], good))
    assert names(model) == ["good"]
    assert model["good"].array.tolist() == [120, 121, 122]


def test_onnx_odd_but_placeable(tmp_path):
    packed_dims = message((1, b"\2\3"), (2, 2), (9, b"abcdef"), (8, "p"), (1000, b"unknown field"))
    scalar = tensor_bytes("s", 1, [], (9, b"\0\0\x80\x3f"))
    long_tag = message((8, "n")) + b"\xca\x80\x00\x02ab" + message((1, 2), (2, 2))      # raw_data, tag of 3 bytes
    model = round_trip(tmp_path / "m.onnx", model_bytes(packed_dims, scalar, long_tag))
    assert model["p"].shape == (2, 3)
    assert model["s"].array == np.float32(1)
    assert model["s"].shape == ()
    assert model["n"].array.tolist() == [97, 98]


def weight(name, *shape, dtype=np.float32):
    return numpy_helper.from_array(RNG.standard_normal(shape).astype(dtype), name)


def ints(name, *values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def test_onnx_subgraphs_functions_sparse_and_names(tmp_path):
    inner = helper.make_graph([helper.make_node("MatMul", ["x", "outer"], ["y"]),
                               helper.make_node("MatMul", ["y", "w"], ["z"])], "inner", [], [], [weight("w", 4, 4)])
    sparse = helper.make_sparse_tensor(weight("sp", 3), ints("", 1, 4, 7), [3, 3])
    nodes = [helper.make_node("If", ["c"], ["o"], name="choice", then_branch=inner, else_branch=inner),
             helper.make_node("Constant", [], ["k"], value=weight("ignored", 5)),
             helper.make_node("Constant", [], ["w"], value=weight("", 2)),
             helper.make_node("Constant", [], ["sk"], sparse_value=sparse)]
    graph = helper.make_graph(nodes, "g", [], [], [weight("w", 4, 4), weight("outer", 4, 3)],
                              sparse_initializer=[sparse])
    body = [helper.make_node("Constant", [], ["fw"], value=weight("", 4, 3)),
            helper.make_node("MatMul", ["a", "fw"], ["b"], name="fmm")]
    function = helper.make_function("dom", "fn", ["a"], ["b"], body, [helper.make_opsetid("", 20)])
    data = helper.make_model(graph, functions=[function]).SerializeToString()
    model = round_trip(tmp_path / "m.onnx", data)
    assert set(names(model)) == {"w", "outer", "k", "w#2", "choice/then_branch/w", "choice/else_branch/w", "sp",
                                 "sp/indices", "sk/sp", "sk/sp/indices", "fn/fw"}
    assert len(set(names(model))) == len(model.tensors) == 11
    by_name = {t.name: i for i, t in enumerate(model.tensors)}
    used = [(layer.operator_name, [t[0] for t in layer.tensors]) for layer in model.layers]
    assert ("MatMul", [by_name["outer"]]) in used
    assert ("MatMul", [by_name["fn/fw"]]) in used
    assert ("MatMul", [by_name["choice/then_branch/w"]]) in used
    assert same(model["w"].array, numpy_helper.to_array(graph.initializer[0]))


def test_onnx_lists_of_tensors_and_training(tmp_path):
    node = helper.make_node("Custom", [], ["o"], name="c", domain="d", many=[weight("a", 2), weight("b", 3)])
    proto = helper.make_model(helper.make_graph([node], "g", [], []))
    proto.training_info.add().algorithm.CopyFrom(helper.make_graph([], "t", [], [], [weight("step", 3)]))
    model = round_trip(tmp_path / "m.onnx", proto.SerializeToString())
    assert names(model) == ["c/many", "c/many#2", "training/step"]


def test_onnx_arrays_are_read_anew(tmp_path):
    model = round_trip(tmp_path / "m.onnx", model_bytes(tensor_bytes("t", 2, [3], (9, b"xyz"))))
    assert model["t"].array is not model["t"].array
    (tmp_path / "m.onnx").write_bytes(b"short")
    with pytest.raises(FormatError) as error:
        _ = model["t"].array
    assert error.value.code == "TRUNCATED"
    (tmp_path / "m.onnx").unlink()
    with pytest.raises(FormatError):
        _ = model["t"].array


def test_onnx_over_two_gigabytes(tmp_path):
    size = 600_000_000                    # a file of holes: nothing of the tensor is read or written
    head = message((1, size), (2, 1), (8, "big")) + varint(9 << 3 | 2) + varint(4 * size)
    graph = varint(5 << 3 | 2) + varint(len(head) + 4 * size) + head
    start = message((1, 10)) + varint(7 << 3 | 2) + varint(len(graph) + 4 * size) + graph
    with open(tmp_path / "m.onnx", "wb") as f:
        f.write(start)
        f.truncate(len(start) + 4 * size)
    model = load(tmp_path / "m.onnx")
    assert model["big"].shape == (size,)
    assert model.source.files[0].size == len(start) + 4 * size


# ---- ONNX: layers

def test_onnx_layers(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "conv_w", "conv_b"], ["c"], name="conv"),
        helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"], name="bn"),
        helper.make_node("ConvTranspose", ["n", "up_w"], ["u"], name="up"),
        helper.make_node("PRelu", ["u", "slope"], ["p"], name="act"),
        helper.make_node("Reshape", ["p", "shape"], ["r"], name="reshape"),
        helper.make_node("MatMul", ["r", "mm"], ["q"], name="mm"),
        helper.make_node("Add", ["mm_b", "q"], ["a"], name="add"),
        helper.make_node("Mul", ["a", "half"], ["h"], name="mul"),
        helper.make_node("Gemm", ["h", "gemm_w", "gemm_b"], ["e"], name="gemm"),
        helper.make_node("Gemm", ["e", "gemm_t"], ["f"], name="gemm_t", transB=1),
        helper.make_node("LSTM", ["f", "lw", "lr", "lb"], ["l"], name="lstm"),
        helper.make_node("Gather", ["table", "ids"], ["t"], name="gather"),
        helper.make_node("DequantizeLinear", ["qw", "qs", "qz"], ["dq"], name="dq"),
        helper.make_node("MatMul", ["l", "dq"], ["z"], name="mm2"),
        helper.make_node("MatMul", ["z", "batch"], ["zz"], name="mm3"),
    ]
    initializers = [weight("conv_w", 8, 3, 3, 3), weight("conv_b", 8), weight("up_w", 8, 4, 2, 2),
                    weight("slope", 4, 1, 1),
                    *(weight(n, 8) for n in "gbmv"), ints("shape", 1, -1), weight("mm", 6, 5), weight("mm_b", 5),
                    weight("half"), weight("gemm_w", 5, 7), weight("gemm_b", 7), weight("gemm_t", 9, 7),
                    weight("lw", 2, 16, 9), weight("lr", 2, 16, 4), weight("lb", 2, 32), weight("table", 50, 4),
                    numpy_helper.from_array(np.ones((4, 6), np.int8), "qw"), weight("qs"),
                    numpy_helper.from_array(np.int8(0), "qz"), weight("batch", 2, 6, 5)]
    data = helper.make_model(helper.make_graph(nodes, "g", [], [], initializers)).SerializeToString()
    model = round_trip(tmp_path / "m.onnx", data)
    found = {(layer.name, model.tensors[i].name): (role, fold)
             for layer in model.layers for i, role, fold in layer.tensors}
    expected = {
        ("conv", "conv_w"): (Role.WEIGHT, None), ("conv", "conv_b"): (Role.BIAS, None),
        ("bn", "g"): (Role.NORM_SCALE, None), ("bn", "b"): (Role.NORM_BIAS, None), ("bn", "m"): (Role.MEAN, None),
        ("bn", "v"): (Role.VARIANCE, None), ("up", "up_w"): (Role.WEIGHT, Fold((1, 0, 2, 3), 1, 4)),
        ("act", "slope"): (Role.NORM_SCALE, None), ("reshape", "shape"): (Role.SHAPE, None),
        ("mm", "mm"): (Role.WEIGHT, Fold((1, 0), 1, 1)), ("add", "mm_b"): (Role.BIAS, None),
        ("mul", "half"): (Role.OTHER, None), ("gemm", "gemm_w"): (Role.WEIGHT, Fold((1, 0), 1, 1)),
        ("gemm", "gemm_b"): (Role.BIAS, None), ("gemm_t", "gemm_t"): (Role.WEIGHT, None),
        ("lstm", "lw"): (Role.WEIGHT, Fold((0, 1, 2), 2, 1)),
        ("lstm", "lr"): (Role.RECURRENT_WEIGHT, Fold((0, 1, 2), 2, 1)),
        ("lstm", "lb"): (Role.BIAS, None), ("gather", "table"): (Role.EMBEDDING, None),
        ("dq", "qs"): (Role.QUANTISATION_SCALE, None), ("dq", "qz"): (Role.ZERO_POINT, None),
        ("mm2", "qw"): (Role.WEIGHT, Fold((1, 0), 1, 1)), ("mm3", "batch"): (Role.WEIGHT, Fold((0, 2, 1), 2, 1)),
    }
    assert found == expected


@pytest.mark.parametrize("name, shape, role", [
    ("layer1.0.conv1.weight", (64, 3, 7, 7), Role.WEIGHT), ("fc.bias", (10,), Role.BIAS),
    ("bn1.running_mean", (64,), Role.MEAN), ("bn1.running_var", (64,), Role.VARIANCE),
    ("bn1.weight", (64,), Role.NORM_SCALE), ("model.layers.3.input_layernorm.weight", (64,), Role.NORM_SCALE),
    ("encoder.LayerNorm.beta", (64,), Role.NORM_BIAS), ("ln_f.bias", (64,), Role.NORM_BIAS),
    ("model.embed_tokens.weight", (100, 64), Role.EMBEDDING), ("transformer.wte.weight", (100, 64), Role.EMBEDDING),
    ("rnn.weight_hh_l0", (64, 16), Role.RECURRENT_WEIGHT), ("rnn.bias_ih_l0_reverse", (64,), Role.BIAS),
    ("q_proj.weight_scale", (64, 1), Role.QUANTISATION_SCALE), ("scalar", (), Role.OTHER),
])
def test_guess_role(name, shape, role):
    assert guess_role(name, shape, BY_NAME["float32"]) == role


# ---- ONNX: external data

def external(name, shape, location, offset=None, length=None, data_type=1):
    t = TensorProto(name=name, data_type=data_type, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            t.external_data.add(key=key, value=str(value))
    return t


def write_external(folder, tensors, **files):
    folder.mkdir(parents=True, exist_ok=True)
    proto = helper.make_model(helper.make_graph([], "g", [], [], tensors))
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder / "m.onnx"


def test_external_data_round_trip(tmp_path):
    words = np.zeros(1000, np.uint8)
    for first, end in ((64, 128), (200, 203), (980, 1000)):           # what tensors use; zeros between them
        words[first:end] = RNG.integers(1, 256, end - first)
    blob = words.tobytes()
    tensors = [external("a", [4, 4], "w1", 64, 64), external("b", [3], "./sub/w2"),
               external("tied", [16], "w1", 64, 64),
               external("half", [8], "w1", 80, 32), external("other type", [64], "w1", 64, 64, 2),
               external("end", [5], "w1", 980, 20), external("packed", [5], "w1", 200, 3, 21),
               external("wrong", [5], "w1", 300, 7), weight("inline", 3)]
    path = write_external(tmp_path / "in", tensors, w1=blob)
    (tmp_path / "in" / "sub").mkdir()
    (tmp_path / "in" / "sub" / "w2").write_bytes(blob[64:76])
    model = load(path)
    assert set(names(model)) >= {"a", "b", "end", "inline"}
    assert not {"tied", "half", "wrong"} & set(names(model))
    assert [f.path for f in model.source.files] == ["m.onnx", "w1", "sub/w2"]
    assert model["a"].array.tobytes() == blob[64:128]
    save(model, tmp_path / "out")
    for name in ("m.onnx", "w1", "sub/w2"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "in" / name).read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]
    with pytest.raises(FormatError, match="folder"):
        save(model, tmp_path / "out.onnx")
    with pytest.raises(FormatError, match="not an empty folder"):
        save(model, tmp_path / "out")


def test_external_data_in_very_many_files(tmp_path):
    count = 1500                            # more than a process may hold open
    tensors = [external(f"t{i}", [2], f"f{i}") for i in range(count)]
    files = {f"f{i}": np.full(2, i, np.float32).tobytes() for i in range(count)}
    model = load(write_external(tmp_path / "in", tensors, **files))
    save(model, tmp_path / "out")
    assert len(model.tensors) == count
    assert all((tmp_path / "out" / name).read_bytes() == data for name, data in files.items())


def test_external_tensors_share_a_layer_index(tmp_path):
    tensors = [external("a", [4, 4], "w", 0, 64), external("b", [4, 4], "w", 0, 64)]
    nodes = [helper.make_node("MatMul", ["x", "a"], ["y"]), helper.make_node("MatMul", ["y", "b"], ["z"])]
    (tmp_path / "w").write_bytes(bytes(range(64)))
    proto = helper.make_model(helper.make_graph(nodes, "g", [], [], tensors))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    model = load(tmp_path / "m.onnx")
    assert names(model) == ["a"]
    assert [layer.tensors[0][0] for layer in model.layers] == [0, 0]


@pytest.mark.parametrize("location", ["../w", "/etc/passwd", "a/../../w", "..", "", "a\\b", "C:/w", "w\0", "sub//w",
                                      "link", "linked/w", "m.onnx", "missing", "sub", "CON:", "w "])
def test_external_path_attacks(tmp_path, location):
    (tmp_path / "w").write_bytes(bytes(100))
    path = write_external(tmp_path / "in", [external("t", [4], location)], w=bytes(100))
    (tmp_path / "in" / "sub").mkdir()
    os.symlink(tmp_path / "w", tmp_path / "in" / "link")
    os.symlink(tmp_path, tmp_path / "in" / "linked")
    with pytest.raises(FormatError) as error:
        load(path)
    assert error.value.code in ("BAD_PATH", "MISSING_FILE")


@pytest.mark.parametrize("offset, length", [(90, 16), (0, 101), (10**18, 1), ("-1", 16), ("x", 16), (0, "1e3"),
                                            (90, None),                                             ("9" * 5000, 1)])
def test_external_ranges_outside(tmp_path, offset, length):
    path = write_external(tmp_path / "in", [external("t", [4], "w", offset, length)], w=bytes(100))
    with pytest.raises(FormatError) as error:
        load(path)
    assert error.value.code == "OUT_OF_RANGE"


# ---- the writer

def one_slot_source(paths, size=12, coding=SlotCoding.PLAIN):
    return Source("onnx", [SourceFile(p, [Literal(b"<"), Slot(0, coding, size), Literal(b">")]) for p in paths])


T3 = [Tensor("t", np.array([1, 2, 3], np.float32))]


@pytest.mark.parametrize("path", ["../x", "/x", "a/../b", "a//b", ".", "", "a\\b", "c:x", "a\0b", "x" * 300, "m.onnx",
                                  "m.onnx/x", "d/" * 600 + "x", "a ", "\udc80", "x.", "M.ONNX", "m.Onnx/x"])
def test_writer_refuses_paths(tmp_path, path):
    with pytest.raises(FormatError) as error:
        SourceWriter(one_slot_source(["m.onnx", path]), T3, tmp_path / "out")
    assert error.value.code == "BAD_PATH"
    assert os.listdir(tmp_path) == []


def test_writer_checks_slots(tmp_path):
    for source, code in ((one_slot_source(["m"], 13), "BAD_SIZE"),
                         (one_slot_source(["m"], 31, SlotCoding.VARINT), "BAD_SIZE"),
                         (one_slot_source(["m"], 12, SlotCoding.PACKED), "FORBIDDEN_PATTERN"),
                         (Source("onnx", [SourceFile("m", [Slot(1, SlotCoding.PLAIN, 12)])]), "DANGLING_REFERENCE"),
                         (Source("onnx", []), "FORBIDDEN_PATTERN"),
                         (Source("zip", [SourceFile("m")]), "FORBIDDEN_PATTERN")):
        with pytest.raises(FormatError) as error:
            SourceWriter(source, T3, tmp_path / "out.onnx")
        assert error.value.code == code
    huge = Tensor("huge", dtype=BY_NAME["uint8"], shape=[1 << 70], load=lambda: np.zeros(0, np.uint8))
    with pytest.raises(FormatError) as error:
        SourceWriter(one_slot_source(["m"], 1 << 70), [huge], tmp_path / "out.onnx")
    assert error.value.code == "TARGET"
    with pytest.raises(ReconstructionError) as error:
        SourceWriter(one_slot_source(["m"]), T3, tmp_path / "out.onnx", Budget(output=13))
    assert error.value.code == "RESOURCE_LIMIT"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("paths", "target"), [(["m.onnx"], "out.onnx"), (["m.onnx", "a/b/w"], "out")],
                         ids=["a file", "a folder"])
def test_writer_leaves_nothing_behind(tmp_path, paths, target):
    writer = SourceWriter(one_slot_source(paths), T3, tmp_path / target)
    with pytest.raises(ReconstructionError) as error, writer:
        writer.commit()
    assert error.value.code == "MISSING_UNIT"
    assert os.listdir(tmp_path) == []
    writer = SourceWriter(one_slot_source(paths), T3, tmp_path / target)
    with pytest.raises(ZeroDivisionError), writer:
        writer.write_tensor(0, T3[0].array)
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_writer_tensor_must_fit(tmp_path):
    source = one_slot_source(["m.onnx"], 4, SlotCoding.VARINT)
    tensors = [Tensor("t", np.array([1, 2, 300], np.int32))]
    with SourceWriter(source, tensors, tmp_path / "o.onnx") as writer:
        for wrong in (np.zeros(3, np.int64), np.zeros(4, np.int32), np.zeros(3, np.int32), np.zeros(3, object)):
            with pytest.raises(ReconstructionError) as error:
                writer.write_tensor(0, wrong)
            assert error.value.code == "BAD_SIZE"
        writer.write_tensor(0, tensors[0].array.astype(">i4"))
        writer.commit()
    assert (tmp_path / "o.onnx").read_bytes() == b"<\1\2\xac\2>"


def test_writer_any_order_threads_and_several_slots(tmp_path):
    tensors = [Tensor(f"t{i}", RNG.integers(0, 9, (50, i + 1), np.uint8)) for i in range(40)]
    segments = [s for i, t in enumerate(tensors) for s in (Literal(b"%d" % i), Slot(i, SlotCoding.PLAIN, t.nbytes))]
    source = Source("onnx", [SourceFile("m.onnx", segments + segments[:6])])
    with open_writer(tmp_path / "o.onnx", source, tensors) as writer:
        threads = [threading.Thread(target=writer.write_tensor, args=(i, t.array)) for i, t in enumerate(tensors)]
        random.Random(1).shuffle(threads)
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        writer.commit()
    body = [b"%d" % i + t.array.tobytes() for i, t in enumerate(tensors)]
    assert (tmp_path / "o.onnx").read_bytes() == b"".join(body + body[:3])


def test_save_refuses_other_kinds(tmp_path):
    for model, name in ((Model(T3), "m.onnx"), (Model(T3 * 2), "m.npy"), (Model([]), "m.npy"),
                        (Model(T3, source=one_slot_source(["m"])), "m.txt")):
        with pytest.raises(FormatError) as error:
            save(model, tmp_path / name)
        assert error.value.code == "TARGET"
    with pytest.raises(FormatError):
        save(Model(T3), tmp_path)
    assert os.listdir(tmp_path) == []


# ---- safetensors

def safetensors_bytes(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize("name", DTYPES)
def test_safetensors_every_type(tmp_path, name):
    import safetensors
    array = random_array(DTYPES[name], (2, 4))
    model = Model([Tensor("x", array), Tensor("scalar", np.float32(3)), Tensor("ü/y", array[:, ::-1])])
    path = tmp_path / "m.safetensors"
    save(model, path)
    again = round_trip(path, path.read_bytes())
    assert [t.digest() for t in again.tensors] == [t.digest() for t in model.tensors]
    assert same(again["x"].array, array)
    assert dict(safetensors.deserialize(path.read_bytes()))["x"]["dtype"] == name


def test_safetensors_order_gaps_metadata_and_unknown_types(tmp_path):
    header = {"z": {"dtype": "U8", "shape": [2], "data_offsets": [5, 7]}, "__metadata__": {"format": "pt"},
              "a": {"dtype": "U8", "shape": [3], "data_offsets": [1, 4]},
              "new": {"dtype": "F3", "shape": [3], "data_offsets": [8, 10]},
              "none": {"dtype": "F32", "shape": [0, 7], "data_offsets": [3, 3]}}
    data = safetensors_bytes(json.dumps(header).encode() + b"   ", b"-abc-zz-nn-")
    model = round_trip(tmp_path / "m.safetensors", data)
    assert names(model) == ["a", "z"]
    assert model["a"].array.tobytes() == b"abc"


ENTRY = {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}
BAD_SAFETENSORS = [
    b"", b"1234567", (200_000_000).to_bytes(8, "little") + b"{}", safetensors_bytes(b"{}")[:9],
    safetensors_bytes(b"[]"),
    safetensors_bytes(b" {}"), safetensors_bytes(b"{"), safetensors_bytes(b"\xff{}"), safetensors_bytes(b"[" * 100000),
    safetensors_bytes(b'{"a":' * 100000), safetensors_bytes(b'{"a":1,"a":1}'), safetensors_bytes(b'{"a":NaN}'),
    safetensors_bytes({"a": 1}), safetensors_bytes({"a": {}}), safetensors_bytes({"a": ENTRY}, b"x"),
    safetensors_bytes({"a": {**ENTRY, "shape": [3]}}, b"xyz"),
    safetensors_bytes({"a": {**ENTRY, "shape": [True]}}, b"xyz"),
    safetensors_bytes({"a": {**ENTRY, "shape": "2"}}, b"xyz"),
    safetensors_bytes({"a": {**ENTRY, "shape": [-2]}}, b"xyz"),
    safetensors_bytes({"a": {**ENTRY, "shape": [2.0]}}, b"xyz"),
    safetensors_bytes({"a": {**ENTRY, "dtype": 3}}, b"xyz"),
    safetensors_bytes({"a": {**ENTRY, "data_offsets": [2, 0]}}, b"xyz"),
    safetensors_bytes({"a": {**ENTRY, "data_offsets": [0]}}, b"xyz"),
    safetensors_bytes({"a": {**ENTRY, "data_offsets": None}}, b"xyz"),
    safetensors_bytes({"a": ENTRY, "b": {**ENTRY, "data_offsets": [1, 3]}}, b"xyz"),
    safetensors_bytes({"a": ENTRY, "b": ENTRY}, b"xyz"), safetensors_bytes({"__metadata__": {"a": 1}}),
    safetensors_bytes({"__metadata__": [1]}), safetensors_bytes({"\ud800": ENTRY}, b"xyz"),
    safetensors_bytes({"a": {**ENTRY, "shape": [2**62] * 30}}, b"xyz"),
    safetensors_bytes(b'{"a":{"dtype":"U8","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,2]}}', b"xyz"),
]


@pytest.mark.parametrize("number", range(len(BAD_SAFETENSORS)))
def test_safetensors_damaged(tmp_path, number):
    (tmp_path / "m.safetensors").write_bytes(BAD_SAFETENSORS[number])
    with pytest.raises(FormatError):
        load(tmp_path / "m.safetensors")


def test_safetensors_refuses_what_it_cannot_hold(tmp_path):
    for array in (np.zeros(2, ml_dtypes.int4), np.zeros(2, np.complex128), np.zeros(3, ml_dtypes.float4_e2m1fn)):
        with pytest.raises(FormatError) as error:
            save(Model([Tensor("t", array)]), tmp_path / "m.safetensors")
        assert error.value.code == "UNSUPPORTED_TYPE"
    for bad in ([Tensor("t", np.ones(1))] * 2, [Tensor("__metadata__", np.ones(1))]):
        with pytest.raises(FormatError):
            save(Model(bad), tmp_path / "m.safetensors")


# ---- npz and npy

def test_npz_every_type(tmp_path):
    tensors = [Tensor(f"dir/{d.name}", random_array(d, (3, 4))) for d in BY_CODE.values()]
    tensors += [Tensor("scalar", np.float32(1)), Tensor("empty", np.zeros((0, 3)))]
    model = Model(tensors)
    save(model, tmp_path / "m.npz")
    again = load(tmp_path / "m.npz")
    assert names(again) == names(model)
    assert again.digest() == model.digest()
    assert again.source is None
    assert all(same(a.array, b.array) for a, b in zip(again.tensors, tensors))
    with np.load(tmp_path / "m.npz") as plain:
        assert np.array_equal(plain["dir/int32"], model["dir/int32"].array)
    save(again, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "m.npz").read_bytes()


def test_npz_of_numpy_itself(tmp_path):
    big_endian, fortran = np.arange(6, dtype=">i4").reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3))
    np.savez_compressed(tmp_path / "m.npz", a=big_endian, f=fortran, s=np.float16(2))
    model = load(tmp_path / "m.npz")
    assert names(model) == ["a", "f", "s"]
    assert np.array_equal(model["a"].array, big_endian)
    assert model["f"].array.flags.c_contiguous
    assert np.array_equal(model["f"].array, fortran)
    np.save(tmp_path / "m.npy", fortran)
    assert np.array_equal(load(tmp_path / "m.npy")["array"].array, fortran)
    os.rename(tmp_path / "m.npz", tmp_path / "model.bin")
    assert names(load(tmp_path / "model.bin")) == ["a", "f", "s"]


def test_npz_refusals(tmp_path):
    np.savez(tmp_path / "void.npz", a=np.zeros(3, ml_dtypes.bfloat16))
    with pytest.raises(FormatError, match="void"):
        load(tmp_path / "void.npz")
    for array in (np.array(["x"]), np.array([{}], object), np.zeros(2, [("a", "i4")]), np.zeros(1, "M8[s]"),
                  np.zeros(2, ml_dtypes.float8_e5m2), np.zeros(2, np.longdouble)):
        np.savez(tmp_path / "m.npz", a=array)
        np.save(tmp_path / "m.npy", array)
        for name in ("m.npz", "m.npy"):
            with pytest.raises(FormatError):
                load(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as z:
        z.writestr("a.txt", b"no array")
    with pytest.raises(FormatError):
        load(tmp_path / "m.npz")
    for table in (b"{", b"[]", b'{"a":1}', b'{"a":"bfloat16"}', b'{"a":"float64"}', b'{"a":"nothing"}', b"[" * 50000):
        np.savez(tmp_path / "m.npz", a=np.zeros(3), __dtypes__=np.frombuffer(table, np.uint8))
        with pytest.raises(FormatError):
            load(tmp_path / "m.npz")
    for bad in ("__dtypes__", "a\0b", "x" * 70000):
        with pytest.raises(FormatError):
            save(Model([Tensor(bad, np.ones(1))]), tmp_path / "o.npz")
    with pytest.raises(ReconstructionError), open_writer(tmp_path / "o.npz", None, T3) as writer:
        writer.commit()
    assert sorted(os.listdir(tmp_path)) == ["m.npy", "m.npz", "void.npz"]


def test_unknown_files(tmp_path):
    (tmp_path / "no_graph.onnx").write_bytes(message((1, 10)))
    (tmp_path / "x.bin").write_bytes(b"hello world")
    (tmp_path / "empty.onnx").write_bytes(b"")
    for path in (tmp_path / "x.bin", tmp_path / "empty.onnx", tmp_path / "absent.onnx", tmp_path,
                 tmp_path / "no_graph.onnx"):
        with pytest.raises(FormatError):
            load(path)


# ---- damage: a FormatError or a model, nothing else

def sample(kind, tmp_path):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    if kind == "onnx":
        inner = helper.make_graph([], "i", [], [], [weight("w", 2)])
        nodes = [helper.make_node("If", ["c"], ["o"], then_branch=inner), helper.make_node("MatMul", ["x", "a"], ["y"])]
        typed = helper.make_tensor("t", TensorProto.INT32, [4], [1, -1, 300, 0])
        four = numpy_helper.from_array(np.array([1, 2, 3], ml_dtypes.int4), "four")
        graph = helper.make_graph(nodes, "g", [], [], [numpy_helper.from_array(array, "a"), typed, four])
        return helper.make_model(graph).SerializeToString()
    model = Model([Tensor("a", array), Tensor("b", np.arange(3).astype(ml_dtypes.bfloat16))])
    save(model, tmp_path / f"sample.{kind}")
    return (tmp_path / f"sample.{kind}").read_bytes()


def survive(path, data):
    path.write_bytes(data)
    try:
        model = load(path)
        model.digest()
        if model.source:
            out = path.with_name("survived" + path.suffix)
            save(model, out)
            assert out.read_bytes() == data
    except FormatError as error:
        assert error.code.isupper()
        assert error.message


@pytest.mark.parametrize("kind", ["onnx", "safetensors", "npz"])
def test_damage(tmp_path, kind):
    data = sample(kind, tmp_path)
    path = tmp_path / f"m.{kind}"
    for size in range(len(data)):
        survive(path, data[:size])
    rnd = random.Random(7)
    for _ in range(300):
        bad = bytearray(data)
        for _ in range(rnd.choice((1, 1, 2, 8))):
            bad[rnd.randrange(len(bad))] = rnd.choice((0, 1, 127, 128, 255, rnd.randrange(256)))
        if rnd.random() < 0.2:
            at = rnd.randrange(len(bad))
            bad[at:at + rnd.randrange(5)] = rnd.randbytes(rnd.randrange(5))
        survive(path, bytes(bad))


def test_damage_of_npy(tmp_path):
    stream = io.BytesIO()
    np.save(stream, np.arange(4))
    data = stream.getvalue()
    for size in range(len(data)):
        survive(tmp_path / "m.npy", data[:size])
    for at in range(len(data)):
        for byte in (0, 40, 255):
            survive(tmp_path / "m.npy", data[:at] + bytes([byte]) + data[at + 1:])


def test_protobuf_nesting_and_offsets_in_messages(tmp_path):
    deep = b""
    for _ in range(100):
        deep = message((1, message((5, message((6, deep))))))
    (tmp_path / "m.onnx").write_bytes(message((7, deep)))
    with pytest.raises(FormatError) as error:
        load(tmp_path / "m.onnx")
    assert error.value.code == "RESOURCE_LIMIT"
    (tmp_path / "m.onnx").write_bytes(b"\x08\x0a\x3a\x05ab")
    with pytest.raises(FormatError, match="byte 2 ") as error:
        load(tmp_path / "m.onnx")
    assert error.value.code == "TRUNCATED"


# ---- files of others

def test_backend_files_round_trip(tmp_path):
    folder = os.path.dirname(onnx.backend.test.__file__)
    paths = sorted(glob.glob(f"{folder}/data/**/*.onnx", recursive=True))
    assert len(paths) > 100
    for path in paths:
        model = load(path)
        save(model, tmp_path / "o.onnx")
        with open(path, "rb") as f:
            assert (tmp_path / "o.onnx").read_bytes() == f.read(), path
        for initializer in onnx.load(path).graph.initializer:
            if np.prod(initializer.dims) and initializer.data_type != TensorProto.STRING:
                assert same(model[initializer.name].array, numpy_helper.to_array(initializer))


def test_dtype_of_loaded_arrays_matches():
    for dtype in BY_CODE.values():
        assert dtype_of(np.zeros(1, dtype.numpy)) == dtype
