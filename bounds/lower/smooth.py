"""Cross-Lipschitz bounds for smooth nets with one hidden layer, the ones of Hein & Andriushchenko (2017).

    f(x) = U φ(W x + b) + c,    φ(t) = log(1 + exp(κ t)) / κ  (softplus),    φ' increasing from 0 to 1,

so that over ball(x, R) every φ'(w_r·y + b_r) lies between its values at  w_r·x + b_r ∓ R‖w_r‖_q, cut to the box. With
those intervals in place of ReLU states the gradient is bounded entry by entry, and in L2 pair by pair as in the paper.
Distances are in the real-valued net. A smooth net has no exact engine here: these bounds stand beside attacks alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from bounds.lower.cross_lipschitz import INFLATION, quotient
from bounds.lower.jacobian import ROUNDING, dual_length, longest_sum, product
from encoders.arrays import FloatArray
from encoders.errors import DataError
from encoders.question import Norm, Region


@dataclass(frozen=True, eq=False)
class SmoothNet:
    """f(x) = output · softplus_κ(hidden · x + hidden_bias) + output_bias."""

    hidden: FloatArray
    hidden_bias: FloatArray
    output: FloatArray
    output_bias: FloatArray
    sharpness: float = 1.0  # κ

    def __post_init__(self) -> None:
        width, classes = len(self.hidden), len(self.output)
        fits = self.output.shape == (classes, width) and self.hidden_bias.shape == (width,)
        if not fits or self.output_bias.shape != (classes,):
            raise DataError(
                f"weights of shapes {self.hidden.shape}, {self.hidden_bias.shape}, {self.output.shape} and "
                f"{self.output_bias.shape} make no net with one hidden layer"
            )
        if not self.sharpness > 0:
            raise DataError(f"sharpness {self.sharpness}: give a number above zero")

    def scores(self, x: FloatArray) -> FloatArray:
        """Class scores [classes] of one input."""
        h = self.sharpness * (self.hidden @ x + self.hidden_bias)
        return np.asarray(self.output @ (np.logaddexp(0.0, h) / self.sharpness) + self.output_bias)

    def slopes(self, h: FloatArray) -> FloatArray:
        """φ' at pre-activations h."""
        return np.asarray(expit(self.sharpness * h))


def smooth_cross_lipschitz(net: SmoothNet, region: Region, norm: Norm, predicted: int, steps: int = 40) -> FloatArray:
    """Lower bounds [classes] on the distances at which each class reaches the predicted one; inf at `predicted`.

    The largest R with margin / L(R) ≥ R, by bisection: L grows with R. At most the reach of the box.
    """
    scores = net.scores(region.center)
    others = [k for k in range(len(scores)) if k != predicted]
    found = np.full(len(scores), np.inf)
    margin = scores[predicted] - scores[others]
    h = np.abs(net.hidden) @ np.abs(region.center) + np.abs(net.hidden_bias) + 1.0 / net.sharpness
    margin = margin - 1e-12 * float((np.abs(net.output) @ h + np.abs(net.output_bias)).max())  # rounding, amply
    low, high = np.zeros(len(others)), np.full(len(others), region.reach(norm))
    best = np.zeros(len(others))
    for _ in range(steps):
        radius = 0.5 * (low + high)
        for k, target in enumerate(others):
            slope = steepest_smooth(net, region, norm, predicted, target, float(radius[k]))
            reached = min(float(quotient(margin[k : k + 1], np.array([slope]))[0]), float(radius[k]))
            best[k] = max(best[k], reached)
            if reached >= radius[k]:
                low[k] = radius[k]
            else:
                high[k] = radius[k]
    found[others] = np.maximum(best, 0.0)
    return found


def steepest_smooth(net: SmoothNet, region: Region, norm: Norm, predicted: int, target: int, radius: float) -> float:
    """An upper bound of ‖∇(f_predicted - f_target)‖_q over ball(center, radius) ∩ box."""
    share = net.output[predicted] - net.output[target]
    below, above = (np.minimum(room, radius) for room in (region.center - region.lower, region.upper - region.center))
    h = net.hidden @ region.center + net.hidden_bias
    size = np.abs(net.hidden)
    if norm is Norm.LINF:
        down = np.maximum(net.hidden, 0) @ below + np.maximum(-net.hidden, 0) @ above
        up = np.maximum(net.hidden, 0) @ above + np.maximum(-net.hidden, 0) @ below
    else:
        down = up = radius * dual_length(size, norm)
    hair = 1e-12 * (size @ np.abs(region.center) + np.abs(net.hidden_bias) + down + up)
    least, most = net.slopes(h - down - hair), net.slopes(h + up + hair)
    v_low = np.minimum(share * least, share * most) - ROUNDING * np.abs(share)
    v_high = np.maximum(share * least, share * most) + ROUNDING * np.abs(share)
    low, high = product(v_low[None], v_high[None], net.hidden)
    moving = region.upper > region.lower
    bound = float(dual_length(np.maximum(-low, high)[:, moving], norm)[0])
    if norm is Norm.L2:
        bound = min(bound, longest_sum(net.hidden[:, moving], v_low, v_high))
    return bound * INFLATION
