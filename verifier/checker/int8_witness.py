"""Is the witness on the grid what it is said to be ("Witness" of docs/reference/proof-format-int8.md)?"""

from __future__ import annotations

import numpy as np

from verifier.checker.errors import RefusedError
from verifier.checker.int8_network import Int8Network
from verifier.checker.int8_steps import Grid


def check_steps(grid: Grid, network: Int8Network) -> None:
    """The witness's steps stay in the box, have its measure or less, and win or lead, by the margin."""
    statement = grid.statement
    if statement.steps is None or statement.measure is None:
        return
    if any(grid.value(i, step) is None for i, step in enumerate(statement.steps)):
        raise RefusedError("the witness lies outside the box")
    if grid.measure(statement.steps) > statement.measure:
        raise RefusedError("the witness lies farther away than its measure")
    scores = network.classified(np.array([grid.level(i, step) for i, step in enumerate(statement.steps)]))
    for goal in statement.goals(network.classes):
        leads = [scores[goal.target] - scores[other] for other in goal.others]
        if all(lead >= statement.margin and (lead > 0 or statement.rivals is not None) for lead in leads):
            return
    raise RefusedError("the witness is no adversary")
