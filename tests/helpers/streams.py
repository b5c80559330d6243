"""Small streams in which every coding tool occurs, streams cut into units, and units put together again."""

from __future__ import annotations

import zlib

import ml_dtypes

from helpers.models import (
    all_types_model,
    changed,
    maps_model,
    matrices_model,
    network_model,
    sparse_model,
    structures_model,
    tiny_onnx_model,
    weights,
)
from refcodec import Config, Model, Tensor, encode
from refcodec.bitstream.parser import Parser
from refcodec.bitstream.structures import RANGE_CODED, EntropyMode, Representation, UnitType
from refcodec.bitstream.units import ByteSource, leb, read_body, seal
from refcodec.encoder.config import Rule
from refcodec.encoder.updates.factors import FactorUpdate


def tool_streams() -> dict[str, tuple[bytes, list[Model]]]:
    """Small streams that bring in every coding tool: name to (stream, references)."""
    net = network_model()
    large = Model([Tensor("large.weight", weights((300, 500)))], "large")
    made = {
        "types": (all_types_model(), Config(), []),
        "structures": (structures_model(), Config(join_below=1, index=True), []),
        "joined": (structures_model(), Config(join_below=4096), []),
        "onnx": (tiny_onnx_model(), Config(), []),
        "update": (changed(net), Config(join_below=1), [net]),
        "update16": (changed(network_model(1, ml_dtypes.bfloat16)), Config(), [network_model(1, ml_dtypes.bfloat16)]),
        "residual": (changed(net, 1e-3), Config(step=0.001, join_below=1), [net]),
        "plain": (net, Config(step=0.01, states=0), []),
        "baseline": (net, Config(step=0.02, effort="fast"), []),
        "trellis": (net, Config(step=0.01), []),
        "best": (net, Config(step=0.01, effort="best"), []),
        "mixed": (net, Config(step=0.003, coder="cm", states=64), []),
        "layers": (net, Config(quality_layers=3), []),
        "layers_cm": (net, Config(quality_layers=2, step=0.004, coder="cm", states=4), []),
        "entries": (large, Config(step=0.5, entry_elements=65536), []),
    }
    return {name: (encode(model, config, references), references) for name, (model, config, references) in made.items()}


WHOLE_MODES = [mode.name.lower() for mode in EntropyMode if mode not in RANGE_CODED]


def system_cases() -> dict[str, tuple[list[Model], Config, list[Model]]]:
    """What the published systems bring in: entropy modes, quantisers, representations, frames and sets of models."""
    base, sparse, maps = matrices_model(), sparse_model(), maps_model()
    new, narrow = changed(base, 0.01), matrices_model(ml_dtypes.bfloat16)
    rows = base.tensors[0].array.copy()
    rows[::3] = 0
    alone = FactorUpdate(Representation.LOW_RANK, (weights((14, 3), seed=8), weights((3, 20), seed=9)))
    replaced = FactorUpdate(Representation.MAPPING, (weights((14, 4), seed=8),), additive=False)
    kept = FactorUpdate(Representation.ROW_MASK, rows=(rows != 0).any(1))
    product = Model([Tensor("a.weight", weights((12, 16))),
                     Tensor("b.weight", weights((24, 4)) @ weights((4, 30), seed=2))])
    cases = {
        **{f"words {m}": ([sparse], {"entropy": m}, []) for m in WHOLE_MODES},
        **{f"differences {m}": ([new], {"entropy": m}, [base]) for m in (*WHOLE_MODES, "map")},
        **{f"levels {m}": ([sparse], {"entropy": m, "step": 0.01, "states": 0}, []) for m in WHOLE_MODES},
        "maps": ([maps], {"entropy": "map"}, []),
        "frames": ([maps, maps_model(1)], {"entropy": "map"}, []),
        "spatial": ([maps], {"preset": "s3-features", "step": 0.25, "states": 0, "rules": [Rule("*", "quantise")]}, []),
        "s1": ([base], {"preset": "s1-rp"}, []), "s1 update": ([new], {"preset": "s1-rp", "rp": 8}, [base]),
        "s2": ([changed(narrow, 0.01)], {"preset": "s2-qbits"}, [narrow]),
        "fixed point": ([base], {"quantiser": "fixed-point", "width": 5, "entropy": "fixed"}, []),
        "fixed point update": ([new], {"quantiser": "fixed-point", "width": 6, "entropy": "cc"}, [base]),
        "integer codebook": ([new], {"quantiser": "integer-k-means", "clusters": 9}, [base]),
        "k-means": ([base], {"quantiser": "k-means-zero", "clusters": 8, "entropy": "huffman"}, []),
        **{f"s4 {u}": ([new], {"preset": f"s4-{u}", "update_rank": 3, "update_fraction": 0.1}, [base])
           for u in ("lra", "ml", "ka", "rm", "lru", "fp")},
        "s4 ka 16": ([changed(narrow, 0.01)], {"preset": "s4-ka", "update_rank": 0}, [narrow]),
        "s4 ml 16": ([changed(narrow, 0.01)], {"preset": "s4-ml", "update_rank": 2}, [narrow]),
        "mapping alone": ([new], {"factors": {"fc.weight": replaced}}, [base]),
        "low rank alone": ([new], {"factors": {"fc.weight": alone}}, []),
        "row mask": ([Model([Tensor("fc.weight", rows)])], {"preset": "s4-fp", "factors": {"fc.weight": kept}}, []),
        "s5": ([product], {"preset": "s5-hybrid"}, []),
        "set": ([base, new, base], {"preset": "auto"}, []),
        "best": ([new], {"step": 0.01, "join_below": 2000, "effort": "best"}, [base]),
    }
    return {name: (models, Config(**{"join_below": 1, **options}), references)
            for name, (models, options, references) in cases.items()}


def cut(stream: bytes) -> list[bytes]:
    """The units of a whole stream, without omc_magic."""
    parsed = Parser(ByteSource(stream)).parse()
    return [stream[u.offset : u.end] for u in parsed.units]


def glue(units: list[bytes]) -> bytes:
    return b"\x8fOMC" + b"".join(units)


def reseal(unit: bytes) -> bytes:
    """A unit whose unit_check fits again."""
    return unit[:-4] + zlib.crc32(unit[:-4]).to_bytes(4, "big")


def plain(stream: bytes) -> list[bytes]:
    """The units of a stream, with every coded body expanded, so that damage reaches what stands in it."""
    units, header = [], b""
    for u in Parser(ByteSource(stream)).parse().units:
        body = bytes(read_body(ByteSource(stream), u, 1 << 24, header))
        header = body if u.type == UnitType.MODEL_HEADER else header
        units.append(seal(bytes([u.type << 2]) + leb(len(body)), body))
    return units
