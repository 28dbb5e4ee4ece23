"""Cross-Lipschitz bounds for smooth nets with one hidden layer, the ones of Hein & Andriushchenko (2017).

    f(x) = U φ(W x + b) + c,    φ(t) = log(1 + exp(κ t)) / κ  (softplus),    φ' increasing from 0 to 1,

so that over ball(x, R) every φ'(w_r·y + b_r) lies between its values at  w_r·x + b_r ∓ R‖w_r‖_q, cut to the box. With
those intervals in place of ReLU states the gradient is bounded entry by entry, and in L2 pair by pair as in the paper.
Distances are in the real-valued net. A smooth net has no exact engine here: these bounds stand beside attacks alone.
"""

from __future__ import annotations

import numpy as np

from bounds.lower.cross_lipschitz import INFLATION, quotient
from bounds.lower.jacobian import ROUNDING, Pairs, dual_length, product
from encoders.arrays import FloatArray
from encoders.onnx.softplus_file import SmoothNet as SmoothNet
from encoders.question import Norm, Region

HAIR = 1e-9  # relative: what the first radius is made longer by


def smooth_cross_lipschitz(net: SmoothNet, region: Region, norm: Norm, predicted: int, steps: int = 16) -> FloatArray:
    """Lower bounds [classes] on the distances at which each class reaches the predicted one; inf at `predicted`.

    The largest R with margin / L(R) ≥ R, at most the reach of the box, by bisection: L grows with R, so that what one
    ball gives bounds that R from the other side.
    """
    scores = net.scores(region.center)
    others = [k for k in range(len(scores)) if k != predicted]
    found = np.full(len(scores), np.inf)
    margin = scores[predicted] - scores[others]
    h = np.abs(net.hidden) @ np.abs(region.center) + np.abs(net.hidden_bias) + 1.0 / net.sharpness
    margin = margin - 1e-12 * float((np.abs(net.output) @ h + np.abs(net.output_bias)).max())  # rounding, amply
    pairs = Pairs.of(net.hidden[:, region.upper > region.lower]) if norm is Norm.L2 else None
    for margin_to, target in zip(margin, others, strict=True):

        def distance(radius: float, margin_to: float = float(margin_to), target: int = target) -> float:
            slope = steepest_smooth(net, region, norm, predicted, target, radius, pairs)
            return float(quotient(np.array([margin_to]), np.array([slope]))[0])

        low, high, best = 0.0, min(region.reach(norm), (1.0 + HAIR) * distance(0.0)), 0.0
        for _ in range(steps):
            radius = 0.5 * (low + high)
            reached = distance(radius)
            best = max(best, min(reached, radius))
            low, high = (radius, min(high, reached)) if reached >= radius else (max(low, reached), radius)
        found[target] = best
    return found


def steepest_smooth(
    net: SmoothNet,
    region: Region,
    norm: Norm,
    predicted: int,
    target: int,
    radius: float,
    pairs: Pairs | None = None,
) -> float:
    """An upper bound of ‖∇(f_predicted - f_target)‖_q over ball(center, radius) ∩ box.

    `pairs`: of the rows of the inputs that may move, in L2; the same for all radii and targets.
    """
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
        pairs = Pairs.of(net.hidden[:, moving]) if pairs is None else pairs
        bound = min(bound, pairs.longest(v_low, v_high))
    return bound * INFLATION
