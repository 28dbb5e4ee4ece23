"""Exact distances and greatest values of random questions, found once by brute force and kept in a table.

Brute force costs as much as the search that it judges, and finds the same in every run. What it finds is kept under a
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
from collections.abc import Callable, Iterable
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from encoders.layer_graph.graph import Affine, Graph
from encoders.question import Goal, Norm, Region
from tests.brute_force import Array, OracleError, brute_force_distance
from tests.brute_force_greatest import Greatest, greatest_value
from tests.draws import thorough

TABLE = Path(__file__).parent / "data" / "exact_distances.csv"
KEEP = "PLUMBLINE_KEEP_DISTANCES"  # set by the program below: what the table lacks is written to it
SAME = 1e-7  # relative: two builds of a solver may round otherwise; the oracle vouches for no more in L2


class StaleTableError(AssertionError):
    """Brute force finds another number than the one that is kept."""


def exact_distance(graph: Graph, region: Region, norm: Norm, goals: tuple[Goal, ...]) -> float:
    """The exact distance to the nearest adversary of any goal, infinite where there is none."""
    name = digest(str(norm), graph, region, numbers_of(goals))
    (found,) = known(name, lambda: (brute_force_distance(graph, region, norm, goals)[0],))
    return found


def exact_greatest(
    graph: Graph,
    region: Region,
    norm: Norm,
    radius: float,
    rows: Array,
    scale: Array | None = None,
    constraints: tuple[Array, Array] | None = None,
) -> Greatest:
    """The greatest of linear functions of the scores over a ball, as `greatest_value` finds it."""

    def find() -> tuple[float, ...]:
        try:
            found = greatest_value(graph, region, norm, radius, rows, scale, constraints)
        except OracleError:
            return ()
        return (found.lower, found.upper, *found.point)

    more = () if scale is None else (scale,)
    numbers = (np.float64(radius), rows, *more, *(() if constraints is None else constraints))
    kept = known(digest(f"greatest {norm}", graph, region, numbers), find)
    if not kept:
        raise OracleError("brute force does not know this greatest value")
    lower, upper, *point = kept
    return Greatest(lower, upper, np.array(point))


def known(name: str, find: Callable[[], tuple[float, ...]]) -> tuple[float, ...]:
    """The numbers that are kept under a digest, or that brute force finds; none where it does not know."""
    kept = table().get(name)
    if kept is not None and not thorough():
        return kept
    found = find()
    if kept is None:
        keep(name, found)
    elif len(kept) != len(found) or not np.allclose(kept[:2], found[:2], rtol=SAME, atol=SAME):
        raise StaleTableError(f"{name}: {kept!r} is kept, brute force finds {found!r}")
    return found


def numbers_of(goals: tuple[Goal, ...]) -> list[Array]:
    """What is in goals."""
    return [array for goal in goals for array in (goal.rows, goal.offset)]


def digest(kind: str, graph: Graph, region: Region, numbers: Iterable[Array]) -> str:
    """What tells one question from another: every number in it."""
    text = sha256(kind.encode())
    for node in graph.nodes:
        text.update(repr((type(node).__name__, node.size, node.sources)).encode())
        if isinstance(node, Affine):
            for array in (node.bias, *(each.matrix().toarray() for each in node.maps)):
                text.update(np.ascontiguousarray(array, dtype=np.float64).tobytes())
    for array in (region.center, region.lower, region.upper, *numbers):
        text.update(repr(np.shape(array)).encode() + np.ascontiguousarray(array, dtype=np.float64).tobytes())
    return text.hexdigest()[:16]


@cache
def table() -> dict[str, tuple[float, ...]]:
    """All that is kept."""
    with TABLE.open(newline="") as file:
        return {name: tuple(map(float, numbers)) for name, *numbers in csv.reader(file)}


def keep(name: str, numbers: tuple[float, ...]) -> None:
    """Remember the numbers in this process, and in the table where it is being written."""
    table()[name] = numbers
    if KEEP in os.environ:
        with TABLE.open("a", newline="") as file:
            csv.writer(file).writerow((name, *(repr(float(number)) for number in numbers)))


if __name__ == "__main__":
    TABLE.touch()
    code = subprocess.run([sys.executable, "-m", "pytest", *sys.argv[1:]], env={**os.environ, KEEP: "1"}).returncode
    TABLE.write_text("".join(sorted({f"{line}\n" for line in TABLE.read_text().splitlines()})))
    sys.exit(code)
