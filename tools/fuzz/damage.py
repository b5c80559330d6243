"""Damage: to bytes, to units whose checks are made anew, to syntax elements; and digests made anew for payloads."""

from __future__ import annotations

import random
from collections.abc import Sequence

from conformance.recipes.builder import Values
from conformance.recipes.edits import EditedStream, EditedUnit
from refcodec.bitstream.structures import TensorData, TensorDescriptor, UnitType
from refcodec.bitstream.units import leb, seal
from refcodec.digests import TensorDigest, joint_digest
from refcodec.encoder.stream_writer import state_digests
from refcodec.errors import OmcError
from refcodec.model import Model

EXTREMES = (0, 1, 127, 128, 254, 255)
NUMBERS = (0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 63, 64, 255, 256, 65535, 65536, 2**31 - 1, 2**31,
           2**32 - 1, 2**32, 2**62, 2**63 - 1)
UE_MAX, SE_MAX = 2**63, 2**62


def of_bytes(data: bytes, rng: random.Random) -> bytes:
    """A few bytes changed, removed, repeated or cut off; no check is made anew."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not out:
            break
        at = rng.randrange(len(out))
        n = min(len(out) - at, rng.randrange(1, 9) if rng.randrange(8) else rng.randrange(1, 65))
        kind = rng.randrange(8)
        if kind < 2:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            out[at] = rng.choice(EXTREMES)
        elif kind == 3:
            out[at] = (out[at] + rng.randrange(-16, 17)) & 255
        elif kind == 4:
            out[at : at + n] = rng.randbytes(n)
        elif kind == 5:
            del out[at : at + n]
        elif kind == 6:
            out[at:at] = out[at : at + n]
        else:
            to = rng.randrange(len(out))
            out[to : to + n] = out[at : at + n]
    return bytes(out[: rng.randrange(len(out) + 1)] if not rng.randrange(16) else out)


def cut(stream: bytes) -> list[tuple[int, bytes, bytes]]:
    """The units of a valid stream: first byte of the head, the size before expansion or nothing, coded body."""
    pieces, at = [], 4
    while at < len(stream):
        kind, at = stream[at], at + 1
        size, at = _leb(stream, at)
        first = at
        if kind & 3:
            _, at = _leb(stream, at)
        pieces.append((kind, stream[first:at], stream[at : at + size]))
        at += size + 4
    return pieces


def _leb(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def glue(pieces: Sequence[tuple[int, bytes, bytes]], ends: bool = True) -> bytes:
    """A stream of units; every size and check is made anew, and with `ends` what the stream end unit says."""
    out, index_offset = bytearray(b"\x8fOMC"), 0
    models = sum(kind >> 2 == UnitType.MODEL_HEADER for kind, _, _ in pieces)
    for kind, expanded, body in pieces:
        if kind >> 2 == UnitType.INDEX:
            index_offset = len(out)
        if kind >> 2 == UnitType.STREAM_END and len(body) == 16 and ends:
            body = models.to_bytes(4, "big") + len(pieces).to_bytes(4, "big") + index_offset.to_bytes(8, "big")
        out += seal(bytes([kind]) + leb(len(body)) + expanded, body)
    return bytes(out)


def of_units(stream: bytes, other: bytes, rng: random.Random) -> bytes:
    """One unit of a valid stream changed, dropped, repeated, moved, or one of another stream in its place."""
    pieces = cut(stream)
    i, kind = rng.randrange(len(pieces)), rng.randrange(16)
    if kind == 0:
        del pieces[i]
    elif kind == 1:
        pieces.insert(rng.randrange(len(pieces)), pieces[i])
    elif kind == 2:
        pieces.insert(rng.randrange(len(pieces)), pieces.pop(i))
    elif kind == 3:
        pieces[i] = rng.choice(cut(other))
    elif kind == 4:
        pieces[i] = (rng.randrange(256), pieces[i][1], pieces[i][2])
    else:
        # Where most happens: descriptors and payloads
        data = [k for k, piece in enumerate(pieces) if piece[0] >> 2 == UnitType.TENSOR_DATA]
        i = rng.choice(data) if data and rng.randrange(3) else i
        pieces[i] = (*pieces[i][:2], of_bytes(pieces[i][2], rng))
    return glue(pieces, ends=rng.randrange(8) > 0)


def of_elements(stream: EditedStream, rng: random.Random) -> bytes:
    """One or two syntax elements of a valid stream with other values, all sizes and checks made anew."""
    kept = []
    for _ in range(rng.choice((1, 1, 2))):
        unit = rng.choice([u for u in stream.units if u.elements])
        e = rng.choice(unit.elements)
        kept.append((e, e.value))
        e.value = _other(e, rng)
    try:
        return stream.bytes()
    finally:
        for e, value in reversed(kept):
            e.value = value


def _other(e, rng: random.Random):
    kind = e.descriptor
    if kind == "str(v)":
        text = e.value.encode() if isinstance(e.value, str) else bytes(e.value)
        return of_bytes(text or b"x", rng)
    if kind == "b(v)":
        damaged = of_bytes(bytes(e.value), rng)
        return (damaged + bytes(len(e.value)))[: len(e.value)] if rng.randrange(8) else damaged
    if not isinstance(e.value, int):
        return e.value
    value = rng.choice((e.value - 1, e.value + 1, e.value * 2, -e.value, rng.choice(NUMBERS), rng.getrandbits(4)))
    if kind.startswith("u("):
        return value & ((1 << int(kind[2:-1])) - 1)
    return min(max(value, -SE_MAX), SE_MAX) if kind == "se(v)" else min(abs(value), UE_MAX)


def with_new_digests(stream: bytes, references: Sequence[Model], **options) -> bytes | None:
    """A damaged stream with the digests of what its payloads decode to now; nothing where they do not decode."""
    try:
        with Values(stream, references, **options) as decoder:
            digests, parsed = decoder.all_digests(), decoder.parsed
        edited = EditedStream(stream, references)
    except (OmcError, KeyError):
        return None
    number, units = -1, {u.number: unit for u, unit in zip(parsed.units, edited.units)}
    for number, model in enumerate(parsed.models):
        for t in model.tensor_units:
            _state(units[t.unit.number], t.descriptors, [digests[number, d.tensor_index] for d in t.descriptors])
        in_order = [digests[number, i].digest for i in range(len(model.state.tensors))]
        units[model.end_unit.number].find("model_digest").value = joint_digest(in_order)
    return edited.bytes()


def _state(unit: EditedUnit, descriptors: Sequence[TensorDescriptor], found: Sequence[TensorDigest]) -> None:
    """The digests of a tensor data unit's tensors, put where the unit states them."""
    x = TensorData(len(found) - 1, list(descriptors))
    state_digests(x, found)
    values = {"unit_digest": x.unit_digest, "tensor_digest": x.descriptor[0].tensor_digest,
              "piece_digests": x.descriptor[0].piece_digests}
    for e in unit.elements:
        e.value = values.get(e.name, e.value)
