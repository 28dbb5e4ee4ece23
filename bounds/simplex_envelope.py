"""Upper lines of open neurons over the L1 ball: with one-sided inputs it is a simplex, and has one envelope.

With inputs p ≥ 0 and Σ p ≤ r (`bounds/one_sided.py`), every point is a mean of the corners 0 and r·e_i with weights
p_i / r, and relu is convex. So for h ≤ A·p + k

    relu(h)  ≤  max(0, k)  +  Σ p_i · (max(0, k + r·A_i) - max(0, k)) / r,

and no lower linear function lies above relu(A·p + k) on the simplex: at its corners the two are equal. A chord instead
pays for the largest coefficient whichever way inputs move, and for that at the center, too. The box cuts corners off
the simplex where inputs have less room than r, which this does not know, and the chord does: the lower of the two is
taken. A neuron behind others is first bounded by a function of the inputs alone, by these lines of the neurons before
it. Trusted are the rows, and that adversaries of interest lie in the ball; costs P·n multiplications a node and step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.envelope import Envelope, Tangents
from bounds.grouping import Grouping
from bounds.lowered import gamma
from bounds.neuron_rows import Above, rows_above
from bounds.stack import Stack


@dataclass(frozen=True, eq=False)
class SimplexEnvelope(Envelope):
    """See the module."""

    above: Above

    @classmethod
    @torch.no_grad()
    def of(cls, stack: Stack, radius: Tensor) -> SimplexEnvelope:
        """Of all neurons, on L1 balls of `radius` [S] over one-sided inputs."""
        if not stack.one_sided:
            raise ValueError("an envelope over the L1 ball needs one-sided inputs: see bounds/one_sided.py")
        up = torch.minimum(stack.above, radius.unsqueeze(-1))
        shape = stack.x.shape[:2]
        lines = Above(torch.zeros_like(stack.x), *(stack.x.new_zeros(shape) for _ in range(2)))
        for layer in stack.layers:
            rows, value, slack = rows_above(stack, layer, lines)
            lines.normal[:, layer], lines.value[:, layer], lines.error[:, layer] = over(rows, value, slack, radius)
        return cls(torch.arange(shape[1], device=up.device), torch.zeros_like(up), up, lines)

    def on(self, chosen: Tensor) -> SimplexEnvelope:
        if len(chosen) == len(self.neurons):
            return self
        return SimplexEnvelope(self.neurons[chosen], self.down, self.up, self.above.on(chosen))

    def at(self, group: Grouping, point: Tensor) -> Tangents:
        return Tangents(group.times(point, self.above.normal.transpose(1, 2)) + group.of(self.above.value))

    def lines(self, group: Grouping, tangents: Tangents, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        del tangents  # the lines are the same everywhere
        error = group.dot(weight.abs(), self.above.error) * (1.0 + 1e-6)
        return group.times(weight, self.above.normal), group.dot(weight, self.above.value), error


def over(rows: Tensor, value: Tensor, slack: Tensor, radius: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The envelope of relu(rows · p + value) [S, R, n] on simplices of `radius` [S]: normal, value at zero, error."""
    reach = radius[:, None, None]
    least = value.clamp_min(0.0)
    corner = (value.unsqueeze(-1) + reach * rows).clamp_min(0.0)
    normal = torch.where(reach > 0, (corner - least.unsqueeze(-1)) / reach.clamp_min(1e-300), 0.0)
    # What rounding makes of the normal counts at most for the whole radius, as does what products make of it later.
    size = value.abs() + radius.unsqueeze(-1) * rows.abs().amax(-1)
    return normal, least, slack + 8.0 * gamma(rows.shape[1] + rows.shape[2] + 8) * size
