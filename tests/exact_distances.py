"""Exact distances of random questions, found once by brute force and kept in a table.

Brute force costs as much as the search that it judges, and finds the same in every run. A distance is kept under a
digest of the whole question (net, region, norm, goals): a question that is drawn otherwise is another question, and is
answered by brute force. So the table can be short of an answer, never out of date. A thorough run trusts nothing that
is kept: it finds every distance again, and raises where the table says otherwise.

    python -m tests.exact_distances tests/test_trust.py …    keep what these tests ask and the table does not have
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from encoders.layer_graph.graph import Affine, Graph
from encoders.question import Goal, Norm, Region
from tests.brute_force import brute_force_distance
from tests.draws import thorough

TABLE = Path(__file__).parent / "data" / "exact_distances.csv"
KEEP = "PLUMBLINE_KEEP_DISTANCES"  # set by the program below: what the table lacks is written to it
SAME = 1e-7  # relative: two builds of a solver may round otherwise; the oracle vouches for no more in L2


class StaleTableError(AssertionError):
    """Brute force finds another distance than the one that is kept."""


def exact_distance(graph: Graph, region: Region, norm: Norm, goals: tuple[Goal, ...]) -> float:
    """The exact distance to the nearest adversary of any goal, infinite where there is none."""
    name = digest(graph, region, norm, goals)
    kept = table().get(name)
    if kept is not None and not thorough():
        return kept
    found, _ = brute_force_distance(graph, region, norm, goals)
    if kept is None:
        keep(name, found)
    elif not np.isclose(kept, found, rtol=SAME, atol=SAME):
        raise StaleTableError(f"{name}: {kept!r} is kept, brute force finds {found!r}")
    return found


def digest(graph: Graph, region: Region, norm: Norm, goals: tuple[Goal, ...]) -> str:
    """What tells one question from another: every number in it."""
    text = sha256(str(norm).encode())
    for node in graph.nodes:
        text.update(repr((type(node).__name__, node.size, node.sources)).encode())
        if isinstance(node, Affine):
            for array in (node.bias, *(each.matrix().toarray() for each in node.maps)):
                text.update(np.ascontiguousarray(array, dtype=np.float64).tobytes())
    for array in (region.center, region.lower, region.upper, *(x for goal in goals for x in (goal.rows, goal.offset))):
        text.update(repr(np.shape(array)).encode() + np.ascontiguousarray(array, dtype=np.float64).tobytes())
    return text.hexdigest()[:16]


@cache
def table() -> dict[str, float]:
    """All distances that are kept."""
    with TABLE.open(newline="") as file:
        return {name: float(distance) for name, distance in csv.reader(file)}


def keep(name: str, distance: float) -> None:
    """Remember the distance in this process, and in the table where it is being written."""
    table()[name] = distance
    if KEEP in os.environ:
        with TABLE.open("a", newline="") as file:
            csv.writer(file).writerow((name, repr(float(distance))))


if __name__ == "__main__":
    TABLE.touch()
    code = subprocess.run([sys.executable, "-m", "pytest", *sys.argv[1:]], env={**os.environ, KEEP: "1"}).returncode
    TABLE.write_text("".join(sorted({f"{line}\n" for line in TABLE.read_text().splitlines()})))
    sys.exit(code)
