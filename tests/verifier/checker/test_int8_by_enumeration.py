"""The int8 checker beside a second one, written from the format's page, and beside all points of small nets.

Files of random lines claim more than is true; an adversary that has to survive is followed through each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.draws import draws
from tests.int8_builder import Int8Layer, write_int8
from tests.int8_oracle import OracleLayer, OracleNet, OracleNode, OracleQuestion, Steps, float32
from tests.verifier.checker.small_proofs import Line, packed, statement
from verifier.checker import check

NORMS = ("linf", "l1", "l2", "l0")
Adversary = tuple[Steps, list[list[int]]]


def drawn(rng: np.random.Generator, path: Path) -> OracleNet:
    """A net of two inputs, written to a file, whose sums often lie halfway between levels."""
    kind = str(rng.choice(["uint8", "int8"]))
    lowest = 0 if kind == "uint8" else -128
    widths = [2, *rng.integers(1, 4, rng.integers(0, 3)).tolist(), int(rng.integers(2, 4))]
    step = np.float32(rng.choice([1 / 8, 1 / 16, 1 / 10]))
    first = before = (Fraction(float(step)), int(rng.choice([0, 3, 128])))
    layers, found = [], []
    for inputs, outputs in pairwise(widths):
        weight, bias = rng.integers(-64, 64, (outputs, inputs)), rng.integers(-400, 400, outputs)
        units = rng.choice([1.0, 0.25, 0.1], outputs).astype(np.float32)
        scale = np.float32(float(before[0]) * rng.choice([8.0, 32.0, 50.0, 2.0]))
        zero = int(rng.choice([0, 128, 255, 101]))
        layers.append(Int8Layer(weight, bias, units, float(scale), zero + lowest))
        after = Fraction(float(scale))
        factors = [float32(float32(before[0] * Fraction(float(unit))) / after) for unit in units]
        found.append(OracleLayer(weight.tolist(), bias.tolist(), factors, after, zero, before[1]))
        before = (after, zero)
    write_int8(layers, path, float(step), first[1] + lowest, str(rng.choice(["QDQ", "QOperator"])), kind)
    return OracleNet(*first, found)


def asked(rng: np.random.Generator, net: OracleNet, norm: str) -> OracleQuestion:
    """A question in the unit box, sometimes about rivals, or with an input that does not move; a margin at a lead."""
    n = int(rng.choice([3, 8, 10]))
    sample = [Fraction(float(np.float32(k / n))) for k in rng.integers(0, n + 1, 2)]
    moves = rng.random(2) < 0.9
    lower = [Fraction(0) if move else one for move, one in zip(moves, sample, strict=True)]
    upper = [Fraction(1) if move else one for move, one in zip(moves, sample, strict=True)]
    lead = net.meanings[int(rng.integers(1, 9))] - net.meanings[0] if rng.random() < 0.5 else Fraction(0)
    against = int(rng.integers(len(net.layers[-1].rows)))
    others = rng.permutation([t for t in range(len(net.layers[-1].rows)) if t != against]).tolist()
    rivals = others[: int(rng.integers(1, len(others) + 1))] if rng.random() < 0.5 else None
    lead = -lead if rivals is not None and rng.random() < 0.7 else lead
    margin = Fraction(float(np.nextafter(float(lead), rng.choice([-9e9, float(lead), 9e9]))))
    return OracleQuestion(net, sample, lower, upper, n, norm, against, margin, rivals)


def first_line(question: OracleQuestion, path: Path, **claims: Any) -> Line:
    box = [[float(one).hex() for one in side] for side in (question.lower, question.upper)]
    line = statement(path, [float(one) for one in question.sample], None, box=box, rests_on="")
    del line["radius"]
    found: Line = line | {"below": None, "witness": None} | claims
    margin = float(question.margin).hex()
    found |= {} if question.rivals is None else {"rivals": question.rivals}
    return found | {"norm": question.norm, "against": question.against, "margin": margin, "grid": question.n}


@dataclass
class Writer:
    """Random trees: a node is closed only where nothing is left, and claimed elsewhere."""

    rng: np.random.Generator
    found: list[Line] = field(default_factory=list)
    left: int = 12

    def number(self, bits: int) -> int:
        return int(
            self.rng.choice([0, 1, int(self.rng.integers(0, 100)), int(self.rng.integers(0, 300)) << max(bits - 6, 0)])
        )

    def lines(self, node: OracleNode) -> Line:
        k = int(self.rng.integers(len(node.net.layers)))
        bits = int(self.rng.choice([0, 8, 16, 40]))
        slopes = [
            [min(int(f * self.rng.choice([0, 1, 1, 2]) * 2**bits), 2**24 - 1) for f in node.net.layers[k].factors]
            for _ in range(2)
        ]
        prices = [0 if node.question.norm == "linf" else self.number(sum(node.bits[:k])) for _ in slopes[0] * 2]
        return {"lines": k, "bits": bits, "below": slopes[0], "above": slopes[1], "prices": prices}

    def narrow(self, node: OracleNode) -> Line:
        k = int(self.rng.integers(len(node.net.layers)))
        j, sign = int(self.rng.integers(len(node.low[k]))), int(self.rng.choice([-1, 0, 1]))
        price = 0 if node.question.norm == "linf" else self.number(sum(node.bits))
        signs = [[k, [j], [sign * self.number(sum(node.bits[k:]))]]]
        return {"narrow": [int(self.rng.choice([1, 1, 3]))], "signs": signs, "price": price}

    def split(self, node: OracleNode) -> tuple[list[int], int]:
        """At ends of what the node knows, and inside."""
        k = int(self.rng.integers(-1, len(node.net.layers)))
        low, high = (node.down, node.up) if k < 0 else (node.low[k], node.high[k])
        j = int(self.rng.integers(len(low)))
        at = self.rng.choice([low[j], low[j] + 1, high[j], high[j] + 1, (low[j] + high[j]) // 2])
        return ([j] if k < 0 else [k, j]), int(at)

    def tree(self, node: OracleNode, goal: int, adversaries: list[Adversary]) -> None:
        while True:
            assert not adversaries or (node.lead is not None and not node.empty)
            assert all(node.holds(*one) for one in adversaries)
            self.left -= 1
            if node.empty or node.lead is None:
                self.found.append({"close": True})
                return
            if self.left < 0:
                self.found.append({"claim": "oracle"})
                return
            choice = self.rng.random()
            if choice < 0.35:
                self.found.append(self.lines(node))
                node.bound(self.found[-1])
            elif choice < 0.7:
                self.found.append(self.narrow(node))
                node.narrow(goal, self.found[-1])
            else:
                place, at = self.split(node)
                self.found.append({"split": place, "at": at})
                for part in node.split(place, at):
                    self.tree(part, goal, [one for one in adversaries if part.holds(*one)])
                return


def cases(norm: str, folder: Path, count: int) -> Iterator[tuple[np.random.Generator, OracleQuestion, Path]]:
    for seed in range(count):
        rng = np.random.default_rng([seed, NORMS.index(norm)])
        path = folder / f"{seed}.onnx"
        yield rng, asked(rng, drawn(rng, path), norm), path


@pytest.mark.parametrize("norm", NORMS)
def test_what_claims_too_much_is_closed_by_no_lines(norm: str, tmp_path: Path) -> None:
    """The checker finds nothing left where the oracle finds that, at the same lines, and nowhere else."""
    for rng, question, path in cases(norm, tmp_path, draws(2, 100)):
        points = list(question.points())
        nearest = min((measure for measure, _, _, goals in points if goals), default=None)
        below = max(measure for measure, *_ in points) + 1 if nearest is None else nearest + 1
        root, writer = OracleNode(question, below), Writer(rng)
        for goal in question.goals:
            adversaries = [(steps, sums) for m, steps, sums, goals in points if m < below and goal in goals]
            writer.found.append({"goal": goal})
            writer.left = 12
            writer.tree(root.copy(), goal, adversaries)
        claims = sum("claim" in line for line in writer.found)
        first = first_line(question, path, below=below)
        found = check(packed(first, *writer.found), path)
        assert found.accepted, found.why
        assert found.claims == claims
        assert claims or nearest is None
        closed = [{"close": True} if "claim" in line else line for line in writer.found]
        assert not claims or not check(packed(first, *closed), path).accepted


@pytest.mark.parametrize("norm", NORMS)
def test_witnesses_are_the_points_that_reach_a_goal(norm: str, tmp_path: Path) -> None:
    for rng, question, path in cases(norm, tmp_path, draws(1, 100)):
        points = list(question.points())
        for which in rng.integers(0, len(points), 5):
            measure, steps, _, goals = points[which]
            for claimed in (measure - 1, measure):
                witness = {"steps": list(steps), "measure": claimed}
                found = check(packed(first_line(question, path, witness=witness)), path)
                assert found.accepted == (bool(goals) and claimed >= measure), found.told()
