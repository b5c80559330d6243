"""Rows of a tensor, and tensors into the caller's memory: no more is read and decoded than is asked for."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from helpers import all_types_model, cut, glue, reseal, weights

import refcodec
from refcodec import Config, Model, OmcError, Tensor, encode
from refcodec.bitstream.parser import parse
from refcodec.bitstream.units import ByteSource
from refcodec.digests import PIECE_BYTES
from refcodec.entropy.bins import Payload

BINS = Config(entropy="bins", join_below=1)
ROWS, COLUMNS = 700, 3000                          # of bfloat16: 5 pieces


def large(dtype=ml_dtypes.bfloat16, seed: int = 0) -> Model:
    return Model([Tensor("w", weights((ROWS, COLUMNS), dtype, seed)), Tensor("bias", weights((COLUMNS,), dtype, 9))])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    target = tmp_path_factory.mktemp("slices") / "large.omc"
    target.write_bytes(encode(large(), BINS))
    return target


@pytest.fixture
def tensors(path):
    with refcodec.open(path) as opened:
        yield opened


KEYS = [slice(None), slice(0, 1), slice(10, 20), slice(-5, None), slice(None, -690), slice(5, 3), slice(690, 10_000),
        slice(100, 200, 7), slice(200, 100, -3), 0, -1, 699, np.int64(3), (slice(3, 9), 5), (slice(3, 9), slice(2, 4)),
        (4, slice(None), None), Ellipsis, None, (slice(2, 4), np.array([1, 5])), np.array([1, 600])]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_a_slice_is_that_of_numpy(tensors, key):
    whole = large()["w"].array
    found = tensors.get_slice("w")[key]
    assert found.dtype == whole.dtype
    assert found.shape == whole[key].shape
    assert found.tobytes() == whole[key].tobytes()


@pytest.mark.parametrize("key", [700, -701])
def test_a_row_that_is_not_there(tensors, key):
    with pytest.raises(IndexError):
        tensors.get_slice("w")[key]


def test_what_is_known_of_a_slice(tensors):
    part = tensors.get_slice("w")
    assert part.shape == (ROWS, COLUMNS)
    assert part.dtype == ml_dtypes.bfloat16
    assert repr(part) == "<Slice: Tensor('w', bfloat16, [700, 3000])>"
    with pytest.raises(KeyError):
        tensors.get_slice("nothing")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.uint8, np.int32, np.complex64])
@pytest.mark.parametrize("threads", [1, 3])
def test_slices_of_every_size_of_word(dtype, threads):
    array = (weights((2000, 700), np.float64, 3) * 900).astype(dtype)
    with refcodec.open(encode({"w": array}, BINS), threads=threads) as opened:
        for first, end in ((0, 3), (371, 376), (1000, 1999), (1999, 2000)):
            assert opened.get_slice("w")[first:end].tobytes() == array[first:end].tobytes()


def test_only_the_pieces_that_hold_the_rows_are_read_and_decoded(path, monkeypatch):
    """Of five pieces the third; of the file its bytes, heads, and what the payload begins with."""
    decoded, read = [], []
    decode, view, plain = Payload.decode, ByteSource.view, ByteSource.read
    monkeypatch.setattr(Payload, "decode", lambda p, chunks, out: decoded.append(chunks) or decode(p, chunks, out))
    monkeypatch.setattr(ByteSource, "view", lambda s, offset, n, room: read.append(n) or view(s, offset, n, room))
    monkeypatch.setattr(ByteSource, "read", lambda s, offset, n: read.append(n) or plain(s, offset, n))
    first = 2 * PIECE_BYTES // (2 * COLUMNS) + 1
    with refcodec.open(path) as opened:
        found = opened.get_slice("w")[first : first + 100]
    assert found.tobytes() == large()["w"].array[first : first + 100].tobytes()
    assert decoded == [range(8, 12)]                # of 4 chunks each
    assert sum(read) < PIECE_BYTES + 4 * (1 << 16) < path.stat().st_size / 2


def test_damage_elsewhere_does_not_matter_to_a_slice(path):
    """A payload changed, its check as it was: rows of other pieces come out, those of its piece do not."""
    data = bytearray(path.read_bytes())
    unit = parse(bytes(data)).models[0].tensor_units[0]
    offset, size, _ = unit.places[0]
    data[offset + size - 100] ^= 4                  # of the last piece
    with refcodec.open(bytes(data)) as opened:
        assert opened.get_slice("w")[:300].tobytes() == large()["w"].array[:300].tobytes()
        for wrong in (lambda: opened.get_slice("w")[690:], lambda: opened["w"]):
            with pytest.raises(OmcError) as error:
                wrong()
            assert error.value.code in ("DIGEST_MISMATCH", "ENTROPY_END")
            assert error.value.unit == unit.unit.number


def test_a_slice_is_verified(path):
    """Raw bits changed, with the check made anew: what comes out has another digest."""
    units = cut(path.read_bytes())
    parsed = parse(path.read_bytes()).models[0].tensor_units[0]
    offset, size, _ = parsed.places[0]
    body = bytearray(units[parsed.unit.number])
    body[offset - parsed.unit.offset + size - 2000] ^= 1
    units[parsed.unit.number] = reseal(bytes(body))
    with refcodec.open(glue(units)) as opened:
        with pytest.raises(OmcError) as error:
            opened.get_slice("w")[-1:]
        assert error.value.code in ("DIGEST_MISMATCH", "ENTROPY_END")
        assert opened.get_slice("w")[:1].tobytes() == large()["w"].array[:1].tobytes()


@pytest.mark.parametrize("config", [
    Config(), Config(entropy="cc"), Config(entropy="bins"), Config(step=0.01), Config(step=0.01, entropy="bins"),
    Config(entropy="lzma")], ids=str)
def test_slices_of_any_coding(config):
    model = large(np.float32)
    with refcodec.open(encode(model, config)) as opened:
        for name, key in (("w", slice(40, 90)), ("bias", slice(-7, None)), ("bias", 3)):
            assert opened.get_slice(name)[key].tobytes() == opened[name][key].tobytes()


@pytest.mark.parametrize("entropy", ["cc", "bins"])
def test_slices_of_an_update(entropy):
    base, new = large(), large()
    new["w"].array[300:310] += ml_dtypes.bfloat16(0.01)
    with refcodec.open(encode(new, Config(entropy=entropy), base), base) as opened:
        assert opened.get_slice("w")[290:320].tobytes() == new["w"].array[290:320].tobytes()


def test_slices_of_scalars_copies_and_empty_tensors():
    array = weights((900, 1000), np.float32)
    model = {"a": array, "copy": array, "scalar": np.float32(3), "empty": np.zeros((0, 4), np.int8)}
    with refcodec.open(encode(model)) as opened:
        assert opened.get_slice("scalar")[()] == 3
        assert opened.get_slice("scalar")[...].shape == ()
        assert opened.get_slice("copy")[10:12].tobytes() == array[10:12].tobytes()
        assert opened.get_slice("empty")[:].shape == (0, 4)


# Into the caller's memory

class TorchTensor:
    """What is asked of a tensor of torch, around an array."""

    class device:
        type = "cpu"

    def __init__(self, array: np.ndarray, contiguous: bool = True):
        self.array, self.contiguous = array, contiguous
        self.shape, self.dtype = array.shape, f"torch.{array.dtype}"

    def numel(self) -> int:
        return self.array.size

    def is_contiguous(self) -> bool:
        return self.contiguous

    def data_ptr(self) -> int:
        return self.array.ctypes.data


@pytest.mark.parametrize("make", [large, all_types_model])
@pytest.mark.parametrize("config", [BINS, Config()], ids=["bins", "default"])
@pytest.mark.parametrize("wrap", [lambda array: array, TorchTensor], ids=["numpy", "torch"])
def test_tensors_into_memory_that_is_there(make, config, wrap):
    model = make()
    config = Config(join_below=1) if make is all_types_model and config is BINS else config
    with refcodec.open(encode(model, config)) as opened:
        for tensor in model.tensors:
            out = np.zeros(tensor.shape, tensor.dtype.numpy)
            opened.read_into(tensor.name, wrap(out))
            assert out.tobytes() == tensor.array.tobytes()


def test_a_real_tensor_of_torch(tensors):
    torch = pytest.importorskip("torch")
    out = torch.zeros((ROWS, COLUMNS), dtype=torch.bfloat16)
    tensors.read_into("w", out)
    assert out.view(torch.int16).numpy().tobytes() == large()["w"].array.tobytes()


@pytest.mark.parametrize("out", [
    np.zeros((ROWS, COLUMNS), np.float32), np.zeros((COLUMNS, ROWS), ml_dtypes.bfloat16),
    np.zeros((COLUMNS, ROWS), ml_dtypes.bfloat16).T, np.broadcast_to(ml_dtypes.bfloat16(0), (ROWS, COLUMNS)),
    np.zeros((ROWS, COLUMNS), "V2"), TorchTensor(np.zeros((ROWS, COLUMNS), np.int16)),
    TorchTensor(np.zeros((ROWS, COLUMNS), ml_dtypes.bfloat16), contiguous=False)],
    ids=["type", "shape", "order", "read-only", "void", "torch type", "torch order"])
def test_memory_that_does_not_fit(tensors, out):
    with pytest.raises(ValueError, match="tensor"):
        tensors.read_into("w", out)


def test_what_no_tensor_can_be_read_into(tensors):
    with pytest.raises(TypeError, match="list"):
        tensors.read_into("w", [0])


@pytest.mark.parametrize("read", [lambda o: o.get_slice("w")[:1], lambda o: o.read_into("w", np.zeros(1))])
def test_nothing_is_read_after_the_end(path, read):
    with refcodec.open(path) as opened:
        pass
    with pytest.raises(ValueError, match="closed"):
        read(opened)


# Threads

@pytest.mark.parametrize("threads", [1, 2, 5, None])
def test_the_same_for_any_number_of_threads(threads):
    small = [Tensor(f"t{i}", weights((300, 400 + i), np.float32, i)) for i in range(12)]
    model = Model([*large().tensors, *small])
    stream = encode(model, BINS)
    assert refcodec.decode(stream, threads=threads) == model
