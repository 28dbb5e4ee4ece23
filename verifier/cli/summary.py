"""`plumbline summary`: journals in, as those of array jobs; one table, counts and a curve out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from encoders.errors import OptionError

if TYPE_CHECKING:
    from verifier.cli.many_samples import Table
    from verifier.runs.merged_journals import Merged

ANSWERED, UNRESOLVED = 0, 1
LISTED = 12  # indices of a kind that are named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`plumbline summary FILE…`."""
    parser.description = (
        "What --json files of one question hold together, as the jobs of an array write them: which samples are "
        "missing or open, all rows, counts, and how the share of robust samples falls with the radius."
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help="what --json wrote")
    parser.add_argument("--samples", metavar="S", help="which samples there should be (default: up to the last one)")
    output = parser.add_argument_group("output")
    output.add_argument("--csv", type=Path, metavar="FILE", help="the rows as a table for other programs")
    output.add_argument("--parquet", type=Path, metavar="FILE", help="the same as Parquet; needs pandas and pyarrow")


def run(arguments: argparse.Namespace) -> int:
    """Merge, show and write; returns the exit status."""
    from verifier.pages.wording import share_ends
    from verifier.runs.journal import BRACKETED, MOST_SAMPLES
    from verifier.runs.merged_journals import merged_journals
    from verifier.runs.samples import parse_samples
    from verifier.runs.summary import summary

    found = merged_journals(arguments.files)
    if found.command not in BRACKETED:
        raise OptionError(f"{arguments.files[0]}: a file of {found.command}; a summary is of {', '.join(BRACKETED)}")
    expected = None if arguments.samples is None else parse_samples(arguments.samples, MOST_SAMPLES)
    missing = found.missing(expected)
    table = table_of(found)
    print(table.header)
    for record in found.records:
        print(table.row(record))
    print(summary(found.records))
    for told, which in (("missing", missing), ("open", found.open)):
        if which:
            print(f"{told}: {listed(which)}")
    if found.command == "distance":
        for radius, proven, possible in found.curve(found.radii()):
            low, high = share_ends(proven, possible)
            print(f"no adversary within {radius:<8g} {low:>7} proven, {high:>7} at most")
    if arguments.csv is not None:
        found.write_csv(arguments.csv)
    if arguments.parquet is not None:
        found.write_parquet(arguments.parquet)
    return UNRESOLVED if missing or found.open else ANSWERED


def table_of(found: Merged) -> Table:
    """The table of the command that wrote the records."""
    from verifier.cli import display, margin, output_range
    from verifier.cli.many_samples import Table

    if found.command == "margin":
        return Table(margin.HEADER, margin.row)
    if found.command == "range":
        return Table(output_range.HEADER, output_range.rows)
    if found.run.get("change") is not None:
        return Table(display.CHANGE_HEADER, display.change_row)
    return Table(display.HEADER, display.row)


def listed(indices: Sequence[int]) -> str:
    """Indices as `--samples` takes them, the first of many."""
    shown = ",".join(map(str, indices[:LISTED]))
    return shown if len(indices) <= LISTED else f"{shown} and {len(indices) - LISTED} more"
