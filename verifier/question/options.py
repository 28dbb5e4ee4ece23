"""How a question is asked: options, validated once where they enter, and whether a model can be asked so."""

from __future__ import annotations

from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

import numpy as np

from bounds.execution_error import ARITHMETICS
from encoders.arrays import IntArray
from encoders.errors import OptionError
from encoders.grid import checked_grid
from encoders.question import CONVEX, Norm
from verifier.engines.registry import check_engine_name
from verifier.question.model import Model

COUNTS = ("inputs", "pixels")
REAL = "real"
EXECUTIONS = (REAL, *ARITHMETICS)
FARTHEST = 1e30  # sums of squares of larger inputs leave even float64's range in large nets


@dataclass(frozen=True)
class Options:
    """How a question is asked. Validated once; part of every resume key.

    `execution` says what an adversary is: `real`, an input that the real-valued network of the file's numbers
    classifies otherwise; `float32` or `float64`, the type that the file computes in, one that the file classifies
    otherwise as it is executed, with every rounding on the way (`bounds/execution_error.py`).
    """

    norm: Norm = Norm.LINF
    targets: tuple[int, ...] | None = None
    margin: float = 0.0
    box: tuple[float, float] = (0.0, 1.0)
    time_limit: float | None = None
    tolerance: float = 1e-6
    engine: str = "auto"
    device: str = "auto"
    seed: int = 0
    grid: int | IntArray | None = None  # levels per unit: of all inputs, or of each
    count: str = "inputs"  # what L0 counts
    execution: str = REAL

    @classmethod
    def given(cls, **options: Any) -> Options:
        """Options from keywords; an unknown one is refused with those that there are."""
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                like = get_close_matches(name, known, 1)
                meant = f"did you mean {like[0]}? " if like else ""
                raise OptionError(f"option {name!r}: {meant}choose from {', '.join(known)}")
        return cls(**options)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "norm", Norm(self.norm))
        except ValueError:
            raise OptionError(f"norm {self.norm!r}: choose from {', '.join(Norm)}") from None
        if self.targets is not None:
            object.__setattr__(self, "targets", tuple(sorted({int(t) for t in self.targets})))
            if not self.targets:
                raise OptionError("no target given; name at least one class, or leave targets out")
        if not (np.isfinite(self.margin) and self.margin >= 0):
            raise OptionError(f"margin {self.margin}: give a finite number, zero or more")
        low, high = self.box
        if not (np.isfinite(low) and np.isfinite(high) and low <= high):
            raise OptionError(f"box {low},{high}: give two finite numbers, the lower one first")
        if max(abs(low), abs(high)) > FARTHEST:
            raise OptionError(f"box {low},{high}: give numbers of at most {FARTHEST:g} in size")
        if self.time_limit is not None and not (self.time_limit > 0 and np.isfinite(self.time_limit)):
            raise OptionError(f"time limit {self.time_limit}: give a positive number of seconds")
        if not (np.isfinite(self.tolerance) and self.tolerance > 0):
            raise OptionError(f"tolerance {self.tolerance}: give a positive number")
        object.__setattr__(self, "grid", checked_grid(self.grid))
        if self.count not in COUNTS:
            raise OptionError(f"count {self.count!r}: choose from {', '.join(COUNTS)}")
        if self.count != "inputs" and self.norm is not Norm.L0:
            raise OptionError(f"count {self.count} is about how many differ: ask for it with norm l0")
        if self.execution not in EXECUTIONS:
            raise OptionError(f"execution {self.execution!r}: choose from {', '.join(EXECUTIONS)}")
        check_engine_name(self.engine)
        if self.device not in ("auto", "cpu") and not self.device.startswith("cuda"):
            raise OptionError(f"device {self.device!r}: choose from auto, cpu, cuda")


def check_execution(model: Model, options: Options) -> None:
    """Refuse to ask about an execution that is not the file's, or that proofs know nothing of."""
    if options.execution == REAL:
        return
    if model.quantised is not None:
        raise OptionError(
            f"{model.path}: a quantised network is answered as it is executed, to the bit; leave out --execution"
        )
    own = np.dtype(model.input_type).name
    if options.execution != own:
        raise OptionError(f"{model.path}: it computes in {own}; give --execution {own} or leave it out")
    if model.rounded_after:
        raise OptionError(
            f"{model.path}: executed, its final {' and '.join(model.rounded_after)} may make different scores equal; "
            "export it without, or leave out --execution"
        )
    if options.grid is not None:
        raise OptionError(
            f"execution {options.execution}: proofs on a grid are about real arithmetic; leave out one of the two"
        )


def check_convex(options: Options) -> None:
    """Attacks and bounds know norms with balls alone."""
    if options.norm not in CONVEX:
        known = ", ".join(CONVEX)
        raise OptionError(f"norm {options.norm}: choose from {known} here (l0 is for distance and verify)")
