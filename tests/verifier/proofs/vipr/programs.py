"""The program of a statement, without any proof, and what it is held against: points, and a solver's optimum."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from tests.verifier.checker.small_proofs import Layers, Line
from tests.vipr_checker import Vipr, dot
from verifier.checker import load, read_statement
from verifier.proofs.vipr.certificate import Certificate
from verifier.proofs.vipr.problem import Problem

Point = Sequence[Fraction]
ZERO = Fraction(0)


def program(first: Line, model: Path) -> Vipr:
    """What the certificate of a statement says before it derives anything."""
    certificate, statement = Certificate(), read_statement(first)
    Problem(certificate, statement, load(model, statement))
    return Vipr("".join(certificate.written(["a program"])))


def breaks(of: Vipr, point: dict[str, Fraction]) -> list[str]:
    """The constraints that a point, by the variables' names, does not keep."""
    assert set(point) == set(of.variables)
    values = {at: point[name] for at, name in enumerate(of.variables)}
    gaps = [dot(line.row, values) - line.side for line in of.constraints]
    kept = [gap * line.sense >= 0 if line.sense else gap == 0 for gap, line in zip(gaps, of.constraints, strict=True)]
    return [name for name, keeps in zip(of.names, kept, strict=True) if not keeps]


def executed(layers: Layers, x: Point) -> dict[str, Fraction]:
    """Inputs, neurons and scores by name, and z by the signs."""
    found, values = {f"x_{i}": one for i, one in enumerate(x)}, list(x)
    for k, (weights, bias) in enumerate(layers):
        columns = zip(np.asarray(weights).T, np.asarray(bias), strict=True)
        reads = [sum((Fraction(float(w)) * v for w, v in zip(column, values, strict=True)), Fraction(float(b)))
                 for column, b in columns]  # fmt: skip
        if k == len(layers) - 1:
            return found | {f"f_{j}": one for j, one in enumerate(reads)}
        values = [max(one, ZERO) for one in reads]
        found |= {f"h_{k}_{j}": one for j, one in enumerate(reads)}
        found |= {f"y_{k}_{j}": one for j, one in enumerate(values)}
        found |= {f"z_{k}_{j}": Fraction(int(one > 0)) for j, one in enumerate(reads)}
    raise AssertionError("no layers")


def optimum(of: Vipr) -> float | None:
    """The least objective by HiGHS; None where there is no point."""
    matrix = np.zeros((len(of.constraints), len(of.variables)))
    low, high = np.full(len(matrix), -np.inf), np.full(len(matrix), np.inf)
    for at, line in enumerate(of.constraints):
        for variable, number in line.row.items():
            matrix[at, variable] = float(number)
        if line.sense >= 0:
            low[at] = float(line.side)
        if line.sense <= 0:
            high[at] = float(line.side)
    cost = np.zeros(len(of.variables))
    for variable, number in of.objective.items():
        cost[variable] = float(number)
    whole = [int(at in of.integers) for at in range(len(cost))]
    free = Bounds(np.full(len(cost), -np.inf), np.full(len(cost), np.inf))
    found = milp(cost, integrality=whole, constraints=LinearConstraint(matrix, low, high), bounds=free)
    assert found.status in (0, 2), found.message
    return None if found.status == 2 else float(found.fun)
