"""The one loop over samples: what a journal holds, then what is computed, each line on the disk before it counts.

Every command that asks something of many samples goes through it: distance, verify, margin, range, report, compare,
attack.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from encoders.deadline import EVERYTHING
from encoders.errors import SoundnessError
from encoders.interrupts import cooperative
from encoders.plugins import taking_part
from verifier.question.model import Model
from verifier.question.problem import Running
from verifier.question.results import Adversary
from verifier.runs.job import A, Asking, Outcome, SampleProgress
from verifier.runs.joined_lines import Joined, joined
from verifier.runs.journal import (
    EFFORT,
    ENDED,
    RUNNING,
    STOPPED,
    Journal,
    Record,
    attempted,
    check_overlap,
    is_open,
    is_unfinished,
)
from verifier.runs.kept_adversaries import KeptAdversaries
from verifier.runs.run import Jobs, outcomes
from verifier.runs.running_brackets import RunningBrackets
from verifier.runs.samples import Samples


@dataclass(frozen=True, eq=False)
class Run:
    """What is done with the samples of a data set and a model: all that an answer depends on but the sample's number.

    `options` are what of a command's options answers depend on, and where parts come from that are not ours; `effort`
    is what they do not depend on, but for how soon they are there.
    """

    command: str
    model: Model
    samples: Samples
    options: Mapping[str, Any] = field(default_factory=dict)
    effort: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Where what is asked about was read from."""
        return str(self.model.path)

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
    told = job.options.record()
    effort = {name: told.pop(name) for name in EFFORT} | taking_part(engines=job.options.plugins)
    options = {**job.identity, **told, **(more or {}), **taking_part(data=origin or {})}
    return Run(command, model, samples, options, effort)


@dataclass(frozen=True, eq=False)
class Finished:
    """One sample's record, or the error that kept it from having one."""

    index: int
    record: Record | None = None
    error: Exception | None = None


Fresh = Generator[Finished, None, None]


def _never(record: Record) -> bool:
    del record
    return False


def journalled(
    journal: Journal | None,
    indices: Sequence[int],
    fresh: Callable[[list[int]], Fresh],
    again: Callable[[Record], bool] = _never,
) -> Fresh:
    """Each sample as it is there: those that the journal holds, then what `fresh` makes of the others.

    `again` says which of those that it holds are worked on again; they are told as they were where a stop comes first.
    Closing it early stops whatever still runs; a signal ends it with what is known of the samples in progress, and
    without those that were not begun. A sample that failed is in no journal, and is tried again next time.
    """
    known = {} if journal is None else dict(journal.done)
    left = [index for index in indices if index not in known or again(known[index])]
    waiting = set(left)
    for index in indices:
        if index not in waiting:
            yield Finished(index, known[index])
    with closing(fresh(left)) as stream:
        for one in stream:
            if journal is not None and one.record is not None:
                journal.write(one.record)
            waiting.discard(one.index)
            yield one
    for index in left:
        if index in waiting and index in known:
            yield Finished(index, known[index])


def _nothing(answer: object) -> Record:
    del answer
    return {}


@dataclass(frozen=True, eq=False)
class Attempts:
    """What a journal holds of samples that are worked on again, and the lines that come of it.

    `anew` are those of which nothing is taken as given; `beside` says that lines hold more than the answer, which a
    stop may have cut short: it is measured again.
    """

    run: Run
    job: Asking[Any]
    journal: Journal | None = None
    anew: frozenset[int] = frozenset()
    beside: bool = False

    @property
    def adversaries(self) -> KeptAdversaries | None:
        """Where adversaries are kept; nowhere without a file."""
        regular = self.journal is not None and self.journal.regular
        return KeptAdversaries.beside(self.journal.path) if self.journal is not None and regular else None

    def known(self, index: int) -> Any:
        """What the next attempt at a sample is to take as given, as its job understands it."""
        before = self.before(index)
        if before is None or index in self.anew:
            return None
        return self.job.known(before, self.kept(index))

    def kept(self, index: int) -> dict[str, Adversary]:
        """The inputs that are kept of a sample, by name, and that its last line tells of."""
        line = self.before(index)
        if self.adversaries is None or line is None:
            return {}
        found = self.adversaries.read(index, self.run.samples.x[index].size)
        return {name: one for name, one in found.items() if self.job.tells_of(line, one)}

    def before(self, index: int) -> Record | None:
        """The last line about a sample."""
        return None if self.journal is None else self.journal.done.get(index)

    def line(self, answer: Any, earlier: Record | None, running: bool = False) -> Record:
        """The line of an answer, with how the time was spent, by earlier attempts too; its adversaries are kept."""
        record = self.job.record(answer, self.run.record)
        if earlier is not None:
            check_overlap(earlier, record)
        stopped = EVERYTHING.asked and (self.beside or is_open(record))
        ended = RUNNING if running else STOPPED if stopped else ENDED
        line = attempted(record, self.run.effort, earlier, ended)
        whole = self._with_what_was_known(line, earlier)
        if self.adversaries is not None:
            self.adversaries.write(answer.index, self._shown(answer, whole))
        return whole.record

    def witnesses(self, answer: Any) -> dict[str, Adversary]:
        """The inputs that an answer shows: better ones from before where the line is joined with the one before."""
        record = attempted(self.job.record(answer, self.run.record), self.run.effort)
        return self._shown(answer, self._with_what_was_known(record, self.before(answer.index)))

    def _with_what_was_known(self, line: Record, earlier: Record | None) -> Joined:
        """What was asked anew, or was closed, and is open now is no weaker than what was known of it."""
        if earlier is None or not is_unfinished(line) or not (line["index"] in self.anew or not is_open(earlier)):
            return Joined(line)
        return joined(earlier, line)

    def _shown(self, answer: Any, whole: Joined) -> dict[str, Adversary]:
        kept = self.kept(answer.index) if whole.kept else {}
        return {**self.job.witnesses(answer), **{name: kept[name] for name in whole.kept if name in kept}}


def answers(
    run: Run,
    job: Asking[A],
    jobs: Jobs,
    progress: SampleProgress,
    batch: int | None = None,
    more: Callable[[A], Record] = _nothing,
    attempts: Attempts | None = None,
    at_last: Callable[[Sequence[Record]], None] | None = None,
) -> Callable[[list[int]], Fresh]:
    """The exact answers of samples, for `journalled`.

    `more(result)` is what else a record holds; it is called, and may write files, before the line is on the disk: a
    sample that the journal calls done has everything it should have.
    Without `attempts` a stop leaves out what was not finished; with them samples go on from their earlier lines, and
    brackets on the way are written down each minute; `at_last` is told the lines of those that a stop could not end.
    """

    def fresh(left: list[int]) -> Fresh:
        earlier = {} if attempts is None else {index: attempts.before(index) for index in left}
        known = {} if attempts is None else {index: attempts.known(index) for index in left}
        with ExitStack() as stack:
            if attempts is not None:  # all that is known is to be written, whatever a signal comes in the middle of
                stack.enter_context(cooperative())
            told, running = progress, None
            if attempts is not None and attempts.journal is not None:
                journal = attempts.journal

                def write(index: int, answer: A) -> Record:
                    record = attempts.line(answer, earlier[index], running=True)
                    journal.write(record)
                    return record

                running = stack.enter_context(RunningBrackets(write, at_last))
                told = _both(progress, running.see)
            stream = stack.enter_context(closing(outcomes(run.model, job, run.samples, left, jobs, told, batch, known)))
            while True:
                with cooperative():
                    outcome = next(stream, None)
                if outcome is None:
                    return
                if running is not None:
                    running.ended(outcome.index)
                found = outcome.result
                if attempts is None and EVERYTHING.asked and found is not None and is_open(job.record(found, {})):
                    continue  # nobody goes on from an end that came too soon: the sample is asked again
                yield _finished(outcome, run, job, more, attempts, earlier.get(outcome.index))

    return fresh


def _both(first: SampleProgress, second: SampleProgress) -> SampleProgress:
    def told(index: int, running: Running) -> None:
        first(index, running)
        second(index, running)

    return told


def _finished(
    outcome: Outcome[A],
    run: Run,
    job: Asking[A],
    more: Callable[[A], Record],
    attempts: Attempts | None,
    earlier: Record | None,
) -> Finished:
    if outcome.result is None:
        return Finished(outcome.index, error=outcome.error)
    try:
        beside = {**(outcome.beside or {}), **more(outcome.result)}  # first: a stop in it is told by the line
        own = job.record(outcome.result, run.record) if attempts is None else attempts.line(outcome.result, earlier)
    except SoundnessError as alarm:
        return Finished(outcome.index, error=alarm)
    last = own.pop("run")
    record = {**own, **beside, "run": last}
    if not is_open(record):  # what was measured beside it may have closed it
        record.pop("why_open", None)
    return Finished(outcome.index, record)
