"""Two brackets of the same sample become one: the higher of what is proven, the lower of what was replayed.

Both are true whoever found them and whenever they arrive, so a result that comes twice, or late, does no harm. What
contradicts is the alarm: a proof above an adversary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from encoders.errors import SoundnessError
from verifier.service.store.records import Finding, StoredRun, StoredSample

UNRESOLVED = "unresolved"
CLOSED_WITHOUT_BRACKET = ("misclassified", "empty")
SLACK = 1e-6  # relative: an adversary that exists by float32's rounding alone may undercut a proof by so little


@dataclass(frozen=True)
class Asked:
    """What of a question says when a bracket is closed. Of a `value` the replayed side is the lower one.

    On a grid two levels of a distance meet or they do not, whatever the tolerance.
    """

    radius: float | None
    tolerance: float
    value: bool = False

    @classmethod
    def of(cls, run: StoredRun) -> Asked:
        """What of a run says it."""
        value = run.question == "margin"
        levels = run.options.get("grid") is not None and not value
        return cls(run.radius if run.question == "verify" else None, 0.0 if levels else run.tolerance, value)

    def nowhere(self) -> tuple[float, float]:
        """The bracket of which nothing is known."""
        return (-math.inf if self.value else 0.0), math.inf

    def verdict(self, lower: float, upper: float, witness: bool) -> str:
        """What a bracket says."""
        if self.value or self.radius is None:
            size = abs(lower if self.value else upper)  # of a value, as its engine judges it
            near = upper - lower <= self.tolerance * max(1.0, size) if math.isfinite(upper - lower) else lower == upper
            return "exact" if near else UNRESOLVED
        if upper <= self.radius and witness:
            return "falsified"
        return "certified" if lower > self.radius else UNRESOLVED


def merged(held: StoredSample, found: Finding, asked: Asked) -> StoredSample:
    """The sample with what was found; raises the alarm where the two contradict each other."""
    lower, upper = max(found.lower, held.lower), min(found.upper, held.upper)
    slack = SLACK * max(1.0, abs(upper)) if math.isfinite(upper) else 0.0
    if math.isnan(found.lower) or math.isnan(found.upper) or lower > upper + slack:
        sides = (
            ("a value of", "replays, above the proven") if asked.value else ("proven lower", "above an adversary at")
        )
        raise SoundnessError(f"sample {held.number}: {sides[0]} {lower!r} {sides[1]} {upper!r} in what workers sent")
    replayed, proven = (
        (found.lower > held.lower, found.upper < held.upper)
        if asked.value
        else (found.upper < held.upper, found.lower > held.lower)
    )
    if not asked.value:
        lower = min(lower, upper)
    verdict = held.verdict
    if verdict in ("", UNRESOLVED):
        verdict = "" if found.record is None else str(found.record["verdict"])
    witness = found.adversary or held.adversary
    # Misclassified is said by the file itself; a bracket says the rest, and so may two that each leave it open.
    if verdict == UNRESOLVED or (verdict == "" and held.verdict == UNRESOLVED):
        verdict = asked.verdict(lower, upper, witness is not None)
    return replace(
        held,
        lower=lower,
        upper=upper,
        gap=0.0 if lower == upper else upper - lower,
        verdict=verdict,
        basis=found.basis if proven or held.basis is None else held.basis,
        target=found.target if replayed and found.target is not None else held.target,
        found_by=found.found_by if replayed and found.found_by is not None else held.found_by,
        adversary=found.adversary if found.adversary is not None and (replayed or held.adversary is None)
        else held.adversary,
        proof=found.proof if found.proof is not None and (proven or held.proof is None) else held.proof,
        engine=found.engine or held.engine,
        technique=found.technique or held.technique,
        predicted=held.predicted if found.predicted is None else found.predicted,
        open_phases=held.open_phases if found.open_phases is None else found.open_phases,
        nodes=max(held.nodes, found.nodes),
        seconds=max(held.seconds, found.seconds),
        why=found.why if verdict in ("", UNRESOLVED) else None,
    )  # fmt: skip


def told(record: Mapping[str, Any], sample: StoredSample) -> dict[str, Any]:
    """The line of a journal with the best that is known of the sample.

    What it says besides of a side that has moved since is not told of the new one.
    """
    sides = {name: value if math.isfinite(value) else str(value) for name, value in
             (("lower", sample.lower), ("upper", sample.upper))}  # fmt: skip
    moved = {name for name, value in sides.items() if float(record[name]) != float(value)}
    if not moved and sample.verdict in ("", record["verdict"]):
        return dict(record)
    proven, found = ("upper", "lower") if "against" in record else ("lower", "upper")
    besides = {"proven_by": sample.engine, "execution_error": None} if proven in moved else {}
    besides |= {"after": None} if found in moved else {}
    more = {"verdict": sample.verdict, "basis": sample.basis, "target": sample.target, "found_by": sample.found_by}
    more |= {name: value for name, value in besides.items() if name in record}
    kept = {name: value for name, value in record.items() if name != "why_open" or sample.verdict == UNRESOLVED}
    return {**kept, **sides, **more}
