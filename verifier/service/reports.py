"""The report of a run, written in a process of its own: it reads the model, and draws charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PLAIN: Mapping[str, Any] = {"bounds": {}, "attacks": {}, "estimates": {}, "adversary": None}
"""What a record has that was asked without bounds and attacks beside it."""


def report_page(
    path: Path, facts: Mapping[str, Any], source: str, kind: str, radius: float | None, options: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]], total: int, out: Path,
) -> str:  # fmt: skip
    """The page that `plumbline report` would write of these records."""
    from verifier.service.asking import Question, loaded, samples_of
    from verifier.studies.gap_report.files import write
    from verifier.studies.gap_report.options import ReportOptions
    from verifier.studies.gap_report.records import collected

    question = Question(kind, radius, options)
    asked = question.asked()
    model = loaded(path, facts)
    samples = samples_of(source, model, asked)
    chosen = question.report_options() if kind == "report" else ReportOptions()
    held = [{**PLAIN, "proven_by": record["engine"], **record} for record in records]
    told = {"model": path.name, "SHA-256": model.digest, "data": samples.digest, "question": kind, **options}
    write(out, model, samples, [collected(asked.norm, held)], chosen, told, total)
    return (out / "report.html").read_text(encoding="utf-8")
