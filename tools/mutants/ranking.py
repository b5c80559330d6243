"""Which streams see a fault first: those that run the lines around it which few streams run.

`python -m tools.mutants.ranking MANIFEST` (with REFCODEC_COMPILE=0) decodes the suite under the package `coverage` and
prints, by file of refcodec and line, the streams that run it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

AFTER = 5              # lines after the changed one whose streams come first: a dropped check is seen where it fails

Lines = dict[str, dict[int, list[str]]]


def lines_of(manifest: Path, package: Path) -> Lines:
    """File and line of `package` to the ids of the streams that run it; empty where `coverage` is not installed."""
    path = os.pathsep.join([str(package.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "REFCODEC_COMPILE": "0", "PYTHONPATH": path}
    command = [sys.executable, "-m", "tools.mutants.ranking", str(manifest)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=root)
    if done.returncode:
        return {}
    return {file: {int(n): ids for n, ids in lines.items()} for file, lines in json.loads(done.stdout).items()}


def scores(lines: Lines, package: Path, file: str, old: str) -> Counter[str]:
    """How likely each stream is to see a change of the text `old` in a file."""
    text = (package / file).read_text(encoding="utf-8")
    first = text[: text.index(old)].count("\n") + 1
    wanted = {(file, n) for n in range(first, first + old.count("\n") + 1 + AFTER)}
    constants = re.match(r"([A-Z][A-Z_, 0-9]*)(?:: .*)? = ", text.splitlines()[first - 1])
    if constants:                              # where they are used
        used = re.compile(rf"\b({'|'.join(re.findall(r'[A-Z_0-9]+', constants[1]))})\b")
        for f in lines:
            text = (package / f).read_text(encoding="utf-8")
            wanted |= {(f, n) for n, line in enumerate(text.splitlines(), 1) if used.search(line)}
    found = Counter()
    for f, n in wanted:
        ids = lines.get(f, {}).get(n, ())
        for stream in ids:
            found[stream] += 1 / len(ids)
    return found


def rules(package: Path, file: str, old: str) -> set[str]:
    """The ids of requirements that stand around the text `old` in a file."""
    text = (package / file).read_text(encoding="utf-8")
    first = text[: text.index(old)].count("\n")
    return set(re.findall(r"R[0-9.]+-[0-9]+", "\n".join(text.splitlines()[max(0, first - 2) : first + AFTER + 1])))


def main(manifest_path: str) -> int:
    import coverage

    import refcodec
    package = Path(refcodec.__file__).parent
    measured = coverage.Coverage(data_file=None, source=[str(package)], messages=False)
    measured.start()
    from refcodec.checker import load_manifest
    from refcodec.checker.dump import read_dump
    from refcodec.decoder import StreamDecoder
    from refcodec.errors import OmcError

    for stream in load_manifest(manifest_path).streams:
        if not stream.required:
            continue
        measured.switch_context(stream.id)
        try:
            with StreamDecoder(stream.file, [read_dump(r) for r in stream.references]) as decoder:
                for number in range(len(decoder.parsed.models)):
                    decoder.model(number)
        except OmcError:
            pass
    measured.stop()
    data = measured.get_data()
    lines = {os.path.relpath(f, package): {n: [c for c in ids if c] for n, ids in data.contexts_by_lineno(f).items()}
             for f in data.measured_files()}
    print(json.dumps(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
