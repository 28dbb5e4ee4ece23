"""What commands that ask one question of many samples share: rows as they finish, journal, saved inputs, alarms."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from encoders.errors import PlumblineError, SolverError, SoundnessError
from encoders.files import replacing, write_whole
from encoders.interrupts import cooperative, interrupted

if TYPE_CHECKING:
    from verifier.question.model import Model
    from verifier.runs.job import Answer, Asking
    from verifier.runs.journal import Record
    from verifier.runs.journalled import Attempts, Run
    from verifier.runs.run import Jobs
    from verifier.runs.samples import Samples

A = TypeVar("A", bound="Answer")
ANSWERED, UNRESOLVED, BAD_INPUT = 0, 1, 2


@dataclass(frozen=True)
class Table:
    """How records are shown: a heading, a row or several for each, and what the two sides of a running one are."""

    header: str
    row: Callable[[Record], str]
    sides: tuple[str, str] = ("proven lower", "replayed upper")


@dataclass(frozen=True)
class ManySamples(Generic[A]):
    """One question of one model about one data set, and where the answers go."""

    job: Asking[A]
    run: Run
    table: Table
    json: Path | None = None
    out: Path | None = None
    proofs: bool = False  # whether the job writes a proof of each result
    again: str | None = None  # samples that are asked anew, whatever the journal holds
    ordered: bool = False  # rows in the order of the samples, not as they finish

    @classmethod
    def of(
        cls,
        command: str,
        model: Model,
        samples: Samples,
        job: Asking[A],
        table: Table,
        arguments: argparse.Namespace,
        proofs: bool = False,
        **more: Any,
    ) -> ManySamples[A]:
        """With what the answers depend on; `more` is what of that is the command's own."""
        from verifier.runs.journalled import run_of
        from verifier.runs.samples import origin_of

        run = run_of(command, model, samples, job, origin_of(samples.name), more)
        return cls(job, run, table, arguments.json, arguments.out, proofs, arguments.again, arguments.ordered)

    def ask(self, indices: tuple[int, ...], jobs: Jobs, batch: int | None = None) -> int:
        """Answer what is open, showing every row; returns the exit status."""
        from verifier.cli.display import Display, Rows
        from verifier.question.results import Verdict
        from verifier.runs.journal import STANDARD_OUTPUT, Journal, is_unfinished
        from verifier.runs.journalled import Attempts, answers, journalled
        from verifier.runs.proven import lacks_proof
        from verifier.runs.samples import parse_samples
        from verifier.runs.summary import summary

        anew = frozenset[int]() if self.again is None else frozenset(parse_samples(self.again, self.run.samples.count))
        table = sys.stderr if self.json == STANDARD_OUTPUT else sys.stdout
        records: list[Record] = []
        kept: set[int] = set()

        def at_last(unfinished: Sequence[Record]) -> None:
            """What a signal could not end in time is shown as it stands; nothing else is waited for."""
            for record in unfinished:
                records.append(record)
                print(self.table.row(record), file=table)
            print(summary(records), file=table, flush=True)
            os._exit(interrupted() or UNRESOLVED)

        with ExitStack() as stack:
            stack.enter_context(cooperative())
            journal = None if self.json is None else stack.enter_context(Journal(self.json, self.run.record))
            if self.out is not None:
                self.out.mkdir(parents=True, exist_ok=True)
            attempts = Attempts(self.run, self.job, journal, anew, self.proofs)

            def again(record: Record) -> bool:
                lacking = self.proofs and lacks_proof(record, self.job.folder)
                return is_unfinished(record) or record["index"] in anew or lacking

            done = {} if journal is None else dict(journal.done)
            kept |= {index for index, record in done.items() if not again(record)}
            self._save_missing(attempts, [index for index in indices if index in kept])
            print(self.table.header, file=table, flush=True)
            display = stack.enter_context(Display(len(indices), self.table.sides, table))
            rows = stack.enter_context(Rows(display, indices if self.ordered else None))
            saving = partial(self._save_witnesses, attempts)
            fresh = answers(self.run, self.job, jobs, display.running, batch, saving, attempts, at_last)
            for one in stack.enter_context(closing(journalled(journal, indices, fresh, again))):
                if one.record is None:
                    self._report(one.index, one.error)
                    continue
                records.append(one.record)
                rows.finished(one.index, self.table.row(one.record))
        left = len(indices) - len(records)
        print(summary(records, self.proofs) + (f"; {left} not begun" if interrupted() and left else ""), file=table)
        if left:
            return BAD_INPUT
        return UNRESOLVED if any(record["verdict"] == Verdict.UNRESOLVED for record in records) else ANSWERED

    def _save_missing(self, attempts: Attempts, indices: Sequence[int]) -> None:
        """Adversaries of answers that were there before `--out` was, from where the journal keeps them."""
        if self.out is None:
            return
        for index in indices:
            for name, witness in attempts.kept(index).items():
                if not (self.out / f"{name}-{index}.npz").exists():
                    original = self.run.samples.x[index]
                    self.job.save(self.out, index, original, name, witness)

    def _save_witnesses(self, attempts: Attempts, answer: A) -> Record:
        if self.out is not None:
            for name, witness in attempts.witnesses(answer).items():
                original = self.run.samples.x[answer.index]
                self.job.save(self.out, answer.index, original, name, witness)
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
        with replacing(folder / f"alarm-{index}.npz") as file:
            np.savez_compressed(file, **arrays)
        told = {
            "error": str(error),
            "index": index,
            "model": self.run.path,
            "data": self.run.samples.name,
            "run": self.run.record,
        }
        path = folder / f"alarm-{index}.json"
        write_whole(path, json.dumps(told, indent=2) + "\n")
        return path
