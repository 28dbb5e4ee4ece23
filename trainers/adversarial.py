"""Adversarial training: a share of each batch is moved to where the loss is largest within a ball.

The attacks of bounds/ look for the nearest adversary of one sample in a network that stands still; here a whole batch
is attacked at one radius, in a network that changes with every step, so this is either a plain projected gradient
ascent (Madry et al., Towards deep learning models resistant to adversarial attacks, 2018) or one step to where the
linearised network changes its class (Hein & Andriushchenko, Formal guarantees on the robustness of a classifier against
adversarial manipulation, 2017).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Gt, Le
from pydantic import Strict
from torch import Tensor, nn
from torch.nn import functional

from bounds.geometry.halfspace_distance import nearest_in_halfspace
from encoders.errors import OptionError
from encoders.question import CONVEX, Norm, convex_norm
from encoders.validation import ConvexNorm, Natural, Positive, validated
from trainers.regularisers.base import ramp

Scores = Callable[[Tensor], Tensor]
L1_SHARE = 0.05  # of the entries that one L1 step moves
STEPS = 10
STEP = 2.5  # the steps together may go this many radii


@validated
class Adversarial:
    """`share` of every batch becomes adversarial examples within `radius`, by `steps` of ascent or one linearised.

    Over the first `grows` of the training the radius grows from 0 on: networks that meet the whole radius at once may
    learn to give every input the same scores.
    """

    norm: ConvexNorm
    radius: Positive
    share: Annotated[float, Strict(), Gt(0), Le(1)] = 0.5
    steps: Natural = STEPS
    method: Literal["pgd", "linearised"] = "pgd"
    grows: Annotated[float, Strict(), Ge(0), Le(1)] = 0.0

    def __post_init__(self) -> None:
        if self.method == "linearised" and self.steps != STEPS:
            raise OptionError("linearised takes one step; leave the number of steps out")

    @classmethod
    def parsed(cls, text: str) -> Adversarial:
        """NORM:RADIUS[:SHARE[:STEPS]] or linearised:NORM:RADIUS[:SHARE], then :grows=SHARE; pgd: may be said."""
        method, _, setting = text.partition(":")
        if method not in ("pgd", "linearised"):
            method, setting = "pgd", text
        setting, growing, grows = setting.partition(":grows=")
        norm, *rest = setting.split(":")
        try:
            radius, share, steps, *more = (*rest, *("", "0.5", str(STEPS))[len(rest) :])
            if more:
                raise ValueError
            over = float(grows) if growing else 0.0
            return cls(convex_norm(norm), float(radius), float(share), int(steps), method, over)  # type: ignore[arg-type]
        except OptionError as error:
            raise OptionError(f"adversarial {text!r}: {error}") from None
        except ValueError:
            raise OptionError(
                f"adversarial {text!r}: write NORM:RADIUS:SHARE, like linf:0.1:0.5, linearised:l2:1:0.5 or "
                f"linf:0.3:1:grows=0.5, norms: {', '.join(CONVEX)}"
            ) from None

    @property
    def text(self) -> str:
        setting = f"{self.norm}:{self.radius:g}:{self.share:g}"
        setting = f"{setting}:{self.steps}" if self.method == "pgd" else f"{self.method}:{setting}"
        return f"{setting}:grows={self.grows:g}" if self.grows else setting

    def applied(self, module: nn.Module, x: Tensor, labels: Tensor, progress: float = 1.0) -> Tensor:
        """The batch with its first samples replaced; it comes shuffled, so that is a random share.

        `progress` of the training, from 0 to 1, says how far the radius has grown.
        """
        count = max(1, round(self.share * len(x)))
        radius = self.radius * ramp(progress, 0.0, self.grows)
        training = module.training
        module.eval()  # no dropout, and BatchNorm as it will be
        if self.method == "pgd":
            moved = ascend(module, x[:count], labels[:count], self.norm, radius, self.steps)
        else:
            moved = linearised(module, x[:count], labels[:count], self.norm, radius)
        module.train(training)
        return torch.cat([moved, x[count:]])


def ascend(
    scores: Scores, x: Tensor, labels: Tensor, norm: Norm, radius: float | Tensor, steps: int, start: bool = True
) -> Tensor:
    """Inputs in ball(x, radius) ∩ [0, 1] where the cross-entropy is large; begins at random where `start`.

    One radius for all, or one for each row: [B].
    """
    moved = x
    radius = torch.as_tensor(radius, dtype=x.dtype, device=x.device).reshape(-1, *[1] * (x.dim() - 1))
    if start:
        noise = torch.rand_like(x) * 2 - 1
        moved = projected(x, noise * radius if norm is Norm.LINF else radius * _unit(noise, norm), norm, radius)
    for _ in range(steps):
        with torch.enable_grad():
            moved = moved.detach().requires_grad_()
            loss = functional.cross_entropy(scores(moved), labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, moved)
        step = STEP * radius / steps * _steepest(moved, gradient, norm)
        moved = projected(x, moved.detach() + step - x, norm, radius)
    return moved.detach()


def linearised(scores: Scores, x: Tensor, labels: Tensor, norm: Norm, radius: float) -> Tensor:
    """Each input moved to the nearest point of [0, 1] where, linearised, the strongest other class draws level.

    Where that is farther than the radius, as far towards it as the radius allows; where the other class leads already,
    nowhere.
    """
    with torch.enable_grad():
        start = x.detach().requires_grad_()
        outputs = scores(start)
        own = functional.one_hot(labels, outputs.shape[1]).bool()
        lead = outputs[own] - outputs.masked_fill(own, -torch.inf).amax(1)
        (gradient,) = torch.autograd.grad(lead.sum(), start)
    flat, lead = x.flatten(1), lead.detach()
    step = nearest_in_halfspace(gradient.flatten(1), lead, flat, 1.0 - flat, norm)[1]
    step = step.nan_to_num() * (lead > 0).unsqueeze(1)
    return projected(x, step.reshape(x.shape), norm, radius)


def projected(x: Tensor, difference: Tensor, norm: Norm, radius: float | Tensor) -> Tensor:
    """x plus the difference, brought into the box first (which never adds length) and then into the ball."""
    flat = ((x + difference).clamp(0.0, 1.0) - x).flatten(1)
    radius = torch.as_tensor(radius, dtype=x.dtype, device=x.device).reshape(-1, 1)
    if norm is Norm.LINF:
        flat = torch.minimum(torch.maximum(flat, -radius), radius)
    elif norm is Norm.L2:
        flat = flat * (radius / flat.norm(dim=1, keepdim=True).clamp_min(1e-12)).clamp_max(1.0)
    else:  # soft thresholding, at the level where the entries left over sum to the radius
        ordered = flat.abs().sort(dim=1, descending=True).values
        ranks = torch.arange(1, flat.shape[1] + 1, device=flat.device)
        level = ((ordered.cumsum(1) - radius) / ranks).amax(dim=1, keepdim=True).clamp_min(0.0)
        flat = flat.sign() * (flat.abs() - level).clamp_min(0.0)
    return (x + flat.reshape(x.shape)).clamp(0.0, 1.0)


def _steepest(x: Tensor, gradient: Tensor, norm: Norm) -> Tensor:
    """The step of length one that raises the loss most, of the entries that are not at their side of the box yet."""
    stuck = ((gradient > 0) & (x >= 1)) | ((gradient < 0) & (x <= 0))
    gradient = gradient * ~stuck
    if norm is Norm.LINF:
        return gradient.sign()
    if norm is Norm.L1:
        flat = gradient.flatten(1)
        most = max(1, int(L1_SHARE * flat.shape[1]))
        least = flat.abs().topk(most, dim=1).values[:, -1:]
        gradient = (flat.sign() * (flat.abs() >= least) * (flat != 0)).reshape(x.shape)
    return _unit(gradient, norm)


def _unit(x: Tensor, norm: Norm) -> Tensor:
    order = 1 if norm is Norm.L1 else 2
    length = torch.linalg.vector_norm(x.flatten(1), ord=order, dim=1).clamp_min(1e-12)
    unit: Tensor = x / length.reshape(-1, *[1] * (x.dim() - 1))
    return unit
