"""`plumbline report`: every bound and every attack set against the exact distance, as a page, tables and charts."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from encoders.errors import OptionError, PlumblineError, SolverError
from encoders.files import one_writer
from verifier.cli.remote import add_server
from verifier.cli.shared_options import add_box, add_effort, add_norms, add_radii, add_source, jobs_of, radii_by_norm

if TYPE_CHECKING:
    from encoders.question import Norm
    from verifier.options import Options
    from verifier.question.model import Model
    from verifier.runs.journal import Record
    from verifier.runs.journalled import Run
    from verifier.runs.run import Jobs
    from verifier.runs.samples import Samples
    from verifier.studies.gap_report.conditions import Conditions
    from verifier.studies.gap_report.options import ReportOptions

ANSWERED, UNRESOLVED = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`plumbline report MODEL`."""
    parser.description = (
        "Writes report.html (one self-contained page), report.json, report.csv, curves.csv and charts as PNG: for each "
        "sample the exact distance between all lower bounds and all attacks, their gaps and costs, robustness curves, "
        "which inputs are proven at which radii, and the closest adversaries as files. A stopped report goes on where "
        "it stopped, and shows what is finished."
    )
    add_source(parser)
    question = parser.add_argument_group("the question")
    add_norms(question, "linf")
    add_radii(question, "a few round ones, chosen from the distances")
    add_box(question)
    question.add_argument(
        "--bounds",
        metavar="NAMES",
        help="lower bounds, with commas between: interval, crown, alpha-crown, lp, … or module:Name; an unknown one is "
        "refused with the names of all (default: all but exact-cross-lipschitz)",
    )
    question.add_argument(
        "--attacks",
        metavar="NAMES",
        help="attacks, with commas between: the names of `plumbline attack`, or module:Name (default: all that are "
        "made for the norm)",
    )
    add_effort(parser)
    parser.add_argument(
        "--budget", type=float, metavar="SECONDS",
        help="for the whole report, page and all: every sample has its share of it, and bounds and attacks that were "
        "not named are left out where they do not fit (default: none)",
    )  # fmt: skip
    output = parser.add_argument_group("output")
    output.add_argument("--pictures", type=int, default=6, metavar="N", help="adversaries shown (default: 6)")
    output.add_argument(
        "--proofs", action="store_true",
        help="write a proof of each result, DIR/proofs/NORM/INDEX.proof, which plumbline check accepts",
    )  # fmt: skip
    output.add_argument(
        "--format", metavar="NAMES", help="of html, pdf, csv, json and png, with commas between (default: all but pdf)"
    )
    output.add_argument(
        "--out", type=Path, default=Path("out/report"), metavar="DIR", help="the folder (default: out/report)"
    )
    add_server(output)


def run(arguments: argparse.Namespace) -> int:
    """Measure what is not measured yet, then write the report of all that is finished; returns the exit status."""
    started = time.time()
    from encoders.question import convex_norm
    from verifier.cli.remote_studies import report_measured
    from verifier.options import Options
    from verifier.pages.pdf import check_pdf
    from verifier.question.model import load
    from verifier.runs.proven import proof_folder
    from verifier.runs.samples import check_box, load_samples, parse_samples
    from verifier.studies.gap_report.budget import measuring_time
    from verifier.studies.gap_report.conditions import Conditions
    from verifier.studies.gap_report.files import formats_named
    from verifier.studies.gap_report.options import ReportOptions

    formats = formats_named(arguments.format)
    if "pdf" in formats:
        check_pdf()
    chosen = ReportOptions(_names(arguments.bounds), _names(arguments.attacks), pictures=arguments.pictures)
    norms = tuple(dict.fromkeys(convex_norm(name) for name in arguments.norm or ["linf"]))
    radii = radii_by_norm(arguments.radius or (), norms)
    ends = None if arguments.budget is None else started + measuring_time(arguments.budget, len(norms))
    questions = [
        Options(
            norm=norm, box=arguments.box, time_limit=arguments.time_limit, tolerance=arguments.tolerance,
            engine=arguments.engine, device=arguments.device, seed=arguments.seed,
        )
        for norm in norms
    ]  # fmt: skip
    jobs = jobs_of(arguments)
    if arguments.cluster is not None and arguments.budget is not None:
        raise OptionError(
            "--budget shares out the time of --jobs, a cluster has none to share; leave out one of the two"
        )
    there = None if arguments.server is None else report_measured(arguments)
    model = load(arguments.model, arguments.output, arguments.threshold)
    if model.quantised is not None:
        raise OptionError(f"{model.path}: the report knows no quantised network; ask distance or verify with --grid N")
    samples = load_samples(arguments.data, model.input_shape, model.classes, model.input_type)
    indices = parse_samples(arguments.samples, samples.count)
    check_box(samples, indices, arguments.box)
    if arguments.proofs:
        for question in questions:
            proof_folder(arguments.out / "proofs" / str(question.norm), model, question)
    conditions = Conditions(
        arguments.given, model, samples, questions[0], chosen, indices, arguments.out, arguments.budget
    )
    report = Report(conditions, radii, formats, arguments.proofs, ends, there)
    return report.make(questions, jobs, arguments.batch)


@dataclass(frozen=True)
class Report:
    """One report: what it is asked, where it goes, and until when it may measure; `there` measures it elsewhere."""

    conditions: Conditions
    radii: Mapping[Norm, tuple[float, ...]]
    formats: tuple[str, ...]
    proofs: bool = False
    ends: float | None = None
    there: Callable[[Norm, dict[int, Record]], None] | None = None

    @property
    def model(self) -> Model:
        return self.conditions.model

    @property
    def samples(self) -> Samples:
        return self.conditions.samples

    @property
    def options(self) -> ReportOptions:
        return self.conditions.options

    def make(self, questions: Sequence[Options], jobs: Jobs, batch: int | None = None) -> int:
        """Measure norm by norm; whatever stops it, what is finished becomes the report."""
        with one_writer(self.conditions.out):
            return self._made(questions, jobs, batch)

    def _made(self, questions: Sequence[Options], jobs: Jobs, batch: int | None) -> int:
        from encoders.interrupts import interrupted
        from verifier.question.results import Verdict

        finished: dict[Norm, dict[int, Record]] = {question.norm: {} for question in questions}
        self._check_journals(questions)
        refused = False
        try:
            for place, question in enumerate(questions):
                if interrupted() is not None:
                    break
                print(f"{question.norm}:")
                if self.there is not None:
                    self.there(question.norm, finished[question.norm])
                    continue
                ends = None if self.ends is None else time.time() + (self.ends - time.time()) / (len(questions) - place)
                self._measure(question, jobs, batch, finished, ends)
        except PlumblineError:
            refused = not any(finished.values())
            raise
        finally:
            if not refused:  # else there is nothing to tell, and perhaps a page of before
                self._write(finished)
        records = [record for done in finished.values() for record in done.values()]
        short = any(len(done) < len(self.conditions.asked) for done in finished.values())
        return UNRESOLVED if short or any(r["verdict"] == Verdict.UNRESOLVED for r in records) else ANSWERED

    def _check_journals(self, questions: Sequence[Options]) -> None:
        """Refuse journals of other questions before anything is measured: the page beside them is of those."""
        from verifier.runs.journal import Journal

        for question in questions if self.there is None else ():
            path = self._journal(question)
            if path.exists():
                with Journal(path, self._run(question).record):
                    pass

    def _journal(self, question: Options) -> Path:
        return self.conditions.out / "journal" / f"{question.norm}.jsonl"

    def _measure(
        self,
        question: Options,
        jobs: Jobs,
        batch: int | None,
        finished: dict[Norm, dict[int, Record]],
        ends: float | None,
    ) -> None:
        """One norm; records go to `finished` as they are there."""
        from encoders.interrupts import interrupted
        from verifier.cli.display import HEADER, Display, row
        from verifier.runs.journal import Journal
        from verifier.runs.journalled import Attempts, answers, journalled
        from verifier.studies.gap_report.budget import Budget
        from verifier.studies.gap_report.measure import ReportJob

        run, indices, out = self._run(question), self.conditions.asked, self.conditions.out
        done = finished[question.norm]
        path = self._journal(question)
        path.parent.mkdir(parents=True, exist_ok=True)
        with Journal(path, run.record) as journal, Display(len(indices)) as display:

            def again(record: Record) -> bool:
                return self._again(record, question)

            left = [index for index in indices if index not in journal.done or again(journal.done[index])]
            budget = None
            if ends is not None and not isinstance(jobs, str):
                budget = Budget(ends, {index: place for place, index in enumerate(left)}, max(1, min(jobs, len(left))))
            job = ReportJob(question, report=self.options, folder=out, budget=budget, proofs=self.proofs)

            def at_last(unfinished: Sequence[Record]) -> None:
                """What a signal could not end in time is on the page as it stands; nothing else is waited for."""
                done.update({record["index"]: record for record in unfinished})
                self._write(finished)
                os._exit(interrupted() or UNRESOLVED)

            print(HEADER, flush=True)
            attempts = Attempts(run, job, journal, beside=True)
            fresh = answers(run, job, jobs, display.running, batch, attempts=attempts, at_last=at_last)
            with closing(journalled(journal, indices, fresh, again)) as stream:
                for one in stream:
                    if one.record is None:
                        _raise(one.index, one.error)
                        continue
                    done[one.index] = one.record
                    display.finished(one.index, row(one.record))

    def _again(self, record: Record, question: Options) -> bool:
        """Whether a sample is worked on again: open, stopped on its way, or without a proof that may be found now.

        With no limit on the time also one of which techniques were left out, because they did not fit before.
        """
        from verifier.runs.journal import is_unfinished
        from verifier.runs.proven import lacks_proof

        unlimited = self.ends is None and question.time_limit is None
        lacking = self.proofs and lacks_proof(record, self.conditions.out)
        return is_unfinished(record) or lacking or bool(unlimited and record.get("left_out"))

    def _run(self, question: Options) -> Run:
        from encoders.plugins import taking_part
        from verifier.runs.journalled import Run
        from verifier.runs.samples import origin_of

        options = {
            **question.record("norm", "box", "tolerance"),
            "attacks_seed": question.seed,
            **self.options.record(),
            **taking_part(data=origin_of(self.samples.name), **self.options.plugins),
        }
        effort = question.record("time_limit", "engine", "device", "seed") | taking_part(engines=question.plugins)
        return Run("report", self.model, self.samples, options, effort)

    def _write(self, finished: Mapping[Norm, Mapping[int, Record]]) -> None:
        from verifier.studies.gap_report.files import write
        from verifier.studies.gap_report.records import collected

        asked = self.conditions.asked
        norms = [collected(norm, [done[index] for index in asked if index in done]) for norm, done in finished.items()]
        for path in write(self.conditions, norms, self.radii, self.formats):
            if path.suffix != ".png":
                print(path)


def _raise(index: int, error: Exception | None) -> None:
    """A sample that a solver fails on, or that there is no time for, is left out; anything else ends the run."""
    from verifier.studies.gap_report.budget import OutOfBudgetError

    if isinstance(error, SolverError | OutOfBudgetError):
        return
    if isinstance(error, PlumblineError):
        raise type(error)(f"sample {index}: {error}") from error
    raise error or RuntimeError(f"sample {index} has neither a result nor an error")


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(","))
