"""The engine `highs`: every goal as one mixed-integer program, to HiGHS."""

from __future__ import annotations

from encoders.solvers.highs import HighsSolver
from verifier.engines.mixed_integer import MixedIntegerEngine


class HighsEngine(MixedIntegerEngine):
    """HiGHS tuned for proofs. Good where few phases are open; its bounds rest on its tolerances."""

    def __init__(self) -> None:
        super().__init__("highs", HighsSolver())
