"""What answers and proofs say of a grid is held against all of its points, whose scores are computed in fractions."""

from __future__ import annotations

import gzip
import itertools
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import verifier
from tests.draws import draws
from tests.verifier.checker.small_proofs import Layers, fully_connected, random_layers
from verifier.checker import check
from verifier.proofs.proof import write_proof

pytestmark = pytest.mark.usefixtures("brief_questions")

HAIR = Fraction(1, 10**12)  # what a float64 distance may differ from its level
Point = tuple[Fraction, ...]


def reading(level: int, levels: int) -> Fraction:
    """A level as a float32 reader makes it."""
    return Fraction(float(np.float32(level / levels)))


def scores(layers: Layers, point: Point) -> list[Fraction]:
    values = list(point)
    for k, (weights, bias) in enumerate(layers):
        before = [max(v, Fraction(0)) for v in values] if k else values
        values = [
            sum((Fraction(float(w)) * v for w, v in zip(column, before, strict=True)), Fraction(float(b)))
            for column, b in zip(np.asarray(weights).T, bias, strict=True)
        ]
    return values


def size(moves: list[Fraction], norm: str) -> Fraction:
    """The norm of a move; in L2 its square."""
    sizes = [abs(move) for move in moves]
    return max(sizes) if norm == "linf" else sum((s * s if norm == "l2" else s for s in sizes), Fraction(0))


def case(seed: int, path: Path) -> tuple[Layers, int, tuple[int, ...], tuple[float, float], dict[str, Any]]:
    """A net, levels per unit, the sample's levels, the box, and what is asked."""
    rng = np.random.default_rng(seed)
    inputs, classes, levels = (int(rng.integers(*ends)) for ends in ((1, 4), (2, 4), (1, 6)))
    layers = random_layers(rng, [inputs, *rng.integers(1, 5, int(rng.integers(0, 3))).tolist(), classes])
    if rng.random() < 0.5:  # numbers of few bits often meet in a tie
        layers = [(np.round(w * 4) / 4, np.round(b * 4) / 4) for w, b in layers]
    fully_connected(path, layers)
    ends = [(0.0, 1.0), (-0.1, 1.0), (-1 / levels - 0.3 / levels, 1.0)][seed % 3]
    asked: dict[str, Any] = {"norm": ["linf", "l1", "l2"][seed % 3], "grid": levels, "box": ends}
    asked |= {"margin": 0.125} if rng.random() < 0.3 else {}
    return layers, levels, tuple(rng.integers(0, levels + 1, inputs).tolist()), ends, asked


@pytest.mark.slow
def test_all_points_of_random_grids(tmp_path: Path) -> None:
    proven = refused = 0
    for seed in range(draws(9, 150)):
        path, proof = tmp_path / f"{seed}.onnx", tmp_path / f"{seed}.proof"
        layers, levels, home, (low, high), asked = case(seed, path)
        norm, margin = asked["norm"], Fraction(asked.get("margin", 0.0))
        axis = [k for k in range(-2 * levels, 2 * levels + 1) if low <= reading(k, levels) <= high]
        points = {
            steps: tuple(reading(k, levels) for k in steps) for steps in itertools.product(axis, repeat=len(home))
        }
        sample = points[home]
        found = {steps: scores(layers, point) for steps, point in points.items()}
        model, x = verifier.load(path), np.array([float(v) for v in sample], np.float32)
        result = verifier.distance(model, x, **asked)
        won = result.predicted
        wins = {s: max(f for t, f in enumerate(y) if t != won) - y[won] >= margin for s, y in found.items()}
        measures = {s: size([Fraction(k - h, levels) for k, h in zip(s, home, strict=True)], norm) for s in points}
        real = {s: size([v - c for v, c in zip(p, sample, strict=True)], norm) for s, p in points.items()}
        least = min((measures[s] for s in points if wins[s]), default=None)
        power = 2 if norm == "l2" else 1
        lower, upper = (
            Fraction(side) ** power if math.isfinite(side) else None for side in (result.lower, result.upper)
        )
        assert least is None or (lower is not None and lower <= least + HAIR), seed
        assert upper is None or (least is not None and least <= upper + HAIR), seed
        assert str(result.verdict) != "exact" or result.lower == result.upper, seed
        written = write_proof(proof, model, x, result, **asked)
        if written.radius is None:
            continue
        proven += 1
        assert check(proof, path, "exact").whole, seed
        assert check(proof, path, "float").whole, seed
        claimed = Fraction(written.radius) ** power
        assert not any(wins[s] and real[s] <= claimed for s in points), seed
        assert all(real[s] <= claimed for s in points if lower is None or measures[s] < lower - HAIR), seed
        if least is None:
            continue
        statement, *lines = gzip.decompress(proof.read_bytes()).decode().split("\n")
        nearest = min(real[s] for s in points if wins[s])  # a ball that reaches it is not empty
        raised = math.nextafter(float(nearest) ** (1 / power), math.inf) * (1 + 2.0**-50)
        false = json.loads(statement) | {"radius": raised.hex(), "witness": None}
        content = gzip.compress("\n".join([json.dumps(false), *lines]).encode())
        assert not check(content, path, "exact").accepted, seed
        assert not check(content, path, "float").accepted, seed
        refused += 1
    assert proven >= 5
    assert refused >= 3
