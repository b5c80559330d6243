"""Streams that somebody made from SPEC.md alone: their digests are what a decoder of his own makes of random bins.

All combinations of tools that the text allows and that an encoder would hardly choose are here: every element type
under every entropy mode, thresholds, planes, row shifts, extension units, tensors out of order.
"""

from __future__ import annotations

import pytest
from helpers import DATA

from refcodec import StreamDecoder, save

STREAMS = sorted((DATA / "independent").glob("*.omc"))


@pytest.mark.parametrize("path", STREAMS, ids=[p.stem for p in STREAMS])
@pytest.mark.parametrize("threads", [1, 2])
def test_stream(path, threads):
    with StreamDecoder(path, threads=threads) as decoder:
        for number in range(len(decoder.parsed.models)):
            decoder.model(number)                     # every digest is checked on the way


def test_source_files(tmp_path):
    """The files of a topology, byte for byte."""
    out = tmp_path / "out"
    with StreamDecoder(DATA / "independent" / "files.omc") as decoder:
        files = decoder.parsed.models[-1].topology.file
        save(decoder.model(), out)
    for number, f in enumerate(files):
        written = next(out.rglob(f.file_path.rsplit("/", 1)[-1])) if out.is_dir() else out
        assert written.read_bytes() == (DATA / "independent" / f"files.omc.file{number}").read_bytes()
