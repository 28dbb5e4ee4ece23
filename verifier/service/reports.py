"""The report of a run, written in a process of its own: it reads the model, and draws charts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from verifier.service.files import files_at


@dataclass(frozen=True)
class Reported:
    """A run as its report needs it; `adversaries` are the digests of files by the sample's index."""

    kind: str
    radius: float | None
    options: Mapping[str, Any]
    samples: str | None
    data: str
    records: Sequence[Mapping[str, Any]]
    adversaries: Mapping[int, str]


def report_page(path: Path, facts: Mapping[str, Any], source: str, files: str, run: Reported, out: Path) -> str:
    """The page that `plumbline report` would write of these records."""
    from verifier.runs.samples import parse_samples
    from verifier.service.asking import Question, loaded, samples_of
    from verifier.studies.gap_report.conditions import Conditions
    from verifier.studies.gap_report.files import write
    from verifier.studies.gap_report.options import ReportOptions
    from verifier.studies.gap_report.records import collected

    question = Question(run.kind, run.radius, run.options)
    for name in os.listdir(path.parent):
        os.symlink(path.parent / name, out / name)
    with chdir(out):  # what the page says of files begins here
        model = loaded(Path(path.name), facts)
        asked = question.asked(model)
        samples = replace(samples_of(source, model, asked), name=run.data)
        kept, records = files_at(files), []
        for record in run.records:
            told = dict(record)
            digest = run.adversaries.get(record["index"])
            if digest is not None:
                told["adversary"] = (
                    record.get("adversary") or f"adversaries/{asked.norm}/adversary-{record['index']}.npz"
                )
                place = out / "report" / told["adversary"]
                place.parent.mkdir(parents=True, exist_ok=True)
                with kept.open(digest) as file:
                    place.write_bytes(file.read())
            records.append(told)
        chosen = question.report_options() if run.kind == "report" else ReportOptions()
        command = [
            run.kind,
            path.name,
            "--data",
            run.data,
            *([] if run.samples is None else ["--samples", run.samples]),
        ]
        command += [] if run.radius is None else ["--radius", repr(run.radius)]
        command += [f"--{name.replace('_', '-')}={_written(value)}" for name, value in run.options.items() if value]
        indices = parse_samples(run.samples, samples.count)
        conditions = Conditions(command, model, samples, asked, chosen, indices, Path("report"))
        radii = {} if run.radius is None else {asked.norm: [run.radius]}
        write(conditions, [collected(asked.norm, records)], radii, ["html"])
        return Path("report/report.html").read_text(encoding="utf-8")


def _written(value: Any) -> str:
    """An option as the command line takes it."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
