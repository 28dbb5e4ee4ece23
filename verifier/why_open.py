"""Why a question stayed open, in one sentence: what is left to decide, which side still moved, and what to try."""

from __future__ import annotations

from dataclasses import dataclass, field

from verifier.engines.auto import FEW_PHASES

LAST_PART = 1.0 / 3.0  # of the time: a side that did not move in it is taken to be stuck
LITTLE = 1e-3  # of the gap: less is no move


@dataclass
class Moves:
    """When each side of a bracket moved, on the question's own clock."""

    lower: list[tuple[float, float]] = field(default_factory=list)
    upper: list[tuple[float, float]] = field(default_factory=list)

    def see(self, moment: float, lower: float, upper: float) -> None:
        """Where both sides are at a moment."""
        for side, value in ((self.lower, lower), (self.upper, upper)):
            if not side or side[-1][1] != value:
                side.append((moment, value))

    @property
    def negated(self) -> Moves:
        """Those of the negated value."""
        return Moves([(when, -value) for when, value in self.upper], [(when, -value) for when, value in self.lower])

    def since(self, moment: float) -> tuple[bool, bool]:
        """Whether each side moved by more than a little since a moment."""
        gap = self.upper[-1][1] - self.lower[-1][1] if self.lower else 0.0
        return _moved(self.lower, moment, gap), _moved(self.upper, moment, gap)


def _moved(side: list[tuple[float, float]], moment: float, gap: float) -> bool:
    before = [value for when, value in side if when <= moment]
    return bool(before) and side[-1][1] != before[-1] and not abs(side[-1][1] - before[-1]) < LITTLE * gap


def why_open(
    moves: Moves,
    seconds: float,
    open_phases: int,
    engine: str,
    device: str,
    ended_early: bool,
    stopped: bool,
    begun: bool = False,
    on_grid: bool = False,
) -> str:
    """The sentence. `ended_early` says that time was up, or `stopped` that it was called off; else nothing was left to
    do, and the gap is one between real numbers and the file's. `begun` says that an engine had its turn,
    whatever phases it left open. `on_grid` there is no tolerance, and levels between which the search stops."""
    left = (
        f"{open_phases} phase{' is' if open_phases == 1 else 's are'} open"
        if open_phases
        else "no phase is open"
        if begun or not ended_early
        else "the search had not begun"
    )
    if not ended_early and on_grid and engine == "search":
        return (
            f"{left}, and what is left lies between real adversaries and levels of the grid, "
            "which the search alone does not tell apart: try --engine auto"
        )
    if not ended_early:
        return (
            f"{left}, and what is left lies between real arithmetic and the "
            f"file's numbers: {'' if on_grid else 'raise the tolerance, or '}leave it open"
        )
    spent = f"stopped after {seconds:.3g} s" if stopped else f"{seconds:.3g} s were not enough"
    lower, upper = moves.since((1.0 - LAST_PART) * seconds)
    moved = {
        (True, True): "both sides still moved", (True, False): "only the lower side still moved",
        (False, True): "only the upper side still moved", (False, False): "neither side moved",
    }[lower, upper]  # fmt: skip
    tries = ["more time"] if lower or upper or stopped or not open_phases else []
    if open_phases and open_phases <= FEW_PHASES and engine in ("auto", "search"):
        tries.append("--engine highs")
    elif device == "cpu" and open_phases > FEW_PHASES:
        tries.append("a GPU (--device cuda)")
    far = f"; HiGHS is of use below some {FEW_PHASES} open phases" if open_phases > FEW_PHASES else ""
    return f"{left}; {spent}, and in the last third of it {moved}; try {' or '.join(tries or ['more time'])}{far}"
