"""Constraints on the input and a unit for each input's moves, held against the definition.

The oracle asks, on every linear piece of a tiny net, for the least ‖(x' - x) / scale‖ over the x' of the box with
A x' ≤ b that another class wins: one program each, written down here from scales and constraints alone.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from encoders.arrays import FloatArray
from encoders.errors import DataError, OptionError
from encoders.layer_graph.graph import Affine, Graph, Input, Relu, affine_chain
from encoders.layer_graph.linear_maps import Convolution, Dense, Gather
from encoders.question import Goal, Norm, Region, goals_for
from tests.brute_force import linear_pieces, nearest
from tests.encoders.nets import random_chain
from tests.onnx_builder import to_onnx
from tests.small_files import gemm, head, node, written
from verifier.answer import distance, verify
from verifier.options import Options
from verifier.question.model import Model, load
from verifier.question.results import Result, Verdict

NORMS = ("linf", "l1", "l2")
SWAP = affine_chain([np.eye(2)], [np.zeros(2)])  # scores (x1, x2): the class changes where x2 reaches x1
X = np.array([0.75, 0.25], dtype=np.float32)
Constraints = tuple[FloatArray, FloatArray]


@pytest.fixture
def swap(tmp_path: Path) -> Model:
    return load(to_onnx(SWAP, tmp_path / "swap.onnx"))


def rows(*given: tuple[list[float], float]) -> Constraints:
    """Constraints, a row and its bound each."""
    return np.array([row for row, _ in given]), np.array([bound for _, bound in given])


def oracle(
    graph: Graph, region: Region, norm: str, goals: tuple[Goal, ...], scale: FloatArray, constraints: Constraints
) -> float:
    """The distance by its definition: x' = x + scale · u, and the least ‖u‖ of every piece."""
    matrix, bound = constraints
    moves = Region(
        np.zeros_like(scale), (region.lower - region.center) / scale, (region.upper - region.center) / scale
    )
    best = np.inf
    for piece in linear_pieces(graph, region):
        weight, offset = piece.known[-1]
        for goal in goals:
            a = np.vstack([piece.rows, -goal.rows @ weight, -matrix])
            c = np.concatenate([piece.values, -(goal.rows @ offset + goal.offset), bound])
            best = min(best, nearest(a * scale, c + a @ region.center, moves, Norm(norm))[0])
    return best


def check_witness(
    model: Model, x: NDArray[Any], result: Result, scale: FloatArray, constraints: Constraints, **asked: Any
) -> None:
    """The saved adversary by itself: in the box, within every constraint, won when replayed, as far as it is said."""
    found = result.adversary
    assert found is not None
    assert found.input.dtype == model.input_type
    assert (found.input >= 0).all()
    assert (found.input <= 1).all()
    frozen = ~np.asarray(asked.get("mask", np.ones(x.size))).astype(bool)
    np.testing.assert_array_equal(found.input[frozen], x.reshape(-1)[frozen])
    for row, bound in zip(*constraints, strict=True):
        assert sum(Fraction(float(a)) * Fraction(float(v)) for a, v in zip(row, found.input, strict=True)) <= bound
    scores = model.scores(found.input[None])[0]
    np.testing.assert_array_equal(found.scores, scores)
    assert found.label == int(np.argmax(scores))
    assert found.label in asked.get("targets", {*range(model.classes)} - {result.predicted})
    assert scores[found.label] > np.delete(scores, found.label).max()
    lead = np.delete(scores, found.label).max() if "targets" in asked else scores[result.predicted]
    assert scores[found.label] - lead >= asked.get("margin", 0.0)
    moved = (found.input.astype(np.float64) - x.reshape(-1).astype(np.float64)) / scale
    assert result.upper == pytest.approx(float(result.norm.length(moved)), rel=1e-12)


def check(
    model: Model, x: NDArray[Any], norm: str, scale: FloatArray, constraints: Constraints, **asked: Any
) -> Result:
    """The answer holds what the oracle says, with a witness that is one; so do decisions at radii around it."""
    center = x.reshape(-1).astype(np.float64)
    free = np.asarray(asked.get("mask", np.ones(x.size))).astype(bool)
    region = Region(center, np.where(free, 0.0, center), np.where(free, 1.0, center))
    predicted = int(np.argmax(model.scores(x.reshape(1, -1))))
    goals = goals_for(predicted, model.classes, asked.get("targets"), asked.get("margin", 0.0))
    truth = oracle(model.graph, region, norm, goals, scale, constraints)
    options: dict[str, Any] = {"scale": scale, "constraints": constraints if len(constraints[1]) else None}
    result = distance(model, x, norm=norm, **options, **asked)
    assert result.lower <= truth * (1 + 1e-6) + 1e-9, truth
    assert result.upper >= truth * (1 - 1e-6) - 1e-9, truth
    if truth == np.inf:
        assert (result.verdict, result.lower, result.adversary) == (Verdict.EXACT, np.inf, None)
        return result
    assert result.verdict is Verdict.EXACT
    assert result.upper == pytest.approx(truth, rel=1e-4, abs=1e-5)
    check_witness(model, x, result, scale, constraints, **asked)
    if result.upper > 1e-3:
        near = verify(model, x, 0.99 * truth, norm=norm, **options, **asked)
        assert near.verdict is Verdict.CERTIFIED
        far = verify(model, x, 1.01 * truth, norm=norm, **options, **asked)
        assert far.verdict is Verdict.FALSIFIED
        check_witness(model, x, far, scale, constraints, **asked)
    return result


NONE: Constraints = (np.zeros((0, 2)), np.zeros(0))

# From (3/4, 1/4), where x2 must reach x1: u1 units of s1 and u2 of s2 close a gap of 1/2.
BY_HAND = [
    ("linf", [1.0, 4.0], NONE, 0.5 / 5),
    ("l1", [1.0, 4.0], NONE, 0.5 / 4),
    ("l2", [3.0, 4.0], NONE, 0.5 / 5),
    ("linf", [0.5, 0.25], NONE, 0.5 / 0.75),
    # x2 ≤ 1/4 + 1/16 stays: x1 has to come down by 7/16.
    ("linf", [1.0, 1.0], rows(([0, 1], 0.3125)), 0.4375),
    ("l1", [1.0, 2.0], rows(([0, 1], 0.3125)), 0.4375 + 0.03125),
    ("l2", [1.0, 1.0], rows(([0, 1], 0.25)), 0.5),
    # x1 + x2 ≥ 5/4 as well as x1 ≤ x2: the nearest is (5/8, 5/8).
    ("linf", [1.0, 1.0], rows(([-1, -1], -1.25)), 0.375),
    ("l1", [1.0, 1.0], rows(([-1, -1], -1.25)), 0.5),
    # The sample itself is not allowed: x1 ≤ 1/8 alone is 5/8 away, and x2 need not move.
    ("linf", [1.0, 1.0], rows(([1, 0], 0.125)), 0.625),
    ("l1", [5.0, 1.0], rows(([1, 0], 0.125)), 0.125),
    # No input is below 0 and above 1/4 of itself at once.
    ("linf", [1.0, 1.0], rows(([1, 0], 0.5), ([-1, 0], -0.75)), np.inf),
    ("l1", [1.0, 3.0], rows(([1, 1], 0.5), ([-1, -1], -0.75)), np.inf),
    ("l2", [2.0, 1.0], rows(([1, 0], 0.5), ([0, -1], -1.5)), np.inf),
    # Allowed, but where no other class wins: x1 ≥ x2 + 1/8.
    ("linf", [1.0, 1.0], rows(([-1, 1], -0.125)), np.inf),
]


@pytest.mark.parametrize(("norm", "scale", "constraints", "expected"), BY_HAND)
@pytest.mark.parametrize("engine", ["auto", "search", "highs"])
def test_by_hand(
    swap: Model, norm: str, scale: list[float], constraints: Constraints, expected: float, engine: str
) -> None:
    if engine == "highs" and norm == "l2":
        pytest.skip("HiGHS minimises no l2")
    found = check(swap, X, norm, np.array(scale), constraints, engine=engine)
    assert found.upper == pytest.approx(expected, abs=1e-5)
