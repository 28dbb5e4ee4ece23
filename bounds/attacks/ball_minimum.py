"""Where in a ball a goal's first row is least: conditional gradients from the center and from corners of the ball.

For questions about the values of a whole ball, which ask for no near adversary. A step goes from x towards the point
of ball ∩ box where the row, linearised at x, is least; that point is known in closed form in every norm, and what lies
between two points of a convex set is in it. The linear piece where the walk ends is then solved, and those around it,
for as long as that lowers the row. The goal's further rows must be at most zero; only pieces are solved under them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from bounds.attacks.batch import AttackBatch, Runs
from bounds.attacks.piece import Phases, Piece, neighbours, phases_at
from bounds.attacks.problem import AttackProblem
from bounds.geometry.halfspace_distance import lowest_point
from bounds.geometry.linear_piece import lowest_in_ball_of_piece
from encoders.arrays import FloatArray
from encoders.deadline import OutOfTimeError

STEPS = 30
BACK = (1.0, 0.5, 0.25)  # of a conditional gradient's usual step, which of them is taken where it lowers most
PIECES = 12  # looked at from each goal's lowest point
WALKED = 3  # goals, the lowest ones, that pieces are looked at for
MOST_CUTS, CUTS_AT_ONCE = 12, 32
BROKEN = 1e-9
KEPT = 1e-7  # a further row that is above zero by no more is one that a program kept, but for rounding
LEAST_FALL = 1e-9


@dataclass(frozen=True, eq=False)
class Lowest:
    """For every goal the lowest point that was found [G, n], and its first row's value there [G]; nothing proven.

    A value is infinite where a further row of the goal is not kept.
    """

    inputs: FloatArray
    values: FloatArray


@torch.no_grad()
def lowest_in_ball(problem: AttackProblem) -> Lowest:
    """Where each goal of the problem is lowest, as far as `problem.options` has time and restarts."""
    first = tuple(replace(goal, rows=goal.rows[:1], offset=goal.offset[:1]) for goal in problem.goals)
    batch = AttackBatch((replace(problem, goals=first),))
    copies = max(1, problem.options.restarts // max(1, batch.each))
    runs = batch.every_goal(copies)
    below, above = runs.center - runs.lower, runs.upper - runs.center
    radius = torch.full((len(runs),), problem.radius, dtype=runs.center.dtype, device=runs.center.device)

    def toward(direction: torch.Tensor) -> torch.Tensor:
        return runs.clip(runs.center + lowest_point(direction, below, above, problem.norm, radius))

    generator = torch.Generator().manual_seed(problem.options.seed + 5)
    shape = runs.start.shape
    drawn = torch.randn(shape, generator=generator, dtype=torch.float64).to(runs.center)
    share = torch.rand((shape[0], 1), generator=generator, dtype=torch.float64).to(runs.center)
    x = runs.center + share * (toward(drawn) - runs.center)
    x[::copies] = runs.center
    value, gradient = runs.linearised(x)
    best, lowest = x, value
    for step in range(STEPS):
        if batch.time_left <= 0:
            break
        goal, pace = toward(gradient), 2.0 / (step + 2.0)
        tried = torch.stack([x + back * pace * (goal - x) for back in BACK])
        chosen = runs.worst(tried).argmin(0)
        x = tried[chosen, torch.arange(len(x), device=x.device)]
        value, gradient = runs.linearised(x)
        fell = value < lowest
        best, lowest = torch.where(fell.unsqueeze(1), x, best), torch.where(fell, value, lowest)
    by_goal = lowest.view(-1, copies)
    pick = by_goal.argmin(1)
    rows = torch.arange(len(pick), device=pick.device)
    inputs = best.view(len(pick), copies, -1)[rows, pick].cpu().numpy()
    nearest = np.argsort(by_goal[rows, pick].cpu().numpy())
    whole = AttackBatch((problem,), batch.started)
    values = _values(whole.every_goal(), torch.as_tensor(inputs).to(x))
    for k in nearest[:WALKED]:
        inputs[k], values[k] = _walked(whole, int(k), inputs[k])
    return Lowest(inputs, values)


def _values(runs: Runs, x: torch.Tensor) -> FloatArray:
    """The first row at x [B, n] of each run's goal; infinite where a further row is above zero."""
    scores = runs.batch.device_graph.forward(x)
    rows = ((runs.rows @ scores.unsqueeze(-1)).squeeze(-1) + runs.offset).cpu().numpy()
    return np.where((rows[:, 1:] <= KEPT).all(axis=1), rows[:, 0], np.inf)


@torch.no_grad()
def lower_still(problem: AttackProblem, goal: int, start: FloatArray) -> FloatArray:
    """A point at least as low of that goal as `start`, from the linear pieces around it."""
    return _walked(AttackBatch((problem,)), goal, start)[0]


def _walked(batch: AttackBatch, goal: int, start: FloatArray) -> tuple[FloatArray, float]:
    """The lowest point of the linear pieces around `start`, one after the other, and its value."""
    (problem,) = batch.problems
    runs = batch.runs(torch.tensor([goal], device=batch.rows.device))
    best, lowest = start, float(_values(runs, problem.device_graph.tensor(start)[None])[0])
    waiting, seen = [phases_at(problem.device_graph, start)], set[bytes]()
    matters: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
    while waiting and len(seen) < PIECES and batch.time_left > 0:
        active = waiting.pop(0)
        if active.tobytes() in seen:
            continue
        seen.add(active.tobytes())
        try:
            point, tight = _lowest_of_piece(batch, runs, active, matters)
        except OutOfTimeError:
            break
        if point is None:
            continue
        matters, found = tight, float(_values(runs, problem.device_graph.tensor(point)[None])[0])
        onward = [phases_at(problem.device_graph, point), *neighbours(active, tight)]
        if found < (lowest if lowest == np.inf else lowest - LEAST_FALL * max(1.0, abs(lowest))):
            best, lowest, waiting = point, found, onward  # neighbours of what was higher are stale
        else:
            waiting += onward
    return best, lowest


def _lowest_of_piece(
    batch: AttackBatch, runs: Runs, active: Phases, matters: NDArray[np.int64]
) -> tuple[FloatArray | None, NDArray[np.int64]]:
    """The lowest point of one piece inside the ball, and the neurons whose phases hold it there.

    Rows of phases are added when a solution breaks them: few matter.
    """
    (problem,) = batch.problems
    region, piece, center = problem.region, Piece(problem.device_graph, active), runs.center[0]
    sign = np.where(active, 1.0, -1.0)
    hidden, scores = piece.values(center[None])
    constant = hidden[0].cpu().numpy()
    row, *further = piece.goal_rows(runs.rows[0], center)
    kept = -np.array(further).reshape(-1, len(center))
    kept_least = (runs.rows[0] @ scores[0] + runs.offset[0])[1:].cpu().numpy()
    below, above = region.center - region.lower, region.upper - region.center
    neurons = matters
    rows = sign[neurons, None] * piece.rows(neurons, center)
    for _ in range(MOST_CUTS):
        limit = None if batch.time_left == float("inf") else batch.time_left
        least = np.concatenate([kept_least, -sign[neurons] * constant[neurons]])
        sides = np.concatenate([kept, rows])
        step, weights = lowest_in_ball_of_piece(sides, least, row, below, above, problem.norm, problem.radius, limit)
        if step is None or weights is None:
            return None, neurons
        reached = piece.values(center[None] + problem.device_graph.tensor(step))[0][0].cpu().numpy()
        short = -sign * reached
        short[neurons] = 0.0
        broken = np.flatnonzero(short > BROKEN * (1.0 + np.abs(constant)))
        if not len(broken):
            duals = weights[len(kept) :][: len(neurons)]
            tight = neurons[np.argsort(-duals)][: int((duals > 0).sum())]
            return np.clip(region.center + step, region.lower, region.upper), tight
        new = broken[np.argsort(-short[broken])][:CUTS_AT_ONCE]
        neurons = np.concatenate([neurons, new])
        rows = np.concatenate([rows, sign[new, None] * piece.rows(new, center)])
    return None, neurons
