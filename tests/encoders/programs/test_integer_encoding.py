"""The integer program is a relaxation: no true adversary is ever lost to its rounding, however coarse the scale."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import product

import highspy  # noqa: F401 (loaded before CP-SAT on purpose: the two cannot share a process)
import numpy as np
import pytest

import encoders.solvers.cpsat as cpsat
from encoders.errors import SolverError
from encoders.programs.integer_encoding import COARSE, FINE, OpenNet, Precision, Steps, _Encoding, encode
from encoders.programs.integer_program import LARGEST_SUM, IntegerProgram, IntegerRow
from encoders.question import Norm
from encoders.solvers.base import Status
from encoders.solvers.cpsat import satisfy
from encoders.solvers.cpsat_worker import PARAMETERS, Answer

NORMS = list(Norm)
ROUGH = Precision(9, 5)


def random_net(rng: np.random.Generator, norm: Norm) -> tuple[OpenNet, Steps]:
    """Two layers of open neurons and one goal over two or three inputs, bounds from all of the grid."""
    inputs, first, second = int(rng.integers(2, 4)), int(rng.integers(1, 4)), int(rng.integers(0, 3))
    count = first + second
    x = rng.normal(size=(count + 1, inputs))
    z = np.zeros((count + 1, count))
    z[first:count, :first] = rng.normal(size=(second, first))
    z[count] = rng.normal(size=count)
    constant = rng.normal(size=count + 1) * 0.3
    constant[count] += 0.5
    n = int(rng.choice([2, 3, 5]))
    down, up = -rng.integers(0, 3, inputs), rng.integers(0, 3, inputs)
    drift = rng.choice([0.0, 1e-3]) * np.ones(inputs)
    stride = rng.integers(1, 3, inputs) if rng.random() < 0.5 else np.ones(inputs, dtype=np.int64)
    pixels = rng.integers(0, 2, inputs) if rng.random() < 0.5 else None
    steps = Steps(norm, n, stride, down, up, drift, int(rng.integers(1, 5)), pixels)
    values = [pre_activations(x, z, constant, np.array(t) * steps.size)[:count] for t in every(steps)]
    reach = np.abs(x[:count]) @ drift + (np.abs(z[:count]) @ (np.abs(x[:count]) @ drift) if count else 0.0)
    lower, upper = np.min(values, axis=0) - reach - 0.01, np.max(values, axis=0) + reach + 0.01
    phase = np.where(lower >= 0, 1, np.where(upper <= 0, -1, 0)).astype(np.int8)
    return OpenNet(x, z, constant, np.full(count + 1, 1e-9), lower, upper, phase), steps


def every(steps: Steps) -> list[tuple[int, ...]]:
    sides = [range(int(a), int(b) + 1) for a, b in zip(steps.down, steps.up, strict=True)]
    return [t for t in product(*sides) if measure(steps, t) <= steps.measure or steps.norm is Norm.LINF]


def measure(steps: Steps, t: tuple[int, ...]) -> int:
    size = [abs(v) * int(s) for v, s in zip(t, steps.stride, strict=True)]
    names = range(len(t)) if steps.pixels is None else steps.pixels.tolist()
    moved = {name for name, v in zip(names, size, strict=True) if v > 0}
    return {
        Norm.LINF: max(size), Norm.L1: sum(size), Norm.L2: sum(v * v for v in size), Norm.L0: len(moved),
    }[steps.norm]  # fmt: skip


def pre_activations(x: np.ndarray, z: np.ndarray, constant: np.ndarray, d: np.ndarray) -> np.ndarray:
    values = x @ d + constant
    for j in range(z.shape[1]):  # strictly lower triangular: in order
        values += z[:, j] * max(values[j], 0.0)
    return np.asarray(values)


def fixed(program: IntegerProgram, t: tuple[int, ...]) -> IntegerProgram:
    """The program with its inputs at t."""
    low, high = (*t, *program.low[len(t) :]), (*t, *program.high[len(t) :])
    return IntegerProgram(low, high, program.rows, program.inputs)


@pytest.mark.slow
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("big_m", [True, False])
@pytest.mark.fewer(1)
def test_no_true_adversary_is_lost(norm: Norm, big_m: bool) -> None:
    rng = np.random.default_rng(NORMS.index(norm))
    seen = 0
    for _ in range(12):
        net, steps = random_net(rng, norm)
        for precision in (ROUGH, COARSE, FINE):
            program = encode(net, steps, precision, big_m)
            for t in every(steps)[:40]:
                for sign in (-1.0, 1.0):  # the inputs' drift at its worst, either way
                    d = np.array(t) * steps.size + sign * steps.drift * (np.array(t) != 0)
                    if pre_activations(net.x, net.z, net.constant, d)[-1] <= 0:
                        seen += 1
                        assert program is not None
                        assert satisfy(fixed(program, t)).status is Status.OPTIMAL
    assert seen > 50


@pytest.mark.slow
def test_without_its_slack_one_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = _Encoding._scaled

    def optimistic(self: _Encoding, j: int) -> object:
        row = genuine(self, j)
        return type(row)(row.terms, row.constant, 0.0, row.factor)

    monkeypatch.setattr(_Encoding, "_scaled", optimistic)
    with pytest.raises(AssertionError):
        test_no_true_adversary_is_lost(Norm.LINF, True)


def test_a_fine_program_says_what_the_network_says() -> None:
    rng = np.random.default_rng(5)
    for _ in range(12):
        net, steps = random_net(rng, Norm.L1)
        steps = replace(steps, drift=0.0 * steps.drift)
        goals = [pre_activations(net.x, net.z, net.constant, np.array(t) * steps.size)[-1] for t in every(steps)]
        program = encode(net, steps, FINE)
        answer = Answer(Status.INFEASIBLE) if program is None else satisfy(program)
        if min(goals) < -1e-2:
            assert answer.status is Status.OPTIMAL
        if min(goals) > 1e-2:
            assert answer.status is Status.INFEASIBLE


def test_rows_that_could_overflow_are_refused() -> None:
    with pytest.raises(SolverError, match="smaller scale"):
        IntegerProgram((0, 0), (1, 1), (IntegerRow((0, 1), (LARGEST_SUM, 1), None, 5),), 2)
    with pytest.raises(SolverError, match="smaller scale"):
        IntegerProgram((0,), (2**40,), (IntegerRow((0,), (2**40,), None, 5),), 1)
    with pytest.raises(SolverError, match="empty column"):
        IntegerProgram((1,), (0,), (), 1)
    huge = OpenNet(
        np.array([[2.0**200], [2.0**-200]]), np.array([[0.0], [2.0**200]]), np.zeros(2), np.zeros(2),
        np.array([-(2.0**200)]), np.array([2.0**200]), np.zeros(1, dtype=np.int8),
    )  # fmt: skip
    steps = Steps(Norm.LINF, 255, np.ones(1, dtype=np.int64), np.array([-255]), np.array([255]), np.zeros(1), 255)
    for precision in (COARSE, FINE):
        program = encode(huge, steps, precision)
        assert program is not None  # scaled until it fits
        for row in program.rows:
            most = sum(
                abs(c) * max(abs(program.low[k]), abs(program.high[k]))
                for k, c in zip(row.columns, row.coefficients, strict=True)
            )
            assert most <= LARGEST_SUM


def test_sums_of_booleans_stay_far_from_where_proofs_went_wrong() -> None:
    assert LARGEST_SUM < 2**31
    assert PARAMETERS["presolve_inclusion_work_limit"] == 0
    # 40 Booleans worth 2²⁵ each: more than 2³⁰ together, so that the program is refused before any solver sees it.
    with pytest.raises(SolverError, match="smaller scale"):
        IntegerProgram((0,) * 40, (1,) * 40, (IntegerRow(tuple(range(40)), (2**25,) * 40, 2**29, None),), 40)
    # As large as is allowed: both answers are right.
    row = IntegerRow(tuple(range(32)), (2**25 - 1,) * 32, None, None)
    for least, expected in ((32 * (2**25 - 1), Status.OPTIMAL), (31 * (2**25 - 1) + 1, Status.OPTIMAL)):
        asked = IntegerRow(row.columns, row.coefficients, least, None)
        assert satisfy(IntegerProgram((0,) * 32, (1,) * 32, (asked,), 32)).status is expected
    off = IntegerRow(row.columns, row.coefficients, 5 * (2**25 - 1) + 1, 6 * (2**25 - 1) - 1)
    assert satisfy(IntegerProgram((0,) * 32, (1,) * 32, (off,), 32)).status is Status.INFEASIBLE


def test_a_solver_that_lies_about_its_point_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    program = IntegerProgram((0, 0), (3, 3), (IntegerRow((0, 1), (1, 1), 4, None),), 2)
    worker = cpsat._worker()

    class Liar:
        def send(self, request: object) -> None:
            pass

        def poll(self, seconds: float) -> bool:
            return True

        def recv(self) -> Answer:
            return Answer(Status.OPTIMAL, (1, 1))

    monkeypatch.setattr(worker, "connection", Liar())
    with pytest.raises(SolverError, match="misses its own program"):
        satisfy(program)
    monkeypatch.undo()
    assert satisfy(program).status is Status.OPTIMAL


def test_forbidden_points_and_time() -> None:
    free = IntegerProgram((0,), (1,), (), 1, ((0,),))
    assert satisfy(free).point == (1,)
    assert satisfy(IntegerProgram((0,), (1,), (), 1, ((0,), (1,)))).status is Status.INFEASIBLE
    assert satisfy(IntegerProgram((), (), (), 0)).status is Status.OPTIMAL
    empty = IntegerProgram((0,), (1,), (IntegerRow((), (), None, -1),), 1)
    assert satisfy(empty).status is Status.INFEASIBLE


def test_every_column_follows_from_the_steps() -> None:
    """By hand: relu(t/2 - 1/4) ≥ 1/2 first at t = 2; exact fractions agree."""
    x, z = np.array([[1.0], [0.0]]), np.array([[0.0], [-1.0]])
    net = OpenNet(
        x, z, np.array([-0.25, 0.5]), np.zeros(2), np.array([-0.25]), np.array([1.25]), np.zeros(1, dtype=np.int8)
    )
    for most in range(4):
        steps = Steps(Norm.L1, 2, np.ones(1, dtype=np.int64), np.array([0]), np.array([3]), np.zeros(1), most)
        program = encode(net, steps, COARSE)
        wins = max(Fraction(most, 2) - Fraction(1, 4), Fraction(0)) >= Fraction(1, 2)
        assert program is not None
        assert (satisfy(program).status is Status.OPTIMAL) == wins
