"""Open neurons of a reduced net as linear functions of the input alone, relaxed over the open neurons before them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.backward import chords
from bounds.grouping import Grouping
from bounds.stack import Stack


@dataclass(frozen=True, eq=False)
class Pairs:
    """sign · h of M pairs (node, neuron) of one layer, whose first open neuron is `start`."""

    sign: float
    node: Tensor
    neuron: Tensor
    start: int


@dataclass(frozen=True, eq=False)
class Rows:
    """M functions input·d + value of pairs (node, neuron), each below its neuron but for `slack`."""

    input: Tensor
    value: Tensor
    slack: Tensor


def rows_above(stack: Stack) -> tuple[Tensor, Tensor, Tensor]:
    """A linear function of the input above every neuron of every net: [S, P, n], its value and its error [S, P]."""
    every = torch.arange(stack.count, device=stack.x.device)
    x, value, slack = torch.empty_like(stack.x), torch.empty_like(stack.constant), torch.empty_like(stack.constant)
    for layer in stack.layers:
        neurons = torch.arange(layer.start, layer.stop, device=stack.x.device)
        pairs = Pairs(-1.0, every.repeat_interleave(len(neurons)), neurons.repeat(stack.count), layer.start)
        rows = relaxed_rows(stack, every, pairs, stack.lower, stack.upper)
        shape = (stack.count, len(neurons))
        x[:, layer], value[:, layer] = -rows.input.view(*shape, -1), -rows.value.view(shape)
        slack[:, layer] = rows.slack.view(shape)
    return x, value, slack


def relaxed_rows(stack: Stack, member: Tensor, pairs: Pairs, lower: Tensor, upper: Tensor) -> Rows:
    """The pairs, relaxed over the open neurons of earlier layers as they are bounded in their nodes."""
    sign, node, neuron, start = pairs.sign, pairs.node, pairs.neuron, pairs.start
    of = member[node]
    x, value, slack = sign * stack.x[of, neuron], sign * stack.constant[of, neuron], stack.error[of, neuron]
    if not start:
        return Rows(x, value, slack)
    group = Grouping(stack.count, of)
    chord, offset, least = chords(lower[node, :start], upper[node, :start])
    behind = sign * stack.z[of, neuron, :start]
    before = torch.zeros_like(behind)
    for layer in reversed([part for part in stack.layers if part.start < start]):
        a = behind[:, layer]
        before[:, layer] = a.clamp_min(0.0) * least[:, layer] + a.clamp_max(0.0) * chord[:, layer]
        if layer.start:
            behind[:, : layer.start] += group.times(before[:, layer], stack.z[:, layer, : layer.start])
    value = value + group.dot(before, stack.constant[:, :start]) + (behind.clamp_max(0.0) * offset).sum(-1)
    slack = slack + group.dot(before.abs(), stack.error[:, :start])
    slack = slack + group.dot(behind.abs(), stack.relu_error[:, :start])
    return Rows(x + group.times(before, stack.x[:, :start]), value, slack * (1.0 + 1e-6))
