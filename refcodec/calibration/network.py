"""A network that is run piece by piece: every activation is computed once, whatever weights change behind it.

    network = Network(refcodec.load("model.onnx"), read_runs(["x.npz"], network_of(model)))
    network.answers({"fc2.weight": other})              # outputs of all runs with another weight
    for layer in network.layers: ...                    # what is multiplied with its weights: network.data(layer)

The network is cut before each node that takes in weights. Between cuts the *live* values are kept for all runs; a
weight is changed by going on from the cut before its first use.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from ..encoder.config import Config
from ..encoder.model_encoder import quantised_tensors
from ..encoder.treatment import Treatment, folds_of, roles_of, treatment
from ..errors import ConfigError
from ..integers.evaluate import network_of
from ..model import Model
from .flatten import WEIGHT, Flat, courses, exposed, reads, subgraphs
from .layers import GATES, Layer, Place, Wiring, numbers, place_of, wired
from .runtime import Arrays, Session

LIVE_BYTES_MAX = 1 << 30        # of the values that are kept between two layers, over all runs

Changes = Mapping[str, np.ndarray]


class Network:
    """The network of an ONNX model, on some runs.

    model: loaded from an ONNX file, or decoded from a stream of one.  runs: arrays by input name each (inputs.py).
    threads: of each run.  cut: False: it is run as a whole, as is quicker where all weights change.
    run_numbers: the runs in the order of the answers.
    tensors: the weights that can be changed: those that lossy coding quantises.
    never_run: those among them that no run takes in: of branches not taken, or that nothing depends on.
    fine: biases and the like, which can be changed, too.

    Raises ConfigError: BAD_CONFIG without ONNX Runtime or runs; UNSUPPORTED_LAYER where the network cannot be run or no
    output depends on its weights; NOTHING_TO_QUANTISE for a model without weights.
    """

    def __init__(self, model: Model, runs: Sequence[Arrays], threads: int = 1, *, cut: bool = True):
        if not runs:
            raise ConfigError("BAD_CONFIG", "a network is evaluated on inputs: give some")
        proto = network_of(model)
        chosen = [model.tensors[i] for i in quantised_tensors(model, Config(step=1.0))]
        if not chosen:
            raise ConfigError("NOTHING_TO_QUANTISE", "no tensor of this model is a weight of a floating-point type")
        fine = [t for t, role in zip(model.tensors, roles_of(model))
                if treatment(t, role, Config(step=1.0)) == Treatment.FINE]
        types = {t.name: onnx.helper.np_dtype_to_tensor_dtype(t.dtype.numpy) for t in [*chosen, *fine]}
        flat = exposed(proto, types)
        present = set(flat.weights.values())
        self.model, self.threads = model, threads
        self.folds = {t.name: fold for t, fold in zip(model.tensors, folds_of(model))}
        self.weights: Arrays = {t.name: t.array for t in chosen if t.name in present}
        self.fine: Arrays = {t.name: t.array for t in fine if t.name in present}
        arrays = {**self.weights, **self.fine}
        by_value = {WEIGHT + name: array for name, array in arrays.items()}
        ways = list(courses(flat, dict(enumerate(runs)), by_value, threads))
        pieces = set(self.weights) if cut else set()
        self.run_numbers = [n for _, numbers in ways for n in numbers]
        self.courses = [Course(way, [runs[n] for n in numbers], pieces, threads) for way, numbers in ways]
        self._place_of_run = {n: (course, at) for (_, numbers), course in zip(ways, self.courses)
                              for at, n in enumerate(numbers)}
        used = set().union(*(course.wiring.users for course in self.courses)) & set(self.weights)
        if not used:
            raise ConfigError("UNSUPPORTED_LAYER", "no output of the network depends on its weights on these inputs")
        self.tensors = [t.name for t in chosen if t.name in used]
        self.never_run = [t.name for t in chosen if t.name not in used]
        self._arrays = arrays
        self._walks = self.walk()

    def answers(self, changes: Changes | None = None) -> list[Arrays]:
        """The outputs of all runs, with other arrays for some tensors. Quickest for tensors in the order of use."""
        return [found for walk in self._walks for found in walk.answers(changes or {})]

    def run_of(self, number: int) -> Arrays:
        """A run, by its number among those that were given."""
        course, at = self._place_of_run[number]
        return course.runs[at]

    def answer(self, number: int, run: Arrays, changes: Changes) -> Arrays:
        """The outputs of a run with other inputs, which go the same way, and other arrays for some tensors: of a
        network that is not cut."""
        course, _ = self._place_of_run[number]
        weights = {value: np.asarray(changes.get(t, self._arrays[t])) for value, t in course.flat.weights.items()}
        return course.piece(0, run, weights)

    def outputs(self) -> dict[str, str]:
        """The outputs, each with the operator that makes its values: what only moves them about is passed over."""
        flat = self.courses[0].flat
        return {name: _origin(flat, name) for name in flat.outputs}

    def order(self) -> list[str]:
        """The tensors that are run, in the order of their first use."""
        firsts: dict[str, tuple[int, int]] = {}
        for number, course in enumerate(self.courses):
            for tensor, users in course.wiring.users.items():
                firsts.setdefault(tensor, (number, users[0]))
        return sorted(self.tensors, key=lambda t: firsts[t])

    def uses(self, tensor: str) -> list[Use]:
        """The layers whose weight a tensor is, as far as they can be captured."""
        found = []
        for course in self.courses:
            for layer in course.wiring.layers:
                if tensor in layer.tensors:
                    numbered = self.numbers(course, layer, tensor)
                    place = place_of(layer, numbered, self._arrays[tensor].shape, self.folds[tensor])
                    if place is not None:
                        found.append(Use(course, layer, place))
        return found

    def numbers(self, course: Course, layer: Layer, tensor: str) -> np.ndarray:
        """The layer's weight with the numbers of a tensor's elements, from 0; -1 elsewhere."""
        shapes = {name: array.shape for name, array in self._arrays.items()}
        return numbers(course.flat, layer, tensor, shapes, self.threads)

    def static(self, course: Course, value: str) -> np.ndarray | None:
        """A value that follows from weights and constants alone; None for another."""
        if value not in course.wiring.sources:
            return None
        return course.static_value(value, {v: self._arrays[t] for v, t in course.flat.weights.items()})

    def walk(self) -> list[Walk]:
        """Walks of their own through all courses, from the inputs on."""
        return [Walk(course, self._arrays) for course in self.courses]


@dataclass
class Use:
    """A tensor in a layer."""

    course: Course
    layer: Layer
    place: Place


class Course:
    """One way through the network, and the runs that go it.

    weights: names of the tensors before whose use the network is cut.  cuts: numbers of the nodes before which it is;
    the first is 0.
    """

    def __init__(self, flat: Flat, runs: Sequence[Arrays], weights: set[str], threads: int):
        self.flat, self.runs, self.threads = flat, list(runs), threads
        self.wiring: Wiring = wired(flat)
        users = {at for tensor, found in self.wiring.users.items() if tensor in weights for at in found}
        self.cuts = sorted({0, *users})
        self._live = [self._values_at(cut) for cut in self.cuts] + [list(flat.outputs)]
        self._sessions: dict[int | str, Session] = {}            # of pieces, of static values, of recurrent layers

    def _values_at(self, cut: int) -> list[str]:
        """The values that what comes from `cut` on takes from what is before, weights and constants apart."""
        flat, wiring = self.flat, self.wiring
        before = {name for at, n in enumerate(flat.nodes[:cut]) if at not in wiring.static for name in n.output}
        before |= set(flat.inputs) - set(flat.weights)
        read = set(flat.outputs).union(*(reads(n) for n in flat.nodes[cut:]))
        return sorted(name for name in before & read if name)

    def piece_of(self, tensor: str) -> int:
        """The number of the piece in which a tensor is first used; that of the end for one that is not."""
        users = self.wiring.users.get(tensor)
        return bisect_right(self.cuts, users[0]) - 1 if users else len(self.cuts)

    def piece(self, number: int, live: Arrays, weights: Arrays) -> Arrays:
        """The values live after a piece, from those before it."""
        wanted = self._live[number + 1]
        computed = [name for name in wanted if name not in live]
        if not computed:
            return {name: live[name] for name in wanted}
        if number not in self._sessions:
            ends = [*self.cuts, len(self.flat.nodes)]
            inside = [n for at, n in enumerate(self.flat.nodes)
                      if at in self.wiring.static or ends[number] <= at < ends[number + 1]]
            self._sessions[number] = self._session(inside, computed, live)
        found = self._sessions[number].run(computed, {**live, **weights})
        return {name: found[name] if name in found else live[name] for name in wanted}

    def _session(self, nodes: Sequence[onnx.NodeProto], outputs: Sequence[str], live: Arrays) -> Session:
        given: dict[str, int] = {name: onnx.helper.np_dtype_to_tensor_dtype(a.dtype) for name, a in live.items()}
        given |= {name: self.flat.inputs[name] for name in self.flat.weights}
        return self.flat.session(outputs, self.threads, given, nodes)

    def hidden(self, layer: Layer, live: Arrays, weights: Arrays) -> np.ndarray:
        """The outputs of a recurrent layer in all steps: [steps, directions, batch, hidden]."""
        name = f"omc.hidden/{layer.at}"
        if name not in self._sessions:
            node = onnx.NodeProto()
            node.CopyFrom(layer.node)
            node.output[:] = [name]
            static = [n for at, n in enumerate(self.flat.nodes) if at in self.wiring.static]
            self._sessions[name] = self._session([*static, node], [name], live)
        return self._sessions[name].run([name], {**live, **weights})[name]

    def static_value(self, name: str, weights: Arrays) -> np.ndarray:
        """A value that follows from weights and constants alone."""
        if name not in self._sessions:
            static = [n for at, n in enumerate(self.flat.nodes) if at in self.wiring.static]
            self._sessions[name] = self.flat.session([name], self.threads, None, static)
        return self._sessions[name].run([name], weights)[name]


class Walk:
    """Goes through a course, with the live values of all its runs."""

    def __init__(self, course: Course, weights: Changes):
        self.course = course
        self.weights: Arrays = {value: weights[tensor] for value, tensor in course.flat.weights.items()}
        self._unchanged: list[Arrays] | None = None              # the outputs with these weights
        self._begin()

    def _begin(self) -> None:
        self.at, self.live = 0, [dict(run) for run in self.course.runs]

    def go_to(self, piece: int) -> None:
        """Goes on to the beginning of a piece; from the inputs on if that lies behind.

        Raises ConfigError BAD_CONFIG where the live values of all runs take more than LIVE_BYTES_MAX.
        """
        if piece < self.at:
            self._begin()
        while self.at < piece:
            self.live = [self.course.piece(self.at, live, self.weights) for live in self.live]
            self.at += 1
            held = sum(a.nbytes for live in self.live for a in live.values())
            if held > LIVE_BYTES_MAX:
                raise ConfigError("BAD_CONFIG", f"the values between two layers take {held:,} bytes over all inputs; "
                                  f"more than {LIVE_BYTES_MAX:,} are not held: give fewer inputs")

    def replace(self, changes: Changes) -> None:
        """Gives tensors other arrays for good; the walk begins anew if it is beyond their first use."""
        for tensor, array in changes.items():
            if WEIGHT + tensor in self.weights:
                self.weights[WEIGHT + tensor], self._unchanged = array, None
                if self.course.piece_of(tensor) < self.at:
                    self._begin()

    def answers(self, changes: Changes) -> list[Arrays]:
        """The outputs of all runs of the course with other arrays for some tensors, this once."""
        changed = {WEIGHT + t: a for t, a in changes.items() if t in self.course.wiring.users}
        if not changed and self._unchanged is not None:
            return self._unchanged
        if changed:
            self.go_to(min(self.course.piece_of(t) for t in changes if t in self.course.wiring.users))
        weights, found = {**self.weights, **changed}, []
        for live in self.live:
            for number in range(self.at, len(self.course.cuts)):
                live = self.course.piece(number, live, weights)
            found.append(live)
        if not changed:
            self._unchanged = found
        return found

    def data(self, layer: Layer) -> Iterator[list[np.ndarray]]:
        """What a layer takes in, for each run: its data; of a recurrent layer also the hidden states before each step.

        The walk goes to the layer. Hidden states: [steps, directions, batch, hidden], in the order of the data's steps.
        """
        self.go_to(bisect_right(self.course.cuts, layer.at) - 1)
        for live in self.live:
            found = [self._value(layer.data, live)]
            if layer.op in GATES:
                found.append(self._hidden_before(layer, live, len(found[0])))
            yield found

    def shape_of(self, value: str) -> tuple[int, ...]:
        """The shape of a value that follows from weights and constants alone."""
        return self.course.static_value(value, self.weights).shape

    def _value(self, name: str, live: Arrays) -> np.ndarray:
        return live[name] if name in live else self.course.static_value(name, self.weights)

    def _hidden_before(self, layer: Layer, live: Arrays, steps: int) -> np.ndarray:
        states = self.course.hidden(layer, live, self.weights)          # steps, directions, batch, hidden
        start = np.zeros_like(states[:1])
        if len(layer.node.input) > 5 and layer.node.input[5]:
            start = self._value(layer.node.input[5], live)[None]
        forward = np.concatenate([start, states[:-1]])
        backward = np.concatenate([states[1:], start])
        kind = layer.attributes.get("direction", b"forward")
        if kind == b"reverse":
            return backward
        if kind == b"bidirectional":
            return np.concatenate([forward[:, :1], backward[:, 1:]], axis=1)
        return forward


_DRESS = {"Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Cast", "Flatten", "ReduceMean",
          "Concat", "Split", "Gather"}


def _origin(flat: Flat, value: str) -> str:
    """The operator that makes the elements of a value; through branches by the first."""
    makers = {name: (node, i) for node in flat.nodes for i, name in enumerate(node.output)}
    while value in makers:
        node, i = makers[value]
        if node.op_type == "If":
            branch = next(subgraphs(node))
            makers.update({name: (n, j) for n in branch.node for j, name in enumerate(n.output)})
            value = branch.output[i].name
        elif node.op_type in _DRESS and node.input:
            value = node.input[0]
        else:
            return node.op_type
    return ""
