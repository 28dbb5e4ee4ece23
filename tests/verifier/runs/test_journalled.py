"""The loop over samples: what is known is not computed again, and what failed is in no journal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders.deadline import EVERYTHING
from encoders.errors import SolverError
from encoders.layer_graph.graph import affine_chain
from tests.onnx_builder import to_onnx
from verifier.options import Options
from verifier.question.model import load
from verifier.question.problem import Running
from verifier.runs.job import Job
from verifier.runs.journal import Journal
from verifier.runs.journalled import Attempts, Finished, Fresh, answers, journalled, run_of
from verifier.runs.samples import Samples

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


def test_what_is_asked_again_is_told_as_it_was_where_a_stop_comes_first(tmp_path: Path) -> None:
    asked: list[int] = []
    with Journal(tmp_path / "a.jsonl", RUN) as journal:
        for index in (1, 2):
            journal.write(line(index))

        def stopped(left: list[int]) -> Fresh:
            asked.extend(left)
            yield Finished(3, line(3))

        found = list(journalled(journal, [1, 2, 3], stopped, lambda record: record["index"] == 2))
    assert asked == [2, 3]
    assert [one.index for one in found] == [1, 3, 2]
    assert found[2].record == line(2)


@pytest.mark.parametrize("going_on", [True, False])
def test_a_stop_leaves_what_somebody_can_go_on_from(going_on: bool, tmp_path: Path) -> None:
    net = to_onnx(affine_chain([np.eye(2)], [np.zeros(2)]), tmp_path / "swap.onnx")
    samples = Samples("points", np.array([[0.75, 0.25]] * 3, dtype=np.float32), None)
    job = Job(Options())
    run = run_of("distance", load(net), samples, job)

    def stop(index: int, running: Running) -> None:
        del index, running
        EVERYTHING.ask()

    try:
        with Journal(tmp_path / "a.jsonl", run.record) as journal:
            attempts = Attempts(run, job, journal) if going_on else None
            found = list(journalled(journal, [0, 1, 2], answers(run, job, 1, stop, 1, attempts=attempts)))
            assert set(journal.done) == {one.index for one in found} == ({0} if going_on else set())
    finally:
        EVERYTHING.forget()
    for one in found:
        assert one.record is not None
        assert one.record["attempts"][0]["ended"] == "stopped"
