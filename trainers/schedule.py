"""How the learning rate changes over a training: constant, along a cosine to zero, or in steps."""

from __future__ import annotations

from itertools import pairwise

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR

from encoders.errors import OptionError
from encoders.validation import Positive, validated

WRITTEN = "write cosine, constant, or such as step:0.5,0.75:0.1 (at half and at three quarters, to a tenth)"


@validated
class Schedule:
    """`at` these shares of the training the rate is multiplied by `factor`; along a cosine where `cosine`."""

    cosine: bool = True
    at: tuple[Positive, ...] = ()
    factor: Positive = 0.1

    def __post_init__(self) -> None:
        ordered = all(first < second for first, second in pairwise((*self.at, 1.0)))
        if not ordered or (self.cosine and self.at):
            raise OptionError(f"schedule with steps at {self.at}: give rising shares below 1, and no cosine")

    @classmethod
    def parsed(cls, text: str) -> Schedule:
        """`cosine`, `constant` or `step:SHARE,SHARE:FACTOR`; the factor is 0.1 where none is given."""
        kind, *rest = text.split(":")
        if not rest and kind in ("cosine", "constant"):
            return cls(cosine=kind == "cosine")
        try:
            at, factor = (*rest, "0.1")[:2] if kind == "step" and 1 <= len(rest) <= 2 else ("", "")
            return cls(False, tuple(float(share) for share in at.split(",")), float(factor))
        except OptionError as error:
            raise OptionError(f"schedule {text!r}: {error}") from None
        except ValueError:
            raise OptionError(f"schedule {text!r}: {WRITTEN}") from None

    @property
    def text(self) -> str:
        if self.at:
            return f"step:{','.join(f'{share:g}' for share in self.at)}:{self.factor:g}"
        return "cosine" if self.cosine else "constant"

    def on(self, optimiser: Optimizer, steps: int) -> LRScheduler:
        """Torch's own, over so many steps of the optimiser."""
        if self.cosine:
            return CosineAnnealingLR(optimiser, steps)
        return MultiStepLR(optimiser, [round(share * steps) for share in self.at], self.factor)
