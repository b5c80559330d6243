"""Runs networks on the inputs of the list: their outputs, and the decisions that these stand for."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

Arrays = dict[str, np.ndarray]


def session(network: bytes | str | pathlib.Path):
    """Of ONNX Runtime, on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    return onnxruntime.InferenceSession(network if isinstance(network, bytes) else str(network), options,
                                        providers=["CPUExecutionProvider"])


def run(network, runs: Sequence[Arrays], carry: Mapping[str, str] | None = None) -> list[Arrays]:
    """The outputs of each run. carry: inputs that take an output of the run before, but for the first one."""
    names, found = [o.name for o in network.get_outputs()], list[Arrays]()
    wanted = [i.name for i in network.get_inputs()]
    for arrays in runs:
        given = {name: arrays[name] for name in wanted}
        if found:
            given |= {name: found[-1][output] for name, output in (carry or {}).items()}
        found.append(dict(zip(names, network.run(names, given))))
    return found


def stacked(arrays: Arrays, counted: Sequence[str]) -> list[Arrays]:
    """Runs of arrays, of which those named in `counted` have one more axis in front."""
    count = len(arrays[counted[0]])
    return [{name: a[i] if name in counted else a for name, a in arrays.items()} for i in range(count)]


def decisions(rule: str, answers: Sequence[Arrays]) -> np.ndarray:
    """What a rule of the list (catalogue.Entry) makes of outputs: integers, one for each decision."""
    kind, rest = rule.split(":", 1)
    name, _, limit = rest.rpartition(":") if kind != "argmax" else (rest, "", "0")
    arrays = [a[name] for a in answers]
    if kind == "threshold":
        return np.concatenate([(a >= float(limit)).reshape(-1) for a in arrays]).astype(np.int64)
    largest = np.concatenate([a.max(axis=-1).reshape(-1) for a in arrays])
    which = np.concatenate([a.argmax(axis=-1).reshape(-1) for a in arrays])
    return np.where(largest >= float(limit), which, -1) if kind == "peak" else which
