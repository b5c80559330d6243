"""How much the conformance suite sees: faults are put into the reference decoder one by one, to be found by it.

    python -m tools.mutation_study                          # all mutants (about an hour), a table on standard output
    python -m tools.mutation_study --json mutation.json     # goes on where it was
    python -m tools.mutation_study --json mutation.json --again   # and runs those again that survived
    python -m tools.mutation_study --only entropy/words     # those of some files

Each mutant of tools/mutants/ is a copy of the package with one text replaced.  `refcodec check` of the unchanged
package runs it over the required set, uncompiled and in persistent mode, until the first stream that does not pass.
Streams go first that run the changed lines (the package `coverage` tells; without it the study takes longer).
Exit codes: 0 at least 95 % of the mutants that are not equivalent are caught; 1 fewer; 2 a mutant does not apply any
more, or the package without faults does not pass.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from refcodec.checker import check, load_manifest
from refcodec.checker.manifest import Manifest
from refcodec.checker.verdicts import Result
from tools.mutants import Mutant, all_mutants, ranking

ROOT = Path(__file__).resolve().parents[1]
WANTED = 0.95
SECONDS = 120.0                # per stream; the slowest of the required set takes about one


class Caught(Exception):
    """The first stream that does not pass ends a run."""


@dataclass
class Outcome:
    """What became of a mutant. stream: that caught it, or nothing; verdict: its; runs: streams until then."""

    mutant: Mutant
    stream: str = ""
    verdict: str = ""
    runs: int = 0
    seconds: float = 0.0

    @property
    def kind(self) -> str:
        if self.stream:
            return "caught"
        return "equivalent" if self.mutant.equivalent else "survived"

    def entry(self) -> dict:
        """As it stands in the JSON report."""
        m = self.mutant
        return {"file": m.file, "old": m.old, "new": m.new, "what": m.what, "equivalent": m.equivalent,
                "outcome": self.kind, "stream": self.stream, "verdict": self.verdict, "runs": self.runs,
                "seconds": round(self.seconds, 2)}


class Copy:
    """A copy of the package, in which one file at a time is changed."""

    def __init__(self, package: Path, folder: Path):
        self.package, self.folder = package, folder
        shutil.copytree(package, folder / "refcodec", ignore=shutil.ignore_patterns("__pycache__"))

    @property
    def command(self) -> str:
        """The decoder of the copy. The checker's own package is that of this process."""
        return (f"env PYTHONPATH={shlex.quote(str(self.folder))} REFCODEC_COMPILE=0 {shlex.quote(sys.executable)} "
                "-m refcodec conformance-decode")

    def write(self, file: str, text: str) -> None:
        path = self.folder / "refcodec" / file
        path.write_text(text, encoding="utf-8")
        # Bytecode is found again by time in seconds and by size, which a fault may leave as they are
        for old in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            old.unlink()

    def restore(self, file: str) -> None:
        self.write(file, (self.package / file).read_text(encoding="utf-8"))


class Order:
    """The streams, those first that run the changed lines and few others do, then those that caught any mutant."""

    def __init__(self, manifest: Manifest, package: Path):
        self.manifest, self.package = manifest, package
        self.lines = ranking.lines_of(manifest.path, package)
        self.caught: Counter[str] = Counter()

    def of(self, mutant: Mutant, first: int | None) -> Manifest:
        likely = ranking.scores(self.lines, self.package, mutant.file, mutant.old)
        broken = ranking.rules(self.package, mutant.file, mutant.old)
        likely.update({s.id: len(broken & set(s.requirements)) for s in self.manifest.streams})
        streams = sorted(self.manifest.streams, key=lambda s: (-likely[s.id], -self.caught[s.id], s.size, s.id))
        return replace(self.manifest, streams=(self.manifest[self.manifest.smoke], *streams[:first]))


def run(command: str, manifest: Manifest) -> tuple[str, str, int]:
    """(stream, verdict, streams run) of the first stream that does not pass; stream is empty where all pass."""
    count = 0

    def stop(result: Result) -> None:
        nonlocal count
        count += 1
        if not result.passed:
            raise Caught(result.stream.id, result.verdict.value)

    try:
        report = check(command, manifest, optional=False, persistent=True, timeout=SECONDS, progress=stop)
    except Caught as caught:
        return *caught.args, count
    if not report.smoke.passed:
        return manifest.smoke, report.smoke.verdict.value, 1
    return "", "", count


def study(mutants: list[Mutant], manifest: Manifest, package: Path, known: dict[tuple, Outcome], keep,
          first: int | None = None) -> list[Outcome]:
    """Run the mutants whose outcome is not known. keep: gets all outcomes after each run; first: streams of each."""
    order, done = Order(manifest, package), []
    order.caught.update(o.stream for o in known.values() if o.stream)
    with tempfile.TemporaryDirectory(prefix="omc-mutants-") as folder:
        copy = Copy(package, Path(folder))
        for mutant in tqdm(mutants, unit="mutant", disable=not sys.stderr.isatty()):
            outcome = known.get(mutant.key)
            if outcome is None:
                began = time.monotonic()
                copy.write(mutant.file, mutant.applied((package / mutant.file).read_text(encoding="utf-8")))
                outcome = Outcome(mutant, *run(copy.command, order.of(mutant, first)))
                outcome.seconds = time.monotonic() - began
                copy.restore(mutant.file)
                order.caught.update([outcome.stream] if outcome.stream else [])
            done.append(outcome)
            keep(done)
    return done


def table(outcomes: list[Outcome], suite: str) -> str:
    """The report as Markdown."""
    counts = Counter((o.mutant.area, o.kind) for o in outcomes)
    lines = [f"# Mutants of the reference decoder against suite {suite}", "",
             "| area | mutants | caught | equivalent | survived | caught of those not equivalent |",
             "|---|--:|--:|--:|--:|--:|"]
    areas = dict.fromkeys(o.mutant.area for o in outcomes)
    for area in [*areas, ""]:
        caught, same, left = (sum(n for (a, k), n in counts.items() if k == kind and area in ("", a))
                              for kind in ("caught", "equivalent", "survived"))
        share = f"{100 * caught / (caught + left):.1f} %" if caught + left else "-"
        lines.append(f"| {area or '**all**'} | {caught + same + left} | {caught} | {same} | {left} | {share} |")
    for kind, title in (("survived", "Survivors"), ("equivalent", "Equivalent")):
        found = [o.mutant for o in outcomes if o.kind == kind]
        if found:
            lines += ["", f"## {title}", ""]
            lines += [f"- {m.file}: {m.what} (`{_line(m.old)}` -> `{_line(m.new)}`)"
                      + (f": {m.equivalent}" if m.equivalent else "") for m in found]
    wrong = [o.mutant for o in outcomes if o.kind == "caught" and o.mutant.equivalent]
    lines += [f"- NOT equivalent, as a stream shows: {m.file}: {m.what}" for m in wrong]
    return "\n".join(lines) + "\n"


def _line(text: str) -> str:
    return " ".join(text.split())


def share(outcomes: list[Outcome]) -> float:
    """The part of the mutants that are not equivalent that is caught."""
    real = [o for o in outcomes if o.kind != "equivalent"]
    return sum(o.kind == "caught" for o in real) / max(1, len(real))


def load(path: Path | None, mutants: list[Mutant], again: bool) -> dict[tuple, Outcome]:
    """What an earlier run found; what it caught only, with `again`."""
    if path is None or not path.exists():
        return {}
    by_key = {m.key: m for m in mutants}
    entries = [e for e in json.loads(path.read_text())["mutants"] if e["stream"] or not again]
    return {key: Outcome(by_key[key], e["stream"], e["verdict"], e["runs"], e["seconds"])
            for e in entries if (key := (e["file"], e["old"], e["new"])) in by_key}


def save(path: Path | None, outcomes: list[Outcome], known: dict[tuple, Outcome]) -> None:
    """Write all outcomes, those that are known and not reached yet among them."""
    if path is not None:
        merged = known | {o.mutant.key: o for o in outcomes}
        part = path.with_suffix(".part")
        part.write_text(json.dumps({"mutants": [o.entry() for o in merged.values()]}, indent=1) + "\n")
        os.replace(part, path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="mutants of the files whose name holds this")
    parser.add_argument("--manifest", type=Path, default=ROOT / "conformance" / "manifest.json", metavar="FILE",
                        help="the suite")
    parser.add_argument("--package", type=Path, default=ROOT / "refcodec", metavar="FOLDER",
                        help="the package that is changed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where outcomes are kept, and found again")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="where the table goes, too")
    parser.add_argument("--first", type=int, metavar="N",
                        help="only the N streams that are most likely to see each: a quick pass")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each N-th mutant: a sample")
    parser.add_argument("--again", action="store_true", help="run those again that survived")
    parser.add_argument("--fresh", action="store_true", help="run all, whatever FILE says")
    parser.add_argument("--equivalent", action="store_true", help="run also those that are said to be equivalent")
    arguments = parser.parse_args()

    mutants = [m for m in all_mutants() if arguments.only in m.file][:: max(1, arguments.every)]
    manifest = load_manifest(arguments.manifest)
    stale = [str(e) for m in mutants if (e := _stale(m, arguments.package))]
    print("".join(f"does not apply: {e}\n" for e in stale), end="", file=sys.stderr)
    mutants = [m for m in mutants if not _stale(m, arguments.package)]
    with tempfile.TemporaryDirectory(prefix="omc-control-") as folder:
        stream, verdict, _ = run(Copy(arguments.package, Path(folder)).command, manifest)
        if stream:
            print(f"the package without faults does not pass: {stream} {verdict}", file=sys.stderr)
            return 2
    known = {} if arguments.fresh else load(arguments.json, all_mutants(), arguments.again)
    if not arguments.equivalent:
        known |= {m.key: Outcome(m) for m in mutants if m.equivalent}
    outcomes = study(mutants, manifest, arguments.package, known, lambda done: save(arguments.json, done, known),
                     arguments.first)
    text = table(outcomes, manifest.version)
    if arguments.markdown:
        arguments.markdown.write_text(text, encoding="utf-8")
    print(text)
    return 2 if stale else 0 if share(outcomes) >= WANTED else 1


def _stale(mutant: Mutant, package: Path) -> ValueError | None:
    try:
        mutant.applied((package / mutant.file).read_text(encoding="utf-8"))
    except ValueError as error:
        return error
    return None


if __name__ == "__main__":
    sys.exit(main())
