"""The answers of many samples: a list of results with the records, tables and adversaries that they come to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

from encoders.arrays import Inputs
from encoders.errors import OptionError, SolverError
from verifier.question.results import Result
from verifier.runs.journal import Record, attempted, record_of
from verifier.runs.summary import summary


@dataclass(frozen=True, eq=False, repr=False)
class Results(Sequence[Result]):
    """Results in the order of their samples; `failed` are the samples on which a solver failed, by index.

    `record` is how the question that was asked writes one of them down.
    """

    results: tuple[Result, ...]
    run: Mapping[str, Any]
    failed: Mapping[int, SolverError] = field(default_factory=dict)
    effort: Mapping[str, Any] = field(default_factory=dict)
    record: Callable[[Result, Mapping[str, Any]], Record] = record_of

    def __len__(self) -> int:
        return len(self.results)

    @overload
    def __getitem__(self, place: int) -> Result: ...
    @overload
    def __getitem__(self, place: slice) -> Results: ...
    def __getitem__(self, place: int | slice) -> Result | Results:
        if isinstance(place, slice):
            return Results(self.results[place], self.run, self.failed, self.effort, self.record)
        return self.results[place]

    def __repr__(self) -> str:
        return f"<Results: {summary(self.records)}>"

    @property
    def records(self) -> list[Record]:
        """What `--json` writes of each."""
        return [attempted(self.record(result, self.run), self.effort) for result in self.results]

    @property
    def adversaries(self) -> list[Inputs | None]:
        """The nearest adversary of each in the shape of the model's input; None where none was found."""
        return [None if result.adversary is None else result.adversary.input for result in self.results]

    def to_json(self) -> str:
        """The records as JSON lines: the file that `--json` writes, in the order of the samples."""
        return "".join(json.dumps(record, allow_nan=False) + "\n" for record in self.records)

    def to_pandas(self) -> Any:
        """A data frame with a row for each sample and the fields of a record, but for its attempts and its run."""
        try:
            import pandas as pd
        except ImportError:
            raise OptionError("to_pandas needs pandas, which is not installed; pip install pandas") from None
        rows = [
            {name: value for name, value in record.items() if name not in ("run", "attempts")}
            for record in self.records
        ]
        frame = pd.DataFrame(rows, columns=None if rows else ["index", "verdict", "lower", "upper"])
        return frame.astype({"lower": float, "upper": float}).set_index("index")
