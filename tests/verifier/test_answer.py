"""Whole questions on nets small enough to answer by hand, and the edges where a verdict could lie."""

from __future__ import annotations

from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders.errors import DataError, ModelError, OptionError, SoundnessError
from encoders.layer_graph.graph import affine_chain
from encoders.question import Norm
from tests.onnx_builder import to_onnx
from verifier.answer import distance, verify
from verifier.options import Options
from verifier.question.model import Model, load
from verifier.question.problem import Running
from verifier.question.results import Basis, Result, Verdict, check_sandwich

# scores (x1, x2): the class changes where x2 reaches x1.
pytestmark = pytest.mark.usefixtures("brief_questions")
SWAP = affine_chain([np.eye(2)], [np.zeros(2)])


@pytest.fixture
def swap(tmp_path: Path) -> Model:
    return load(to_onnx(SWAP, tmp_path / "swap.onnx"))


def sample(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


# From (0.75, 0.25): both move 0.25 (L∞), or 0.5 in all (L1). With x1 ≥ 0.7 by the box, and so on.
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"norm": "linf"}, 0.25),
        ({"norm": "l1"}, 0.5),
        ({"norm": "linf", "margin": 0.25}, 0.375),
        ({"norm": "linf", "mask": [0, 1]}, 0.5),
        ({"norm": "l1", "box": (0.0, 0.8)}, 0.5),
        ({"norm": "linf", "targets": (1,)}, 0.25),
    ],
)
@pytest.mark.parametrize("engine", ["auto", "search", "highs"])
@pytest.mark.fewer(4)
def test_distances_by_hand(swap: Model, options: dict[str, object], expected: float, engine: str) -> None:
    result = distance(swap, sample(0.75, 0.25), engine=engine, **options)  # type: ignore[arg-type]
    assert result.verdict is Verdict.EXACT
    assert result.lower <= expected <= result.upper + 1e-12
    assert result.upper == pytest.approx(expected, abs=1e-6)
    assert result.target == 1


def test_verify_by_hand(swap: Model) -> None:
    assert verify(swap, sample(0.75, 0.25), 0.2499).verdict is Verdict.CERTIFIED
    assert verify(swap, sample(0.75, 0.25), 0.2501).verdict is Verdict.FALSIFIED
    assert verify(swap, sample(0.75, 0.25), 0.0).verdict is Verdict.CERTIFIED


def test_no_adversary_exists(swap: Model) -> None:
    result = distance(swap, sample(0.75, 0.25), mask=[0, 0])
    assert result.verdict is Verdict.EXACT
    assert result.lower == result.upper == float("inf")


@pytest.mark.slow
def test_a_tie_is_never_certified(tmp_path: Path) -> None:
    # Both scores are always equal: the boundary is everywhere, and no class ever wins strictly.
    tie = load(to_onnx(affine_chain([np.ones((2, 1)), np.eye(2)], [np.zeros(2), np.zeros(2)]), tmp_path / "tie.onnx"))
    found = distance(tie, sample(0.5))
    assert (found.verdict, found.lower) == (Verdict.UNRESOLVED, 0.0)
    for radius in (0.0, 0.1):
        assert verify(tie, sample(0.5), radius).verdict is Verdict.UNRESOLVED


def test_one_class_one_pixel_zero_weights(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="threshold T"):
        load(to_onnx(affine_chain([np.ones((1, 1))], [np.zeros(1)]), tmp_path / "one.onnx"))
    # scores (x, 1 - x) at 0.75: they meet at 0.5.
    pixel = load(to_onnx(affine_chain([np.array([[1.0], [-1.0]])], [np.array([0.0, 1.0])]), tmp_path / "pixel.onnx"))
    assert distance(pixel, sample(0.75)).upper == pytest.approx(0.25, abs=1e-6)
    zero = affine_chain([np.zeros((3, 2)), np.zeros((2, 3))], [np.zeros(3), np.array([1.0, 0.0])])
    result = distance(load(to_onnx(zero, tmp_path / "zero.onnx")), sample(0.5, 0.5))
    assert (result.verdict, result.lower) == (Verdict.EXACT, float("inf"))


@pytest.mark.parametrize("scale", [2.0**60, 2.0**-60])
def test_scales_far_from_one(scale: float, tmp_path: Path) -> None:
    # relu(s(x1 - x2)) against relu(s(x2 - x1)) at (0.75, 0.25): still 0.25 away.
    graph = affine_chain([scale * np.array([[1.0, -1.0], [-1.0, 1.0]]), np.eye(2)], [np.zeros(2), np.zeros(2)])
    result = distance(load(to_onnx(graph, tmp_path / "scaled.onnx")), sample(0.75, 0.25), time_limit=20.0)
    assert result.lower <= 0.25 + 1e-12
    assert result.upper >= 0.25


def test_misclassified_and_targets_already_reached(swap: Model) -> None:
    wrong = distance(swap, sample(0.75, 0.25), label=1)
    assert (wrong.verdict, wrong.upper) == (Verdict.MISCLASSIFIED, 0.0)
    there = distance(swap, sample(0.75, 0.25), targets=(0,))
    assert (there.verdict, there.upper) == (Verdict.EXACT, 0.0)


def test_a_target_that_is_predicted_must_still_win_by_the_margin(tmp_path: Path) -> None:
    # Scores (0.6 - x, x): at 0.25 class 0 leads by 0.1; by 0.5 it leads from 0.05 on.
    lead = affine_chain([np.array([[-1.0], [1.0]])], [np.array([0.6, 0.0])])
    model = load(to_onnx(lead, tmp_path / "lead.onnx"))
    found = distance(model, sample(0.25), targets=(0,), margin=0.5)
    assert found.verdict is Verdict.EXACT
    assert found.upper == pytest.approx(0.2, abs=1e-6)
    assert (found.predicted, found.target) == (0, 0)
    assert verify(model, sample(0.25), 0.1, targets=(0,), margin=0.5).verdict is Verdict.CERTIFIED
    assert verify(model, sample(0.25), 0.21, targets=(0,), margin=0.5).verdict is Verdict.FALSIFIED
    there = verify(model, sample(0.05), 0.0, targets=(0, 1), margin=0.25)
    assert (there.verdict, there.upper, there.target) == (Verdict.FALSIFIED, 0.0, 0)
    # Either class may win by 1/4: class 0 from 0.175 on, class 1 from 0.425.
    either = distance(model, sample(0.25), targets=(0, 1), margin=0.25)
    assert either.upper == pytest.approx(0.075, abs=1e-6)
    on_grid = distance(model, sample(0.25), targets=(0,), margin=0.5, grid=40)
    assert on_grid.lower == on_grid.upper == pytest.approx(8 / 40)


def test_a_file_of_doubles_is_asked_in_doubles(tmp_path: Path) -> None:
    # Scores (x, 0.3): 0.3 as a double, which float32 does not hold; the sample is a hair above it.
    limit, hair = 0.3, 2.0**-30
    graph = affine_chain([np.array([[1.0], [0.0]])], [np.array([0.0, limit])])
    model = load(to_onnx(graph, tmp_path / "double.onnx", kind=np.float64))
    x = np.array([limit + hair])
    truth = Fraction(float(x[0])) - Fraction(limit)
    result = distance(model, x, tolerance=1e-15)
    assert result.predicted == 0
    assert result.adversary is not None
    assert result.adversary.input.dtype == np.float64
    assert Fraction(result.lower) <= truth <= Fraction(result.upper)
    assert result.upper <= float(truth) + 1e-15
    assert float(result.adversary.input[0]) < limit
    assert verify(model, x, 0.9 * hair).verdict is Verdict.CERTIFIED
    assert verify(model, x, 1.1 * hair).verdict is Verdict.FALSIFIED
    assert verify(model, x, 0.9 * hair, execution="float64").verdict is Verdict.CERTIFIED
    assert verify(model, x, 1e-3 * hair, execution="float64").verdict is Verdict.CERTIFIED
    assert distance(model, np.array([0.5]), grid=10).upper == pytest.approx(0.3)  # ties are no wins: 0.3f > 0.3


def test_bad_questions_are_refused(swap: Model) -> None:
    inside = sample(0.75, 0.25)
    for radius in (-0.1, float("nan"), float("inf")):
        with pytest.raises(OptionError, match="radius"):
            verify(swap, inside, radius)
    with pytest.raises(DataError, match="label 7"):
        distance(swap, inside, label=7)
    with pytest.raises(DataError, match="target 2"):
        distance(swap, inside, targets=(2,))
    with pytest.raises(DataError, match="outside the box"):
        distance(swap, sample(1.5, 0.25))
    with pytest.raises(DataError, match="does not fit"):
        distance(swap, sample(0.5, 0.25, 0.1))
    with pytest.raises(DataError, match="mask"):
        distance(swap, inside, mask=[1])
    with pytest.raises(DataError, match="NaN"):
        distance(swap, sample(float("nan"), 0.25))
    for bad in ({"margin": -1.0}, {"tolerance": 0.0}, {"time_limit": 0.0}, {"engine": "magic"}, {"box": (1.0, 0.0)}):
        with pytest.raises(OptionError):
            Options(**bad)


def test_records_refuse_to_lie() -> None:
    with pytest.raises(SoundnessError, match="alarm"):
        check_sandwich(0.2, 0.1, Norm.LINF)
    with pytest.raises(SoundnessError, match="certified"):
        Result(0, None, 0, Norm.LINF, 0.1, Verdict.CERTIFIED, 0.1, float("inf"), Basis.RIGOROUS, "none", 0.0)
    with pytest.raises(SoundnessError, match="falsified"):
        Result(0, None, 0, Norm.LINF, 0.1, Verdict.FALSIFIED, 0.0, 0.2, Basis.RIGOROUS, "none", 0.0)


def test_the_running_bracket_is_true(swap: Model) -> None:
    seen: list[Running] = []
    result = distance(swap, sample(0.75, 0.25), progress=seen.append)
    assert seen
    assert all(running.lower <= 0.25 <= running.upper for running in seen)
    for running in seen:  # what would be answered at that moment
        assert (running.answer.lower, running.answer.upper) == (running.lower, running.upper)
        assert (running.answer.adversary is None) == (running.upper == float("inf"))
    assert seen[-1].answer.basis is Basis.RIGOROUS
    assert result.verdict is Verdict.EXACT


@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
def test_nothing_is_certified_by_numbers_too_large(norm: str, tmp_path: Path) -> None:
    # h = 1e-28·x - 5, y0 = 1, y1 = h⁺: from 0 the tie lies at 6e28, and a net of such scales overflows in squares.
    graph = affine_chain([np.array([[1e-28]]), np.array([[0.0], [1.0]])], [np.array([-5.0]), np.array([1.0, 0.0])])
    path = to_onnx(graph, tmp_path / "tiny.onnx")
    sample = np.zeros(1, dtype=np.float32)
    found = verify(path, sample, 9e28, norm=norm, box=(-1e30, 1e30), time_limit=10.0)
    assert found.verdict is not Verdict.CERTIFIED
    assert verify(path, sample, 5e28, norm=norm, box=(-1e30, 1e30), time_limit=10.0).verdict is not Verdict.FALSIFIED
    with pytest.raises(OptionError, match="at most 1e"):
        verify(path, sample, 1.0, norm=norm, box=(-1e31, 1e31))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"norm": "l7"}, "norm 'l7': choose from linf"),
        ({"target": 3}, "option 'target': did you mean targets?"),
        ({"time_limit": "x"}, "time_limit 'x': it should be a number"),
        ({"box": 1}, "box 1: it should be a list"),
        ({"targets": "3"}, "targets '3': it should be a list"),
        ({"targets": ()}, "targets (): name at least one class"),
        ({"grid": "a"}, "grid 'a': give whole numbers"),
        ({"engine": 3}, "engine 3: it should be a text"),
        ({"seed": 0.5}, "seed 0.5: it should be a whole number"),
    ],
)
def test_a_bad_option_is_named_with_the_valid_ones(options: dict[str, Any], told: str, swap: Model) -> None:
    for ask in (distance, partial(verify, radius=0.1)):
        with pytest.raises(OptionError) as caught:
            ask(swap, sample(0.75, 0.25), **options)
        assert str(caught.value).startswith(told)


def test_one_target_needs_no_list(swap: Model) -> None:
    assert Options(targets=3) == Options(targets=(3,)) == Options(targets=np.array([3, 3]))  # type: ignore[arg-type]
    assert distance(swap, sample(0.75, 0.25), targets=1).target == 1
    with pytest.raises(OptionError, match="radius 'x'"):
        verify(swap, sample(0.75, 0.25), "x")  # type: ignore[arg-type]
