"""Greatest losses and ranges by hand, what they have to do with distances, and what is refused."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders.errors import DataError, OptionError, SoundnessError
from encoders.layer_graph.graph import affine_chain
from encoders.question import CONVEX, Norm
from tests.int8_builder import random_int8
from tests.onnx_builder import to_onnx
from tests.test_trust import random_net
from verifier.answer import distance, verify
from verifier.greatest_value import GreatestValue
from verifier.margin_answer import Closed, GreatestLoss, OutputRange, margin, output_range
from verifier.question.model import Model, load
from verifier.question.results import Basis, Verdict, weakest

# scores (x1, x2): the lead of class 1 is x2 - x1.
SWAP = affine_chain([np.eye(2)], [np.zeros(2)])
# scores (relu(x1 - x2), relu(x2 - x1), 1/2): a valley between two slopes.
VALLEY = affine_chain(
    [np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])],
    [np.zeros(2), np.array([0.0, 0.0, 0.5])],
)
X = np.array([0.75, 0.25], dtype=np.float32)


@pytest.fixture
def swap(tmp_path: Path) -> Model:
    return load(to_onnx(SWAP, tmp_path / "swap.onnx"))


@pytest.fixture
def valley(tmp_path: Path) -> Model:
    return load(to_onnx(VALLEY, tmp_path / "valley.onnx"))


# At (0.75, 0.25) class 1 is behind by 0.5. In L∞ both inputs move by R; in L1 they share it; in L2 each moves R/√2.
@pytest.mark.parametrize(
    ("options", "radius", "expected"),
    [
        ({"norm": "linf"}, 0.1, -0.3),
        ({"norm": "l1"}, 0.1, -0.4),
        ({"norm": "l2"}, 0.1, -0.5 + 0.1 * 2**0.5),
        ({"norm": "linf"}, 0.25, 0.0),
        ({"norm": "linf"}, 0.0, -0.5),
        ({"norm": "linf"}, 100.0, 1.0),
        ({"norm": "l1"}, 100.0, 1.0),
        ({"norm": "linf", "mask": [0, 1]}, 0.1, -0.4),
        ({"norm": "l2", "mask": [0, 0]}, 0.1, -0.5),
        ({"norm": "linf", "box": (0.2, 0.8)}, 0.9, 0.6),
        ({"norm": "linf", "targets": (1,)}, 0.1, -0.3),
        ({"norm": "linf", "label": 1}, 0.1, 0.7),
        ({"norm": "linf", "grid": 4}, 0.25, 0.0),
        ({"norm": "linf", "grid": 4}, 0.24, -0.5),
        ({"norm": "linf", "grid": 4}, 0.4, 0.0),  # a step is as far as it goes
        ({"norm": "l1", "grid": 4}, 0.25, -0.25),
    ],
)
def test_losses_by_hand(swap: Model, options: dict[str, Any], radius: float, expected: float) -> None:
    found = margin(swap, X, radius, **options)
    assert found.verdict is Closed.EXACT
    assert found.lower - 1e-7 <= expected <= found.upper + 1e-7
    assert found.lower == pytest.approx(expected, abs=2e-5)
    assert found.target == (0 if options.get("label") == 1 else 1)
    assert (found.predicted, found.against) == (0, options.get("label", 0))
    assert found.basis is Basis.RIGOROUS
    assert found.worst is not None
    assert found.worst.distance <= radius


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_a_ball_of_some_float32_numbers_is_used_to_its_edge(swap: Model, norm: str) -> None:
    for radius in 1e-6 * np.arange(1.0, 2.0, 0.125):
        found = margin(swap, X, float(radius), norm=norm, tolerance=3e-7)
        assert found.verdict is Closed.EXACT
        assert found.lower >= -0.5 + radius * (2 if norm == "linf" else 1) - 3e-7
        assert found.worst is not None
        assert found.worst.distance <= radius


@pytest.mark.parametrize("engine", ["search", "highs"])
@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L1])
def test_engines_agree_across_a_valley(valley: Model, engine: str, norm: Norm) -> None:
    # From (0.75, 0.25) class 1 leads by relu(x2 - x1) - relu(x1 - x2) = x2 - x1, class 2 by 1/2 - relu(x1 - x2).
    expected = {Norm.LINF: 0.8 - 0.5, Norm.L1: 0.4 - 0.5}[norm]
    best = max(expected, min(0.5, 0.5 + min(0.0, expected)))
    found = margin(valley, X, 0.4, norm=norm, engine=engine, each=True)
    assert found.lower == pytest.approx(best, abs=2e-5)
    assert found.by_target is not None
    assert found.by_target[1][0] == pytest.approx(expected, abs=2e-5)
    assert found.target == 2
    assert max(lower for lower, _ in found.by_target.values()) == found.lower


def test_targets_are_all_that_counts(valley: Model) -> None:
    # Class 2 would lead farther, and is not asked for.
    found = margin(valley, X, 0.1, targets=(1,))
    assert found.target == 1
    assert found.lower == pytest.approx(-0.3, abs=2e-5)


def test_equal_classes_are_exactly_tied(tmp_path: Path) -> None:
    tie = load(to_onnx(affine_chain([np.ones((2, 1)), np.eye(2)], [np.zeros(2), np.zeros(2)]), tmp_path / "tie.onnx"))
    found = margin(tie, np.array([0.5], dtype=np.float32), 0.1)
    assert (found.verdict, found.lower) == (Closed.EXACT, 0.0)
    assert 0.0 <= found.upper <= 1e-4


@pytest.mark.parametrize("scale", [2.0**40, 2.0**-40])
def test_scales_far_from_one(scale: float, tmp_path: Path) -> None:
    # scale · (x2 - x1) behind ReLUs that cancel: at radius 0.1 still -0.3 of it.
    graph = affine_chain([scale * np.array([[1.0, -1.0], [-1.0, 1.0]]), np.eye(2)], [np.zeros(2), np.zeros(2)])
    found = margin(load(to_onnx(graph, tmp_path / "scaled.onnx")), X, 0.1, time_limit=10.0)
    truth, hair = -0.3 * scale, 1e-6 * scale
    assert found.lower - hair <= truth <= found.upper + hair
    assert found.lower == pytest.approx(truth, abs=1e-4 * max(1.0, scale))


# -- what losses have to do with distances -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("norm", list(CONVEX))
@pytest.mark.fewer(1)
def test_a_loss_is_negative_where_the_ball_is_certified(norm: Norm, tmp_path: Path) -> None:
    for seed in (3, 5, 11):
        rng = np.random.default_rng(seed)
        graph = random_net(rng)
        model = load(to_onnx(graph, tmp_path / f"net{seed}.onnx"))
        x = rng.random(graph.input_size).astype(np.float32)
        nearest = distance(model, x, norm=norm)
        losses: list[GreatestLoss] = []
        for radius in (0.05, 0.2, 0.5):
            found = margin(model, x, radius, norm=norm)
            answer = verify(model, x, radius, norm=norm)
            if answer.verdict is Verdict.CERTIFIED:
                assert found.lower < 0
            if answer.verdict is Verdict.FALSIFIED:
                assert found.upper >= 0
            if found.upper < 0:
                assert nearest.upper > radius
            if found.lower > 0:
                assert nearest.lower <= radius
            losses.append(found)
        for smaller, larger in pairwise(losses):
            assert smaller.lower <= larger.upper


# -- ranges ----------------------------------------------------------------------------------------------------------


def check_range(found: OutputRange, least: float, greatest: float) -> None:
    assert found.verdict is Closed.EXACT
    for (lower, upper), expected in ((found.least, least), (found.greatest, greatest)):
        assert lower - 1e-7 <= expected <= upper + 1e-7
        assert upper - lower <= 1e-4 * max(1.0, abs(expected))


@pytest.mark.parametrize(
    ("combination", "options", "least", "greatest"),
    [
        ([1, 0, 0], {}, 0.0, 1.0),
        ([0, 0, 1], {}, 0.5, 0.5),
        ([1, -1, 2], {}, 0.0, 2.0),
        ([1, 1, 0], {}, 0.0, 1.0),  # |x1 - x2|
        ([1, 0, 0], {"box": (-1.0, 1.0)}, 0.0, 2.0),
        ([1, 0, 0], {"x": X, "radius": 0.1}, 0.3, 0.7),
        ([1, 0, 0], {"x": X, "radius": 0.1, "norm": "l1"}, 0.4, 0.6),
        ([1, 0, 0], {"x": X, "mask": [1, 0]}, 0.0, 0.75),
        ([1, 0, 0], {"grid": 3}, 0.0, 1.0),
    ],
)
def test_ranges_by_hand(
    valley: Model, combination: list[float], options: dict[str, Any], least: float, greatest: float
) -> None:
    found = output_range(valley, combination, **options)
    check_range(found, least, greatest)
    for witness, value in ((found.lowest, found.least[1]), (found.highest, found.greatest[0])):
        assert witness is not None
        assert float(witness.scores @ combination) == pytest.approx(value, abs=1e-6)


def test_a_range_out_of_time_is_true(valley: Model) -> None:
    found = output_range(valley, [1, 0, 0], time_limit=1e-6)
    assert found.least[0] <= 0.0 <= found.least[1]
    assert found.greatest[0] <= 1.0 <= found.greatest[1]


def test_either_side_of_a_range_has_half_of_the_time(valley: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    moments: list[float | None] = []

    async def noted(self: GreatestValue) -> None:
        moments.append(self.deadline.moment)

    monkeypatch.setattr(GreatestValue, "close", noted)
    output_range(valley, [1, 0, 0], time_limit=100.0)
    first, second = (moment for moment in moments if moment is not None)
    assert first == pytest.approx(50.0, abs=10.0)
    assert second - first == pytest.approx(50.0)


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"norm": "l0"}, OptionError, "l0"),
        ({"margin": 0.5}, OptionError, "margin"),
        ({"execution": "float32"}, OptionError, "execution"),
        ({"targets": (0,)}, OptionError, "class 0 is the only target.*: name one more target"),
        ({"targets": (7,)}, DataError, "target 7"),
        ({"label": 7}, DataError, "label 7"),
        ({"radius": -1.0}, OptionError, "radius"),
        ({"tolerance": 0.0}, OptionError, "tolerance"),
        ({"engine": "steps"}, OptionError, "steps"),
    ],
)
def test_a_loss_is_refused_by_name(swap: Model, options: dict[str, Any], error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named):
        margin(swap, X, **{"radius": 0.1, **options})


@pytest.mark.parametrize(
    ("combination", "options", "error", "named"),
    [
        ([1.0], {}, DataError, "each of the 2 outputs"),
        ([1.0, float("nan")], {}, DataError, "finite"),
        ([1.0, 0.0], {"radius": 0.1}, OptionError, "radius"),
        ([1.0, 0.0], {"targets": (1,)}, OptionError, "targets"),
    ],
)
def test_a_range_is_refused_by_name(
    swap: Model, combination: list[float], options: dict[str, Any], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        output_range(swap, combination, **options)


@pytest.mark.parametrize("options", [{}, {"grid": 2}])
def test_ranges_of_an_int8_net_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    # Its engines know by how much one class leads another: asked for other values, they would prove too much.
    model = load(random_int8(np.random.default_rng(4), tmp_path / "int8.onnx"))
    with pytest.raises(OptionError, match="quantised"):
        output_range(model, np.eye(model.classes)[0], **options)


def test_what_needs_several_bounds_rests_on_the_weakest(swap: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weakest([]) is Basis.RIGOROUS
    assert weakest([Basis.RIGOROUS, Basis.SOLVER, Basis.INTEGER]) is Basis.SOLVER
    prove = GreatestValue._prove

    def by_solver(self: GreatestValue, upper: float, basis: Basis) -> None:
        prove(self, upper, Basis.SOLVER if self.rows[0, 0] > 0 else basis)  # one side of the range, one target

    monkeypatch.setattr(GreatestValue, "_prove", by_solver)
    assert output_range(swap, [1.0, 0.0]).basis is Basis.SOLVER


def test_sides_out_of_order_are_an_alarm(swap: Model) -> None:
    found = margin(swap, X, 0.1)
    facts = {**vars(found), "lower": found.upper + 1e-3}
    with pytest.raises(SoundnessError, match="soundness alarm"):
        GreatestLoss(**facts)
