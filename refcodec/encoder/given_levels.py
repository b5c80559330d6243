"""Levels that were found elsewhere, as by a calibration, which the encoder codes as they are (informative)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..entropy.levels import LEVEL_MAX
from ..errors import ConfigError
from .candidate import Candidate
from .components import uniform_component
from .config_parts import STATES
from .rate_control import step_parts
from .tensor_job import TensorJob


@dataclass(frozen=True)
class GivenLevels:
    """The levels of one tensor.

    levels: int32 [rows, columns] of the matrix that is coded (SPEC 8.3), with one path through the trellis from the
    first to the last (SPEC 8.5.4).  step: representable, or the nearest that is, is taken.  states: of the trellis.
    column_scan: what the columns of the tensor's matrix are here: 0 columns, 1 rows.
    """

    levels: np.ndarray
    step: float
    states: int = 0
    column_scan: int = 0


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
    c = uniform_component(step_parts(given.step), given.states, job.config.tools.level_mode)
    return job.direct(c, np.ascontiguousarray(levels, np.int32), column_scan=given.column_scan)
