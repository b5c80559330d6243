"""What a stream exercises, from a trace of it: clauses, values of enumerations, choices that go together."""

from __future__ import annotations

from collections.abc import Sequence

from refcodec.bitstream.limits import Profile
from refcodec.bitstream.parser import Parser
from refcodec.bitstream.structures import (
    EntropyMode,
    PredictionMode,
    Quantiser,
    Representation,
    SourceFormat,
    SpatialPredictor,
    UnitCoding,
    UnitType,
)
from refcodec.bitstream.units import ByteSource
from refcodec.bitstream.visitor import Tracer
from refcodec.dtypes import BY_CODE
from refcodec.entropy.payload import PayloadReader
from refcodec.entropy.watch import Observer
from refcodec.errors import OmcError
from refcodec.model import Model

NAMED = {
    "profile": Profile, "prediction_mode": PredictionMode, "representation": Representation, "quantiser": Quantiser,
    "entropy_mode": EntropyMode, "spatial_predictor": SpatialPredictor, "source_format": SourceFormat
}
COUNTED = ("level", "slot_coding", "tensor_role", "trellis_size", "word_sign_mode", "word_scale_rule",
           "level_bytes_log2")
ELEMENT_TYPES = {d.code: d.name for d in BY_CODE.values()}


def trace(data: bytes, references: Sequence[Model] = ()) -> tuple[list[str], list[str]]:
    """(clauses, features) of a stream, as far as it can be parsed."""
    elements, digests = [], {m.digest(): m for m in references}
    parser = Parser(ByteSource(data), digests.get, make_reader=Tracer, on_reader=lambda r: elements.extend(r.elements))
    try:
        parser.parse()
    except OmcError:
        pass
    features = {
        f"unit {UnitType(u.type).name if u.type < 32 else 'extension'} {UnitCoding(u.coding).name}"
        for u in parser.stream.units
    }
    for e in elements:
        if e.descriptor == "u(1)":
            features.add(f"{e.name}={e.value}")
        elif e.name in NAMED and e.value in NAMED[e.name]._value2member_map_:
            features.add(f"{e.name}={NAMED[e.name](e.value).name}")
        elif e.name in COUNTED:
            features.add(f"{e.name}={e.value}")
        elif e.name == "element_type" and e.value in ELEMENT_TYPES:
            features.add(f"element_type={ELEMENT_TYPES[e.value]}")
    for model in parser.stream.models:
        for unit in model.tensor_units:
            features.add("joined" if len(unit.descriptors) > 1 else "single")
            for d in unit.descriptors:
                own = f"{PredictionMode(d.prediction_mode).name} {Representation(d.representation).name}"
                features.update(f"{own} {Quantiser(c.quantiser).name} {EntropyMode(c.entropy_mode).name}"
                                for c in d.component)
    return sorted({e.clause for e in elements}, key=lambda c: [int(n) for n in c.split(".")]), sorted(features)


class FinalStates(Observer):
    """of: (unit, bit of the payload's first byte in its body) to (range, code, position) of the decoder at its end."""

    def __init__(self):
        self.of: dict[tuple[int, int], tuple[int, int, int]] = {}

    def payload_ends(self, payload: PayloadReader) -> None:
        self.of[payload.unit, payload.first_bit] = (int(payload.r.range), int(payload.r.code), int(payload.r.pos))
