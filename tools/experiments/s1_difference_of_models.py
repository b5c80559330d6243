"""S1: representation precision for single models, and differences of models over time (ACM Multimedia 2018)."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from coding import mixed, send, snr
from networks import Parameters
from section import Context, Figure, Section, Series, Table, points, spread
from tqdm import tqdm
from trained import sequence, workload

from refcodec import Config

TOLERANCE = 0.5                         # points of accuracy that count as equal
CORRUPTING_RP = 3
PRECISION = "representation precision (decimals)"
CM_RP = 4                               # at whose error CM is measured beside LZMA

# Scenario: (what is sent, what the receiver has); the networks of the full run that go through it.
SCENARIOS = {"direct": ("epoch20", None), "long interval": ("epoch20", "base"),
             "short interval": ("epoch20", "epoch15"), "partial, direct": ("partial", None),
             "partial update": ("partial", "base"),
             "corrupted prediction": ("partial", "corrupted")}
OVER_TIME = ("direct", "long interval", "short interval")
PARTIAL = ("partial, direct", "partial update", "corrupted prediction")
ALONE = dict.fromkeys(OVER_TIME, "direct") | dict.fromkeys(PARTIAL, "partial, direct")
FULL = {"vgg": OVER_TIME, "resnet": PARTIAL}                 # as in the paper: VGG-16 and ResNet-50
QUICK = {"small-lenet": OVER_TIME, "small-resnet": PARTIAL}

PAPER_RP = (6, 5, 4, 3)
PAPER = {"direct": ("VGG-16", (1.976, 2.542, 3.531, 6.154)),
         "long interval": ("VGG-16", (2.316, 3.142, 4.851, 12.56)),
         "short interval": ("VGG-16", (3.732, 6.913, 33.9, 28740)),
         "partial, direct": ("ResNet-50", (1.858, 2.365, 3.212, 4.997)),
         "partial update": ("ResNet-50", (2.82, 3.93, 7.16, 45.3)),
         "corrupted prediction": ("ResNet-50", (None, None, 6.476, None))}


@dataclass(frozen=True)
class Point:
    """One stream. size: bytes.  lost: points of accuracy below the original's.  cm: CM's bytes at the same error."""

    size: int
    ratio: float
    lost: float
    cm: int | None


Results = dict[tuple[str, str, int], list[Point]]           # (workload, scenario, RP): one for each seed


def run(context: Context) -> Section:
    """Every scenario at every RP for every seed; the tables and figures of it."""
    plan = QUICK if context.quick else FULL
    results: Results = {}
    jobs = [(name, scenario, seed) for seed in context.seeds
            for name, scenarios in plan.items() for scenario in scenarios]
    for name, scenario, seed in tqdm(jobs, "S1", disable=not context.progress):
        for rp, point in _measure(context, name, scenario, seed):
            results.setdefault((name, scenario, rp), []).append(point)
    section = Section("S1: single models and differences of models",
                      "From Data to Knowledge: Deep Learning Model Compression, Transmission and Communication, "
                      "ACM Multimedia 2018; figures 2, 4, 5, 6, tables 2 to 5",
                      "What do decimals of precision cost, and what does it save to send only what changed?")
    section.tables = [_ratios(results), _losses(results), _equal_accuracy(results), _mixing(results)]
    section.figures = _figures(results)
    section.facts = _facts(results)
    section.remarks = _remarks(context, results, section.facts)
    return section


def _measure(context: Context, name: str, scenario: str, seed: int):
    """(RP, Point) of one scenario, coarse to fine."""
    w, versions = workload(name), sequence(context, name, seed)
    target, prediction = SCENARIOS[scenario]
    if prediction == "corrupted":
        versions["corrupted"] = send(versions["base"], _rp(CORRUPTING_RP)).received
    original, known = versions[target], versions[prediction] if prediction else None
    before = w.accuracy(original)
    last = 4 if context.quick else 8 if known is None else 6
    for rp in range(2, last + 1):
        coded = send(original, _rp(rp), known)
        cm = send(original, mixed(snr(original, coded.received)), known).size if rp == CM_RP else None
        yield rp, Point(coded.size, coded.ratio, before - w.accuracy(coded.received), cm)


def _rp(precision: int) -> Config:
    return Config(preset="s1-rp", rp=precision)


def _title(name: str) -> str:
    return workload(name).network.name


def _pairs(results: Results) -> list[tuple[str, str]]:
    return list(dict.fromkeys((name, scenario) for name, scenario, _ in results))


def _ratios(results: Results) -> Table:
    """Tables 2, 4 and 5: the ratio of what is sent, at every RP."""
    precisions = sorted({rp for *_, rp in results}, reverse=True)
    rows = [[scenario, _title(name), *(_cell(results, (name, scenario, rp), "ratio") for rp in precisions)]
            for name, scenario in sorted(_pairs(results), key=lambda p: list(SCENARIOS).index(p[1]))]
    papers = [[scenario, model, *(dict(zip(PAPER_RP, ratios)).get(rp) for rp in precisions)]
              for scenario, (model, ratios) in PAPER.items()]
    return Table("Compression ratio at each representation precision (RP)",
                 ["scenario", "network", *(f"RP {rp}" for rp in precisions)], rows,
                 "Bytes of the float32 parameters over bytes of the whole stream, digests and names included.", papers)


def _losses(results: Results) -> Table:
    precisions = sorted({rp for *_, rp in results}, reverse=True)
    rows = [[scenario, _title(name), *(_cell(results, (name, scenario, rp), "lost", ".2f") for rp in precisions)]
            for name, scenario in _pairs(results)]
    return Table("Accuracy lost, in points", ["scenario", "network", *(f"RP {rp}" for rp in precisions)], rows,
                 "Below 0: the decoded model answers better by chance than the original.")


def _cell(results: Results, key: tuple[str, str, int], attribute: str, form: str = ".3f") -> str | None:
    return spread([getattr(p, attribute) for p in results[key]], form) if key in results else None


def _smallest(results: Results, name: str, scenario: str) -> list[int]:
    """For each seed the bytes of the smallest stream with equal accuracy."""
    by_seed = zip(*(points for (n, s, _), points in results.items() if (n, s) == (name, scenario)))
    return [min((p.size for p in seed if p.lost <= TOLERANCE), default=max(p.size for p in seed)) for seed in by_seed]


def _savings(results: Results, name: str, scenario: str) -> list[float]:
    """For each seed the percent by which the difference is smaller than the direct stream of equal accuracy."""
    pairs = zip(_smallest(results, name, scenario), _smallest(results, name, ALONE[scenario]))
    return [100 * (1 - own / alone) for own, alone in pairs]


def _differences(results: Results) -> list[tuple[str, str]]:
    return [(name, scenario) for name, scenario in _pairs(results) if ALONE[scenario] != scenario]


def _equal_accuracy(results: Results) -> Table:
    rows = [[scenario, _title(name), spread(_smallest(results, name, ALONE[scenario]), ",.0f"),
             spread(_smallest(results, name, scenario), ",.0f"), spread(_savings(results, name, scenario), ".1f")]
            for name, scenario in _differences(results)]
    return Table(f"The smallest stream within {TOLERANCE} points of the original's accuracy",
                 ["scenario", "network", "direct, bytes", "difference, bytes", "% smaller"], rows,
                 "Each side takes the lowest RP that keeps the accuracy. RP counts powers of ten, so that the "
                 "comparison is coarse where one side needs one more. A truncated difference always falls short "
                 "towards the old model: its errors add up, where those of truncated weights cancel.")


def _mixing(results: Results) -> Table:
    rows = [[scenario, _title(name), rp, spread([p.size for p in found], ",.0f"), spread([p.cm for p in found], ",.0f"),
             spread([100 * (1 - p.cm / p.size) for p in found], ".1f")]
            for (name, scenario, rp), found in results.items() if found[0].cm is not None]
    return Table("Beside it: trellis-coded quantisation with context mixing (CM) at the same squared error",
                 ["scenario", "network", "RP", "LZMA, bytes", "CM, bytes", "CM % fewer"], rows)


def _figures(results: Results) -> list[Figure]:
    figures = []
    for scenarios, model, title in ((OVER_TIME, "VGG-16", "Single model and differences over time"),
                                    (PARTIAL, "ResNet-50", "Partial update, and a corrupted prediction")):
        names = list(dict.fromkeys(n for n, s in _pairs(results) if s == scenarios[-1]))
        name = "vgg" if "vgg" in names else names[0]
        lines = [_line(results, name, s, "ratio") for s in scenarios]
        lines += [Series(f"{model}, paper: {s}", [rp for rp, r in zip(PAPER_RP, PAPER[s][1]) if r],
                         [r for r in PAPER[s][1] if r], paper=True) for s in scenarios]
        figures.append(Figure(f"{title}: {_title(name)}", PRECISION, "compression ratio", lines, log_y=True))
    alone = [(n, s) for n, s in _pairs(results) if ALONE[s] == s]
    figures.append(Figure("Accuracy of single models", PRECISION, "points of accuracy lost",
                          [_line(results, n, s, "lost", _title(n)) for n, s in alone]))
    return figures


def _line(results: Results, name: str, scenario: str, attribute: str, label: str = "") -> Series:
    found = {rp: [getattr(p, attribute) for p in seeds]
             for (n, s, rp), seeds in results.items() if (n, s) == (name, scenario)}
    return points(label or scenario, list(found), list(found.values()))


def _facts(results: Results) -> dict[str, float | bool | str]:
    """Savings at equal accuracy; whether the difference was smaller than the direct stream at every RP and seed."""
    facts: dict[str, float | bool | str] = {}
    for name, scenario in _differences(results):
        precisions = [rp for n, s, rp in results if (n, s) == (name, scenario)]
        facts[f"{name}, {scenario}: % smaller"] = min(_savings(results, name, scenario))
        facts[f"{name}, {scenario}: always smaller"] = all(
            own.size < alone.size for rp in precisions
            for own, alone in zip(results[name, scenario, rp], results[name, ALONE[scenario], rp]))
    return facts


def _remarks(context: Context, results: Results, facts: dict) -> list[str]:
    missed = [key for key, value in facts.items() if key.endswith("always smaller") and not value]
    missed += [key for key, value in facts.items() if key.endswith("% smaller") and value <= 0]
    least = min(value for key, value in facts.items() if key.endswith("% smaller"))
    size = {n: f"{_title(n)} {_magnitude(sequence(context, n, context.seeds[0])['epoch20']):.3f}"
            for n in dict.fromkeys(n for n, *_ in results)}
    cm = [100 * (1 - p.cm / p.size) for found in results.values() for p in found if p.cm is not None]
    verdict = (f"In every scenario, at every RP and for every seed the difference of models is smaller than the direct "
               f"stream; at equal accuracy by {least:.1f} % at least." if not missed else
               f"**Not everywhere** is the difference smaller than the direct stream: {'; '.join(missed)}.")
    return [
        verdict,
        _order(results),
        (f"The ratios at one RP are lower than the paper's, because the weights are larger and RP counts decimals, an "
         f"absolute precision. Mean magnitudes are {', '.join(size.values())}; `tools/decimal_ratios.py` finds that "
         f"VGG-16's published ratios are those of Laplacian weights of about 0.005. Accuracy stands lower RPs for the "
         f"same reason."),
        ("The ratio of short intervals does not reach thousands: these networks have a hundredth or less of VGG-16's "
         "parameters, and descriptors and digests of their tensors are the most of such a stream."),
        (f"CM takes {sum(cm) / len(cm):.1f} % fewer bytes than LZMA at the same error on average, {min(cm):.1f} % at "
         f"worst and {max(cm):.1f} % at best (RP {CM_RP})."),
    ]


def _order(results: Results) -> str:
    """Whether the scenarios rank as in the paper, at the finest RP that all have."""
    lines = []
    for ranked in (("short interval", "long interval", "direct"),
                   ("partial update", "corrupted prediction", "partial, direct")):
        for name in [n for n, s in _pairs(results) if s == ranked[0]]:
            rp = min(max(rp for n, s, rp in results if (n, s) == (name, scenario)) for scenario in ranked)
            sizes = [statistics.fmean(p.size for p in results[name, scenario, rp]) for scenario in ranked]
            holds = "as in the paper" if sizes == sorted(sizes) else "**other than in the paper**"
            lines.append(f"{_title(name)} at RP {rp}, {holds}: "
                         + ", ".join(f"{scenario} {size:,.0f} bytes" for scenario, size in zip(ranked, sizes)))
    return "; ".join(lines) + "."


def _magnitude(parameters: Parameters) -> float:
    matrices = [x for x in parameters.values() if x.ndim > 1]
    return sum(float(abs(x).sum()) for x in matrices) / sum(x.size for x in matrices)
