"""Open neurons of a reduced net as linear functions of the input alone, relaxed over the open neurons before them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.geometry.relu_over_simplex import Above
from bounds.propagation.backward_pass import chords
from bounds.propagation.sample_groups import Grouping
from bounds.reduced_net.stacked_nets import Stack


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


def rows_above(stack: Stack, layer: slice, lines: Above | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """A linear function of the input above each neuron of a layer of every net: [S, R, n], its value and error [S, R].

    With `lines`, which hold for the neurons of earlier layers, these take the place of chords.
    """
    every = torch.arange(stack.count, device=stack.x.device)
    neurons = torch.arange(layer.start, layer.stop, device=stack.x.device)
    pairs = Pairs(-1.0, every.repeat_interleave(len(neurons)), neurons.repeat(stack.count), layer.start)
    rows = relaxed_rows(stack, every, pairs, stack.lower, stack.upper, lines)
    shape = (stack.count, len(neurons))
    return -rows.input.view(*shape, -1), -rows.value.view(shape), rows.slack.view(shape)


def relaxed_rows(
    stack: Stack, member: Tensor, pairs: Pairs, lower: Tensor, upper: Tensor, lines: Above | None = None
) -> Rows:
    """The pairs, relaxed over the open neurons of earlier layers as they are bounded in their nodes.

    `lines` are upper lines of these neurons that may take the place of their chords.
    """
    sign, node, neuron, start = pairs.sign, pairs.node, pairs.neuron, pairs.start
    of = member[node]
    x, value, slack = sign * stack.x[of, neuron], sign * stack.constant[of, neuron], stack.error[of, neuron]
    if not start:
        return Rows(x, value, slack)
    group = Grouping(stack.count, of)
    chord, offset, least = chords(lower[node, :start], upper[node, :start])
    behind = sign * stack.z[of, neuron, :start]
    before, touched = torch.zeros_like(behind), torch.zeros_like(behind)
    is_open = (lower[node, :start] < 0) & (upper[node, :start] > 0)  # a phase that is known is a better line
    for layer in reversed([part for part in stack.layers if part.start < start]):
        a = behind[:, layer]
        above = a.clamp_max(0.0)
        if lines is not None:
            touched[:, layer] = torch.where(is_open[:, layer], above, 0.0)
            above = above - touched[:, layer]
        before[:, layer] = a.clamp_min(0.0) * least[:, layer] + above * chord[:, layer]
        if layer.start:
            behind[:, : layer.start] += group.times(before[:, layer], stack.z[:, layer, : layer.start])
    value = value + group.dot(before, stack.constant[:, :start])
    value = value + ((behind.clamp_max(0.0) - touched) * offset).sum(-1)
    slack = slack + group.dot(before.abs(), stack.error[:, :start])
    slack = slack + group.dot(behind.abs(), stack.relu_error[:, :start])
    x = x + group.times(before, stack.x[:, :start])
    if lines is not None:
        x = x + group.times(touched, lines.normal[:, :start])
        value = value + group.dot(touched, lines.value[:, :start])
        slack = slack + group.dot(touched.abs(), lines.error[:, :start])
    return Rows(x, value, slack * (1.0 + 1e-6))
