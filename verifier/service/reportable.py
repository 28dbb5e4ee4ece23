"""Which runs have a report; imports nothing that is heavy, so that the server may ask."""

from __future__ import annotations

from verifier.service.store.records import StoredRun

KNOWN = ("norm", "box", "time_limit", "tolerance", "engine", "seed", "bounds", "attacks")  # to a report, of options
USUAL = {"margin": 0.0, "count": "inputs", "execution": "real", "direction": "either"}  # what of others says nothing


def why_none(run: StoredRun) -> str | None:
    """Why a run has no report, whatever finishes of it: its words would not be true, as with a mask; None if it has."""
    if run.question == "margin":
        return "a margin has no report; ask distance, verify or report"
    if run.comparison_id is not None:
        return f"its page is that of all: /comparisons/{run.comparison_id}/page"
    beyond = [name for name, value in run.options.items() if name not in KNOWN and value not in (None, USUAL.get(name))]
    beyond += ["norm l0"] if run.options.get("norm") == "l0" else []
    told = f"a report knows no {', '.join(beyond)}; this run's samples are in export.csv and export.jsonl"
    return told if beyond else None
