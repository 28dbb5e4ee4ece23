"""The loop over samples: what is known is not computed again, and what failed is in no journal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from encoders.errors import SolverError
from verifier.runs.journal import Journal
from verifier.runs.journalled import Finished, Fresh, journalled

RUN = {"command": "test"}


def line(index: int) -> dict[str, Any]:
    return {"index": index, "run": RUN, "lower": index / 4}


def counting(asked: list[int], fails: int = -1) -> Callable[[list[int]], Fresh]:
    """Computes each sample, but for one."""

    def fresh(left: list[int]) -> Fresh:
        for index in left:
            asked.append(index)
            yield Finished(index, error=SolverError("no")) if index == fails else Finished(index, line(index))

    return fresh


def test_known_samples_come_first_and_are_not_computed(tmp_path: Path) -> None:
    path, asked = tmp_path / "a.jsonl", list[int]()
    with Journal(path, RUN) as journal:
        journal.write(line(2))
    with Journal(path, RUN) as journal:
        found = list(journalled(journal, [1, 2, 3], counting(asked, fails=3)))
    assert [one.index for one in found] == [2, 1, 3]
    assert found[0].record == line(2)
    assert isinstance(found[2].error, SolverError)
    assert asked == [1, 3]
    with Journal(path, RUN) as journal:
        assert sorted(journal.done) == [1, 2]  # the one that failed is tried again


def test_a_loop_that_is_left_keeps_what_it_has(tmp_path: Path) -> None:
    path, asked, ended = tmp_path / "a.jsonl", list[int](), list[str]()

    def fresh(left: list[int]) -> Fresh:
        try:
            yield from counting(asked)(left)
        finally:
            ended.append("closed")

    with Journal(path, RUN) as journal:
        stream = journalled(journal, [0, 1, 2], fresh)
        assert next(stream).index == 0
        stream.close()
    assert (asked, ended) == ([0], ["closed"])
    with Journal(path, RUN) as journal:
        assert sorted(journal.done) == [0]


def test_without_a_journal_all_are_computed() -> None:
    asked: list[int] = []
    assert [one.index for one in journalled(None, [3, 1], counting(asked))] == [3, 1] == asked
