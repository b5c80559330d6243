"""A decoder behind the conformance contract, to start from: replace `decode` and the list of what it supports.

    refcodec check --decoder "python conformance/adapters/adapter.py"

It speaks both forms: `adapter.py decode STREAM OUTDIR [--model N] [--reference DUMPDIR]...` and `adapter.py serve`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

import refcodec  # the decoder behind this adapter
from refcodec.checker.dump import read_dump


class Rejected(Exception):
    """The stream breaks a rule of SPEC.md. code: of Annex B.1; unit, bit: where, or None."""

    def __init__(self, code: str, unit: int | None = None, bit: int | None = None):
        super().__init__(code)
        self.record = {"code": code, "unit": unit, "bit": bit}


class Unsupported(Exception):
    """The stream is sound as far as one can tell, but needs a feature that this decoder does not have."""


# ---- What you replace -----------------------------------------------------------------------------------------------


def decode(stream: Path, references: list[Path],
           number: int | None) -> tuple[bytes, list[tuple[str, str, list[int], bytes]]]:
    """(model digest, tensors) of model `number` of a stream, None: the last one; all of its models have to be right.

    references: dumps of external models.  A tensor is (name, element type, shape, little-endian words in row-major
    order).
    """
    models = [read_dump(folder) for folder in references]
    try:
        with refcodec.StreamDecoder(stream, models) as decoder:
            all_models = [decoder.model(n) for n in range(len(decoder.parsed.models))]
            model = all_models[-1 if number is None else number]
    except refcodec.OmcError as error:
        raise Rejected(error.code, error.unit, error.bit) from error
    tensors = [(t.name, t.dtype.name, list(t.shape), t.words.astype(t.words.dtype.newbyteorder("<")).tobytes())
               for t in model.tensors]
    return model.digest(), tensors


# ---- What stays -----------------------------------------------------------------------------------------------------

def run(stream: Path, folder: Path, references: list[Path], number: int | None) -> dict:
    """Decode a model of a stream into a dump; the reply of the contract."""
    try:
        digest, tensors = decode(stream, references, number)
    except Rejected as rejected:
        return {"exit": 10, **rejected.record}
    except Unsupported as unsupported:
        return {"exit": 11, "feature": str(unsupported)}
    entries = []
    for i, (name, dtype, shape, words) in enumerate(tensors):
        (folder / f"{i:04}.bin").write_bytes(words)
        entries.append({
            "name": name, "dtype": dtype, "shape": shape, "file": f"{i:04}.bin",
            "sha256": hashlib.sha256(words).hexdigest()
        })
    (folder / "index.json").write_text(json.dumps({"model_digest": digest.hex(), "tensors": entries}))
    return {"exit": 0}


def serve() -> int:
    for line in sys.stdin:
        request = json.loads(line)
        if request["op"] == "stop":
            break
        if request["op"] == "hello":
            reply = {"contract": 1, "name": "adapter of refcodec", "version": "0.1", "spec_version": "0.2"}
        else:
            reply = run(Path(request["stream"]), Path(request["outdir"]), [Path(r) for r in request["references"]],
                        request.get("model"))
        print(json.dumps(reply), flush=True)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    forms = parser.add_subparsers(dest="form", required=True)
    once = forms.add_parser("decode")
    once.add_argument("stream", type=Path)
    once.add_argument("outdir", type=Path)
    once.add_argument("--model", type=int)
    once.add_argument("--reference", type=Path, action="append", default=[])
    forms.add_parser("serve")
    arguments = parser.parse_args()
    if arguments.form == "serve":
        return serve()
    reply = run(arguments.stream, arguments.outdir, arguments.reference, arguments.model)
    code = reply.pop("exit")
    if code:
        print(json.dumps(reply))
    return code


if __name__ == "__main__":
    sys.exit(main())
