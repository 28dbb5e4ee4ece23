"""The exact program of a quantised network as a mixed-integer program over doubles, for solvers that know no better."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from encoders.programs.mixed_integer_program import Program
from encoders.quantised.integer_encoding import Written

INFINITY = float("inf")


def as_program(written: Written) -> Program:
    """The same columns and rows, with the measure as objective. Rows are divided by their largest entry."""
    program = written.program
    if written.objective is None:
        raise ValueError("the program has no column to minimise")
    rows, columns = list[int](), list[int]()
    entries, low, high = list[float](), list[float](), list[float]()
    for k, row in enumerate(program.rows):
        size = float(max((abs(a) for a in row.coefficients), default=1))
        rows += [k] * len(row.columns)
        columns += row.columns
        entries += [a / size for a in row.coefficients]
        low.append(-INFINITY if row.low is None else row.low / size)
        high.append(INFINITY if row.high is None else row.high / size)
    width = len(program.low)
    costs = np.zeros(width)
    costs[written.objective] = 1.0
    inputs = len(written.inputs)
    return Program(
        costs=costs,
        unit=1.0,
        matrix=sparse.csr_array((entries, (rows, columns)), shape=(len(program.rows), width)),
        row_lower=np.array(low, dtype=np.float64),
        row_upper=np.array(high, dtype=np.float64),
        column_lower=np.array(program.low, dtype=np.float64),
        column_upper=np.array(program.high, dtype=np.float64),
        integral=np.ones(width, dtype=np.bool_),
        inputs_base=np.zeros(inputs),
        inputs_map=sparse.csr_array((np.ones(inputs), (range(inputs), range(inputs))), shape=(inputs, width)),
        relu_columns={},
        scale=np.ones(width),
    )
