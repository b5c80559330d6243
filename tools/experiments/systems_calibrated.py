"""S1, S2 and S5 beside calibrated quantisation: accuracy against bytes, on the same networks."""

from __future__ import annotations

import pathlib
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from coding import parameters_of
from networks import NORM_EPSILON, Layer, Network, Parameters, accuracy, parts
from onnx import TensorProto, helper, numpy_helper
from section import Context, Figure, Section, Series, Table, points, spread
from trained import Workload, sequence, workload

import refcodec
from refcodec import Config, Model, decode, encode
from refcodec.calibration import Target, calibrate
from refcodec.errors import ConfigError

CHOOSING, TESTING = slice(0, None, 2), slice(1, None, 2)      # of the held-out images, as S5 has them
LOSS_MAX = 1.0                                                # points of accuracy
CM = dict(states=32, coder="cm")
TARGETS = (0.99, 0.97, 0.95, 0.9)
QUICK_TARGETS = (0.97, 0.9)
EFFORT, QUICK_EFFORT = 16, 6
CALIBRATED = 400                                              # images of training
UPDATE = ", after epoch 15"


@dataclass(frozen=True)
class Subject:
    """One trained network. before: its version of epoch 15.  seed: of training, and of the search.  inputs, judging:
    images that are calibrated on, and that candidates are judged on."""

    w: Workload
    model: Model
    before: Model
    seed: int
    inputs: np.ndarray
    judging: np.ndarray

    def tested(self, stream: bytes, references: tuple[Model, ...] = ()) -> tuple[int, float]:
        """(bytes, accuracy in per cent on the images that nothing was chosen on)."""
        test = self.w.test
        received = parameters_of(decode(stream, list(references)))
        return len(stream), accuracy(self.w.network, received, test.images[TESTING], test.labels[TESTING])


Way = Callable[[Subject], tuple[int, float]]


def coded(update: bool = False, **settings: object) -> Way:
    def way(s: Subject) -> tuple[int, float]:
        references = (s.before,) if update else ()
        return s.tested(encode(s.model, Config(**settings), list(references)), references)
    return way


def by_answers(target: float, effort: int, update: bool = False) -> Way:
    """The search of `encode --calibration`; where nothing is sure to meet the target, what keeps every bit."""
    def way(s: Subject) -> tuple[int, float]:
        references = (s.before,) if update else ()
        try:
            stream = calibrate(s.model, [[{"x": s.inputs}]], Target("decisions", target), config=Config(step=1.0, **CM),
                               held_out=[[{"x": s.judging}]], effort=effort, seed=s.seed,
                               references=list(references)).stream
        except ConfigError as error:
            if error.code != "RATE":
                raise
            stream = encode(s.model, Config(), list(references))
        return s.tested(stream, references)
    return way


def ways(quick: bool) -> Iterator[tuple[str, list[tuple[str, Way]]]]:
    """(name, [(setting, way), ...] from fine to coarse)."""
    targets, effort = (QUICK_TARGETS, QUICK_EFFORT) if quick else (TARGETS, EFFORT)
    yield "S1: decimals, LZMA", [(f"{n} decimals", coded(preset="s1-rp", rp=n)) for n in (3, 2, 1)]
    yield "S1: difference of models" + UPDATE, [
        (f"{n} decimals", coded(True, preset="s1-rp", rp=n)) for n in (3, 2, 1)]
    yield "S2: q-bits, LZMA", [(f"{n} bits dropped", coded(preset="s2-qbits", q_bits=n)) for n in (8, 9, 10, 11)]
    yield "S5: hybrid, Huffman", [(f"{db:g} dB", coded(preset="s5-hybrid", snr=db)) for db in (13, 9, 6, 4, 2)]
    yield "one step, CM", [(f"{bits:g} bits", coded(bits_per_weight=bits, **CM)) for bits in (5.0, 4.0, 3.0, 2.5, 2.0)]
    yield "steps that protect, CM", [(f"{bits:g} bits", coded(bits_per_weight=bits, protect=True, **CM))
                                     for bits in (5.0, 4.0, 3.0, 2.5, 2.0)]
    yield "calibrated, CM", [(f"{100 * t:g} % of decisions", by_answers(t, effort)) for t in targets]
    yield "calibrated, CM" + UPDATE, [(f"{100 * t:g} % of decisions", by_answers(t, effort, True)) for t in targets]


def run(context: Context) -> Section:
    """The section. Quick: two small committed networks, fewer targets."""
    names = ("small-lenet", "small-resnet") if context.quick else ("lenet", "vgg", "resnet")
    section = Section(
        "S1, S2 and S5 beside calibrated quantisation", "none: the trade-offs of the three papers, on one table",
        "How many bytes do the papers' ways take for the accuracy that a stream keeps whose steps and levels were "
        "chosen by what the network answers?")
    for name in names:
        _network(section, name, context)
    if context.quick:
        section.remarks.append("These are the small networks of the quick mode, with one seed and 180 images to test "
                               "on (one is 0.56 points); the full mode takes those of S1, S2 and S5, and five seeds.")
    return section


def _network(section: Section, name: str, context: Context) -> None:
    w = workload(name)
    subjects = [_subject(w, context, name, seed) for seed in context.seeds]
    before = [accuracy(w.network, parameters_of(s.model), w.test.images[TESTING], w.test.labels[TESTING])
              for s in subjects]
    rows, curves, smallest = [], [], {}
    for label, settings in ways(context.quick):
        found = {setting: [way(s) for s in subjects] for setting, way in settings}
        for setting, results in found.items():
            rows.append([label, setting, f"{statistics.fmean(b for b, _ in results):,.0f}",
                         spread([a for _, a in results], ".2f")])
        sizes = {k: statistics.fmean(b for b, _ in r) for k, r in found.items()}
        kept = [k for k, r in found.items() if statistics.fmean(a for _, a in r) >= statistics.fmean(before) - LOSS_MAX]
        smallest[label] = min((sizes[k] for k in kept), default=None)
        curves.append(points(label, [sizes[k] for k in found], [[a for _, a in r] for r in found.values()]))
    raw = sum(t.nbytes for t in subjects[0].model.tensors)
    section.tables.append(Table(
        f"{w.network.name}: accuracy on images that nothing was chosen on", ["way", "setting", "bytes", "accuracy %"],
        [["float32", "", f"{raw:,}", spread(before, ".2f")], *rows],
        "Whole streams of the ONNX file, graph and names among them. Calibrated on "
        + ("a quarter of the held-out images, and judged on another" if context.quick else
           f"{CALIBRATED} images of training, and judged on one half of the held-out ones")
        + "; accuracy is that on the other half."))
    section.tables.append(Table(
        f"{w.network.name}: the smallest within {LOSS_MAX:g} point", ["way", "bytes", "ratio"],
        [[label, None if size is None else f"{size:,.0f}", None if size is None else f"{raw / size:.2f}"]
         for label, size in smallest.items()]))
    section.figures.append(Figure(f"{w.network.name}: accuracy against bytes", "bytes", "accuracy, %", [
        *curves, Series("float32", [min(min(c.x) for c in curves), float(raw)], [statistics.fmean(before)] * 2)],
        log_x=True))
    section.facts |= {f"{name} {label}": size for label, size in smallest.items() if size is not None}
    own, others = smallest["calibrated, CM"], [smallest[x] for x in list(smallest)[:4] if UPDATE not in x]
    if own is not None and (there := [size for size in others if size is not None]):
        section.remarks.append(
            f"**{w.network.name}**: within {LOSS_MAX:g} point the calibrated stream takes {own:,.0f} bytes, the "
            f"smallest of S1, S2 and S5 without an earlier version {min(there):,.0f}; the calibrated one is "
            f"{100 * (1 - own / min(there)):.0f} % smaller.")


def _subject(w: Workload, context: Context, name: str, seed: int) -> Subject:
    versions = sequence(context, name, seed)
    chosen = w.test.images[CHOOSING]
    inputs, judging = (chosen[::2], chosen[1::2]) if context.quick else (w.training.images[:CALIBRATED], chosen)
    return Subject(w, onnx_of(w.network, versions["epoch20"]), onnx_of(w.network, versions["epoch15"]), seed, inputs,
                   judging)


def onnx_of(network: Network, parameters: Parameters) -> Model:
    """The network as an ONNX file, loaded: images `x` to probabilities of `classes`; tensors keep their names."""
    nodes: list[onnx.NodeProto] = []

    def add(op: str, *inputs: str, out: str = "", **attributes: object) -> str:
        nodes.append(helper.make_node(op, list(inputs), [out or f"v{len(nodes)}"], **attributes))
        return nodes[-1].output[0]

    def walk(layers: tuple[Layer, ...], x: str) -> str:
        for layer in layers:
            own = [f"{layer.name}.{part}" for part in parts(layer)]
            match layer.kind:
                case "conv":
                    x = add("Conv", x, *own, pads=[layer.padding] * 4)
                case "norm":
                    x = add("BatchNormalization", x, *own, epsilon=NORM_EPSILON)
                case "dense":
                    x = add("Gemm", x, *own, transB=1)
                case "relu":
                    x = add("Relu", x)
                case "pool":
                    x = add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
                case "flatten":
                    x = add("Flatten", x)
                case "mean":
                    x = add("Flatten", add("GlobalAveragePool", x))
                case "residual":
                    x = add("Add", walk(layer.inner, x), walk(layer.shortcut, x))
        return x

    add("Softmax", walk(network.layers, "x"), out="classes", axis=1)
    images = ["n", 1, network.side, network.side]
    graph = helper.make_graph(
        nodes, network.name, [helper.make_tensor_value_info("x", TensorProto.FLOAT, images)],
        [helper.make_tensor_value_info("classes", TensorProto.FLOAT, ["n", None])],
        [numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in parameters.items()])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "network.onnx")
        onnx.save(proto, path)
        return decode(encode(refcodec.load(path)))           # all of it in memory, for the folder goes
