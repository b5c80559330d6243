"""S3: activations of intermediate layers as what is transmitted: lossless by type of feature, lossy against the end
task."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import numpy as np
from s3_sources import Split, feature_arrays, splits
from s3_streams import Sizes, lossless_sizes, lossy_stream, step_for
from section import Context, Figure, Section, Series, Table
from tqdm import tqdm

CODERS = ("gzip", "zlib", "bzip2", "LZMA", "OMC")
PAPER_FINDINGS = [
    ["LZMA is the best of the four on most maps", "best_general"],
    ["zlib is the fastest of the four, at a comparable size", "zlib"],
    ["bzip2 is unstable: far from the best on some features", "bzip2"],
    ["what is reached is about the non-zero rate", "rate"],
    ["vectors of fully connected layers hardly shrink", "vector"],
]
SNRS = (5.0, 8.0, 12.0, 16.0, 20.0, 26.0)            # of the features, dB
WAYS = {"LZMA": "levels as LZMA takes them", "direct": "OMC, no prediction", "intra": "OMC, from neighbours in the map",
        "inter": "OMC, from the frame before, or neighbours"}


@dataclass
class Measured:
    """One feature tensor, coded without loss. nonzero: percent of the elements that are not 0."""

    model: str
    kind: str
    shape: tuple[int, ...]
    nonzero: float
    sizes: Sizes

    def percent(self, coder: str) -> float:
        return 100 * self.sizes.size[coder] / self.sizes.raw


def run(context: Context) -> Section:
    """The section of S3. Quick: activations of a committed network on the bundled digits."""
    section = Section(
        "S3: intermediate deep features",
        "Intermediate Deep Feature Compression: the Next Battlefield of Intelligent Sensing",
        "How small do activations get without loss, by type of feature, and how coarse may they be before the end "
        "task notices?"
    )
    measured = _lossless(context)
    section.tables += [_by_type(measured), _findings(measured)]
    section.figures.append(_against_nonzero(measured))
    for split in splits(context):
        _lossy(section, split, context)
    maps = [m for m in measured if m.kind != "vector"]
    gain = [1 - m.sizes.size["OMC"] / min(m.sizes.size[c] for c in CODERS[:-1]) for m in maps]
    section.facts |= {"maps": len(maps), "least_gain_over_general_percent": 100 * min(gain),
                      "mean_gain_over_general_percent": 100 * statistics.fmean(gain)}
    section.remarks = _remarks(section.facts, context)
    return section


# Without loss

def _lossless(context: Context) -> list[Measured]:
    arrays = feature_arrays(context)
    made = []
    for (model, kind, _), array in tqdm(arrays.items(), "features", unit="map", leave=False,
                                        disable=not context.progress):
        made.append(Measured(model, kind, array.shape, 100 * float(np.mean(array != 0)), lossless_sizes(array)))
    return made


def _groups(measured: list[Measured]) -> dict[tuple[str, str], list[Measured]]:
    groups: dict[tuple[str, str], list[Measured]] = {}
    for m in measured:
        groups.setdefault((m.model, m.kind), []).append(m)
    return groups


def _by_type(measured: list[Measured]) -> Table:
    rows = []
    for (model, kind), group in _groups(measured).items():
        rows.append([model, kind, len(group), _range(group), f"{sum(m.sizes.raw for m in group) / 1e6:.2f}",
                     f"{statistics.fmean(m.nonzero for m in group):.1f}",
                     *[f"{_share(group, c):.1f}" for c in CODERS], *[f"{_speed(group, c):.1f}" for c in CODERS]])
    return Table(
        "Lossless, by network and type of feature (tables II to V of the paper)", [
            "network", "type", "features", "shapes", "MB", "non-zero %", *[f"{c} %" for c in CODERS],
            *[f"{c} MB/s" for c in CODERS]
        ], rows,
        "Sizes in percent of the float32 features, all features of a row together; encoding speed of one thread. "
        "OMC's is the whole stream, digests and names included, in the entropy mode MAP.")


def _range(group: list[Measured]) -> str:
    shapes = sorted({m.shape for m in group}, key=np.prod)
    names = ["x".join(map(str, s)) for s in (shapes[0], shapes[-1])]
    return names[0] if names[0] == names[1] else " to ".join(names)


def _share(group: list[Measured], coder: str) -> float:
    return 100 * sum(m.sizes.size[coder] for m in group) / sum(m.sizes.raw for m in group)


def _speed(group: list[Measured], coder: str) -> float:
    return sum(m.sizes.raw for m in group) / 1e6 / sum(m.sizes.seconds[coder] for m in group)


def _findings(measured: list[Measured]) -> Table:
    """The paper's findings, and what our features say of each."""
    maps, vectors = [m for m in measured if m.kind != "vector"], [m for m in measured if m.kind == "vector"]
    best = sum(min(CODERS[:-1], key=lambda c: m.sizes.size[c]) == "LZMA" for m in maps)
    worst = max(m.sizes.size["bzip2"] / min(m.sizes.size[c] for c in CODERS[:-1]) for m in maps)
    sparse = [m for m in maps if m.nonzero < 90]
    ours = {
        "best_general": f"on {best} of {len(maps)} maps",
        "zlib": f"zlib {_speed(maps, 'zlib'):.1f}, gzip {_speed(maps, 'gzip'):.1f}, "
                f"bzip2 {_speed(maps, 'bzip2'):.1f}, LZMA {_speed(maps, 'LZMA'):.1f} MB/s; "
                f"zlib's maps take {_share(maps, 'zlib') / _share(maps, 'LZMA'):.3f} of LZMA's",
        "bzip2": f"up to {worst:.2f} of the best of the four",
        "rate": f"on {len(sparse)} maps with zeros LZMA needs {_mean_ratio(sparse, 'LZMA')} of it, "
        f"OMC {_mean_ratio(sparse, 'OMC')}",
        "vector": f"LZMA {_share(vectors, 'LZMA'):.1f} %, OMC {_share(vectors, 'OMC'):.1f} %"
        if vectors else "no vectors here",
    }
    return Table("The paper's findings on general-purpose coders", ["the paper", "here"],
                 [[text, ours[key]] for text, key in PAPER_FINDINGS])


def _mean_ratio(group: list[Measured], coder: str) -> str:
    return f"{statistics.fmean(m.percent(coder) / m.nonzero for m in group):.2f}" if group else "-"


def _against_nonzero(measured: list[Measured]) -> Figure:
    order = sorted((m for m in measured if m.kind != "vector"), key=lambda m: m.nonzero)
    x = [m.nonzero for m in order]
    return Figure("Size of lossless maps against their non-zero rate (figure 4 of the paper)", "non-zero elements, %",
                  "size, %", [Series(c, x, [m.percent(c) for m in order])
                              for c in ("LZMA", "OMC")] + [Series("the non-zero rate", x, x)])


# With loss

def _lossy(section: Section, split: Split, context: Context) -> None:
    """Size against agreement for one place in a network and one sequence of images."""
    rows, curves = [], {way: [] for way in WAYS}
    for snr in tqdm(SNRS[1::2] if context.quick else SNRS, split.title, unit="step", leave=False,
                    disable=not context.progress):
        step = step_for(split.frames, snr)
        coded = {way: lossy_stream(split.frames, step, way) for way in WAYS}
        for way, c in coded.items():
            curves[way].append((8 * c.size / split.frames.size, split.agreement(c.frames)))
        intra = coded["intra"]
        bits = [f"{8 * coded[w].size / split.frames.size:.3f}" for w in WAYS]
        rows.append([f"{snr:g}", *bits, f"{split.agreement(intra.frames):.1f}", f"{split.distance(intra.frames):.4f}"])
    section.tables.append(
        Table(
            f"Lossy: {split.title}", ["aim, dB", *[f"{w}, bit" for w in WAYS], "same answer %", "distance of answers"],
            rows,
            f"{split.note} Bits per element of the whole stream; the same step in each column. 'Same answer' and the "
            "mean total variation between the answers' probabilities are those of intra."))
    section.figures.append(Figure(f"Lossy: {split.title}", "bits per element", "same answer, %", [
        Series(WAYS[way], *map(list, zip(*sorted(found)))) for way, found in curves.items()], log_x=True))
    _count(section.facts, split, curves)


def _count(facts: dict, split: Split, curves: dict[str, list[tuple[float, float]]]) -> None:
    bits = {way: [b for b, _ in found] for way, found in curves.items()}
    facts[f"{split.key}_intra_over_direct"] = statistics.fmean(i / d for i, d in zip(bits["intra"], bits["direct"]))
    facts[f"{split.key}_inter_over_intra"] = statistics.fmean(n / i for n, i in zip(bits["inter"], bits["intra"]))
    facts[f"{split.key}_over_lzma"] = statistics.fmean(
        min(o) / z for *o, z in zip(bits["intra"], bits["inter"], bits["LZMA"]))
    whole = [b for way in ("intra", "inter") for b, a in curves[way] if a == 100]
    if whole:
        facts[f"{split.key}_ratio_of_same_answers"] = 32 / min(whole)


def _remarks(facts: dict, context: Context) -> list[str]:
    said = [
        "**Without loss** OMC is smaller than the best of the four general-purpose coders on every one of "
        f"{facts['maps']} maps, by {facts['mean_gain_over_general_percent']:.1f} % in the mean and "
        f"{facts['least_gain_over_general_percent']:.1f} % at least." if facts["least_gain_over_general_percent"] > 0
        else f"**Without loss** OMC is not smaller than the best general-purpose coder on every map: the worst is "
        f"{-facts['least_gain_over_general_percent']:.1f} % larger."
    ]
    for name in [k.removesuffix("_inter_over_intra") for k in facts if k.endswith("_inter_over_intra")]:
        inter, intra = facts[f"{name}_inter_over_intra"], facts[f"{name}_intra_over_direct"]
        reached = facts.get(f"{name}_ratio_of_same_answers")
        said.append(
            f"**{name}**: intra prediction takes {intra:.3f} of the size without prediction, inter {inter:.3f} of "
            f"intra, levels in LZMA {1 / facts[f'{name}_over_lzma']:.2f} times the better of the two; "
            + (f"all answers stay the same at a ratio of {reached:.1f}."
               if reached else "some answer changed at each step that was tried."))
    if any(facts[k] > 1 for k in facts if k.endswith("_over_lzma")):
        said.append(
            "Where LZMA is smaller than OMC, frames repeat each other exactly but for a shift by whole elements, "
            "which its matches find and our predictions, that look at the same place of the frame before, do not: "
            "the standard has no motion compensation.")
    said.append(
        "The paper measured VGG-16 and ResNet-50/101/152 on its own images; here are "
        + ("a small residual network on 8 x 8 digits" if context.
           quick else "EfficientNet-Lite0 and three text models of PaddleOCR on photographs that ship with a package")
        + ": the order of the coders and the part of the zeros can be compared, not the ratios. The paper leaves lossy "
        "coding to the future: it has no figures to set beside the curves.")
    return said
