"""What syntax functions derive and share while a unit is parsed or written (SPEC 7): no syntax elements."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..dtypes import BY_CODE, DType
from ..fold import Fold
from .limits import Profile
from .structures import ModelHeader, TensorDescriptor, TensorEntry


@dataclass
class ModelState:
    """What is known of one model: of the stream, or an external one that it refers to.

    number:     of the model in the stream, from 0.
    folds:      of the tensors whose fold is not the default one.
    coded:      index of each tensor decoded so far: how deep its predictions are nested.
    work:       index of each tensor decoded so far: (first tensor of its unit, decoding_work of that unit).
    references: the models that the header lists; None for one that is not at hand.
    """

    profile: int = Profile.HIGH
    number: int = 0
    header: ModelHeader = field(default_factory=ModelHeader)
    tensors: list[TensorEntry] = field(default_factory=list)
    folds: dict[int, Fold] = field(default_factory=dict)
    coded: dict[int, int] = field(default_factory=dict)
    work: dict[int, tuple[int, int]] = field(default_factory=dict)
    references: list[ModelState | None] = field(default_factory=list)

    @staticmethod
    def external(tensors: list[TensorEntry]) -> ModelState:
        """A model that is at hand as a whole: its tensors are not predicted from others."""
        return ModelState(tensors=tensors, coded=dict.fromkeys(range(len(tensors)), 0))

    def dtype(self, i: int) -> DType:
        """The type of the elements of tensor i."""
        return BY_CODE[self.tensors[i].element_type]

    def fold(self, i: int) -> Fold:
        """How tensor i is laid out as a matrix."""
        return self.folds.get(i) or Fold.default(self.tensors[i].dimension)

    def matrix(self, i: int, column_scan: int = 0) -> tuple[int, int, int]:
        """Rows, columns in words, and rows of a plane, of the matrix of tensor i (SPEC 8.3)."""
        fold, shape = self.fold(i), self.tensors[i].dimension
        rows, columns = fold.matrix_shape(shape, column_scan)
        return rows, columns * self.dtype(i).parts, fold.plane_rows(shape, column_scan)


@dataclass
class ParsingContext:
    """Variables that one syntax function of a unit derives for those that follow it.

    model:          the model that the unit belongs to.
    folded:         tensor whose fold_parameters() follow (7.6.3).
    previous_index: tensor_index of the descriptor before, -1 before the first (7.7.1).
    needed:         (model, first tensor) of each unit that predicts this one: its decoding_work (7.7).
    descriptor:     the tensor_descriptor() whose components follow (7.7.3).
    segments:       sum of segment_count so far (7.5.1).
    layer_tensors:  sum of layer_tensor_count so far (7.6.1).
    """

    model: ModelState
    folded: int = 0
    previous_index: int = -1
    needed: dict[tuple[int, int], int] = field(default_factory=dict)
    descriptor: TensorDescriptor = field(default_factory=TensorDescriptor)
    segments: int = 0
    layer_tensors: int = 0
