"""Upper lines of open neurons that know the box: tangents of a ReLU's concave envelope over the inputs.

A chord over [lower, upper] knows of the inputs only how far they can push one neuron. Over a box more is true. Write
h = A·d + k, let e_i be the least and m_i the most of A_i·d_i, and take a share s_i in [0, 1] of each input:

    relu(h)  ≤  Σ s_i·(A_i·d_i - e_i)  +  max(0, k + Σ s_i·e_i + Σ (1 - s_i)·m_i),

for the first sum is never negative, and what is left of h is at most the second. The chord is the case of equal shares;
at a given point d the least such line takes inputs whole, those with the least (A_i·d_i - e_i) / (m_i - e_i) first,
until the second term is zero [Anderson et al. 2020; Tjandraatmadja et al. 2020]. All neurons order the inputs alike but
for the sign of A_i, so inputs are put into bins and the shares of a bin are one number: matrix products do the rest,
and any shares are valid. A neuron behind others is first bounded by a function of the inputs alone. Trusted are the
rows, and that adversaries of interest lie in the box; costs about 8·bins·P·n multiplications a node and step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.envelopes.base import Envelope, Tangents
from bounds.propagation.sample_groups import Grouping
from bounds.reduced_net.neurons_as_rows import rows_above
from bounds.reduced_net.stacked_nets import Stack
from bounds.rounding import gamma

BINS = 8


@dataclass(frozen=True, eq=False)
class CubeTangents(Tangents):
    """The least upper lines of R neurons at one point for each of N nodes, as shares of the inputs by bin."""

    bin: Tensor  # [N, n] of each input, by where it stands between its ends
    share: Tensor  # [N, R, bins] of inputs that raise the neuron; those that lower it have the bins the other way
    rest: Tensor  # [N, R] what is left of the neuron, at most


@dataclass(frozen=True, eq=False)
class CubeEnvelope(Envelope):
    """Tangents of some neurons on the part of each net's L∞ ball in the box."""

    sides: Tensor  # [S, 2, R, n] coefficients where inputs raise a neuron, and where they lower it
    spans: Tensor  # [S, 2, R, n] how far that moves the neuron
    most: Tensor  # [S, R] of the neuron
    error: Tensor  # [S, R] that rounding can make

    @classmethod
    @torch.no_grad()
    def of(cls, stack: Stack, radius: Tensor) -> CubeEnvelope:
        """Of all neurons, on L∞ balls of `radius` [S]."""
        reach = radius.unsqueeze(-1)
        down, up = torch.minimum(stack.below, reach), torch.minimum(stack.above, reach)
        parts = [rows_above(stack, layer) for layer in stack.layers]
        rows, value, slack = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
        sides = torch.stack([rows.clamp_min(0.0), (-rows).clamp_min(0.0)], dim=1)
        spans = sides * (down + up)[:, None, None]
        most = (sides[:, 0] @ up.unsqueeze(-1) + sides[:, 1] @ down.unsqueeze(-1)).squeeze(-1)
        # Every number on the way is at most this large, and comes about in at most so many steps.
        size = value.abs() + spans.sum((1, -1))
        error = slack + 8.0 * gamma(rows.shape[1] + rows.shape[2] + 4 * BINS) * size
        return cls(torch.arange(rows.shape[1], device=rows.device), down, up, sides, spans, value + most, error)

    def on(self, chosen: Tensor) -> CubeEnvelope:
        if len(chosen) == len(self.neurons):
            return self
        sides, spans = self.sides[:, :, chosen], self.spans[:, :, chosen]
        most, error = self.most[:, chosen], self.error[:, chosen]
        return CubeEnvelope(self.neurons[chosen], self.down, self.up, sides, spans, most, error)

    def at(self, group: Grouping, point: Tensor) -> CubeTangents:
        down, up = group.of(self.down), group.of(self.up)
        part = ((point + down) / (down + up).clamp_min(1e-300)).clamp(0.0, 1.0).nan_to_num()
        bins = (part * BINS).long().clamp_max(BINS - 1)
        into = torch.nn.functional.one_hot(bins, BINS).to(point.dtype)
        # How much of its range each neuron has in each bin.
        found = group.each(torch.einsum("skrn,smnb->smkrb", self.spans, group.spread(into)))
        plus, minus = found.unbind(1)
        span = plus + minus.flip(-1)
        before = span.cumsum(-1) - span
        most = group.of(self.most)
        share = ((most.unsqueeze(-1) - before) / span.clamp_min(1e-300)).clamp(0.0, 1.0)
        rest = (most - (share * span).sum(-1)).clamp_min(0.0)
        # Where the inputs of a bin stand, on the mean: it only says which line is lower.
        mean = ((part.unsqueeze(1) @ into) / into.sum(1, keepdim=True).clamp_min(1.0)).expand(-1, plus.shape[1], -1)
        below = plus * mean + (minus * (1.0 - mean)).flip(-1)
        return CubeTangents((share * below).sum(-1) + rest, bins, share, rest)

    def lines(self, group: Grouping, tangents: CubeTangents, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        each = weight.unsqueeze(-1) * tangents.share
        both = torch.stack([each, each.flip(-1)], dim=1)  # [N, 2, R, bins]
        found = group.each(torch.einsum("smkrb,skrn->smkbn", group.spread(both), self.sides))
        place = tangents.bin[:, None, None].expand(-1, 2, 1, -1)
        plus, minus = found.gather(2, place).squeeze(2).unbind(1)
        value = group.dot(plus, self.down) + group.dot(minus, self.up) + (weight * tangents.rest).sum(-1)
        error = group.dot(weight.abs(), self.error) * (1.0 + 1e-6)
        return plus - minus, value, error
