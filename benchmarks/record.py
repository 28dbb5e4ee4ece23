"""Reads, checks, shows and extends the record of what was measured, docs/benchmarks/runs.csv.

One row is one figure of one run: `digits-linf.3` is the third figure of the run `digits-linf`. Pages name runs and
figures by these ids; the tables and charts of docs/benchmarks/index.md are made from the rows, never written by hand.

    python -m benchmarks.record check
    python -m benchmarks.record table digits-linf rsl18a-exact.1
    python -m benchmarks.record add ID --subject … --command … --beside … --figure median 0.109 "s an image"
    python -m benchmarks.record render
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import date
from pathlib import Path

from encoders.errors import PlumblineError

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / "docs" / "benchmarks"
RECORD = FOLDER / "runs.csv"
PAGE = FOLDER / "index.md"
PICTURES = REPOSITORY / "docs" / "_static"
WIDEST = 160  # characters of a cell: what needs more is a page, not a row

ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\.[1-9][0-9]*")
COMMIT = re.compile(r"[0-9a-f]{7,40}\+?")  # + where the working tree was not clean
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
TABLE = re.compile(r"<!-- table: (?P<ids>[^>]*?) -->\n.*?<!-- end of table -->", re.DOTALL)


class RecordError(PlumblineError):
    """The record, or what is asked of it, is not as it must be."""


@dataclass(frozen=True)
class Figure:
    """One row: a figure of a run, and under what conditions it was measured."""

    id: str
    date: str
    commit: str
    machine: str
    beside: str
    subject: str
    command: str
    figure: str
    values: str
    unit: str
    note: str

    @property
    def run(self) -> str:
        return self.id.rpartition(".")[0]

    @property
    def numbers(self) -> tuple[float, ...]:
        """The values, in the order in which the figure's name lists what they are of."""
        return tuple(float(value) for value in self.values.split(";")) if self.values else ()

    @property
    def shown(self) -> str:
        """The values with their units; one unit stands for all values where it is the only one."""
        values, units = self.values.split("; "), self.unit.split("; ")
        if len(units) != len(values):
            return f"{self.values} {self.unit}".strip()
        return "; ".join(f"{value} {unit}" for value, unit in zip(values, units, strict=True))

    def problem(self) -> str | None:
        """What is wrong with this row, if anything."""
        for field, cell in zip(COLUMNS, astuple(self), strict=True):
            if len(cell) > WIDEST or "\n" in cell:
                return f"{field} is longer than {WIDEST} characters or than a line: shorten it, or use more rows"
            if not cell and field not in ("values", "unit", "note"):
                return f"{field} is empty: fill it in"
        for field, pattern in (("id", ID), ("date", DAY), ("commit", COMMIT)):
            if not pattern.fullmatch(getattr(self, field)):
                return f"{field} {getattr(self, field)!r} does not read as {pattern.pattern}"
        try:
            _ = self.numbers
        except ValueError:
            return f"values {self.values!r} are no numbers separated by semicolons"
        return None if self.values or self.note else "it has neither values nor a note that says why"


COLUMNS = tuple(field.name for field in fields(Figure))


def read(path: Path = RECORD) -> tuple[Figure, ...]:
    """All rows of the record, checked."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    if not rows or tuple(rows[0]) != COLUMNS:
        raise RecordError(f"{path}: the first row must name the columns {', '.join(COLUMNS)}")
    figures = []
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(COLUMNS):
            raise RecordError(f"{path}, row {line}: {len(row)} cells where {len(COLUMNS)} belong")
        figures.append(Figure(*row))
        if problem := figures[-1].problem():
            raise RecordError(f"{path}, row {line}: {problem}")
    check_ids(figures)
    return tuple(figures)


def check_ids(figures: Sequence[Figure]) -> None:
    """Raises where an id stands twice, or where a run's figures are not 1, 2, 3 … under one set of conditions."""
    conditions: dict[str, tuple[str, ...]] = {}
    counts: dict[str, int] = {}
    for figure in figures:
        counts[figure.run] = counts.get(figure.run, 0) + 1
        if figure.id != f"{figure.run}.{counts[figure.run]}":
            raise RecordError(f"{figure.id}: the figures of a run are numbered 1, 2, 3 … in their order, each once")
        mine = (figure.date, figure.commit, figure.machine, figure.beside, figure.subject, figure.command)
        if conditions.setdefault(figure.run, mine) != mine:
            raise RecordError(f"{figure.id}: its conditions are not those of {figure.run}.1: give it an id of its own")


def chosen(figures: Sequence[Figure], ids: Iterable[str]) -> list[Figure]:
    """The rows of these ids in their order; the id of a run stands for all its figures."""
    found = []
    for name in ids:
        rows = [figure for figure in figures if name in (figure.id, figure.run)]
        if not rows:
            raise RecordError(f"no run or figure {name!r} in {RECORD.name}: see its first column")
        found += rows
    return found


def table(figures: Sequence[Figure], ids: Iterable[str]) -> str:
    """These rows as a Markdown table."""
    lines = ["| what | figure | value | machine, date | id |", "|---|---|---|---|---|"]
    for figure in chosen(figures, ids):
        where = f"{figure.machine}, {figure.date}"
        lines.append(f"| {figure.subject} | {figure.figure} | {figure.shown} | {where} | `{figure.id}` |")
    return "\n".join(lines)


def renewed(page: str, figures: Sequence[Figure]) -> str:
    """A page with each table between its two comments made again from the ids that the first one names."""

    def made(match: re.Match[str]) -> str:
        ids = match["ids"].split()
        return f"<!-- table: {' '.join(ids)} -->\n{table(figures, ids)}\n<!-- end of table -->"

    return TABLE.sub(made, page)


def here() -> tuple[str, str, str]:
    """Today, the commit of this checkout and this machine, as a new row has them."""
    shown = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if shown.returncode:
        raise RecordError("no commit to record: run this in a git checkout of the repository")
    return date.today().isoformat(), shown.stdout.strip(), machine()


def machine() -> str:
    """This machine by its cores, and by its graphics card where torch sees one."""
    import torch

    cores = f"{os.cpu_count()} cores"
    return f"{torch.cuda.get_device_name()}, {cores}" if torch.cuda.is_available() else cores


def add(run: Sequence[Figure], path: Path = RECORD) -> None:
    """Appends the figures of a new run; nothing is written where the record would no longer be well-formed."""
    for figure in run:
        if problem := figure.problem():
            raise RecordError(f"{figure.id}: {problem}")
    check_ids([*read(path), *run])
    with path.open("a", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(astuple(figure) for figure in run)


def draw(figures: Sequence[Figure], folder: Path = PICTURES) -> None:
    """The two charts of index.md, as SVG with its text kept as text."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "plumbline", "font.size": 9})
    from matplotlib import pyplot

    growth, axes = pyplot.subplots(figsize=(6.4, 3.4), layout="constrained")
    rows = [figure for figure in chosen(figures, ["growth"]) if figure.figure.startswith("median, ")]
    names = [row.figure.removeprefix("median, ").removesuffix(" open phases") for row in rows]
    axes.bar(names, [row.numbers[0] for row in rows], color="#4477aa")
    axes.set(xlabel="open phases at the first ball", ylabel="median seconds a question")
    axes.set_title("Exact L∞ distance, three digits nets")
    growth.savefig(folder / "benchmarks-growth.svg", metadata={"Date": None})

    bounds, axes = pyplot.subplots(figsize=(6.4, 3.8), layout="constrained")
    for name, share, time in _bounds(figures):
        axes.plot(time, share, "o", color="#4477aa")
        axes.annotate(name, (time, share), xytext=(4, -9), textcoords="offset points", fontsize=8)
    axes.set(xscale="log", ylim=(0, 1.05), xlabel="milliseconds an image", ylabel="median of bound / exact distance")
    axes.set_xlim(1, 4000)
    axes.set_title("Lower bounds on digits 64-32-32-10, L∞")
    bounds.savefig(folder / "benchmarks-lower-bounds.svg", metadata={"Date": None})
    pyplot.close("all")


def _bounds(figures: Sequence[Figure]) -> list[tuple[str, float, float]]:
    """Name, median share of the exact distance and milliseconds of each lower bound: two runs, on 371 and 40 images."""
    rows = {row.figure: row.numbers for row in chosen(figures, ["brackets-digits"])}
    first = [name.removesuffix(": median") for name in rows if name.endswith(": median")]
    points = [(name, rows[f"{name}: median"][0], rows[f"{name}: time"][0]) for name in first]
    later = chosen(figures, ["brackets-digits-all-layers"])
    medians = [row for row in later if row.figure.endswith(": median")]
    times = next(row.numbers for row in later if row.figure == "time, in this order")
    for row, time in zip(medians, times, strict=True):
        name = row.figure.removesuffix(": median")
        if name not in first:
            points.append((name, row.numbers[0], time))
    return points


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.record", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="do", required=True)
    commands.add_parser("check", help="is the record well-formed?")
    commands.add_parser("render", help="make the tables and charts of index.md again")
    shown = commands.add_parser("table", help="print rows as a Markdown table")
    shown.add_argument("ids", nargs="+", help="of runs, or of single figures")
    added = commands.add_parser("add", help="append a run; date, commit and machine are filled in")
    added.add_argument("id", help="of the new run, such as digits-linf-2")
    added.add_argument("--subject", required=True)
    added.add_argument("--command", required=True)
    added.add_argument("--beside", required=True, help="what else ran: nothing, a test run …")
    added.add_argument("--note", default="")
    added.add_argument("--figure", nargs=3, action="append", required=True, metavar=("NAME", "VALUES", "UNIT"))
    return parser.parse_args(given)


def measured(asked: argparse.Namespace) -> list[Figure]:
    """The rows of a run as the command line gives it."""
    day, commit, where = here()
    conditions = (day, commit, where, asked.beside, asked.subject, asked.command)
    return [
        Figure(f"{asked.id}.{number}", *conditions, figure=name, values=values, unit=unit, note=asked.note)
        for number, (name, values, unit) in enumerate(asked.figure, start=1)
    ]


def main(given: Sequence[str] | None = None) -> int:
    asked = arguments(given)
    try:
        figures = read()
        if asked.do == "table":
            print(table(figures, asked.ids))
        elif asked.do == "add":
            add(measured(asked))
        elif asked.do == "render":
            PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), figures), encoding="utf-8")
            draw(figures)
        else:
            print(f"{len(figures)} figures of {len({figure.run for figure in figures})} runs, all well-formed")
    except RecordError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
