"""Samples worked on in this process, several side by side where that pays."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sized
from dataclasses import dataclass
from functools import partial

from encoders.deadline import Clock
from verifier.batching.request import Batcher
from verifier.batching.scheduler import Question, Scheduler
from verifier.question.model import Model
from verifier.runs.job import A, Asking, Given, Outcome, SampleProgress


@dataclass(frozen=True)
class InProcess:
    """The executor that is this process, with up to `slots` samples at a time."""

    slots: int

    def outcomes(
        self, model: Model, job: Asking[A], samples: Iterable[Given], progress: SampleProgress
    ) -> Generator[Outcome[A], None, None]:
        """The outcomes of samples that share this process; each is taken when a slot is free for it."""
        share = min(self.slots, len(samples)) if isinstance(samples, Sized) else self.slots

        def question(given: Given) -> Question[Outcome[A]]:
            async def answering(clock: Clock) -> Outcome[A]:
                return await job.outcome(model, given, partial(progress, given.index), clock, share)

            return answering

        questions = ((given.index, question(given)) for given in samples)
        scheduler = Scheduler[Outcome[A]](self.slots, Batcher(job.workers))
        for index, ended in scheduler.outcomes(questions):
            yield Outcome(index, error=ended) if isinstance(ended, Exception) else ended
