"""The figures to reach, each worked out of measurements of one run: what was found, what was wanted, met or missed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from .contest import Measured

BARE = "OMC, no digests"
REFERENCE_CODECS = ("OMC", "CC", "BINS", "SHA-256")             # ours, in any way of decoding
FASTER = {"fp32": 1.5}                                          # than the faster of FAST; others: 1.1
FAST = ("ZipNN", "pcodec 8")


class Target(NamedTuple):
    """One figure. at_least: whether `found` should be at least `wanted`, or at most.  detail: what it was made of."""

    what: str
    file: str
    found: float
    wanted: float
    at_least: bool = True
    detail: str = ""

    @property
    def met(self) -> bool:
        return self.found >= self.wanted if self.at_least else self.found <= self.wanted

    def row(self) -> dict:
        return {"figure": self.what, "file": self.file, "found": f"{self.found:.4g}",
                "wanted": f"{'>=' if self.at_least else '<='} {self.wanted:.4g}", "": "met" if self.met else "MISSED",
                "of": self.detail}


def is_ours(name: str) -> bool:
    return name.removesuffix(", no digests") in REFERENCE_CODECS


def _speed(measured: Measured, what: str) -> float:
    speed = measured.speed(what)
    if speed is None:
        raise ValueError(f"no speed of {what} was measured")
    return speed


def in_turn(first: float, second: float) -> float:
    """MB/s of two passes over the same bytes, one after the other, whose own speeds are given."""
    return 1 / (1 / first + 1 / second)


def lossless(file: str, kind: str, found: Mapping[str, Measured]) -> list[Target]:
    """Of a file of type `kind`: speeds are of processors, one thread, the best of the rounds."""
    ours, bare, sha = found["OMC"], _speed(found[BARE], "decode"), _speed(found["SHA-256"], "decode")
    fast = {name: _speed(found[name], "decode") for name in FAST}
    fastest = max(fast, key=lambda name: fast[name])
    bound = in_turn(bare, sha)
    best = max((name for name in found if not is_ours(name)), key=lambda name: found[name].ratio or 0)
    theirs, own = found[best].ratio or 0.0, ours.ratio or 0.0
    verified = _speed(ours, "decode")
    targets = [
        Target("decode without digests / faster of ZipNN and pcodec 8", file, bare / fast[fastest],
               FASTER.get(kind, 1.1), detail=f"{bare:.0f} / {fast[fastest]:.0f} MB/s ({fastest})"),
        Target("decode with digests / decoding, then SHA-256", file, verified / bound, 0.85,
               detail=f"{verified:.0f} / {bound:.0f} MB/s, of {bare:.0f} and SHA-256 {sha:.0f}")]
    encode = _speed(ours, "encode")
    for name, wanted in (("ZipNN", 0.3), ("pcodec 8", 1.2)):
        speed = _speed(found[name], "encode")
        targets.append(Target(f"encode / {name}", file, encode / speed, wanted,
                              detail=f"{encode:.0f} / {speed:.0f} MB/s"))
    return [*targets, Target("ratio / best peer's", file, own / theirs, 1.0,
                             detail=f"{own:.4f} / {theirs:.4f} ({best})")]


def update(file: str, found: Mapping[str, Measured]) -> list[Target]:
    """Of a bfloat16 file that is 1 to 4 % of words away from the reference."""
    ours, cc = found["OMC"], found["CC"]
    own, its = ours.ratio or 0.0, cc.ratio or 0.0
    decode, slow, encode = _speed(ours, "decode"), _speed(cc, "decode"), _speed(ours, "encode")
    return [Target("update: ratio / CC's", file, own / its, 0.98, detail=f"{own:.2f} / {its:.2f}"),
            Target("update: decode with digests / CC", file, decode / slow, 5,
                   detail=f"{decode:.0f} / {slow:.0f} MB/s"),
            Target("update: encode, MB/s", file, encode, 300)]


def level_sizes(rows: Sequence[Mapping]) -> list[Target]:
    """Of rows with bits, states and '% over CC': the means over the models, by bits and states."""
    found: dict[tuple[int, int], list[float]] = {}
    for row in rows:
        found.setdefault((row["states"], row["bits"]), []).append(row["% over CC"])
    return [Target(f"levels: mean % over CC, {bits} bits, {f'{states} states' if states else 'plain'}",
                   f"{len(values)} models", sum(values) / len(values), 1.5 if states else 0.5, at_least=False,
                   detail=", ".join(f"{value:+.2f}" for value in values))
            for (states, bits), values in sorted(found.items())]


def level_speed(file: str, ours: float, theirs: float, label: str) -> Target:
    """Million weights per second of both, without digests."""
    return Target(f"levels, {label}: decode without digests / NNCodec", file, ours / theirs, 20,
                  detail=f"{ours:.0f} / {theirs:.1f} million weights/s")


def file_to_file(file: str, rows: Mapping[str, Mapping], largest: int) -> list[Target]:
    """Of rows 'encode', 'decode' with seconds of the clock and peak MB, 'tensor' and 'slice' with seconds.

    largest: bytes of the largest tensor.
    """
    targets = [Target(f"{what} file to file, s of the clock, 2 threads", file, rows[what]["wall s"], seconds,
                      at_least=False, detail=f"{rows[what]['cpu s']:.1f} s of processors")
               for what, seconds in (("encode", 6), ("decode", 2.5))]
    targets += [Target(f"{what}: MB of memory above the largest tensor", file, rows[what]["peak MB"] - largest / 1e6,
                       400, at_least=False, detail=f"{rows[what]['peak MB']:.0f} - {largest / 1e6:.0f}")
                for what in ("encode", "decode")]
    return targets + [Target(f"one {what}, s after start", file, rows[what]["wall s"], 0.5, at_least=False)
                      for what in ("tensor", "slice") if what in rows]


def missed(targets: Iterable[Target]) -> int:
    return sum(not target.met for target in targets)
