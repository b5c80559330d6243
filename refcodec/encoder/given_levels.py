"""Levels that were found elsewhere, as by a calibration, which the encoder codes as they are (informative)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..bitstream.structures import EntropyMode
from ..entropy.context_coding import cost_levels_cc, new_cc_contexts
from ..entropy.levels import LEVEL_MAX
from ..entropy.modes import Whole, whole_array
from ..errors import ConfigError
from .candidate import Candidate
from .components import uniform_component
from .config import Config
from .config_parts import STATES
from .rate_control import step_parts
from .tensor_job import TensorJob, entries_of, level_mode
from .words_in_bins import REPEATS_TO

SAMPLE = 1 << 16            # elements whose cost decides between bins and context coding,
MUCH_LESS = 0.92            # which has to take so much of the bytes


@dataclass(frozen=True)
class GivenLevels:
    """The levels of one tensor.

    levels: int32 [rows, columns] of the matrix that is coded (SPEC 8.3).  step: representable, or the nearest that is,
    is taken.  states: of the trellis.  column_scan: what the columns of the tensor's matrix are here: 0 columns, 1
    rows.  segments: entry points, in each of which the path through the trellis begins anew.  lanes: instead, each lane
    of a chunk has a path of its own, and bins code the levels (SPEC 8.5.4).  reference: 0, or the number, from 1 on, of
    the external reference whose tensor of this name they are differences from.
    """

    levels: np.ndarray
    step: float
    states: int = 0
    column_scan: int = 0
    segments: int = 1
    lanes: bool = False
    reference: int = 0


def given_candidate(job: TensorJob, given: GivenLevels) -> Candidate:
    """The candidate of given levels, not yet coded.

    Raises ConfigError BAD_CONFIG for levels that do not fit the tensor, BAD_STEP for a step that there is not.
    """
    levels, name = given.levels, job.tensor.name[:100]
    if given.states not in STATES or given.column_scan not in (0, 1):
        raise ConfigError("BAD_CONFIG", f"levels of {name!r}: states are of {STATES}, column_scan is 0 or 1")
    shape = job.fold.matrix_shape(job.tensor.shape, given.column_scan)
    if levels.shape != shape or levels.dtype.kind != "i":
        raise ConfigError("BAD_CONFIG", f"levels of {name!r} are {levels.dtype} {list(levels.shape)}; they must be "
                          f"integers {list(shape)}")
    if levels.size and max(int(levels.max()), -int(levels.min())) > LEVEL_MAX:
        raise ConfigError("BAD_CONFIG", f"levels of {name!r} are larger than {LEVEL_MAX}")
    if not 1 <= given.segments <= max(1, shape[0]) or given.segments > 1 and given.lanes:
        raise ConfigError("BAD_CONFIG", f"levels of {name!r} have {given.segments} segments; there are 1 to "
                          f"{shape[0]}, or one in lanes")
    mode = EntropyMode.BINS if given.lanes else job.config.tools.level_mode
    c = uniform_component(step_parts(given.step), given.states, mode)
    prediction = next((p for p in job.predictions if p.same_shape and p.reference_index == given.reference), None)
    if given.reference and prediction is None:
        raise ConfigError("BAD_CONFIG", f"levels of {name!r} are differences from reference {given.reference}, "
                          "which has no such tensor")
    return job.direct(c, np.ascontiguousarray(levels, np.int32), prediction, entries=given.segments,
                      column_scan=given.column_scan)


def layout(matrix: np.ndarray, step: float, config: Config) -> tuple[bool, int]:
    """(lanes, segments) of a tensor that is coded as this matrix of values with about this step, as a configuration
    asks; but where the entropy mode is free and a sample takes far less in context coding than in bins, no lanes."""
    lanes = level_mode(matrix.size, config).facts.lanes
    if lanes and config.tools.levels_in_bins and matrix.size <= REPEATS_TO:
        lanes = not _repeats_itself(matrix, step)
    return lanes, 1 if lanes else entries_of(matrix.shape, config.units.entry_elements)


def _repeats_itself(matrix: np.ndarray, step: float) -> bool:
    """True if plain levels from the middle of a matrix have regularities that bins do not see."""
    rows = max(1, min(len(matrix), SAMPLE // matrix.shape[1]))
    first = (len(matrix) - rows) // 2
    levels = np.rint(matrix[first:first + rows] / step).clip(-LEVEL_MAX, LEVEL_MAX).astype(np.int32)
    in_bins = uniform_component(step_parts(step), 0, EntropyMode.BINS)
    size = len(whole_array(EntropyMode.BINS).encode(Whole(in_bins, None), levels))
    bits = cost_levels_cc(np.ascontiguousarray(levels), 0, 1, new_cc_contexts())
    return bool(bits < 8 * size * MUCH_LESS)
