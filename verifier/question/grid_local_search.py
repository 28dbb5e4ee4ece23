"""A local search on the grid: from one adversary to another whose measure is smaller.

The measure is cut below what is known, and then single inputs are moved, the most useful first, until the network is
fooled again. Whole batches of neighbours are evaluated at once. Nothing is proven here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from encoders.arrays import FloatArray, IntArray
from encoders.deadline import Deadline
from encoders.grid import Grid
from encoders.question import Norm

StepsValue = Callable[[IntArray], FloatArray]
"""By how much each row of steps [B, n] misses being an adversary: negative where it is one."""

MOST_MOVES = 200
PAIRED = 16  # the best removals are tried with each of the best additions
TOGETHER = (1, 2, 4, 8, 16, 32)  # of the best moves, where moves do not compete for the measure


def nearer(grid: Grid, steps: IntArray, value: StepsValue, deadline: Deadline) -> IntArray | None:
    """An adversary of a smaller measure than `steps` has, or None where the walk finds none."""
    return reached(grid, steps, int(grid.measure(steps)) - 1, value, deadline)


def reached(grid: Grid, steps: IntArray, budget: int, value: StepsValue, deadline: Deadline) -> IntArray | None:
    """An adversary of a measure within the budget, or None where the walk from `steps` finds none."""
    walk = _in_cube if grid.norm is Norm.LINF else _in_ball
    return walk(grid, steps, budget, value, deadline)


def _in_cube(grid: Grid, steps: IntArray, budget: int, value: StepsValue, deadline: Deadline) -> IntArray | None:
    """Every input may use the whole budget: the best moves are made together."""
    most = budget // grid.stride
    low, high = np.maximum(grid.down, -most), np.minimum(grid.up, most)
    here = np.clip(steps, low, high)
    best = float(value(here[None])[0])
    free = np.flatnonzero(high > low)
    for _ in range(MOST_MOVES):
        if best < 0:
            return here
        if deadline.passed or not free.size:
            return None
        near = np.concatenate([_moved(here, free, low[free]), _moved(here, free, high[free])])
        gains = best - value(near)
        where = np.concatenate([free, free])
        order = np.argsort(-gains, kind="stable")
        order = order[gains[order] > 0]
        tries = []
        for count in TOGETHER:
            if order.size and (count == 1 or order.size > count // 2):
                point = here.copy()
                chosen = order[:count][::-1]
                point[where[chosen]] = near[chosen, where[chosen]]
                tries.append(point)
        if not tries:
            return None
        found = value(np.stack(tries))
        pick = int(np.argmin(found))
        if found[pick] >= best:
            return None
        here, best = tries[pick], float(found[pick])
    return None


def _in_ball(grid: Grid, steps: IntArray, budget: int, value: StepsValue, deadline: Deadline) -> IntArray | None:
    """Steps compete for the budget: the least useful are taken back, then exchanged for better ones."""
    here = steps.copy()
    while int(grid.measure(here)) > budget:
        near = _removals(grid, here)
        here = near[int(np.argmin(value(near)))]
    best = float(value(here[None])[0])
    for _ in range(MOST_MOVES):
        if best < 0:
            return here
        if deadline.passed:
            return None
        tries = _exchanges(grid, here, value, budget)
        if not len(tries):
            return None
        found = value(tries)
        pick = int(np.argmin(found))
        if found[pick] >= best:
            return None
        here, best = tries[pick], float(found[pick])
    return None


def _exchanges(grid: Grid, here: IntArray, value: StepsValue, budget: int) -> IntArray:
    """Neighbours within the budget: one input moved, or one moved back and another on."""
    every = np.arange(here.size)
    on = []
    for sign in (1, -1):
        goal = np.where(sign * here >= 0, here + sign, 0) if grid.norm is not Norm.L0 else _ends(grid, sign)
        goal = np.clip(goal, grid.down, grid.up)
        usable = every[goal != here]
        on.append(_moved(here, usable, goal[usable]))
    additions = np.concatenate(on)
    removals = _removals(grid, here)
    if len(additions) > PAIRED:
        additions = additions[np.argsort(value(additions), kind="stable")]
    singles = additions[grid.measure(additions) <= budget][: 4 * PAIRED]
    if not len(removals):
        return singles
    removals = removals[np.argsort(value(removals), kind="stable")[:PAIRED]]
    pairs = (removals[:, None] + additions[None, :PAIRED] - here).reshape(-1, here.size)
    pairs = np.clip(pairs, grid.down, grid.up)
    pairs = pairs[grid.measure(pairs) <= budget]
    return np.concatenate([singles, pairs])


def _ends(grid: Grid, sign: int) -> IntArray:
    return grid.up if sign > 0 else grid.down


def _removals(grid: Grid, here: IntArray) -> IntArray:
    """Points with one input a step nearer to the sample; where only inputs or pixels count, with one less of those."""
    moved = np.flatnonzero(here)
    if grid.norm is not Norm.L0:
        return _moved(here, moved, here[moved] - np.sign(here[moved]))
    if grid.pixels is None:
        return _moved(here, moved, np.zeros(moved.size, dtype=np.int64))
    return np.where(grid.pixels == np.unique(grid.pixels[moved])[:, None], 0, here)


def _moved(here: IntArray, inputs: IntArray, to: IntArray) -> IntArray:
    """One row per input: `here` with that input moved."""
    rows = np.repeat(here[None], inputs.size, axis=0)
    rows[np.arange(inputs.size), inputs] = to
    return rows
