"""HiGHS itself: how a model is handed over, and what its words mean in ours. All that is native to it is here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import highspy
import numpy as np
from scipy import sparse

from encoders.arrays import FloatArray
from encoders.errors import SolverError
from encoders.solvers.base import Status

# "Unbounded or infeasible", every limit and every error are no proofs: only two lines of this table are.
STATUS: Mapping[str, Status] = {
    "kOptimal": Status.OPTIMAL,
    "kInfeasible": Status.INFEASIBLE,
    "kUnbounded": Status.UNBOUNDED,
    "kTimeLimit": Status.TIME_LIMIT,
    "kInterrupt": Status.STOPPED,
    "kHighsInterrupt": Status.STOPPED,
    "kIterationLimit": Status.STOPPED,
    "kSolutionLimit": Status.STOPPED,
    "kObjectiveBound": Status.STOPPED,
    "kObjectiveTarget": Status.STOPPED,
    "kUnboundedOrInfeasible": Status.UNKNOWN,
    "kUnknown": Status.UNKNOWN,
    "kNotset": Status.UNKNOWN,
    "kModelEmpty": Status.UNKNOWN,
    "kMemoryLimit": Status.FAILED,
    "kLoadError": Status.FAILED,
    "kModelError": Status.FAILED,
    "kPresolveError": Status.FAILED,
    "kSolveError": Status.FAILED,
    "kPostsolveError": Status.FAILED,
}

# Entries at or below `small_matrix_value` are dropped in silence, which changes the program: as low as HiGHS allows.
COMMON_OPTIONS: Mapping[str, object] = {
    "output_flag": False,
    "threads": 1,
    "small_matrix_value": 1e-12,
    "primal_feasibility_tolerance": 1e-9,
    "dual_feasibility_tolerance": 1e-9,
}


def status_of(highs: Any) -> Status:
    """How the last run ended; a word that this table does not know proves nothing."""
    return STATUS.get(highs.getModelStatus().name, Status.UNKNOWN)


def instance(options: Mapping[str, object]) -> Any:
    """A silent HiGHS with the common options and these; an option that it does not know is an error."""
    highs: Any = highspy.Highs()  # type: ignore[no-untyped-call]
    for name, value in {**COMMON_OPTIONS, **options}.items():
        if highs.setOptionValue(name, value) == highspy.HighsStatus.kError:
            raise SolverError(
                f"HiGHS {highs.version()} refuses option {name} = {value!r}; install highspy 1.15 or newer"
            )
    return highs


def pass_arrays(
    highs: Any,
    costs: FloatArray,
    matrix: sparse.csr_array,
    row_lower: FloatArray,
    row_upper: FloatArray,
    column_lower: FloatArray,
    column_upper: FloatArray,
    integrality: np.ndarray[Any, Any] | None = None,
) -> None:
    """Hand over the whole model in one call."""
    rows, columns = matrix.shape
    status = highs.passModel(
        columns,
        rows,
        int(matrix.nnz),
        int(highspy.MatrixFormat.kRowwise),
        int(highspy.ObjSense.kMinimize),
        0.0,
        costs,
        column_lower,
        column_upper,
        row_lower,
        row_upper,
        matrix.indptr.astype(np.int32),
        matrix.indices.astype(np.int32),
        matrix.data,
        np.zeros(columns, dtype=np.int32) if integrality is None else integrality.astype(np.int32),
    )
    if status == highspy.HighsStatus.kError:
        raise SolverError(
            f"HiGHS refused a model of {rows} rows and {columns} columns; look for NaN or infinite entries"
        )
