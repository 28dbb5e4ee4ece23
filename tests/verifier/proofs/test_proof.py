"""Every true claim that the format has rules for gets a proof that is accepted; no false one gets any."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import verifier
from bounds.propagation.neuron_bounds import device_graph_for
from encoders.deadline import Deadline
from encoders.layer_graph.graph import affine_chain
from encoders.question import Norm, goals_for
from tests.draws import draws
from tests.encoders.nets import random_chain, two_two_two, unit_box
from tests.exact_distances import exact_distance
from tests.onnx_builder import to_onnx
from tests.verifier.proofs.accepted import accepted
from tests.verifier.test_constrained_questions import oracle
from verifier.checker import check
from verifier.options import Options
from verifier.proofs import proof as proof_module
from verifier.proofs.proof import proof_lines, unprovable, write_proof
from verifier.proofs.proof_search import ProofSearch
from verifier.proofs.proof_tree import ProofNode, ProofTree
from verifier.question.results import Result
from verifier.runs.samples import load_samples

pytestmark = pytest.mark.usefixtures("quick_attacks")

NORMS = ("linf", "l1", "l2")
NET = "trainers/nets/digits-64-32-32-10.onnx"


@pytest.mark.parametrize(("norm", "distance"), [("linf", 1 / 8), ("l1", 1 / 6)])
def test_a_distance_by_hand(tmp_path: Path, norm: str, distance: float) -> None:
    graph, x = two_two_two()
    model = verifier.load(to_onnx(graph, tmp_path / "net.onnx"))
    result = verifier.distance(model, x.astype(np.float32), norm=norm)
    found = write_proof(tmp_path / "0.proof", model, x, result)
    assert found.radius == pytest.approx(distance, abs=1e-5)
    accepted(tmp_path / "0.proof", model.path)
    statement = json.loads(gzip.decompress((tmp_path / "0.proof").read_bytes()).split(b"\n")[0])
    assert float.fromhex(statement["radius"]) == found.radius
    assert distance <= float.fromhex(statement["witness"]["distance"]) <= distance + 1e-5


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(draws(3, 6)))
@pytest.mark.fewer(3)
def test_random_nets(tmp_path: Path, norm: str, seed: int) -> None:
    graph, x = random_chain(seed, (3, 5, 4, 3))
    model = verifier.load(to_onnx(graph, tmp_path / "net.onnx"))
    x = x.astype(np.float32)
    targets = (int(np.argmin(model.scores(x[None])[0])),) if seed % 2 else None
    result = verifier.distance(model, x, norm=norm, targets=targets)
    found = write_proof(tmp_path / "0.proof", model, x, result, targets=targets)
    assert found.path is not None, found.why
    accepted(found.path, model.path)
    goals = goals_for(result.predicted, model.classes, targets, 0.0)
    true = exact_distance(model.graph, unit_box(x.astype(np.float64)), Norm(norm), goals)
    assert found.radius is not None
    assert found.radius < true
    if np.isfinite(true):
        assert found.radius > true - 1e-5


@pytest.mark.thorough
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(draws(3, 6)))
@pytest.mark.fewer
def test_no_tree_closes_a_ball_that_holds_an_adversary(tmp_path: Path, norm: str, seed: int) -> None:
    graph, x = random_chain(seed, (3, 5, 4, 3))
    model = verifier.load(to_onnx(graph, tmp_path / "net.onnx"))
    region, options = unit_box(x.astype(np.float32).astype(np.float64)), Options(norm=Norm(norm))
    predicted = int(np.argmax(model.scores(x.astype(np.float32)[None])[0]))
    goals = goals_for(predicted, model.classes, None, 0.0)
    true = exact_distance(model.graph, region, Norm(norm), goals)
    if not np.isfinite(true):
        pytest.skip("this net has no adversary")
    graph_here = device_graph_for(model.graph)
    assert proof_lines(graph_here, region, options.norm, goals, true * 1.001 + 1e-6, Deadline(30)) is None


@pytest.mark.slow
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.fewer(1)
def test_digits(tmp_path: Path, norm: str) -> None:
    model = verifier.load(NET)
    x = load_samples("digits", model.input_shape, model.classes, model.input_type).x[3]
    result = verifier.distance(model, x, norm=norm)
    found = write_proof(tmp_path / "0.proof", model, x, result)
    assert found.path is not None, found.why
    accepted(found.path, NET)
    assert found.path.stat().st_size < 50_000


@pytest.mark.parametrize("seed", [2, 8, 22, 44])
def test_ranges_as_long_down_as_up_follow_by_the_rule(tmp_path: Path, seed: int) -> None:
    """Whole weights around 0: the default slope at u = -l is that of the format, or ranges and caps do not follow."""
    rng = np.random.default_rng(seed)
    layers = [rng.integers(-2, 3, size).astype(np.float64) for size in ((3, 2), (3, 3), (2, 3))]
    graph = affine_chain(layers, [np.zeros(3), np.zeros(3), np.array([2.0, 0.0])])
    model = verifier.load(to_onnx(graph, tmp_path / "net.onnx"))
    x, box = np.zeros(2, dtype=np.float32), (-1.0, 1.0)
    found = write_proof(tmp_path / "0.proof", model, x, verifier.distance(model, x, box=box), box=box)
    assert found.path is not None, found.why
    accepted(found.path, model.path)


def test_verdicts_within_a_radius(tmp_path: Path) -> None:
    graph, x = two_two_two()
    model = verifier.load(to_onnx(graph, tmp_path / "net.onnx"))
    x = x.astype(np.float32)
    safe = verifier.verify(model, x, 0.1)
    assert write_proof(tmp_path / "safe.proof", model, x, safe).radius == 0.1
    accepted(tmp_path / "safe.proof", model.path)
    unsafe = verifier.verify(model, x, 0.2)
    assert write_proof(tmp_path / "unsafe.proof", model, x, unsafe).radius is None
    accepted(tmp_path / "unsafe.proof", model.path)


def test_no_adversary_anywhere(tmp_path: Path) -> None:
    graph, x = two_two_two()
    model = verifier.load(to_onnx(graph, tmp_path / "net.onnx"))
    result = verifier.distance(model, x.astype(np.float32), margin=5.0)
    assert result.lower == np.inf
    found = write_proof(tmp_path / "0.proof", model, x, result, margin=5.0)
    assert found.radius == pytest.approx(0.75)
    accepted(tmp_path / "0.proof", model.path)


@pytest.mark.parametrize(("seed", "norm"), [(4, "l1"), (8, "l2")])
def test_no_phase_is_open_and_the_goal_is_constant(tmp_path: Path, seed: int, norm: str) -> None:
    graph, x = random_chain(seed, (2, 4, 3, 2))
    model = verifier.load(to_onnx(graph, tmp_path / "net.onnx"))
    x = x.astype(np.float32)
    found = write_proof(tmp_path / "0.proof", model, x, verifier.distance(model, x, norm=norm))
    assert found.path is not None, found.why
    accepted(found.path, model.path)


def test_masked_inputs_and_boxes(tmp_path: Path) -> None:
    graph, x = two_two_two()
    model = verifier.load(to_onnx(graph, tmp_path / "net.onnx"))
    more: dict[str, Any] = {"mask": np.array([False, True]), "box": (-1.0, 2.0)}
    result = verifier.distance(model, x.astype(np.float32), **more)
    found = write_proof(tmp_path / "0.proof", model, x, result, **more)
    assert found.radius == pytest.approx(1 / 6, abs=1e-5)
    accepted(tmp_path / "0.proof", model.path)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.fewer(2)
def test_units_and_constraints(tmp_path: Path, norm: str, seed: int) -> None:
    """Proven as far as brute force says that the nearest adversary is, in units and among what is allowed."""
    graph, x = random_chain(seed, (3, 4, 3, 3))
    model = verifier.load(to_onnx(graph, tmp_path / "net.onnx"))
    x = x.astype(np.float32)
    rng = np.random.default_rng(seed)
    scale = np.array([1.0, 0.3, 3.0])
    matrix = rng.normal(size=(2, 3)) * [[1.0, 1.0, 0.0]]
    center = x.astype(np.float64)
    held = matrix, matrix @ center + (0.02 if seed % 2 else 9.0)  # far from all inputs of the box, or not
    more: dict[str, Any] = {"scale": scale, **({"constraints": held} if seed % 2 else {})}
    result = verifier.distance(model, x, norm=norm, **more)
    found = write_proof(tmp_path / "0.proof", model, x, result, **more)
    assert found.path is not None, found.why
    accepted(found.path, model.path)
    goals = goals_for(result.predicted, model.classes, None, 0.0)
    true = oracle(model.graph, unit_box(center), norm, goals, scale, held)
    assert found.radius is not None
    assert found.radius < true
    if np.isfinite(true):
        assert found.radius > true - 1e-5


def test_a_ball_that_cannot_be_closed_is_tried_a_little_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Still within the tolerance of the adversary; and where no ball is closed, time is not what is said to lack."""
    graph, x = two_two_two()
    model = verifier.load(to_onnx(graph, tmp_path / "net.onnx"))
    x = x.astype(np.float32)
    result = verifier.distance(model, x)
    lines, tried = proof_lines, []

    def refusing(graph_here: Any, region: Any, norm: Any, goals: Any, radius: float, *rest: Any) -> Any:
        tried.append(radius)
        return lines(graph_here, region, norm, goals, radius, *rest) if len(tried) == 2 else None

    monkeypatch.setattr(proof_module, "proof_lines", refusing)
    found = write_proof(tmp_path / "0.proof", model, x, result)
    assert found.radius == tried[1] < tried[0] <= result.lower
    assert result.upper - tried[1] < 1e-6
    accepted(tmp_path / "0.proof", model.path)
    assert write_proof(tmp_path / "1.proof", model, x, result).why == "no proof was found"
    tried.clear()
    safe = verifier.verify(model, x, 0.1)
    assert write_proof(tmp_path / "2.proof", model, x, safe).why == "no proof was found"
    assert tried == [0.1]


@pytest.mark.slow
def test_what_a_solver_says_is_its_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree that had no time for any node: each goal is the solver's word, and a rigorous result has no proof."""
    graph, x = two_two_two()
    model = verifier.load(to_onnx(graph, tmp_path / "net.onnx"))
    x = x.astype(np.float32)
    result = verifier.distance(model, x, engine="highs")
    assert str(result.basis) == "solver"
    whole = write_proof(tmp_path / "whole.proof", model, x, result)
    assert whole.claims == 0
    accepted(tmp_path / "whole.proof", model.path)
    monkeypatch.setattr(ProofSearch, "_closed_all", give_up)
    found = write_proof(tmp_path / "0.proof", model, x, result)
    assert (found.claims, found.why) == (1, "")
    verdict = check(tmp_path / "0.proof", model.path)
    assert (verdict.accepted, verdict.whole, verdict.claims) == (True, False, 1)
    lines = gzip.decompress((tmp_path / "0.proof").read_bytes()).splitlines()
    assert json.loads(lines[-1]) == {"claim": "highs"}
    assert write_proof(tmp_path / "none.proof", model, x, verifier.distance(model, x)).path is None


def give_up(search: ProofSearch) -> bool:
    """Roots, and nothing said of them."""
    count = len(search.engine.roots())
    search.tree = ProofTree(count, [ProofNode() for _ in range(count)])
    return False


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"norm": "l0"}, "l0 has no rule"),
        ({"execution": "float32"}, "real arithmetic"),
        ({"change": 0.1}, "changes"),
    ],
)
def test_what_has_no_rules_is_said(tmp_path: Path, options: dict[str, object], why: str) -> None:
    graph, _ = two_two_two()
    model = verifier.load(to_onnx(graph, tmp_path / "net.onnx"))
    told = unprovable(model, Options(**options))  # type: ignore[arg-type]
    assert told is not None
    assert why in told
    assert unprovable(model, Options(targets=(1,), grid=8)) is None


@pytest.mark.parametrize("norm", NORMS)
def test_on_a_grid_the_real_ball_of_all_nearer_points_is_proven(tmp_path: Path, norm: str) -> None:
    """Real adversaries begin at 1/8 (L∞), 1/6 (L1); on the grid of 1/20 at the next level, 3/20 and 4/20."""
    graph, x = two_two_two()
    model, x = verifier.load(to_onnx(graph, tmp_path / "net.onnx")), x.astype(np.float32)
    result = verifier.distance(model, x, norm=norm, grid=20)
    found = write_proof(tmp_path / "0.proof", model, x, result, grid=20)
    assert found.path is not None, found.why
    accepted(found.path, model.path)
    assert found.radius is not None
    before = np.nextafter(result.lower, 0.0)  # nothing of a level below is farther than this
    step = {"linf": 1 / 20, "l1": 1 / 20, "l2": None}[norm]
    if step is not None:
        assert result.lower - step < found.radius < before
    statement = json.loads(gzip.decompress(found.path.read_bytes()).split(b"\n")[0])
    assert statement["about"]["grid"] == 20
    certified = verifier.verify(model, x, before, norm=norm, grid=20)
    assert str(certified.verdict) == "certified"
    again = write_proof(tmp_path / "1.proof", model, x, certified, grid=20)
    assert again.radius == found.radius


@pytest.mark.parametrize("engine", ["auto", "highs"])
def test_levels_of_each_input_may_be_broadcast(tmp_path: Path, engine: str) -> None:
    """The proof is whole whoever found the distance; what it is said to rest on is what the record says."""
    graph, x = two_two_two()
    model, x = verifier.load(to_onnx(graph, tmp_path / "net.onnx")), x.astype(np.float32)
    result = verifier.distance(model, x, grid=np.array([20]), engine=engine)
    found = write_proof(tmp_path / "0.proof", model, x, result, grid=np.array([20]), engine=engine)
    assert found.path is not None, found.why
    accepted(found.path, model.path)
    statement = json.loads(gzip.decompress(found.path.read_bytes()).split(b"\n")[0])
    assert statement["rests_on"] == str(result.basis) == {"auto": "rigorous", "highs": "solver"}[engine]


@pytest.mark.slow
def test_real_adversaries_between_levels_leave_no_proof_on_a_grid(tmp_path: Path) -> None:
    """The other class wins around 0.35 alone, and no quarter lies there."""
    first, second = np.ones((3, 1)), np.array([[0.0, 0.0, 0.0], [1.0, -2.0, 1.0]])
    graph = affine_chain([first, second], [np.array([-0.3, -0.35, -0.4]), np.array([0.02, 0.0])])
    model, x = verifier.load(to_onnx(graph, tmp_path / "net.onnx")), np.zeros(1, np.float32)
    result = verifier.distance(model, x, grid=4)
    assert result.lower == np.inf
    found = write_proof(tmp_path / "0.proof", model, x, result, grid=4)
    assert (found.path, found.why) == (None, "no proof was found")


def test_a_proof_that_the_checker_refuses_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, x = two_two_two()
    model = verifier.load(to_onnx(graph, tmp_path / "net.onnx"))
    result: Result = verifier.distance(model, x.astype(np.float32))
    honest = proof_module.proof_lines

    def dropping_a_node(*given: object) -> list[dict[str, object]] | None:
        lines = honest(*given)  # type: ignore[arg-type]
        return None if lines is None else lines[:-1]

    monkeypatch.setattr(proof_module, "proof_lines", dropping_a_node)
    found = write_proof(tmp_path / "0.proof", model, x, result)
    assert found.path is None
    assert "the checker refuses it" in found.why
    assert not (tmp_path / "0.proof").exists()


def test_a_search_without_time_writes_nothing(tmp_path: Path) -> None:
    graph, x = two_two_two()
    model = verifier.load(to_onnx(graph, tmp_path / "net.onnx"))
    result = verifier.distance(model, x.astype(np.float32))
    found = write_proof(tmp_path / "0.proof", model, x, result, proof_time_limit=0.0)
    assert (found.path, found.why) == (None, "no proof was found in time")
