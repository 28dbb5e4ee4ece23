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
from encoders.layer_graph.graph import Graph, affine_chain
from encoders.question import Goal, Norm, Region, goals_for
from tests.brute_force import linear_pieces, nearest
from tests.encoders.nets import random_chain
from tests.exact_distances import digest, known, numbers_of
from tests.onnx_builder import to_onnx
from tests.small_files import gemm, head, node, written
from verifier import checker
from verifier.answer import distance, verify
from verifier.goals import incumbent_for
from verifier.options import Options
from verifier.proofs.proof import write_proof
from verifier.question.model import Model, load
from verifier.question.results import Result, Verdict
from verifier.regions import constrained
from verifier.runs.samples import load_scale

pytestmark = pytest.mark.usefixtures("brief_questions")
NORMS = ("linf", "l1", "l2")
SWAP = affine_chain([np.eye(2)], [np.zeros(2)])  # scores (x1, x2): the class changes where x2 reaches x1
X = np.array([0.75, 0.25], dtype=np.float32)
Constraints = tuple[FloatArray, FloatArray]


@pytest.fixture
def swap(tmp_path: Path) -> Model:
    return load(to_onnx(SWAP, tmp_path / "swap.onnx"))


def options_of(**given: Any) -> Options:
    """Options as a user gives them, lists and pairs included."""
    return Options(**given)


def rows(*given: tuple[list[float], float]) -> Constraints:
    """Constraints, a row and its bound each."""
    return np.array([row for row, _ in given]), np.array([bound for _, bound in given])


def oracle(
    graph: Graph, region: Region, norm: str, goals: tuple[Goal, ...], scale: FloatArray, constraints: Constraints
) -> float:
    """The distance by its definition, kept as others are."""
    name = digest(f"constrained {norm}", graph, region, [*numbers_of(goals), scale, *constraints])
    (found,) = known(name, lambda: (by_definition(graph, region, norm, goals, scale, constraints),))
    return found


def by_definition(
    graph: Graph, region: Region, norm: str, goals: tuple[Goal, ...], scale: FloatArray, constraints: Constraints
) -> float:
    """x' = x + scale · u, and the least ‖u‖ of every piece."""
    matrix, bound = constraints
    moves = Region(np.zeros_like(scale), (region.lower - region.center) / scale, (region.upper - region.center) / scale)
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
    point = found.input.reshape(-1)
    assert (found.input >= 0).all()
    assert (found.input <= 1).all()
    frozen = ~np.asarray(asked.get("mask", np.ones(x.size))).astype(bool)
    np.testing.assert_array_equal(point[frozen], x.reshape(-1)[frozen])
    for row, bound in zip(*constraints, strict=True):
        assert sum(Fraction(float(a)) * Fraction(float(v)) for a, v in zip(row, point, strict=True)) <= bound
    scores = model.scores(point[None])[0]
    np.testing.assert_array_equal(found.scores, scores)
    assert found.label == int(np.argmax(scores))
    assert found.label in asked.get("targets", {*range(model.classes)} - {result.predicted})
    assert scores[found.label] > np.delete(scores, found.label).max()
    lead = np.delete(scores, found.label).max() if "targets" in asked else scores[result.predicted]
    assert scores[found.label] - lead >= asked.get("margin", 0.0)
    moved = (point.astype(np.float64) - x.reshape(-1).astype(np.float64)) / scale
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


@pytest.mark.parametrize(
    ("engine", "norm", "scale", "constraints", "expected"),
    [(e, *row) for e in ("search", "highs") for row in BY_HAND if (e, row[0]) != ("highs", "l2")],
)
@pytest.mark.fewer(8)
def test_by_hand(
    swap: Model, engine: str, norm: str, scale: list[float], constraints: Constraints, expected: float
) -> None:
    found = check(swap, X, norm, np.array(scale), constraints, engine=engine)
    assert found.upper == pytest.approx(expected, abs=1e-5)


def test_what_does_not_keep_a_constraint_is_no_witness(swap: Model) -> None:
    """Both points change the class; x2 ≤ 1/2 rules out the nearer one, and only the other one counts."""
    options = options_of(constraints=rows(([0, 1], 0.5)))
    assert options.constraints is not None
    region = Region(X.astype(np.float64), np.zeros(2), np.ones(2))
    incumbent = incumbent_for(constrained(swap, options.constraints), region, options, predicted=0)
    assert not incumbent.offer(np.array([0.625, 0.75]), "hand")
    assert incumbent.offer(np.array([0.375, 0.5]), "hand")


def _random_constraints(seed: int, size: int) -> Constraints:
    """Two rows near the middle of the box, that hold or do not hold at a sample as it comes."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(2, size))
    return matrix, matrix.sum(axis=1) / 2 + random.normal(size=2) * 0.2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "norm", "asked"),
    [
        (1, "linf", {}),
        (2, "l1", {}),
        (3, "l2", {}),
        (4, "linf", {"targets": (1,)}),
        (5, "l1", {"margin": 0.1, "mask": [1, 1, 0]}),
        (6, "l2", {"targets": (0, 2), "margin": 0.05}),
        (7, "linf", {"engine": "highs", "mask": [1, 0, 1]}),
        (8, "l1", {"engine": "search"}),
    ],
)
@pytest.mark.fewer(2)
def test_small_nets_against_every_linear_piece(seed: int, norm: str, asked: dict[str, Any], tmp_path: Path) -> None:
    graph, x = random_chain(seed, (3, 4, 3, 3))
    model = load(to_onnx(graph, tmp_path / "net.onnx"))
    scale = np.exp(np.random.default_rng(seed).normal(size=3))
    check(model, x.astype(np.float32), norm, scale, _random_constraints(seed, 3), **asked)


@pytest.fixture
def skipping(tmp_path: Path) -> Model:
    """A convolution, and the image itself beside what it finds, on 2 × 2 pixels."""
    random = np.random.default_rng(3)
    constants = {
        "k": random.normal(size=(1, 1, 2, 2)).astype(np.float32),
        "one": random.normal(size=(1, 1, 1, 1)).astype(np.float32),
    } | head(random.normal(size=(3, 4)), random.normal(size=3) * 0.2)
    nodes = [
        node("Conv", ["x", "k"], ["c"], pads=[0, 0, 1, 1]),
        node("Relu", ["c"], ["r"]),
        node("Conv", ["x", "one"], ["d"]),
        node("Add", ["r", "d"], ["s"]),
        node("Flatten", ["s"], ["t"]),
        gemm(),
    ]
    return load(written(tmp_path / "skip.onnx", nodes, constants, inputs=(1, 1, 2, 2), outputs={"y": (1, 3)}))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.fewer(1)
def test_a_skip_past_a_convolution(skipping: Model, norm: str) -> None:
    x = np.random.default_rng(4).random((1, 2, 2)).astype(np.float32)
    check(skipping, x, norm, np.array([1.0, 0.5, 2.0, 0.3]), rows(([1, -1, 0, 1], 0.6), ([0, 0, -1, -1], -0.7)))


def test_a_file_of_doubles_keeps_them(tmp_path: Path) -> None:
    graph, x = random_chain(11, (2, 4, 2))
    model = load(to_onnx(graph, tmp_path / "double.onnx", kind=np.float64))
    found = check(model, x, "linf", np.array([0.3, 1.1]), rows(([1.0, 1.0], float(x.sum()) + 0.05)))
    assert found.adversary is not None


def test_behind_a_softmax(tmp_path: Path) -> None:
    nodes = [gemm("x", "s"), node("Softmax", ["s"], ["y"], axis=1)]
    model = load(written(tmp_path / "soft.onnx", nodes, head(np.eye(2), np.zeros(2)), inputs=(1, 2)))
    found = distance(model, X, norm="l1", scale=[1.0, 4.0], constraints=rows(([0, 1], 0.5)))
    # x2 rises by 1/4, which is a sixteenth of a unit; x1 falls by the other 1/4.
    assert found.upper == pytest.approx(0.25 + 1 / 16, abs=1e-5)
    assert found.verdict is Verdict.EXACT
    assert found.adversary is not None
    assert found.adversary.scores.shape == (2,)
    assert np.argmax(model.outputs(found.adversary.input[None])[0]) == 1


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.fewer(2)
def test_units_of_one_and_constraints_that_never_bind_change_nothing(norm: str, tmp_path: Path) -> None:
    graph, x = random_chain(21, (3, 6, 3))
    model, sample = load(to_onnx(graph, tmp_path / "net.onnx")), x.astype(np.float32)
    plain = distance(model, sample, norm=norm)
    for more in ({"scale": np.ones(3)}, {"constraints": rows(([1.0, 1.0, 1.0], 3.5))}):
        found = distance(model, sample, norm=norm, **more)
        assert found.verdict is plain.verdict is Verdict.EXACT
        assert found.upper == pytest.approx(plain.upper, abs=2e-6)
        assert found.lower == pytest.approx(plain.lower, abs=2e-6)


def test_how_many_inputs_move_within_constraints(swap: Model) -> None:
    assert distance(swap, X, norm="l0").upper == 1
    # Either input alone closes the gap unless x2 stays below 0.7 and x1 above 0.3.
    both = distance(swap, X, norm="l0", constraints=rows(([0, 1], 0.7), ([-1, 0], -0.3)))
    assert (both.verdict, both.lower, both.upper) == (Verdict.EXACT, 2.0, 2.0)


def test_an_equality_that_no_number_of_the_file_meets(swap: Model) -> None:
    """x1 + x2 = 1/3, as two rows: reals meet it, float32 numbers do not, and no answer may say more than that."""
    third = 1 / 3
    equality = rows(([1.0, 1.0], third), ([-1.0, -1.0], -third))
    for norm in NORMS:
        found = distance(swap, X, norm=norm, constraints=equality, time_limit=1.0)
        assert found.verdict is Verdict.UNRESOLVED
        assert found.upper == np.inf
        # (1/6, 1/6) is on both the line and the border: 7/12 and 1/12 away.
        truth = {"linf": 7 / 12, "l1": 8 / 12, "l2": np.hypot(7, 1) / 12}[norm]
        assert found.lower <= truth
    # x1 + x2 = 1 is met by float32 numbers, and by the witness without rounding.
    line = rows(([1.0, 1.0], 1.0), ([-1.0, -1.0], -1.0))
    found = distance(swap, X, constraints=line, time_limit=1.0)
    assert found.lower <= 0.25 <= found.upper
    if found.adversary is not None:
        check_witness(swap, X, found, np.ones(2), line)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.fewer(1)
def test_brackets_hold_however_little_time_there_is(norm: str, tmp_path: Path) -> None:
    graph, x = random_chain(31, (3, 5, 4, 3))
    model, sample = load(to_onnx(graph, tmp_path / "net.onnx")), x.astype(np.float32)
    scale, constraints = np.array([0.5, 2.0, 1.0]), _random_constraints(31, 3)
    predicted = int(np.argmax(model.scores(sample[None])))
    center = sample.astype(np.float64)
    region = Region(center, np.zeros(3), np.ones(3))
    truth = oracle(model.graph, region, norm, goals_for(predicted, 3, None, 0.0), scale, constraints)
    for limit in (1e-6, 0.02, 0.1):
        found = distance(model, sample, norm=norm, scale=scale, constraints=constraints, time_limit=limit)
        assert found.lower <= truth * (1 + 1e-6)
        assert found.upper >= truth * (1 - 1e-6)


def test_a_witness_keeps_every_constraint(swap: Model) -> None:
    options = options_of(constraints=rows(([0.0, 1.0], 0.5)))
    assert options.constraints is not None
    region = Region(X.astype(np.float64), np.zeros(2), np.ones(2))
    incumbent = incumbent_for(constrained(swap, options.constraints), region, options, 0)
    assert not incumbent.offer(np.array([[0.5, 0.75]]), "nobody")
    assert incumbent.offer(np.array([[0.25, 0.5]]), "somebody")


def test_whether_a_constraint_holds_is_decided_without_rounding() -> None:
    held = options_of(constraints=rows(([1.0, 1.0, -1.0], 0.0))).constraints
    assert held is not None
    # In float64 the small number is lost in the sum; it decides.
    points = np.array([[1.0, 2.0**-60, 1.0], [1.0, -(2.0**-60), 1.0], [1.0, 0.0, 1.0]])
    assert (np.sign(held.values(points)[:, 0]) == [1, -1, 0]).all()
    # 1 + 1.5 u comes out as 1 + 2 u, on the other side of a bound of 1.8 u.
    u = 2.0**-53
    near = options_of(constraints=rows(([1.0, 1.0, -1.0], 1.8 * u))).constraints
    assert near is not None
    assert (near.values(np.array([[1.0, 1.5 * u, 1.0], [1.5 * u, 1.0, 1.0]])) < 0).all()
    least = 2.0**-1074
    tiny = options_of(constraints=rows(([least, -least, -least], 0.0))).constraints
    assert tiny is not None
    assert tiny.values(np.array([[0.6, 0.4, 0.4]]))[0, 0] < 0  # 0.6 of the least number is rounded up, 0.4 to nothing


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scale": [1.0, 0.0]}, "scale: give a positive number"),
        ({"scale": [1.0, -1.0]}, "scale: give a positive number"),
        ({"scale": [1.0, np.nan]}, "scale: give a positive number"),
        ({"scale": []}, "scale: give a positive number"),
        ({"scale": "wide"}, "scale: give a positive number"),
        ({"scale": [1.0, 1e13]}, "scale: units that differ"),
        ({"scale": [1.0, 2.0, 3.0]}, "a scale of 3 entries does not fit the model's 2"),
        ({"scale": [1.0, 2.0], "norm": "l0"}, "scale is the unit of moves"),
        ({"scale": [1.0, 2.0], "grid": 4}, "scale is for real inputs"),
        ({"scale": [1.0, 2.0], "execution": "float32"}, "scale is for real inputs"),
        ({"constraints": 3}, "constraints: give a pair"),
        ({"constraints": ([[1.0, 2.0]], ["wide"])}, "constraints: give a pair"),
        ({"constraints": ([1.0, 2.0], [1.0])}, "constraints: give a matrix"),
        ({"constraints": ([[1.0, 2.0]], [1.0, 2.0])}, "constraints: give a matrix"),
        ({"constraints": (np.zeros((0, 2)), [])}, "constraints: give a matrix"),
        ({"constraints": ([[1.0, np.nan]], [1.0])}, "constraints: A and b hold NaN"),
        ({"constraints": ([[1.0, 2.0]], [np.inf])}, "constraints: A and b hold NaN"),
        ({"constraints": ([[1.0, 2.0, 3.0]], [1.0])}, "constraints on 3 inputs do not fit the model's 2"),
        ({"constraints": ([[1.0, 2.0]], [1.0]), "grid": 4}, "constraints is for real inputs"),
        ({"constraints": ([[1.0, 2.0]], [1.0]), "execution": "float32"}, "constraints is for real inputs"),
    ],
)
def test_what_is_refused_by_name(swap: Model, options: dict[str, Any], words: str) -> None:
    with pytest.raises((DataError, OptionError), match=words):
        distance(swap, X, **options)


def test_answers_with_and_without_are_told_apart() -> None:
    """Resume keys hold the digests of both, whatever shape a scale has."""
    plain = Options().record()
    assert plain["scale"] is None
    assert plain["constraints"] is None
    square = options_of(scale=[[1.0, 2.0], [3.0, 4.0]]).record()["scale"]
    assert square == options_of(scale=[1.0, 2.0, 3.0, 4.0]).record()["scale"]
    keys = {square, options_of(scale=[1.0, 2.0, 3.0, 5.0]).record()["scale"]}
    keys |= {options_of(constraints=([[1.0, 2.0]], [bound])).record()["constraints"] for bound in (1.0, 2.0)}
    assert len(keys) == 4
    assert all(isinstance(key, str) for key in keys)


def test_units_of_an_image_with_its_channels_last(tmp_path: Path) -> None:
    """f_1 - f_0 = Σ x of the second channel - 1.25 from 0, whose entries count in units of 1/4 and 1, 2.5 together:
    each moves by half of its unit. Units that went where they lie in memory would be others."""
    weights = np.zeros((2, 12))
    weights[1, 4:8] = 1.0
    graph = affine_chain([weights], [np.array([1.25, 0.0])])
    model = load(to_onnx(graph, tmp_path / "colour.onnx", (3, 2, 2)))
    scale = np.full((3, 2, 2), 8.0)
    scale[1] = [[0.25, 1.0], [1.0, 0.25]]
    x = np.zeros((3, 2, 2), dtype=np.float32)
    np.save(tmp_path / "scale.npy", np.moveaxis(scale, 0, 2))
    read = load_scale(tmp_path / "scale.npy", model.input_shape)
    for given in (scale, np.moveaxis(scale, 0, 2), scale.reshape(-1), read):
        result = distance(model, x, scale=given)
        assert result.lower == pytest.approx(0.5, rel=1e-6)
        assert result.upper == pytest.approx(0.5, rel=1e-6)
        found = write_proof(tmp_path / "0.proof", model, x, result, scale=given)
        assert found.path is not None
        assert checker.check(found.path, model.path).whole
