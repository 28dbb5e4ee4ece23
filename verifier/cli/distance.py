"""`plumbline distance` and `plumbline verify`: samples in; rows, journal and pictures out."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from encoders.arrays import digest
from encoders.errors import PlumblineError, SolverError, SoundnessError
from encoders.plugins import taking_part
from verifier.cli.display import HEADER, Display, row, summary
from verifier.options import Options, check_execution
from verifier.question.model import Model, load
from verifier.question.results import Result, Verdict
from verifier.runs.job import Job
from verifier.runs.journal import Journal, Record
from verifier.runs.journalled import Run, answers, journalled
from verifier.runs.run import check_jobs
from verifier.runs.samples import (
    Samples,
    check_box,
    load_grid,
    load_mask,
    load_samples,
    origin_of,
    parse_samples,
)
from verifier.runs.saved_adversary import save_adversary

ANSWERED, UNRESOLVED, BAD_INPUT = 0, 1, 2


def run(arguments: argparse.Namespace) -> int:
    """Ask the question of every chosen sample; returns the exit status."""
    grid = load_grid(arguments.grid) if isinstance(arguments.grid, Path) else arguments.grid
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
        grid=grid,
        count=arguments.count,
        execution=arguments.execution,
    )
    radius = getattr(arguments, "radius", None)
    Job(options, radius)  # refuses a bad radius before anything is loaded
    check_jobs(arguments.jobs, arguments.batch)
    model = load(arguments.model, arguments.output, arguments.threshold)
    check_execution(model, options)
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
        options = {
            "radius": job.radius,
            "mask": None if job.mask is None else digest(job.mask),
            **job.options.record(),
            **taking_part(data=origin_of(samples.name), engines=job.options.plugins),
        }
        return cls(job, Run("distance" if job.radius is None else "verify", model, samples, options), json, out)

    def ask(self, indices: tuple[int, ...], jobs: int, batch: int | None = None) -> int:
        """Answer what is not answered yet, showing every row; returns the exit status."""
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
        """Write alarm-INDEX.json (the question) and alarm-INDEX.npz (x, y, mask, grid) beside the other outputs."""
        folder = self.out or (self.json.parent if self.json else Path())
        arrays: dict[str, Any] = {"x": self.run.samples.x[index : index + 1]}
        label = self.run.samples.label(index)
        if label is not None:
            arrays["y"] = np.array([label])
        if self.job.mask is not None:
            arrays["mask"] = self.job.mask
        if isinstance(self.job.options.grid, np.ndarray):
            arrays["grid"] = self.job.options.grid
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
