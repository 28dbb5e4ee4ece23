"""The sentence of a question that stayed open, and what an unresolved decision leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoders.deadline import Clock, Stop
from encoders.layer_graph.graph import affine_chain
from encoders.question import Norm
from tests.onnx_builder import to_onnx
from trainers.datasets import digits
from verifier.answer import asked, distance
from verifier.batching.request import run_alone
from verifier.engines.base import Capabilities, Engine, Proof
from verifier.engines.phase_search.search import Search
from verifier.engines.phase_search.stage import Stage
from verifier.greatest_value import GreatestValue, KnownValue
from verifier.margin_answer import margin, margin_asked, range_asked
from verifier.network_difference import difference_asked
from verifier.options import Options
from verifier.question.incumbent import Incumbent
from verifier.question.model import load
from verifier.question.problem import Problem, Progress
from verifier.question.results import Basis, Verdict
from verifier.question.side_by_side import SideBySide
from verifier.why_open import Moves, why_open


def moves(*seen: tuple[float, float, float]) -> Moves:
    found = Moves()
    for moment, lower, upper in seen:
        found.see(moment, lower, upper)
    return found


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([(0, 0.0, 1.0), (1, 0.1, 0.9), (2, 0.2, 0.9)], "neither side moved"),
        ([(0, 0.0, 1.0), (1, 0.1, 0.9), (8, 0.2, 0.9)], "only the lower side still moved"),
        ([(0, 0.0, 1.0), (1, 0.1, 0.9), (8, 0.1, 0.8)], "only the upper side still moved"),
        ([(0, 0.0, float("inf")), (8, 0.1, 0.8)], "both sides still moved"),
        ([(0, 0.0, 1.0), (8, 1e-6, 1.0)], "neither side moved"),  # nothing to speak of
    ],
)
def test_which_side_moved_last(seen: list[tuple[float, float, float]], expected: str) -> None:
    told = why_open(moves(*seen), 9.0, 40, "auto", "cpu", ended_early=True, stopped=False)
    assert told.startswith("40 phases are open; 9 s were not enough, and in the last third of it ")
    assert expected in told


def test_what_to_try() -> None:
    stuck = moves((0, 0.0, 1.0))

    def told(open_phases: int, engine: str = "auto", device: str = "cpu", stopped: bool = False) -> str:
        return why_open(stuck, 9.0, open_phases, engine, device, ended_early=True, stopped=stopped)

    assert told(40).endswith("try --engine highs")
    assert told(40, engine="highs").endswith("try more time")
    assert told(900).endswith("try a GPU (--device cuda); HiGHS is of use below some 80 open phases")
    assert "cuda" not in told(900, device="cuda")
    assert told(1, stopped=True).startswith("1 phase is open; stopped after 9 s")
    ended = why_open(stuck, 9.0, 0, "auto", "cpu", ended_early=False, stopped=False)
    assert ended.startswith("no phase is open, and what is left lies between real arithmetic and the file's numbers")


@pytest.mark.parametrize(("engine", "expected"), [("auto", "numbers: leave it open"), ("search", "try --engine auto")])
def test_there_is_no_tolerance_on_a_grid(engine: str, expected: str) -> None:
    told = why_open(moves((0, 0.0, 1.0)), 9.0, 0, engine, "cpu", ended_early=False, stopped=False, on_grid=True)
    assert told.endswith(expected)


def test_only_what_is_open_says_why(tmp_path: Path) -> None:
    net = load(to_onnx(affine_chain([np.eye(2)], [np.zeros(2)]), tmp_path / "swap.onnx"))
    x = np.array([0.75, 0.25], dtype=np.float32)
    assert distance(net, x).why_open is None
    clock = Clock(Stop())
    clock.stop.ask()
    found = run_alone(asked(net, x, None, Options(), None, 0, None, None, clock))
    assert found.verdict is Verdict.UNRESOLVED
    assert found.why_open is not None
    assert found.why_open.startswith("the search had not begun; stopped after ")


class Stuck(Engine):
    """An engine that decides nothing, and after which nobody has time left."""

    name = "stuck"
    capabilities = Capabilities(frozenset(Norm), Basis.RIGOROUS)

    def __init__(self, stop: Stop) -> None:
        self.stop = stop

    def _close(self, problem: Problem, incumbent: Incumbent, progress: Progress) -> Proof:
        self.stop.ask()
        return Proof(0.0, Basis.RIGOROUS, 1, 17)


def test_open_losses_ranges_and_differences_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = load(Path(__file__).parents[2] / "trainers" / "nets" / "digits-64-32-32-10.onnx"), digits("test").x[3]
    monkeypatch.setattr(GreatestValue, "_attack", lambda value: None)  # what one backward pass leaves is open
    sentence = "17 phases are open; stopped after "

    def until_stuck() -> Clock:
        stop = Stop()
        monkeypatch.setattr("verifier.greatest_value.engine_for", lambda name: Stuck(stop))
        return Clock(stop)

    loss = run_alone(margin_asked(net, x, 0.1, Options(), clock=until_stuck()))
    assert loss.verdict == "unresolved"
    assert str(loss.why_open).startswith(sentence)
    assert "try more time or --engine highs" in str(loss.why_open)
    row = np.eye(10)[0] - np.eye(10)[1]
    known = (KnownValue(), KnownValue(41.0))  # nearer than the least value's bracket comes
    found = run_alone(range_asked(net, row, Options(), x, 0.1, clock=until_stuck(), known=known))
    assert str(found.why_open).startswith(f"of the least value, {sentence}")
    apart = run_alone(difference_asked(SideBySide((net, net)), x, 0.1, Options(), clock=until_stuck()))
    assert str(apart.why_open).startswith(sentence)
    ended = Clock(Stop())
    ended.stop.ask()
    assert "the search had not begun" in str(run_alone(margin_asked(net, x, 0.1, Options(), clock=ended)).why_open)
    monkeypatch.undo()
    closed = margin(net, x, 0.01)
    assert (closed.verdict, closed.why_open) == ("exact", None)


def test_the_sides_of_a_negated_value_change_places() -> None:
    seen = moves((0, 0.0, 1.0), (8, 0.2, 1.0))
    assert seen.since(6.0) == (True, False)
    assert seen.negated.since(6.0) == (False, True)
    assert seen.negated.lower[0] == (0, -1.0)


def test_an_unresolved_decision_leaves_the_largest_radius_that_passes_prove(monkeypatch: pytest.MonkeyPatch) -> None:
    """Roots on a ball far too large prove nothing, and the time ends before anything else does."""
    net = load(Path(__file__).parents[2] / "trainers" / "nets" / "digits-64-32-32-10.onnx")
    stop, honest = Stop(), Search._prove_less
    roots: list[float] = []

    def last(search: Search, stage: Stage) -> None:
        roots.append(stage.lowest)
        honest(search, stage)
        stop.ask()

    monkeypatch.setattr(Search, "_prove_less", last)
    turns = asked(net, digits("test").x[3], 0.1038, Options(engine="search"), None, 0, None, None, Clock(stop))
    found = run_alone(turns)
    assert found.verdict is Verdict.UNRESOLVED
    assert 0.05 < found.lower < 0.1038
    assert roots[0] < 0.5 * found.lower
