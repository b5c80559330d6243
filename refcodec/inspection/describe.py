"""What a stream holds and where its bytes go (informative)."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, TypeAlias

from ..bitstream.limits import Profile
from ..bitstream.parser import ParsedModel, ParsedStream, Parser
from ..bitstream.structures import (
    BY_TENSOR,
    Component,
    EntropyMode,
    PredictionMode,
    Quantiser,
    Representation,
    TensorDescriptor,
    UnitType,
)
from ..bitstream.units import EXTENSION_TYPES, ByteSource, Unit
from ..budget import Budget
from ..formats.table import by_source
from ..prediction.neighbours import Neighbours
from .selection import units_of

TEXT_MAX = 1000                 # bytes of a text among the metadata that is shown
Facts: TypeAlias = dict[str, Any]          # values that json can hold, by name


FACTS_BYTES, FACTS_WORK = 6000, 50000      # what describing a tensor takes (budget.py)


def unit_name(kind: int) -> str:
    """unit_type in words."""
    return "extension" if kind in EXTENSION_TYPES else UnitType(kind).name.lower()


def describe_stream(path: str, tensors: Sequence[str] = (), units: Sequence[int] = (), budget: Budget | None = None
                    ) -> Facts:
    """Units, models, tensors, modes, and where the bytes go; values that json can hold.

    tensors, units: names and numbers of those that are wanted; then only their units and tensors are listed, and sums
    stay those of the whole stream.  budget: None: the usual one.
    Raises ConfigError BAD_CONFIG where there is no such tensor or unit.
    """
    with ByteSource(path) as source:
        parser = Parser(source, allow_prefix=True)
        parser.budget = budget or Budget()
        parser.budget.give(source.size)
        parsed = parser.parse()
    count = sum(len(u.descriptors) for m in parsed.models for u in m.tensor_units)
    parser.budget.hold(FACTS_BYTES * count, f"describing {count} tensors")
    parser.budget.spend_work(FACTS_WORK * count, f"describing {count} tensors")
    found = _describe(parsed)
    if tensors or units:
        wanted = units_of(parsed, tensors, units)
        found["selected_units"] = [_describe_unit(u) for u in parsed.units if u.number in wanted]
        for model in found["models"]:
            model["tensors"] = [t for t in model["tensors"] if t["name"] in tensors or t["unit"] in units]
    return found


def _describe_unit(u: Unit) -> Facts:
    return {"unit": u.number, "type": unit_name(u.type), "coding": u.coding.name.lower(), "offset": u.offset,
            "bytes": u.end - u.offset}


def _describe(parsed: ParsedStream) -> Facts:
    header, total = parsed.header, parsed.source.size
    by_type: dict[str, int] = {}
    for unit in parsed.units:
        by_type[unit_name(unit.type)] = by_type.get(unit_name(unit.type), 0) + unit.end - unit.offset
    return {
        "version": f"{header.version_major}.{header.version_minor}", "profile": Profile(header.profile).name.lower(),
        "level": header.level, "bytes": total, "units": len(parsed.units), "complete": parsed.complete,
        "bytes_by_unit": by_type, "models": [_describe_model(parsed, m) for m in parsed.models]
    }


def _texts(model: ParsedModel) -> dict[str, str]:
    """The metadata that are short texts, by key."""
    found = {}
    for e in model.metadata.entry if model.metadata else []:
        if len(e.metadata_value) <= TEXT_MAX:
            with contextlib.suppress(UnicodeDecodeError):
                found[e.metadata_key] = bytes(e.metadata_value).decode("utf-8")
    return found


def _describe_model(parsed: ParsedStream, model: ParsedModel) -> Facts:
    tensors = []
    for u in model.tensor_units:
        elements = sum(d.word_count for d in u.descriptors) or 1
        for d in u.descriptors:
            size = u.unit.end - u.unit.offset
            shared = size if len(u.descriptors) == 1 else size * d.word_count / elements
            tensors.append({**_describe_tensor(parsed, model, d, round(shared), len(u.descriptors)),
                            "unit": u.unit.number})
    tensors.sort(key=lambda t: t["index"])
    count = _quantised_elements(tensors)
    end = next((u.end for u in parsed.units if u.type == UnitType.MODEL_END and u.offset > model.unit.offset), 0)
    return {"name": model.header.model_name, "tensors": tensors, "tensor_count": len(tensors),
            "bytes": end - model.unit.offset, "ends_at_byte": end,
            "original_bytes": sum(t["original_bytes"] for t in tensors),
            "quality_layer_of_previous": bool(model.header.enhancement_flag), "references": _references(parsed, model),
            "digest": bytes(model.end.model_digest).hex() if model.end else None,
            "seal": model.seal(model.end.model_digest).hex() if model.end else None,
            "source": None if model.topology is None else by_source(model.topology.source_format).name,
            "source_files": [] if model.topology is None else [f.file_path for f in model.topology.file],
            "layers": len(model.layers.layer) if model.layers else 0, "activations": _activations(model),
            "metadata": sorted(e.metadata_key for e in model.metadata.entry) if model.metadata else [],
            "metadata_texts": _texts(model),
            "quantised_elements": count,
            "bits_per_weight": 8 * (end - model.unit.offset) / count if count else None}


def _references(parsed: ParsedStream, model: ParsedModel) -> list[Facts]:
    """External models by digest; those of the stream by number and name."""
    found: list[Facts] = []
    own = parsed.models.index(model)
    for r in model.header.reference:
        if r.external_flag:
            found.append({"external_digest": bytes(r.reference_digest).hex()})
        else:
            number = own - r.model_distance
            found.append({"model_distance": r.model_distance, "model": number,
                          "name": parsed.models[number].header.model_name})
    return found


def _activations(model: ParsedModel) -> list[Facts]:
    """Formats of the integers that layers take (SPEC 7.6.4)."""
    layers = [x for x in (model.layers.layer if model.layers else []) if x.activation_flag]
    return [{"layer": x.layer_name, "signed": bool(a.activation_signed_flag), "width": a.activation_width,
             "fraction_bits": a.activation_fraction_bits, "accumulator_width": a.accumulator_width}
            for x in layers for a in (x.activation,)]


def _quantised_elements(tensors: list[Facts]) -> int:
    """Elements of the weights: quantised as most are (the same step, or matrices with steps of their own but the same
    trellis), with a quantiser of their own, or coded by factors."""
    floats = [t for t in tensors if t["type"].startswith(("float", "bfloat"))]
    own = [t for t in floats if t["quantiser"] in ("decimal", "fixed_point", "integer_codebook")
           or t["representation"] not in ("direct", "random_mask", "row_mask")]
    stepped = [t for t in floats if t["quantiser"] == "uniform" and t["representation"] == "direct"]
    usual = max(stepped, key=lambda t: t["elements"])["detail"] if stepped else ""
    trellis = usual.rpartition("step")[0]
    alike = [t for t in stepped if t["detail"] == usual
             or len(t["shape"]) > 1 and t["detail"].rpartition("step")[0] == trellis]
    return sum(int(t["elements"]) for t in [*own, *alike])


def _describe_tensor(parsed: ParsedStream, model: ParsedModel, d: TensorDescriptor, size: int, joined: int) -> Facts:
    entry, dtype = model.state.tensors[d.tensor_index], model.state.dtype(d.tensor_index)
    c = d.component[0] if d.component else Component()
    elements = d.word_count // dtype.parts
    return {
        "index": d.tensor_index, "name": entry.tensor_name, "type": dtype.name, "shape": list(entry.dimension),
        "elements": elements, "original_bytes": d.word_count * d.word_bytes, "bytes": size, "joined_with": joined - 1,
        "prediction": PredictionMode(d.prediction_mode).name.lower(),
        "predicted_from": _predicted_from(parsed, model, d), "quantiser": Quantiser(c.quantiser).name.lower(),
        "representation": Representation(d.representation).name.lower(), "detail": _detail(d),
        "entropy": "+".join(dict.fromkeys(EntropyMode(x.entropy_mode).name.lower()
                                          for x in d.component)) if d.coded_flag else "none",
        "scan": "column" if d.column_scan_flag else "row", "entry_points": c.entry_count_minus1 + 1,
        "bits_per_element": 8 * size / elements if elements else 0.0,
        "digest": None if d.joined else f"{d.tensor_digest:016x}"
    }


def _predicted_from(parsed: ParsedStream, model: ParsedModel, d: TensorDescriptor) -> Facts | None:
    """The predicting tensor: of which model of the stream (None: an external one), its index, and its name if known."""
    if d.prediction_mode not in BY_TENSOR:
        return None
    number: int | None = parsed.models.index(model)
    index = d.predicting_tensor
    if not d.within_model:
        reference = model.header.reference[d.reference_index - 1]
        number = None if reference.external_flag else parsed.models.index(model) - reference.model_distance
    name = None if number is None else parsed.models[number].state.tensors[index].tensor_name
    return {"reference": d.reference_index, "model": number, "tensor": index, "name": name}


def _detail(d: TensorDescriptor) -> str:
    """The parameters of representation and quantisers in words."""
    kind, f = Representation(d.representation), d.factor
    words = kind.name.lower().replace("_", " ")
    quantisers = "; ".join(filter(None, (_quantiser_detail(c) for c in d.component)))
    if neighbours := Neighbours.of(d):
        quantisers = f"{neighbours}, {quantisers}"
    if kind == Representation.DIRECT:
        return quantisers
    if kind == Representation.RANDOM_MASK:
        return f"{words}, {f.selected_count:,} of {d.word_count:,} elements, seed {f.random_seed}"
    if kind == Representation.ROW_MASK:
        return f"{words}, {f.selected_count:,} of {d.row_count:,} rows"
    if kind == Representation.AUGMENTATION:
        words += f", {f.gain_count_minus1 + 1} gains, {f.factor_rank} columns"
    else:
        words += f", rank {f.factor_rank}" + (f", seed {f.random_seed}"
                                              if kind == Representation.LOW_RANK_UPDATE else "")
    return f"{words}: {quantisers}"


def _quantiser_detail(c: Component) -> str:
    step = c.uniform.step_mantissa * 2.0**c.uniform.step_exponent
    details: dict[int, str] = {
        Quantiser.UNIFORM: f"{c.uniform.states} states, step {step:.6g}" if c.uniform.states else f"step {step:.6g}",
        Quantiser.CODEBOOK: f"{c.codebook.codebook_size_minus1 + 1} values",
        Quantiser.DECIMAL: f"{c.decimal_exponent} decimals",
        Quantiser.FIXED_POINT: f"{c.fixed_point.fixed_point_width} bits, units of 2^{-c.fixed_point.fraction_bits}",
        Quantiser.INTEGER_CODEBOOK: f"{c.integer_codebook.codebook_size_minus1 + 1} integers, step {step:.6g}",
    }
    return details.get(c.quantiser, "")
