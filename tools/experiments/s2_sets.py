"""S2 with sets of models: distances, roots, and a budget that all share."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from coding import model_of, noise, parameters_of, variance
from networks import Parameters
from s2_pairs import qbits
from section import Context, Figure, Table, points, spread
from trained import TASKS, sequence, tasks

from refcodec import Config, decode, encode
from refcodec.decoder import StreamDecoder
from refcodec.encoder.config import Rule
from refcodec.encoder.sets.coding_order import kl_matrix, plan_set

ROOTS = ("kl", "size", "auto")
COARSE = 10                             # q_bits of sets: the largest that costs no accuracy to speak of
UPRIGHT = "upright"
ALL = (Rule("*", "quantise"),)
SEPARATE, ONE_STEP, BUDGET = "separate, one step", "set, one step", "set, steps for a budget"


@dataclass
class Found:
    """Over the seeds. kl: matrices in nats.  sizes: (coder, way) -> (bytes, mean squared error, name of the root).

    curves: way -> step over the deviation -> (bytes, utility).
    """

    kl: list[np.ndarray] = field(default_factory=list)
    sizes: dict[tuple[str, str], list[tuple[int, float, str]]] = field(default_factory=dict)
    curves: dict[str, dict[float, list[tuple[int, float]]]] = field(default_factory=dict)


def members(context: Context, name: str, seed: int) -> dict[str, Parameters]:
    """The set: the model of epoch 20, and what was refined from it for each task."""
    refined = tasks(context, name, seed)
    return {UPRIGHT: sequence(context, name, seed)["epoch20"]} | {task: refined[task] for task in TASKS}


def sent(models: dict[str, Parameters], config: Config) -> tuple[int, dict[str, Parameters]]:
    """Bytes of one stream of all models, and what its decoder has. Digests are verified."""
    stream = encode([model_of(p, n) for n, p in models.items()], config)
    with StreamDecoder(stream) as decoder:
        received = [decoder.model(i) for i in range(len(models))]
    return len(stream), {m.name: parameters_of(m) for m in received}


def apart(models: dict[str, Parameters], config: Config) -> tuple[int, dict[str, Parameters]]:
    """The same with a stream for each model."""
    size, received = 0, {}
    for name, parameters in models.items():
        stream = encode(model_of(parameters, name), config)
        size, received[name] = size + len(stream), parameters_of(decode(stream))
    return size, received


def error(models: dict[str, Parameters], received: dict[str, Parameters]) -> float:
    return statistics.fmean(noise(p, received[n]) for n, p in models.items())


def utility(models: dict[str, Parameters], received: dict[str, Parameters]) -> float:
    """Mean over the models of 1 - error / variance, the share of the variance that arrives."""
    def share(original: Parameters, coded: Parameters) -> float:
        return 1 - noise(original, coded) / variance(original)

    return statistics.fmean(share(p, received[n]) for n, p in models.items())


def measure(context: Context, name: str, seed: int, found: Found) -> None:
    """Distances, and all ways to code the set, at equal error."""
    models = members(context, name, seed)
    listed = [model_of(p, n) for n, p in models.items()]
    found.kl.append(kl_matrix(listed))
    coders = {"CM": Config(step=10.0 ** (COARSE - 12), effort="best", rules=list(ALL))}
    coders[f"LZMA, q_bits {COARSE}"] = qbits(COARSE)
    for coder, config in coders.items():
        size, received = apart(models, config)
        found.sizes.setdefault((coder, "separate"), []).append((size, error(models, received), ""))
        for root in ("auto",) if coder == "CM" else ROOTS:
            rooted = replace(config, root=root)
            size, received = sent(models, rooted)
            first = listed[plan_set(listed, root, rooted).root].name
            found.sizes.setdefault((coder, root), []).append((size, error(models, received), first))


def measure_budgets(context: Context, name: str, seed: int, found: Found) -> None:
    """Utility against bytes: one step for all, and in as many bytes steps chosen for a budget (the paper's eq. 10)."""
    models = members(context, name, seed)
    deviation = statistics.fmean(float(np.std(x)) for p in models.values() for x in p.values() if x.ndim > 1)
    for factor in (0.5,) if context.quick else (1.0, 0.5, 0.25):
        same = Config(step=factor * deviation, rules=list(ALL))
        rooted = sent(models, replace(same, root="auto"))
        within = sent(models, Config(max_bytes=rooted[0], root="auto", rules=list(ALL)))
        for way, (size, received) in ((SEPARATE, apart(models, same)), (ONE_STEP, rooted), (BUDGET, within)):
            found.curves.setdefault(way, {}).setdefault(factor, []).append((size, utility(models, received)))


def tables(found: Found) -> list[Table]:
    """Tables II, III and XI of the paper, in kind."""
    names = [UPRIGHT, *TASKS]
    matrices = np.stack(found.kl)
    rows = [[name, *(spread(list(matrices[:, i, j]), ".4f") if i != j else None for j in range(len(names))),
             spread(list(matrices[:, i].sum(axis=1)), ".4f")] for i, name in enumerate(names)]
    kl = Table("Kullback-Leibler distances between the models of the set (tables II, III)",
               ["root", *names, "sum"], rows,
               "Nats per parameter from the model of the row, if it were the root, to that of the column; 'parity' has "
               "a last layer of another shape, which shares nothing.")
    rows = [[coder, way, "" if way == "separate" else ", ".join(sorted({r for *_, r in seeds})),
             spread([s for s, *_ in seeds], ",.0f"),
             None if way == "separate" else spread(savings(found, coder, way), ".1f"),
             spread([e for _, e, _ in seeds], ".3g")]
            for (coder, way), seeds in found.sizes.items()]
    sets = Table(
        f"A set of {len(names)} relatives: separate streams, and one stream with a root (table XI)",
        ["coder", "way", "root", "bytes", "% smaller", "mean squared error"], rows,
        f"CM: with a step of 10^{COARSE - 12}. kl: the root of the smallest total distance; size: of the smallest "
        f"estimated stream; auto: a tree.")
    rows = [[factor, way, spread([s for s, _ in seeds], ",.0f"), spread([u for _, u in seeds], ".4f")]
            for factor in found.curves[BUDGET] for way in found.curves for seeds in [found.curves[way][factor]]]
    return [kl, sets, Table("Utility of the set under a total rate (figures 11, 12)",
                            ["step", "way", "bytes", "utility"], rows,
                            "Step: of one step for all, in standard deviations; the budget is the size of that set. "
                            "Utility: mean over the models of 1 - error / variance.")]


def figures(found: Found) -> list[Figure]:
    """Utility against bytes."""
    lines = []
    for way, by_point in found.curves.items():
        seeds = sorted(by_point.values(), key=lambda s: s[0][0])
        sizes = [statistics.fmean(s for s, _ in p) / 1000 for p in seeds]
        lines.append(points(way, sizes, [[u for _, u in p] for p in seeds]))
    return [Figure("Utility of the set under a total rate", "kilobytes of all streams", "utility", lines)]


def savings(found: Found, coder: str, way: str) -> list[float]:
    """For each seed percent fewer bytes than separate streams."""
    both = zip(found.sizes[coder, way], found.sizes[coder, "separate"])
    return [100 * (1 - own[0] / alone[0]) for own, alone in both]


def error_ratios(found: Found, coder: str, ways: Sequence[str]) -> list[float]:
    """For each way and seed the error of the set over that of separate streams."""
    return [own[1] / alone[1] for way in ways
            for own, alone in zip(found.sizes[coder, way], found.sizes[coder, "separate"])]


def utility_gains(found: Found) -> list[float]:
    """Of steps for a budget over one step in as many bytes, for each step and seed."""
    return [chosen[1] - one[1] for factor, seeds in found.curves[BUDGET].items()
            for chosen, one in zip(seeds, found.curves[ONE_STEP][factor])]
