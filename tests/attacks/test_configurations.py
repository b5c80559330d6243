"""Configuration files of any content: a configuration or one line of BAD_CONFIG."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from refcodec import Config
from refcodec.errors import ConfigError

FIELDS = list(Config.__dataclass_fields__)
RULE = {"match": "*", "treatment": "fine"}
VALUES = [None, True, False, 0, 1, -1, 2, 8, 16, 1 << 16, 1 << 63, 10**400, 0.0, 1e-320, 1e308, float("inf"), 0.5,
          float("nan"), "", "auto", "cc", "bins", "uniform", "best", "baseline", "rp", "hybrid", "lra", "fp", "s1-rp",
          "\0", "9" * 5000, [], [[]], {}, {"a": 1}, ["abc"], [RULE], [{"x": 1}], [{**RULE, "match": 1}],
          [{**RULE, "treatment": []}]]
TEXTS = ["", "[", "{" * 100_000, "[[[" * 5000, '{"a":' * 50_000, "\0", "[]", "null", '"x"', '{"step": 1e999}',
         '{"step": 1, "step": 2}', "step = ", "a" * (2 << 20), "x = [" * 20_000, "step = 1\nstep = 2", "1" * 5000,
         "[step]\na = 1"]


def malformed(rng: random.Random) -> str:
    if not rng.randrange(8):
        return rng.choice(TEXTS)
    return json.dumps({rng.choice(FIELDS): rng.choice(VALUES) for _ in range(rng.choice((1, 1, 2, 3)))})


def test_a_thousand_configurations(tmp_path):
    rng, found = random.Random(13), Counter()
    for _ in range(1000):
        path = tmp_path / rng.choice(("c.json", "c.json", "c.toml"))
        path.write_text(malformed(rng), encoding="utf-8")
        try:
            Config.read(path)
            found["read"] += 1
        except ConfigError as error:
            assert error.code == "BAD_CONFIG"
            found[error.code] += 1
    assert min(found["read"], found["BAD_CONFIG"]) > 10


@pytest.mark.parametrize("data", [b"\xff\xfe", b"{\"step\": \"\xff\"}"])
def test_bytes_that_are_no_text(data, tmp_path):
    (tmp_path / "c.json").write_bytes(data)
    with pytest.raises(ConfigError, match="BAD_CONFIG"):
        Config.read(tmp_path / "c.json")


def test_rules_of_a_file_are_rules(tmp_path):
    text = 'step = 0.1\n[[rules]]\nmatch = "*.bias"\ntreatment = "lossless"\n'
    (tmp_path / "c.toml").write_text(text, encoding="utf-8")
    assert Config.read(tmp_path / "c.toml").rules[0].match == "*.bias"
