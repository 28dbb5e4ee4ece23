"""Everything that runs on a device gives its answers on one that is not the CPU (`tests/other_device.py`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from scipy import sparse

from bounds.attacks import ATTACKS, AttackOptions, AttackProblem
from bounds.attacks.universal import UniversalOptions, UniversalProblem, universal_perturbation
from bounds.lower import LOWER_BOUNDS, LowerBoundOptions, LowerBoundProblem
from bounds.lower.sampled_estimate import sampled_distance
from bounds.nodes.node_bounds import NodeBounds
from bounds.propagation.device_graph import TORCH_MAPS, DeviceGraph
from bounds.propagation.neuron_bounds import network_bounds
from bounds.reduced_net.reduced_net import reduce
from bounds.tightening.base import Effort
from bounds.tightening.raising import bounded
from encoders.arrays import FloatArray
from encoders.layer_graph.linear_maps import Convolution, Dense, Gather, LinearMap, Scale, Sparse
from encoders.question import CONVEX, Norm, Region, goals_for
from tests.draws import draws
from tests.encoders.nets import random_chain, unit_box
from tests.onnx_builder import to_onnx
from tests.other_device import OTHER, OtherTensor, other_device
from tests.shared_data import shared_data
from tests.test_trust import TOLERANCE, random_problem
from trainers.adversarial import ascend
from trainers.datasets import digits
from verifier.answer import ask, asked
from verifier.batching.scheduler import Question, Scheduler
from verifier.engines.input_splitting import InputSplitting
from verifier.engines.phase_search.adversaries import WitnessOptions
from verifier.engines.phase_search.search import Search, SearchOptions
from verifier.options import Options
from verifier.question.incumbent import Incumbent
from verifier.question.model import Model, load
from verifier.question.results import Result, Verdict

T = TypeVar("T")
NETS = Path(__file__).parents[1] / "trainers" / "nets"
ROWS = torch.arange(6.0, dtype=torch.float64).reshape(2, 3)
WIDTHS = (5, 7, 6, 3)
NET, CENTER = random_chain(5, WIDTHS)
PREDICTED = int(np.argmax(NET.evaluate(CENTER)[0]))


def both(run: Callable[[str], T]) -> tuple[T, T]:
    """What comes of it on the CPU, and on the other device."""
    expected = run("cpu")
    with other_device() as device:
        return expected, run(device)


@pytest.fixture(autouse=True)
def few_attacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """All have a test of their own; a question has time for a quick one."""
    monkeypatch.setattr("bounds.attacks.portfolio.ATTACKS", {"deepfool": ATTACKS["deepfool"]})
    monkeypatch.setattr("bounds.attacks.ball_search.BALLS", 1)
    monkeypatch.setattr("bounds.lower.relaxations.CAP_ROUNDS", 1)
    monkeypatch.setattr("bounds.attacks.carlini_wagner.WEIGHTS", 2)
    monkeypatch.setattr("bounds.attacks.carlini_wagner_linf.THRESHOLDS", 3)
    monkeypatch.setattr("bounds.attacks.lbfgs.WEIGHTS", 3)
    monkeypatch.setattr("bounds.attacks.square.LONGER", 5)


@pytest.fixture
def device() -> Iterator[str]:
    with other_device() as name:
        yield name


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(to_onnx(NET, tmp_path_factory.mktemp("net") / "net.onnx"))


@pytest.mark.parametrize(
    "mixed",
    [
        lambda x: x + ROWS,
        lambda x: ROWS.clone().add_(x),
        lambda x: torch.zeros(()).add_(x.sum()),
        lambda x: torch.cat([x, ROWS]),
        lambda x: torch.where(x > 1, x, ROWS),
        lambda x: x.index_copy(0, torch.arange(2), x),
        lambda x: x.gather(1, torch.zeros(2, 1, dtype=torch.int64)),
        lambda x: ROWS[x[:, 0] > 1],
        lambda x: x.index_put((torch.arange(2),), ROWS),
        lambda x: x @ ROWS.T,
        lambda x: x.numpy(),
        lambda x: np.asarray(x),
    ],
)
def test_what_cuda_refuses_is_refused(mixed: Callable[[torch.Tensor], object], device: str) -> None:
    with pytest.raises((RuntimeError, TypeError), match="device"):
        mixed(ROWS.to(device))


def test_what_cuda_allows_is_allowed(device: str) -> None:
    x = ROWS.to(device)
    assert x.device == OTHER
    for found in (x + 1, x * torch.tensor(2.0), x[torch.arange(2)], x[ROWS > 1], torch.where(x > 1, x, 0.0)):
        assert found.device == OTHER
    home = ROWS.clone()
    home[0], x[0] = x[1], ROWS[1]
    assert torch.equal(home, x.cpu())
    assert float(x.sum()) == 2 * float(ROWS[1].sum())
    start = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad((start * start).sum(), start)
    assert torch.equal(slope.cpu(), 2 * x.cpu())


def near(found: Any, expected: Any) -> None:
    """The same, but for what rounding makes of it."""
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


CONVOLUTION = Convolution(np.random.default_rng(0).normal(size=(2, 1, 2, 2)), (1, 3, 4), padding=(1, 0, 0, 1))
MAPS: list[LinearMap] = [
    Dense(np.arange(6.0).reshape(2, 3)),
    Scale(np.array([1.0, -2.0, 3.0])),
    Gather(np.array([2, -1, 0, 2]), 3),
    Sparse(sparse.csr_array(np.array([[0.0, 1.0, -2.0], [3.0, 0.0, 0.0]]))),
    CONVOLUTION,
]


@pytest.mark.parametrize("linear", MAPS, ids=lambda linear: type(linear).__name__)
def test_linear_maps(linear: LinearMap, device: str) -> None:
    assert {type(each) for each in MAPS} == set(TORCH_MAPS)
    matrix = np.asarray(linear.matrix().toarray())
    form = TORCH_MAPS[type(linear)](linear, torch.device(device), torch.float64)  # type: ignore[call-arg]
    x, y = (np.random.default_rng(1).random((3, size)) for size in matrix.shape[::-1])
    near(form.apply(torch.tensor(x, device=device)).cpu(), x @ matrix.T)
    near(form.adjoint(torch.tensor(y, device=device)).cpu(), y @ matrix)
    near(form.magnitude(torch.tensor(x, device=device)).cpu(), x @ np.abs(matrix).T)
    near(form.rows(torch.tensor([1, 0], device=device)).cpu(), matrix[[1, 0]])


SEARCHES = {
    "tangents": SearchOptions(chords_first=0, few_leaves=0),
    "a new net for every batch": SearchOptions(rebuild_below=2.0, batch=4),
    "a program for every node": SearchOptions(program_worth=0.0, effort=Effort(rounds=0), steps=0),
    "fresh attacks, no memory": SearchOptions(memory=0, witnesses=WitnessOptions(scout_after=0.0)),
}


@pytest.mark.thorough
@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.parametrize("options", SEARCHES.values(), ids=SEARCHES)
@pytest.mark.fewer(1)
def test_searches(options: SearchOptions, norm: Norm) -> None:
    for seed in (700, 705)[: draws(1, 2)]:

        def closed(device: str, seed: int = seed) -> tuple[float, float]:
            problem, incumbent, _ = random_problem(np.random.default_rng(seed), norm)
            search = Search(replace(problem, device=device), incumbent, lambda running: None, options)
            assert isinstance(search.device_graph.zeros(1), OtherTensor) == (device != "cpu")
            return search.run().lower, incumbent.upper

        expected, found = both(closed)
        assert found == pytest.approx(expected, abs=2 * TOLERANCE)


def same_answers(model: Model, x: Any, radius: float | None, **options: Any) -> Result:
    expected, found = both(lambda device: ask(model, x, radius, Options(device=device, **options)))
    same(found, expected)
    return found


def same(found: Result | Exception, expected: Result | Exception) -> None:
    assert isinstance(expected, Result), expected
    assert isinstance(found, Result), found
    assert found.verdict is expected.verdict
    if found.verdict is Verdict.EXACT:
        assert (found.lower, found.upper) == pytest.approx((expected.lower, expected.upper), abs=2e-6)


@pytest.mark.release
def test_a_search_that_looks_ahead(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.engines.phase_search.search.LARGE_NET", 0)
    monkeypatch.setattr("verifier.engines.phase_search.look_ahead.MANY_PHASES", -1)
    same_answers(model, CENTER, None)


@pytest.mark.release
def test_a_search_by_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.engines.phase_search.search.LARGE_NET", 0)
    monkeypatch.setattr("bounds.tightening.by_all_layers.FEWEST", 1)
    options = SearchOptions(
        effort=Effort(envelope_steps=0, all_layers_steps=5), root_steps=0, steps=0, program_share=0.0
    )

    def closed(device: str) -> tuple[float, float]:
        rng = np.random.default_rng(707)
        problem, incumbent, _ = random_problem(rng, Norm.LINF)
        region = problem.region
        incumbent.offer(rng.uniform(region.lower, region.upper, size=(200, region.center.size)), "chance")
        problem = replace(problem, device=device, tolerance=0.02)  # seven nodes
        search = Search(problem, incumbent, lambda running: None, options)
        proven = search.run().lower
        assert search.balls.stride < 1.0  # it has looked ahead by products
        return proven, incumbent.upper

    expected, found = both(closed)
    assert found == pytest.approx(expected, abs=2 * TOLERANCE)


def test_a_net_with_one_hidden_layer(tmp_path: Path) -> None:
    graph, center = random_chain(2, (12, 30, 3))
    found = same_answers(load(to_onnx(graph, tmp_path / "net.onnx")), center, None, engine="search")
    assert found.nodes > 0


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "radius"), [("linf", 0.045), ("linf", 0.06), ("l1", 0.71), ("l2", 0.15), ("l2", 0.3)])
def test_verify_on_a_digits_net(norm: str, radius: float) -> None:
    digit = load(NETS / "digits-64-32-32-10.onnx")
    found = same_answers(digit, digits("test").x[0], radius, norm=norm, engine="search")
    assert found.verdict in (Verdict.CERTIFIED, Verdict.FALSIFIED)


@pytest.mark.slow
def test_distance_on_a_digits_net() -> None:
    digit = load(NETS / "digits-64-32-32-10.onnx")
    assert same_answers(digit, digits("test").x[0], None, norm="l1").verdict is Verdict.EXACT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "norm"),
    [("search", "linf"), ("steps", "l1"), ("steps", "l2"), ("subsets", "l0"), ("highs", "linf"), ("cpsat", "l1")],
)
@pytest.mark.fewer(3)
def test_on_the_grid(engine: str, norm: str, model: Model) -> None:
    same_answers(model, np.round(4 * CENTER) / 4, None, norm=norm, engine=engine, grid=4)


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "norm"), [("highs", "l1"), ("subsets", "l0")])
def test_off_the_grid(engine: str, norm: str, model: Model) -> None:
    same_answers(model, CENTER, None, norm=norm, engine=engine)


@pytest.mark.slow
@pytest.mark.parametrize("norm", CONVEX)
def test_splits(norm: str, tmp_path: Path) -> None:
    graph, center = random_chain(51, (2, 5, 4, 2))
    found = same_answers(load(to_onnx(graph, tmp_path / "net.onnx")), center, None, norm=norm, engine="splits")
    assert found.nodes > 0


def test_boxes_of_a_property() -> None:
    def left(device: str) -> list[FloatArray]:
        region = Region(CENTER, CENTER - 0.4, CENTER + 0.4)
        net = DeviceGraph(NET, device)
        incumbent = Incumbent(
            region, Norm.LINF, lambda x: NET.evaluate(x.astype(np.float64)), NET.evaluate, lambda y: y[:, 0] < -np.inf
        )
        splits = InputSplitting.on(net, ((0, 1), (2,)), region, incumbent)
        for _ in range(3):
            splits.boxes = splits.left_of(splits.boxes)
        assert len(splits.boxes)
        return [part.cpu().numpy() for part in vars(splits.boxes).values()]

    for found, expected in zip(*both(left), strict=True):
        near(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize(("norm", "radius"), [(Norm.LINF, None), (Norm.L1, None), (Norm.L2, 0.1)])
@pytest.mark.fewer(2)
def test_samples_side_by_side(norm: Norm, radius: float | None, model: Model) -> None:
    samples = np.random.default_rng(3).random((2, WIDTHS[0])).astype(np.float32)

    def answered(device: str) -> list[Result | Exception]:
        options = Options(norm=norm, device=device)

        def question(x: Any) -> Question[Result]:
            return lambda clock: asked(model, x, radius, options, None, 0, None, None, clock)

        questions = ((k, question(x)) for k, x in enumerate(samples))
        return [found for _, found in sorted(Scheduler[Result](2).outcomes(questions))]

    for expected, found in zip(*both(answered), strict=True):
        same(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.fewer(3)
def test_attacks(name: str) -> None:
    region, options = unit_box(CENTER), AttackOptions(restarts=2, steps=2)
    goals = goals_for(PREDICTED, NET.classes, None, 0.0)
    for norm in CONVEX:

        def nearest(device: str, norm: Norm = norm) -> FloatArray:
            problem = AttackProblem(DeviceGraph(NET, device), region, norm, goals, region.reach(norm), options)
            return np.concatenate([one.distances for one in ATTACKS[name]().together([problem] * 2)])

        near(*both(nearest))


@pytest.mark.parametrize("name", LOWER_BOUNDS)
@pytest.mark.fewer(2)
def test_lower_bounds(name: str) -> None:
    region, options = unit_box(CENTER), LowerBoundOptions(balls=1, steps=1)
    for norm in sorted(LOWER_BOUNDS[name].norms):

        def proven(device: str, norm: Norm = norm) -> FloatArray:
            net = DeviceGraph(NET, device)
            problem = LowerBoundProblem(net, (region,) * 2, (PREDICTED,) * 2, norm, (0.5, 0.3), options)
            return LOWER_BOUNDS[name]().run(problem).distances

        near(*both(proven))


@pytest.mark.parametrize("norm", CONVEX)
def test_what_bounds_rest_beside(norm: Norm) -> None:
    region, inputs = unit_box(CENTER), np.random.default_rng(1).random((5, WIDTHS[0]))
    classes = NET.evaluate(inputs).argmax(axis=1)
    options = UniversalOptions(restarts=2, steps=3)

    def everything(device: str) -> FloatArray:
        net = DeviceGraph(NET, device)
        universal = UniversalProblem(net, inputs, classes, region.lower, region.upper, norm, 0.3)
        shared = universal_perturbation(universal, options)
        estimate = sampled_distance(net, region, norm, goals_for(PREDICTED, NET.classes, None, 0.0), 0.3)
        labels = torch.as_tensor(classes, device=net.device)
        moved = ascend(net.forward, net.tensor(inputs), labels, norm, 0.3, 2, start=False)
        return np.concatenate([shared, [estimate], moved.cpu().numpy().ravel()])

    near(*both(everything))


@pytest.mark.parametrize("name", ["wk17a.onnx", "rsl18a.onnx"])
def test_nodes_of_a_large_net(name: str) -> None:
    graph, x = load(shared_data(name)).graph, np.load(shared_data("mnist_test.npz"))["x"][0].reshape(-1) / 255.0
    region, radius = unit_box(x), 0.02
    goals = goals_for(int(np.argmax(graph.evaluate(x)[0])), graph.classes, None, 0.0)

    def distances(device: str) -> FloatArray:
        net = DeviceGraph(graph, device)
        engine = NodeBounds(reduce(net, network_bounds(net, region, Norm.LINF, radius), goals))
        nodes, seen = bounded(engine, engine.roots(), 2, 10.0 * radius, Effort(rounds=1, envelope_steps=1))
        assert int((nodes.phase == 0).sum()) > 0
        return np.asarray(seen.distance.cpu().numpy())

    near(*both(distances))
