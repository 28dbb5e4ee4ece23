"""Is the witness what it is said to be ("Witness" of docs/reference/proof-format.md)? Always in whole numbers."""

from __future__ import annotations

import numpy as np

from verifier.checker.errors import RefusedError
from verifier.checker.exact import Dyadics, Exact
from verifier.checker.network import Affine, Input, Network
from verifier.checker.statement import Statement


def check_witness(statement: Statement, network: Network) -> None:
    """The input lies in the box and near enough, and it is an adversary by its exact scores."""
    if statement.witness is None or statement.distance is None:
        return
    ends = zip(statement.lower, statement.witness, statement.upper, strict=True)
    if not all(low <= at <= high for low, at, high in ends):
        raise RefusedError("the witness lies outside the box")
    if not all(constraint.keeps(statement.witness) for constraint in statement.constraints):
        raise RefusedError("the witness breaks a constraint")
    moves = [abs(at - c) for at, c in zip(statement.witness, statement.sample, strict=True)]
    if statement.scale is not None:
        moves = [move / unit for move, unit in zip(moves, statement.scale, strict=True)]
    if statement.norm == "linf":
        near = max(moves) <= statement.distance
    elif statement.norm == "l1":
        near = sum(moves) <= statement.distance
    else:
        near = sum(move * move for move in moves) <= statement.distance**2
    if not near:
        raise RefusedError("the witness lies farther away than its distance")
    exact = Exact()
    found = exact.compared(scores(network, exact.exactly(statement.witness)))
    for goal in statement.goals(network.classes):
        leads = [found[goal.target] - found[other] for other in goal.others]
        if all(lead >= statement.margin and lead > 0 for lead in leads):
            return
    raise RefusedError("the witness is no adversary")


def scores(network: Network, x: Dyadics) -> Dyadics:
    """The class scores of an input, exactly."""
    exact = Exact()
    found: list[Dyadics] = []
    for value in network.values:
        if isinstance(value, Input):
            found.append(x)
        elif isinstance(value, Affine):
            total = exact.zeros(value.size) if value.bias is None else exact.constants(value.bias)
            for one, source in value.terms:
                total = total + exact.forward(exact.part(one), found[source])
            found.append(total)
        else:
            found.append(Dyadics(np.maximum(found[value.source].ints, 0), found[value.source].exponent))
    return found[network.scores]
