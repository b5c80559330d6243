"""ONNX Runtime, where it is installed: sessions of graphs, and whatever it raises as one error."""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from ..errors import ConfigError

Arrays = dict[str, np.ndarray]
NEEDED = "networks are run by ONNX Runtime, which is not installed: pip install 'refcodec[calibration]'"
_FATAL = 4                      # of ONNX Runtime's levels of its log: what goes wrong is raised, and told once


class Session:
    """A graph that can be run.  inputs: names of what it takes.

    Raises ConfigError: BAD_CONFIG without ONNX Runtime; UNSUPPORTED_LAYER where that cannot run the graph.
    """

    def __init__(self, proto: onnx.ModelProto, threads: int = 1):
        try:
            runtime: Any = importlib.import_module("onnxruntime")
        except ImportError:
            raise ConfigError("BAD_CONFIG", NEEDED) from None
        runtime.set_default_logger_severity(_FATAL)
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, _FATAL
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")     # calls are short, and many
        _share_memory(runtime)
        try:
            self._session = runtime.InferenceSession(proto.SerializeToString(), options,
                                                     providers=["CPUExecutionProvider"])
        except Exception as error:                         # of whatever class the runtime likes
            raise ConfigError("UNSUPPORTED_LAYER", f"ONNX Runtime does not take the network: {_line(error)}") from None
        self.inputs: list[str] = [x.name for x in self._session.get_inputs()]

    def run(self, outputs: Sequence[str], arrays: Mapping[str, np.ndarray]) -> Arrays:
        """The values named `outputs`; of `arrays` those are taken that the graph needs.

        Raises ConfigError UNSUPPORTED_LAYER: it fails on them, or a value is no array.
        """
        if not outputs:
            return {}
        try:
            found = self._session.run(list(outputs), {name: arrays[name] for name in self.inputs})
        except Exception as error:
            raise ConfigError("UNSUPPORTED_LAYER", f"the network fails on the inputs given: {_line(error)}") from None
        for name, value in zip(outputs, found):
            if not isinstance(value, (np.ndarray, np.generic)):
                raise ConfigError("UNSUPPORTED_LAYER", f"value {name[:100]!r} of the network is no array but "
                                  f"{type(value).__name__}: it cannot be carried from layer to layer")
        return {name: np.asarray(value) for name, value in zip(outputs, found)}


@functools.lru_cache
def _share_memory(runtime: Any) -> None:
    """One arena for the many sessions of a network that is run piece by piece: each would keep the most that it ever
    needed."""
    with contextlib.suppress(Exception):               # there is one already, or the runtime knows of none
        cpu = runtime.OrtMemoryInfo("Cpu", runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0,
                                    runtime.OrtMemType.DEFAULT)
        runtime.create_and_register_allocator(cpu, None)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
