"""HiGHS behind the solver contract: proofs, limits that hold, and answers that are checked before they are believed."""

from __future__ import annotations

from dataclasses import replace

import highspy
import numpy as np
import pytest
from scipy import sparse

from encoders.errors import OptionError, SolverError
from encoders.programs.mixed_integer_encoding import encode
from encoders.programs.mixed_integer_program import Program
from encoders.question import Norm, goals_for
from encoders.solvers.base import Solution, Solver, SolverCapabilities, SolverOptions, Status, Watch
from encoders.solvers.highs import WRITINGS, HighsSolver
from encoders.solvers.highs_native import STATUS
from tests.encoders.nets import interval_bounds, random_chain, unit_box
from tests.encoders.programs.test_mixed_integer_program import SMALL


def knapsacks(columns: int, rows: int) -> Program:
    """Many tight knapsack rows over binaries: minutes of search. The best objective lies in [-sum of profits, 0]."""
    random = np.random.default_rng(0)
    weights = random.integers(1, 1000, (rows, columns)) / 1000.0
    return Program(
        costs=-random.integers(1, 1000, columns) / 1000.0,
        unit=2.0,
        matrix=sparse.csr_array(weights),
        row_lower=np.full(rows, -np.inf),
        row_upper=weights.sum(axis=1) / 3.0,
        column_lower=np.zeros(columns),
        column_upper=np.ones(columns),
        integral=np.ones(columns, dtype=np.bool_),
        inputs_base=np.zeros(columns),
        inputs_map=sparse.csr_array(sparse.eye_array(columns)),
        relu_columns={},
        scale=np.ones(columns),
    )


def check_stopped(program: Program, solution: Solution) -> None:
    """What a stopped solve promises: a point, and a bound (perhaps infinite) that does not pass it."""
    assert not solution.status.is_proof
    assert solution.point is not None
    assert solution.lower <= solution.objective == program.objective(solution.point)


def stopped(solver: HighsSolver, program: Program) -> Solution:
    """The solve as a time limit ended it, one long enough for a first point on this machine."""
    for limit in (1.0, 4.0, 16.0):
        solution = solver.solve(program, SolverOptions(time_limit=limit))
        if solution.point is not None:
            break
    return solution


def test_small_program_by_hand() -> None:
    # min 2·(k + y), k + 2y ≥ 3, k ≤ 2 integer: k = 0, y = 1.5 costs 3
    solution = HighsSolver().solve(SMALL)
    assert solution.status is Status.OPTIMAL
    assert solution.lower == pytest.approx(3.0, abs=1e-9)
    assert solution.objective == pytest.approx(3.0, abs=1e-9)
    costly = replace(SMALL, costs=np.array([1.0, 2.1]))  # k is cheaper now, up to 2: 2 + 2.1/2 = 3.05, in units of 2
    assert HighsSolver().solve(costly).lower == pytest.approx(6.1, abs=1e-9)


def test_without_integers_it_is_a_linear_program() -> None:
    solution = HighsSolver().solve(replace(SMALL, integral=np.zeros(2, dtype=np.bool_)))
    assert solution.status is Status.OPTIMAL
    assert solution.lower == pytest.approx(3.0, abs=1e-9)


@pytest.mark.parametrize(
    ("seed", "sizes", "norm", "distance"),
    [
        (2032, (2, 3, 3, 3, 2), Norm.LINF, 0.4968401186775599),  # plainly written, with presolve: none
        (5189, (3, 4, 4, 4, 3), Norm.L1, 0.9195845486181145),  # plainly written, without presolve: none
        (16963, (3, 5, 5, 5, 2), Norm.LINF, 0.00878739537035724),  # with copies: 0.0115
        (31236, (2, 3, 3, 3, 2), Norm.L1, 0.1745664425442045),  # with copies: 0.2419
        (15003, (3, 5, 5, 5, 2), Norm.LINF, 0.2205518223134934),  # plainly written, with presolve: 0.2452
    ],
)
def test_programs_that_a_single_run_gets_wrong(seed: int, sizes: tuple[int, ...], norm: Norm, distance: float) -> None:
    # Each of these nets has an adversary at the distance given, that the solver's point shows. Run once, in the writing
    # named, HiGHS 1.15.1 says that there is none, or none so near. (A later HiGHS may well be right: no test of ours.)
    graph, center = random_chain(seed, sizes)
    region = unit_box(center)
    predicted = int(np.argmax(graph.evaluate(center)[0]))
    goal = goals_for(predicted, graph.classes, None, 0.0)[0]
    program = encode(graph, region, norm, goal, interval_bounds(graph, region), np.inf)
    solution = HighsSolver().solve(program)
    assert solution.status is Status.OPTIMAL
    assert solution.point is not None
    move = program.inputs(solution.point) - center
    scores = graph.evaluate(center + move * (1 + 1e-6))[0]
    assert scores[goal.target] > scores[predicted]
    assert norm.length(move) == pytest.approx(solution.lower, abs=1e-7)
    assert solution.lower == pytest.approx(distance, abs=1e-7)


POINT = np.array([0.0, 1.5])  # of SMALL, at 3
WORSE = np.array([1.0, 1.0])  # at 4
NOTHING = Solution(Status.INFEASIBLE, np.inf, None)


@pytest.mark.parametrize(
    ("runs", "status", "lower", "asked"),
    [
        ([NOTHING, NOTHING], Status.INFEASIBLE, np.inf, 2),
        ([Solution(Status.OPTIMAL, 3.0, POINT)] * 2, Status.OPTIMAL, 3.0, 2),
        # a point refutes the first run, and a third one has to vouch for the second
        ([NOTHING, *[Solution(Status.OPTIMAL, 3.0, POINT)] * 2], Status.OPTIMAL, 3.0, 3),
        ([Solution(Status.OPTIMAL, 4.0, WORSE), *[Solution(Status.OPTIMAL, 3.0, POINT)] * 2], Status.OPTIMAL, 3.0, 3),
        # the second run says that nothing is within the first one's distance, and the first one's point is
        ([Solution(Status.OPTIMAL, 3.0, POINT), NOTHING, Solution(Status.OPTIMAL, 3.0, POINT)], Status.OPTIMAL, 3.0, 3),
        # bounds of runs that did not end: what two of them say
        ([Solution(Status.STOPPED, 2.0, POINT)], Status.STOPPED, -np.inf, 1),
        ([Solution(Status.OPTIMAL, 3.0, POINT), Solution(Status.STOPPED, 1.0, None)], Status.STOPPED, 1.0, 2),
        # nobody agrees with anybody: no proof
        ([NOTHING] * 3 + [Solution(Status.OPTIMAL, 3.0, POINT)], Status.INFEASIBLE, np.inf, 2),
        ([NOTHING, Solution(Status.OPTIMAL, 4.0, WORSE), NOTHING, Solution(Status.OPTIMAL, 3.0, POINT)],
         Status.UNKNOWN, -np.inf, 4),
    ],
)  # fmt: skip
def test_two_runs_must_agree(
    monkeypatch: pytest.MonkeyPatch, runs: list[Solution], status: Status, lower: float, asked: int
) -> None:
    script, count = iter(runs), list[int]()

    def run(*_: object) -> Solution:
        count.append(1)
        return next(script)

    monkeypatch.setattr(HighsSolver, "_run", run)
    solution = HighsSolver().solve(SMALL)
    assert (solution.status, solution.lower, len(count)) == (status, lower, asked)


def test_a_cutoff_that_excludes_everything_is_infeasible() -> None:
    solution = HighsSolver().solve(SMALL, SolverOptions(cutoff=2.9))
    assert solution.status is Status.INFEASIBLE
    assert solution.lower == np.inf


def test_the_solvers_own_time_limit() -> None:
    program = knapsacks(200, 40)
    solution = stopped(HighsSolver(), program)
    assert solution.status is Status.TIME_LIMIT
    check_stopped(program, solution)


@pytest.mark.slow
def test_a_limit_that_highs_ignores_is_kept_from_outside() -> None:
    # HiGHS itself is told to take a thousand years; what it had proven when it was ended still counts.
    program = knapsacks(200, 40)
    solver = HighsSolver({"time_limit": 3e10})
    solution = stopped(solver, program)
    assert solution.status is Status.TIME_LIMIT
    check_stopped(program, solution)
    assert solver.solve(SMALL).status is Status.OPTIMAL  # and the next program finds a new process


def test_watch_sees_rising_bounds_and_can_stop() -> None:
    program, seen = knapsacks(200, 40), list[float]()

    def watch(lower: float, point: object) -> bool:
        seen.append(lower)
        return point is None and bool(np.isfinite(lower))

    # In one writing: a bound counts at once, and not when a second one has vouched for it.
    solution = HighsSolver(writings=WRITINGS[:1]).solve(program, SolverOptions(time_limit=600.0), watch)
    assert solution.status is Status.STOPPED
    assert seen == sorted(seen)
    assert solution.lower == seen[-1]
    check_stopped(program, solution)


def test_no_time_is_no_proof() -> None:
    solution = HighsSolver().solve(SMALL, SolverOptions(time_limit=0.0))
    assert solution.status is Status.TIME_LIMIT
    assert solution.lower == -np.inf


def test_an_option_that_highs_does_not_know_is_named() -> None:
    with pytest.raises(SolverError, match="no_such_option"):
        HighsSolver({"no_such_option": 1}).solve(SMALL)


def test_every_word_of_highs_has_a_meaning_and_two_are_proofs() -> None:
    words = {name for name in dir(highspy.HighsModelStatus) if name.startswith("k")}
    words = {getattr(highspy.HighsModelStatus, name).name for name in words}  # aliases fall together
    assert words <= set(STATUS)
    assert {name for name, status in STATUS.items() if status.is_proof} == {"kOptimal", "kInfeasible"}


class Scripted(Solver):
    """Answers what it was told to answer."""

    name = "scripted"
    capabilities = SolverCapabilities(integers=True, interruptible=False, bounds_on_stop=True)

    def __init__(self, answer: Solution) -> None:
        self.answer = answer

    def _solve(self, program: Program, options: SolverOptions, watch: Watch | None) -> Solution:
        return self.answer


GOOD = np.array([0.0, 1.5])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Solution(Status.OPTIMAL, np.nan, GOOD), "NaN"),
        (Solution(Status.TIME_LIMIT, np.nan, None), "NaN"),
        (Solution(Status.OPTIMAL, 3.0, None), "without a point"),
        (Solution(Status.OPTIMAL, -np.inf, GOOD), "finite bound"),
        (Solution(Status.OPTIMAL, 3.0, np.array([0.0, 1.49])), "misses"),
        (Solution(Status.TIME_LIMIT, 0.0, np.array([0.5, 1.5])), "misses"),
        (Solution(Status.TIME_LIMIT, 0.0, np.array([0.0, np.nan])), "finite numbers"),
        (Solution(Status.TIME_LIMIT, 0.0, np.array([1.5])), "finite numbers"),
        (Solution(Status.OPTIMAL, 3.1, GOOD), "above its own point"),
        (Solution(Status.TIME_LIMIT, np.inf, GOOD), "above its own point"),
        (Solution(Status.INFEASIBLE, 0.0, GOOD), "yet gave a point"),
    ],
)
def test_answers_that_contradict_themselves_are_errors(answer: Solution, reason: str) -> None:
    with pytest.raises(SolverError, match=reason):
        Scripted(answer).solve(SMALL)


def test_the_objective_is_recomputed_from_the_point() -> None:
    assert Scripted(Solution(Status.OPTIMAL, 3.0, GOOD, objective=-7.0)).solve(SMALL).objective == 3.0


def test_a_program_without_columns_is_decided_on_the_spot() -> None:
    empty = replace(
        SMALL, costs=np.zeros(0), matrix=sparse.csr_array((1, 0)), column_lower=np.zeros(0), column_upper=np.zeros(0),
        integral=np.zeros(0, dtype=np.bool_), scale=np.zeros(0), inputs_map=sparse.csr_array((1, 0)),
    )  # fmt: skip
    answer = Scripted(Solution(Status.FAILED, np.nan, None))
    assert answer.solve(empty).status is Status.INFEASIBLE  # 0 ≥ 3
    holds = answer.solve(replace(empty, row_lower=np.array([-1.0])))
    assert (holds.status, holds.lower, holds.objective) == (Status.OPTIMAL, 0.0, 0.0)


@pytest.mark.parametrize(
    "options",
    [{"time_limit": -1.0}, {"time_limit": np.nan}, {"cutoff": np.nan}, {"absolute_gap": -1.0}, {"threads": 0}],
)
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="give"):
        SolverOptions(**options)  # type: ignore[arg-type]
