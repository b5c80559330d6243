"""An ONNX network as one list of nodes: weights are inputs, and branches and loops with layers are written out.

What an `If` decides and how often a `Loop` turns is found by running the network up to it. Inputs that decide
otherwise take another *course*, which has a list of nodes of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper, numpy_helper

from ..budget import Budget
from ..errors import ConfigError
from ..formats.onnx_file import unique_names
from ..formats.onnx_records import GraphRecord, read_model
from .runtime import Arrays, Session

LAYERS = ("Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "Attention", "LSTM",
          "GRU", "RNN", "Gather")
NODES_MAX = 1 << 14             # of a loop that is written out; a longer one stays, and its layers are not captured
WEIGHT = "omc.weight/"          # begins the names of values that are tensors of the model


@dataclass
class Flat:
    """A network as a list of nodes in the order of their work.

    constants: values that never change.  inputs: of the network, name to ONNX element type.  weights: value name to
    tensor name of the model; they are inputs, too.  outputs: of the network.  proto: whence opsets and functions are.
    """

    nodes: list[NodeProto]
    constants: dict[str, TensorProto]
    inputs: dict[str, int]
    weights: dict[str, str]
    outputs: list[str]
    proto: onnx.ModelProto
    kept: set[int] = field(default_factory=set)        # ids of nodes with subgraphs that are not written out

    def session(self, outputs: Sequence[str], threads: int, given: Mapping[str, int] | None = None,
                nodes: Sequence[NodeProto] | None = None) -> Session:
        """What computes the values `outputs`, from the inputs of the network or from the values `given` (of types)."""
        types = self.inputs if given is None else given
        chosen = ancestors(self.nodes if nodes is None else nodes, outputs, types)
        read = set(outputs).union(*(reads(n) for n in chosen))
        graph = helper.make_graph(
            chosen, "part", [helper.make_tensor_value_info(name, types[name], None) for name in types if name in read],
            [onnx.ValueInfoProto(name=name) for name in outputs], [t for n, t in self.constants.items() if n in read])
        made = onnx.ModelProto()
        made.CopyFrom(self.proto)
        made.graph.CopyFrom(graph)
        return Session(made, threads)


# Names in graphs

def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    for a in node.attribute:
        if a.type == AttributeProto.GRAPH:
            yield a.g
        yield from a.graphs


def reads(node: NodeProto) -> set[str]:
    """The values that a node takes, those of its subgraphs that come from outside among them."""
    found = {name for name in node.input if name}
    for graph in subgraphs(node):
        inside = {name for n in graph.node for name in reads(n)} | {o.name for o in graph.output}
        found |= inside - defined(graph)
    return found


def defined(graph: GraphProto) -> set[str]:
    """The values that a subgraph makes, its inputs among them."""
    return ({name for n in graph.node for name in n.output if name} | {t.name for t in graph.initializer}
            | {x.name for x in graph.input})


def ancestors(nodes: Sequence[NodeProto], wanted: Iterable[str], given: Iterable[str] = ()) -> list[NodeProto]:
    """Those of the nodes that the values `wanted` need, in order; what is given needs none."""
    have, need, chosen = set(given), set(wanted), []
    for node in reversed(nodes):
        if need & set(node.output) - have:
            need |= reads(node)
            chosen.append(node)
    return chosen[::-1]


def renamed(node: NodeProto, names: Mapping[str, str]) -> NodeProto:
    """A copy of a node with other names of values, in its subgraphs, too."""
    made = NodeProto()
    made.CopyFrom(node)
    made.input[:] = [names.get(name, name) for name in node.input]
    made.output[:] = [names.get(name, name) for name in node.output]
    for graph in subgraphs(made):
        own = defined(graph)
        outer = {old: new for old, new in names.items() if old not in own}
        inner = [renamed(n, outer) for n in graph.node]
        del graph.node[:]
        graph.node.extend(inner)
        for o in graph.output:
            o.name = outer.get(o.name, o.name)
    return made


# Weights as inputs

def exposed(proto: onnx.ModelProto, names: Mapping[str, int]) -> Flat:
    """The network with the tensors of the model that are named as inputs, wherever in its graphs they stand.

    names: of tensors of the model (formats.onnx_file) to their ONNX element types.  proto is changed.
    Raises ConfigError UNSUPPORTED_LAYER for a network of more than 2 GB or with sparse constants.
    """
    try:
        record = read_model(proto.SerializeToString(), Budget.of_level())
    except ValueError:
        raise ConfigError("UNSUPPORTED_LAYER", "a network of more than 2 GB cannot be run here") from None
    called = {id(t): name for t, name in unique_names(record)}
    weights: dict[str, str] = {}

    def identity(tensor: str, value: str) -> NodeProto:
        weights[WEIGHT + tensor] = tensor
        return helper.make_node("Identity", [WEIGHT + tensor], [value])

    def walk(graph: GraphProto, found: GraphRecord) -> None:
        if graph.sparse_initializer:
            raise ConfigError("UNSUPPORTED_LAYER", f"graph {graph.name[:100]!r} has sparse constants, which cannot be "
                              "told from its weights")
        heads = []
        initializers = list(graph.initializer)
        del graph.initializer[:]
        for tensor, t in zip(initializers, found.initializers):
            if called[id(t)] in names:
                heads.append(identity(called[id(t)], tensor.name))
            else:
                graph.initializer.append(tensor)
        for node, n in zip(graph.node, found.nodes):
            tensors = [called[id(t)] for a in n.attributes for t in a.tensors]
            if node.op_type == "Constant" and tensors and tensors[0] in names:
                node.CopyFrom(identity(tensors[0], node.output[0]))
            for attribute, a in zip(node.attribute, n.attributes):
                own = [attribute.g] if attribute.type == AttributeProto.GRAPH else []
                for inner, g in zip([*own, *attribute.graphs], a.graphs):
                    walk(inner, g)
        nodes = [*heads, *graph.node]
        del graph.node[:]
        graph.node.extend(nodes)

    graph, constant = proto.graph, {t.name for t in proto.graph.initializer}
    walk(graph, record.graphs[0])
    inputs = {x.name: x.type.tensor_type.elem_type for x in graph.input if x.name not in constant}
    inputs |= {value: names[tensor] for value, tensor in weights.items()}
    flat = Flat(list(graph.node), {t.name: t for t in graph.initializer}, inputs, weights,
                [o.name for o in graph.output], proto)
    proto.ClearField("graph")
    return flat


# Branches and loops

def has_layers(node: NodeProto) -> bool:
    """True if a subgraph has an operator whose weights can be captured."""
    return any(n.op_type in LAYERS or has_layers(n) for graph in subgraphs(node) for n in graph.node)


def courses(flat: Flat, runs: Mapping[int, Arrays], weights: Arrays, threads: int) -> Iterator[tuple[Flat, list[int]]]:
    """The network without branches and loops that have layers, and the numbers of the runs that go this way.

    runs: arrays for the inputs, by number.  weights: arrays of the tensors, by value name.
    """
    flat = replace(flat, nodes=ancestors(flat.nodes, flat.outputs))
    control = [n for n in flat.nodes if n.op_type in ("If", "Loop") and id(n) not in flat.kept and has_layers(n)]
    if not control:
        yield flat, list(runs)
        return
    decided: dict[tuple[int, ...], list[int]] = {}
    asked, probes = _probes(flat, control)
    session = replace(flat, nodes=probes).session(asked, threads)
    for number, arrays in runs.items():
        found = session.run(asked, {**arrays, **weights})
        key = tuple(int(found[name].reshape(-1)[0]) if node.op_type == "If" else len(found[name])
                    for name, node in zip(asked, control))
        decided.setdefault(key, []).append(number)
    for key, numbers in decided.items():
        yield from courses(_written_out(flat, control, key), {n: runs[n] for n in numbers}, weights, threads)


def _probes(flat: Flat, control: Sequence[NodeProto]) -> tuple[list[str], list[NodeProto]]:
    """Values that tell what is decided at each of the nodes, and the nodes that make them, beside all others."""
    asked, nodes = [], []
    for node in flat.nodes:
        at = next((i for i, c in enumerate(control) if c is node), None)
        if at is None:
            nodes.append(node)
            continue
        name = f"omc.decided/{at}"
        asked.append(name)
        if node.op_type == "If":
            nodes += [helper.make_node("Identity", [node.input[0]], [name]), node]
        else:                                       # one more output, of as many elements as there are turns
            counted = NodeProto()
            counted.CopyFrom(node)
            body = next(subgraphs(counted))
            body.node.append(helper.make_node("Identity", [body.input[0].name], [name + "/turn"]))
            body.output.append(helper.make_tensor_value_info(name + "/turn", TensorProto.INT64, []))
            unused = range(len(body.output) - 2 - len(counted.output))      # outputs go by their places
            counted.output.extend([*(f"{name}/unused/{i}" for i in unused), name])
            nodes.append(counted)
    return asked, nodes


def _written_out(flat: Flat, control: Sequence[NodeProto], decided: Sequence[int]) -> Flat:
    """The network with the branches that are taken and the turns of loops in place of the nodes `control`."""
    made = replace(flat, nodes=[], constants=dict(flat.constants), kept=set(flat.kept))
    choice = {id(node): value for node, value in zip(control, decided)}
    for node in flat.nodes:
        if id(node) not in choice:
            made.nodes.append(node)
        elif node.op_type == "If":
            name = "then_branch" if choice[id(node)] else "else_branch"
            graph = next(a.g for a in node.attribute if a.name == name)
            _write(made, graph, {}, f"{node.output[0]}/", node.output)
        elif 0 < choice[id(node)] * len(next(subgraphs(node)).node) <= NODES_MAX:
            _write_turns(made, node, choice[id(node)])
        else:
            made.nodes.append(node)
            made.kept.add(id(node))
    return made


def _write(made: Flat, graph: GraphProto, given: Mapping[str, str], prefix: str, outputs: Sequence[str]) -> None:
    """Appends the nodes of a subgraph. given: values for its inputs.  outputs: what its outputs are called outside."""
    names = {name: prefix + name for name in defined(graph)} | dict(given)
    for t in graph.initializer:
        copy = TensorProto()
        copy.CopyFrom(t)
        copy.name = names[t.name]
        made.constants[copy.name] = copy
    made.nodes += [renamed(n, names) for n in graph.node]
    made.nodes += [helper.make_node("Identity", [names.get(o.name, o.name)], [name])
                   for o, name in zip(graph.output, outputs) if name]


def _write_turns(made: Flat, node: NodeProto, turns: int) -> None:
    """Appends a loop, turn by turn; its outputs by turns are stacked at the end."""
    body = next(subgraphs(node))
    carried = len(body.input) - 2
    stacked = len(body.output) - 1 - carried
    first = next(filter(None, node.output))
    values = list(node.input[2:])
    parts: list[list[str]] = [[] for _ in range(stacked)]
    for turn in range(turns):
        prefix = f"{first}/{turn}/"
        number, goes_on = prefix + "omc.turn", prefix + "omc.condition"
        made.constants[number] = numpy_helper.from_array(np.array(turn, np.int64), number)
        made.constants[goes_on] = numpy_helper.from_array(np.array(True), goes_on)
        given = dict(zip([x.name for x in body.input], [number, goes_on, *values]))
        after = [f"{prefix}omc.after/{i}" for i in range(carried + stacked)]
        _write(made, body, given, prefix, ["", *after])
        values = after[:carried]
        for part, name in zip(parts, after[carried:]):
            made.nodes.append(_new_axis(made, name, name + "/row"))
            part.append(name + "/row")
    for name, value in zip(node.output, values):
        if name:
            made.nodes.append(helper.make_node("Identity", [value], [name]))
    for name, part in zip(node.output[carried:], parts):
        if name:
            made.nodes.append(helper.make_node("Concat", part, [name], axis=0))


def _new_axis(made: Flat, value: str, output: str) -> NodeProto:
    """The node that makes an axis 0 of one element, in the form of the network's version of the operators."""
    if next((o.version for o in made.proto.opset_import if o.domain in ("", "ai.onnx")), 1) < 13:
        return helper.make_node("Unsqueeze", [value], [output], axes=[0])
    made.constants["omc.axis"] = numpy_helper.from_array(np.zeros(1, np.int64), "omc.axis")
    return helper.make_node("Unsqueeze", [value, "omc.axis"], [output])
