"""Bounds of a module over a box, differentiable in its weights: what certified training minimises.

They guide training and prove nothing: float32, no rounding accounted for. Proofs are the verifier's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from encoders.errors import ModelError
from trainers.layers import ACTIVATIONS, Step, adjoint, affine, constant, linear, piecewise_linear


@dataclass(frozen=True, eq=False)
class Interval:
    """low ≤ value ≤ high, entry by entry; both [B, …]."""

    low: Tensor
    high: Tensor


def box_around(x: Tensor, radius: float) -> Interval:
    """The L∞ ball within the pixels' [0, 1]."""
    return Interval((x - radius).clamp(0.0, 1.0), (x + radius).clamp(0.0, 1.0))


def intervals(steps: tuple[Step, ...], box: Interval) -> list[Interval]:
    """Interval bounds of every value (Gowal et al., On the effectiveness of interval bound propagation, 2018)."""
    known = [box]
    for step in steps:
        inputs = [known[k] for k in step.sources]
        if step.module is None:
            known.append(Interval(inputs[0].low + inputs[1].low, inputs[0].high + inputs[1].high))
        elif isinstance(step.module, ACTIVATIONS):
            known.append(Interval(step.module(inputs[0].low), step.module(inputs[0].high)))
        else:
            middle = affine(step.module, (inputs[0].low + inputs[0].high) / 2)
            reach = linear(step.module, (inputs[0].high - inputs[0].low) / 2, absolute=True)
            known.append(Interval(middle - reach, middle + reach))
    return known


def margin_rows(labels: Tensor, classes: int, like: Tensor) -> Tensor:
    """[B, K, K]: row j of sample i reads f_y - f_j (all zero for j = y)."""
    identity = torch.eye(classes, dtype=like.dtype, device=labels.device)
    return identity[labels].unsqueeze(1) - identity


def interval_margins(steps: tuple[Step, ...], known: list[Interval], labels: Tensor) -> Tensor:
    """Lower bounds [B, K] of f_y - f_j: the last layer is merged with the difference, which is tighter."""
    last = steps[-1].module
    if not isinstance(last, nn.Linear):
        raise ModelError("certified training needs a network whose last layer is nn.Linear")
    source = known[steps[-1].sources[0]]
    rows = margin_rows(labels, last.out_features, last.weight)
    weight, bias = rows @ last.weight, rows @ last.bias
    middle, reach = (source.low + source.high) / 2, (source.high - source.low) / 2
    return (weight @ middle.unsqueeze(-1) - weight.abs() @ reach.unsqueeze(-1)).squeeze(-1) + bias


def crown_margins(steps: tuple[Step, ...], known: list[Interval], labels: Tensor) -> Tensor:
    """Lower bounds [B, K] of f_y - f_j by one backward linear relaxation over the intervals given.

    An open ReLU on [l, u] lies below the chord u(x - l)/(u - l) and above a·x, a = 1 where u > -l and 0 elsewhere.
    Zhang et al., Towards stable and efficient training of verifiably robust neural networks, 2020.
    """
    steps = piecewise_linear(steps, "a backward linear relaxation in training")
    rows = margin_rows(labels, known[-1].low.shape[1], known[-1].low)
    count, goals = rows.shape[:2]
    coefficients: dict[int, Tensor] = {len(steps): rows}
    total = rows.new_zeros(count, goals)

    def give(position: int, part: Tensor) -> None:
        coefficients[position] = coefficients[position] + part if position in coefficients else part

    for position in range(len(steps), 0, -1):
        step = steps[position - 1]
        if position not in coefficients:
            continue
        held = coefficients.pop(position)
        if step.module is None:
            for source in step.sources:
                give(source, held)
            continue
        (source,) = step.sources
        if isinstance(step.module, nn.ReLU):
            part, offset = _through_relu(held, known[source])
            total = total + offset
        else:
            shape = tuple(known[source].low.shape[1:])
            total = total + (held * constant(step.module, shape, held).unsqueeze(1)).flatten(2).sum(2)
            part = adjoint(step.module, held.flatten(0, 1), shape).reshape(count, goals, *shape)
        give(source, part)
    held, box = coefficients[0], known[0]
    lowest = held.clamp_min(0.0) * box.low.unsqueeze(1) + held.clamp_max(0.0) * box.high.unsqueeze(1)
    return total + lowest.flatten(2).sum(2)


def _through_relu(held: Tensor, source: Interval) -> tuple[Tensor, Tensor]:
    low, high = source.low.unsqueeze(1), source.high.unsqueeze(1)
    open_ = (low < 0) & (high > 0)
    chord = torch.where(open_, high / (high - low).clamp_min(1e-12), (low >= 0).to(high.dtype))
    below = torch.where(open_, (high > -low).to(high.dtype), chord)
    offset = torch.where(open_, -chord * low, torch.zeros_like(low))
    negative = held.clamp_max(0.0)
    return held.clamp_min(0.0) * below + negative * chord, (negative * offset).flatten(2).sum(2)
