"""Whether nodes are worth their linear programs, by the part of their gaps that those closed of late.

A few steps of an ascent are cheaper than a program, but get stuck where a node needs large multipliers, as near the end
of a hard tree: there a program closes what would else become a tree of its own, and says best where to split. So a few
nodes have one all the time, and every node while they close much.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bounds.nodes.linear_program import NodeProgram, Proven
from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes
from encoders.deadline import Clock

SHARE = 0.1  # of the time, for programs while they gain little
WORTH = 0.15  # of the gap: where programs close that much of it, every node has its own
GAIN_RATE = 0.1
SECONDS, ENTRIES = 1.0, 2_000_000  # of one program, at most


def program_of(engine: NodeBounds, node: Nodes, target: float, time_left: float) -> Proven | None:
    """What a node's linear program proves; None where it is too large."""
    if NodeProgram.entries(engine, node) > ENTRIES:
        return None
    return NodeProgram(engine, node).raised(target, min(SECONDS, time_left))


class ProgramChoice:
    """What programs closed of late, and the time that they took."""

    def __init__(self, clock: Clock, share: float = SHARE, worth: float = WORTH) -> None:
        self.clock, self.share, self.worth = clock, share, worth
        self.started, self.seconds, self.gain = clock.now(), 0.0, 0.0

    @property
    def pays(self) -> bool:
        """Whether they close much."""
        return self.gain >= self.worth

    def next(self) -> bool:
        """Whether the next node has its program."""
        return self.pays or self.seconds < self.share * (self.clock.now() - self.started)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """For as long as programs are solved."""
        began = self.clock.now()
        try:
            yield
        finally:
            self.seconds += self.clock.now() - began

    def saw(self, gap: float, gained: float) -> None:
        """What a node lacked, and how much of that its program gained."""
        part = min(1.0, max(0.0, gained / max(gap, 1e-300)))
        self.gain += GAIN_RATE * (part - self.gain)
