"""How a tensor is laid out as a matrix (SPEC 8.3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class Fold:
    """How a tensor is laid out as a matrix (SPEC 8.3).

    axis_order: permutation of the axes; the first row_axis_count of them form the rows, the
    others the columns.  kernel_size: elements of a row that belong to one kernel (1 if none).
    """

    axis_order: tuple[int, ...]
    row_axis_count: int
    kernel_size: int = 1

    @staticmethod
    def default(shape: Sequence[int]) -> Fold:
        """The fold of a tensor without a layer: axis 0 as rows, the rest as columns."""
        return Fold(tuple(range(len(shape))), 1 if len(shape) > 1 else 0, math.prod(shape[2:]))

    def axes(self, column_scan: int = 0) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The axes that make up the rows, and those of the columns, of the matrix that is coded."""
        rows, columns = self.axis_order[: self.row_axis_count], self.axis_order[self.row_axis_count :]
        return (columns, rows) if column_scan else (rows, columns)

    def matrix_shape(self, shape: Sequence[int], column_scan: int = 0) -> tuple[int, int]:
        """Rows and columns of a tensor of this shape, in elements."""
        rows, columns = self.axes(column_scan)
        return math.prod(shape[a] for a in rows), math.prod(shape[a] for a in columns)

    def plane_rows(self, shape: Sequence[int], column_scan: int = 0) -> int:
        """Rows of the matrix that make up one plane: the length of the innermost axis of its rows."""
        rows, _ = self.axes(column_scan)
        return shape[rows[-1]] if rows else 1
