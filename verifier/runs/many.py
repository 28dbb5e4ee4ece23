"""The two questions asked of many samples from Python: their results as they finish, or all of them together."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from encoders.errors import OptionError, PlumblineError, SolverError
from encoders.validation import checked
from verifier.options import Options, check_model, checked_radius
from verifier.question.model import Model, opened
from verifier.question.problem import Running
from verifier.question.results import Result
from verifier.question.sample_values import array_of, mask_of
from verifier.runs.job import Asking, Job, Outcome, SampleProgress
from verifier.runs.journalled import Run, run_of
from verifier.runs.perturbed import Chosen, PerturbedJob, check_beside
from verifier.runs.results import Results
from verifier.runs.run import Jobs, check_jobs, outcomes
from verifier.runs.samples import check_box, fitted_samples

SOURCE = "samples"  # what errors call arrays


class Answers(Iterator[Result]):
    """Results as they finish. What is closed early, or left by `with`, stops whatever still runs.

    A solver that fails on one sample costs that sample, which is in `failed`; any other error ends the run.
    """

    def __init__(self, run: Run, job: Asking[Result], outcomes: Generator[Outcome[Result], None, None]) -> None:
        self.run, self.job, self._outcomes = run, job, outcomes
        self.finished: list[Result] = []
        self.failed: dict[int, SolverError] = {}

    def __len__(self) -> int:
        return self.run.samples.count

    def __repr__(self) -> str:
        return f"<Answers: {len(self.finished)} of {len(self)} samples finished>"

    def __enter__(self) -> Answers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __next__(self) -> Result:
        for outcome in self._outcomes:
            if outcome.result is not None:
                self.finished.append(outcome.result)
                return outcome.result
            if not isinstance(outcome.error, SolverError):
                self.close()
                raise _named(outcome)
            self.failed[outcome.index] = outcome.error
        raise StopIteration

    def close(self) -> None:
        """Stop whatever still runs; what is finished is kept."""
        self._outcomes.close()

    def collected(self) -> Results:
        """All results in the order of the samples, once the rest has finished."""
        for _ in self:
            pass
        found = sorted(self.finished, key=lambda result: result.index)
        return Results(
            tuple(found), self.run.record, dict(sorted(self.failed.items())), self.run.effort, self.job.record
        )


def distances(
    model: Model | str | Path,
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    norm: str = "linf",
    mask: ArrayLike | None = None,
    perturbation: str | None = None,
    jobs: Jobs = 1,
    batch: int | None = None,
    progress: SampleProgress | None = None,
    **options: Any,
) -> Answers:
    """The exact minimal perturbation of every sample, as `distance` finds that of one, each as it finishes.

    `x` are samples in the shape of the model's input, or one; uint8 is divided by 255. `y` are their labels, if known.
    With a `perturbation`, as `brightness` or `patch:0:0:4:4`, the question is about its variables, and adversaries are
    `PerturbedAdversary`. `jobs` processes work at once, or the workers of the cluster of that address, with up to
    `batch` samples side by side in each. `progress` is called with a sample's index and its running bracket. `options`
    are the fields of `Options`.
    """
    options = {"norm": norm, **options}
    return _asked(model, x, y, None, Options(**options), mask, perturbation, jobs, batch, progress)


def verdicts(
    model: Model | str | Path,
    x: ArrayLike,
    radius: float,
    y: ArrayLike | None = None,
    *,
    norm: str = "linf",
    mask: ArrayLike | None = None,
    perturbation: str | None = None,
    jobs: Jobs = 1,
    batch: int | None = None,
    progress: SampleProgress | None = None,
    **options: Any,
) -> Answers:
    """Is every input within `radius` of each sample classified like it, as `verify` says of one; each as it finishes.

    The arguments are those of `distances`.
    """
    options, limit = {"norm": norm, **options}, checked_radius(radius)
    return _asked(model, x, y, limit, Options(**options), mask, perturbation, jobs, batch, progress)


def _asked(
    model: Model | str | Path,
    x: ArrayLike,
    y: ArrayLike | None,
    radius: float | None,
    options: Options,
    mask: ArrayLike | None,
    perturbation: str | None,
    jobs: Jobs,
    batch: int | None,
    progress: SampleProgress | None,
) -> Answers:
    """Everything is checked here, before the first sample is worked on."""
    check_jobs(jobs, batch)
    Job(options, radius)
    chosen = None if perturbation is None else Chosen.parse(checked("perturbation", str, perturbation))
    if chosen is not None:
        check_beside({**vars(options), "mask": mask})
    model = opened(model)
    check_model(model, options)
    if y is not None and options.change is not None:
        raise OptionError("a change is of an output, whatever the samples' labels: leave y out")
    labels = None if y is None else array_of(SOURCE, y)
    samples = fitted_samples(SOURCE, array_of(SOURCE, x), labels, model.input_shape, model.classes, model.input_type)
    free = None if mask is None else mask_of("mask", array_of("mask", mask), model.input_shape)
    indices = tuple(range(samples.count))
    if free is None:
        check_box(samples, indices, options.box)
    job: Asking[Result] = Job(options, radius, free)
    if chosen is not None:
        job = PerturbedJob.of(chosen, model, samples, indices, options, radius)
    stream = outcomes(model, job, samples, indices, jobs, progress or _silent, batch)
    return Answers(run_of("distance" if radius is None else "verify", model, samples, job), job, stream)


def _named(outcome: Outcome[Result]) -> Exception:
    """The error of a sample, with its number."""
    error = outcome.error
    if isinstance(error, PlumblineError):
        return type(error)(f"sample {outcome.index}: {error}")
    return error or RuntimeError(f"sample {outcome.index} has neither a result nor an error")


def _silent(index: int, running: Running) -> None:
    del index, running
