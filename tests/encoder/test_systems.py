"""Every row of tools/coding_systems.py on small models: it decodes, verified, and what may not be lost is not."""

from __future__ import annotations

import coding_systems as systems
import numpy as np
import pytest
from helpers import ROOT, weights

from refcodec import Config, Model, Tensor, decode, encode
from refcodec.bitstream.parser import parse
from refcodec.bitstream.structures import EntropyMode, Quantiser, Representation
from refcodec.fold import Fold
from refcodec.model import Layer, Role

MODES = list(systems.modes())


def maps_model(seed: int, name: str) -> Model:
    """A map of 4 x 10 x 12 after a rectifier, and a vector."""
    rng = np.random.default_rng(seed)
    tensors = [Tensor("map", np.maximum(rng.normal(size=(4, 10, 12)).cumsum(2), 0).astype(np.float32)),
               Tensor("vector", rng.normal(size=300).astype(np.float32))]
    return Model(tensors, name,
                 [Layer("features", "", "", [(0, Role.OTHER, Fold((0, 1, 2), 2)), (1, Role.OTHER, None)])])


@pytest.fixture(scope="module")
def subjects() -> dict[str, tuple[list[Model], list[Model]]]:
    arrays = {
        "fc.weight": weights((40, 64), seed=1), "conv.weight": weights((16, 8, 3, 3), seed=2), "fc.bias": weights(
            (40, 1))[:, 0]
    }
    base = Model([Tensor(k, v) for k, v in arrays.items()], "base")
    new = Model([Tensor(k, (v * (1 + 0.02 * weights(v.shape[:1] + (1,) * (v.ndim - 1), seed=5))).astype(np.float32))
                 for k, v in arrays.items()], "new")
    pruned = {k: v.copy() for k, v in arrays.items()}
    pruned["fc.weight"][::2] = 0
    frames = [maps_model(7, "0"), maps_model(7, "1"), maps_model(8, "2")]
    return {
        "model": ([new], []), "update": ([new], [base]), "set": ([base, new], []), "maps": (frames[:1], []),
        "frames": (frames, []), "pruned": ([Model([Tensor(k, v) for k, v in pruned.items()], "pruned")], [])
    }


@pytest.mark.parametrize("mode", MODES, ids=[f"{m.group}: {m.name} ({m.uses})" for m in MODES])
def test_mode(mode, subjects):
    models, references = subjects[mode.uses]
    row = systems.measured(mode, models, references, mode.uses)
    assert row.verified
    assert (row.snr_db is None) == mode.lossless or row.snr_db is None
    assert row.snr_db is None or row.snr_db > 3


def components(stream: bytes, references=()) -> list:
    """(descriptor, component) of the last model."""
    return [(d, c) for u in parse(stream, references).models[-1].tensor_units for d in u.descriptors
            for c in d.component]


@pytest.mark.parametrize("name", [mode.name.lower() for mode in EntropyMode if mode.facts.levels])
def test_the_mode_that_is_asked_for_is_taken(name, subjects):
    (new,), _ = subjects["model"]
    config = Config(step=0.01, states=0, entropy=name, join_below=1)
    found = {c.entropy_mode for _, c in components(encode(new, config)) if c.quantiser == Quantiser.UNIFORM}
    assert found == {EntropyMode[name.upper()]}


def test_auto_is_no_larger_than_any_single_mode(subjects):
    for uses, lossy in (("model", {}), ("model", {"step": 0.01, "states": 0}), ("maps", {})):
        models, _ = subjects[uses]
        best = min(len(encode(models, Config(entropy=name, join_below=1, **lossy)))
                   for name in (mode.name.lower() for mode in EntropyMode if mode.facts.words))
        assert len(encode(models, Config(entropy="auto", join_below=1, **lossy))) <= best


def test_auto_finds_masks_and_products():
    """Half of the rows are zero; and a difference of rank 2 from the reference."""
    rng = np.random.default_rng(3)
    base = Model([Tensor("w.weight", weights((64, 96), seed=1))], "base")
    masked = np.where(rng.random((64, 1)) < 0.5, base.tensors[0].array, np.float32(0))
    found = components(encode(Model([Tensor("w.weight", masked)]), Config(preset="auto")))
    assert found[0][0].representation == Representation.ROW_MASK
    product = base.tensors[0].array + rng.normal(size=(64, 2)) @ rng.normal(size=(2, 96))
    new = Model([Tensor("w.weight", product.astype(np.float32))])
    stream = encode(new, Config(preset="auto", step=0.01), [base])
    assert components(stream, [base])[0][0].representation == Representation.LOW_RANK
    assert np.abs(decode(stream, [base]).tensors[0].array - new.tensors[0].array).max() < 0.05


def test_a_profile_is_kept(subjects):
    (new,), (base,) = subjects["model"][0], subjects["update"][1]
    for profile, number in (("baseline", 0), ("main", 1), ("high", 2)):
        for options in ({"step": 0.01, "preset": "auto"}, {"step": 0.01, "effort": "best"}, {}):
            stream = encode(new, Config(profile=profile, **options), [base])
            parsed = parse(stream, [base])
            assert parsed.header.profile == number
            decode(stream, [base])


def test_unrelated_and_unchanged(subjects):
    """A reference that does not help costs its digest; tensors that did not change cost a few bytes each."""
    rng = np.random.default_rng(11)
    one = Model([Tensor(f"t{i}.weight", weights((64, 64), seed=i)) for i in range(10)], "one")
    other = Model([Tensor(f"t{i}.weight", weights((64, 64), seed=100 + i)) for i in range(10)], "other")
    for options in ({}, {"step": 0.005}, {"preset": "s1-rp"}, {"preset": "s2-qbits"}):
        alone, predicted = len(encode(one, Config(**options))), len(encode(one, Config(**options), [other]))
        assert predicted <= alone * 1.005
    few = Model([Tensor(t.name, t.array if i % 5 else t.array + rng.normal(0, 0.01, t.shape).astype(np.float32))
                 for i, t in enumerate(one.tensors)], "few")
    assert 5 * len(encode(few, None, [one])) < len(encode(few))


# The table of docs/systems.md

def test_the_page_has_a_row_for_each_mode():
    page = (ROOT / "docs" / "systems.md").read_text()
    table = page[page.index("<!-- systems -->"):page.index("<!-- /systems -->")]
    rows = [line.strip("| ").split(" | ")[:2] for line in table.splitlines() if line.startswith("| ")][1:]
    assert rows == [[mode.group, mode.name] for mode in MODES]


def test_a_table_is_put_into_a_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- systems -->\nold\n<!-- /systems -->\nafter\n")
    systems.put_into(page, "| new |")
    assert page.read_text() == "before\n<!-- systems -->\n| new |\n<!-- /systems -->\nafter\n"
