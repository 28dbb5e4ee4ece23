"""What a run shows: one row per sample on stdout, the samples in progress on stderr."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from verifier.pages.wording import in_decimals
from verifier.question.problem import Running
from verifier.runs.journal import Record

DIGITS = 7
PLAIN_INTERVAL = 60.0  # seconds between two lines about one sample where there is no terminal
HEADER = (
    f"{'sample':>6} {'label':>5} {'class':>5}  {'verdict':<13} {'lower':>10} {'exact':>10} {'upper':>10} "
    f"{'target':>6} {'seconds':>8}  {'engine':<8} basis"
)

CHANGE_HEADER = (
    f"{'sample':>6}  {'verdict':<10} {'lower':>10} {'exact':>10} {'upper':>10} {'before':>12} {'after':>12} "
    f"{'seconds':>8}  {'engine':<8} basis"
)


def row(record: Record) -> str:
    """One sample's line. Lower is shown rounded down and upper up, exact between them: as true as what was proven."""
    lower, upper = float(record["lower"]), float(record["upper"])
    verdict = record["verdict"]
    exact = f"{upper:.{DIGITS}f}" if verdict in ("exact", "misclassified") else ""
    return (
        f"{record['index']:>6} {_or_dash(record['label']):>5} {record['predicted']:>5}  {verdict:<13} "
        f"{rounded(lower, math.floor):>10} {exact:>10} {rounded(upper, math.ceil):>10} "
        f"{_or_dash(record['target']):>6} {record['seconds']:>8.2f}  {record['engine']:<8} {record['basis']}"
    )


def change_row(record: Record) -> str:
    """One sample's line where a change of an output is asked about: what the file gives before, and after."""
    lower, upper = float(record["lower"]), float(record["upper"])
    exact = f"{upper:.{DIGITS}f}" if record["verdict"] == "exact" else ""
    after = "-" if record["after"] is None else f"{record['after']:.6g}"
    return (
        f"{record['index']:>6}  {record['verdict']:<10} {rounded(lower, math.floor):>10} {exact:>10} "
        f"{rounded(upper, math.ceil):>10} {record['before']:>12.6g} {after:>12} {record['seconds']:>8.2f}  "
        f"{record['engine']:<8} {record['basis']}"
    )


def rounded(value: float, direction: object) -> str:
    """A bound in decimals, rounded down (math.floor) or up (math.ceil)."""
    return in_decimals(value, DIGITS, ROUND_FLOOR if direction is math.floor else ROUND_CEILING)


@dataclass
class _InProgress:
    """A sample in progress: what it told last, and when it began and was last spoken of."""

    told: Running
    began: float
    said: float


class Display:
    """The samples in progress: a live table on a terminal, a plain line a minute for each elsewhere."""

    def __init__(
        self, total: int, sides: tuple[str, str] = ("proven lower", "replayed upper"), rows: TextIO | None = None
    ) -> None:
        self._total, self._finished, self._sides, self._rows = total, 0, sides, rows
        self._running: dict[int, _InProgress] = {}
        self._began, self._worked_on = time.monotonic(), 0
        self._console = Console(stderr=True)
        self._live = (
            Live(console=self._console, get_renderable=self._shown, transient=True, redirect_stdout=sys.stdout.isatty())
            if self._console.is_terminal
            else None
        )

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def running(self, index: int, running: Running) -> None:
        """A sample's bounds moved."""
        now = time.monotonic()
        one = self._running.setdefault(index, _InProgress(running, now, now))
        one.told = running
        if self._live is None and now >= one.said + PLAIN_INTERVAL:
            one.said = now
            lower, upper = _sides(running)
            print(f"sample {index}: {lower} to {upper} after {now - one.began:.0f} s{_by(running)}", file=sys.stderr)

    def finished(self, index: int, line: str) -> None:
        """A sample is done: its row goes to stdout, or where rows go."""
        self._finished += 1
        self._worked_on += self._running.pop(index, None) is not None
        print(line, file=self._rows, flush=True)

    def _shown(self) -> Table:
        return self.table(self._console.width)

    def table(self, width: int) -> Table:
        """A line for each sample in progress, and above them how far all are; of a narrow terminal the figures that
        matter least are left out."""
        now = time.monotonic()
        table = Table(title=self.overall(now), title_justify="left", box=None, padding=(0, 1))
        optional = (("gap", 58), ("nodes", 68), ("technique", 80))
        kept = [name for name, least in optional if width >= least]
        for name in ("sample", *self._sides, *kept, "seconds"):
            table.add_column(name if width >= 58 else name.split()[-1], justify="right", no_wrap=True)
        for index, one in sorted(self._running.items()):
            told = one.told
            figures = {"gap": f"{told.gap:.2g}", "nodes": f"{told.nodes:,}", "technique": told.technique}
            table.add_row(str(index), *_sides(told), *(figures[name] for name in kept), f"{now - one.began:.0f}")
        return table

    def overall(self, now: float) -> str:
        """How many are done, and how long the rest takes at the pace of those that were worked on: unknown before the
        first, since how long a sample takes cannot be told from its bracket."""
        told = f"{self._finished} of {self._total} done"
        left = self._total - self._finished
        if not left or not self._worked_on:
            return told
        return f"{told}, about {_duration((now - self._began) / self._worked_on * left)} left at this pace"


def _sides(running: Running) -> tuple[str, str]:
    return rounded(running.lower, math.floor), rounded(running.upper, math.ceil)


def _by(running: Running) -> str:
    """What works on a sample, where it says so."""
    nodes = f", {running.nodes:,} node{'' if running.nodes == 1 else 's'}" if running.nodes else ""
    return nodes + (f" ({running.technique})" if running.technique else "")


def _duration(seconds: float) -> str:
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(1.0, seconds):.0f} s"


class Rows:
    """Rows as samples finish, or in the order of `indices`: each then waits for those before it."""

    def __init__(self, display: Display, indices: Sequence[int] | None = None) -> None:
        self._display = display
        self._next = None if indices is None else deque(indices)
        self._waiting: dict[int, str] = {}

    def __enter__(self) -> Rows:
        return self

    def __exit__(self, *_: object) -> None:
        """What still waits for a sample that has no row is shown after all."""
        for index in sorted(self._waiting):
            self._display.finished(index, self._waiting[index])

    def finished(self, index: int, line: str) -> None:
        """A sample is done."""
        if self._next is None:
            self._display.finished(index, line)
            return
        self._waiting[index] = line
        while self._next and self._next[0] in self._waiting:
            first = self._next.popleft()
            self._display.finished(first, self._waiting.pop(first))


def progress_bar() -> Progress:
    """A bar on stderr, of what is done of how much, that leaves nothing behind."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)
