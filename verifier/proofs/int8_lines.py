"""The proof of a quantised network's result or loss, as the lines of its file (docs/reference/proof-format-int8.md)."""

from __future__ import annotations

import numpy as np

from encoders.deadline import Deadline
from encoders.grid import Grid
from encoders.question import Region
from verifier.checker import Grid as CheckedGrid
from verifier.checker import Int8Checker, load_int8, read_grid_statement
from verifier.margin_answer import GreatestLoss
from verifier.options import Options
from verifier.proofs.asked_line import asked_line
from verifier.proofs.int8_search import GoalSearch, layer_lines
from verifier.proofs.proof_file import Line
from verifier.question.model import Model
from verifier.question.results import Adversary, Basis, Result, Verdict

SOLVERS = {"auto": "cpsat"}  # who has the word where bounds end


def int8_lines(
    model: Model, region: Region, result: Result, options: Options, deadline: Deadline
) -> tuple[float | None, list[Line] | None]:
    """The radius that holds no adversary, and the lines that say so; None for lines where no proof was found.

    A goal that bounds leave open is claimed by the solver that closed it, where there was one.
    """
    assert options.grid is not None
    grid = Grid.of(region, options.norm, options.grid)
    below = _below(result, grid)
    first: Line = {
        **asked_line(model, region, options.norm, result.predicted, options.targets, options.margin),
        "below": below,
        "witness": None if result.adversary is None else _witness(result.adversary, grid),
        **_told(result, grid, options),
    }
    if below is None:
        return None, [first] if result.adversary is not None else None
    return grid.length(min(below - 1, grid.reach)), _with_proof(model, first, result, deadline)


def int8_loss_lines(
    model: Model, region: Region, loss: GreatestLoss, options: Options, deadline: Deadline
) -> tuple[float, list[Line] | None]:
    """The radius, and the lines that say that no target leads within it by more than the loss's upper side.

    That side is the most that a lead of so many levels can be: of the numbers above it, the next one is the strongest
    claim, and all up to the least lead of a level more are as true.
    """
    assert options.grid is not None
    grid = Grid.of(region, options.norm, options.grid)
    within = grid.within(loss.radius)
    margin = float(np.nextafter(loss.upper, np.inf))
    first: Line = {
        **asked_line(model, region, options.norm, loss.against, None, margin),
        "rivals": [t for t in options.targets or range(model.classes) if t != loss.against],
        "below": 1 + within,
        "witness": None,
        **_told(loss, grid, options),
    }
    return grid.length(within), _with_proof(model, first, loss, deadline)


def _told(answer: Result | GreatestLoss, grid: Grid, options: Options) -> Line:
    """The grid, and for people what was recorded."""
    sides = {"verdict": str(answer.verdict), "lower": repr(answer.lower), "upper": repr(answer.upper)}
    return {"grid": int(grid.n), "rests_on": str(answer.basis), "about": sides | options.record("grid")}


def _with_proof(model: Model, first: Line, answer: Result | GreatestLoss, deadline: Deadline) -> list[Line] | None:
    """The first line and those behind it, where a proof was found."""
    solver = None if answer.basis is Basis.RIGOROUS else SOLVERS.get(answer.engine, answer.engine)
    lines = _proof(model, first, solver, deadline)
    return None if lines is None else [first, *lines]


def _below(result: Result, grid: Grid) -> int | None:
    """The measure below which there is no adversary; None where that says nothing."""
    if result.verdict is Verdict.FALSIFIED:
        return None
    if result.verdict is Verdict.CERTIFIED and result.radius is not None:
        return 1 + grid.within(result.radius)
    if np.isinf(result.lower):
        return grid.reach + 1
    return grid.within(result.lower) or None


def _witness(adversary: Adversary, grid: Grid) -> Line:
    steps = grid.nearest(adversary.input.astype(np.float64).reshape(-1))
    return {"steps": steps.tolist(), "measure": int(grid.measure(steps))}


def _proof(model: Model, first: Line, solver: str | None, deadline: Deadline) -> list[Line] | None:
    """The lines behind the first one."""
    statement = read_grid_statement(first)
    network = load_int8(model.path, statement)
    checker = Int8Checker(statement, network, CheckedGrid(statement, network))
    node = checker.node
    lines = [layer_lines(node, k) for k in range(len(network.layers))]
    for goal in checker.goals:
        lines.append({"goal": goal.target})
        if checker.lead is None:
            lines.append({"close": True})
            continue
        found = GoalSearch(goal, checker.lead, deadline).lines(node.copy())
        if found is None and solver is None:
            return None
        lines += [{"claim": solver}] if found is None else found
    return lines
