"""One perturbation for many inputs: ascent on the share of them that it fools, in a ball.

After Moosavi-Dezfooli, Fawzi, Fawzi & Frossard, Universal adversarial perturbations, 2017, with the steps of `pgd` on
all inputs at once. The share itself is flat, so each input counts by a sigmoid of its margin: inputs that are fooled,
and those out of reach, stop pulling. How sharp the sigmoid is differs between restarts, which share one batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bounds.attacks.steps import into_ball, steepest_direction
from bounds.propagation.device_graph import DeviceGraph
from encoders.arrays import FloatArray
from encoders.question import Norm
from encoders.validation import Natural, Whole, validated

ROWS_AT_ONCE = 8192
FIRST_STEP, LAST_STEP = 0.25, 0.01  # of the radius
MOMENTUM = 0.8
SOFTNESS = (0.1, 1.0)  # of the sigmoid, in median margins; the restarts lie between


@validated
class UniversalOptions:
    """How hard to try."""

    seed: Whole = 0
    restarts: Natural = 8
    steps: Natural = 200


@dataclass(frozen=True, eq=False)
class UniversalProblem:
    """Inputs [N, n] inside the box [n], with their classes [N], and the longest perturbation asked for."""

    device_graph: DeviceGraph
    inputs: FloatArray
    predicted: NDArray[np.int64]
    lower: FloatArray
    upper: FloatArray
    norm: Norm
    radius: float


@torch.no_grad()
def universal_perturbation(problem: UniversalProblem, options: UniversalOptions) -> FloatArray:
    """The perturbation [n], no longer than the radius, that fooled most inputs in float64."""
    device_graph, norm = problem.device_graph, problem.norm
    generator = torch.Generator().manual_seed(options.seed)
    size = problem.inputs.shape[1]
    delta = (
        2 * torch.rand((options.restarts, size), generator=generator, dtype=torch.float64).to(device_graph.device) - 1
    )
    radius = delta.new_full((options.restarts,), problem.radius)
    delta = into_ball(delta * problem.radius, radius, norm)
    delta[0] = 0.0
    best, most = delta[0], -1.0
    margins = _margins(problem, delta[:1] * 0.0)
    softness = float(margins.median().clamp_min(1e-12)) * torch.tensor(
        np.geomspace(*SOFTNESS, options.restarts), dtype=torch.float64, device=device_graph.device
    )
    velocity = torch.zeros_like(delta)
    for step in range(options.steps + 1):
        shares, gradient = _shares_and_gradient(problem, delta, softness)
        leader = int(shares.argmax())
        if float(shares[leader]) > most:
            best, most = delta[leader].clone(), float(shares[leader])
        if step == options.steps or most >= 1.0:
            break
        scale = gradient.abs().sum(1, keepdim=True)
        velocity = MOMENTUM * velocity + gradient / torch.where(scale > 0, scale, 1.0)
        pace = problem.radius * (FIRST_STEP + (LAST_STEP - FIRST_STEP) * step / options.steps)
        delta = into_ball(delta + pace * steepest_direction(velocity, norm), radius, norm)
    return np.asarray(best.cpu().numpy())


def _margin(problem: UniversalProblem, delta: Tensor, chosen: slice) -> Tensor:
    """Margins [K, part] of some inputs under each perturbation [K, n], differentiable."""
    device_graph = problem.device_graph
    x, classes = (
        device_graph.tensor(problem.inputs[chosen]),
        torch.as_tensor(problem.predicted[chosen]).to(device_graph.device),
    )
    low, high = device_graph.tensor(problem.lower), device_graph.tensor(problem.upper)
    moved = torch.minimum(torch.maximum(x + delta.unsqueeze(1), low), high)
    scores = device_graph.forward(moved.flatten(0, 1)).reshape(len(delta), len(x), -1)
    index = classes.expand(len(delta), -1).unsqueeze(2)
    own = scores.gather(2, index).squeeze(2)
    others = scores.scatter(2, index, -torch.inf).amax(2)
    return own - others


def _parts(problem: UniversalProblem, copies: int) -> list[slice]:
    width = max(1, ROWS_AT_ONCE // copies)
    return [slice(k, k + width) for k in range(0, len(problem.inputs), width)]


def _margins(problem: UniversalProblem, delta: Tensor) -> Tensor:
    return torch.cat([_margin(problem, delta, part) for part in _parts(problem, len(delta))], dim=1)


def _shares_and_gradient(problem: UniversalProblem, delta: Tensor, softness: Tensor) -> tuple[Tensor, Tensor]:
    """The share that each perturbation fools [K], and the ascent direction of its smooth stand-in [K, n]."""
    gradient, count = torch.zeros_like(delta), torch.zeros_like(softness)
    for part in _parts(problem, len(delta)):
        with torch.enable_grad():
            here = delta.detach().requires_grad_()
            margin = _margin(problem, here, part)
            pull = torch.sigmoid(-margin / softness.unsqueeze(1))
            (slope,) = torch.autograd.grad(pull.sum(), here)
        gradient += slope.nan_to_num()
        count += (margin.detach() < 0).sum(1)
    return count / len(problem.inputs), gradient
