"""A node of a random network's proof, and what its neurons are at random points: the truth that bounds are held to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.verifier.checker.small_proofs import fully_connected, hexadecimal, random_layers, ranges, statement
from verifier.checker import Checker, Exact, Float, load, read_statement

SAMPLE, BOX, RADIUS = [0.25, -0.5, 0.125], [-0.625, 0.5], 0.5
ORDERS = {"linf": np.inf, "l1": 1, "l2": 2}


def sampled_node(
    path: Path, rng: np.random.Generator, norm: str, classes: int = 3, points: int = 4000
) -> tuple[list[Checker], list[NDArray[Any]]]:
    """The node below the split at h_12 ≥ 0, as exact and as float arithmetic have it, and each layer's neurons at
    points of it; half of the points are drawn nearer to the sample, so that every norm has many."""
    checkers, hidden, _ = sampled_inputs(path, rng, norm, classes, points)
    return checkers, hidden


def sampled_inputs(
    path: Path, rng: np.random.Generator, norm: str, classes: int = 3, points: int = 4000
) -> tuple[list[Checker], list[NDArray[Any]], NDArray[Any]]:
    """The same, and the points."""
    layers = random_layers(rng, (3, 5, 4, classes))
    model = fully_connected(path, layers)
    claim = read_statement(statement(model, SAMPLE, RADIUS, norm=norm, box=hexadecimal(BOX)))
    checkers = [Checker(claim, load(model, claim), kind()) for kind in (Exact, Float)]
    moves = rng.uniform(-RADIUS, RADIUS, (points, 3))
    moves = np.concatenate([moves, RADIUS * moves / np.linalg.norm(moves, ORDERS[norm], axis=1, keepdims=True)])
    x = np.clip(moves[np.linalg.norm(moves, ORDERS[norm], axis=1) <= RADIUS] + SAMPLE, BOX[0], BOX[1])
    values, hidden = x, []
    for weights, bias in layers:
        hidden.append(values @ np.asarray(weights, np.float64) + bias)
        values = np.maximum(hidden[-1], 0)
    for k, h in enumerate(hidden[:-1]):
        line = ranges(k, list(h.min(axis=0) - 0.5 - 6 * k), list(h.max(axis=0) + 0.5 + 6 * k))
        for checker in checkers:
            checker.take(line)
    for checker in checkers:
        checker.take({"goal": 1})
        checker.take({"split": [1, 2]})
    inside = hidden[1][:, 2] >= 0
    assert inside.sum() > 50
    return checkers, [h[inside] for h in hidden], x[inside]
