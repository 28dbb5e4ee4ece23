"""Which steps an adversary can take at all: the integer form of reduced costs, per input.

A relaxation leaves one linear function φ(d) = a·d + k that is at most zero at every adversary. With a measure of at
most m to spend, moving input i by t brings -a_i·t/n, and the others bring at most what the best of them can with what
is left; where that falls short of k, no adversary moves input i by t.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np

from encoders.linear_maps import FloatArray, IntArray
from encoders.question import Norm

SAFETY = 1e-11  # relative; more than float64 loses in these sums


@dataclass(frozen=True, eq=False)
class Domains:
    """down ≤ t ≤ up in whole steps for every input; `possible` is False where no adversary is left."""

    down: IntArray
    up: IntArray
    possible: bool


def narrowed(
    norm: Norm, n: int, down: IntArray, up: IntArray, drift: FloatArray, measure: int, a: FloatArray, k: float
) -> Domains:
    """The steps that an adversary of at most `measure` can take, given φ; down ≤ 0 ≤ up."""
    low, high = _capped(norm, down, up, measure)
    size = np.abs(a)
    best = np.where(a < 0, high, -low)  # steps in the direction that lowers φ
    gain = size * best / n
    extra = float(size @ drift)
    extra += SAFETY * (float(gain.sum()) + abs(k) + extra) + 1e-300
    if not (np.isfinite(a).all() and np.isfinite(k) and np.isfinite(extra)):
        return Domains(low, high, True)  # a function that overflowed says nothing
    if norm is Norm.LINF:
        total = float(gain.sum())
        if total + extra < k:
            return Domains(low, high, False)
        # Input i must bring at least what is missing when all others give their best.
        return _by_need(low, high, a, n, k - extra - (total - gain))
    if norm is Norm.L0:
        most = np.concatenate([[0.0], np.cumsum(np.sort(gain)[::-1])])
        if float(most[min(measure, len(a))]) + extra < k:
            return Domains(low, high, False)
        others = float(most[min(max(measure - 1, 0), len(a))])
        narrow = _by_need(low, high, a, n, np.full(len(a), k - extra - others))
        stays = gain + others + extra < k
        down, up = np.minimum(narrow.down, 0), np.maximum(narrow.up, 0)  # an input may always stay
        return Domains(np.where(stays, 0, down), np.where(stays, 0, up), True)
    # The last of t steps costs 1 in L1 and 2t - 1 in L2, and brings |a_i|/n either way: a knapsack whose fractional
    # optimum bounds every whole one.
    farthest = max(1, int(best.max(initial=0)))
    price = np.ones(farthest) if norm is Norm.L1 else 2.0 * np.arange(1, farthest + 1) - 1.0
    input_of, step_of = np.nonzero(np.arange(farthest) < best[:, None])
    worth, cost = size[input_of] / n, price[step_of]
    order = np.argsort(-worth / cost, kind="stable")
    costs, worths = (np.concatenate([[0.0], np.cumsum(v[order])]) for v in (cost, worth))
    if float(np.interp(measure, costs, worths)) + extra < k:
        return Domains(low, high, False)
    # Helpful and harmful steps apart; both shares of φ are concave in the number of steps, so limits are intervals.
    spent = np.arange(_most_steps(norm, measure) + 1)
    left = np.interp(measure - (spent if norm is Norm.L1 else spent * spent), costs, worths)
    helpful = (size[:, None] * spent / n + left + extra >= k).sum(axis=1) - 1
    harmful = (-size[:, None] * spent / n + left + extra >= k).sum(axis=1) - 1
    rising = a < 0
    return Domains(
        np.maximum(low, -np.where(rising, harmful, helpful)), np.minimum(high, np.where(rising, helpful, harmful)), True
    )


def _capped(norm: Norm, down: IntArray, up: IntArray, measure: int) -> tuple[IntArray, IntArray]:
    """What the measure alone leaves."""
    if norm is Norm.L0:
        return down, up
    most = _most_steps(norm, measure)
    return np.maximum(down, -most), np.minimum(up, most)


def _most_steps(norm: Norm, measure: int) -> int:
    """Of a single input."""
    return isqrt(measure) if norm is Norm.L2 else measure


def _by_need(low: IntArray, high: IntArray, a: FloatArray, n: int, need: FloatArray) -> Domains:
    """Each -a_i·t_i/n must be at least need_i."""
    with np.errstate(divide="ignore", invalid="ignore"):
        limit = -need * n / a
    usable = np.isfinite(limit) & (np.abs(a) > 1e-300)
    limit = np.where(usable, limit, 0.0)
    slack = SAFETY * (1.0 + np.abs(limit))
    most = np.where((a > 0) & usable, np.floor(limit + slack), high)
    least = np.where((a < 0) & usable, np.ceil(limit - slack), low)
    big = 2.0**40
    high = np.minimum(high, np.clip(most, -big, big).astype(np.int64))
    low = np.maximum(low, np.clip(least, -big, big).astype(np.int64))
    return Domains(low, high, bool((low <= high).all()))
