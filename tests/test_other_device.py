"""Everything that runs on a device gives its answers on one that is not the CPU (`tests/other_device.py`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse

from bounds.ascent import Effort
from bounds.attacks import ATTACKS, AttackOptions, AttackProblem
from bounds.attacks.universal import UniversalOptions, UniversalProblem, universal_perturbation
from bounds.estimates import sampled_distance
from bounds.lower import LOWER_BOUNDS, LowerBoundOptions, LowerBoundProblem
from bounds.lowered import TORCH_MAPS, Lowered
from encoders.graph import Graph
from encoders.linear_maps import Convolution, Dense, Gather, LinearMap, Scale, Sparse
from encoders.question import CONVEX, Norm, goals_for
from tests.encoders.nets import random_chain, unit_box
from tests.onnx_builder import to_onnx
from tests.other_device import OTHER, OtherTensor, other_device
from tests.shared_data import shared_data
from tests.test_trust import TOLERANCE, random_problem
from trainers.adversarial import ascend
from trainers.datasets import digits
from verifier.engines.search import Search, SearchOptions
from verifier.engines.witnesses import WitnessOptions
from verifier.model import Model, load
from verifier.query import Options, ask, asked
from verifier.results import Result, Verdict
from verifier.sharing import Table

NETS = Path(__file__).parents[1] / "trainers" / "nets"
ROWS = torch.arange(6.0, dtype=torch.float64).reshape(2, 3)
WIDTHS = (6, 8, 7, 4)


@pytest.fixture
def device() -> Iterator[str]:
    with other_device() as name:
        yield name


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(to_onnx(random_chain(5, WIDTHS)[0], tmp_path_factory.mktemp("net") / "net.onnx"))


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
    home[0] = x[1]
    x[0] = ROWS[1]
    assert torch.equal(home, x.flip(0).cpu() + 0 * ROWS) or torch.equal(x[0].cpu(), ROWS[1])
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


@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.parametrize("options", SEARCHES.values(), ids=SEARCHES)
def test_searches(options: SearchOptions, norm: Norm, device: str) -> None:
    for seed in (700, 705, 708):
        found = []
        for where in ("cpu", device):
            problem, incumbent, _ = random_problem(np.random.default_rng(seed), norm)
            search = Search(replace(problem, device=where), incumbent, lambda lower, upper: None, options)
            found.append((search.run().lower, incumbent.upper))
            assert isinstance(search.lowered.zeros(1), OtherTensor) == (where == device)
        assert found[1] == pytest.approx(found[0], abs=2 * TOLERANCE)


@pytest.mark.parametrize("engine", ["auto", "search"])
@pytest.mark.parametrize("norm", CONVEX)
def test_a_looked_ahead_search(engine: str, norm: Norm, model: Model, device: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("verifier.engines.search.LARGE_NET", 0)
    monkeypatch.setattr("verifier.engines.search.MANY_PHASES", -1)
    same_answers(model, random_chain(5, WIDTHS)[1], None, device, norm=norm, engine=engine)


def same_answers(model: Model, x: Any, radius: float | None, device: str, **options: Any) -> Result:
    alone, there = (ask(model, x, radius, Options(device=where, **options)) for where in ("cpu", device))
    assert there.verdict is alone.verdict
    assert (there.lower, there.upper) == pytest.approx((alone.lower, alone.upper), abs=2e-6) or radius is not None
    return there


@pytest.mark.parametrize(("norm", "radius"), [(Norm.LINF, 0.05), (Norm.L1, 0.7), (Norm.L2, 0.29)])
def test_verify_on_a_digits_net(norm: Norm, radius: float, device: str) -> None:
    digit = load(NETS / "digits-64-32-32-10.onnx")
    found = same_answers(digit, digits("test").x[0], radius, device, norm=norm, engine="search")
    assert found.verdict in (Verdict.CERTIFIED, Verdict.FALSIFIED)


def test_distance_on_a_digits_net_with_convolutions(device: str) -> None:
    same_answers(load(NETS / "digits-conv.onnx"), digits("test").x[0], None, device, norm="l1")


@pytest.mark.parametrize(
    ("engine", "norm"),
    [("search", "linf"), ("steps", "l1"), ("steps", "l2"), ("subsets", "l0"), ("highs", "linf"), ("cpsat", "l1")],
)
def test_on_the_grid(engine: str, norm: str, model: Model, device: str) -> None:
    same_answers(model, np.round(4 * random_chain(5, WIDTHS)[1]) / 4, None, device, norm=norm, engine=engine, grid=4)


@pytest.mark.parametrize(("engine", "norm"), [("highs", "l1"), ("subsets", "l0")])
def test_off_the_grid(engine: str, norm: str, model: Model, device: str) -> None:
    same_answers(model, random_chain(5, WIDTHS)[1], None, device, norm=norm, engine=engine)


@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.parametrize("radius", [None, 0.1])
def test_samples_side_by_side(norm: Norm, radius: float | None, model: Model, device: str) -> None:
    samples = np.random.default_rng(3).random((4, WIDTHS[0])).astype(np.float32)

    def questions(where: str) -> Iterator[Any]:
        options = Options(norm=norm, device=where)
        for k, x in enumerate(samples):
            yield k, lambda clock, x=x: asked(model, x, radius, options, None, 0, None, None, clock, share=3)

    alone, there = (dict(Table[Result](3).outcomes(questions(where))) for where in ("cpu", device))
    for k, found in there.items():
        one = alone[k]
        assert isinstance(one, Result), one
        assert isinstance(found, Result), found
        assert found.verdict is one.verdict
        if radius is None:
            assert (found.lower, found.upper) == pytest.approx((one.lower, one.upper), abs=2e-6)


def lowered(device: str) -> tuple[Lowered, Lowered, Graph, Any]:
    graph, center = random_chain(5, WIDTHS)
    return Lowered(graph), Lowered(graph, device), graph, unit_box(center)


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks(name: str, device: str) -> None:
    home, there, graph, region = lowered(device)
    predicted = int(np.argmax(graph.evaluate(region.center)[0]))
    for norm in CONVEX:
        asked_of = [
            AttackProblem(
                net, region, norm, goals_for(predicted, 4, None, 0.0), region.reach(norm), AttackOptions(0, None, 6, 6)
            )
            for net in (home, there)
        ]
        one, other = (ATTACKS[name]().together([problem, problem]) for problem in asked_of)
        for found, expected in zip(other, one, strict=True):
            np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", LOWER_BOUNDS)
def test_lower_bounds(name: str, device: str) -> None:
    home, there, graph, region = lowered(device)
    predicted = int(np.argmax(graph.evaluate(region.center)[0]))
    for norm in sorted(LOWER_BOUNDS[name].norms):
        one, other = (
            LOWER_BOUNDS[name]().run(
                LowerBoundProblem(net, (region,) * 2, (predicted,) * 2, norm, (0.5, 0.3), LowerBoundOptions(2, 3))
            )
            for net in (home, there)
        )
        np.testing.assert_allclose(other.distances, one.distances, rtol=1e-6, atol=1e-9)


def test_universal_perturbations_and_estimates(device: str) -> None:
    home, there, graph, region = lowered(device)
    x = np.random.default_rng(1).random((9, WIDTHS[0]))
    predicted = graph.evaluate(x).argmax(axis=1)
    goals = goals_for(int(predicted[0]), 4, None, 0.0)
    for norm in CONVEX:
        one, other = (
            universal_perturbation(
                UniversalProblem(net, x, predicted, region.lower, region.upper, norm, 0.3), UniversalOptions(3, 5)
            )
            for net in (home, there)
        )
        near(other, one)
        one, other = (sampled_distance(net, unit_box(x[0]), norm, goals, 0.3) for net in (home, there))
        near(other, one)
        one, other = (
            ascend(net.forward, net.tensor(x), torch.as_tensor(predicted).to(net.device), norm, 0.3, 3, start=False)
            for net in (home, there)
        )
        near(other.cpu(), one)


@pytest.mark.parametrize("name", ["wk17a.onnx", "rsl18a.onnx"])
def test_a_large_net(name: str, device: str) -> None:
    large, data = load(shared_data(name)), np.load(shared_data("mnist_test.npz"))
    x = data["x"][0].astype(np.float32) / np.float32(255)
    found = ask(large, x, None, Options(device=device, engine="search", time_limit=2.0))
    assert 0 < found.lower < found.upper
