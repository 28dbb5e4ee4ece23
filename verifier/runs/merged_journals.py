"""Several journals of one question as one: what array jobs and machines wrote, sample by sample."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from encoders.errors import DataError, OptionError
from encoders.files import replacing
from verifier.runs.journal import EFFORT, Record, brackets, check_overlap, is_open, parsed, refuse_other_run

LEFT_OUT = ("run", "attempts", "ranges", "by_target", "attacks", "bounds", "estimates", "adversary", "proof")


@dataclass(frozen=True, eq=False)
class Merged:
    """The last line of each sample, in the order of the samples."""

    run: Mapping[str, Any]
    records: tuple[Record, ...]

    @property
    def command(self) -> str:
        return str(self.run.get("command"))

    @property
    def open(self) -> list[int]:
        """The samples that more time could say more of."""
        return [record["index"] for record in self.records if is_open(record)]

    def missing(self, expected: Collection[int] | None = None) -> list[int]:
        """The samples that no file holds: of those expected, or of all up to the last one held."""
        held = {record["index"] for record in self.records}
        return sorted(set(range(max(held) + 1) if expected is None else expected) - held)

    def curve(self, radii: Sequence[float]) -> list[tuple[float, float, float]]:
        """For each radius the share of samples proven to have no adversary within it, and the share that may have
        none; a misclassified one is at distance 0."""
        lower = np.array([float(record["lower"]) for record in self.records])
        upper = np.array([float(record["upper"]) for record in self.records])
        return [(radius, float((lower > radius).mean()), float((upper > radius).mean())) for radius in radii]

    def radii(self, count: int = 8) -> list[float]:
        """Radii at which the curve falls, in round numbers."""
        ends = np.array([float(record[side]) for record in self.records for side in ("lower", "upper")])
        ends = ends[np.isfinite(ends) & (ends > 0)]
        if not len(ends):
            return []
        chosen = np.quantile(ends, np.linspace(0.05, 0.95, count))
        return sorted({float(f"{radius:.2g}") for radius in chosen})

    def rows(self) -> list[dict[str, Any]]:
        """What fits into a table: a row for each sample, or for each of its ranges."""
        found = []
        for record in self.records:
            flat = {name: value for name, value in record.items() if name not in LEFT_OUT}
            for one in record.get("ranges", [{}]):
                more = {name: one[name] for name in ("verdict", "basis", "seconds", "nodes", "why_open") if name in one}
                for side in ("least", "greatest"):
                    if side in one:
                        more |= {f"{side}_lower": one[side][0], f"{side}_upper": one[side][1]}
                if "combination" in one:
                    more["combination"] = " ".join(f"{factor:g}" for factor in one["combination"])
                found.append(flat | more)
        return found

    def write_csv(self, path: Path) -> None:
        """The rows, infinities as `inf`; what a row has not is empty."""
        rows = self.rows()
        names = list(dict.fromkeys(name for row in rows for name in row))
        with replacing(path) as file:
            file.write((",".join(names) + "\n").encode())
            for row in rows:
                file.write((",".join(_cell(row.get(name)) for name in names) + "\n").encode())

    def write_parquet(self, path: Path) -> None:
        """The same as Parquet, infinities as numbers."""
        for needed in ("pandas", "pyarrow"):
            if find_spec(needed) is None:
                raise OptionError(
                    f"Parquet needs {needed}, which is not installed; pip install {needed}, or take --csv"
                )
        import pandas as pd

        frame = pd.DataFrame([{name: _number(value) for name, value in row.items()} for row in self.rows()])
        with replacing(path) as file:
            frame.to_parquet(file, index=False)


def _cell(value: Any) -> str:
    """A value as CSV has it."""
    text = "" if value is None else json.dumps(value) if isinstance(value, list) else str(value)
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n') else text


def _number(value: Any) -> Any:
    return float(value) if value in ("inf", "-inf") else json.dumps(value) if isinstance(value, list) else value


def merged_journals(paths: Sequence[Path]) -> Merged:
    """The journals of one question, which they must all be about. Of a sample in several the narrowest bracket counts.

    Two that do not meet are the alarm.
    """
    found: dict[int, Record] = {}
    run: Record | None = None
    for path in paths:
        own: dict[int, Record] = {}
        for record in parsed(path):
            asked = {name: value for name, value in record["run"].items() if name not in EFFORT}
            run = asked if run is None else run
            refuse_other_run(path, asked, run, "leave it out, or summarise it by itself")
            check_overlap(own.get(record["index"], record), record)
            own[record["index"]] = record
        for index, record in own.items():
            found[index] = record if index not in found else _narrower(found[index], record)
    if run is None:
        raise DataError(f"{paths[0]}: there is no result in it" + (" nor in the others" if len(paths) > 1 else ""))
    return Merged(run, tuple(found[index] for index in sorted(found)))


def _narrower(one: Record, other: Record) -> Record:
    check_overlap(one, other)
    return min((one, other), key=_openness)


def _openness(record: Record) -> tuple[bool, float, float]:
    """How open a line is: of two without an end the one that begins higher is less so."""
    held = brackets(record)
    return is_open(record), sum(_width(*sides) for sides in held), -sum(lower for lower, _ in held)


def _width(lower: float, upper: float) -> float:
    return 0.0 if lower == upper else upper - lower
