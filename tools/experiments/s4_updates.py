"""S4: updates by factors and masks, trained compactly, sent as streams, and what they are worth for their size."""

from __future__ import annotations

import itertools
import statistics

import numpy as np
from coding import bytes_of
from s4_coding import NOISE_DB
from s4_methods import METHODS
from s4_runs import ANGLE, DEPLOYED_SHARE, TASKS, Bench, Point, by_size, quick_points
from section import Cell, Context, Figure, Section, Table, points, spread
from tqdm import tqdm

PAPER = "Update Compression for Deep Neural Networks on the Edge, CVPR workshops 2022"
QUESTION = "How much accuracy does an update of a given size bring to a model that the edge already has?"
SENT = (*METHODS, "DoM", "CM")
LIMITS = (0.25, 0.5, 1.0, 2.0)          # % of the float32 model
GAIN = 0.9                              # of what training without constraint gains: the level whose size is compared
CLAIMS = Table("What the paper reports (larger networks and images, numbers sent as they are)", ["claim", "figure"], [
    ["update of RM and LRU over that of KA at equal accuracy, below 2 %", "2 to 3"],
    ["filter pruning and plain re-coding over KA", "about 20"]])

Results = dict[str, list[Point]]


def run(context: Context) -> Section:
    """Full: two networks, all seeds. Quick: one seed of one network from the committed free parameters."""
    return _quick(context) if context.quick else _full(context)


def _quick(context: Context) -> Section:
    before, size, found = quick_points(context.weights)
    rows: list[list[Cell]] = [[_label(p.method, p.size), _percent(p.update_bytes, size), _percent(4 * p.values, size),
                               f"{p.trained:.1f}", f"{p.decoded:.1f}"] for p in found]
    columns = ["update", "stream, % of the model", "numbers sent, %", "accuracy, %", "after the stream, %"]
    drop = max(p.trained - p.decoded for p in found)
    best = max(found, key=lambda p: p.decoded)
    remarks = [(f"The deployed network names {before:.1f} % of the images of the new domain. "
                f"{_label(best.method, best.size)} brings it to {best.decoded:.1f} %. The streams cost at most "
                f"{drop:.1f} points."),
               "One seed, one size or two: the curves are those of the full mode."]
    facts = {"deployed_accuracy": before, "largest_drop": drop, "smallest_gain": min(p.decoded for p in found) - before,
             "largest_update_percent": max(100 * p.update_bytes / size for p in found),
             "methods": len({p.method for p in found})}
    table = Table("Updates of the VGG-like network", columns, rows)
    return Section("S4: updates on the edge (quick)", PAPER, QUESTION, [table], [], remarks, facts)


def _full(context: Context) -> Section:
    section = Section("S4: updates on the edge", PAPER, QUESTION)
    for name in TASKS:
        bench = Bench(name, context)
        found = [p for job in tqdm(list(bench.jobs()), desc=f"S4 {name}", disable=not context.progress)
                 for p in bench.points(*job)]
        _add(section, bench, found)
    section.tables[0].papers = CLAIMS
    section.remarks += [
        (f"Scenario: a network learns {100 * DEPLOYED_SHARE:.0f} % of the upright images (each seed others); the "
         f"update adapts it to all images, turned by {ANGLE} degrees and noisy, in few epochs. The rate of each method "
         "and size is the best on images that are neither trained on nor tested (by factors of three, with the first "
         "seed). The test images are always the same."),
        ("**Ours differs from the paper in the size that counts.** The paper counts numbers; here the bytes of the "
         f"whole stream count, with headers and digests, and every number is quantised ({NOISE_DB:g} dB below the "
         "update) and entropy-coded. Factors shrink more by that than the elements of RM, sent as words."),
        ("**Re-coding is not so dear here.** The paper re-codes after filter pruning; CM quantises by a trellis and "
         "codes by contexts, down to about a bit per weight, and FP codes the kept filters as differences."),
        ("LRA and ML replace the weights by a product of low rank, as in the paper: what the product leaves out of the "
         "deployed weights is lost.")]
    return section


def _add(section: Section, bench: Bench, found: list[Point]) -> None:
    # The tables, figures, remarks and facts of one network.
    deployed = [bench.deployed(seed) for seed in bench.seeds]
    before, total, name = [bench.accuracy(d) for d in deployed], bytes_of(deployed[0]), bench.network.name
    after = [p.trained for p in by_size(found, "DoM")[0]]
    level = statistics.fmean(before) + GAIN * (statistics.fmean(after) - statistics.fmean(before))
    coded, plain = {}, {}
    for method in SENT:
        groups = by_size(found, method)
        coded[method] = [(100 * statistics.fmean(p.update_bytes for p in g) / total, [p.decoded for p in g])
                         for g in groups]
        plain[method] = [(400 * statistics.fmean(p.values for p in g) / total, [p.trained for p in g]) for g in groups]
    section.tables += [_best(name, coded, plain), _needed(name, coded, plain, level), _lead(name, found, total),
                       _all(name, found, total)]
    section.figures += [
        Figure(f"{name}: accuracy after an update, by its stream", "bytes of the stream, % of the float32 model",
               "accuracy on the new domain, %", [points(m, *map(list, zip(*coded[m]))) for m in SENT], log_x=True),
        Figure(f"{name}: accuracy after an update, by the numbers in it", "numbers sent, % of the parameters",
               "accuracy on the new domain, %", [points(m, *map(list, zip(*plain[m]))) for m in METHODS], log_x=True)]
    key = name.lower().replace("-", "_")
    lead = _leads(found, total, "LRU", coded=True)
    section.facts |= {f"{key}_deployed": statistics.fmean(before), f"{key}_whole": statistics.fmean(after),
                      f"{key}_largest_drop": max(p.trained - p.decoded for p in found if p.method in METHODS)}
    section.facts |= {f"{key}_ka{size}_minus_lru": statistics.fmean(d) for size, d in lead.items() if d}
    section.remarks += _remarks(f"{name} ({len(bench.seeds)} seeds)", before, after, coded, lead, level)


def _remarks(name: str, before: list[float], after: list[float], coded: dict, lead: dict, level: float) -> list[str]:
    winners = []
    for limit in LIMITS:
        best = {m: statistics.fmean(b) for m in SENT if (b := _under(coded[m], limit))}
        if best:
            first = max(best, key=best.get)
            behind = f", KA {best[first] - best['KA']:.1f} points behind" if "KA" in best and first != "KA" else ""
            winners.append(f"below {limit:g} % {first} ({best[first]:.1f} %{behind})")
    leads = [f"n = {size:g}: {_signed(d)}" for size, d in lead.items() if d]
    text = [(f"**{name}**: {spread(before, '.1f')} % on the new domain as deployed, {spread(after, '.1f')} % when all "
             f"weights are trained. Best by size of the stream: {'; '.join(winners)}.")]
    if leads:
        text.append(f"{name}: KA less LRU at the size of KA's stream, in points, seed by seed: {'; '.join(leads)}.")
    ours = _reaches(coded["KA"], level)
    if ours:
        text.append(f"{name}: for {level:.1f} % KA needs {ours:.2f} % of the model; the others over KA: "
                    + ", ".join(f"{m} {_times(coded[m], level, ours)}" for m in SENT if m != "KA")
                    + ". The paper says 2 to 3 for RM and LRU, and about 20 for filter pruning with plain re-coding.")
    return text


def _times(curve: list[tuple[float, list[float]]], level: float, ours: float) -> str:
    """How many times as large an update of this curve is at a level."""
    size = _reaches(curve, level)
    if size is not None:
        return f"{size / ours:.1f} times"
    above = [size for size, accuracies in curve if statistics.fmean(accuracies) >= level]
    return f"at most {min(above) / ours:.1f} times" if above else "never"


def _under(curve: list[tuple[float, list[float]]], limit: float) -> list[float] | None:
    """Accuracies of the best size below a limit, None where there is none."""
    fitting = [accuracies for size, accuracies in curve if size < limit]
    return max(fitting, key=statistics.fmean) if fitting else None


def _best(name: str, coded: dict, plain: dict) -> Table:
    rows: list[list[Cell]] = []
    for method in SENT:
        cells = [_under(coded[method], limit) for limit in LIMITS]
        cells.append(_under(plain[method], 2.0) if method in METHODS else None)
        rows.append([method, *("-" if c is None else spread(c, ".1f") for c in cells)])
    columns = ["method", *(f"stream below {limit:g} %" for limit in LIMITS), "numbers below 2 %"]
    return Table(f"{name}: best accuracy under a size, %", columns, rows, "'-': no update of this method is so small.")


def _needed(name: str, coded: dict, plain: dict, level: float) -> Table:
    rows: list[list[Cell]] = []
    sizes = [{m: _reaches(curves[m], level) for m in SENT} for curves in (coded, plain)]
    for method in SENT:
        cells: list[Cell] = []
        for found in sizes if method in METHODS else sizes[:1]:
            size, ours = found[method], found["KA"]
            cells += ["-", "-"] if size is None else [f"{size:.3f}", f"{size / ours:.2f}" if ours else "-"]
        rows.append([method, *cells, *["-"] * (4 - len(cells))])
    return Table(f"{name}: size at {level:.1f} % accuracy ({100 * GAIN:.0f} % of what training all weights gains)",
                 ["method", "stream, %", "over KA", "numbers, %", "over KA "], rows,
                 "Between sizes by interpolation of the means; '-': not reached, or already by the smallest update.")


def _reaches(curve: list[tuple[float, list[float]]], level: float) -> float | None:
    """The size at which the mean accuracy passes a level, by interpolation over log(size)."""
    means = [(np.log(size), statistics.fmean(a)) for size, a in curve]
    for (x0, y0), (x1, y1) in itertools.pairwise(means):
        if y0 < level <= y1:
            return float(np.exp(x0 + (x1 - x0) * (level - y0) / (y1 - y0)))
    return None


def _leads(found: list[Point], total: int, other: str, coded: bool) -> dict[float, list[float]]:
    """By the size of KA: its accuracy less that of another method at the same size of the update, for each seed."""
    def at(point: Point) -> tuple[float, float]:
        if coded:
            return np.log(point.update_bytes / total), point.decoded
        return np.log(4 * point.values / total), point.trained

    leads: dict[float, list[float]] = {}
    for point in (p for p in found if p.method == "KA"):
        x, y = at(point)
        curve = sorted(at(p) for p in found if p.method == other and p.seed == point.seed)
        xs, ys = zip(*curve)
        if xs[0] - 0.1 <= x <= xs[-1] + 0.1:                     # a tenth beyond the ends counts as the end
            leads.setdefault(point.size, []).append(y - float(np.interp(x, xs, ys)))
        else:
            leads.setdefault(point.size, [])
    return leads


def _lead(name: str, found: list[Point], total: int) -> Table:
    columns, cells = ["KA with"], {}
    for other in ("LRU", "RM", "ML"):
        for coded in (True, False):
            columns.append(f"{other}, {'stream' if coded else 'numbers'}")
            for size, differences in _leads(found, total, other, coded).items():
                cells.setdefault(size, []).append(_signed(differences) if differences else "-")
    return Table(f"{name}: accuracy of KA less that of others at the same size, points", columns,
                 [[f"n = {size:g}", *row] for size, row in sorted(cells.items())],
                 "Seed by seed, by interpolation between sizes; '-': the other has no update so small or so large.")


def _all(name: str, found: list[Point], total: int) -> Table:
    rows: list[list[Cell]] = []
    for method in SENT:
        for group in by_size(found, method):
            rows.append([_label(method, group[0].size), spread([100 * p.update_bytes / total for p in group], ".3f"),
                         _percent(4 * group[0].values, total), spread([p.trained for p in group], ".1f"),
                         spread([p.decoded for p in group], ".1f")])
    columns = ["update", "stream, % of the model", "numbers sent, %", "accuracy as trained, %", "from the stream, %"]
    return Table(f"{name}: all updates", columns, rows)


def _signed(differences: list[float]) -> str:
    return spread(differences, "+.1f").replace("± +", "± ")


def _label(method: str, size: float) -> str:
    if method in ("DoM", "CM"):
        return f"{method}, {size:g} dB"
    if method in ("RM", "FP"):
        return f"{method}, {100 * size:g} % {'of the weights' if method == 'RM' else 'of the filters'}"
    return f"{method}, {'n' if method == 'KA' else 'r'} = {size:g}"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.3f}"
