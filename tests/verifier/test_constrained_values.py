"""Margins and ranges with a unit for each input and constraints, against brute force over all linear pieces."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders.arrays import FloatArray
from encoders.errors import DataError, OptionError, SoundnessError
from encoders.layer_graph.graph import affine_chain
from encoders.question import Norm, Region
from tests.encoders.nets import random_chain
from tests.exact_distances import exact_greatest
from tests.onnx_builder import to_onnx
from tests.verifier.test_greatest_value import Nothing
from verifier.answer import verify
from verifier.greatest_value import GreatestValue
from verifier.margin_answer import Closed, GreatestLoss, margin, output_range
from verifier.question.model import Model, load
from verifier.question.results import Basis, Verdict

pytestmark = pytest.mark.usefixtures("brief_questions")

X = np.array([0.75, 0.25], dtype=np.float32)
Constraints = tuple[FloatArray, FloatArray]
FLOAT32 = 1e-5


@pytest.fixture
def swap(tmp_path: Path) -> Model:
    """Scores (x1, x2)."""
    return load(to_onnx(affine_chain([np.eye(2)], [np.zeros(2)]), tmp_path / "swap.onnx"))


def rows(*given: tuple[list[float], float]) -> Constraints:
    """Constraints, a row and its bound each."""
    return np.array([row for row, _ in given]), np.array([bound for _, bound in given])


def check_inside(found: Any, x: Any, norm: Norm, radius: float, scale: FloatArray, constraints: Constraints) -> None:
    """A saved input by itself: in the box and the ball, and within every constraint in rational numbers."""
    point = found.input.reshape(-1)
    assert point.dtype == np.float32
    assert ((point >= 0) & (point <= 1)).all()
    moved = (point.astype(np.float64) - np.asarray(x, dtype=np.float64).reshape(-1)) / scale
    assert norm.length(moved) <= radius * (1 + 1e-12)
    for row, bound in zip(*constraints, strict=True):
        assert sum(Fraction(float(a)) * Fraction(float(v)) for a, v in zip(row, point, strict=True)) <= bound


# At (3/4, 1/4) the other class leads by x2 - x1, -1/2.
BY_HAND = [
    ("linf", [1.0, 4.0], None, 0.1, 0.0),
    ("l1", [1.0, 4.0], None, 0.1, -0.1),
    ("l2", [3.0, 4.0], None, 0.1, 0.0),
    ("linf", None, rows(([0, 1], 0.3125)), 0.25, -0.1875),
    ("l1", None, rows(([0, 1], 0.25)), 0.25, -0.25),
    ("linf", [0.5, 1.0], rows(([0, 1], 0.3125)), 0.25, -0.3125),
    # The sample breaks the constraint: x1 ≤ 5/8 is in reach, and then so is x2 of 1/2.
    ("linf", None, rows(([1, 0], 0.625)), 0.25, 0.0),
    ("l1", None, rows(([1, 0], 0.625)), 0.25, -0.25),
    # x1 ≥ 7/8 leaves no choice in L1, where the radius ends there.
    ("l1", None, rows(([-1, 0], -0.875)), 0.125, -0.625),
]  # fmt: skip


@pytest.mark.parametrize("engine", ["search", "highs"])
@pytest.mark.parametrize(("norm", "scale", "constraints", "radius", "expected"), BY_HAND)
@pytest.mark.fewer(8)
def test_by_hand(
    swap: Model, engine: str, norm: str, scale: Any, constraints: Any, radius: float, expected: float
) -> None:
    if (engine, norm) == ("highs", "l2"):
        return
    found = margin(swap, X, radius, norm=norm, scale=scale, constraints=constraints, engine=engine)
    assert found.verdict is Closed.EXACT
    assert found.lower - 1e-7 <= expected <= found.upper + 1e-7
    assert found.worst is not None
    units = np.ones(2) if scale is None else np.array(scale)
    check_inside(found.worst, X, Norm(norm), radius, units, constraints or (np.zeros((0, 2)), np.zeros(0)))
    assert found.lower == pytest.approx(float(found.worst.scores[1] - found.worst.scores[0]), abs=1e-7)


@pytest.mark.parametrize(
    ("norm", "constraints"),
    [
        ("linf", rows(([1, 0], 0.5))),  # 1/4 away
        ("l1", rows(([-1, -1], -1.25))),
        ("l2", rows(([1, 0], 0.2), ([0, 1], 0.1))),
        ("linf", rows(([1, 1], 0.5), ([-1, -1], -0.75))),  # nowhere
    ],
)
@pytest.mark.parametrize("engine", ["search", "highs"])
def test_where_no_input_is_allowed(swap: Model, engine: str, norm: str, constraints: Constraints) -> None:
    if (engine, norm) == ("highs", "l2"):
        return
    found = margin(swap, X, 0.2, norm=norm, constraints=constraints, engine=engine, each=True)
    assert (found.verdict, found.lower, found.upper) == (Closed.EMPTY, -np.inf, -np.inf)
    assert (found.worst, found.target, found.by_target) == (None, None, {1: (-np.inf, -np.inf)})
    span = output_range(swap, [1.0, -1.0], x=X, radius=0.2, norm=norm, constraints=constraints, engine=engine)
    assert (span.verdict, span.lowest, span.highest) == (Closed.EMPTY, None, None)
    assert (span.least, span.greatest) == ((np.inf, np.inf), (-np.inf, -np.inf))


def test_an_empty_set_may_rest_on_a_solver(swap: Model) -> None:
    found = margin(swap, X, 0.2, constraints=rows(([1, 0], 0.5)), engine="highs")
    assert found.basis is Basis.SOLVER
    assert margin(swap, X, 0.2, constraints=rows(([1, 0], 0.5)), engine="search").basis is Basis.RIGOROUS


def test_ranges_over_the_whole_box(swap: Model) -> None:
    # x1 + x2 ≤ 1 and x1 ≥ 1/4 leave x1 - x2 from -1/2 to 1.
    allowed = rows(([1.0, 1.0], 1.0), ([-1.0, 0.0], -0.25))
    span = output_range(swap, [1.0, -1.0], constraints=allowed)
    assert span.verdict is Closed.EXACT
    assert span.least[1] == pytest.approx(-0.5, abs=1e-4)
    assert span.greatest[0] == pytest.approx(1.0, abs=1e-4)
    for witness in (span.lowest, span.highest):
        check_inside(witness, np.full(2, 0.5), Norm.LINF, 1.0, np.ones(2), allowed)


def question(seed: int) -> tuple[Any, ...]:
    random = np.random.default_rng(seed)
    graph, x = random_chain(seed, (3, 4, 3, 3))
    matrix = random.normal(size=(2, 3))
    bound = matrix.sum(axis=1) / 2 + random.normal(size=2) * 0.3
    return (
        graph,
        x.astype(np.float32),
        np.exp(random.normal(size=3)),
        (matrix, bound),
        float(random.choice([0.3, 20.0])),
    )


def wrong(model: Model, seed: int, norm: Norm, allowed: bool = True, closes: bool = True, **options: Any) -> str | None:
    """What is wrong with the answer about a random net, in words; None if nothing is."""
    graph, x, scale, constraints, radius = question(seed)
    against = int(np.argmax(model.scores(x[None])[0]))
    leads = np.delete(np.eye(3), against, axis=0) - np.eye(3)[against]
    region = Region(x.astype(np.float64), np.zeros(3), np.ones(3))
    truth = exact_greatest(graph, region, norm, radius, leads, scale, constraints)
    if not allowed and truth.upper == -np.inf:
        return None
    found: GreatestLoss = margin(model, x, radius, norm=norm, scale=scale, constraints=constraints, **options)
    if found.lower > truth.upper + FLOAT32 or found.upper < truth.lower - FLOAT32:
        return f"[{found.lower!r}, {found.upper!r}], truth {truth.lower!r}"
    if found.worst is not None:
        check_inside(found.worst, x, norm, radius, scale, constraints)
        decided = verify(model, x, radius, norm=norm, scale=scale, constraints=constraints, time_limit=1.0)
        if found.lower > 1e-4 and decided.verdict is Verdict.CERTIFIED:
            return "a positive loss where verify certifies"
    if truth.upper == -np.inf and found.verdict is not Closed.EMPTY:
        return f"{found.verdict}, where nothing is allowed"
    if closes and found.verdict is Closed.UNRESOLVED:
        return f"not closed: [{found.lower!r}, {found.upper!r}]"
    return None


@pytest.mark.parametrize(("norm", "seeds"), [(Norm.LINF, (1, 2)), (Norm.L1, (4, 5)), (Norm.L2, (2, 8))])
def test_random_nets_against_brute_force(norm: Norm, seeds: tuple[int, ...], tmp_path: Path) -> None:
    for seed in seeds:
        model = load(to_onnx(question(seed)[0], tmp_path / f"{seed}.onnx"))
        assert wrong(model, seed, norm, tolerance=1e-3) is None, seed


@pytest.mark.parametrize(("engine", "norm"), [("search", Norm.LINF), ("search", Norm.L1), ("highs", Norm.LINF)])
@pytest.mark.fewer(1)
def test_provers_by_themselves(engine: str, norm: Norm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without attacks every threshold is the engine's to decide, and none may prove too much."""
    monkeypatch.setattr("verifier.greatest_value.lowest_in_ball", Nothing)
    monkeypatch.setattr("verifier.greatest_value.lower_still", lambda problem, goal, start: start)
    for seed in (5, 11):
        model = load(to_onnx(question(seed)[0], tmp_path / f"{seed}.onnx"))
        assert wrong(model, seed, norm, tolerance=0.02, engine=engine, closes=False, time_limit=1.0) is None, seed


def test_no_witness_at_all_leaves_a_true_upper_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No input counts: what is proven must hold by itself, and nothing may be called empty that is not."""
    monkeypatch.setattr(GreatestValue, "_see", lambda self, points, by: None)
    monkeypatch.setattr(GreatestValue, "_raise", lambda self, found: None)
    for seed in (1, 5):
        model = load(to_onnx(question(seed)[0], tmp_path / f"{seed}.onnx"))
        assert wrong(model, seed, Norm.LINF, allowed=False, closes=False, time_limit=1.0) is None, seed


def test_an_equality_that_no_float_meets_is_left_open(swap: Model) -> None:
    # x1 + 3 x2 = 1/3 to the last bit of a rational: real inputs meet it, the file's own do not.
    line = rows(([1.0, 3.0], 1.3), ([-1.0, -3.0], -1.3))
    found = margin(swap, X, 0.3, constraints=line, time_limit=2.0)
    assert (found.verdict, found.worst) == (Closed.UNRESOLVED, None)
    # x1 = 1.3 - 3 x2: at x2 = 0.2833… the lead is 4 x2 - 1.3, where x1 = 0.45.
    assert found.upper >= 4 * 0.85 / 3 - 1.3
    assert found.lower == -np.inf


def test_an_allowed_input_where_none_is_said_to_be_is_an_alarm(swap: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    prove = GreatestValue._prove

    def nothing_allowed(self: GreatestValue, upper: float, basis: Basis) -> None:
        prove(self, -np.inf, basis)

    monkeypatch.setattr(GreatestValue, "_prove", nothing_allowed)
    with pytest.raises(SoundnessError, match="soundness alarm"):
        margin(swap, X, 0.1, constraints=rows(([1, 0], 0.8)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scale": [1.0, 2.0, 3.0]}, "a scale of 3 entries"),
        ({"constraints": ([[1.0]], [1.0])}, "constraints on 1 inputs"),
        ({"scale": [1.0, 2.0], "grid": 4}, "scale is for real inputs"),
        ({"constraints": ([[1.0, 2.0]], [1.0]), "grid": 4}, "constraints is for real inputs"),
    ],
)
def test_what_is_refused_by_name(swap: Model, options: dict[str, Any], words: str) -> None:
    with pytest.raises((DataError, OptionError), match=words):
        margin(swap, X, 0.1, **options)
    with pytest.raises((DataError, OptionError), match=words):
        output_range(swap, [1.0, 0.0], **options)
