"""S2: compression of several models by removing what they share (IEEE TCSVT 2020)."""

from __future__ import annotations

import s2_pairs as pairs
import s2_sets as sets
from section import Context, Section
from tqdm import tqdm
from trained import TASKS, tasks, workload

BUDGET_SEEDS = 1                        # a budget is met by coding the set about ten times


def run(context: Context) -> Section:
    """Pairs and sets of one network, for every seed."""
    name = "small-lenet" if context.quick else "resnet"
    of_pairs, of_sets = pairs.Found(), sets.Found()
    for n, seed in enumerate(tqdm(context.seeds, "S2", disable=not context.progress)):
        pairs.measure(context, name, seed, of_pairs)
        sets.measure(context, name, seed, of_sets)
        if n < BUDGET_SEEDS:
            sets.measure_budgets(context, name, seed, of_sets)
    section = Section(f"S2: several models ({workload(name).network.name})",
                      "Deep learning model communication by inter-model redundancy removal, IEEE TCSVT 2020; tables I "
                      "to III, VII to XI, figures 11, 12",
                      "What is saved when models that share their past are predicted from each other?")
    section.tables = pairs.tables(of_pairs) + sets.tables(of_sets)
    section.figures = pairs.figures(of_pairs) + sets.figures(of_sets)
    section.facts = _facts(of_pairs, of_sets)
    section.remarks = _remarks(context, name, of_pairs, of_sets, section.facts)
    return section


def _facts(of_pairs: pairs.Found, of_sets: sets.Found) -> dict[str, float | bool | str]:
    facts: dict[str, float | bool | str] = {}
    for table in ("sequential", "corrupted", "pruned"):
        facts[f"{table}: least % smaller"] = pairs.worst(of_pairs, table)[1]
    for (coder, way) in of_sets.sizes:
        if way != "separate":
            facts[f"set, {coder}, {way}: least % smaller"] = min(sets.savings(of_sets, coder, way))
            facts[f"set, {coder}, {way}: largest error ratio"] = max(sets.error_ratios(of_sets, coder, [way]))
    facts["utility: least gain"] = min(sets.utility_gains(of_sets))
    return facts


def _remarks(context: Context, name: str, of_pairs: pairs.Found, of_sets: sets.Found, facts: dict) -> list[str]:
    lzma, cm = ([facts[f"set, {coder}, auto: {what}"] for what in ("least % smaller", "largest error ratio")]
                for coder in (f"LZMA, q_bits {sets.COARSE}", "CM"))
    alike, sparser = (pairs.mean_saved(of_pairs, "pruned", s) for s in (("P2-P2", "P5-P5"), ("P5-P2", "U-P2")))
    bits = [r[2] - r[1] for rows in of_pairs.laplacian.values() for r in rows]
    errors = [r[4] / r[3] for rows in of_pairs.laplacian.values() for r in rows]
    gains = sets.utility_gains(of_sets)
    found = tasks(context, name, context.seeds[0])
    answers = ", ".join(f"{t} {workload(name).accuracy(found[t], t):.1f} %" for t in TASKS)
    return [
        *(_verdict(of_pairs, table) for table in ("sequential", "corrupted", "pruned")),
        (f"Where the prediction has weights that the pruned target has not (P5-P2, U-P2), the difference must undo "
         f"them, and little is left of the gain: {sparser:.1f} % against {alike:.1f} % where both are pruned alike. "
         f"The encoder takes the difference tensor by tensor, only where it is smaller."),
        (f"Real errors are {min(errors):.2f} to {max(errors):.2f} times those of the Laplacian model; real streams "
         f"take {min(bits):+.2f} to {max(bits):+.2f} bits per parameter more. LZMA sees levels as bytes and does not "
         f"know their distribution, and headers are counted."),
        (f"The set of {len(TASKS) + 1} relatives is {lzma[0]:.1f} % smaller than separate streams with S2's quantiser "
         f"at q_bits {sets.COARSE} and LZMA, and {cm[0]:.1f} % with CM, at the worst seed; its errors are "
         f"{lzma[1]:.3f} and {cm[1]:.3f} times those of the separate streams at most. Finer steps, of which more bits "
         "are noise that "
         f"nothing predicts, leave less to share."), f"The relatives answer their own tasks: {answers} (first seed).",
        (f"In as many bytes as with one step for all, steps chosen by the Laplacian model (eq. 10) change the mean "
         f"utility by {min(gains):+.4f} to {max(gains):+.4f}."),
        ("The paper's networks are VGG-16 and ResNet-50 on photographs, and this project has no copy of its tables; "
         "its findings are compared in kind: a difference beats direct coding, damaged and pruned predictions still "
         "help, a well-chosen root helps a set."),
    ]


def _verdict(of_pairs: pairs.Found, table: str) -> str:
    what = {"sequential": "Sequential transmission", "corrupted": "Corrupted predictions",
            "pruned": "Pruned predictions and targets"}[table]
    scenario, least = pairs.worst(of_pairs, table)
    always = "always smaller" if least > 0 else "**not always smaller**"
    mean = pairs.mean_saved(of_pairs, table)
    return (f"{what}: the difference is {always} than the direct stream; by {mean:.1f} % on average, by "
            f"{least:.1f} % at worst ({scenario}).")
