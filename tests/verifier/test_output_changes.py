"""Changes of one output: the least perturbation that moves it by more than D, held against the definition."""

from __future__ import annotations

import pickle
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import verifier
from encoders.errors import DataError, ModelError, OptionError
from encoders.layer_graph.graph import Graph, affine_chain
from encoders.question import Goal, Norm, Region
from tests.brute_force_greatest import grid_points
from tests.draws import draws
from tests.encoders.nets import random_chain
from tests.exact_distances import exact_distance
from tests.int8_builder import random_int8
from tests.onnx_builder import to_onnx
from tests.small_files import gemm, head, node, written
from verifier.question.incumbent import Incumbent
from verifier.question.model import Model
from verifier.question.output_change import OutputChange
from verifier.question.results import Result, Verdict
from verifier.sample_question import SampleQuestion

SIDES = {"up": (1.0,), "down": (-1.0,), "either": (1.0, -1.0)}
RISING = affine_chain([np.array([[2.0, 0.0]])], [np.array([-0.5])])  # y = 2 x0 - 1/2
# y = |x0 - 1/2| + |x1 - 1/2|
BOWL = affine_chain(
    [np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), np.ones((1, 4))],
    [np.array([-0.5, 0.5, -0.5, 0.5]), np.zeros(1)],
)


def loaded(graph: Graph, folder: Path, kind: Any = np.float32) -> Model:
    return verifier.load(to_onnx(graph, folder / "net.onnx", kind=kind))


def beyond(value: float, before: float, size: float, direction: str) -> bool:
    """Whether an output is farther away than `size`, in rational numbers."""
    moved = Fraction(value) - Fraction(before)
    return any(Fraction(sign) * moved > Fraction(size) for sign in SIDES[direction])


def check_witness(model: Model, result: Result, size: float, direction: str, output: int = 0) -> None:
    """The saved adversary by itself: replayed alone, its output is strictly beyond."""
    found = result.adversary
    assert found is not None
    scores = model.scores(found.input.reshape(1, -1))[0]
    np.testing.assert_array_equal(found.scores, scores)
    assert result.after == scores[output]
    assert result.before is not None
    assert beyond(float(scores[output]), result.before, size, direction)


@pytest.mark.parametrize(
    ("sample", "size", "direction", "truth"),
    [
        ([0.5, 0.5], 0.25, "either", 0.125),
        ([0.25, 0.5], 0.75, "up", 0.375),
        ([0.25, 0.5], 0.75, "down", np.inf),  # y goes no lower than -1/2
        ([0.25, 0.5], 0.25, "down", 0.125),
        ([0.25, 0.5], 0.75, "either", 0.375),
        ([0.25, 0.5], 2.0, "either", np.inf),
    ],
)
def test_a_line_by_hand(sample: list[float], size: float, direction: str, truth: float, tmp_path: Path) -> None:
    model = loaded(RISING, tmp_path)
    found = verifier.distance(model, sample, change=size, direction=direction)
    assert (found.verdict, found.before) == (Verdict.EXACT, 2 * sample[0] - 0.5)
    assert found.lower == pytest.approx(truth, abs=1e-6)
    assert found.lower <= truth
    if truth == np.inf:
        assert (found.upper, found.adversary, found.after) == (np.inf, None, None)
        return
    check_witness(model, found, size, direction)
    near = verifier.verify(model, sample, truth * (1 - 1e-6), change=size, direction=direction)
    assert (near.verdict, near.after) == (Verdict.CERTIFIED, None)
    far = verifier.verify(model, sample, truth * (1 + 1e-5), change=size, direction=direction)
    assert far.verdict is Verdict.FALSIFIED
    check_witness(model, far, size, direction)


@pytest.mark.parametrize(("norm", "up", "down"), [("linf", 0.1, 0.15), ("l1", 0.2, 0.3), ("l2", 0.02**0.5, 0.045**0.5)])
def test_a_bowl_has_two_sides(norm: str, up: float, down: float, tmp_path: Path) -> None:
    # At (3/4, 3/4) both inputs stand 1/4 from the bottom, y = 1/2: it rises and falls as fast as they move.
    model = loaded(BOWL, tmp_path)
    for size, direction, truth in ((0.2, "up", up), (0.3, "down", down), (0.2, "either", up), (0.6, "down", np.inf)):
        found = verifier.distance(model, [0.75, 0.75], norm=norm, change=size, direction=direction)
        assert found.verdict is Verdict.EXACT
        assert found.lower == pytest.approx(truth, abs=1e-5)


def test_a_changed_output_is_strictly_beyond(tmp_path: Path) -> None:
    # Everywhere in the box y reaches 3/2 at the most, which is D above 1/2 and no more.
    model = loaded(RISING, tmp_path)
    tie = verifier.distance(model, [0.5, 0.5], change=1.0, direction="up", time_limit=2.0)
    assert (tie.verdict, tie.adversary) == (Verdict.UNRESOLVED, None)
    assert tie.lower == pytest.approx(0.5, abs=1e-6)
    assert verifier.verify(model, [0.5, 0.5], 0.5, change=1.0, time_limit=1.0).verdict is Verdict.UNRESOLVED


@pytest.mark.parametrize("size", [1e-30, 1e-9, 0.1, 1 / 3, 1e30])
@pytest.mark.parametrize("before", [0.0, 0.1, -1 / 3, 1e-20, 12345.678])
def test_limits_are_rounded_against_neither_side(before: float, size: float) -> None:
    change = OutputChange.around(0, before, size)
    for sign, limit in ((1, change.most), (-1, change.least)):
        exact = Fraction(before) + sign * Fraction(size)
        goal = change.goals(1)[0 if sign > 0 else 1]
        proven = Fraction(float(goal.offset[0])) / Fraction(-float(goal.rows[0, 0]))
        assert sign * (proven - exact) <= 0  # a proof is about no less than the change asked for
        hairs = limit * np.array([1.0, 1 + 2.0**-52, 1 - 2.0**-53])
        for value in (*hairs, before):
            if change.beyond(np.array([[value]]))[0]:
                assert beyond(float(value), before, size, "either")
        next_one = float(np.nextafter(limit, sign * np.inf))
        assert change.beyond(np.array([[next_one]]))[0]


def truth_of(model: Model, region: Region, norm: Norm, before: float, size: float, direction: str, k: int) -> float:
    """The distance by its definition, on every linear piece."""
    row = np.eye(model.classes)[k, None]
    goals = [Goal(0, -sign * row, np.array([size + sign * before])) for sign in SIDES[direction]]
    return exact_distance(model.graph, region, norm, tuple(goals))


def asked(seed: int, folder: Path) -> tuple[Model, NDArray[Any], dict[str, Any], float]:
    """A random net and sample, a change that is reached somewhere or nearly, and y at the sample."""
    random = np.random.default_rng(seed)
    outputs = int(random.integers(1, 4))
    graph, x = random_chain(seed, (3, 5, 4, outputs))
    kind: Any = np.float64 if seed % 4 == 0 else np.float32
    model, x = loaded(graph, folder, kind), x.astype(kind)
    output = int(random.integers(outputs))
    before = float(model.scores(x[None])[0, output])
    values = model.real(random.random((200, 3)))[:, output]
    size = float(np.abs(values - before).max() * random.choice([0.2, 0.6, 1.05])) or 0.1
    options = {"change": size, "direction": str(random.choice(list(SIDES))), "output_index": output}
    return model, x, options, before


CASES = [("auto", "linf"), ("auto", "l1"), ("auto", "l2"), ("search", "linf"), ("search", "l1"), ("search", "l2")]
CASES += [("highs", "linf"), ("highs", "l1"), ("auto", "l0"), ("subsets", "l0"), ("highs", "l0")]


def nearest_l0(truth: Any, region: Region) -> float:
    """How few inputs must move: the least set of them that reaches an adversary at all."""
    size = region.center.size
    sets = sorted(product((False, True), repeat=size), key=sum)
    for free in sets:
        limits = [np.where(free, side, region.center) for side in (region.lower, region.upper)]
        if truth(Region(region.center, *limits), Norm.LINF) < np.inf:
            return float(sum(free))
    return float("inf")


@pytest.mark.thorough
@pytest.mark.usefixtures("quick_attacks")
@pytest.mark.parametrize(("engine", "norm"), CASES)
@pytest.mark.fewer(2)
def test_small_nets_against_every_linear_piece(engine: str, norm: str, tmp_path: Path) -> None:
    for seed in range(4, 4 + draws(1, 6)):
        model, x, options, before = asked(seed, tmp_path)
        size, direction, output = options["change"], options["direction"], options["output_index"]
        region = Region(x.astype(np.float64), np.zeros(3), np.ones(3))

        def truth_in(
            region: Region, norm: Norm, about: tuple[Any, ...] = (model, before, size, direction, output)
        ) -> float:
            return truth_of(about[0], region, norm, *about[1:])

        truth = nearest_l0(truth_in, region) if norm == "l0" else truth_in(region, Norm(norm))
        found = verifier.distance(model, x, norm=norm, engine=engine, **options)
        assert found.verdict is Verdict.EXACT, (seed, found, truth)
        assert found.lower <= truth * (1 + 1e-9) + 1e-9
        assert found.upper >= truth * (1 - 1e-6) - 1e-9
        if truth == np.inf:
            assert found.lower == np.inf
            continue
        assert found.upper == pytest.approx(truth, rel=1e-4, abs=1e-5)
        check_witness(model, found, size, direction, output)


def nothing_offered(self: Incumbent, candidates: NDArray[Any], by: Any) -> bool:
    del self, candidates, by
    return False


async def nothing_found(self: SampleQuestion, goals: Any, *_: Any) -> Any:
    del self
    return goals


@pytest.mark.thorough
@pytest.mark.usefixtures("quick_attacks")
@pytest.mark.parametrize(("engine", "norm"), CASES)
@pytest.mark.fewer(2)
def test_provers_by_themselves_prove_no_more_than_is_true(
    engine: str, norm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No adversary is ever known: nothing but the bounds says where proofs must end."""
    monkeypatch.setattr(SampleQuestion, "_attack", nothing_found)
    monkeypatch.setattr(Incumbent, "offer", nothing_offered)
    for seed in range(5, 5 + draws(1, 6)):
        model, x, options, before = asked(seed, tmp_path)
        size, direction, output = options["change"], options["direction"], options["output_index"]
        region = Region(x.astype(np.float64), np.zeros(3), np.ones(3))

        def truth_in(
            region: Region, norm: Norm, about: tuple[Any, ...] = (model, before, size, direction, output)
        ) -> float:
            return truth_of(about[0], region, norm, *about[1:])

        truth = nearest_l0(truth_in, region) if norm == "l0" else truth_in(region, Norm(norm))
        found = verifier.distance(model, x, norm=norm, engine=engine, time_limit=0.3, **options)
        assert found.lower <= truth * (1 + 1e-9) + 1e-9, (seed, found, truth)
        if truth < np.inf:
            within = 0.99 * truth if norm != "l0" else truth - 1
            assert verifier.verify(model, x, within, norm=norm, engine=engine, **options).verdict is Verdict.CERTIFIED
            over = verifier.verify(model, x, 1.01 * truth, norm=norm, engine=engine, time_limit=0.3, **options)
            assert over.verdict is Verdict.UNRESOLVED


@pytest.mark.thorough
@pytest.mark.usefixtures("quick_attacks")
@pytest.mark.parametrize("attacked", [True, False])
@pytest.mark.parametrize(
    ("engine", "norm"),
    [("auto", "linf"), ("auto", "l2"), ("auto", "l0"), ("cpsat", "linf"), ("cpsat", "l1"), ("steps", "l1"),
     ("highs", "linf"), ("subsets", "l0")],
)  # fmt: skip
@pytest.mark.fewer(3)
def test_every_input_of_a_grid(
    engine: str, norm: str, attacked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not attacked:
        monkeypatch.setattr(SampleQuestion, "_attack", nothing_found)
    levels = 3
    for seed in range(21, 21 + draws(1, 4)):
        model, _, options, _ = asked(seed, tmp_path)
        x = np.random.default_rng(seed).integers(0, levels + 1, 3).astype(np.float32) / np.float32(levels)
        before = float(model.scores(x[None])[0, options["output_index"]])
        inputs = grid_points(x, np.ones(3, dtype=np.bool_), levels, Norm.LINF, 1.0)
        values = model.real(inputs.astype(np.float64))[:, options["output_index"]]
        won = [beyond(float(v), before, options["change"], options["direction"]) for v in values]
        lengths = Norm(norm).length(inputs[np.array(won)].astype(np.float64) - x.astype(np.float64))
        truth = float(lengths.min(initial=np.inf))
        found = verifier.distance(model, x, norm=norm, engine=engine, grid=levels, **options)
        assert found.verdict is Verdict.EXACT
        assert found.upper == pytest.approx(truth, abs=1e-6)
        assert found.lower == pytest.approx(truth, abs=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l1", "l2"])
def test_with_units_and_constraints(norm: str, tmp_path: Path) -> None:
    # y = 2 x0 - 1/2 from x0 = 1/4: x0 ≤ 3/8 leaves rises of 1/4; a unit of 1/2 makes moves twice as long.
    model = loaded(RISING, tmp_path)
    limited: dict[str, Any] = {"norm": norm, "constraints": ([[1.0, 0.0]], [0.375]), "scale": [0.5, 1.0]}
    found = verifier.distance(model, [0.25, 0.5], change=0.2, direction="up", **limited)
    assert found.upper == pytest.approx(0.2, abs=1e-5)
    assert found.before == 0.0
    check_witness(model, found, 0.2, "up")
    assert verifier.distance(model, [0.25, 0.5], change=0.3, direction="up", **limited).lower == np.inf


def test_as_executed_the_replay_decides(tmp_path: Path) -> None:
    graph, x = random_chain(3, (3, 5, 4, 1))
    model, x = loaded(graph, tmp_path), x.astype(np.float32)
    real = verifier.distance(model, x, change=0.2)
    run = verifier.distance(model, x, change=0.2, execution="float32")
    assert run.execution_error is not None
    assert run.execution_error > 0
    assert run.lower <= real.upper
    assert run.upper == pytest.approx(real.upper, rel=1e-4)
    check_witness(model, run, 0.2, "either")


def test_perturbations_can_change_an_output(tmp_path: Path) -> None:
    # A shift of all pixels by v moves y = sum / 4 by v.
    graph = affine_chain([np.full((1, 4), 0.25)], [np.zeros(1)])
    model = verifier.load(to_onnx(graph, tmp_path / "mean.onnx", shape=(2, 2)))
    shifted = verifier.perturbations.brightness(model, np.full((2, 2), 0.5, dtype=np.float32))
    assert shifted.distance(change=0.125).upper == pytest.approx(0.125, abs=1e-6)


# -- what is refused, by name ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"change": 0.0}, "change"),
        ({"change": -1.0}, "change"),
        ({"change": float("nan")}, "change"),
        ({"change": 1e31}, "change"),
        ({"change": 1.0, "direction": "sideways"}, "choose from either, up, down"),
        ({"direction": "up"}, "give change"),
        ({"output_index": 0}, "give change"),
        ({"change": 1.0, "targets": (0,)}, "leave out one"),
        ({"change": 1.0, "margin": 1.0}, "leave out one"),
        ({"change": 1.0, "label": 0}, "leave label out"),
        ({"change": 1.0, "output_index": 1}, "has the outputs 0 to 0"),
        ({}, "change D"),
    ],
)
def test_what_is_refused(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises((OptionError, ModelError, DataError), match=words) as caught:
        verifier.distance(loaded(RISING, tmp_path), [0.5, 0.5], **options)
    assert "\n" not in str(caught.value)


def test_one_of_several_outputs_must_be_said(tmp_path: Path) -> None:
    model = loaded(random_chain(1, (3, 4, 2))[0], tmp_path)
    with pytest.raises(OptionError, match="say which one with output_index, 0 to 1"):
        verifier.verify(model, np.zeros(3), 0.1, change=1.0)


def test_questions_about_classes_refuse_one_output(tmp_path: Path) -> None:
    model = loaded(RISING, tmp_path)
    x = np.array([0.5, 0.5], dtype=np.float32)
    for ask in (
        lambda: verifier.verify(model, x, 0.1),
        lambda: verifier.margin(model, x, 0.1),
        lambda: verifier.distances(model, [x]),
        lambda: verifier.transfer_distance([model], x),
        lambda: verifier.universal_distance(model, [x]),
    ):
        with pytest.raises(ModelError, match="threshold T"):
            ask()
    span = verifier.output_range(model, [1.0])
    assert (span.least[1], span.greatest[0]) == (-0.5, 1.5)


@pytest.mark.parametrize("ask", [verifier.margin, verifier.transfer_distance])
def test_other_questions_refuse_a_change(ask: Any, tmp_path: Path) -> None:
    model = loaded(random_chain(1, (3, 4, 2))[0], tmp_path)
    about = (model, np.zeros(3), 0.1) if ask is verifier.margin else ([model], np.zeros(3))
    with pytest.raises(OptionError, match="change"):
        ask(*about, change=1.0, output_index=0)


def test_an_output_behind_a_sigmoid_is_refused(tmp_path: Path) -> None:
    nodes = [gemm("x", "t"), node("Sigmoid", ["t"], ["y"])]
    path = written(tmp_path / "net.onnx", nodes, head([[2]], [-0.5]), outputs={"y": (1, 1)})
    with pytest.raises(ModelError, match="Sigmoid is not piecewise linear"):
        verifier.distance(path, [0.0], change=0.1)
    with pytest.raises(OptionError, match="leave threshold out"):
        verifier.distance(verifier.load(path, threshold=0.5), [0.0], change=0.1)


def test_an_int8_net_is_refused(tmp_path: Path) -> None:
    # Its engines know whether a class wins: asked for anything else, they would prove something else.
    model = verifier.load(random_int8(np.random.default_rng(4), tmp_path / "int8.onnx"))
    with pytest.raises(OptionError, match="leave change out"):
        verifier.distance(model, np.zeros(model.input_shape), change=1.0, output_index=0, grid=2)


def test_workers_load_a_model_with_one_output(tmp_path: Path) -> None:
    model = pickle.loads(pickle.dumps(loaded(RISING, tmp_path)))
    assert model.scores(np.array([[0.5, 0.5]])).tolist() == [[0.5]]
    with pytest.raises(OptionError, match="leave y out"):
        verifier.distances(model, [[0.5, 0.5]], [1.5], change=0.25)
    found = verifier.distances(model, [[0.5, 0.5], [0.25, 0.5]], change=0.25).collected()
    assert [one.before for one in found.results] == [0.5, 0.0]
