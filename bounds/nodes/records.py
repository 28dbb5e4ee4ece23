"""The records of a search's nodes: what is fixed and guessed in each, and what one evaluation saw of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeVar

import torch
from torch import Tensor

from bounds.propagation.backward_pass import chords

T = TypeVar("T", bound="Nodes | Pass")
N = TypeVar("N", bound="Nodes")


@dataclass(frozen=True, eq=False)
class Nodes:
    """A batch of N nodes: phase +1 active, -1 inactive, 0 open; all [N, P] but goal [N] and row_weights [N, J].

    `lower` and `upper` bound each neuron wherever the node's adversaries of interest can be; phases agree with them.
    An open neuron has no multiplier yet: its place holds the coefficient behind it, to be shared out when it is fixed.
    `normal` [N, n] and `height` [N]: one function φ = normal · d + height that is at most 0 at every adversary of the
    node, known from the node that it was split from; -inf where none is. `point` [N, n]: where its tangents were drawn.
    Both are kept where there are envelopes (`bounds/envelopes/base.py`), and have no columns elsewhere.
    `start` [N]: the key of what descents go on from (`bounds/nodes/starts.py`).
    `least` [N]: what the goal's first row is at least at every adversary of the node; -inf where that is not asked.
    `share` [N]: which part of its root's tree a node is, were trees even: a split halves it. It says how far a tree is.
    """

    phase: Tensor
    slope: Tensor
    multiplier: Tensor
    lower: Tensor
    upper: Tensor
    goal: Tensor
    row_weight: Tensor
    point: Tensor
    normal: Tensor
    height: Tensor
    start: Tensor
    least: Tensor
    share: Tensor

    def take(self, index: Tensor) -> Self:
        return _take(self, index)

    def put(self, index: Tensor, nodes: Self) -> Self:
        """The batch with the nodes at `index` replaced."""
        return _put(self, index, nodes)

    def split(self, neuron: Tensor) -> Self:
        """The 2·N children: each node with its `neuron` [N] active, then each with it inactive."""
        count = len(self)
        order = torch.arange(count, device=self.goal.device)
        children = self.take(order.repeat(2))
        share = children.share / 2
        phase, lower, upper = children.phase.clone(), children.lower.clone(), children.upper.clone()
        phase[order, neuron], phase[count + order, neuron] = 1, -1
        lower[order, neuron] = lower[order, neuron].clamp_min(0.0)
        upper[count + order, neuron] = upper[count + order, neuron].clamp_max(0.0)
        return replace(children.fixed(phase), lower=lower, upper=upper, share=share)

    def fixed(self, phase: Tensor) -> Self:
        """The nodes with these phases. What a newly fixed neuron's lower line stood for becomes its multiplier, so
        that the bound starts from where it was: a·h - a·(1 - α)·h where active, a·α·h where not."""
        newly = (self.phase == 0) & (phase != 0)
        share = torch.where(phase > 0, 1.0 - self.slope, self.slope)
        return replace(self, phase=phase, multiplier=torch.where(newly, share * self.multiplier, self.multiplier))

    @property
    def lines(self) -> tuple[Tensor, Tensor]:
        """Chord and offset of every neuron's upper line; of the one line there is where its phase is fixed."""
        chord, offset, _ = chords(self.lower, self.upper)
        is_open = self.phase == 0
        return torch.where(is_open, chord, (self.phase > 0).to(chord.dtype)), torch.where(is_open, offset, 0.0)

    def __len__(self) -> int:
        return int(self.goal.numel())


@dataclass(frozen=True, eq=False)
class Pass:
    """One evaluation of N nodes."""

    distance: Tensor  # [N] proven lower bound on the distance of any adversary in the node
    shift: Tensor  # [N, n] where the bound is attained: x - center
    preactivation: Tensor  # [N, P] of the relaxed net at that point
    mean_before: Tensor  # [N, P] pre-activations, averaged over the ascent: nearly those of the relaxation's optimum
    mean_behind: Tensor  # [N, P] the relaxed ReLUs' values, averaged likewise
    behind: Tensor  # [N, P] the coefficient behind each ReLU
    before: Tensor  # [N, P] and before it
    goal_values: Tensor  # [N, J]
    normal: Tensor  # [N, n] φ = normal · d + height, at most 0 at every adversary of the node
    height: Tensor  # [N]
    rate: Tensor  # [N] how much the distance grows per unit of φ

    def take(self, index: Tensor) -> Pass:
        return _take(self, index)

    def after(self, earlier: Pass) -> Pass:
        """With the means of what was seen earlier taken in."""
        before = (self.mean_before + earlier.mean_before) / 2
        behind = (self.mean_behind + earlier.mean_behind) / 2
        return replace(self, mean_before=before, mean_behind=behind)

    def put(self, index: Tensor, values: Pass) -> Pass:
        """The batch with the passes at `index` replaced."""
        return _put(self, index, values)


def handing_on(nodes: N, seen: Pass) -> N:
    """The nodes with the coefficient behind each open neuron where its multiplier will be."""
    handed_on = torch.where(nodes.phase == 0, seen.behind.clamp_min(0.0), nodes.multiplier)
    return replace(nodes, multiplier=handed_on)


def either(chosen: Tensor, one: Pass, other: Pass, of: Pass | None = None) -> Pass:
    """The function of `one`, and what follows from it, where `chosen`, and of `other` elsewhere; the rest is `of`."""
    found = {}
    for name in ("normal", "height", "distance", "shift", "rate"):
        value, was = getattr(one, name), getattr(other, name)
        found[name] = torch.where(chosen if was.dim() == 1 else chosen.unsqueeze(-1), value, was)
    return replace(of or other, **found)


def one_after_the_other(parts: Sequence[T]) -> T:
    """Batches of one kind as one batch."""
    return type(parts[0])(**{name: torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0])})


def _take(record: T, index: Tensor) -> T:
    return type(record)(**{name: value[index] for name, value in vars(record).items()})


def _put(record: T, index: Tensor, values: T) -> T:
    if not len(index):
        return record
    return type(record)(
        **{name: value.index_copy(0, index, getattr(values, name)) for name, value in vars(record).items()}
    )
