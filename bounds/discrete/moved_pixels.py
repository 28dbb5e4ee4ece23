"""Bounds where the *number* of pixels that move is limited, in batches: each part has decided pixels, some or none.

A part of a question says of every pixel that it moves (its inputs are then anywhere between `low` and `high`), that it
stays, or nothing; of the undecided ones at most `left` move. A linear function falls on it by what the moving inputs
bring and by the `left` largest of what the undecided ones can: no norm's ball holds these points so tightly. Neurons
are bounded layer by layer with that closed form, relaxed as usual (CROWN on the reduced net), and the goals last.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.geometry.halfspace_distance import most_of
from bounds.propagation.backward_pass import chords
from bounds.reduced_net.reduced_net import Reduced
from bounds.rounding import gamma

INFLATION = 1.0 + 1e-6  # pays for the rounding of slacks


@dataclass(frozen=True, eq=False)
class Parts:
    """A batch of N parts, over G pixels and n moving inputs."""

    low: Tensor  # [N, n] how far each input has moved at least, as a shift; 0 for one that stays
    high: Tensor
    undecided: Tensor  # [N, G]
    left: Tensor  # [N]
    lower: Tensor  # [N, P] bounds of the open neurons, as far as they are known
    upper: Tensor


@dataclass(frozen=True, eq=False)
class Fall:
    """Linear functions input·d + value of J goal rows on N parts, and how far they can fall."""

    lowest: Tensor  # [N, J] proven
    input: Tensor  # [N, J, n]
    bring: Tensor  # [N, J, G] the most that each undecided pixel can bring; 0 for the others
    certain: Tensor  # [N, J] the lowest value while no undecided pixel moves
    last: Tensor  # [N, J] what the least of the pixels that may yet move brings

    def take(self, index: Tensor) -> Fall:
        return Fall(**{name: value[index] for name, value in vars(self).items()})


class SubsetBounds:
    """Bounds parts of one reduced net; `pixel` names the pixel of each moving input, counted from 0."""

    def __init__(self, net: Reduced, pixel: Tensor) -> None:
        self.net, self.pixel = net, pixel
        self.count = int(pixel.max()) + 1 if len(pixel) else 0
        self.single = self.count == len(pixel) and bool((pixel == torch.arange(len(pixel), device=pixel.device)).all())
        self.safety = 8.0 * gamma(2 * len(pixel))

    @torch.no_grad()
    def bounded(self, parts: Parts) -> tuple[Parts, Fall]:
        """The parts with bounds on their neurons, and the goals' rows on them."""
        net = self.net
        lower, upper = parts.lower.clone(), parts.upper.clone()
        for layer in net.layers:
            for sign, bounds in ((1.0, lower), (-1.0, upper)):
                rows = torch.arange(layer.start, layer.stop, device=lower.device)
                x, value, slack = self._relaxed(sign, rows, layer.start, lower, upper)
                found = self._falls(x, value - slack, parts).lowest
                bounds[:, layer] = sign * torch.maximum(sign * bounds[:, layer], found)
        first = net.open_phases
        rows = torch.arange(first, len(net.constant), device=lower.device)
        x, value, slack = self._relaxed(1.0, rows, first, lower, upper)
        return Parts(parts.low, parts.high, parts.undecided, parts.left, lower, upper), self._falls(
            x, value - slack, parts
        )

    def _relaxed(
        self, sign: float, rows: Tensor, start: int, lower: Tensor, upper: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """sign · rows [M] as functions of the inputs, over the first `start` neurons as each part bounds them."""
        net, count = self.net, len(lower)
        x, value, slack = sign * net.x[rows][None], sign * net.constant[rows][None], net.error[rows][None]
        if not start:
            return x, value, slack
        chord, offset, least = (t[:, None] for t in chords(lower[:, :start], upper[:, :start]))
        behind = (sign * net.z[rows, :start]).expand(count, -1, -1).clone()
        before = torch.zeros_like(behind)
        for layer in reversed([part for part in net.layers if part.start < start]):
            a = behind[:, :, layer]
            before[:, :, layer] = a.clamp_min(0.0) * least[:, :, layer] + a.clamp_max(0.0) * chord[:, :, layer]
            if layer.start:
                behind[:, :, : layer.start] += before[:, :, layer] @ net.z[layer, : layer.start]
        value = value + before @ net.constant[:start] + (behind.clamp_max(0.0) * offset).sum(-1)
        slack = slack + before.abs() @ net.error[:start] + behind.abs() @ net.relu_error[:start]
        return x + before @ net.x[:start], value, slack * INFLATION

    def _falls(self, a: Tensor, value: Tensor, parts: Parts) -> Fall:
        """How far functions a·d + value, [N or 1, M, n] and [N or 1, M], fall on the parts."""
        low, high = parts.low[:, None], parts.high[:, None]
        drop = torch.maximum(-a * low, -a * high)  # at most what each input brings; less than nothing if it must rise
        size = a.abs() @ torch.maximum(parts.low.abs(), parts.high.abs()).unsqueeze(-1)
        grouped = drop
        if not self.single:
            grouped = drop.new_zeros(*drop.shape[:-1], self.count).index_add(-1, self.pixel, drop)
        undecided = parts.undecided[:, None]
        bring = grouped * undecided
        fixed = value - (grouped * ~undecided).sum(-1)
        loss = self.safety * (value.abs() + size.squeeze(-1))
        most, last = most_of(bring, parts.left)
        # An overflow says nothing.
        lowest, certain = ((v - loss).nan_to_num(nan=-torch.inf, posinf=-torch.inf) for v in (fixed - most, fixed))
        return Fall(lowest, a.expand_as(drop), bring, certain, last)
