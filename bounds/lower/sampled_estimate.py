"""An estimate of the distance from sampled gradients, for comparison. It is no bound: nothing here enters `lower`.

In the manner of CLEVER (Weng et al. 2018): margin / the largest gradient norm seen, per class, over points drawn from
the ball. The largest of a sample lies below the supremum, so the quotient may lie above the distance, and often does.
"""

from __future__ import annotations

import numpy as np
import torch

from bounds.attacks.batch import lengths
from bounds.propagation.device_graph import DeviceGraph
from encoders.question import Goal, Norm, Region

SAMPLES = 1024
DUAL = {Norm.LINF: Norm.L1, Norm.L1: Norm.LINF, Norm.L2: Norm.L2}


def sampled_distance(
    device_graph: DeviceGraph, region: Region, norm: Norm, goals: tuple[Goal, ...], radius: float, seed: int = 0
) -> float:
    """The estimate over all goals of one row; at most the radius. Costs one gradient per goal and sample."""
    if not goals or not radius > 0:
        return 0.0 if goals else radius
    center = device_graph.tensor(region.center)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand((SAMPLES, center.numel()), generator=generator, dtype=torch.float64).to(center) * 2 - 1
    if norm is not Norm.LINF:
        share = torch.rand((SAMPLES, 1), generator=generator, dtype=torch.float64).to(center)
        noise = noise / lengths(noise, norm).clamp_min(1e-30).unsqueeze(1) * share
    points = center + radius * noise
    points = torch.minimum(torch.maximum(points, device_graph.tensor(region.lower)), device_graph.tensor(region.upper))
    points = torch.cat([center.unsqueeze(0), points])
    moving = device_graph.tensor((region.upper > region.lower).astype(np.float64))
    nearest = radius
    for goal in goals:
        row = device_graph.tensor(goal.rows[0])
        with torch.enable_grad():
            x = points.detach().requires_grad_()
            value = device_graph.forward(x) @ row + float(goal.offset[0])
            (gradient,) = torch.autograd.grad(value.sum(), x)
        steepest = float(lengths(gradient * moving, DUAL[norm]).max())
        margin = float(value[0].detach())
        if margin <= 0:
            return 0.0
        nearest = min(nearest, margin / steepest if steepest > 0 else radius)
    return nearest
