"""A quantised network as exact integer semantics: what onnxruntime computes on a CPU, bit by bit.

Levels are whole numbers from 0 to 255 (int8 levels are shifted by 128, together with their zero point). A layer is

    accumulator = Σ (level - zero_in) · weight + bias                              in int32, exact
    next level  = clip(rint(float32(accumulator) · factor) + zero_out)             halves to even, in float32

Every step of the second line is monotone, so that each next level stands for an interval of accumulators
(`QuantisedLayer.thresholds`). A ReLU between two layers is part of the clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from encoders.arrays import FloatArray, IntArray

TOP = 255  # the highest level
LEADS = range(-TOP, TOP + 1)  # in levels
LARGEST_EXACT = 2**24  # float32 holds every integer up to here, and 32 bits hold the accumulator


@dataclass(frozen=True)
class Scale:
    """One tensor's quantisation: value = (level - zero) · step; its levels are 0 to 255."""

    step: np.float32
    zero: int

    def levels(self, values: NDArray[np.float32]) -> IntArray:
        """QuantizeLinear: float32 values to levels."""
        with np.errstate(over="ignore"):
            ratio = np.rint(np.asarray(values, dtype=np.float32) / self.step)
        return np.asarray(np.clip(ratio.astype(np.float64) + self.zero, 0, TOP).astype(np.int64))

    def values(self, levels: IntArray) -> FloatArray:
        """DequantizeLinear: levels to float32 values, in float64."""
        return np.asarray(((levels - self.zero).astype(np.float32) * self.step).astype(np.float64))


@dataclass(frozen=True, eq=False)
class QuantisedLayer:
    """One fused layer. weight: [outputs, inputs]; bias: [outputs]; both are int64 arrays; one factor per output."""

    weight: IntArray
    bias: IntArray
    source: Scale
    factor: NDArray[np.float32]
    target: Scale

    @property
    def outputs(self) -> int:
        return int(self.weight.shape[0])

    @property
    def reach(self) -> IntArray:
        """The most that each accumulator, and every partial sum of it, can be in absolute value."""
        return np.asarray(np.abs(self.weight).sum(axis=1) * TOP + np.abs(self.bias))

    @cached_property
    def _as_float(self) -> FloatArray:
        return self.weight.T.astype(np.float64)  # sums of whole numbers below 2⁵³ are exact, and fast

    def accumulate(self, levels: IntArray) -> IntArray:
        """Accumulators [B, outputs] of input levels [B, inputs]."""
        sums = (levels - self.source.zero).astype(np.float64) @ self._as_float
        return np.asarray(sums.astype(np.int64) + self.bias)

    def requantise(self, accumulators: IntArray) -> IntArray:
        """The next levels, by the same float32 operations as onnxruntime's."""
        return _requantised(accumulators, self.factor, self.target.zero)

    @cached_property
    def thresholds(self) -> IntArray:
        """thresholds[j, k]: the least accumulator of output j whose level is more than k, for k = 0 to 254.

        2²⁴ + 1 where no accumulator within reach has such a level. By bisection, once per factor.
        """
        factors, which = np.unique(self.factor, return_inverse=True)
        wanted = np.arange(1, TOP + 1)
        shape = (len(factors), TOP)
        low, high = np.full(shape, -LARGEST_EXACT - 1), np.full(shape, LARGEST_EXACT + 1)
        while (high - low > 1).any():
            middle = (low + high) // 2
            reached = _requantised(middle, factors[:, None], self.target.zero) >= wanted
            low, high = np.where(reached, low, middle), np.where(reached, middle, high)
        return np.asarray(high[which])


@dataclass(frozen=True, eq=False)
class QuantisedNet:
    """Input levels, layers, and the last levels: `scores` are those, dequantised."""

    layers: tuple[QuantisedLayer, ...]

    @property
    def inputs(self) -> int:
        return int(self.layers[0].weight.shape[1])

    @property
    def classes(self) -> int:
        return self.layers[-1].outputs

    @property
    def output(self) -> Scale:
        return self.layers[-1].target

    def levels(self, inputs: NDArray[np.float32]) -> IntArray:
        """The output levels [B, classes] of float32 inputs [B, n]."""
        levels = self.layers[0].source.levels(inputs)
        for layer in self.layers:
            levels = layer.requantise(layer.accumulate(levels))
        return levels

    def scores(self, inputs: NDArray[np.float32]) -> FloatArray:
        """What onnxruntime's output is, to the bit."""
        return self.output.values(self.levels(inputs))

    def winning(self, margin: float) -> IntArray:
        """winning[k]: the least output level that wins against level k, strictly and by the margin; 256: none does."""
        value = self.output.values(np.arange(TOP + 1))
        lead = value[None, :] - value[:, None]
        wins = (lead > 0) & (lead >= margin)
        return np.asarray(np.where(wins.any(axis=1), wins.argmax(axis=1), TOP + 1))

    @cached_property
    def leads(self) -> tuple[FloatArray, FloatArray]:
        """The least and the greatest lead in scores of a class that leads by d levels, at d + 255.

        Rounding makes them differ, by less than a ten thousandth of a level, so that those of d + 1 levels are greater.
        """
        value = self.output.values(np.arange(TOP + 1))
        of = [value[max(0, d) : TOP + 1 + min(0, d)] - value[max(0, -d) : TOP + 1 - max(0, d)] for d in LEADS]
        return np.array([one.min() for one in of]), np.array([one.max() for one in of])


def _requantised(accumulators: IntArray, factor: NDArray[np.float32], zero: int) -> IntArray:
    scaled = accumulators.astype(np.float32) * factor
    clipped = np.clip(scaled, np.float32(-zero), np.float32(TOP - zero))
    return np.asarray(np.rint(clipped).astype(np.int64) + zero)
