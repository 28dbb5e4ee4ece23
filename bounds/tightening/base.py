"""What a tightening is: one way to raise the bounds of nodes, and the check of what it says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor

from bounds.geometry.relu_over_simplex import Above
from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes, Pass
from encoders.errors import SoundnessError


@dataclass(frozen=True)
class Effort:
    """How hard to try; none of it can make a bound wrong."""

    rate: float = 0.15  # of the ascent's steps
    calmer: float = 0.7  # each turn takes steps this much smaller
    rounds: int = 8  # turns of all tightenings that apply, at most
    worth: float = 0.1  # part of the gap that a turn must have closed for another one
    nearly: float = 0.002  # a node whose gap is this part of the target gets a longer ascent
    fine_steps: int = 50  # at each of FINE_RATES
    envelope_steps: int = 8  # of a turn, where there are envelopes; 0 for chords only
    envelope_rate: float = 0.3
    one_layer_steps: int = 24  # of the one-layer relaxation's descent, where one layer has all open neurons; 0 for none
    all_layers_steps: int = 60  # of the all-layers relaxation's, where several layers have many; 0 for none
    closing: bool = False  # whether only closing nodes counts, and no distance of what stays open: a decision


@dataclass(frozen=True, eq=False)
class Aim:
    """What bounds are raised towards, and how hard; made once for a batch of nodes."""

    engine: NodeBounds
    target: float | Tensor  # one, or one for each net
    effort: Effort
    steps: int = 0  # of an ascent of slopes

    @property
    def radii(self) -> Tensor:
        """The target of each net."""
        stack = self.engine.stack
        return torch.as_tensor(self.target, dtype=stack.x.dtype, device=stack.x.device).expand(stack.count)

    def enough(self, nodes: Nodes) -> Tensor:
        """[N] the distance at which each node is closed."""
        return self.engine.enough(nodes, self.target)


class Tightening(ABC):
    """One way to raise bounds, made ready for the nets of an aim where it is possible.

    Tightenings follow one another in turns; `earlier` are those that apply and come before this one in each turn.
    """

    lines: Above | None = None  # upper lines that hold on balls of the target, for those that come after
    tells_splits: ClassVar[bool] = False  # whether the coefficients behind ReLUs that it saw say best where to split

    def __init__(self, aim: Aim, earlier: Sequence[Tightening] = ()) -> None:
        del earlier
        self.aim = aim

    @classmethod
    @abstractmethod
    def possible(cls, engine: NodeBounds) -> bool:
        """Whether there is such a bound for nodes of these nets at all."""

    @classmethod
    @abstractmethod
    def applies(cls, engine: NodeBounds, effort: Effort) -> bool:
        """Whether a search should use it: where it is possible, and worth its price."""

    @abstractmethod
    def _raised(self, nodes: Nodes, seen: Pass, calm: float) -> tuple[Nodes, Pass]:
        """The nodes and what is known of them now; steps are to be smaller by `calm`."""

    def again(self, before: Nodes, after: Nodes) -> Tensor:
        """[N] whether it may gain more of a node in another turn, by what this turn made of it."""
        del after
        return torch.ones_like(before.goal, dtype=torch.bool)

    @final
    def raised(self, nodes: Nodes, seen: Pass, calm: float = 1.0) -> tuple[Nodes, Pass]:
        """The same nodes, raised. What is said of other nodes is refused, and what is said beyond the target is not
        counted: neuron bounds and lines hold for adversaries within it only."""
        after, found = self._raised(nodes, seen, calm)
        freed = (nodes.phase != 0) & (after.phase != nodes.phase)
        if not torch.equal(after.goal, nodes.goal) or bool(freed.any()):
            raise SoundnessError(f"{type(self).__name__} bounds other nodes than it was given; report this as a bug")
        return after, replace(found, distance=torch.minimum(found.distance, self.aim.enough(nodes)))
