"""Upper lines of open neurons over the L1 ball: with one-sided inputs it is a simplex, and has one envelope.

See `bounds/geometry/relu_over_simplex.py`. A neuron behind others is first bounded by a function of the inputs alone,
by these lines of the neurons before it. Trusted are the rows, and that adversaries of interest lie in the ball; costs
P·n multiplications a node and step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.envelopes.base import Envelope, Tangents
from bounds.geometry.relu_over_simplex import Above, above_relu
from bounds.propagation.sample_groups import Grouping
from bounds.reduced_net.neurons_as_rows import rows_above
from bounds.reduced_net.stacked_nets import Stack


@dataclass(frozen=True, eq=False)
class SimplexEnvelope(Envelope):
    """See the module."""

    above: Above

    @classmethod
    @torch.no_grad()
    def of(cls, stack: Stack, radius: Tensor) -> SimplexEnvelope:
        """Of all neurons, on L1 balls of `radius` [S] over one-sided inputs."""
        if not stack.one_sided:
            raise ValueError(
                "an envelope over the L1 ball needs one-sided inputs: see bounds/reduced_net/one_sided_inputs.py"
            )
        up = torch.minimum(stack.above, radius.unsqueeze(-1))
        shape = stack.x.shape[:2]
        lines = Above(torch.zeros_like(stack.x), *(stack.x.new_zeros(shape) for _ in range(2)))
        for layer in stack.layers:
            rows, value, slack = rows_above(stack, layer, lines)
            found = above_relu(rows, value, slack, radius.unsqueeze(-1), shape[1])
            for name, part in vars(found).items():
                getattr(lines, name)[:, layer] = part
        return cls(torch.arange(shape[1], device=up.device), torch.zeros_like(up), up, lines)

    @property
    def everywhere(self) -> Above:
        return self.above

    def on(self, chosen: Tensor) -> SimplexEnvelope:
        if len(chosen) == len(self.neurons):
            return self
        return SimplexEnvelope(self.neurons[chosen], self.down, self.up, self.above.of(slice(None), chosen))

    def at(self, group: Grouping, point: Tensor) -> Tangents:
        return Tangents(group.times(point, self.above.normal.transpose(1, 2)) + group.of(self.above.value))

    def lines(self, group: Grouping, tangents: Tangents, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        del tangents  # the lines are the same everywhere
        error = group.dot(weight.abs(), self.above.error) * (1.0 + 1e-6)
        return group.times(weight, self.above.normal), group.dot(weight, self.above.value), error
