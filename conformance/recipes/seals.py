"""Seals of models (SPEC 8.8): what describes a model, inherited or its own, and what happens where it is another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refcodec.bitstream.structures import (
    FileEntry,
    LayerDescriptor,
    LayerDescriptors,
    LayerTensor,
    SegmentEntry,
    Topology,
    UnitType,
)

from .builder import Builder
from .edits import Edit, EditedStream, all_of, change, drop, put, stream_field
from .faults import Fault, fault
from .parts import copy, direct, words
from .streams import Recipe

TOPOLOGY, LAYERS, METADATA, MODEL, END = (UnitType.TOPOLOGY, UnitType.LAYER_DESCRIPTORS, UnitType.METADATA,
                                          UnitType.MODEL_HEADER, UnitType.MODEL_END)
UNSEALED = stream_field("resealed", set())


def recipes() -> Iterator[Recipe]:
    yield Recipe("seals", "five models: one of its own description, one that inherits it, one that inherits and "
                 "replaces, one without any, one of layers alone", described)


def _topology(before: bytes) -> Topology:
    return Topology(1, 1, [FileEntry("m.onnx", 2, [SegmentEntry(literal_size=len(before), literal=before),
                                                   SegmentEntry(1, 0, 0, 0, 4)])])


def _layers(operator: str) -> LayerDescriptors:
    return LayerDescriptors(1, [LayerDescriptor("layer", "", operator, 1, [LayerTensor(0, 1)])])


def described(b: Builder) -> None:
    """Models of one tensor of four bytes each."""
    def tensor() -> None:
        b.tensors((0, direct(words("int8", np.array([[1, 2, 3, 4]], np.uint8)))))

    b.model("own", [("w", "int8", (1, 4))])
    b.topology(_topology(b"Relu of "))
    b.layers(_layers("Gemm"))
    tensor()
    b.metadata({"author": b"somebody"})
    b.end_model()
    b.model("heir", references=[1], inherit=True)
    b.tensors((0, copy(1, 0)))
    b.end_model()
    b.model("other", references=[2], inherit=True)
    b.topology(_topology(b"Tanh of "))
    b.layers(_layers("Conv"))
    b.tensors((0, copy(1, 0)))
    b.metadata({"author": b"someone."})
    b.end_model()
    b.model("", [("w", "int8", (1, 4))])
    tensor()
    b.end_model()
    b.model("layers alone", [("w", "int8", (1, 4))])
    b.layers(_layers("Gemm"))
    tensor()
    b.end_model()
    b.end()


def _exchange(kind: UnitType, a: int = 0, b: int = 1) -> Edit:
    """Two units of a type change places."""
    def edit(s: EditedStream) -> None:
        i, j = s.number(kind, a), s.number(kind, b)
        s.units[i], s.units[j] = s.units[j], s.units[i]
    return edit


def _resealed(*models: int) -> Edit:
    return stream_field("resealed", set(models))


def faults() -> Iterator[Fault]:
    """Each leaves checks, sizes and counts right, and the seals as they were, but for those of the models named."""
    def broken(name: str, edit: Edit, purpose: str, seals: Edit = UNSEALED) -> Fault:
        return fault("R8.8-5", name, "seals", all_of(edit, seals), "DIGEST_MISMATCH", purpose)

    yield broken("first", change(END, "model_seal", lambda v: v ^ 1 << 63), "the first bit of a seal")
    yield broken("last", change(END, "model_seal", lambda v: v ^ 1, unit=4), "the last bit of the last seal")
    yield broken("none", change(END, "model_seal", lambda v: v ^ 1, unit=3), "the seal of a model without any")
    yield broken("seals", _seals_exchanged, "two models have each other's seal")
    for kind, name, nth in ((TOPOLOGY, "topology", 1), (LAYERS, "layers", 1), (METADATA, "metadata", 1)):
        yield broken(f"{name}-exchanged", _exchange(kind), f"the {name} units of two models are exchanged")
        yield broken(f"{name}-dropped", drop(kind, nth), f"the {name} unit of the third model is missing")
    yield broken("topology-edited", put(TOPOLOGY, "literal", b"Tanh of "), "a literal of a source file is another")
    yield broken("slot-edited", put(TOPOLOGY, "slot_size", 5), "the size of a slot is another")
    yield broken("layers-edited", put(LAYERS, "operator_name", "Tanh"), "an operator is another")
    yield broken("metadata-edited", put(METADATA, "metadata_value", b"nobody.."), "a value of the metadata is another")
    yield broken("key-edited", put(METADATA, "metadata_key", "writer"), "a key of the metadata is another")
    yield broken("name-edited", put(MODEL, "model_name", "nwo"), "the name of the model is another")
    yield broken("name-added", put(MODEL, "model_name", "n", unit=3), "a model without a name has got one")
    yield broken("inherited-topology", put(TOPOLOGY, "literal", b"Tanh of "),
                 "a topology is edited and the model sealed again, but not the one that inherits it", _resealed(0))
    yield broken("inherited-layers", put(LAYERS, "operator_name", "Tanh"),
                 "layers are edited and the model sealed again, but not the one that inherits them", _resealed(0))
    yield broken("metadata-added", lambda s: s.units.insert(s.number(END, 3), s.of(METADATA)),
                 "metadata in a model that had none")
    yield broken("metadata-inherited", lambda s: s.units.insert(s.number(END, 1), s.of(METADATA)),
                 "a model that inherits has got the metadata of the other one")
    yield broken("topology-added", lambda s: s.units.insert(s.number(MODEL, 3) + 1, s.of(TOPOLOGY)),
                 "a topology in a model that had none")


def _seals_exchanged(s: EditedStream) -> None:
    a, b = s.of(END, 0).find("model_seal"), s.of(END, 4).find("model_seal")
    a.value, b.value = b.value, a.value
