"""What `import refcodec` shows, and what its functions take: models, paths, streams, arrays by name."""

from __future__ import annotations

import io
import pathlib
import pydoc

import ml_dtypes
import numpy as np
import pytest
from helpers import DATA, changed, network_model, run_python, same_tensors

import refcodec
from refcodec import Config, ConfigError, FormatError, Model, OmcError, Tensor, decode, encode, encode_to, load, save

FIRST = ["encode", "decode", "open", "load", "save", "Config", "Model"]
V1, V2 = DATA / "digits_v1.onnx", DATA / "digits_v2.onnx"
ARRAYS = {"w": np.arange(600, dtype=np.float32).reshape(20, 30), "n": np.arange(-3, 4), "b": np.array([True, False]),
          "brain": np.ones((2, 3), ml_dtypes.bfloat16), "scalar": np.float64(0.1)}


@pytest.fixture(scope="module")
def update() -> bytes:
    return encode(V2, references=V1)


# Names

def test_the_main_names_come_first():
    assert refcodec.__all__[:len(FIRST)] == FIRST


@pytest.mark.parametrize("name", refcodec.__all__)
def test_names_are_described(name):
    assert getattr(refcodec, name).__doc__
    assert name in dir(refcodec)


def test_help_shows_what_is_there():
    text = pydoc.plain(pydoc.render_doc(refcodec))
    expected = ["encode(model:", "decode(stream:", "open(stream:", "load(path:", "save(model:", "class Config(",
                "class Model(", "class OmcError("]
    assert [words for words in expected if words not in text] == []


def test_help_names_the_main_functions_before_the_errors():
    text = pydoc.plain(pydoc.render_doc(refcodec))
    places = [text.index(f"\n    {name} ") for name in FIRST]
    assert places == sorted(places)
    assert places[-1] < text.index("class ConfigError")


def test_unknown_names():
    with pytest.raises(AttributeError, match="nothing"):
        _ = refcodec.nothing


@pytest.mark.parametrize("module", ["numpy", "numba", "onnx"])
def test_importing_and_looking_loads_nothing_heavy(module):
    code = f"import refcodec, sys; refcodec.encode, refcodec.open, dir(refcodec); print({module!r} in sys.modules)"
    assert run_python("-c", code).stdout == "False\n"


# What stands for a model

def model_forms(tmp_path: pathlib.Path) -> dict:
    """Everything that encode takes for the model of V1, and how many tensors it has."""
    stream = tmp_path / "v1.omc"
    stream.write_bytes(encode(load(V1)))
    data = stream.read_bytes()
    return {"model": load(V1), "path": V1, "text": str(V1), "stream": stream, "text of a stream": str(stream),
            "bytes": data, "bytearray": bytearray(data), "memoryview": memoryview(data),
            "mapping": {t.name: t.array for t in load(V1).tensors}, "one in a list": [V1]}


@pytest.mark.parametrize("form", ["model", "path", "text", "stream", "text of a stream", "bytes", "bytearray",
                                  "memoryview", "mapping", "one in a list"])
def test_what_stands_for_a_model(form, tmp_path):
    value = model_forms(tmp_path)[form]
    assert decode(encode(value)) == load(V1)


@pytest.mark.parametrize("form", ["model", "path", "text", "stream", "bytes", "mapping", "one in a list"])
def test_what_stands_for_a_reference(form, tmp_path, update):
    value = model_forms(tmp_path)[form]
    assert encode(load(V2), references=value) == update
    assert decode(update, value) == load(V2)


def test_arrays_by_name():
    again = decode(encode(ARRAYS))
    assert [t.name for t in again.tensors] == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert again[name].array.dtype == array.dtype
        assert again[name].array.tobytes() == array.tobytes()


def test_lists_of_numbers_are_arrays():
    assert decode(encode({"w": [[1.0, 2.0], [3.0, 4.0]]}))["w"].array.tolist() == [[1, 2], [3, 4]]


def test_a_model_of_no_arrays():
    assert decode(encode({})).tensors == []


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([None]), np.zeros(2, "M8[s]"), [[1], [2, 3]],
                                   pytest.param(object(), id="an object"),
                                   np.zeros(2, "i4,f4")], ids=str)
def test_arrays_of_no_element_type(array):
    with pytest.raises(FormatError) as error:
        encode({"w": array})
    assert error.value.code == "UNSUPPORTED_TYPE"
    assert "'w'" in error.value.message


@pytest.mark.parametrize("value", [42, None, np.zeros(3), [42], [np.zeros(3)], [["deep"]], 1.5], ids=str)
@pytest.mark.parametrize("call", [encode, lambda value: encode(V1, references=value), lambda value: decode(b"", value)],
                         ids=["model", "reference", "decode"])
def test_what_is_no_model(value, call):
    with pytest.raises(TypeError, match="a model is a refcodec.Model, a path, the bytes of a stream, or arrays by"):
        call(value)


@pytest.mark.parametrize("call", [encode, decode, load, refcodec.open, lambda path: encode(V1, references=path),
                                  lambda path: save(path, "x.npz")],
                         ids=["encode", "decode", "load", "open", "reference", "save"])
def test_files_that_are_not_there(call, tmp_path):
    with pytest.raises(FormatError) as error:
        call(tmp_path / "none.onnx")
    assert error.value.code == "MISSING_FILE"


def test_no_model_at_all():
    with pytest.raises(ConfigError) as error:
        encode([])
    assert error.value.code == "BAD_CONFIG"


def test_encode_to_a_file_object(update):
    sink = io.BytesIO()
    encode_to(sink, str(V2), references=[V1])
    assert sink.getvalue() == update


@pytest.mark.parametrize("value", [ARRAYS, encode(ARRAYS), Model([Tensor(n, a) for n, a in ARRAYS.items()])],
                         ids=["mapping", "bytes", "model"])
def test_save_takes_what_encode_takes(value, tmp_path):
    save(value, tmp_path / "m.npz")
    assert load(tmp_path / "m.npz") == Model([Tensor(n, a) for n, a in ARRAYS.items()])


def test_an_open_stream_is_a_mapping_to_encode(tmp_path):
    with refcodec.open(encode(ARRAYS)) as tensors:
        assert same_tensors(decode(encode(tensors)), decode(encode(ARRAYS)))


# Several models, by number and name

@pytest.fixture(scope="module")
def family() -> bytes:
    return encode([V1, V2], Config(snr=30, quality_layers=2))


@pytest.mark.parametrize("which, number", [(-1, 3), ("digits_v2", 3), ("digits_v1", 1), (0, 0), ("2", 2), ("-1", 3),
                                           (-4, 0)])
def test_models_by_number_and_name(family, which, number):
    names = ["digits_v1", "digits_v1", "digits_v2", "digits_v2"]
    with refcodec.StreamDecoder(family) as decoder:
        assert decoder.model_number(which) == number
        assert decoder.model_names == names
    assert decode(family, model=which).name == names[number]


@pytest.mark.parametrize("which, code, text", [
    ("v2", "BAD_CONFIG", "no models are named 'v2'; there are 0 'digits_v1', 2 'digits_v2'"),
    ("9" * 5000, "BAD_CONFIG", "no models are named"), ("", "BAD_CONFIG", "no models are named ''"),
    (4, "MISSING_UNIT", "holds 4 models"), (-5, "MISSING_UNIT", "no number -5"), ("4", "MISSING_UNIT", "no number 4")])
def test_models_that_are_not_there(family, which, code, text):
    with pytest.raises(OmcError, match=text) as error:
        decode(family, model=which)
    assert error.value.code == code


def test_a_name_of_two_models():
    models = [network_model(), changed(network_model())]
    for m in models:
        m.name = "twin"
    with pytest.raises(ConfigError, match="2 models are named 'twin'"):
        decode(encode(models), model="twin")


def test_given_models_keep_their_names():
    v1, v2 = load(V1), load(V2)
    before = [v1.name, v2.name]
    encode([v1, v2])
    assert [v1.name, v2.name] == before


# Progress

@pytest.mark.parametrize("threads", [1, 2])
def test_progress_of_decoding(threads):
    steps = []
    model = decode(encode(V1), threads=threads, progress=lambda done, total, name: steps.append((done, total, name)))
    size = sum(t.nbytes for t in model.tensors)
    assert sorted(name for *_, name in steps) == sorted(t.name for t in model.tensors)
    assert [done for done, *_ in steps] == sorted(done for done, *_ in steps)
    assert steps[-1][0] == size
    assert {total for _, total, _ in steps} == {size}


# References

def test_a_wrong_reference_is_told_from_the_right_one(update, tmp_path):
    save({"w": np.ones(3)}, tmp_path / "other.npz")
    with pytest.raises(OmcError) as error:
        decode(update, [tmp_path / "other.npz", load(V2)])
    assert error.value.code == "MISSING_REFERENCE"
    message = error.value.message
    assert f"wanted: digest {load(V1).digest().hex()[:16]}..." in message
    assert f"{load(tmp_path / 'other.npz').digest().hex()[:16]}... ('other.npz')" in message
    assert f"{load(V2).digest().hex()[:16]}... ('digits_v2.onnx')" in message


def test_a_stream_decoder_takes_models_only(update):
    with pytest.raises(TypeError, match="are Models"):
        refcodec.StreamDecoder(update, V1.as_posix())


def test_no_reference(update):
    with pytest.raises(OmcError, match="given: none"):
        decode(update)


def test_a_reference_in_memory_has_no_name(update):
    with pytest.raises(OmcError) as error:
        decode(update, {"w": np.ones(3)})
    assert error.value.message.endswith(f"given: {Model([Tensor('w', np.ones(3))]).digest().hex()[:16]}...")
