"""Closed forms for one linear function over ball ∩ box, in each norm, on the safe side of rounding.

With d = x - center, an entry can use `room` w in the direction that lowers a·x (w = upper - center where a < 0,
center - lower where a > 0). Everything below depends on |a| and w only. Each formula is a *dual* bound: any choice of
its free parameter is valid, the best one is found by Newton steps or a sort, and only the last evaluation is rounded.
"""

from __future__ import annotations

from itertools import count

import torch
from torch import Tensor

from bounds.rounding import gamma
from encoders.question import Norm

NEWTON_STEPS = 4  # on a device, before it is asked whether another would change anything: it has to wait for that
FIRST_LARGEST = 64  # entries


def room(a: Tensor, below: Tensor, above: Tensor) -> Tensor:
    """How far each entry can move in the direction that lowers a·x."""
    return torch.where(a > 0, below, above)


def distance_to_halfspace(a: Tensor, value: Tensor, below: Tensor, above: Tensor, norm: Norm) -> Tensor:
    """A lower bound on min ‖x - c‖ over { x in box : value + a·(x - c) ≤ 0 }; inf where the set is empty.

    a: [..., n]; value: [...], the function at the center; below, above: room to the box, broadcastable to a.
    """
    return nearest_in_halfspace(a, value, below, above, norm)[0]


@torch.no_grad()
def nearest_in_halfspace(
    a: Tensor, value: Tensor, below: Tensor, above: Tensor, norm: Norm
) -> tuple[Tensor, Tensor, Tensor]:
    """The same bound; the point x - c [..., n] where it is attained; and ∂bound/∂value [...].

    Only the bound is proven. Point and rate guide a search and seed candidates; where the set is empty, the point is
    the corner of the box that comes closest.
    """
    size = a.abs()
    width = room(a, below, above)
    safety = 4.0 * gamma(a.shape[-1])
    if norm is Norm.L0:  # the hull of the points that move so many: an L1 ball in units of each entry's room
        bound, travel, rate = _nearest_l1(size * width, value, torch.ones_like(size), safety)
        travel = travel * width
    else:
        bound, travel, rate = _NEAREST[norm](size, value, width, safety)
    whole = (size * width).sum(-1)
    bound = torch.where(whole * (1.0 + safety) < value, torch.inf, bound)
    bound = torch.where(value <= 0, torch.zeros_like(bound), bound)
    bound = torch.nan_to_num(bound, nan=0.0, posinf=torch.inf).clamp_min(0.0)
    return bound, -a.sign() * travel, rate


def _newton(size: Tensor, value: Tensor, width: Tensor, pace: Tensor | None = None) -> Tensor:
    """The root r of Σ size · min(pace · r, width) = value: concave, so Newton from below never overshoots. `pace` is 1
    where left out.

    A step follows from which entries are held, and r only grows: once a step changes nothing, it is the root. Near the
    box's last corner, where entries are held one after the other, four steps would be up to a fifth short of it.
    """
    rise, gain = size if pace is None else size * pace, size * width
    asked = 1 if size.device.type == "cpu" else NEWTON_STEPS
    r = value / rise.sum(-1).clamp_min(1e-300)
    for step in count(1):
        far = r.unsqueeze(-1)
        free = (far if pace is None else pace * far) < width
        slope, held = torch.where(free, rise, 0.0).sum(-1), torch.where(free, 0.0, gain).sum(-1)
        before, r = r, torch.maximum(r, torch.where(slope > 0, (value - held) / slope.clamp_min(1e-300), r))
        if step >= asked and not bool((r > before).any()):
            break
    return r


def _nearest_linf(size: Tensor, value: Tensor, width: Tensor, safety: float) -> tuple[Tensor, Tensor, Tensor]:
    """r ≥ (value - Σ_held size·width) / Σ_free size, for any split into held and free entries."""
    r = _newton(size, value.clamp_min(0.0), width)
    free = r.unsqueeze(-1) < width
    slope, held = torch.where(free, size, 0.0).sum(-1), torch.where(free, 0.0, size * width).sum(-1)
    numerator = value - held - safety * (value.abs() + held)
    bound = torch.where(slope > 0, numerator / (slope * (1.0 + safety)).clamp_min(1e-300), torch.zeros_like(value))
    return bound, torch.minimum(width, r.unsqueeze(-1)), 1.0 / slope.clamp_min(1e-12)


def _nearest_l1(size: Tensor, value: Tensor, width: Tensor, safety: float) -> tuple[Tensor, Tensor, Tensor]:
    """Σd ≥ λ·value - Σ max(λ·size - 1, 0)·width for any λ ≥ 0; the best λ is 1/size of the entry that fills up last."""
    ordered, order = size.sort(-1, descending=True)
    wide = width.expand_as(size).gather(-1, order)
    gain = ordered * wide
    filled = gain.cumsum(-1)
    last = (filled < value.unsqueeze(-1)).sum(-1, keepdim=True).clamp_max(size.shape[-1] - 1)
    marginal = ordered.gather(-1, last).squeeze(-1)
    price = 1.0 / marginal.clamp_min(1e-300)
    priced = size * price.unsqueeze(-1)
    excess = ((priced - 1.0).clamp_min(0.0) * width).sum(-1)
    gross = (priced * width * (priced > 1.0)).sum(-1) + price * value.abs()
    bound = price * value - excess - safety * gross
    missing = (value.unsqueeze(-1) - (filled - gain)).clamp_min(0.0)
    taken = torch.minimum(wide, missing / ordered.clamp_min(1e-300))
    travel = torch.zeros_like(size).scatter(-1, order, taken)
    return torch.where(torch.isfinite(price), bound, torch.zeros_like(bound)), travel, 1.0 / marginal.clamp_min(1e-12)


def _nearest_l2(size: Tensor, value: Tensor, width: Tensor, safety: float) -> tuple[Tensor, Tensor, Tensor]:
    """r² ≥ 2λ·value + Σ (d² - 2λ·size·d) with d = min(λ·size, width), for any λ ≥ 0."""
    price = _newton(size, value.clamp_min(0.0), width, size)
    d = torch.minimum(price.unsqueeze(-1) * size, width)
    spent = (2.0 * price.unsqueeze(-1) * size * d - d * d).sum(-1)
    square = 2.0 * price * value - spent - safety * (2.0 * price * value.abs() + 2.0 * spent)
    bound = square.clamp_min(0.0).add(1e-300).sqrt() * (1.0 - safety)
    return bound, d, price / d.square().sum(-1).sqrt().clamp_min(1e-12)


_NEAREST = {Norm.LINF: _nearest_linf, Norm.L1: _nearest_l1, Norm.L2: _nearest_l2}


def lowest_value(a: Tensor, value: Tensor, below: Tensor, above: Tensor, norm: Norm, radius: Tensor) -> Tensor:
    """A lower bound on min of value + a·(x - c) over ball(c, radius) ∩ box. Differentiable in a and value."""
    size = a.abs()
    width = room(a, below, above)
    if norm is not Norm.L0:
        width = torch.minimum(width, radius.unsqueeze(-1))
    safety = 4.0 * gamma(a.shape[-1])
    if norm is Norm.LINF:
        drop = (size * width).sum(-1)
    elif norm is Norm.L1:
        # Σ size·d ≤ τ·radius + Σ max(size - τ, 0)·width for any τ ≥ 0; best where the widths use up the radius.
        with torch.no_grad():
            ordered, _, used = _largest(size * (width > 0), width, radius.unsqueeze(-1))
            last = (used < radius.unsqueeze(-1)).sum(-1, keepdim=True)
            most = ordered.shape[-1]
            threshold = torch.where(last < most, ordered.gather(-1, last.clamp_max(most - 1)), 0.0).squeeze(-1)
        drop = threshold * radius + ((size - threshold.unsqueeze(-1)).clamp_min(0.0) * width).sum(-1)
    elif norm is Norm.L0:  # the so many that bring most
        drop, _ = most_of(size * width, radius)
    else:
        drop = torch.minimum((size * width).sum(-1), _drop_l2(size, width, radius))
    bound = value - drop - safety * (value.abs() + drop)
    return torch.nan_to_num(bound, nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)


def _largest(size: Tensor, width: Tensor, radius: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As many of the largest entries of size [..., n], in order, as spend the radius [..., 1]: the entries, their
    places, and the widths up to each. A few do where the room is wide, and a whole sort takes several times as long.
    """
    most, wide = min(FIRST_LARGEST, size.shape[-1]), width.expand_as(size)
    while True:
        ordered, order = size.topk(most, dim=-1)
        used = wide.gather(-1, order).cumsum(-1)
        if most == size.shape[-1] or bool((used[..., -1:] >= radius).all()):
            return ordered, order, used
        most = size.shape[-1]


def most_of(gain: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of the `count` largest of gain [..., n] and the least of these (0 without any); gain ≥ 0.

    `count` is [...], or [N] for gain [N, M, n].
    """
    most = min(int(count.max()) if count.numel() else 0, gain.shape[-1])
    if most <= 0:
        return gain.new_zeros(gain.shape[:-1]), gain.new_zeros(gain.shape[:-1])
    top = gain.topk(most, dim=-1).values
    count = count.reshape(*count.shape, *(1,) * (gain.dim() - count.dim()))
    place = torch.arange(1, most + 1, device=gain.device)
    return (top * (place <= count)).sum(-1), (top * (place == count)).sum(-1)


def _drop_l2(size: Tensor, width: Tensor, radius: Tensor) -> Tensor:
    """Σ size·d ≤ Σ_held size·width + radius·‖size_free‖ for any split; held are the entries that the ray saturates."""
    with torch.no_grad():
        scale = radius / size.square().sum(-1).sqrt().clamp_min(1e-300)
        free = (scale.unsqueeze(-1) * size < width).to(size.dtype)
    held = (size * width * (1.0 - free)).sum(-1)
    return held + radius * (size * free).square().sum(-1).add(1e-300).sqrt()


@torch.no_grad()
def lowest_point(a: Tensor, below: Tensor, above: Tensor, norm: Norm, radius: Tensor) -> Tensor:
    """Where a · d is least on ball(0, radius [...]) ∩ box [..., n]. Approximate: nothing is proven from it."""
    radius = radius.clamp_max(1e30).unsqueeze(-1)
    width = room(a, below, above)
    if norm is Norm.L0:
        rank = (a.abs() * width).argsort(-1, descending=True).argsort(-1)
        return -a.sign() * width * (rank < radius)
    width = torch.minimum(width, radius)
    if norm is Norm.LINF:
        return -a.sign() * width
    if norm is Norm.L2:
        scale = radius / a.square().sum(-1, keepdim=True).sqrt().clamp_min(1e-30)
        return -a.sign() * torch.minimum(width, scale * a.abs())
    _, order, used = _largest(a.abs() * (width > 0), width, radius)
    wide = width.gather(-1, order)
    spent = torch.minimum(wide, (radius - (used - wide)).clamp_min(0.0))
    return -a.sign() * torch.zeros_like(a).scatter(-1, order, spent)
