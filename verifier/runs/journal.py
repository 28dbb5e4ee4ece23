"""Results as JSON lines, each on the disk as soon as it is known: a second run goes on where the first ended.

A sample may have several lines, one for each minute that it took and each run that went on with it: the last one
counts. A file has one writer at a time.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from encoders.errors import DataError, OptionError, SoundnessError
from encoders.files import locked
from verifier.question.results import Basis, Result, Verdict

Record = dict[str, Any]
FIRST_BYTES = b'{"index": '
STANDARD_OUTPUT = Path("-")
# What cannot change a true bracket, only how soon it is narrow. Older files hold it in `run`.
EFFORT = ("time_limit", "engine", "device", "seed")
BRACKETED = ("distance", "verify", "margin", "range")  # commands every line of which has a bracket
VERDICTS = (*Verdict, "empty")  # the last where no input is allowed
MOST_SAMPLES = 10_000_000  # of a data set
SLACK = 1e-6  # relative: what may lie between a proof in real numbers and a replay in the file's


def record_of(result: Result, run: Mapping[str, Any]) -> Record:
    """One sample's line. `run` is what the answer depends on: the question, the model, the data."""
    changed = {} if result.before is None else {"before": result.before, "after": result.after}
    return {
        "index": result.index,
        "label": result.label,
        "predicted": result.predicted,
        "norm": str(result.norm),
        "radius": result.radius,
        "verdict": str(result.verdict),
        "lower": number(result.lower),
        "upper": number(result.upper),
        "target": result.target,
        "found_by": result.found_by,
        **changed,
        "seconds": round(result.seconds, 6),
        "engine": result.engine,
        "basis": str(result.basis),
        "nodes": result.nodes,
        "open_phases": result.open_phases,
        "execution_error": None if result.execution_error is None else number(result.execution_error),
        **({} if result.proven_by is None else {"proven_by": result.proven_by}),
        **({} if result.why_open is None else {"why_open": result.why_open}),
        "run": dict(run),
    }


ENDED, STOPPED, RUNNING = "ended", "stopped", "running"
"""How an attempt ended: by itself or at its limit, by a signal, or not yet when its line was written."""


def attempted(record: Record, effort: Mapping[str, Any], earlier: Record | None = None, ended: str = ENDED) -> Record:
    """A record with how its time was spent, by earlier attempts too: `effort` is what each of them was given."""
    attempt = {"seconds": record["seconds"], "nodes": record["nodes"], **effort, "ended": ended}
    spent = [*(earlier or {}).get("attempts", ()), attempt]
    told = {"seconds": round(sum(one["seconds"] for one in spent), 6), "nodes": sum(one["nodes"] for one in spent)}
    rest = {name: value for name, value in record.items() if name != "run"}
    return {**rest, **told, "attempts": spent, "run": record["run"]}


def already_there(record: Mapping[str, Any]) -> bool:
    """Whether a sample is classified as the target itself, so that nothing was asked of it."""
    if "against" in record or record.get("target") is None:  # a loss, or a range
        return False
    return bool(record["target"] == record["predicted"] and record["upper"] == 0)


def is_open(record: Mapping[str, Any]) -> bool:
    """Whether more time could narrow a record's bracket."""
    return record.get("verdict") == Verdict.UNRESOLVED


def is_unfinished(record: Mapping[str, Any]) -> bool:
    """Whether the next run works on a sample again: a bracket of it is open, or its last attempt did not end by itself.

    Of a loss that is closed a single target's may be open, or not begun.
    """
    attempts = record.get("attempts")
    return is_open(record) or bool(attempts and attempts[-1]["ended"] != ENDED) or _has_open_target(record)


def _has_open_target(record: Mapping[str, Any]) -> bool:
    run = record.get("run", {})
    if not run.get("each"):
        return False
    sides = [(float(low), float(high)) for low, high in record.get("by_target", {}).values()]
    closed = [
        high <= low or (math.isfinite(low) and high - low <= run["tolerance"] * max(1.0, abs(low)))
        for low, high in sides
    ]
    return not (closed and all(closed))


def brackets(record: Mapping[str, Any]) -> list[tuple[float, float]]:
    """All brackets of a record."""
    found = [(record["lower"], record["upper"])] if {"lower", "upper"} <= set(record) else []
    found += [tuple(one[side]) for one in record.get("ranges", ()) for side in ("least", "greatest")]
    return [(float(low), float(high)) for low, high in found]


def apart(low: float, high: float) -> bool:
    """Whether a side that is at least `low` and at most `high` cannot be, by more than rounding."""
    slack = SLACK * max(1.0, *(abs(side) for side in (low, high) if math.isfinite(side)), 0.0)
    return low > high + slack


def contradiction(record: Mapping[str, Any]) -> str | None:
    """What a record says that cannot be: sides in the wrong order, or a verdict that its own brackets do not give."""
    sample, verdict, radius, held = record["index"], record.get("verdict"), record.get("radius"), brackets(record)
    for low, high in held:
        if math.isnan(low) or math.isnan(high) or apart(low, high):
            return f"sample {sample} has {low!r} for its lower side and {high!r} for its upper one"
        wrong = verdict == Verdict.EXACT and _open(low, high, record.get("run", {}).get("tolerance"))
        if radius is not None:
            wrong |= verdict == Verdict.CERTIFIED and not low > radius
            wrong |= verdict == Verdict.FALSIFIED and not high <= radius
        if wrong:
            within = "" if radius is None else f" within {radius!r}"
            return f"sample {sample} is called {verdict}{within}, and its bracket is {low!r} to {high!r}"
    return None


def _open(low: float, high: float, tolerance: float | None) -> bool:
    """Whether the two sides are farther apart than any question with that tolerance calls exact."""
    if tolerance is None or low == high:
        return False
    return math.isinf(high - low) or high - low > (tolerance + SLACK) * max(1.0, abs(low), abs(high))


def check_overlap(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Two brackets of one number that do not meet, or a proof of a radius and an adversary in it: one is wrong."""
    if {before.get("verdict"), now.get("verdict")} == {Verdict.CERTIFIED, Verdict.FALSIFIED}:
        raise SoundnessError(f"soundness alarm: sample {now['index']}: one attempt certifies, and another falsifies")
    for (low, high), (lower, upper) in zip(brackets(before), brackets(now), strict=False):
        if apart(low, upper) or apart(lower, high):
            raise SoundnessError(
                f"soundness alarm: sample {now['index']}: one attempt says {low!r} to {high!r}, and another {lower!r} "
                f"to {upper!r}"
            )


class Journal:
    """The file that `--json` names, and what it already held for the same run; `-` is standard output."""

    def __init__(self, path: Path, run: Mapping[str, Any]) -> None:
        self.path = path
        self.done: dict[int, Record] = {}
        self.regular = path != STANDARD_OUTPUT and (not path.exists() or path.is_file())  # a pipe has no past
        self._writing = threading.Lock()
        self._file: BinaryIO = sys.stdout.buffer if path == STANDARD_OUTPUT else open(path, "ab")  # noqa: SIM115
        try:
            if self.regular:
                self._lock()
                self._resume(json.loads(json.dumps(run)))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.path != STANDARD_OUTPUT:
            with suppress(OSError):  # what could not be written is told already
                self._file.close()

    def write(self, record: Record) -> None:
        """Append one line and wait until it is on the disk."""
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        with self._writing:
            try:
                self._file.write(line)
                self._file.flush()
                if self.regular:
                    os.fsync(self._file.fileno())
            except BrokenPipeError:
                raise
            except OSError as error:  # a full disk: what was cut short is dropped by the next run
                raise OSError(error.errno, os.strerror(error.errno or 0), str(self.path)) from error
            self.done[int(record["index"])] = record

    def _lock(self) -> None:
        """Held until the file is closed, or this process ends however it ends."""
        if not locked(self._file):
            raise OptionError(
                f"{self.path}: another run is writing it; wait for its end, or name another file with --json"
            )

    def _resume(self, run: Record) -> None:
        for record in parsed(self.path):
            refuse_other_run(self.path, record["run"], run)
            check_overlap(self.done.get(record["index"], record), record)
            self.done[record["index"]] = record
        cut = len(self.path.read_bytes().rpartition(b"\n")[2])
        if cut:  # the line that a crash cut short: its sample is done again
            os.truncate(self.path, self.path.stat().st_size - cut)


def parsed(path: Path) -> list[Record]:
    """All lines of a file, but for a last one that a crash cut short."""
    *lines, rest = path.read_bytes().split(b"\n")
    found = [_parsed(path, number, line) for number, line in enumerate(lines, start=1)]
    if rest and not (rest.startswith(FIRST_BYTES) or FIRST_BYTES.startswith(rest)):
        raise _foreign(path, len(lines) + 1)
    return found


def _parsed(path: Path, number: int, line: bytes) -> Record:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise _foreign(path, number) from None
    if not (isinstance(record, dict) and type(record.get("index")) is int and isinstance(record.get("run"), dict)):
        raise _foreign(path, number)
    try:
        held = brackets(record)
        Basis(record.get("basis", Basis.RIGOROUS))
        is_unfinished(record)
        wrong = contradiction(record)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError):
        raise _foreign(path, number) from None
    known = record.get("verdict", Verdict.EXACT) in VERDICTS and 0 <= record["index"] < MOST_SAMPLES
    whole = bool(held) or record["run"].get("command") not in BRACKETED
    if not (known and whole) or any(math.isnan(side) for sides in held for side in sides):
        raise _foreign(path, number)
    if wrong is not None:
        raise SoundnessError(f"soundness alarm: {path}: line {number}: {wrong}; trust nothing of this file")
    return record


def _foreign(path: Path, number: int) -> DataError:
    return DataError(f"{path}: line {number} is not a result of plumbline; name another file")


def refuse_other_run(
    path: Path, before: Record, now: Record, instead: str = "use the same options to resume, or another --json file"
) -> None:
    """Refuse a file that is about another question, naming what differs."""
    if EFFORT[0] not in now:
        before = _without_effort(before)
    differing = [
        f"{name} was {json.dumps(before.get(name))}, now {json.dumps(now.get(name))}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    if differing:
        raise OptionError(f"{path} holds results of another run ({'; '.join(differing)}); {instead}")


def _without_effort(run: Record) -> Record:
    """As `run` is written where effort is no part of it: nor is where an engine comes from."""
    kept = {name: value for name, value in run.items() if name not in EFFORT}
    if "plugins" in kept:
        kept["plugins"] = {kind: origins for kind, origins in run["plugins"].items() if kind != "engines"} or None
    return kept


def number(value: float) -> float | str:
    """Strict JSON has no infinity: it is written as the string "inf" or "-inf", which float() reads back."""
    return value if math.isfinite(value) else str(value)
