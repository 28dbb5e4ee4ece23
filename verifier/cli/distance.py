"""`plumbline distance` and `plumbline verify`: samples in; rows, journal and pictures out."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.errors import PlumblineError, SolverError, SoundnessError
from verifier.cli.shared_options import add_box, add_effort, add_grid, add_source, classes, grid_levels

if TYPE_CHECKING:
    from verifier.question.model import Model
    from verifier.question.results import Result
    from verifier.runs.job import Job
    from verifier.runs.journal import Record
    from verifier.runs.journalled import Run
    from verifier.runs.samples import Samples

ANSWERED, UNRESOLVED, BAD_INPUT = 0, 1, 2


def add_distance(parser: argparse.ArgumentParser) -> None:
    """`plumbline distance MODEL`."""
    parser.description = "The distance from each sample to the nearest input that is classified differently."
    _add_common(parser)


def add_verify(parser: argparse.ArgumentParser) -> None:
    """`plumbline verify MODEL`."""
    parser.description = "Is every input within the radius of a sample (and inside the box) classified like it?"
    parser.add_argument("--radius", type=float, required=True, metavar="R", help="how far inputs may move, in --norm")
    _add_common(parser)


def _add_common(parser: argparse.ArgumentParser) -> None:
    add_source(parser)
    question = parser.add_argument_group("the question")
    question.add_argument("--norm", default="linf", metavar="P", help="linf, l1, l2 or l0 (default: linf)")
    question.add_argument(
        "--target", type=classes, metavar="K", help="only adversaries classified as K (or as one of K,L,…)"
    )
    question.add_argument(
        "--margin", type=float, default=0.0, metavar="A", help="the adversary must win by at least A (default: 0)"
    )
    add_box(question)
    add_grid(question)
    question.add_argument(
        "--count", default="inputs", metavar="W", help="what l0 counts: inputs, or pixels whatever their channels do"
    )
    question.add_argument(
        "--mask", type=Path, metavar="FILE", help=".npy, .npz or .png: which inputs (or pixels) may move"
    )
    question.add_argument(
        "--scale", type=Path, metavar="FILE",
        help=".npy or .npz: a positive number for each input, the unit that its moves are counted in (linf, l1, l2)",
    )  # fmt: skip
    question.add_argument(
        "--constraints", type=Path, metavar="FILE",
        help=".npz with A and b: only inputs x with A x <= b count as adversaries",
    )  # fmt: skip
    question.add_argument(
        "--execution", default="real", metavar="A",
        help="real: the network of the file's numbers in real arithmetic; float32 (or float64, for a file of doubles): "
        "the file as any runtime may execute it, whatever it rounds (default: real)",
    )  # fmt: skip

    add_effort(parser)

    output = parser.add_argument_group("output")
    output.add_argument(
        "--json", type=Path, metavar="FILE",
        help="one JSON object per sample and line, as each finishes; an existing file of the same run is resumed",
    )  # fmt: skip
    output.add_argument("--out", type=Path, metavar="DIR", help="save each adversary: arrays and a picture")


def run(arguments: argparse.Namespace) -> int:
    """Ask the question of every chosen sample; returns the exit status."""
    from verifier.options import Options, check_execution
    from verifier.question.model import load
    from verifier.runs.job import Job
    from verifier.runs.run import check_jobs
    from verifier.runs.samples import check_box, load_constraints, load_mask, load_samples, load_scale, parse_samples

    options = Options(
        norm=arguments.norm,
        targets=arguments.target,
        margin=arguments.margin,
        box=arguments.box,
        time_limit=arguments.time_limit,
        tolerance=arguments.tolerance,
        engine=arguments.engine,
        device=arguments.device,
        seed=arguments.seed,
        grid=grid_levels(arguments.grid),
        count=arguments.count,
        execution=arguments.execution,
    )
    radius = getattr(arguments, "radius", None)
    Job(options, radius)  # refuses a bad radius before anything is loaded
    check_jobs(arguments.jobs, arguments.batch)
    model = load(arguments.model, arguments.output, arguments.threshold)
    check_execution(model, options)
    if arguments.scale is not None:
        options = replace(options, scale=load_scale(arguments.scale, model.input_shape))
    if arguments.constraints is not None:
        options = replace(options, constraints=load_constraints(arguments.constraints, model.input_shape))
    samples = load_samples(arguments.data, model.input_shape, model.classes, model.input_type)
    indices = parse_samples(arguments.samples, samples.count)
    check_box(samples, indices, options.box)
    mask = None if arguments.mask is None else load_mask(arguments.mask, model.input_shape)
    question = Question.of(model, samples, Job(options, radius, mask), arguments.json, arguments.out)
    return question.ask(indices, arguments.jobs, arguments.batch)


@dataclass(frozen=True)
class Question:
    """One question of one model about one data set, and where the answers go."""

    job: Job
    run: Run
    json: Path | None = None
    out: Path | None = None

    @classmethod
    def of(
        cls, model: Model, samples: Samples, job: Job, json: Path | None = None, out: Path | None = None
    ) -> Question:
        """With what the answers depend on."""
        from encoders.arrays import digest
        from encoders.plugins import taking_part
        from verifier.runs.journalled import Run
        from verifier.runs.samples import origin_of

        options = {
            "radius": job.radius,
            "mask": None if job.mask is None else digest(job.mask),
            **job.options.record(),
            **taking_part(data=origin_of(samples.name), engines=job.options.plugins),
        }
        return cls(job, Run("distance" if job.radius is None else "verify", model, samples, options), json, out)

    def ask(self, indices: tuple[int, ...], jobs: int, batch: int | None = None) -> int:
        """Answer what is not answered yet, showing every row; returns the exit status."""
        from verifier.cli.display import HEADER, Display, row, summary
        from verifier.question.results import Verdict
        from verifier.runs.journal import Journal
        from verifier.runs.journalled import answers, journalled

        records: list[Record] = []
        with ExitStack() as stack:
            journal = None if self.json is None else stack.enter_context(Journal(self.json, self.run.record))
            if self.out is not None:
                self.out.mkdir(parents=True, exist_ok=True)
            print(HEADER, flush=True)
            display = stack.enter_context(Display(len(indices)))
            fresh = answers(self.run, self.job, jobs, display.running, batch, self._save_adversary)
            for done in stack.enter_context(closing(journalled(journal, indices, fresh))):
                if done.record is None:
                    self._report(done.index, done.error)
                    continue
                records.append(done.record)
                display.finished(done.index, row(done.record))
        print(summary(records))
        if len(records) < len(indices):
            return BAD_INPUT
        return UNRESOLVED if any(record["verdict"] == Verdict.UNRESOLVED for record in records) else ANSWERED

    def _save_adversary(self, result: Result) -> Record:
        from verifier.runs.saved_adversary import save_adversary

        if self.out is not None and result.adversary is not None:
            original = self.run.samples.x[result.index]
            save_adversary(self.out, result.index, original, result.adversary, self.job.options.box)
        return {}

    def _report(self, index: int, error: Exception | None) -> None:
        """A solver that fails on one sample costs that sample; an alarm or any other error ends the run."""
        if isinstance(error, SoundnessError):
            saved = self.save_alarm(index, error)
            raise SoundnessError(f"sample {index}: {error}; trust nothing of this run; {saved} holds what repeats it")
        if isinstance(error, SolverError):
            print(f"plumbline: sample {index}: {error}", file=sys.stderr)
            return
        if isinstance(error, PlumblineError):
            raise type(error)(f"sample {index}: {error}") from error
        raise error or RuntimeError(f"sample {index} has neither a result nor an error")

    def save_alarm(self, index: int, error: SoundnessError) -> Path:
        """Write alarm-INDEX.json (the question) and alarm-INDEX.npz (its arrays) beside the other outputs."""
        import numpy as np

        folder = self.out or (self.json.parent if self.json else Path())
        arrays: dict[str, Any] = {"x": self.run.samples.x[index : index + 1]}
        label = self.run.samples.label(index)
        if label is not None:
            arrays["y"] = np.array([label])
        if self.job.mask is not None:
            arrays["mask"] = self.job.mask
        if isinstance(self.job.options.grid, np.ndarray):
            arrays["grid"] = self.job.options.grid
        if self.job.options.scale is not None:
            arrays["scale"] = self.job.options.scale
        if self.job.options.constraints is not None:
            arrays |= {"A": self.job.options.constraints.matrix, "b": self.job.options.constraints.bound}
        np.savez_compressed(folder / f"alarm-{index}.npz", **arrays)
        told = {
            "error": str(error),
            "index": index,
            "model": str(self.run.model.path),
            "data": self.run.samples.name,
            "run": self.run.record,
        }
        path = folder / f"alarm-{index}.json"
        path.write_text(json.dumps(told, indent=2) + "\n")
        return path
