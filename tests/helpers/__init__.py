"""What the tests share, by topic. The names of models, streams, processes and places are at hand here; those of the
knowledge center (helpers.center, helpers.serving) need its extras and are imported from their modules.
"""

from helpers.models import (
    all_types_model,
    any_words,
    changed,
    maps_model,
    matrices_model,
    network_model,
    same_tensors,
    snr,
    sparse_model,
    structures_model,
    tiny_onnx_model,
    weights,
)
from helpers.places import DATA, ROOT
from helpers.processes import FIRST_USE, environment, run_cli, run_python, uncompiled
from helpers.streams import cut, glue, plain, reseal, system_cases, tool_streams

__all__ = [
    "DATA",
    "FIRST_USE",
    "ROOT",
    "all_types_model",
    "any_words",
    "changed",
    "cut",
    "environment",
    "glue",
    "maps_model",
    "matrices_model",
    "network_model",
    "plain",
    "reseal",
    "run_cli",
    "run_python",
    "same_tensors",
    "snr",
    "sparse_model",
    "structures_model",
    "system_cases",
    "tiny_onnx_model",
    "tool_streams",
    "uncompiled",
    "weights",
]
