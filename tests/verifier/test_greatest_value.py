"""The greatest value of scores over a ball against brute force: every phase of tiny nets, every input of a grid.

`tests/draws.py` says how many nets, and from which seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count as counting
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bounds.attacks import AttackProblem
from bounds.tightening import first_pass
from encoders.arrays import FloatArray, Inputs
from encoders.deadline import Deadline
from encoders.errors import SoundnessError
from encoders.layer_graph.graph import affine_chain
from encoders.question import CONVEX, Norm, Region
from tests.brute_force import OracleError
from tests.brute_force_greatest import Greatest, grid_points
from tests.draws import TRUST_EXAMPLES, TRUST_FIRST
from tests.exact_distances import exact_greatest
from tests.onnx_builder import to_onnx
from tests.small_files import f32
from tests.test_trust import random_net
from verifier.batching.request import run_alone
from verifier.engines.base import Engine, Proof
from verifier.engines.registry import ENGINES, engine_for
from verifier.greatest_value import GreatestValue
from verifier.margin_answer import TOLERANCE, Closed, GreatestLoss, margin
from verifier.options import Options
from verifier.question.incumbent import Incumbent
from verifier.question.model import Model, load
from verifier.question.problem import Problem, Progress, Running
from verifier.question.results import Basis

RADII = (0.0, 0.03, 0.2, 0.2, 0.7, 20.0)  # the last beyond every box
FLOAT32 = 3e-6  # what rounding inputs and scores can cost, relative to the size of the scores


@dataclass(frozen=True, eq=False)
class Question:
    """A net, a ball, and what brute force says of it."""

    model: Model
    x: Inputs
    label: int | None
    options: dict[str, Any]
    norm: Norm
    radius: float
    region: Region
    rows: FloatArray
    truth: Greatest

    @property
    def size(self) -> float:
        """How large scores are where the greatest loss is."""
        return max(1.0, float(np.abs(self.model.real(self.truth.point[None])).max()))

    def ask(self, **more: Any) -> GreatestLoss:
        return margin(self.model, self.x, self.radius, norm=self.norm, label=self.label, **self.options, **more)


def question(seed: int, norm: Norm, folder: Path) -> Question:
    """A random one: a skip, a convolution or a chain; float64 now and then, masks, boxes, labels, targets."""
    rng = np.random.default_rng(seed)
    graph = random_net(rng)
    kind: Any = np.float64 if rng.random() < 0.25 else np.float32
    model = load(to_onnx(graph, folder / f"greatest{seed}.onnx", kind=kind))
    size, box = graph.input_size, (-0.5, 1.25) if rng.random() < 0.25 else (0.0, 1.0)
    x = rng.random(size).astype(kind)
    if rng.random() < 0.3:
        x = np.round(x)  # on the edge of the box
    mask = rng.random(size) < 0.7 if rng.random() < 0.3 else None
    label = int(rng.integers(graph.classes)) if rng.random() < 0.5 else None
    against = int(np.argmax(model.scores(x[None])[0])) if label is None else label
    targets = [t for t in range(graph.classes) if t != against]
    options: dict[str, Any] = {"box": box, "mask": mask}
    if rng.random() < 0.3:
        options["targets"] = targets = [int(rng.choice(targets))]
    radius = float(rng.choice(RADII))
    center = x.astype(np.float64)
    free = np.ones(size, dtype=np.bool_) if mask is None else mask
    region = Region(center, np.where(free, box[0], center), np.where(free, box[1], center))
    identity = np.eye(graph.classes)
    rows = np.stack([identity[t] - identity[against] for t in targets])
    truth = exact_greatest(graph, region, norm, radius, rows)
    return Question(model, x, label, options, norm, radius, region, rows, truth)


def drawn(norm: Norm, folder: Path, first: int) -> Iterator[tuple[int, Question]]:
    """Questions from a seed on, without those that brute force does not vouch for."""
    for seed in counting(first):
        try:
            yield seed, question(seed, norm, folder)
        except OracleError:
            continue


class Nothing:
    """An attack that finds no more than the sample."""

    def __init__(self, problem: AttackProblem) -> None:
        self.inputs = problem.region.center[None]


def wrong(asked: Question, found: GreatestLoss, closes: bool = True, tolerance: float = TOLERANCE) -> str | None:
    """What is wrong with an answer, in words; None if nothing is."""
    hair, truth = 1e-9 * asked.size, asked.truth
    if found.lower > truth.upper + hair:
        return f"lower {found.lower!r} above {truth.upper!r}"
    if found.upper < truth.lower - hair:
        return f"upper {found.upper!r} below {truth.lower!r}"
    if found.worst is None:
        return "no worst input"
    inside, region = found.worst.input.astype(np.float64), asked.region
    if (inside < region.lower).any() or (inside > region.upper).any():
        return "the worst input lies outside the box"
    if asked.norm.length(inside - region.center) > asked.radius:
        return "the worst input lies outside the ball"
    if found.worst.input.dtype != asked.model.input_type:
        return "the worst input is not in the file's own numbers"
    replayed = float((asked.model.scores(inside[None]) @ asked.rows.T).max())
    if abs(replayed - found.lower) > FLOAT32 * asked.size:
        return f"lower {found.lower!r} replays to {replayed!r}"
    close = tolerance * max(1.0, abs(found.lower))
    if (found.verdict is Closed.EXACT) != (found.upper - found.lower <= close):
        return f"{found.verdict}, and the sides are {found.upper - found.lower!r} apart"
    rounding = FLOAT32 * asked.size > close
    if closes and found.verdict is not Closed.EXACT and not rounding:
        return f"not closed: [{found.lower!r}, {found.upper!r}], truth {truth.lower!r}"
    return None


CASES = [*[("auto", norm) for norm in CONVEX], *[("search", norm) for norm in CONVEX]]
CASES += [("highs", norm) for norm in (Norm.LINF, Norm.L1)]


@pytest.mark.thorough
@pytest.mark.parametrize(("engine", "norm"), CASES)
@pytest.mark.fewer(1)
def test_it_is_bracketed_and_closed(engine: str, norm: Norm, tmp_path: Path) -> None:
    number = max(2, TRUST_EXAMPLES // (3 if engine == "auto" else 8))
    first = TRUST_FIRST + (0 if engine == "auto" else 400)
    found = []
    for seed, asked in islice(drawn(norm, tmp_path, first), number):
        answer = asked.ask(engine=engine)
        if text := wrong(asked, answer, closes=engine != "highs"):
            found.append((seed, text))
    assert found == []


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L1])
@pytest.mark.fewer(1)
def test_decisions_alone_close_it(norm: Norm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # No attack, and no walk from a witness: every threshold that counts is one that the engine decided.
    monkeypatch.setattr("verifier.greatest_value.lowest_in_ball", Nothing)
    monkeypatch.setattr("verifier.greatest_value.lower_still", lambda problem, goal, start: start)
    found = []
    for seed, asked in islice(drawn(norm, tmp_path, TRUST_FIRST + 200), 3):
        answer = asked.ask(engine="search", tolerance=0.02)
        if text := wrong(asked, answer, tolerance=0.02):
            found.append((seed, text))
    assert found == []


@pytest.mark.thorough
@pytest.mark.parametrize("norm", list(CONVEX))
@pytest.mark.fewer(1)
def test_the_bracket_is_true_whenever_time_is_up(norm: Norm, tmp_path: Path) -> None:
    found = []
    for seed, asked in islice(drawn(norm, tmp_path, TRUST_FIRST + 700), max(2, TRUST_EXAMPLES // 8)):
        for limit in (1e-6, 0.01, 0.05):
            if text := wrong(asked, asked.ask(time_limit=limit), closes=False):
                found.append((seed, limit, text))
    assert found == []


@pytest.mark.thorough
def test_every_target_has_its_own_bracket(tmp_path: Path) -> None:
    found: list[tuple[Any, ...]] = []
    for seed, asked in islice(drawn(Norm.LINF, tmp_path, TRUST_FIRST + 900), max(2, TRUST_EXAMPLES // 8)):
        answer = asked.ask(each=True)
        assert answer.by_target is not None
        assert len(answer.by_target) == len(asked.rows)
        graph = asked.model.graph
        for row, (lower, upper) in zip(asked.rows, answer.by_target.values(), strict=True):
            truth = exact_greatest(graph, asked.region, asked.norm, asked.radius, row[None])
            if not (lower <= truth.upper + 1e-9 * asked.size and truth.lower - 1e-9 * asked.size <= upper):
                found.append((seed, row, lower, upper, truth.lower))
        lowers, uppers = zip(*answer.by_target.values(), strict=True)
        if max(lowers) != answer.lower or max(uppers) < answer.upper:
            found.append((seed, answer.lower, answer.upper, answer.by_target))
    assert found == []


# -- on a grid: every input of it ------------------------------------------------------------------------------------


def on_grid(seed: int, norm: Norm, folder: Path) -> tuple[Any, NDArray[np.float64], float]:
    """What to ask, its ball's inputs, and the greatest loss of all of them, as onnxruntime and as real numbers say."""
    rng = np.random.default_rng(seed)
    model = load(to_onnx(random_net(rng), folder / f"grid{seed}.onnx"))
    size = int(np.prod(model.input_shape))
    levels = int(rng.choice([1, 2, 3] if size < 5 else [1, 2]))
    free = np.arange(size) < 6
    x = (rng.integers(0, levels + 1, size) / levels).astype(np.float32)
    radius = float(rng.choice([0.0, 1.0, 1.5, 2.0, 20.0])) / levels
    inputs = grid_points(x, free, levels, norm, radius)
    scores = model.real(inputs.astype(np.float64))
    against = int(np.argmax(model.scores(x[None])[0]))
    truth = float((np.delete(scores, against, axis=1).max(axis=1) - scores[:, against]).max())

    def ask(**more: Any) -> GreatestLoss:
        return margin(model, x, radius, norm=norm, mask=free, grid=levels, **more)

    return ask, inputs.astype(np.float64), truth


GRID_CASES = [("auto", norm) for norm in CONVEX] + [("cpsat", Norm.LINF), ("cpsat", Norm.L1)]


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize("attacked", [True, False])
@pytest.mark.parametrize(("engine", "norm"), GRID_CASES)
@pytest.mark.fewer
def test_on_a_grid(engine: str, norm: Norm, attacked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not attacked:  # an attack that finds the greatest value hides what engines prove too much of
        monkeypatch.setattr(GreatestValue, "_attack", lambda self: None)
        monkeypatch.setattr("verifier.greatest_value.lower_still", lambda problem, goal, start: start)
    found: list[tuple[Any, ...]] = []
    for seed in range(TRUST_FIRST, TRUST_FIRST + max(2, TRUST_EXAMPLES // 8)):
        ask, inputs, truth = on_grid(seed, norm, tmp_path)
        answer = ask(engine=engine)
        hair = FLOAT32 * max(1.0, abs(truth))
        if not answer.lower - hair <= truth <= answer.upper + hair:
            found.append((seed, answer.lower, truth, answer.upper))
        if answer.worst is None or not (inputs == answer.worst.input.astype(np.float64)).all(axis=1).any():
            found.append((seed, "the worst input is none of the ball's"))
        if answer.verdict is not Closed.EXACT:
            found.append((seed, answer.verdict, answer.lower, answer.upper))
    assert found == []


# -- faults: each must be seen by the comparison above or by the alarm ---------------------------------------------


def caught(norm: Norm, folder: Path, first: int, number: int = 12, **options: Any) -> bool:
    """Whether some net shows the fault; that of the seed `first`, which once did, is asked first."""
    for _, asked in islice(drawn(norm, folder, first), number):
        try:
            if wrong(asked, asked.ask(**options), closes=False):
                return True
        except SoundnessError:
            return True
    return False


def test_a_first_pass_that_proves_too_much_is_caught(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    honest = first_pass.least_values

    def greedy(*arguments: Any) -> FloatArray:
        least = honest(*arguments)
        return np.asarray(least + 0.5 * np.abs(least) + 0.1)

    monkeypatch.setattr("verifier.greatest_value.least_values", greedy)
    assert caught(Norm.LINF, tmp_path, 0)


def test_an_engine_that_proves_whatever_it_is_asked_is_caught(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Liar(Engine):
        name = "liar"
        capabilities = engine_for("search").capabilities

        def _close(self, problem: Any, incumbent: Any, progress: Any) -> Proof:
            del incumbent, progress
            return Proof(problem.ceiling, self.capabilities.basis)

    monkeypatch.setitem(ENGINES, "liar", Liar)
    monkeypatch.setattr("verifier.greatest_value.lowest_in_ball", Nothing)
    assert caught(Norm.LINF, tmp_path, 0, engine="liar")


def test_a_value_above_what_is_proven_is_an_alarm(tmp_path: Path) -> None:
    model = load(to_onnx(affine_chain([np.eye(2)], [np.zeros(2)]), tmp_path / "swap.onnx"))
    region = Region(np.array([0.75, 0.25]), np.zeros(2), np.ones(2))
    rows = np.array([[-1.0, 1.0]])
    proven = GreatestValue(model, region, 0.1, rows, Options(), Deadline(None), upper=-0.75)
    with pytest.raises(SoundnessError, match="above the proven"):
        run_alone(proven.close())  # the sample itself has -0.5
    reached = GreatestValue(model, region, 0.1, rows, Options(), Deadline(None))
    reached._see(region.center[None], "sample")
    with pytest.raises(SoundnessError, match="no input is proven to reach"):
        reached._prove(-0.75, Basis.RIGOROUS)


def test_thresholds_that_no_time_would_decide_are_left_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = next(one for _, one in drawn(Norm.LINF, tmp_path, 0) if one.radius >= 0.2)

    async def undecided(self: GreatestValue, threshold: float, deadline: Deadline) -> None:
        del self, threshold, deadline

    monkeypatch.setattr(GreatestValue, "_decide", undecided)
    monkeypatch.setattr("verifier.greatest_value.lowest_in_ball", Nothing)
    assert wrong(asked, asked.ask(), closes=False) is None


def telling(monkeypatch: pytest.MonkeyPatch, least_row: float, *asked: list[Problem]) -> None:
    """An engine `teller`: it tells this of its first decision, leaves all of them open, and notes what it is asked."""

    class Teller(Engine):
        name = "teller"
        capabilities = engine_for("search").capabilities

        def _close(self, problem: Problem, incumbent: Incumbent, progress: Progress) -> Proof:
            for noted in asked:
                noted.append(problem)
            if not asked or len(asked[0]) == 1:
                progress(Running(0.0, incumbent.upper, least_row=least_row))
            return Proof(0.0, self.capabilities.basis)

    monkeypatch.setitem(ENGINES, "teller", Teller)
    monkeypatch.setattr("verifier.greatest_value.lowest_in_ball", Nothing)


def test_what_an_open_decision_told_is_its_upper_side(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Problem] = []
    telling(monkeypatch, -0.25, asked)
    monkeypatch.setattr(GreatestValue, "_bound", lambda self: None)
    swap = load(to_onnx(affine_chain([np.eye(2)], [np.zeros(2)]), tmp_path / "swap.onnx"))
    found = margin(swap, f32([0.75, 0.25]), 0.1, engine="teller")
    assert asked[0].values
    (threshold,) = asked[0].goals[0].offset
    assert found.upper == np.nextafter(threshold + 0.25, np.inf)


def test_an_engine_that_tells_too_much_is_caught(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    telling(monkeypatch, -1e-3)
    assert caught(Norm.LINF, tmp_path, 0, engine="teller")
