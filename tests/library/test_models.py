"""Models and tensors: equality by words, no hash, pickles; errors in pickles and across processes."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from helpers import DATA, all_types_model, any_words, network_model, structures_model

from refcodec import (
    ConfigError,
    ContainerError,
    EntropyError,
    FormatError,
    Model,
    OmcError,
    ReconstructionError,
    SemanticsError,
    StreamSyntaxError,
    Tensor,
    decode,
    encode,
    load,
)
from refcodec.dtypes import BY_CODE, BY_NAME
from refcodec.validator.survey import NotChecked

V1 = DATA / "digits_v1.onnx"
ERRORS = [OmcError, ContainerError, StreamSyntaxError, SemanticsError, EntropyError, ReconstructionError, FormatError,
          ConfigError]
W = np.arange(6, dtype=np.float32).reshape(2, 3)


# Equality

@pytest.mark.parametrize("make", [all_types_model, structures_model, network_model, lambda: load(V1)])
def test_equal_models(make):
    assert make() == make()
    assert (make() != make()) is False


def test_the_source_and_the_rest_do_not_count():
    a, b = load(V1), Model(load(V1).tensors, "another name", metadata={"k": b"v"})
    assert a == b


def test_equal_models_have_equal_digests():
    a, b = all_types_model(), all_types_model()
    assert a.digest() == b.digest()


@pytest.mark.parametrize("other", [
    Tensor("x", W), Tensor("w", W.astype(np.float64)), Tensor("w", W.reshape(3, 2)), Tensor("w", W + 1), "w", None])
def test_unequal_tensors(other):
    assert Tensor("w", W) != other
    assert Model([Tensor("w", W)]) != Model([other] if isinstance(other, Tensor) else [])


def test_the_order_of_tensors_counts():
    a, b = Tensor("a", W), Tensor("b", W)
    assert Model([a, b]) != Model([b, a])


def test_zeros_of_unlike_signs_differ():
    assert Tensor("w", np.array([0.0])) != Tensor("w", np.array([-0.0]))


def test_nans_are_compared_by_their_payloads():
    payloads = [np.array([word], np.uint32).view(np.float32) for word in (0x7FC00000, 0x7FC00001, 0x7FC00000)]
    one, two, again = (Tensor("w", a) for a in payloads)
    assert one == again
    assert one != two


def test_equality_with_other_things():
    assert Model([]) != 3
    assert Tensor("w", W) != W.tobytes()


@pytest.mark.parametrize("value", [Tensor("w", W), Model([])])
def test_no_hash(value):
    with pytest.raises(TypeError, match="unhashable"):
        hash(value)


# Tensors

def test_arrays_are_kept_in_native_order():
    t = Tensor("w", np.asfortranarray(W.astype(">f4")))
    assert t.array.dtype == np.float32
    assert t.array.flags.c_contiguous
    assert t == Tensor("w", W)


@pytest.mark.parametrize("options", [{}, {"dtype": BY_NAME["float32"]}, {"shape": (2, 3), "load": lambda: W}])
def test_a_tensor_of_nothing(options):
    with pytest.raises(ValueError):
        Tensor("w", **options)


def test_a_tensor_without_elements():
    t = Tensor("w", dtype=BY_NAME["float32"], shape=(2, 3))
    assert (t.size, t.nbytes) == (6, 24)
    with pytest.raises(ValueError, match="'w' has neither"):
        _ = t.array


def test_tensors_by_name():
    model = Model([Tensor("w", W)])
    assert model["w"].shape == (2, 3)
    with pytest.raises(KeyError):
        model["v"]


def test_what_a_model_shows():
    assert repr(Model([Tensor("w", W)], "m")) == "<Model 'm': 1 tensors, 24 bytes>"
    assert repr(load(V1)).endswith(", from onnx>")


# Pickles

@pytest.mark.parametrize("dtype", BY_CODE.values(), ids=lambda d: d.name)
@pytest.mark.parametrize("shape", [(2, 3), (), (0, 4)])
def test_tensors_in_pickles(dtype, shape):
    t = Tensor("t", any_words(dtype, shape))
    again = pickle.loads(pickle.dumps(t))
    assert again == t
    assert again.dtype is t.dtype
    assert again.shape == shape


@pytest.mark.parametrize("make", [lambda: load(V1), lambda: decode(encode(V1)), structures_model],
                         ids=["lazy", "decoded", "in memory"])
def test_models_in_pickles(make):
    model = make()
    again = pickle.loads(pickle.dumps(model))
    assert again == model
    assert (again.name, again.layers, again.source, again.metadata, again.origin) == (
        model.name, model.layers, model.source, model.metadata, model.origin)


def test_a_pickle_holds_what_was_lazy(tmp_path):
    path = tmp_path / "v1.onnx"
    path.write_bytes(V1.read_bytes())
    data = pickle.dumps(load(path))
    path.unlink()
    assert pickle.loads(data) == load(V1)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy],
                         ids=["pickle", "copy", "deepcopy"])
def test_errors_in_pickles(kind, again):
    error = kind("TRUNCATED", "it ends", 3, 17, "R7.1-1 R7.1-3")
    found = again(error)
    assert type(found) is kind
    assert vars(found) == vars(error)
    assert (str(found), found.args) == ("TRUNCATED: it ends [unit 3, bit 17]", ("it ends",))


def test_errors_made_otherwise_in_pickles():
    found = pickle.loads(pickle.dumps(NotChecked("a unit", 4)))
    assert (type(found), found.message, found.unit) == (NotChecked, "a unit", 4)


def encoded(model: Model) -> tuple[Model, bytes]:
    """What a worker makes of a model: it goes there and back."""
    return model, encode(model)


def test_models_and_errors_cross_processes():
    model = load(V1)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        again, stream = pool.submit(encoded, model).result(timeout=300)
        with pytest.raises(ContainerError) as error:
            pool.submit(decode, stream[:-1]).result(timeout=300)
    assert again == model == decode(stream)
    assert error.value.code == "TRUNCATED"
