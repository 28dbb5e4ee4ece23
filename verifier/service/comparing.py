"""The page of a comparison, written in a process of its own: it reads the models, and draws charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verifier.service.errors import NotThereError
from verifier.service.files import files_at

if TYPE_CHECKING:
    from verifier.studies.comparison.options import CompareOptions, Subject

GO_ON = "wait until its runs have finished, or resume it"


@dataclass(frozen=True)
class Network:
    """A model with what is known of its samples.

    `failed` are brackets of samples that have no answer, what their lower sides rest on and who proved them;
    `adversaries` are the digests of files; both by the sample's index.
    """

    path: Path
    facts: Mapping[str, Any]
    records: Sequence[Mapping[str, Any]]
    failed: Mapping[int, tuple[float, float, str | None, str | None]]
    adversaries: Mapping[int, str]


@dataclass(frozen=True)
class Compared:
    """A comparison as its page needs it."""

    options: Mapping[str, Any]
    time_limit: float | None
    samples: str | None
    source: str
    data: str
    files: str
    networks: Sequence[Network]


def check_compared(names: Sequence[str], options: Mapping[str, Any]) -> None:
    """Refuse networks that a table could not tell apart, and options that no comparison has."""
    from verifier.service.asking import Question

    _subjects([Path(name) for name in names], Question("compare", None, options).compare_options())


def _subjects(paths: Sequence[Path], options: CompareOptions) -> tuple[tuple[Subject, ...], CompareOptions]:
    """The networks by their names, and the options with the baseline that is among them."""
    from verifier.studies.comparison.options import NONE, baseline_of, check_subjects, subjects_of_files

    subjects = subjects_of_files(paths)
    check_subjects(subjects)
    named = None if options.baseline == NONE else options.baseline
    baseline = baseline_of([(one.family, one.options) for one in subjects], named)
    return subjects, replace(options, baseline=baseline)


def comparison_page(asked: Compared, out: Path) -> str:
    """The page that `plumbline compare` would write of these records."""
    import numpy as np

    from encoders.errors import DataError
    from verifier.runs.samples import parse_samples
    from verifier.service.asking import Question, samples_of
    from verifier.studies.comparison.early_end import in_common
    from verifier.studies.comparison.findings import findings
    from verifier.studies.comparison.measure import accuracy, collected, unknown, written
    from verifier.studies.comparison.page import write
    from verifier.studies.comparison.statistics import grouped

    options = replace(Question("compare", None, asked.options).compare_options(), time_limit=asked.time_limit)
    found, options = _subjects([network.path for network in asked.networks], options)
    norm, kept, measured, subjects = options.norms[0], files_at(asked.files), [], []
    for subject, network in zip(found, asked.networks, strict=True):
        subjects.append(replace(subject, output=network.facts.get("output"), threshold=network.facts.get("threshold")))
        model = subjects[-1].model()
        samples = replace(samples_of(asked.source, model, options.question(norm)), name=asked.data)
        indices = parse_samples(asked.samples, samples.count)
        records: dict[int, dict[str, Any]] = {int(one["index"]): {**unknown(0), **one} for one in network.records}
        records |= {index: unknown(index, *bracket) for index, bracket in network.failed.items()}
        for index, digest in network.adversaries.items():
            with kept.open(digest) as file, np.load(file, allow_pickle=False) as arrays:
                records[index] |= written(arrays["adversary"].reshape(-1))
        ordered = [records[index] for index in indices if index in records]
        measured.append(collected(subjects[-1], norm, accuracy(model, samples), ordered, options))
    try:
        shared, missing = in_common(measured, subjects, options.norms, indices, GO_ON)
    except DataError as error:
        raise NotThereError(str(error)) from None
    write(findings(options, asked.data, grouped(shared), missing), samples, out)
    return (out / "index.html").read_text(encoding="utf-8")
