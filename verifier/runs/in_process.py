"""Samples worked on in this process, several side by side where that pays."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from encoders.deadline import Clock
from verifier.answer import asked
from verifier.batching.scheduler import Question, Scheduler
from verifier.question.model import Model
from verifier.runs.job import Given, Job, Outcome, SampleProgress


@dataclass(frozen=True)
class InProcess:
    """The executor that is this process, with up to `slots` samples at a time."""

    slots: int

    def outcomes(
        self, model: Model, job: Job, samples: Sequence[Given], progress: SampleProgress
    ) -> Generator[Outcome, None, None]:
        """The outcomes of samples that share this process."""
        share = min(self.slots, len(samples))

        def question(given: Given) -> Question[Outcome]:
            def running(lower: float, upper: float) -> None:
                progress(given.index, lower, upper)

            async def answering(clock: Clock) -> Outcome:
                about = (given.x, job.radius, job.options, given.label, given.index, job.mask)
                result = await asked(model, *about, running, clock, job.workers, share)
                beside = None if job.beside is None else await job.beside(model, job, given.x, result)
                return Outcome(given.index, result, beside=beside)

            return answering

        questions = ((given.index, question(given)) for given in samples)
        for index, ended in Scheduler[Outcome](self.slots).outcomes(questions):
            yield Outcome(index, error=ended) if isinstance(ended, Exception) else ended
