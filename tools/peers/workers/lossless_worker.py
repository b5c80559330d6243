"""Runs inside the environment of the lossless peers: codes safetensors files and checks that they come back.

    python lossless_worker.py intra FILE CODEC...               FILE alone
    python lossless_worker.py delta REFERENCE FILE CODEC...     FILE, the decoder having REFERENCE

Prints one line of JSON per codec: bytes, seconds of encoding and decoding.  General-purpose codecs get the whole
file; codecs of numbers get the tensors' values (all together or one by one, whichever is smaller) and the file's
header by xz -9e, for only both together give the file back.
"""

import bz2
import importlib
import json
import lzma
import sys
import time
import zlib

import numpy as np

MODULES = {"zipnn": ["zipnn"], "zipnn-delta": ["zipnn"], "pcodec-12": ["pcodec"], "openzl": ["openzl.ext"],
           "bsdiff4": ["bsdiff4"], "hdiffpatch": ["hdiffpatch"]}
WORD = {"F32": np.dtype("<u4"), "BF16": np.dtype("<u2"), "F16": np.dtype("<u2")}


class File:
    """A safetensors file of one floating-point type: its bytes, and its tensors as unsigned words."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        size = int.from_bytes(self.data[:8], "little")
        header = json.loads(self.data[8:8 + size])
        header.pop("__metadata__", None)
        self.type, = {entry["dtype"] for entry in header.values()}
        self.start = 8 + size
        self.words = np.frombuffer(self.data, WORD[self.type], offset=self.start)
        width = self.words.itemsize
        slots = sorted(entry["data_offsets"] for entry in header.values())
        self.tensors = [self.words[begin // width:end // width] for begin, end in slots if end > begin]


# ---- one file ---------------------------------------------------------------------------------------------------

def zstd_codec(level):
    import zstandard

    def encode(data):
        parameters = zstandard.ZstdCompressionParameters.from_level(level, source_size=len(data), window_log=27)
        return zstandard.ZstdCompressor(compression_params=parameters).compress(data)

    return encode, lambda stream: zstandard.ZstdDecompressor(max_window_size=1 << 31).decompress(stream)


def general(name):
    """(encode, decode) of bytes by a general-purpose codec at its strongest setting."""
    return {
        "zlib-9": lambda: (lambda data: zlib.compress(data, 9), zlib.decompress),
        "bz2-9": lambda: (lambda data: bz2.compress(data, 9), bz2.decompress),
        "xz-9e": lambda: (lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME), lzma.decompress),
        "zstd-19": lambda: zstd_codec(19),
        "zstd-22": lambda: zstd_codec(22),
    }[name]()


def zipnn_codec(file_type, method="AUTO"):
    """ZipNN on the bytes of the words, one thread."""
    from zipnn import ZipNN
    coder = ZipNN(method=method, input_format="byte", threads=1,
                  bytearray_dtype={"F32": "float32", "BF16": "bfloat16", "F16": "float16"}[file_type])
    return (lambda words: bytes(coder.compress(words.tobytes()))), lambda stream: bytes(coder.decompress(stream))


def pcodec_codec(file_type):
    """pcodec at level 12; bfloat16, which it does not know, as unsigned words."""
    from pcodec import ChunkConfig, standalone
    config = ChunkConfig(compression_level=12)
    number = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}[file_type]
    return (lambda words: bytes(standalone.simple_compress(words.view(number), config)),
            lambda stream: standalone.simple_decompress(stream).tobytes())


def openzl_codec(file_type, repeats=True):
    """OpenZL: the smallest of float split, byte planes, distinct values and field LZ, each plane coded its best way.

    repeats: False leaves out what finds them and takes most of the time: zstd -19, distinct values and field LZ.
    """
    import openzl.ext as zl
    compressor = zl.Compressor()
    compressor.set_parameter(zl.CParam.FormatVersion, zl.MAX_FORMAT_VERSION)
    store, zstd = zl.graphs.Store()(compressor), zl.graphs.Zstd(compression_level=19)(compressor)
    entropy = [store, zl.graphs.Huffman()(compressor), zl.graphs.Fse()(compressor)]
    smallest = zl.graphs.BruteForce([*entropy, *([zstd] if repeats else [])])(compressor)
    planes = zl.nodes.TransposeSplit()(compressor, smallest)
    split = {"F32": zl.nodes.Float32Deconstruct, "BF16": zl.nodes.BFloat16Deconstruct,
             "F16": zl.nodes.Float16Deconstruct}[file_type]()(compressor, planes, smallest)
    as_planes = zl.nodes.ConvertNumToStructLE()(compressor, planes)
    fields = zl.graphs.FieldLz(compression_level=9)(compressor)
    distinct = zl.nodes.ConvertNumToStructLE()(compressor, zl.nodes.TokenizeStruct()(compressor, planes, fields))
    graphs = [split, as_planes, *([distinct, fields] if repeats else [])]
    compressor.select_starting_graph(zl.graphs.BruteForce(graphs)(compressor))

    def encode(words):
        context = zl.CCtx()
        context.ref_compressor(compressor)
        context.set_parameter(zl.CParam.FormatVersion, zl.MAX_FORMAT_VERSION)
        return context.compress([zl.Input(zl.Type.Numeric, words)])

    return encode, lambda stream: zl.DCtx().decompress(stream)[0].content.as_nparray().tobytes()


def joined_or_single(encode, decode, tensors, words):
    """Streams of all words together or tensor by tensor, whichever is smaller, and a decoder of either."""
    single, joined = list(map(encode, tensors)), [encode(words)]
    streams = min(single, joined, key=lambda streams: sum(map(len, streams)))
    return streams, lambda: b"".join(map(decode, streams))


def intra(codec, file):
    """(streams, function that decodes them to the bytes it was given, those bytes)."""
    header = lzma.compress(file.data[:file.start], preset=9 | lzma.PRESET_EXTREME)
    if codec == "openzl":       # slow, and always smaller tensor by tensor
        encode, decode = openzl_codec(file.type)
        streams = list(map(encode, file.tensors))
        return [header, *streams], lambda: lzma.decompress(header) + b"".join(map(decode, streams)), file.data
    if codec in ("zipnn", "pcodec-12"):
        pair = {"zipnn": zipnn_codec, "pcodec-12": pcodec_codec}[codec](file.type)
        streams, decode = joined_or_single(*pair, file.tensors, file.words)
        return [header, *streams], lambda: lzma.decompress(header) + decode(), file.data
    encode, decode = general(codec)
    stream = encode(file.data)
    return [stream], lambda: decode(stream), file.data


# ---- one file, given another ------------------------------------------------------------------------------------

def shuffle(words):
    """Bytes of the words, all lowest bytes first."""
    return np.ascontiguousarray(words.view(np.uint8).reshape(-1, words.itemsize).T).tobytes()


def unshuffle(data, word):
    planes = np.frombuffer(data, np.uint8).reshape(word.itemsize, -1)
    return np.ascontiguousarray(planes.T).view(word).ravel()


def sparse(reference, file, gaps):
    """Changed elements per tensor as 32-bit indices (or the gaps between them) and values, in safetensors."""
    header, parts, position = {}, [], 0
    for number, (old, new) in enumerate(zip(reference.tensors, file.tensors, strict=True)):
        index = np.flatnonzero(old != new).astype("<i4")
        shipped = np.diff(index, prepend=np.int32(0)) if gaps else index
        for name, kind, array in ((f"{number}.index", "I32", shipped), (f"{number}.value", file.type, new[index])):
            header[name] = dict(dtype=kind, shape=[len(array)], data_offsets=[position, position + array.nbytes])
            parts.append(array.tobytes())
            position += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(parts)


def rebuild(stream, reference, gaps):
    """The words of the file that `sparse` was given."""
    size = int.from_bytes(stream[:8], "little")
    header, body = json.loads(stream[8:8 + size]), memoryview(stream)[8 + size:]
    tensors = [tensor.copy() for tensor in reference.tensors]
    for number, tensor in enumerate(tensors):
        index, value = (body[slice(*header[f"{number}.{part}"]["data_offsets"])] for part in ("index", "value"))
        places = np.frombuffer(index, "<i4")
        tensor[np.cumsum(places) if gaps else places] = np.frombuffer(value, tensor.dtype)
    return b"".join(tensor.tobytes() for tensor in tensors)


def patch_from(reference, file):
    """zstd with the reference as a prefix: what `zstd --patch-from` does, level 19, long matches."""
    import zstandard
    window = max(20, (len(reference.data) + len(file.data)).bit_length())
    parameters = zstandard.ZstdCompressionParameters.from_level(
        19, source_size=len(file.data), dict_size=len(reference.data), window_log=window, enable_ldm=True)
    prefix = zstandard.ZstdCompressionDict(reference.data, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    stream = zstandard.ZstdCompressor(compression_params=parameters, dict_data=prefix).compress(file.data)
    decoder = zstandard.ZstdDecompressor(dict_data=prefix, max_window_size=1 << 31)
    return [stream], lambda: decoder.decompress(stream), file.data


def delta(codec, reference, file):
    """As `intra`, the decoder having `reference`; the two files hold tensors of the same shapes."""
    if codec == "zstd-patch-from":
        return patch_from(reference, file)
    if codec == "bsdiff4":
        import bsdiff4
        stream = bsdiff4.diff(reference.data, file.data)
        return [stream], lambda: bsdiff4.patch(reference.data, stream), file.data
    if codec == "hdiffpatch":
        import hdiffpatch
        stream = hdiffpatch.diff(reference.data, file.data, hdiffpatch.COMPRESSION_LZMA2, validate=False)
        return [stream], lambda: hdiffpatch.apply(reference.data, stream), file.data
    words = file.words.tobytes()
    if codec.startswith("sparse"):
        gaps = codec == "sparse-zstd"
        encode, decode = general("zstd-19") if gaps else (bytes, bytes)
        stream = encode(sparse(reference, file, gaps))
        return [stream], lambda: rebuild(decode(stream), reference, gaps), words
    difference = reference.words ^ file.words
    if codec == "zipnn-delta":
        encode, decode = zipnn_codec(file.type)
        stream = encode(difference)
        return [stream], lambda: (np.frombuffer(decode(stream), file.words.dtype) ^ reference.words).tobytes(), words
    encode, decode = general({"xor-xz": "xz-9e", "xor-zstd": "zstd-19"}[codec])
    stream = encode(shuffle(difference))
    return [stream], lambda: (unshuffle(decode(stream), file.words.dtype) ^ reference.words).tobytes(), words


def main():
    mode, *rest = sys.argv[1:]
    files = [File(path) for path in rest[:1 if mode == "intra" else 2]]
    for codec in rest[len(files):]:
        for module in MODULES.get(codec, ()):       # not a part of the time of encoding
            importlib.import_module(module)
        start = time.perf_counter()
        streams, decode, expected = {"intra": intra, "delta": delta}[mode](codec, *files)
        middle = time.perf_counter()
        best = float("inf")
        for _ in range(3):
            begin = time.perf_counter()
            decoded = decode()
            best = min(best, time.perf_counter() - begin)
        assert decoded == expected, f"{codec} does not give back {rest[len(files) - 1]}"
        print(json.dumps(dict(codec=codec, bytes=sum(map(len, streams)), encode_seconds=middle - start,
                              decode_seconds=best)), flush=True)


if __name__ == "__main__":
    main()
