"""Which input of a box to cut: where both halves together come nearest to being closed, as its last pass foretells.

A half's bound is foretold from the functions of the whole: a row's own function gains what its input moves less, and
each neuron's range shrinks by what its functions lose; what its lines then leave less between them, times the row's
coefficient behind the neuron, the row gains. That costs a few products with the number of inputs, and no pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.boxes.box_bounds import Bounded, Boxes

CREDIT = 0.5  # of what a neuron's lines lose at most, a row gains about so much
BEYOND = 1e-3  # how much it counts by how far a half is closed, beside how far it is from that


@dataclass(frozen=True, eq=False)
class Halves:
    """Halves of boxes, and how many boxes have none, since no number lies between their sides."""

    boxes: Boxes
    whole: int


def halves(bounded: Bounded, parts: Boxes, row: Tensor) -> Halves:
    """Halves of parts of the boxes, each cut by the input that `row` [B] asks for; the most promising come last."""
    middle = parts.middle
    inside = (parts.lower < middle) & (middle < parts.upper)
    values = foretold(bounded, parts, row)
    score = (values.clamp_max(0.0) + BEYOND * values).sum(1).nan_to_num(nan=0.0)
    cut = inside.any(1)
    chosen = torch.where(inside, score, -torch.inf).argmax(1)[cut]
    bounded, values, middle = bounded.take(cut), values[cut], middle[cut]
    below, above = parts.upper[cut].clone(), parts.lower[cut].clone()
    at = torch.arange(len(chosen), device=chosen.device)
    below[at, chosen] = above[at, chosen] = middle[at, chosen]
    both = Boxes.joined([
        bounded.on(parts.lower[cut], below, parts.left[cut]),
        bounded.on(above, parts.upper[cut], parts.left[cut]),
    ])  # fmt: skip
    order = values[at, :, chosen].T.flatten().argsort(descending=True)
    return Halves(both.take(order), int((~cut).sum()))


def foretold(bounded: Bounded, boxes: Boxes, row: Tensor) -> Tensor:
    """About the least value of one row [B] of each part of a box, on its halves by each input: [B, 2, n]."""
    at = torch.arange(len(row), device=row.device)
    half = 0.5 * (boxes.upper - boxes.lower)
    normal = bounded.rows.normal[at, row]
    base = torch.minimum(normal * boxes.lower, normal * boxes.upper).sum(1) + bounded.rows.value[at, row]
    gains = base[:, None, None] + _gains(normal, half)
    behind = bounded.behind[at, row]
    for layer in bounded.neurons:
        a = torch.where(layer.present, behind.gather(1, layer.entries), 0.0)[:, None, :, None]
        least, most = (side.gather(1, layer.entries)[:, None, :, None] for side in (boxes.least, boxes.most))
        wide = half.unsqueeze(1)
        less, fewer = _gains(layer.under.normal, wide), _gains(layer.over.normal, wide)
        saved = _loss(a, least, most) - _loss(a, least + less, most - fewer)
        gains = gains + CREDIT * saved.sum(2)
    return gains


def _gains(normal: Tensor, half: Tensor) -> Tensor:
    """What the least value of a linear function gains on the lower and the upper half: [B, 2, ..., n]."""
    moved = normal * half
    return torch.stack([(-moved).clamp_min(0.0), moved.clamp_min(0.0)], dim=1)


def _loss(a: Tensor, least: Tensor, most: Tensor) -> Tensor:
    """How far apart a neuron's value and its line can be, times the coefficient behind it."""
    low, high = (-least).clamp_min(0.0), most.clamp_min(0.0)
    above = low * high / (low + high).clamp_min(1e-300)
    return torch.where(a < 0, -a * above, a * torch.minimum(low, high))
