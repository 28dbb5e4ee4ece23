"""Which steps an adversary can take at all: the integer form of reduced costs, per input.

A relaxation leaves one linear function φ(d) = a·d + k that is at most zero at every adversary. With a measure of at
most m to spend, moving input i by t steps brings -a_i·t·stride_i/n, and the others bring at most what the best of them
can with what is left; where that falls short of k, no adversary moves input i by t.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np

from encoders.arrays import FloatArray, IntArray
from encoders.programs.integer_encoding import Steps
from encoders.question import Norm

SAFETY = 1e-11  # relative; more than float64 loses in these sums


@dataclass(frozen=True, eq=False)
class Domains:
    """down ≤ t ≤ up in whole steps for every input; `possible` is False where no adversary is left."""

    down: IntArray
    up: IntArray
    possible: bool


def narrowed(steps: Steps, a: FloatArray, k: float) -> Domains:
    """The steps that an adversary of at most `measure` can take, given φ; down ≤ 0 ≤ up."""
    norm, measure, stride = steps.norm, steps.measure, steps.stride
    low, high = _capped(steps)
    with np.errstate(over="ignore", invalid="ignore"):
        extra = float(np.abs(a) @ steps.drift)
        a = a * steps.size  # what a step of each input brings
    size = np.abs(a)
    best = np.where(a < 0, high, -low)  # steps in the direction that lowers φ
    gain = size * best
    extra += SAFETY * (float(gain.sum()) + abs(k) + extra) + 1e-300
    if not (np.isfinite(a).all() and np.isfinite(k) and np.isfinite(extra)):
        return Domains(low, high, True)  # a function that overflowed says nothing
    if norm is Norm.LINF:
        total = float(gain.sum())
        if total + extra < k:
            return Domains(low, high, False)
        # Input i must bring at least what is missing when all others give their best.
        return _by_need(low, high, a, k - extra - (total - gain))
    if norm is Norm.L0:
        return _by_count(steps, low, high, a, gain, k - extra)
    # The last of t steps costs s in L1 and (2t - 1)s² in L2, s its stride, and brings |a_i| either way: a knapsack
    # whose fractional optimum bounds every whole one.
    farthest = max(1, int(best.max(initial=0)))
    price = np.ones(farthest) if norm is Norm.L1 else 2.0 * np.arange(1, farthest + 1) - 1.0
    unit = stride.astype(np.float64) ** (1 if norm is Norm.L1 else 2)
    input_of, step_of = np.nonzero(np.arange(farthest) < best[:, None])
    worth, cost = size[input_of], price[step_of] * unit[input_of]
    order = np.argsort(-worth / cost, kind="stable")
    costs, worths = (np.concatenate([[0.0], np.cumsum(v[order])]) for v in (cost, worth))
    if float(np.interp(measure, costs, worths)) + extra < k:
        return Domains(low, high, False)
    # Helpful and harmful steps apart; both shares of φ are concave in the number of steps, so limits are intervals.
    spent = np.arange(int(np.maximum(high, -low).max(initial=0)) + 1)
    left = np.interp(measure - unit[:, None] * (spent if norm is Norm.L1 else spent * spent), costs, worths)
    helpful = (size[:, None] * spent + left + extra >= k).sum(axis=1) - 1
    harmful = (-size[:, None] * spent + left + extra >= k).sum(axis=1) - 1
    rising = a < 0
    return Domains(
        np.maximum(low, -np.where(rising, harmful, helpful)), np.minimum(high, np.where(rising, helpful, harmful)), True
    )


def _capped(steps: Steps) -> tuple[IntArray, IntArray]:
    """What the measure alone leaves."""
    if steps.norm is Norm.L0:
        return steps.down, steps.up
    most = (isqrt(steps.measure) if steps.norm is Norm.L2 else steps.measure) // steps.stride
    return np.maximum(steps.down, -most), np.minimum(steps.up, most)


def _by_count(steps: Steps, low: IntArray, high: IntArray, a: FloatArray, gain: FloatArray, need: float) -> Domains:
    """At most `measure` inputs (or pixels, with all their inputs) together bring what is needed."""
    pixel = np.arange(len(a)) if steps.pixels is None else np.unique(steps.pixels, return_inverse=True)[1]
    together = np.bincount(pixel, weights=gain, minlength=1)
    most = np.concatenate([[0.0], np.cumsum(np.sort(together)[::-1])])
    if float(most[min(steps.measure, len(together))]) < need:
        return Domains(low, high, False)
    others = float(most[min(max(steps.measure - 1, 0), len(together))])
    narrow = _by_need(low, high, a, need - others - (together[pixel] - gain))
    stays = together[pixel] + others < need
    down, up = np.minimum(narrow.down, 0), np.maximum(narrow.up, 0)  # an input may always stay
    return Domains(np.where(stays, 0, down), np.where(stays, 0, up), True)


def _by_need(low: IntArray, high: IntArray, a: FloatArray, need: FloatArray) -> Domains:
    """Each -a_i·t_i must be at least need_i."""
    with np.errstate(divide="ignore", invalid="ignore"):
        limit = -need / a
    usable = np.isfinite(limit) & (np.abs(a) > 1e-300)
    limit = np.where(usable, limit, 0.0)
    slack = SAFETY * (1.0 + np.abs(limit))
    most = np.where((a > 0) & usable, np.floor(limit + slack), high)
    least = np.where((a < 0) & usable, np.ceil(limit - slack), low)
    big = 2.0**40
    high = np.minimum(high, np.clip(most, -big, big).astype(np.int64))
    low = np.maximum(low, np.clip(least, -big, big).astype(np.int64))
    return Domains(low, high, bool((low <= high).all()))
