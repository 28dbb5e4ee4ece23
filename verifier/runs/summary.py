"""The last line of a run: how many of each verdict, and how long they took."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable

from verifier.proofs.why_none import MISCLASSIFIED
from verifier.question.results import Verdict
from verifier.runs.journal import Record, already_there


def summary(records: Iterable[Record], proofs: bool = False) -> str:
    """How many of each verdict, and the seconds of a sample; those that were at their target count in neither.

    With `proofs`, of how many there is a proof, and why there is none of the others.
    """
    records = list(records)
    if not records:
        return "no sample finished"
    there = [record for record in records if already_there(record)]
    asked = [record for record in records if not already_there(record)]
    counts = Counter(str(record["verdict"]) for record in asked)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    told = f"{len(records)} sample{'s' * (len(records) != 1)}: {verdicts}"
    if there:
        told += f"{', ' if asked else ''}{len(there)} classified as the target already"
    if asked:
        seconds = [float(record["seconds"]) for record in asked]
        told += f"; seconds a sample: median {statistics.median(seconds):.2f}, worst {max(seconds):.2f}"
    errors = [float(record["execution_error"]) for record in asked if record.get("execution_error") is not None]
    if proofs:
        known = [record["proof"] for record in records if "proof" in record]
        told += f"; proofs: {sum(proof['file'] is not None for proof in known)}"
        claimed = sum("claims" in proof for proof in known)
        told += f" ({claimed} but for a solver's claims)" if claimed else ""
        whys = Counter(proof["why"] for proof in known if proof["file"] is None)
        wrong = sum("proof" not in record and record["verdict"] == Verdict.MISCLASSIFIED for record in records)
        whys += Counter({MISCLASSIFIED: wrong, "stopped before it": len(records) - len(known) - wrong})
        told += "".join(f", none for {count}: {why}" for why, count in sorted(whys.items()))
    return f"{told}; scores as executed off by {max(errors):.2g} at most" if errors else told
