"""The oracle on grids: every input there is, one by one. Shares nothing with the product but the graph record.

Scores come from float64 where they leave no doubt, and from fractions where they do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import numpy as np
from numpy.typing import NDArray

from encoders.layer_graph.graph import Affine, Graph, Input
from encoders.question import Goal, Norm

Array = NDArray[np.float64]
DOUBT = 1e-9  # relative to the size of the scores


@dataclass(frozen=True)
class Nearest:
    """Squared or plain integer measures: `reached` is the least with a tie or better, `won` the least with a win."""

    reached: int | None
    won: int | None


def nearest_on_grid(
    graph: Graph,
    center: NDArray[np.float32],
    free: NDArray[np.bool_],
    levels: NDArray[np.int64],
    norm: Norm,
    goals: tuple[Goal, ...],
    pixels: NDArray[np.int64] | None = None,
) -> Nearest:
    """The least integer measure of an adversary among all inputs k/levels in [0, 1]; frozen inputs stay.

    Units are those of the least common multiple of all the free inputs' levels.
    """
    number = np.where(free, levels, 1)
    home = [round(float(c) * int(n)) for c, n in zip(center, number, strict=True)]
    sides = [range(n + 1) if f else [h] for f, h, n in zip(free, home, number.tolist(), strict=True)]
    chosen = np.array(list(product(*sides)))
    inputs = (chosen.astype(np.float32) / number.astype(np.float32)).astype(np.float64)
    inputs[:, ~free] = center.astype(np.float64)[~free]
    steps = np.abs(chosen - np.array(home)) * (math.lcm(*number.tolist()) // number)
    names = np.arange(len(center)) if pixels is None else pixels
    moved = [np.any(steps[:, names == name] > 0, axis=1) for name in np.unique(names)]
    measures = {
        Norm.LINF: steps.max(axis=1), Norm.L1: steps.sum(axis=1),
        Norm.L2: (steps * steps).sum(axis=1), Norm.L0: np.sum(moved, axis=0),
    }[norm]  # fmt: skip
    scores = graph.evaluate(inputs)
    size = max(1.0, float(np.abs(scores).max()))
    reached, won = None, None
    for k in np.argsort(measures, kind="stable"):
        rows = [goal.rows @ scores[k] + goal.offset for goal in goals]
        sure_miss = all((row > DOUBT * size).any() for row in rows)
        if sure_miss:
            continue
        if not any((row < -DOUBT * size).all() for row in rows):
            exact = exact_scores(graph, inputs[k])
            rows = [exact_rows(goal, exact) for goal in goals]
        measure = int(measures[k])
        if any(all(v <= 0 for v in row) for row in rows):
            reached = measure if reached is None else reached
        if any(all(v < 0 for v in row) for row in rows):
            won = measure
            break
    return Nearest(reached, won)


def exact_rows(goal: Goal, scores: list[Fraction]) -> list[Fraction]:
    return [
        sum((Fraction(float(a)) * s for a, s in zip(row, scores, strict=True)), Fraction(float(offset)))
        for row, offset in zip(goal.rows, goal.offset, strict=True)
    ]


def exact_scores(graph: Graph, x: Array) -> list[Fraction]:
    """The network in rational arithmetic."""
    values: list[list[Fraction]] = []
    for node in graph.nodes:
        if isinstance(node, Input):
            values.append([Fraction(float(v)) for v in x])
        elif isinstance(node, Affine):
            total = [Fraction(float(b)) for b in node.bias]
            for source, linear in zip(node.sources, node.maps, strict=True):
                for i, row in enumerate(linear.matrix().toarray()):
                    total[i] += sum(
                        (Fraction(float(w)) * v for w, v in zip(row, values[source], strict=True) if w), Fraction(0)
                    )
            values.append(total)
        else:
            values.append([max(v, Fraction(0)) for v in values[node.source]])
    return values[-1]
