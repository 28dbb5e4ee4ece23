"""A linear piece of a network: with every ReLU's phase fixed the net is linear, and walls lead to the next piece."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bounds.propagation.device_graph import DeviceGraph
from encoders.arrays import FloatArray
from encoders.deadline import look
from encoders.layer_graph.graph import Affine, Input

ROWS_AT_ONCE = 64
WALLS = 3  # tight phases that are crossed one by one

Phases = NDArray[np.bool_]  # one entry per ReLU of the net, in order: active or not


@dataclass(eq=False)
class Piece:
    """The linear net of one choice of phases; h are all pre-activations, one after the other."""

    device_graph: DeviceGraph
    active: Phases

    def values(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """All pre-activations [B, ReLUs] and the scores [B, classes] of a batch; linear in x."""
        device_graph = self.device_graph
        mask = torch.as_tensor(self.active, device=device_graph.device)
        values: list[Tensor] = []
        before: list[Tensor] = []
        used = 0
        for position, node in enumerate(device_graph.graph.nodes):
            if isinstance(node, Input):
                values.append(x)
            elif isinstance(node, Affine):
                total = device_graph.bias[position].expand(x.shape[0], -1)
                for source, linear in zip(node.sources, device_graph.maps[position], strict=True):
                    total = total + linear.apply(values[source])
                values.append(total)
            else:
                before.append(values[node.source])
                values.append(values[node.source] * mask[used : used + node.size])
                used += node.size
        return torch.cat(before, dim=1) if before else x[:, :0], values[-1]

    def rows(self, neurons: NDArray[np.int64], center: Tensor) -> FloatArray:
        """∂h_j/∂x [rows, n] of some pre-activations."""
        parts = [np.zeros((0, len(center)))]
        for chosen in np.array_split(neurons, max(1, -(-len(neurons) // ROWS_AT_ONCE))):
            if not len(chosen):
                continue
            look()
            with torch.enable_grad():
                x = center.expand(len(chosen), -1).detach().requires_grad_()
                before, _ = self.values(x)
                picked = before[torch.arange(len(chosen), device=x.device), torch.as_tensor(chosen, device=x.device)]
                (gradient,) = torch.autograd.grad(picked.sum(), x)
            parts.append(gradient.cpu().numpy())
        return np.concatenate(parts)

    def goal_rows(self, matrix: Tensor, center: Tensor) -> FloatArray:
        """∂(matrix · scores)/∂x [rows, n]."""
        with torch.enable_grad():
            x = center.expand(len(matrix), -1).detach().requires_grad_()
            _, scores = self.values(x)
            (gradient,) = torch.autograd.grad((scores * matrix).sum(), x)
        return np.asarray(gradient.cpu().numpy())


@torch.no_grad()
def phases_at(device_graph: DeviceGraph, x: FloatArray) -> Phases:
    """The piece that x lies in."""
    before = device_graph.preactivations(device_graph.tensor(x)[None])
    parts = [(before[i][0] > 0).cpu().numpy() for i in device_graph.graph.relus]
    return np.concatenate([np.zeros(0, dtype=np.bool_), *parts])


def neighbours(active: Phases, tight: NDArray[np.int64]) -> list[Phases]:
    """The pieces beyond the walls, the steepest wall first: each crossed alone, then all together."""
    crossings = [tight[k : k + 1] for k in range(min(WALLS, len(tight)))]
    if len(tight) > 1:
        crossings.append(tight)
    pieces = []
    for crossing in crossings:
        beyond = active.copy()
        beyond[crossing] ^= True
        pieces.append(beyond)
    return pieces
