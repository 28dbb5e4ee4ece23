"""`plumbline compare`: the networks of a study, or model files, held against each other by exact distances."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.errors import OptionError
from encoders.files import one_writer
from verifier.cli.remote import add_server
from verifier.cli.shared_options import add_cluster, add_norms, add_places, add_radii, add_scores, radii_by_norm

if TYPE_CHECKING:
    from encoders.question import Norm
    from verifier.cli.remote_studies import ComparedThere
    from verifier.studies.comparison.measure import Measured
    from verifier.studies.comparison.options import CompareOptions, Subject
    from verifier.studies.comparison.test_data import TestData

ANSWERED, UNRESOLVED = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`plumbline compare CONFIG`, or model files."""
    parser.description = (
        "Exact minimal perturbations of the same samples under each network, with tables (Markdown, CSV, JSON) and a "
        "page of charts and pictures. Flags go before the config's [compare]. Interrupted, it goes on where it stopped."
    )
    parser.add_argument(
        "subjects", type=Path, nargs="+", metavar="CONFIG|MODEL", help="a study's TOML file, or ONNX files"
    )
    add_scores(parser)
    parser.add_argument("--data", metavar="D", help="the samples, for model files: digits, an .npz, module:Name, …")
    add_places(parser)
    parser.add_argument("--samples", metavar="S", help="0:100, 0:100:5 or 3,8,11 of the test split (default: 0:100)")
    add_norms(parser, "linf,l1")
    add_radii(parser, "a few round ones")
    parser.add_argument("--time-limit", type=float, metavar="SECONDS", help="per sample (default: 60)")
    parser.add_argument(
        "--tolerance", type=float, metavar="T", help="a distance is exact once its sides are this close (default: 1e-6)"
    )
    parser.add_argument("--engine", metavar="E", help="how brackets are closed, or module:Name (default: auto)")
    parser.add_argument("--device", metavar="D", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--seed", type=int, metavar="N", help="of attacks and intervals (default: 0)")
    parser.add_argument("--jobs", type=int, metavar="N", help="networks worked on at once (default: 1)")
    add_cluster(parser)
    parser.add_argument(
        "--attack",
        metavar="A",
        help="the typical attack, drawn beside the exact curve and the strongest's, or module:Name "
        "(default: pgd-by-radius)",
    )
    parser.add_argument(
        "--baseline",
        metavar="NAME",
        help="the run, or the model file by NAME of NAME-seedN.onnx, that the others are held against "
        "(default: the one called none, or trained plainly)",
    )
    parser.add_argument("--pictures", type=int, metavar="N", help="samples shown in pictures (default: 3)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="tables, page and journals (default: in the study's folder)"
    )
    add_server(parser, "URL/comparisons/ID comes back to a comparison")


def run(arguments: argparse.Namespace) -> int:
    """Measure what is not measured yet, then write tables and page; returns the exit status."""
    from trainers.datasets import Place
    from verifier.cli.remote_studies import ComparedThere
    from verifier.studies.comparison.options import (
        CompareOptions,
        baseline_of,
        check_subjects,
        read_comparison,
        subjects_of_files,
        subjects_of_study,
    )
    from verifier.studies.comparison.test_data import TestData

    configs = [path for path in arguments.subjects if path.suffix == ".toml"]
    if configs and len(arguments.subjects) > 1:
        raise OptionError("compare reads one config, or model files; not both")
    flags, train_samples = _flags(arguments), None
    if configs:
        study, options = read_comparison(configs[0], **flags)
        subjects, out = subjects_of_study(study, options.variants, options.baseline), study.out / "comparison"
        used = {(one.options.data, one.options.train_samples) for one in study.runs}
        if len(used) > 1:
            raise OptionError(f"{configs[0]}: its runs use several data sets; compare those of one at a time")
        ((data, train_samples),) = used
    else:
        subjects, data, out = subjects_of_files(arguments.subjects), arguments.data, Path("out/comparison")
        options = CompareOptions(**flags)
        runs = [(one.family, one.options) for one in subjects]
        options = replace(options, baseline=baseline_of(runs, arguments.baseline))
        if data is None:
            raise OptionError("compare needs --data for model files: digits, an .npz, …")
    if arguments.output is not None or arguments.threshold is not None:
        subjects = tuple(replace(one, output=arguments.output, threshold=arguments.threshold) for one in subjects)
    check_subjects(subjects)
    place = Place(arguments.data_dir, arguments.cache)
    tested = TestData(arguments.data or data, train_samples, place)
    there = None if arguments.server is None else ComparedThere.asked(arguments, subjects, options, tested)
    with one_writer(arguments.out or out):
        return _compare(subjects, options, tested, arguments.out or out, there)


def _flags(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was given on the command line goes before the config."""
    from encoders.question import Norm, convex_norm

    names = (
        "samples", "time_limit", "tolerance", "engine", "device", "seed", "jobs", "cluster", "attack", "baseline",
        "pictures",
    )  # fmt: skip
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if arguments.norm:
        given["norms"] = arguments.norm
    if arguments.radius:
        norms = [convex_norm(name) for name in arguments.norm or (Norm.LINF, Norm.L1, Norm.L2)]
        given["radii"] = radii_by_norm(arguments.radius, norms)
    return given


def _compare(
    subjects: tuple[Subject, ...], options: CompareOptions, data: TestData, out: Path, there: ComparedThere | None
) -> int:
    from verifier.cli.display import progress_bar
    from verifier.pages.wording import NAMES
    from verifier.runs.samples import parse_samples
    from verifier.studies.comparison.early_end import in_common
    from verifier.studies.comparison.findings import findings
    from verifier.studies.comparison.page import write
    from verifier.studies.comparison.parallel import measure
    from verifier.studies.comparison.statistics import grouped
    from verifier.studies.comparison.tables import header, row

    samples = data.samples(subjects[0].model())
    indices = parse_samples(options.samples, samples.count)
    measured: list[Measured] = []
    with progress_bar() as bars:
        task = bars.add_task("", total=len(subjects) * len(options.norms) * len(indices))

        def progress(subject: Subject, norm: Norm, done: int) -> None:
            bars.update(task, description=f"{subject.stem} {norm}", completed=len(measured) * len(indices) + done)

        about = (subjects, options, data, indices)
        stream = measure(*about, out / "journal", progress) if there is None else there.measured(*about, progress)
        try:
            for one in stream:
                measured.append(one)
        except KeyboardInterrupt:  # asked to stop, nothing new is begun: this reads what the journals hold
            if there is not None:  # which goes on
                raise
            alone = replace(options, jobs=1, cluster=None)
            measured = list(measure(subjects, alone, data, indices, out / "journal", lambda *told: None))
    measured, missing = in_common(measured, subjects, options.norms, indices)
    found = findings(options, data.name, grouped(measured), missing)
    for norm in options.norms:
        print(f"{NAMES[norm]}: " + " | ".join(header(options, norm)))
        for group in found.of(norm):
            print(" | ".join(row(group, options)))
    for path in write(found, samples, out):
        print(path)
    if missing:
        print(f"plumbline: {missing}", file=sys.stderr)
        return UNRESOLVED
    return UNRESOLVED if any(one.open.any() for one in measured) else ANSWERED
