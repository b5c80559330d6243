"""The lossless peers as bench_speed.py times them: what is copied or checked for the measurement's sake is not timed.

A codec has encode(threads), which keeps what it made and gives its size in bytes, decode(threads), which gives what it
decoded, and is_right(decoded).  Codecs of numbers get the values of all tensors at once, as bytes or as an array that
lies ready, and are charged for the file's header by xz; general-purpose codecs get the file's bytes; those that know
safetensors get the file.  Codecs that go from file to file have both in memory (FOLDER).
"""

import hashlib
import importlib
import json
import lzma
import os
import pathlib
import shutil
import tempfile

import numpy as np
from lossless_worker import File, openzl_codec, rebuild, shuffle, sparse, unshuffle

MEMORY = pathlib.Path("/dev/shm")
FOLDER = MEMORY if MEMORY.is_dir() else pathlib.Path(tempfile.gettempdir())
NUMBERS = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}
ZIPNN = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


class Codec:
    """One codec on one file. stream: what encode() made, a list of bytes.  modules: what it imports, untimed."""

    modules = ()

    def __init__(self, path, reference=None):
        for module in self.modules:
            importlib.import_module(module)
        self.file = File(path)
        self.reference = File(reference) if reference else None
        self.header = len(lzma.compress(self.file.data[:self.file.start], preset=9 | lzma.PRESET_EXTREME))
        self.stream = []

    def prepare(self):
        """What has to be done before every encode() and is not timed."""

    def size(self):
        return self.header + sum(map(len, self.stream))

    def is_right(self, decoded):
        return memoryview(decoded).cast("B") == memoryview(self.file.words).cast("B")

    def close(self):
        pass


class Zstd(Codec):
    """The whole file; given a reference, the XOR of the words, lowest bytes first."""

    modules, LEVEL = ("zstandard",), 3

    def encode(self, threads):
        import zstandard
        data = self.file.data if self.reference is None else shuffle(self.reference.words ^ self.file.words)
        self.stream = [zstandard.ZstdCompressor(level=self.LEVEL, threads=threads if threads > 1 else 0).compress(data)]
        return self.size()

    def size(self):
        return sum(map(len, self.stream)) + (self.header if self.reference else 0)

    def decode(self, threads):
        import zstandard
        data = zstandard.ZstdDecompressor().decompress(self.stream[0])
        return data if self.reference is None else unshuffle(data, self.file.words.dtype) ^ self.reference.words

    def is_right(self, decoded):
        return decoded == self.file.data if self.reference is None else super().is_right(decoded)


class Zstd19(Zstd):
    LEVEL = 19


class ZipNN(Codec):
    """The words; given a reference, the XOR of them.  It spoils its input, which therefore is a copy."""

    modules = ("zipnn",)

    def prepare(self):
        self.words = self.file.words.tobytes()

    def coder(self, threads):
        from zipnn import ZipNN as Coder
        return Coder(input_format="byte", threads=threads, bytearray_dtype=ZIPNN[self.file.type])

    def encode(self, threads):
        words = (self.reference.words ^ self.file.words).tobytes() if self.reference else self.words
        self.stream = [self.coder(threads).compress(words)]
        return self.size()

    def decode(self, threads):
        words = self.coder(threads).decompress(self.stream[0])
        return np.frombuffer(words, self.file.words.dtype) ^ self.reference.words if self.reference else words


class Pcodec(Codec):
    modules, LEVEL = ("pcodec",), 8

    def encode(self, threads):
        from pcodec import ChunkConfig, standalone
        words = self.file.words.view(NUMBERS[self.file.type])
        self.stream = [standalone.simple_compress(words, ChunkConfig(compression_level=self.LEVEL))]
        return self.size()

    def decode(self, threads):
        from pcodec import standalone
        return standalone.simple_decompress(self.stream[0])


class Pcodec12(Pcodec):
    LEVEL = 12


class OpenZL(Codec):
    """Tensor by tensor, each as floats split or as byte planes, every plane coded its best way without repeats."""

    modules = ("openzl.ext",)

    def encode(self, threads):
        self.coder = openzl_codec(self.file.type, repeats=False)
        self.stream = list(map(self.coder[0], self.file.tensors))
        return self.size()

    def decode(self, threads):
        return list(map(self.coder[1], self.stream))

    def is_right(self, decoded):
        return super().is_right(b"".join(decoded))


class Sparse(Codec):
    """Changed elements as 32-bit indices and values."""

    def encode(self, threads):
        self.stream = [sparse(self.reference, self.file, gaps=False)]
        return self.size()

    def decode(self, threads):
        return rebuild(self.stream[0], self.reference, gaps=False)


class Z4ai(Codec):
    """The file; given a reference, its difference to it."""

    modules = ("z4ai.model_delta", "z4ai.safetensors")

    def encode(self, threads):
        from z4ai import model_delta, safetensors
        if self.reference:
            self.stream = [model_delta.compress(self.file.data, self.reference.data, threads=threads)]
        else:
            self.stream = [safetensors.compress_bytes(self.file.data, threads=threads, workers=threads)]
        return self.size()

    def decode(self, threads):
        from z4ai import model_delta, safetensors
        if self.reference:
            return model_delta.decompress(self.stream[0], self.reference.data)
        return safetensors.decompress_bytes(self.stream[0], workers=threads)

    def size(self):
        return sum(map(len, self.stream))

    def is_right(self, decoded):
        return decoded == self.file.data


class FileCodec(Codec):
    """A codec from file to file, both in memory."""

    def __init__(self, path, reference=None):
        super().__init__(path, reference)
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=FOLDER))
        self.path, self.old = (shutil.copy(p, self.folder / n) if p else None
                               for p, n in ((path, "new.safetensors"), (reference, "old.safetensors")))
        self.coded, self.decoded = self.folder / "coded", self.folder / "decoded.safetensors"

    def size(self):
        return self.coded.stat().st_size

    def is_right(self, decoded):
        return decoded.read_bytes() == self.file.data

    def close(self):
        shutil.rmtree(self.folder)


class Lmzip(FileCodec):
    modules = ("lmz",)

    def encode(self, threads):
        import lmz
        self.coded.unlink(missing_ok=True)
        lmz.compress(str(self.path), str(self.coded), workers=threads)
        return self.size()

    def decode(self, threads):
        import lmz
        self.decoded.unlink(missing_ok=True)
        lmz.decompress(str(self.coded), str(self.decoded), workers=threads)
        return self.decoded


class LmzipUpdate(FileCodec):
    """An update is appended to an archive of the file before it, and is what the archive grew by."""

    modules = ("lmz",)

    def __init__(self, path, reference=None):
        super().__init__(path, reference)
        import lmz
        self.base = self.folder / "base"
        self.files = self.folder / "files"
        self.files.mkdir()
        os.replace(self.old, self.files / "old.safetensors")
        lmz.compress(str(self.files), str(self.base))

    def encode(self, threads):
        import lmz
        shutil.copy(self.base, self.coded)
        lmz.append(str(self.coded), str(self.path), workers=threads)
        return self.size()

    def size(self):
        return self.coded.stat().st_size - self.base.stat().st_size

    def decode(self, threads):
        import lmz
        self.decoded.unlink(missing_ok=True)
        lmz.extract(str(self.coded), "new.safetensors", str(self.decoded))
        return self.decoded


class Bigsmall(FileCodec):
    """Decodes into arrays in memory, without a file."""

    modules = ("bigsmall",)

    def encode(self, threads):
        import bigsmall
        if self.old:
            bigsmall.compress_delta(self.path, self.old, self.coded)
        else:
            bigsmall.compress(self.path, self.coded, workers=threads, progress=False)
        return self.size()

    def decode(self, threads):
        import bigsmall
        if self.old:
            return bigsmall.decompress_delta(self.coded, self.old)
        return bigsmall.decompress(self.coded, progress=False)

    def is_right(self, decoded):
        from safetensors import safe_open
        with safe_open(self.path, "np") as file:
            names = list(file.keys())
        slots = self.slots()
        return set(decoded) == set(names) and all(
            hashlib.sha256(np.ascontiguousarray(decoded[name])).digest()
            == hashlib.sha256(self.file.data[slots[name][0]:slots[name][1]]).digest() for name in names)

    def slots(self):
        header = json.loads(self.file.data[8:self.file.start])
        return {name: [self.file.start + offset for offset in entry["data_offsets"]]
                for name, entry in header.items() if name != "__metadata__"}


LOSSLESS = {"zstd-3": Zstd, "zstd-19": Zstd19, "ZipNN": ZipNN, "pcodec 8": Pcodec, "pcodec 12": Pcodec12,
            "OpenZL": OpenZL, "lmzip": Lmzip, "bigsmall": Bigsmall, "z4ai": Z4ai}
UPDATES = {"xor zstd-3": Zstd, "xor zstd-19": Zstd19, "xor ZipNN": ZipNN, "sparse": Sparse, "lmzip": LmzipUpdate,
           "bigsmall": Bigsmall, "z4ai": Z4ai}
