"""`plumbline compare`: the networks of a study, or model files, held against each other by exact distances."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from encoders.errors import OptionError
from encoders.question import Norm
from trainers.datasets import Place
from verifier.pages.wording import NAMES
from verifier.runs.samples import parse_samples
from verifier.studies.comparison.findings import findings
from verifier.studies.comparison.measure import Measured
from verifier.studies.comparison.options import (
    CompareOptions,
    Subject,
    check_subjects,
    read_comparison,
    subjects_of_files,
    subjects_of_study,
)
from verifier.studies.comparison.page import write
from verifier.studies.comparison.parallel import measure
from verifier.studies.comparison.statistics import grouped
from verifier.studies.comparison.tables import header, row
from verifier.studies.comparison.test_data import TestData

ANSWERED, UNRESOLVED = 0, 1


def run(arguments: argparse.Namespace) -> int:
    """Measure what is not measured yet, then write tables and page; returns the exit status."""
    configs = [path for path in arguments.subjects if path.suffix == ".toml"]
    if configs and len(arguments.subjects) > 1:
        raise OptionError("compare reads one config, or model files; not both")
    flags, train_samples = _flags(arguments), None
    if configs:
        study, options = read_comparison(configs[0], **flags)
        subjects, out = subjects_of_study(study), study.out / "comparison"
        used = {(one.options.data, one.options.train_samples) for one in study.runs}
        if len(used) > 1:
            raise OptionError(f"{configs[0]}: its runs use several data sets; compare those of one at a time")
        ((data, train_samples),) = used
    else:
        options = CompareOptions(**flags)
        subjects, data, out = subjects_of_files(arguments.subjects), arguments.data, Path("out/comparison")
        if data is None:
            raise OptionError("compare needs --data for model files: digits, an .npz, …")
    if arguments.output is not None or arguments.threshold is not None:
        subjects = tuple(replace(one, output=arguments.output, threshold=arguments.threshold) for one in subjects)
    check_subjects(subjects)
    place = Place(arguments.data_dir, arguments.cache)
    return _compare(subjects, options, TestData(arguments.data or data, train_samples, place), arguments.out or out)


def _flags(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was given on the command line goes before the config."""
    names = ("samples", "time_limit", "tolerance", "engine", "device", "seed", "jobs", "attack", "baseline", "pictures")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if arguments.norm:
        given["norms"] = arguments.norm
    if arguments.radius:
        radii: dict[str, list[float]] = {}
        for norm, radius in arguments.radius:
            radii.setdefault(norm, []).append(radius)
        given["radii"] = radii
    return given


def _compare(subjects: tuple[Subject, ...], options: CompareOptions, data: TestData, out: Path) -> int:
    samples = data.samples(subjects[0].model())
    indices = parse_samples(options.samples, samples.count)
    measured: list[Measured] = []
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=len(subjects) * len(options.norms) * len(indices))

        def progress(subject: Subject, norm: Norm, done: int) -> None:
            bars.update(task, description=f"{subject.stem} {norm}", completed=len(measured) * len(indices) + done)

        for one in measure(subjects, options, data, indices, out / "journal", progress):
            measured.append(one)
    found = findings(options, data.name, grouped(measured))
    for norm in options.norms:
        print(f"{NAMES[norm]}: " + " | ".join(header(options, norm)))
        for group in found.of(norm):
            print(" | ".join(row(group, options)))
    for path in write(found, samples, out):
        print(path)
    return UNRESOLVED if any(one.open.any() for one in measured) else ANSWERED
