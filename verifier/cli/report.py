"""`plumbline report`: every bound and every attack set against the exact distance, as a page, tables and charts."""

from __future__ import annotations

import argparse
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.errors import OptionError, PlumblineError, SolverError
from verifier.cli.remote import add_server, report_from_server
from verifier.cli.shared_options import add_box, add_effort, add_source

if TYPE_CHECKING:
    from encoders.question import Norm
    from verifier.options import Options
    from verifier.question.model import Model
    from verifier.runs.journal import Record
    from verifier.runs.journalled import Run
    from verifier.runs.samples import Samples
    from verifier.studies.gap_report.options import ReportOptions

ANSWERED, UNRESOLVED = 0, 1
PACKAGES = ("torch", "highspy", "onnxruntime", "numpy")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`plumbline report MODEL`."""
    parser.description = (
        "Writes report.html (one self-contained page), report.json, report.csv and charts as PNG: for each sample the "
        "exact distance between all lower bounds and all attacks, their gaps and costs, robustness curves, and the "
        "closest adversaries. A stopped report goes on where it stopped, and shows what is finished."
    )
    add_source(parser)
    question = parser.add_argument_group("the question")
    question.add_argument(
        "--norm", action="append", metavar="P", help="linf, l1 or l2; repeat it for several (default: linf)"
    )
    add_box(question)
    question.add_argument(
        "--bounds", metavar="NAMES", help="lower bounds, or module:Name, with commas between (default: all)"
    )
    question.add_argument(
        "--attacks", metavar="NAMES", help="attacks, or module:Name, with commas between (default: all)"
    )
    add_effort(parser)
    output = parser.add_argument_group("output")
    output.add_argument("--pictures", type=int, default=6, metavar="N", help="adversaries shown (default: 6)")
    output.add_argument(
        "--out", type=Path, default=Path("out/report"), metavar="DIR", help="the folder (default: out/report)"
    )
    add_server(output)


def run(arguments: argparse.Namespace) -> int:
    """Measure what is not measured yet, then write the report of all that is finished; returns the exit status."""
    from encoders.question import convex_norm
    from verifier.options import Options
    from verifier.question.model import load
    from verifier.runs.run import check_jobs
    from verifier.runs.samples import check_box, load_samples, parse_samples
    from verifier.studies.gap_report.options import ReportOptions

    chosen = ReportOptions(_names(arguments.bounds), _names(arguments.attacks), pictures=arguments.pictures)
    norms = tuple(dict.fromkeys(convex_norm(name) for name in arguments.norm or ["linf"]))
    questions = [
        Options(
            norm=norm, box=arguments.box, time_limit=arguments.time_limit, tolerance=arguments.tolerance,
            engine=arguments.engine, device=arguments.device, seed=arguments.seed,
        )
        for norm in norms
    ]  # fmt: skip
    check_jobs(arguments.jobs, arguments.batch)
    if arguments.server is not None:
        return report_from_server(arguments)
    model = load(arguments.model, arguments.output, arguments.threshold)
    if model.quantised is not None:
        raise OptionError(f"{model.path}: the report knows no quantised network; ask distance or verify with --grid N")
    samples = load_samples(arguments.data, model.input_shape, model.classes, model.input_type)
    indices = parse_samples(arguments.samples, samples.count)
    check_box(samples, indices, arguments.box)
    return Report(model, samples, chosen, arguments.out).make(questions, indices, arguments.jobs, arguments.batch)


@dataclass(frozen=True)
class Report:
    """One report on one model and data set, and the folder it goes to."""

    model: Model
    samples: Samples
    options: ReportOptions
    out: Path

    def make(self, questions: list[Options], indices: tuple[int, ...], jobs: int, batch: int | None = None) -> int:
        """Measure norm by norm; whatever stops it, what is finished becomes the report."""
        from verifier.question.results import Verdict

        finished: dict[Norm, dict[int, Record]] = {question.norm: {} for question in questions}
        try:
            for question in questions:
                print(f"{question.norm}:")
                self._measure(question, indices, jobs, batch, finished[question.norm])
        finally:
            self._write(questions, indices, finished)
        records = [record for done in finished.values() for record in done.values()]
        short = any(len(done) < len(indices) for done in finished.values())
        return UNRESOLVED if short or any(r["verdict"] == Verdict.UNRESOLVED for r in records) else ANSWERED

    def _measure(
        self, question: Options, indices: tuple[int, ...], jobs: int, batch: int | None, done: dict[int, Record]
    ) -> None:
        from verifier.cli.display import HEADER, Display, row
        from verifier.runs.job import Job
        from verifier.runs.journal import Journal
        from verifier.runs.journalled import answers, journalled
        from verifier.studies.gap_report.measure import Brackets

        job, run = Job(question, beside=Brackets(self.options)), self._run(question)
        folder = self.out / "journal"
        folder.mkdir(parents=True, exist_ok=True)
        with Journal(folder / f"{question.norm}.jsonl", run.record) as journal, Display(len(indices)) as display:
            print(HEADER, flush=True)
            with closing(journalled(journal, indices, answers(run, job, jobs, display.running, batch))) as stream:
                for one in stream:
                    if one.record is None:
                        _raise(one.index, one.error)
                        continue
                    done[one.index] = one.record
                    display.finished(one.index, row(one.record))

    def _run(self, question: Options) -> Run:
        from encoders.plugins import taking_part
        from verifier.runs.journalled import Run
        from verifier.runs.samples import origin_of

        options = {
            **question.record("norm", "box", "time_limit", "tolerance", "engine", "device", "seed"),
            **self.options.record(),
            **taking_part(data=origin_of(self.samples.name), engines=question.plugins, **self.options.plugins),
        }
        return Run("report", self.model, self.samples, options)

    def _write(
        self, questions: list[Options], indices: tuple[int, ...], finished: dict[Norm, dict[int, Record]]
    ) -> None:
        from verifier.studies.gap_report.files import write
        from verifier.studies.gap_report.records import collected

        norms = []
        for norm, done in finished.items():
            norms.append(collected(norm, [done[index] for index in indices if index in done]))
        told = self._conditions(questions[0])
        for path in write(self.out, self.model, self.samples, norms, self.options, told, len(indices)):
            if path.suffix != ".png":
                print(path)

    def _conditions(self, question: Options) -> dict[str, Any]:
        """What a reader needs to repeat it."""
        import platform
        from importlib.metadata import version

        from verifier.question.code_version import code_version

        packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
        return {
            "model": str(self.model.path.name), "SHA-256": self.model.digest, "data": self.samples.name,
            "written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "plumbline": code_version(), "packages": packages,
            "Python": platform.python_version(), "machine": platform.machine(), "device": question.device,
            "engine": question.engine, "time limit a sample": question.time_limit or "none",
            "tolerance": question.tolerance, "box": f"{question.box[0]:g} to {question.box[1]:g}",
            "seed": question.seed, "balls per bound": self.options.effort.balls,
            "ascent steps": self.options.effort.steps,
        }  # fmt: skip


def _raise(index: int, error: Exception | None) -> None:
    """A solver that fails on one sample leaves that sample unfinished; anything else ends the run."""
    if isinstance(error, SolverError):
        return
    if isinstance(error, PlumblineError):
        raise type(error)(f"sample {index}: {error}") from error
    raise error or RuntimeError(f"sample {index} has neither a result nor an error")


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(","))
