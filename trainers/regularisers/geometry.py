"""Distances inside the linear region of a ReLU network: hyperplanes, and the length that a norm measures them in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.errors import OptionError
from encoders.question import Norm, convex_norm
from trainers.layers import Step, linear, piecewise_linear, values_of
from trainers.regularisers.base import Regulariser

TINY = 1e-12


def norm_of(owner: Regulariser, text: str) -> Norm:
    """The norm that an option names."""
    try:
        return convex_norm(text)
    except OptionError as error:
        raise OptionError(f"regulariser {owner.name}: {error}") from None


def dual_length(rows: Tensor, norm: Norm) -> Tensor:
    """Length of each row of [..., n] in the dual norm: |a·x + k| over it is the distance of x to a·x + k = 0."""
    if norm is Norm.LINF:
        return rows.abs().sum(-1)
    if norm is Norm.L1:
        return rows.abs().amax(-1)
    return (rows.square().sum(-1) + TINY).sqrt()


def boundary_distances(steps: tuple[Step, ...], x: Tensor, norms: tuple[Norm, ...]) -> list[Tensor]:
    """Per norm, the distances [B, hidden neurons] of each sample to the hyperplanes where one ReLU switches.

    Within the linear region of x every pre-activation is affine in the input; its row is carried forward from the
    input, one tangent per input entry. Before the first ReLU the rows are the same for all samples and held once;
    after it they cost B · inputs · neurons numbers a layer.
    """
    values = values_of(piecewise_linear(steps, "a distance to a ReLU's hyperplane"), x)
    size = x[0].numel()
    identity = torch.eye(size, dtype=x.dtype, device=x.device)
    tangents: list[Tensor] = [identity.reshape(1, size, *x.shape[1:])]
    found: list[list[Tensor]] = [[] for _ in norms]
    last = max((k for k, step in enumerate(steps) if isinstance(step.module, nn.ReLU)), default=-1)
    for step in steps[: last + 1]:
        inputs = [tangents[k] for k in step.sources]
        if step.module is None:
            tangents.append(inputs[0] + inputs[1])
        elif isinstance(step.module, nn.ReLU):
            value = values[step.sources[0]]
            rows = inputs[0].flatten(2).transpose(1, 2)
            for part, norm in zip(found, norms, strict=True):
                part.append(value.flatten(1).abs() / dual_length(rows, norm).clamp_min(TINY))
            tangents.append(inputs[0] * (value > 0).to(value.dtype).unsqueeze(1))
        else:
            count = len(inputs[0])
            moved = linear(step.module, inputs[0].flatten(0, 1))
            tangents.append(moved.reshape(count, size, *moved.shape[1:]))
    return [torch.cat(part, dim=1) if part else x.new_zeros(len(x), 0) for part in found]


def decision_distances(outputs: Tensor, gradients: Tensor, labels: Tensor, norm: Norm) -> Tensor:
    """Signed distances [B, K-1] to the planes f_y = f_j of the linear region; negative where class j is ahead."""
    count, classes = outputs.shape
    rows = torch.arange(count, device=labels.device)
    margins = outputs[rows, labels].unsqueeze(1) - outputs
    normals = gradients[rows, labels].unsqueeze(1) - gradients
    others = torch.ones_like(outputs, dtype=torch.bool)
    others[rows, labels] = False
    margins, normals = margins[others].reshape(count, classes - 1), normals[others].reshape(count, classes - 1, -1)
    return margins / dual_length(normals, norm).clamp_min(TINY)
