"""Runs inside the NNCodec environment: encodes and decodes one npz at the work points given as JSON.

    python nncodec_worker.py FILE.npz '[{"qp": -20, "lambda_scale": 1}, ...]'

Prints one line of JSON per work point: stream bytes, SNR in dB over all elements, seconds of encoding and
decoding (best of "repeat").  "decoded" names an npz that takes the decoded tensors.  Dependent quantisation is always
on, as in NNCodec's best setting.
"""

import contextlib
import importlib.machinery
import io
import json
import sys
import time
import types

import numpy as np


class _Stub(types.ModuleType):
    """A module whose every attribute is an empty class: NNCodec imports torchvision but codes without it."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__init__": lambda self, *args, **options: None})


def stub_torchvision():
    """Puts an empty torchvision into sys.modules: the published one does not load beside this torch."""
    parts = ("", ".models", ".datasets", ".datasets.voc", ".datasets.folder", ".datasets.vision", ".datasets.utils",
             ".datasets.cifar", ".datasets.imagenet", ".models.utils", ".transforms", ".transforms.functional",
             ".ops", ".utils")
    for part in parts:
        module = _Stub("torchvision" + part)
        module.__path__ = []
        module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None, is_package=True)
        module.__version__ = "0.0.0"
        sys.modules[module.__name__] = module
        if part:
            parent, _, child = module.__name__.rpartition(".")
            setattr(sys.modules[parent], child, module)


stub_torchvision()
from nncodec import nnc  # noqa: E402  (the stub must stand first)

OPTIONS = dict(use_dq=True, nonweight_qp=-75, qp_density=2, param_opt=True, row_skipping=True, tca=False,
               scan_order=0, cabac_unary_length_minus1=10, codebook_mode=0, qp_per_tensor=None, opt_qp=False,
               int_quant_bw=False, compress_differences=False, approx_param_base=None, update_base_param=False,
               pre_signalling=False, hdsp_tool=None)


def timed(function, repeat):
    """(result, seconds of the fastest of `repeat` calls), the codec's own prints swallowed."""
    best = float("inf")
    for _ in range(repeat):
        start = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            result = function()
        best = min(best, time.perf_counter() - start)
    return result, best


def snr(reference, decoded):
    """10 log10(variance / mean squared error) over all elements together, in dB."""
    original = np.concatenate([a.ravel() for a in reference.values()]).astype(np.float64)
    rebuilt = np.concatenate([np.asarray(decoded[name]).ravel() for name in reference]).astype(np.float64)
    return float(10 * np.log10(original.var() / np.mean((original - rebuilt) ** 2)))


def measured(tensors, point):
    """Bytes, SNR and seconds of one work point."""
    def encode():
        copies = {name: array.copy() for name, array in tensors.items()}
        return bytes(nnc.compress(copies, bitstream_path=None, return_bitstream=True, qp=point["qp"],
                                  lambda_scale=point["lambda_scale"], **OPTIONS))

    def decode():
        return nnc.decompress(bytearray(stream), approx_param_base=None, update_base_param=False, hdsp_tool=None,
                              return_hls=False)

    repeat = point.get("repeat", 1)
    stream, encoding = timed(encode, repeat if point.get("time") else 1)
    decoded, decoding = timed(decode, repeat)
    if "decoded" in point:
        np.savez(point["decoded"], **{name: np.asarray(decoded[name]) for name in tensors})
    return dict(qp=point["qp"], lambda_scale=point["lambda_scale"], bytes=len(stream), snr=snr(tensors, decoded),
                weights=sum(a.size for a in tensors.values()), encode_seconds=encoding, decode_seconds=decoding)


def main():
    with np.load(sys.argv[1]) as archive:
        tensors = {name: np.ascontiguousarray(archive[name]) for name in archive.files}
    for point in json.loads(sys.argv[2]):
        print(json.dumps(measured(tensors, point)), flush=True)


if __name__ == "__main__":
    main()
