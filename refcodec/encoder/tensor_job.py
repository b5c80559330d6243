"""What is known of one tensor when it is coded (informative)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..dtypes import DType
from ..fold import Fold
from ..model import Tensor
from ..reconstruction import folded, unfolded
from .candidate import Candidate, Prediction
from .config import Config
from .hybrid.operating_points import HybridPoint
from .treatment import Treatment


@dataclass
class Choice:
    """How a quantised tensor is predicted and scanned."""

    prediction: Prediction | None
    column_scan: int


@dataclass
class TensorJob:
    """One tensor to be coded. predictions: from reference models."""

    index: int
    tensor: Tensor
    fold: Fold
    treatment: Treatment
    joined: bool = False                   # it will share a unit with others
    predictions: list[Prediction] = field(default_factory=list)
    choice: Choice | None = None           # made before, or when the tensor is coded
    point: HybridPoint | None = None       # of the hybrid pipeline

    @property
    def dtype(self) -> DType:
        return self.tensor.dtype

    def matrix(self, words: np.ndarray, column_scan: int = 0) -> np.ndarray:
        return folded(words, self.tensor.shape, self.dtype.parts, self.fold, column_scan)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        return self.fold.matrix_shape(self.tensor.shape)

    @property
    def plane_rows(self) -> int:
        """Rows of the matrix that make up one plane (SPEC 8.3)."""
        return self.fold.plane_rows(self.tensor.shape)

    def coded(self, candidate: Candidate, config: Config) -> Candidate:
        """The candidate with its payloads, in the best entropy modes that the configuration allows; range coded if
        joined."""
        return candidate.code(config.threads, [] if self.joined else config.tools.modes, config.tools.one_mode)

    def flat(self, matrix: np.ndarray, column_scan: int = 0) -> np.ndarray:
        return unfolded(matrix, self.tensor.shape, self.dtype.parts, self.fold, column_scan)
