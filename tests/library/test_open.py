"""refcodec.open: a stream as a lazy mapping of names to verified arrays."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from helpers import DATA, all_types_model, changed, network_model, structures_model

import refcodec
from refcodec import Config, Model, OmcError, ReconstructionError, Tensor, encode, load
from refcodec.bitstream.parser import parse

V1, V2 = DATA / "digits_v1.onnx", DATA / "digits_v2.onnx"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    target = tmp_path_factory.mktemp("open") / "structures.omc"
    target.write_bytes(encode(structures_model(), Config(join_below=200, index=True)))
    return target


@pytest.fixture
def tensors(path):
    with refcodec.open(path) as opened:
        yield opened


# A mapping

def test_it_is_a_mapping_in_the_order_of_the_model(tensors):
    assert isinstance(tensors, Mapping)
    assert list(tensors) == [t.name for t in structures_model().tensors]
    assert len(tensors) == len(structures_model().tensors)


@pytest.mark.parametrize("make", [structures_model, all_types_model, network_model])
def test_arrays_are_those_of_the_model(make):
    with refcodec.open(encode(make())) as opened:
        assert Model([Tensor(name, array) for name, array in opened.items()]) == make()


def test_names_that_are_not_there(tensors):
    with pytest.raises(KeyError, match="nothing"):
        tensors["nothing"]
    assert "nothing" not in tensors
    assert tensors.get("nothing") is None


def test_types_and_shapes_are_known_without_decoding(tensors, monkeypatch):
    monkeypatch.setattr(tensors._decoder, "decode_unit", None)           # would fail where it is called
    found = {name: (tensors.tensor(name).dtype.name, tensors.tensor(name).shape) for name in tensors}
    assert found == {t.name: (t.dtype.name, t.shape) for t in structures_model().tensors}
    assert "w" in tensors


def test_one_array_reads_one_unit(path):
    with refcodec.open(path) as opened:
        unit_of = parse(path.read_bytes()).models[0].unit_of
        seen, decode_unit = [], opened._decoder.decode_unit
        opened._decoder.decode_unit = lambda number, at, *a, **k: seen.append(at) or decode_unit(number, at, *a, **k)
        array = opened["grid"]
    assert np.array_equal(array, structures_model()["grid"].array)
    assert seen == [unit_of[list(opened).index("grid")]]


@pytest.mark.parametrize("name", ["grid", "tied", "scalar", "vector"])
def test_an_array_is_the_callers_own(tensors, name):
    before = tensors[name].tobytes()
    tensors[name][...] = 0
    array = tensors[name]
    assert array.tobytes() == before
    assert array.flags.writeable


# Streams of several models

@pytest.mark.parametrize("which, name", [(-1, "digits_v2"), ("digits_v1", "digits_v1"), (0, "digits_v1")])
def test_one_model_of_several(which, name):
    with refcodec.open(encode([V1, V2]), model=which) as opened:
        assert opened.models == ("digits_v1", "digits_v2")
        assert opened.name == name == opened.models[opened.number]
        assert opened["7.Gemm.weight"].tobytes() == load(DATA / f"{name}.onnx")["7.Gemm.weight"].array.tobytes()


def test_a_model_that_is_not_there(path):
    with pytest.raises(OmcError) as error:
        refcodec.open(path, model="v9")
    assert error.value.code == "BAD_CONFIG"


def test_an_update_with_its_reference():
    update = encode(V2, references=V1)
    with refcodec.open(update, references=V1) as opened:
        assert opened["7.Gemm.weight"].tobytes() == load(V2)["7.Gemm.weight"].array.tobytes()


def test_an_update_without_its_reference():
    base = network_model()
    with refcodec.open(encode(changed(base), references=base)) as opened:
        with pytest.raises(ReconstructionError) as error:
            list(opened.values())
        assert error.value.code == "MISSING_REFERENCE"


# What goes wrong

def test_damage_is_found_where_it_is_read():
    """A payload changed, its check made anew: the tensor fails, the others do not."""
    from helpers import cut, glue, reseal

    stream = encode(network_model(), Config(join_below=1))
    parsed = parse(stream).models[0]
    victim = max(parsed.tensor_units, key=lambda u: u.unit.size)
    units = cut(stream)
    offset, size, _ = victim.places[0]
    body = bytearray(units[victim.unit.number])
    body[offset - victim.unit.offset + size // 2] ^= 0x10
    units[victim.unit.number] = reseal(bytes(body))
    name = parsed.state.tensors[victim.descriptors[0].tensor_index].tensor_name
    with refcodec.open(glue(units)) as opened:
        with pytest.raises(OmcError) as error:
            opened[name]
        assert error.value.unit == victim.unit.number
        others = [n for n in opened if n != name]
        assert all(opened[n].tobytes() == network_model()[n].array.tobytes() for n in others)


def test_a_damaged_stream_is_not_opened(path):
    with pytest.raises(OmcError) as error:
        refcodec.open(path.read_bytes()[:-1])
    assert error.value.code == "TRUNCATED"


def test_a_prefix_when_it_is_asked_for():
    stream = encode([V1, V2])
    end = parse(stream).models[0].ended()[1].end
    with refcodec.open(stream[:end], allow_prefix=True) as opened:
        assert opened.name == "digits_v1"


def test_nothing_is_read_after_the_end(path):
    with refcodec.open(path) as opened:
        pass
    with pytest.raises(ValueError, match="closed"):
        opened["w"]
    opened.close()


def test_memory_is_limited():
    stream = encode({"w": np.random.default_rng(0).normal(size=(300, 300))})
    with refcodec.open(stream, max_memory=100_000) as opened, pytest.raises(OmcError) as error:
        opened["w"]
    assert error.value.code == "RESOURCE_LIMIT"


def test_what_it_shows(tensors):
    assert repr(tensors) == "<OpenStream: model 0 'structures' of 1, 14 tensors>"
