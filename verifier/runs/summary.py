"""The last line of a run: how many of each verdict, and how long they took."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Iterable

from verifier.runs.journal import Record, already_there


def summary(records: Iterable[Record], kept: Collection[int] = (), proofs: bool = False) -> str:
    """How many of each verdict, and the seconds of a sample; those that were at their target count in neither.

    `kept` are samples that a journal held already; with `proofs`, how many were written of the others.
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
        worked_on = [record for record in records if record["index"] not in kept]
        fresh = [record["proof"] for record in worked_on if "proof" in record]
        told += f"; proofs: {sum(proof['file'] is not None for proof in fresh)}"
        claimed = sum("claims" in proof for proof in fresh)
        told += f" ({claimed} but for a solver's claims)" if claimed else ""
        whys = Counter(proof["why"] for proof in fresh if proof["file"] is None)
        whys += Counter({"stopped before it": len(worked_on) - len(fresh)})
        whys += Counter({"the --json file held it already": len(records) - len(worked_on)})
        told += "".join(f", none for {count}: {why}" for why, count in sorted(whys.items()))
    return f"{told}; scores as executed off by {max(errors):.2g} at most" if errors else told
