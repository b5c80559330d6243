"""S5: what each module of the hybrid pipeline is worth on dense and convolutional networks, and bit widths for
memory."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from networks import Parameters, accuracy
from s5_memory import memory_table
from s5_modules import MODULES, Compressed, Compressor, Module, multiplications, without_idle_inputs
from section import Context, Figure, Section, Series, Table, points, spread
from tqdm import tqdm
from trained import Workload, sequence, workload

LOSS_MAX = 1.0                                      # points of accuracy that compression may cost
CHOOSING, TESTING = slice(0, None, 2), slice(1, None, 2)      # of the held-out images
SNRS = (16, 13, 11, 9, 7.5, 6, 5, 4, 3, 2)            # of all layers together, dB, from fine to coarse
PAPER = [["AlexNet", "241 MB", "11 MB", 21.9, "62 to 66 %"], ["VGG-16", "537 MB", "24 MB", 22.4, "62 to 66 %"],
         ["VGG-Face", "553 MB", "17 MB", 32.0, "62 to 66 %"]]


def run(context: Context) -> Section:
    """The section of S5. Quick: two small committed networks."""
    names = ("small-lenet", "small-resnet") if context.quick else ("lenet", "vgg", "resnet")
    section = Section(
        "S5: hybrid compression for inference",
        "Compressing Deep Neural Networks for Efficient Visual Inference (ICASSP 2018)",
        "What does each of low rank, fixed point, pruning and Huffman codes with relative indices bring, without "
        "training again?"
    )
    resources = []
    for name in tqdm(names, "networks", leave=False, disable=not context.progress):
        resources.append(_network(section, name, context))
    section.tables.append(
        Table("Resources (the paper's table)", ["network", "before", "after", "ratio", "multiply-accumulates saved"],
              resources, f"All modules, at a loss of at most {LOSS_MAX:g} point. Storage is the whole stream.", PAPER))
    memory, facts, remark = memory_table()
    section.tables.append(memory)
    section.facts |= facts
    section.remarks = [*_remarks(section.facts, names), remark]
    return section


def _network(section: Section, name: str, context: Context) -> list:
    """Table and curve of one network; its row of resources."""
    w = workload(name)
    models = [sequence(context, name, seed)["epoch20"] for seed in context.seeds]
    snrs = SNRS[::3] if context.quick else SNRS
    seen = w.test.images[CHOOSING]
    plain = [Compressor(w.network, p) for p in models]
    pruned = [Compressor(w.network, without_idle_inputs(w.network, p, seen)) for p in models]
    rows, best, curve = [], {}, []
    for module in MODULES:
        found = [_coarsest(w, p, c, module, snrs) for p, c in zip(models, pruned if module.prunes else plain)]
        best[module.name] = found
        rows.append([module.name, *_cells(found)])
    before = [_accuracy(w, p, TESTING) for p in models]
    raw = sum(x.nbytes for x in models[0].values())
    section.tables.append(
        Table(
            f"{w.network.name}: the modules, alone and together",
            ["modules", "dB", "bytes", "ratio", "accuracy %", "non-zero %", "MAC %"],
            [["none (float32)", "", f"{raw:,}", "1",
              spread(before, ".2f"), "100", "100"], *rows],
            "Each at the lowest SNR (all layers together) that keeps the accuracy on one half of the held-out "
            f"images within {LOSS_MAX:g} point; 'accuracy' is that on the other half. Pruning begins with the weights "
            "of inputs that are hardly ever lit. MAC: multiply-accumulates by weights that are not 0, "
            "in percent of the original's."))
    full = [m for m in MODULES if m.name in ("all", "all, CM")]
    for module in full:
        streams = [[c.compress(module, snr) for c in pruned] for snr in snrs]
        curve.append(points(module.name, [statistics.fmean(s.ratio for s in found) for found in streams],
                            [[_accuracy(w, s.received, TESTING) for s in found] for found in streams]))
    ratios = [s.ratio for s, _ in best["all"]]
    section.figures.append(Figure(f"{w.network.name}: accuracy against ratio", "ratio", "accuracy, %", [
        *curve, Series("float32", [1.0, max(curve[0].x)], [statistics.fmean(before)] * 2)], log_x=True))
    losses = [b - a for b, (_, a) in zip(before, best["all"])]
    mixed = [c.size / h.size for (h, _), (c, _) in zip(best["all"], best["all, CM"])]
    section.facts |= {f"{name}_ratio": statistics.fmean(ratios), f"{name}_loss": statistics.fmean(losses),
                      f"{name}_cm_ratio": statistics.fmean(s.ratio for s, _ in best["all, CM"]),
                      f"{name}_cm_over_huffman": statistics.fmean(mixed)}
    saved = [100 - s.mac_percent for s, _ in best["all"]]
    after = statistics.fmean(s.size for s, _ in best["all"])
    return [w.network.name, f"{raw / 1e3:.0f} kB", f"{after / 1e3:.1f} kB", spread(ratios, ".2f"),
            spread(saved, ".1f") + f" % of {multiplications(w.network, models[0]) / 1e6:.2f} M"]


def _accuracy(w: Workload, parameters: Parameters, images: slice) -> float:
    test = w.test
    return accuracy(w.network, parameters, test.images[images], test.labels[images])


def _coarsest(w: Workload, original: Parameters, compressor: Compressor, module: Module, snrs: Sequence[float]
              ) -> tuple[Compressed, float]:
    """The smallest stream of a module that keeps the accuracy on the images for choosing (else the finest), and its
    accuracy."""
    least = _accuracy(w, original, CHOOSING) - LOSS_MAX
    made = [compressor.compress(module, snr) for snr in snrs]
    kept = [m for m in made if _accuracy(w, m.received, CHOOSING) >= least] or made[:1]
    chosen = min(kept, key=lambda m: m.size)
    return chosen, _accuracy(w, chosen.received, TESTING)


def _cells(found: list[tuple[Compressed, float]]) -> list:
    streams = [s for s, _ in found]
    return [
        spread([s.snr for s in streams], ".1f"), f"{statistics.fmean(s.size for s in streams):,.0f}",
        spread([s.ratio for s in streams], ".2f"),
        spread([a for _, a in found], ".2f"),
        spread([s.nonzero_percent for s in streams], ".1f"),
        spread([s.mac_percent for s in streams], ".1f")
    ]


def _remarks(facts: dict, names: tuple[str, ...]) -> list[str]:
    said = [
        f"**{workload(n).network.name}**: ratio {facts[f'{n}_ratio']:.2f} at a loss of {facts[f'{n}_loss']:.2f} "
        f"points; the same levels in CM: {facts[f'{n}_cm_ratio']:.2f}, streams "
        f"{100 * (1 - facts[f'{n}_cm_over_huffman']):.1f} % smaller."
        for n in names
    ]
    said.append(
        "The paper's networks have 60 to 140 million parameters, nearly all of them in dense layers of low rank; "
        "ours have thousands, so names, digests and tables of codes weigh more, low rank saves less, and "
        "multiply-accumulates are saved by pruning. Without training again convolutional networks "
        "bear less than fully connected ones, there as here.")
    return said
