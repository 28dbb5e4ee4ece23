"""The engines against brute force over all activation patterns: hundreds of tiny nets, every kind of question.

`tests/draws.py` says how many, and from which seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import bounds.nodes.node_bounds
import bounds.nodes.output_constrained
import bounds.propagation.neuron_bounds
import bounds.semidefinite.parabolas
import verifier.engines.phase_search.search
from bounds.envelopes.cube import CubeEnvelope, CubeTangents
from bounds.geometry.relu_over_simplex import Above, above_relu
from bounds.nodes.linear_program import NodeProgram, Proven
from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes, Pass
from bounds.propagation.sample_groups import Grouping
from bounds.semidefinite.parabolas import Parabolas, Touch
from bounds.tightening.base import Effort
from encoders.arrays import FloatArray
from encoders.deadline import Deadline
from encoders.errors import SoundnessError
from encoders.layer_graph.graph import Affine, Graph, Input, Node, Relu, affine_chain
from encoders.layer_graph.linear_maps import Convolution, Dense, Gather, Scale
from encoders.question import CONVEX, Norm, Region, goals_for
from tests.draws import TRUST_EXAMPLES, TRUST_FIRST
from tests.exact_distances import exact_distance
from verifier.engines.adapters import SearchEngine
from verifier.engines.base import Engine, Proof
from verifier.engines.mixed_integer import HighsEngine
from verifier.engines.phase_search.open_nodes import OpenNodes
from verifier.engines.phase_search.search import SearchOptions
from verifier.engines.phase_search.stage import Stage
from verifier.question.incumbent import Incumbent
from verifier.question.problem import Problem

pytestmark = pytest.mark.usefixtures("quick_attacks")

TOLERANCE = 1e-6


def random_net(rng: np.random.Generator) -> Graph:
    """At most ten ReLUs: dense, convolutional, residual or max; with ties, dead neurons, zeros, odd scales."""
    kind = rng.choice(["dense", "deep", "convolution", "residual", "maximum"])
    classes = int(rng.integers(2, 4))

    def draw(*shape: int) -> FloatArray:
        values = rng.normal(size=shape)
        if rng.random() < 0.3:
            values = np.round(values)  # zeros and ties
        return np.asarray(values, dtype=np.float32).astype(np.float64)

    scale = float(rng.choice([1.0, 1.0, 1.0, 2.0**12, 2.0**-12]))
    if kind == "dense":
        inputs, width = int(rng.integers(1, 5)), int(rng.integers(1, 8))
        first, bias = draw(width, inputs), draw(width)
        if width > 2 and rng.random() < 0.4:
            first[1], bias[1] = first[0], bias[0]  # a tie
            bias[2] = -50.0  # a dead neuron
        return affine_chain([first * scale, draw(classes, width)], [bias * scale, draw(classes)])
    if kind == "deep":
        return affine_chain(
            [draw(4, 3) * scale, draw(4, 4), draw(classes, 4) / scale], [draw(4), draw(4), draw(classes)]
        )
    if kind == "convolution":
        layer = Convolution(draw(2, 1, 2, 2), (1, 3, 3), (1, 1), (0, 0, 0, 0))
        nodes: tuple[Node, ...] = (
            Input(9), Affine((0,), (layer,), draw(8)), Relu(1, 8),
            Affine((2,), (Dense(draw(classes, 8)),), draw(classes)),
        )  # fmt: skip
        return Graph(nodes, (1, 3, 3))
    if kind == "residual":
        nodes = (
            Input(3), Affine((0,), (Dense(draw(4, 3)),), draw(4)), Relu(1, 4),
            Affine((2, 1), (Dense(draw(4, 4)), Scale(draw(4))), draw(4)), Relu(3, 4),
            Affine((4, 2), (Dense(draw(classes, 4)), Dense(draw(classes, 4))), draw(classes)),
        )  # fmt: skip
        return Graph(nodes, (3,))
    # max(x0, x1), max(x2, x3) = x0 + relu(x1 - x0), …, then a ReLU layer
    gap = Dense(np.array([[-1.0, 1, 0, 0], [0, 0, -1, 1]]))
    nodes = (
        Input(4), Affine((0,), (gap,), np.zeros(2)), Relu(1, 2),
        Affine((2, 0), (Gather(np.arange(2), 2), Gather(np.array([0, 2]), 4)), np.zeros(2)),
        Affine((3,), (Dense(draw(5, 2)),), draw(5)), Relu(4, 5),
        Affine((5,), (Dense(draw(classes, 5)),), draw(classes)),
    )  # fmt: skip
    return Graph(nodes, (4,))


def random_problem(rng: np.random.Generator, norm: Norm) -> tuple[Problem, Incumbent, int]:
    graph = random_net(rng)
    size = graph.input_size
    center = rng.random(size).astype(np.float32).astype(np.float64)
    if rng.random() < 0.3:
        center = np.round(center)  # on the edge of the box
    lower, upper = np.zeros(size), np.ones(size)
    if rng.random() < 0.3:
        frozen = rng.random(size) < 0.4
        lower, upper = np.where(frozen, center, lower), np.where(frozen, center, upper)
    region = Region(center, lower, upper)
    predicted = int(np.argmax(graph.evaluate(center)[0]))
    targets = None
    if rng.random() < 0.3:
        targets = (int(rng.choice([t for t in range(graph.classes) if t != predicted])),)
    margin = float(rng.choice([0.0, 0.0, 0.25]))
    goals = goals_for(predicted, graph.classes, targets, margin)

    def wins(scores: FloatArray) -> NDArray[np.bool_]:
        won = [((scores @ goal.rows.T + goal.offset) <= 0).all(axis=1) for goal in goals]
        return np.asarray(np.any(won, axis=0))

    incumbent = Incumbent(region, norm, lambda x: graph.evaluate(x.astype(np.float64)), graph.evaluate, wins)
    ceiling = region.reach(norm) * (1 + 1e-9) + 1e-12
    problem = Problem(graph, region, norm, goals, ceiling, None, TOLERANCE, Deadline.after(None))
    return problem, incumbent, predicted


EAGER = SearchOptions(chords_first=0, few_leaves=0)


def closed(engine: Engine, problem: Problem, incumbent: Incumbent) -> Proof:
    return engine.close(problem, incumbent, lambda running: None)


def disagreement(engine: Engine, seed: int, norm: Norm, strict: float) -> str | None:
    """What is wrong with the engine's answer on one net, in words; None if nothing is."""
    problem, incumbent, _ = random_problem(np.random.default_rng(seed), norm)
    expected = exact_distance(problem.graph, problem.region, norm, problem.goals)
    proof = closed(engine, problem, incumbent)
    slack = strict * max(1.0, expected if np.isfinite(expected) else 1.0)
    if proof.lower > expected + slack and not (np.isinf(expected)):
        return f"seed {seed}: lower {proof.lower!r} above the distance {expected!r}"
    if incumbent.upper < expected - slack:
        return f"seed {seed}: upper {incumbent.upper!r} below the distance {expected!r}"
    if np.isinf(expected):
        return None if proof.lower >= problem.ceiling else f"seed {seed}: {proof.lower!r}, but no adversary exists"
    if proof.lower < expected - 3 * TOLERANCE:
        return f"seed {seed}: lower {proof.lower!r} never reached the distance {expected!r}"
    return None


@pytest.mark.thorough
@pytest.mark.parametrize("norm", list(CONVEX))
@pytest.mark.parametrize("block", range(4))
@pytest.mark.fewer(3)
def test_search_is_exact(norm: Norm, block: int) -> None:
    share = max(1, TRUST_EXAMPLES // 4)
    strict = 1e-6 if norm is Norm.L2 else 2e-8  # the oracle's quadratic programs are solved less exactly
    # Small nets are closed before they come to all that a search may try: every second one tries it at once.
    engines = SearchEngine(), SearchEngine(EAGER)
    wrong = [disagreement(engines[k % 2], TRUST_FIRST + 1000 * block + k, norm, strict) for k in range(share)]
    assert [w for w in wrong if w] == []


@pytest.mark.thorough
@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L1])
def test_highs_is_exact(norm: Norm) -> None:
    wrong = [disagreement(HighsEngine(), 5000 + k, norm, 1e-6) for k in range(max(1, TRUST_EXAMPLES // 8))]
    assert [w for w in wrong if w] == []


# -- faults: each must be seen by the comparison above or by the alarm ---------------------------------------------


def caught(seen: int, norm: Norm = Norm.LINF, seeds: range = range(60), options: SearchOptions | None = None) -> bool:
    """Whether some net shows the fault: that of the seed `seen`, which once did, is asked first."""
    for seed in (seen, *seeds):
        try:
            if disagreement(SearchEngine(options), seed, norm, 2e-8):
                return True
        except SoundnessError:
            return True
    return False


def test_a_bound_made_too_high_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine: Callable[..., Pass] = NodeBounds.evaluate

    def inflated(self: NodeBounds, nodes: Nodes, *lines: object) -> Pass:
        seen = genuine(self, nodes, *lines)
        return replace(seen, distance=seen.distance * 1.01)

    monkeypatch.setattr(bounds.nodes.node_bounds.NodeBounds, "evaluate", inflated)
    assert caught(3)


@pytest.mark.slow
def test_a_dropped_child_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    search = verifier.engines.phase_search.search.Search
    genuine = search._settle

    def forgetful(
        self: verifier.engines.phase_search.search.Search,
        stage: Stage,
        nodes: Nodes,
        seen: Pass,
        inherited: object,
    ) -> None:
        keep = torch.arange(len(nodes) - 1 if len(nodes) > 2 else len(nodes))
        genuine(self, stage, nodes.take(keep), seen.take(keep), inherited[keep])  # type: ignore[index]

    monkeypatch.setattr(search, "_settle", forgetful)
    # Without the cap and without steps, so that nets as small as these need a tree at all.
    options = SearchOptions(effort=Effort(rounds=0), steps=0, shallow_steps=0, root_steps=0, program_share=0.0)
    assert caught(64, seeds=range(200), options=options)


def test_a_goal_called_cleared_with_nodes_open_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenNodes, "goals", np.zeros(0, dtype=np.int64))
    # Balls that are given up soon, with nodes open: what is cleared is not asked about again on the next.
    weak = Effort(rounds=0, fine_steps=0)
    options = SearchOptions(
        patience=1, batch=2, effort=weak, steps=0, shallow_steps=0, root_steps=0, program_share=0.0
    )  # fmt: skip
    assert caught(23, seeds=range(200), options=options)


def test_a_program_that_overstates_itself_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = NodeProgram.raised

    def inflated(self: NodeProgram, radius: float, time_limit: float | None) -> Proven:
        found = genuine(self, radius, time_limit)
        return replace(found, seen=replace(found.seen, distance=1.05 * found.seen.distance))

    monkeypatch.setattr(NodeProgram, "raised", inflated)
    options = SearchOptions(effort=Effort(rounds=0), steps=0, shallow_steps=0, root_steps=0, program_worth=0.0)
    assert caught(31, seeds=range(200), options=options)


def test_a_cap_that_is_too_small_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = bounds.nodes.output_constrained.on_the_cap

    def smaller(engine: NodeBounds, nodes: Nodes, seen: Pass, radius: float, lines: object) -> Nodes:
        return genuine(engine, nodes, seen, 0.98 * radius)

    monkeypatch.setattr("bounds.tightening.by_cut.on_the_cap", smaller)
    assert caught(99, seeds=range(200))


def test_tangents_that_cut_too_low_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = CubeEnvelope.lines

    def lower(
        self: CubeEnvelope, group: Grouping, tangents: CubeTangents, weight: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        normal, height, error = genuine(self, group, tangents, weight)
        return normal, 0.9 * height, error

    monkeypatch.setattr(CubeEnvelope, "lines", lower)
    assert caught(3, seeds=range(200), options=EAGER)


def test_parabolas_that_cut_too_low_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bounds.tightening.by_one_layer.FEW", 1)
    genuine = Parabolas.lines

    def lower(
        self: Parabolas, group: Grouping, tangents: Touch, weight: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        normal, height, error = genuine(self, group, tangents, weight)
        return normal, 0.9 * height, error

    monkeypatch.setattr(Parabolas, "lines", lower)
    assert caught(3, seeds=range(200), options=EAGER)


def test_inputs_that_pay_too_little_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bounds.tightening.by_one_layer.FEW", 1)
    genuine = bounds.semidefinite.parabolas._greatest
    monkeypatch.setattr("bounds.semidefinite.parabolas._greatest", lambda rows: 0.3 * genuine(rows))
    assert caught(300, seeds=range(400), options=replace(EAGER, effort=Effort(envelope_steps=0)))


@pytest.mark.parametrize(
    ("place", "factor", "seen"),
    [("bounds.envelopes.simplex.above_relu", 0.9, 3), ("bounds.propagation.neuron_bounds.above_relu", 0.5, 50)],
)
def test_envelopes_that_are_too_low_are_caught(
    monkeypatch: pytest.MonkeyPatch, place: str, factor: float, seen: int
) -> None:
    def lower(*arguments: Any) -> Above:
        found = above_relu(*arguments)
        return replace(found, normal=factor * found.normal, value=factor * found.value)

    monkeypatch.setattr(place, lower)
    assert caught(seen, Norm.L1, seeds=range(400))


def test_shrunken_neuron_bounds_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = bounds.propagation.neuron_bounds.network_bounds

    def shrunk(*arguments: object, **options: object) -> object:
        found = genuine(*arguments, **options)  # type: ignore[arg-type]
        for i in found.opened:
            found.opened[i].upper.mul_(0.9)
        return found

    monkeypatch.setattr("verifier.engines.phase_search.stage.network_bounds", shrunk)
    assert caught(75, seeds=range(200))


def test_a_lying_engine_raises_the_alarm() -> None:
    rng = np.random.default_rng(0)
    problem, incumbent, _ = random_problem(np.random.default_rng(0), Norm.LINF)
    while not np.isfinite(exact_distance(problem.graph, problem.region, problem.norm, problem.goals)):
        problem, incumbent, _ = random_problem(np.random.default_rng(rng.integers(10**6)), Norm.LINF)

    class Liar(SearchEngine):
        async def _solve(self, problem: Problem, incumbent: Incumbent, progress: object) -> Proof:
            proof = await super()._solve(problem, incumbent, lambda running: None)
            return Proof(proof.lower * 1.001, proof.basis)

    with pytest.raises(SoundnessError, match="soundness alarm"):
        closed(Liar(), problem, incumbent)
