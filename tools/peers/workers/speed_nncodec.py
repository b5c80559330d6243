"""NNCodec as bench_speed.py times it: the arrays of an npz, quantised with one step for all."""

import numpy as np
from nncodec_worker import OPTIONS, nnc


class NNCodec:
    """Dependent quantisation, no rate-distortion optimisation: decoding takes the same time. qp: of the step."""

    def __init__(self, path, reference=None, qp=-20):
        with np.load(path) as archive:
            self.arrays = {name: np.ascontiguousarray(archive[name]) for name in archive.files}
        self.qp, self.stream = qp, b""

    def prepare(self):
        self.copies = {name: array.copy() for name, array in self.arrays.items()}

    def encode(self, threads):
        self.stream = bytes(nnc.compress(self.copies, bitstream_path=None, return_bitstream=True, qp=self.qp,
                                         lambda_scale=0, **OPTIONS))
        return len(self.stream)

    def decode(self, threads):
        return nnc.decompress(bytearray(self.stream), approx_param_base=None, update_base_param=False, hdsp_tool=None,
                              return_hls=False)

    def is_right(self, decoded):
        return {name: np.shape(array) for name, array in decoded.items()} == {
            name: array.shape for name, array in self.arrays.items()}

    def close(self):
        pass


LOSSLESS = UPDATES = {"NNCodec": NNCodec}
