"""Between the model's source and layers, and their syntax structures (SPEC 7.5, 7.6, 8.9)."""

from __future__ import annotations

from .bitstream import structures
from .bitstream.structures import (
    FileEntry,
    FoldParameters,
    LayerDescriptor,
    LayerDescriptors,
    LayerTensor,
    SegmentEntry,
    SourceFormat,
    Topology,
)
from .errors import FormatError
from .fold import Fold
from .model import ActivationFormat, Layer, Literal, Model, Role, Slot, SlotCoding, Source, SourceFile


def topology_of(source: Source) -> Topology:
    """The topology() of a source. Raises FormatError UNSUPPORTED_TYPE where streams have no such source_format."""
    format_ = next((f for f in SourceFormat if name_of(f) == source.format), None)
    if format_ is None:
        raise FormatError("UNSUPPORTED_TYPE", f"streams have no sources of the format {source.format[:30]!r}")
    files, number = [], -1
    for f in source.files:
        segments = []
        for s in f.segments:
            if isinstance(s, Literal):
                segments.append(SegmentEntry(0, literal_size=len(s.data), literal=bytes(s.data)))
            else:
                segments.append(SegmentEntry(1, slot_tensor_delta=s.tensor - number - 1, slot_coding=int(s.coding),
                                             slot_size=s.size))
                number = s.tensor
        files.append(FileEntry(f.path, len(segments), segments))
    return Topology(format_, len(files), files)


def name_of(source_format: int) -> str:
    """Source.format of a source_format: its name in SPEC 7.5, in lower case."""
    return SourceFormat(source_format).name.lower()


def source_of(topology: Topology) -> Source:
    """The source that a topology() describes."""
    files, number = [], -1
    for f in topology.file:
        segments: list[Literal | Slot] = []
        for s in f.segment:
            if s.slot_flag:
                number += 1 + s.slot_tensor_delta
                segments.append(Slot(number, SlotCoding(s.slot_coding), s.slot_size))
            else:
                segments.append(Literal(bytes(s.literal)))
        files.append(SourceFile(f.file_path, segments))
    return Source(name_of(topology.source_format), files)


def layer_structure(model: Model) -> LayerDescriptors | None:
    """The layer_descriptors() of a model; a tensor's fold is sent once, and only where it is not the default."""
    sent: set[int] = set()
    layers = []
    for layer in model.layers:
        tensors = []
        for index, role, fold in layer.tensors:
            entry = LayerTensor(index, int(role))
            if fold is not None and index not in sent and fold != Fold.default(model.tensors[index].shape):
                sent.add(index)
                entry.fold_flag = 1
                entry.fold = FoldParameters(fold.row_axis_count, list(fold.axis_order), fold.kernel_size)
            tensors.append(entry)
        descriptor = LayerDescriptor(layer.name, layer.operator_domain, layer.operator_name, len(tensors), tensors)
        if layer.activation:
            a = layer.activation
            descriptor.activation_flag = 1
            descriptor.activation = structures.ActivationFormat(int(a.signed), a.width, a.fraction_bits,
                                                                a.accumulator_width)
        layers.append(descriptor)
    return LayerDescriptors(len(layers), layers) if layers else None


def layers_of(layers: LayerDescriptors | None) -> list[Layer]:
    """The layers that layer_descriptors() describes; none where there is no such unit."""
    roles = Role._value2member_map_
    return [Layer(x.layer_name, x.operator_domain, x.operator_name,
                  [(t.tensor_index, Role(t.tensor_role) if t.tensor_role in roles else Role.OTHER,
                    Fold(tuple(t.fold.axis), t.fold.row_axis_count, t.fold.kernel_size) if t.fold_flag else None)
                   for t in x.layer_tensor], _activation_of(x))
            for x in (layers.layer if layers else [])]


def _activation_of(x: LayerDescriptor) -> ActivationFormat | None:
    a = x.activation
    if not x.activation_flag:
        return None
    return ActivationFormat(bool(a.activation_signed_flag), a.activation_width, a.activation_fraction_bits,
                            a.accumulator_width)
