"""What the search says of a decision that stays open: how little the goals' first rows can be."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest
import torch

from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes, Pass
from bounds.tightening.by_all_layers import ByAllLayers
from bounds.tightening.by_one_layer import ByOneLayer
from encoders.arrays import FloatArray, Inputs
from encoders.deadline import Deadline
from encoders.layer_graph.graph import Graph, affine_chain
from encoders.question import CONVEX, Goal, Norm, Region
from tests.brute_force import OracleError
from tests.draws import draws
from tests.exact_distances import exact_greatest
from tests.test_trust import random_net
from verifier.batching.scheduler import Scheduler
from verifier.engines.phase_search.search import Search, SearchOptions
from verifier.engines.phase_search.stage import Stage
from verifier.question.incumbent import By, Incumbent
from verifier.question.problem import Problem, Running

pytestmark = pytest.mark.usefixtures("quick_attacks")


class Deaf(Incumbent):
    """Accepts no adversary, so that a search at a threshold that is reached goes on to the end."""

    def offer(self, candidates: FloatArray, by: By) -> bool:
        return False


@dataclass
class Told:
    """A decision about rows · scores ≥ threshold on a ball, and what a search of it tells before each batch."""

    graph: Graph
    region: Region
    norm: Norm
    radius: float
    goals: tuple[Goal, ...]
    most: int = 5  # batches; then the question is called off
    least: list[float] = field(default_factory=list)

    def search(self, options: SearchOptions | None = None) -> Search:
        ceiling = float(np.nextafter(self.radius * (1.0 + 1e-9), np.inf)) + 1e-12
        problem = Problem(
            self.graph, self.region, self.norm, self.goals, ceiling, self.radius, 1e-6, Deadline(None), values=True
        )
        deaf = Deaf(self.region, self.norm, self.scores, self.graph.evaluate, lambda scores: np.zeros(len(scores), "?"))

        def tell(running: Running) -> None:
            self.least.append(running.least_row)
            if len(self.least) >= self.most:
                problem.deadline.clock.stop.ask()

        return Search(problem, deaf, tell, options or SearchOptions())

    def scores(self, inputs: Inputs) -> FloatArray:
        return self.graph.evaluate(inputs.astype(np.float64))


def ramp(threshold: float) -> Told:
    """relu(2x - 1) around 0.5: at most 0.5 within 0.25, which the chord of its one neuron says as well."""
    graph = affine_chain([np.array([[2.0]]), np.array([[1.0], [0.0]])], [np.array([-1.0]), np.zeros(2)])
    region = Region(np.array([0.5]), np.zeros(1), np.ones(1))
    return Told(graph, region, Norm.LINF, 0.25, (Goal(0, np.array([[-1.0, 0.0]]), np.array([threshold])),))


def test_by_hand() -> None:
    told = ramp(0.2)
    told.search().run()
    assert told.least[0] == pytest.approx(0.2 - 0.5, abs=1e-6)
    assert told.least[0] <= 0.2 - 0.5


def test_where_everything_is_closed_no_row_is_negative() -> None:
    told = ramp(0.6)
    told.search().run()
    assert told.least[-1] == 0.0


def test_a_row_among_others_counts_by_its_weight() -> None:
    """Half of 0.2 - relu(h) and half of a constraint that is -1 everywhere: φ ≥ -0.65, and the first row ≥ -1.3."""
    told = ramp(0.2)
    stage = opened(told, (Goal(0, np.array([[-1.0, 0.0], [0.0, 0.0]]), np.array([0.2, -1.0])),))
    roots = stage.phases.roots()
    found = stage.phases.first_row(roots, stage.phases.evaluate(roots), stage.target)
    assert found.tolist() == pytest.approx([-1.3], abs=1e-6)
    assert float(found) <= -1.3


def opened(told: Told, goals: tuple[Goal, ...]) -> Stage:
    told.goals = goals
    search = told.search()
    stage = Stage.opened(search.problem, search.incumbent, search.device_graph, search.problem.ceiling)
    assert stage is not None
    return stage


def test_nothing_is_told_of_less_than_the_ball_nor_where_a_leaf_proves_less() -> None:
    told = ramp(0.2)
    stage = opened(told, told.goals)
    nodes = stage.phases.roots()
    stage.keep(nodes, torch.zeros(1))
    assert stage.least_row == -np.inf  # of a node that nothing was asked of
    stage.frontier.pop_all()
    assert stage.least_row == 0.0
    stage.close(torch.tensor([0.2]))
    assert stage.least_row == -np.inf
    smaller = ramp(0.2)
    smaller.radius = 0.3
    stage = opened(smaller, smaller.goals)
    stage.radius = 0.29
    assert stage.least_row == -np.inf


@cache
def cases(norm: Norm, count: int) -> list[tuple[Graph, Region, float, FloatArray, float]]:
    """Random nets, balls and leads of the predicted class, with the greatest of these."""
    found: list[tuple[Graph, Region, float, FloatArray, float]] = []
    seed = 0
    while len(found) < count:
        seed += 1
        rng = np.random.default_rng(seed)
        graph = random_net(rng)
        center = rng.random(graph.input_size)
        region = Region(center, np.zeros_like(center), np.ones_like(center))
        radius = float(rng.choice([0.1, 0.3, 20.0]))
        own = int(np.argmax(graph.evaluate(center[None])[0]))
        rows = np.delete(np.eye(graph.classes), own, axis=0) - np.eye(graph.classes)[own]
        try:
            truth = exact_greatest(graph, region, norm, radius, rows)
        except OracleError:
            continue
        found.append((graph, region, radius, rows, truth.lower))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("norm", "forced"),
    [*[(norm, None) for norm in CONVEX], (Norm.LINF, ByOneLayer), (Norm.LINF, ByAllLayers)],  # possible in L∞ alone
)
def test_no_row_is_less_than_what_is_told(
    norm: Norm, forced: type[ByOneLayer | ByAllLayers] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At thresholds that are reached, where an adversary's nodes stay open for as long as there are any."""
    if forced is not None:
        monkeypatch.setattr(forced, "applies", classmethod(lambda cls, engine, effort: cls.possible(engine)))
    near = 0
    for graph, region, radius, rows, greatest in cases(norm, draws(2, 60)):
        size = max(1.0, abs(greatest))
        for below in (1e-3 * size, 0.3 * size):
            goals = tuple(Goal(k, -row[None], np.array([greatest - below])) for k, row in enumerate(rows))
            told = Told(graph, region, norm, radius, goals)
            told.search(SearchOptions(batch=2, program_share=0.0)).run()
            least = np.array(told.least)
            assert (least[np.isfinite(least)] <= -below + 1e-9 * size).all()
            near += bool((least > -2.0 * below).any())
    assert near  # some say nearly as much as there is


@pytest.mark.parametrize("norm", list(CONVEX))
@pytest.mark.fewer(1)
def test_no_row_is_less_where_decisions_share_batches(norm: Norm) -> None:
    """Nets of unlike sizes side by side: each row belongs to its own net and node."""
    asked: list[tuple[Told, float]] = []
    for graph, region, radius, rows, greatest in cases(norm, draws(6, 40)):
        threshold = greatest - 0.03 * max(1.0, abs(greatest))
        goals = tuple(Goal(k, -row[None], np.array([threshold])) for k, row in enumerate(rows))
        asked.append((Told(graph, region, norm, radius, goals), greatest - threshold))
    searches = [told.search(SearchOptions(batch=4, program_share=0.0)) for told, _ in asked]
    questions = enumerate([lambda _, one=search: one.solve() for search in searches])
    ended = [proof for _, proof in Scheduler(4).outcomes(questions)]
    assert not [proof for proof in ended if isinstance(proof, Exception)]
    least = [np.array(told.least) for told, _ in asked]
    assert any(np.isfinite(rows).any() for rows in least)
    for rows, (_, below) in zip(least, asked, strict=True):
        assert (rows[np.isfinite(rows)] <= -below + 1e-9 * max(1.0, below / 0.03)).all()


@pytest.mark.slow
def test_constraints_are_further_rows() -> None:
    checked = 0
    for seed in range(draws(8, 80)):
        rng = np.random.default_rng(seed)
        graph = random_net(rng)
        center = rng.random(graph.input_size)
        region = Region(center, np.zeros_like(center), np.ones_like(center))
        own = int(np.argmax(graph.evaluate(center[None])[0]))
        row = np.eye(graph.classes)[(own + 1) % graph.classes] - np.eye(graph.classes)[own]
        points = np.clip(center + rng.uniform(-0.3, 0.3, (4000, center.size)), 0.0, 1.0)
        scores = graph.evaluate(points)
        second = np.eye(graph.classes)[(own + 2) % graph.classes]
        bound = float(np.median(scores @ second))  # half of the ball keeps it
        value = float((scores @ row)[scores @ second <= bound].max())
        goal = Goal(0, np.stack([-row, second]), np.array([value - 0.05, -bound]))
        told = Told(graph, region, Norm.LINF, 0.3, (goal,))
        told.search(SearchOptions(batch=2, program_share=0.0)).run()
        least = np.array(told.least)
        assert (least[np.isfinite(least)] <= -0.05 + 1e-9 * max(1.0, abs(value))).all()
        checked += bool(np.isfinite(least).any())
    assert checked


def test_a_row_that_says_too_much_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = NodeBounds.first_row

    def halved(self: NodeBounds, nodes: Nodes, seen: Pass, radius: float) -> torch.Tensor:
        return 0.5 * genuine(self, nodes, seen, radius)

    monkeypatch.setattr(NodeBounds, "first_row", halved)
    with pytest.raises(AssertionError):
        test_no_row_is_less_than_what_is_told(Norm.LINF, None, monkeypatch)
