"""The problem that an engine is handed, what is known of it before, and what is told of it while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from encoders.arrays import FloatArray, Inputs
from encoders.deadline import Deadline
from encoders.errors import DataError
from encoders.grid import Grid
from encoders.layer_graph.graph import Graph
from encoders.quantised.semantics import QuantisedNet
from encoders.question import Goal, Norm, Region
from verifier.question.results import Basis


@dataclass(frozen=True, eq=False)
class Running:
    """A bracket on its way: true when it is told, as every later one is.

    `technique` is what has the turn. `answer` is what the question would answer if it ended now, a `Result` where a
    distance or a radius is asked about; an engine leaves it out, and whoever asks the engine fills it in. `least_row`
    is told of problems that ask for it: what every goal's first row is at least.
    """

    lower: float
    upper: float
    basis: Basis = Basis.RIGOROUS
    nodes: int = 0
    open_phases: int = 0
    technique: str = ""
    answer: Any = None
    least_row: float = -float("inf")

    @property
    def gap(self) -> float:
        """What is left between the two sides."""
        return self.upper - self.lower


Progress = Callable[[Running], None]
"""Called whenever a bracket has moved, or may have."""


@dataclass(frozen=True, eq=False)
class Known:
    """What an earlier attempt at the same question left: a proven lower bound, and an adversary.

    The bound is taken as given, with what it rests on and who proved it. The adversary is an input of the file, flat or
    in its shape (of a perturbation, its variables); it counts once it replays.
    """

    lower: float = 0.0
    basis: Basis = Basis.RIGOROUS
    adversary: Inputs | FloatArray | None = None
    found_by: str = "earlier"
    proven_by: str = "earlier"

    def __post_init__(self) -> None:
        if not self.lower >= 0.0:
            raise DataError(f"known: a lower bound of {self.lower} is none; give a number of at least 0")

    @property
    def start(self) -> float:
        """What a search may start from: its own bounds rest on nothing weaker than `rigorous`."""
        return self.lower if self.basis is Basis.RIGOROUS else 0.0


NOTHING = Known()


@dataclass(frozen=True, eq=False)
class Problem:
    """What an engine must close: is there, for any goal, a point of the region nearer than `ceiling`?

    `ceiling` is a hair above the radius for `verify`, and above the reach of the box for `distance`.
    `falsify_at`: a witness at most this far away ends the question (`verify`); None for `distance`.
    With a `grid`, only its points count: `ceiling` is then the real distance that proves all measures of interest, and
    a proof's lower bound is the length of a measure. With `quantised`, that is the network, and `graph` only nearly it.
    Where the file counts as it is executed, proofs are about `goals` that are eased by what execution can do, and
    adversaries are looked for where the goals as they were `asked` are reached; with constraints, a little inside them.
    With `values`, a decision that stays open is asked what every goal's first row is at least, at inputs of the ball
    that keep its other rows.
    What is `known` holds of all goals together; an engine may start from it, and need not.
    """

    graph: Graph
    region: Region
    norm: Norm
    goals: tuple[Goal, ...]
    ceiling: float
    falsify_at: float | None
    tolerance: float
    deadline: Deadline
    device: str = "cpu"
    grid: Grid | None = None
    quantised: QuantisedNet | None = None
    workers: int = 1  # cores to use; nothing that is proven depends on it
    share: int = 1  # questions that this process's memory is for; nor on this
    asked: tuple[Goal, ...] | None = None
    known: Known = NOTHING
    values: bool = False

    @property
    def aims(self) -> tuple[Goal, ...]:
        """The goals to look for adversaries of, in the order of `goals`."""
        return self.goals if self.asked is None else self.asked

    def eased(self, goal: int) -> FloatArray:
        """By how much each row of a goal was eased."""
        return self.aims[goal].offset - self.goals[goal].offset

    @property
    def most(self) -> int:
        """On a grid: the greatest measure that an adversary of interest can have."""
        if self.grid is None or self.falsify_at is None:
            return -1 if self.grid is None else self.grid.reach
        return self.grid.within(self.falsify_at)
