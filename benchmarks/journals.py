"""Sets two journals of the same samples beside each other: verdicts, brackets, seconds.

python -m benchmarks.journals BEFORE.jsonl AFTER.jsonl

Journals are what `plumbline distance --json` and `verify --json` write; `make bench` compares one net with a saved
baseline this way. The status is 1 where an answer changed: another verdict, or brackets that cannot both be true.
Brackets that moved and still overlap are listed, for a change that should not move them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common import header, row

Journal = Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """What differs between two journals, over the samples that both hold."""

    samples: int
    contradictions: tuple[str, ...]  # answers that cannot both be true
    changed: tuple[str, ...]  # verdicts that are others
    moved: tuple[str, ...]  # brackets that are others, and overlap
    seconds: tuple[float, float]  # in all, before and after
    ratio: float  # median over the samples of after / before


def read(path: Path) -> Journal:
    """A journal's records by their samples' numbers."""
    try:
        records = [json.loads(line) for line in path.read_text().splitlines()]
        return {record["index"]: record for record in records}
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"{path}: no journal of plumbline ({error}); name a file that --json wrote")


def compare(before: Journal, after: Journal) -> Comparison:
    """The samples of both, in their order."""
    contradictions, changed, moved = [], [], []
    common = sorted({*before} & {*after})
    for index in common:
        old, new = before[index], after[index]
        was, now = ((float(record["lower"]), float(record["upper"])) for record in (old, new))
        shown = f"sample {index}: {_shown(old)} before, {_shown(new)} after"
        if max(was[0], now[0]) > min(was[1], now[1]):
            contradictions.append(shown)
        elif old["verdict"] != new["verdict"]:
            changed.append(shown)
        elif was != now:
            moved.append(shown)
    seconds = [(before[index]["seconds"], after[index]["seconds"]) for index in common]
    return Comparison(
        len(common),
        tuple(contradictions),
        tuple(changed),
        tuple(moved),
        (sum(old for old, _ in seconds), sum(new for _, new in seconds)),
        median([new / old for old, new in seconds if old] or [1.0]),
    )


def _shown(record: Mapping[str, Any]) -> str:
    return f"{record['verdict']} [{float(record['lower']):.7g}, {float(record['upper']):.7g}]"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    given = parser.parse_args(arguments)
    found = compare(read(given.before), read(given.after))
    for name in ("contradictions", "changed", "moved"):
        for line in getattr(found, name):
            print(f"{name}: {line}")
    print(header(["samples", "contradictions", "verdicts changed", "brackets moved", "s before", "s after", "ratio"]))
    counts = (len(found.contradictions), len(found.changed), len(found.moved))
    print(row([found.samples, *counts, *found.seconds, found.ratio]))
    if not found.samples:
        print("no sample is in both", file=sys.stderr)
    return 1 if found.contradictions or found.changed or not found.samples else 0


if __name__ == "__main__":
    sys.exit(main())
