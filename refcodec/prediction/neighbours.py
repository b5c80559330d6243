"""Prediction of the indices of a matrix from their neighbours: which ways there are, and which one a tensor has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..bitstream.structures import BY_NEIGHBOURS, PredictionMode, SpatialPredictor, TensorDescriptor
from .spatial import add_spatial, subtract_spatial

Loop = Callable[[np.ndarray, int, int, int], np.ndarray]

# prediction_mode: indices from differences, and the inverse
LOOPS: dict[PredictionMode, tuple[Loop, Loop]] = {PredictionMode.SPATIAL: (add_spatial, subtract_spatial)}


@dataclass(frozen=True)
class Neighbours:
    """One way. mode: prediction_mode, of BY_NEIGHBOURS.  predictor: its spatial_predictor."""

    mode: PredictionMode
    predictor: SpatialPredictor

    @staticmethod
    def all() -> list[Neighbours]:
        """All ways that there are."""
        return [Neighbours(mode, predictor) for mode in BY_NEIGHBOURS for predictor in SpatialPredictor]

    @staticmethod
    def of(d: TensorDescriptor) -> Neighbours | None:
        """The way that a tensor_descriptor() names, or None."""
        if d.prediction_mode not in BY_NEIGHBOURS:
            return None
        return Neighbours(PredictionMode(d.prediction_mode), SpatialPredictor(d.spatial_predictor))

    def enter(self, d: TensorDescriptor) -> None:
        """Names it in a tensor_descriptor()."""
        d.prediction_mode, d.spatial_predictor = self.mode, self.predictor

    def add(self, levels: np.ndarray, plane_rows: int, first_row: int) -> np.ndarray:
        """Indices, int64, of a segment from its levels [rows, columns]: see add_spatial."""
        return LOOPS[self.mode][0](levels, self.predictor, plane_rows, first_row)

    def subtract(self, indices: np.ndarray, plane_rows: int, first_row: int) -> np.ndarray:
        """Levels, int32, of a segment from its indices [rows, columns]: see subtract_spatial."""
        return LOOPS[self.mode][1](indices, self.predictor, plane_rows, first_row)

    def __str__(self) -> str:
        return f"{self.predictor.name.lower()} neighbours"
