"""The one loop over samples: what a journal holds, then what is computed, each line on the disk before it counts.

Every command that asks something of many samples goes through it: distance, verify, margin, range, report, compare,
attack.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from encoders.interrupts import cooperative
from encoders.plugins import taking_part
from verifier.question.model import Model
from verifier.runs.job import A, Asking, SampleProgress
from verifier.runs.journal import Journal, Record
from verifier.runs.run import outcomes
from verifier.runs.samples import Samples


@dataclass(frozen=True, eq=False)
class Run:
    """What is done with the samples of a data set and a model: all that an answer depends on but the sample's number.

    `options` are what of a command's options answers depend on, and where parts come from that are not ours.
    """

    command: str
    model: Model
    samples: Samples
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def record(self) -> Record:
        """As every line of a journal holds it: what a resumed run must have in common."""
        told = {"command": self.command, **self.model.description, "data": self.samples.digest}
        return {**told, **self.options}


def run_of(
    command: str,
    model: Model,
    samples: Samples,
    job: Asking[A],
    origin: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Run:
    """The run of a command; `origin` says where the data comes from, if it is a plugin, `more` is the command's own."""
    options = {
        **job.identity,
        **job.options.record(),
        **(more or {}),
        **taking_part(data=origin or {}, engines=job.options.plugins),
    }
    return Run(command, model, samples, options)


@dataclass(frozen=True, eq=False)
class Finished:
    """One sample's record, or the error that kept it from having one."""

    index: int
    record: Record | None = None
    error: Exception | None = None


Fresh = Generator[Finished, None, None]


def journalled(journal: Journal | None, indices: Sequence[int], fresh: Callable[[list[int]], Fresh]) -> Fresh:
    """Each sample as it is there: those that the journal holds, then what `fresh` makes of the others.

    Closing it early stops whatever still runs; a signal ends it with what is known of the samples in progress, and
    without those that were not begun. A sample that failed is in no journal, and is tried again next time.
    """
    known = {} if journal is None else dict(journal.done)
    for index in indices:
        if index in known:
            yield Finished(index, known[index])
    with closing(fresh([index for index in indices if index not in known])) as stream:
        for one in stream:
            if journal is not None and one.record is not None:
                journal.write(one.record)
            yield one


def _nothing(answer: object) -> Record:
    del answer
    return {}


def answers(
    run: Run,
    job: Asking[A],
    jobs: int,
    progress: SampleProgress,
    batch: int | None = None,
    more: Callable[[A], Record] = _nothing,
) -> Callable[[list[int]], Fresh]:
    """The exact answers of samples, for `journalled`.

    `more(result)` is what else a record holds; it is called, and may write files, before the line is on the disk: a
    sample that the journal calls done has everything it should have.
    """

    def fresh(left: list[int]) -> Fresh:
        with cooperative(), closing(outcomes(run.model, job, run.samples, left, jobs, progress, batch)) as stream:
            for outcome in stream:
                if outcome.result is None:
                    yield Finished(outcome.index, error=outcome.error)
                    continue
                record = job.record(outcome.result, run.record) | (outcome.beside or {}) | more(outcome.result)
                yield Finished(outcome.index, record)

    return fresh
