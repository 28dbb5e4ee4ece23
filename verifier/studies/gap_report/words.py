"""The words of a report's page in a line each, and of all of them those that the page uses."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from bounds.attacks import ATTACKS, PORTFOLIO
from bounds.lower import LOWER_BOUNDS
from encoders.errors import OptionError
from verifier.pages.page import Table
from verifier.question.results import Basis
from verifier.runs.journal import Record
from verifier.studies.gap_report.measure import SAMPLED
from verifier.studies.gap_report.records import Collected
from verifier.studies.gap_report.told import UNDECIDED

WHO = {
    "auto": "the engine that is asked where none is named: the search, and HiGHS in turns with it on small programs",
    "search": "branch and bound on the phases of ReLUs, with bounds of its own",
    "splits": "branch and bound on the inputs that move",
    "highs": "the mixed-integer program on the solver HiGHS",
    "polish": "programs on the linear pieces around an adversary that was found, each for the nearest of its piece",
    "shrinking-pgd": "projected gradient descent that asks for an adversary a hundredth nearer after each win",
    PORTFOLIO: "the attacks that the exact search begins with, together",
    SAMPLED: "an estimate, and no bound: the steepest gradient among random points (in the manner of CLEVER)",
}
"""Engines, and who else finds or proves without a place in a table of techniques."""
BASES = {
    Basis.RIGOROUS: "float64 with a bound on what rounding can have done to every figure; no solver's word",
    Basis.INTEGER: "CP-SAT's verdict on a program over integers that holds whatever was rounded on the way to it",
    Basis.SOLVER: "the verdict of a mixed-integer solver, which works within tolerances and can be wrong",
}
ALWAYS = {
    "exact": "the two sides of a distance meet to within the tolerance",
    UNDECIDED: "they do not; at a radius, neither a proof nor an adversary is known. In the files: unresolved",
    "proven by": "the engine or lower bound whose proof the lower side is",
    "found by": "the attack or engine that found the nearest adversary",
    "engine": "what was asked to close the gap between the two sides",
    "budget": "seconds for the whole report, of which each input has its share",
    "digest of the data": "the first 16 digits of the SHA-256 of all inputs as the model takes them, then all labels, "
    "each after its type and shape",
}
OF_BOUNDS = {
    "balls per bound": "how many balls around the input a lower bound is looked for on, by bisection",
    "ascent steps": "how often a lower bound that has free parameters improves them, on each ball",
}


def words(norms: Sequence[Collected]) -> Table:
    """What the page names and does not explain elsewhere: settings, bases, engines, and each bound and attack."""
    records = [record for found in norms for record in found.records if record["verdict"] != "misclassified"]
    named = dict.fromkeys(technique.name for found in norms for technique in found.techniques)
    bounds = any(record["bounds"] for record in records)
    told = ALWAYS | (OF_BOUNDS if bounds else {})
    told |= {f"basis {basis}": line for basis, line in BASES.items() if basis in _held(records, "basis")}
    for name in [*named, *_held(records, "proven_by"), *_held(records, "found_by")]:
        line = WHO.get(name) or line_of(name)
        if line:
            told.setdefault(name, line)
    return Table(("word", "what it stands for here"), list(told.items()))


def line_of(name: str) -> str:
    """The first line that a lower bound or an attack says of itself; empty where no table here knows it."""
    for table in (LOWER_BOUNDS, ATTACKS):
        try:
            kind = table.found(name)
        except OptionError:
            continue
        own = (kind.__doc__ or "").strip()
        module = (sys.modules[kind.__module__].__doc__ or "").strip()
        line = (module if own.startswith("See the module") else own).partition("\n")[0]
        return line.rstrip(".")
    return ""


def _held(records: Iterable[Record], key: str) -> list[str]:
    return [str(name) for name in dict.fromkeys(record.get(key) for record in records) if name is not None]
