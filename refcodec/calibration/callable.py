"""Networks that are no ONNX graph: whoever has them runs them.

A function takes arrays for the weights and gives the outputs; that is all that sensitivities need. Layer inputs, where
they are known, are handed over by tensor name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..encoder.config import Config
from ..encoder.model_encoder import quantised_tensors
from ..encoder.treatment import folds_of
from ..errors import ConfigError
from ..model import Model
from .runtime import Arrays

Run = Callable[[dict[str, np.ndarray]], Mapping[str, np.ndarray]]


class CallableNetwork:
    """A network that a function runs.

    model:  its tensors; those that lossy coding quantises can be changed.
    run:    takes all tensors of the model, by name, and returns the outputs by name, on the same inputs every time.
    chances: outputs whose elements are probabilities, each of its own (of a sigmoid). That an output holds
            probabilities of classes, which add up to 1, is seen.
    inputs: by tensor name, what the rows of the matrix [outputs, inputs] are multiplied with: [samples, inputs].

    Raises ConfigError: NOTHING_TO_QUANTISE for a model without weights; BAD_CONFIG for an output or a tensor that is
    not there, or inputs that do not fit its matrix.
    """

    def __init__(self, model: Model, run: Run, chances: Sequence[str] = (),
                 inputs: Mapping[str, np.ndarray] | None = None):
        numbers = quantised_tensors(model, Config(step=1.0))
        if not numbers:
            raise ConfigError("NOTHING_TO_QUANTISE", "no tensor of this model is a weight of a floating-point type")
        self.model, self.run = model, run
        self.never_run: list[str] = []
        self.weights: Arrays = {model.tensors[i].name: model.tensors[i].array for i in numbers}
        self.folds = {t.name: fold for t, fold in zip(model.tensors, folds_of(model))}
        self.inputs: Arrays = dict(inputs or {})
        self._all: Arrays = {t.name: t.array for t in model.tensors}
        self._chances = set(chances)
        self._unchanged = self._run({})
        for name in chances:
            if name not in self._unchanged:
                raise ConfigError("BAD_CONFIG", f"the function gives no output {name!r}; it gives "
                                  f"{', '.join(self._unchanged)}")
        for name, rows in self.inputs.items():
            if name not in self.weights:
                raise ConfigError("BAD_CONFIG", f"layer inputs are given for {name!r}, which is no weight of the model")
            if rows.ndim != 2 or not np.isfinite(rows).all():
                raise ConfigError("BAD_CONFIG", f"the layer inputs of {name!r} are no finite array [samples, inputs]")
            outputs, columns = self.folds[name].matrix_shape(self.weights[name].shape)
            if rows.shape[1] != columns:
                raise ConfigError("BAD_CONFIG", f"the layer inputs of {name!r} are {list(rows.shape)}; its matrix is "
                                  f"[{outputs}, {columns}], so they have to be [samples, {columns}]")

    def order(self) -> list[str]:
        return list(self.weights)

    def outputs(self) -> dict[str, str]:
        return {name: "Sigmoid" if name in self._chances else "" for name in self._unchanged}

    def answers(self, changes: Mapping[str, np.ndarray] | None = None) -> list[Arrays]:
        """The outputs, of what is one run here."""
        return [self._run(changes)] if changes else [self._unchanged]

    def _run(self, changes: Mapping[str, np.ndarray]) -> Arrays:
        found = self.run({**self._all, **changes})
        if not isinstance(found, Mapping) or not found:
            raise ConfigError("BAD_CONFIG", "the function that runs the network returns its outputs as a mapping of "
                              f"names to arrays, not as {type(found).__name__}")
        return {name: np.asarray(value) for name, value in found.items()}
