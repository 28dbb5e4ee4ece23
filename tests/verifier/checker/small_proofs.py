"""Small networks and proofs for the checker's tests: written by hand, or by a brute-force writer that splits all."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from scipy.optimize import linprog

from tests.small_files import f32, node, written
from verifier.checker import Checker, Exact, Float, load, read_statement

Line = dict[str, Any]
Layers = Sequence[tuple[Any, Any]]  # weights inputs × outputs, bias


def fully_connected(path: Path, layers: Layers, double: bool = False) -> Path:
    """A file of Gemms and ReLUs."""
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, np.ndarray] = {}
    for k, (weights, bias) in enumerate(layers):
        last = k == len(layers) - 1
        kind = np.float64 if double else np.float32
        constants |= {f"w{k}": np.asarray(weights, kind), f"b{k}": np.asarray(bias, kind)}
        nodes.append(node("Gemm", [f"z{k - 1}" if k else "x", f"w{k}", f"b{k}"], ["y" if last else f"h{k}"]))
        if not last:
            nodes.append(node("Relu", [f"h{k}"], [f"z{k}"]))
    sizes = len(layers[0][0]), len(layers[-1][1])
    return written(path, nodes, constants, inputs=("N", sizes[0]), outputs={"y": ("N", sizes[1])}, double=double)


def random_layers(rng: np.random.Generator, sizes: Sequence[int]) -> Layers:
    """Weights and biases of a random network, as float32 numbers."""
    return [(f32(rng.normal(size=(a, b)) / np.sqrt(a)), f32(rng.normal(size=b) / 3)) for a, b in pairwise(sizes)]


def hexadecimal(numbers: Any) -> Any:
    """Numbers as a proof writes them."""
    return [hexadecimal(one) for one in numbers] if isinstance(numbers, list | tuple) else float(numbers).hex()


def statement(of: Path, sample: Sequence[float], radius: float | None, **changed: Any) -> Line:
    """A statement about all classes but 0, in L∞ with a box from -10 to 10, unless something else is given."""
    digest = hashlib.sha256(of.read_bytes()).hexdigest()
    return {
        "format": "plumbline-proof-1",
        "model": {"name": of.name, "sha256": digest},
        "norm": "linf",
        "sample": hexadecimal(list(sample)),
        "box": hexadecimal([-10, 10]),
        "against": 0,
        "targets": None,
        "margin": hexadecimal(0),
        "radius": None if radius is None else hexadecimal(radius),
        "witness": None,
        "rests_on": "whole numbers",
        **changed,
    }


def packed(*lines: Line) -> bytes:
    """A proof file's bytes."""
    return gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode())


def ranges(layer: int, lower: Sequence[float], upper: Sequence[float], hair: int = 1, exponent: int = -30) -> Line:
    """A line of ranges, rounded outward, and a hair wider: float arithmetic shows equality nowhere."""
    low, high = ([Fraction(one) / Fraction(2) ** exponent for one in side] for side in (lower, upper))
    return {
        "ranges": layer,
        "exponent": exponent,
        "lower": [one.__floor__() - hair for one in low],
        "upper": [one.__ceil__() + hair for one in high],
    }


class Writer:
    """Writes a proof of a fully connected network by splitting every open neuron until a node closes.

    Leaves have multipliers from the linear program of their piece, over the box of the ball.
    """

    def __init__(self, model: Path, layers: Layers, first: Line, arithmetic: str = "exact") -> None:
        self.layers = [(np.asarray(w, np.float64), np.asarray(b, np.float64)) for w, b in layers]
        claim = read_statement(first)
        self.checker = Checker(claim, load(model, claim), {"exact": Exact, "float": Float}[arithmetic]())
        assert claim.radius is not None
        self.low = np.array([float(max(a, b - claim.radius)) for a, b in zip(claim.lower, claim.sample, strict=True)])
        self.high = np.array([float(min(a, b + claim.radius)) for a, b in zip(claim.upper, claim.sample, strict=True)])
        self.margin = float(claim.margin)
        self.lines = [first]

    def written(self) -> list[Line]:
        """All lines, each taken by the checker as it is written."""
        low, high = self.low, self.high
        for k, (weights, bias) in enumerate(self.layers[:-1]):
            plus, minus = np.maximum(weights, 0), np.minimum(weights, 0)
            low, high = low @ plus + high @ minus + bias, high @ plus + low @ minus + bias
            self._write(ranges(k, list(low - 1e-4), list(high + 1e-4)))
            low, high = np.maximum(low, 0), np.maximum(high, 0)
        for goal in self.checker.goals:
            self._write({"goal": goal.target})
            self._node({})
        self.checker.finish()
        return self.lines

    def _write(self, line: Line) -> None:
        self.checker.take(line)
        self.lines.append(line)

    def _node(self, phases: dict[tuple[int, int], int]) -> None:
        node = self.checker.node
        if node.least(self.checker.multipliers({"close": True})) > 0:
            return self._write({"close": True})
        for k, (_, bias) in enumerate(self.layers[:-1]):
            for j in range(len(bias)):
                if node.bound(k, j, "lower") < 0 < node.bound(k, j, "upper"):
                    self._write({"split": [k, j]})
                    self._node(phases | {(k, j): 1})
                    return self._node(phases | {(k, j): -1})
        return self._write({"close": True} | self._multipliers(phases))

    def _multipliers(self, phases: dict[tuple[int, int], int]) -> Line:
        """The duals of min s where all rows are ≤ s, and all phases hold but for s, in the box: s is positive."""
        matrix, constant = np.eye(len(self.low)), np.zeros(len(self.low))
        constraints, limits = [], []
        for k, (weights, bias) in enumerate(self.layers[:-1]):
            matrix, constant = matrix @ weights, constant @ weights + bias
            on = np.ones(len(bias))
            for j in range(len(bias)):
                if (k, j) in phases:
                    constraints.append([*(-phases[k, j] * matrix[:, j]), -1.0])
                    limits.append(phases[k, j] * constant[j])
                    on[j] = phases[k, j] > 0
                else:
                    on[j] = self.checker.node.bound(k, j, "lower") >= 0
            matrix, constant = matrix * on, constant * on
        weights, bias = self.layers[-1]
        matrix, constant = matrix @ weights, constant @ weights + bias
        goal = self.checker.node.goal
        assert goal is not None
        for other in goal.others:
            constraints.append([*(matrix[:, other] - matrix[:, goal.target]), -1.0])
            limits.append(constant[goal.target] - constant[other] - self.margin)
        bounds = [*zip(self.low, self.high, strict=True), (-1e3, None)]
        cost = [0.0] * len(self.low) + [1.0]
        found = linprog(cost, A_ub=constraints, b_ub=limits, bounds=bounds)
        prices = [round(-price * 2**30) for price in found.ineqlin.marginals]
        rows, signs = prices[len(phases) :], prices[: len(phases)]
        listed: dict[int, list[list[int]]] = {}
        for (k, j), price in zip(sorted(phases), signs, strict=True):
            at = listed.setdefault(k, [[], []])
            at[0].append(j)
            at[1].append(phases[k, j] * price)
        return {
            "rows": rows,
            "rows_exponent": -30,
            "signs": [[k, *two] for k, two in listed.items()],
            "signs_exponent": -30,
        }
