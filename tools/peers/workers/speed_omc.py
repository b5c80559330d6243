"""OMC as bench_speed.py times it, in the environment of the codec itself.

Encoding reads the file and makes the stream in memory; decoding makes a model in memory of it.  Names: 'OMC', all
defaults; 'CC', 'BINS': one entropy mode; with ', no digests' the stream of the name before it, decoded without
computing digests, for the measurement alone.  Settings are those of refcodec.Config.  'SHA-256': the digest of the
file's bytes.
"""

import hashlib

import refcodec
from refcodec import StreamDecoder

CONFIGS = {"OMC": {}, "OMC fast": {"effort": "fast"}, "OMC best": {"effort": "best"}, "CC": {"entropy": "cc"},
           "BINS": {"entropy": "bins"}, "BINS plain": {"entropy": "bins"}, "BINS 8 states": {"entropy": "bins"}}
WITHOUT = ", no digests"


class Omc:
    """A stream of one file, perhaps an update of another."""

    streams: dict = {}                  # by name, without what is not digested: some decode the stream of another

    def __init__(self, name, path, reference, settings):
        self.name, self.path = name.removesuffix(WITHOUT), path
        self.verify = not name.endswith(WITHOUT)
        self.references = [refcodec.load(reference)] if reference else []
        self.settings = {**CONFIGS[self.name], **settings}

    def prepare(self):
        pass

    def encode(self, threads):
        config = refcodec.Config(**self.settings, threads=threads)
        self.streams[self.name] = refcodec.encode(self.path, config, self.references)
        return len(self.streams[self.name])

    def decode(self, threads):
        with StreamDecoder(self.streams[self.name], self.references, threads=threads, verify=self.verify) as opened:
            return opened.model()

    def is_right(self, decoded):
        return refcodec.Config(**self.settings).lossy or decoded.digest() == refcodec.load(self.path).digest()

    def close(self):
        self.streams.pop(self.name, None)


class Sha256:
    """Of the file's bytes; there is nothing to encode."""

    def __init__(self, path, reference=None):
        with open(path, "rb") as file:
            self.data = file.read()

    def decode(self, threads):
        return hashlib.sha256(self.data).digest()

    def close(self):
        pass


def _named(name):
    return lambda path, reference=None, **settings: Omc(name, path, reference, settings)


LOSSLESS = {name + rest: _named(name + rest) for name in CONFIGS for rest in ("", WITHOUT)} | {"SHA-256": Sha256}
UPDATES = LOSSLESS
