"""A cluster answers as this process does, whoever dies meanwhile; what it must not be is refused by name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from encoders.deadline import EVERYTHING
from encoders.errors import ClusterError, OptionError, SolverError
from encoders.question import Norm
from tests.dask_cluster import PATIENCE, dask_cluster
from trainers.datasets import digits
from verifier.cli.main import main
from verifier.options import Options
from verifier.question.model import Model, load
from verifier.question.problem import Running
from verifier.question.results import Result, Verdict
from verifier.runs import cluster, in_process
from verifier.runs.cluster import _Session, _Task
from verifier.runs.cluster_connection import check_cluster
from verifier.runs.cluster_process import check_worker, code_here
from verifier.runs.cluster_worker import Delivered, Stage
from verifier.runs.job import Given, Job, Outcome
from verifier.runs.run import outcomes
from verifier.runs.samples import Samples

pytestmark = pytest.mark.slow

NET = Path(in_process.__file__).parents[2] / "trainers" / "nets" / "digits-64-32-32-10.onnx"
HARD = Path(in_process.__file__).parents[2] / "trainers" / "nets" / "digits-64-64-64-10.onnx"
JOB = Job(Options())


@pytest.fixture(scope="module")
def model() -> Model:
    return load(NET)


@pytest.fixture(scope="module")
def samples() -> Samples:
    data = digits("test")
    return Samples("digits", data.x[:12], data.y[:12])


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of a scheduler with two workers, each started again when it dies, and the scheduler's process."""
    with dask_cluster(tmp_path_factory.mktemp("dask"), "--nworkers", "2") as started:
        yield started


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "WAIT_FOR_WORKERS", PATIENCE)


def ask(
    model: Model, samples: Samples, indices: list[int], jobs: int | str, job: Job = JOB, told: Any = None
) -> Iterator[Outcome[Result]]:
    return outcomes(model, job, samples, indices, jobs, told or (lambda index, running: None))


def result_of(outcome: Outcome[Result]) -> Result:
    assert outcome.result is not None, outcome.error
    return outcome.result


def test_a_cluster_says_what_this_process_says(model: Model, samples: Samples, two_workers: Any) -> None:
    alone = {one.index: result_of(one) for one in ask(model, samples, [5, 0, 3], 1)}
    shared = {one.index: result_of(one) for one in ask(model, samples, [5, 0, 3], two_workers[0])}
    assert sorted(alone) == sorted(shared) == [0, 3, 5]
    for index, one in alone.items():
        two = shared[index]
        assert (one.verdict, one.predicted, one.label) == (two.verdict, two.predicted, two.label)
        assert one.verdict is Verdict.EXACT
        assert abs(one.upper - two.upper) <= JOB.options.tolerance
        assert two.lower <= two.upper


def test_a_worker_that_is_killed_costs_no_sample(model: Model, samples: Samples, two_workers: Any) -> None:
    distributed: Any = import_module("distributed")
    address, _ = two_workers
    indices = list(range(12))
    found = []
    for one in ask(model, samples, indices, address):
        found.append(one.index)
        if len(found) == 1:
            with distributed.Client(address, set_as_default=False) as client:
                pids = client.run(os.getpid)
            os.kill(next(iter(pids.values())), signal.SIGKILL)
        assert one.error is None
    assert sorted(found) == indices


def test_a_stop_brings_what_is_known(samples: Samples, two_workers: Any) -> None:
    """The question would go on for long; its workers are free for the next one afterwards."""
    hard, seen = load(HARD), []

    def told(index: int, running: Running) -> None:
        seen.append((index, running))
        EVERYTHING.ask()

    job = Job(Options(norm=Norm.L1, engine="search", time_limit=3600.0))
    try:
        found = [result_of(one) for one in ask(hard, samples, [0], two_workers[0], job, told)]
    finally:
        EVERYTHING.forget()
    assert seen
    (one,) = found
    assert 0.0 <= one.lower <= one.upper


@pytest.mark.release
def test_a_scheduler_that_is_killed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cluster, "LATER_WAIT", 0.0)
    journal = tmp_path / "journal.jsonl"
    with dask_cluster(tmp_path, "--no-nanny") as (address, scheduler):
        written = cluster._Session._delivered

        def delivered(session: Any, message: Delivered) -> Any:
            yield from written(session, message)
            scheduler.kill()

        monkeypatch.setattr(cluster._Session, "_delivered", delivered)
        given = ["distance", str(NET), "--data", "digits", "--samples", "0:40", "--batch", "1"]
        assert main([*given, "--json", str(journal), "--cluster", address]) == 2
    told = capfd.readouterr().err
    assert "no scheduler answers there" in told
    assert "--json" in told
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    assert 0 < len(lines) < 40
    assert all(line["lower"] <= line["upper"] for line in lines)


# What a scheduler and workers would do, told by hand.


class NoClient:
    """A client whose tasks never end; those that are called off are remembered."""

    id, status = "client", "running"

    def __init__(self) -> None:
        self.cancelled: list[Any] = []

    def cancel(self, futures: list[Any]) -> None:
        self.cancelled += futures


def session_of(model: Model, samples: Samples, count: int) -> _Session[Result]:
    """A session whose first task holds so many samples."""
    given = [Given(index, samples.x[index], samples.label(index)) for index in range(count)]
    left = {one.index: one for one in given}
    session = _Session(NoClient(), "tcp://here:1", model, JOB, 1, lambda index, running: None, left)
    session.tasks[next(session.numbers)] = _Task(given, "the future")
    return session


def taken(session: _Session[Result], *messages: Any) -> list[Outcome[Result]]:
    return [one for message in messages for one in session._taken(0, message)]


@pytest.fixture(scope="module")
def outcome(model: Model, samples: Samples) -> Outcome[Result]:
    (found,) = ask(model, samples, [0], 1)
    return found


def test_a_task_that_runs_twice_gives_one_row(model: Model, samples: Samples, outcome: Outcome[Result]) -> None:
    session = session_of(model, samples, 2)
    assert taken(session, Stage.BEGUN, Delivered(outcome), Delivered(outcome)) == [outcome]
    assert list(session.left) == [1]


def test_a_task_that_begins_twice_is_split_and_goes_on_from_what_was_told(
    model: Model, samples: Samples, outcome: Outcome[Result]
) -> None:
    session = session_of(model, samples, 2)
    result = result_of(outcome)
    middle = replace(result, verdict=Verdict.UNRESOLVED, lower=0.5 * result.upper)
    running = Running(middle.lower, middle.upper, middle.basis, answer=middle)
    assert taken(session, Stage.BEGUN, (0, running), Stage.BEGUN) == []
    assert session.client.cancelled == ["the future"]
    parts = {part[0].index: part for part in session.waiting}
    assert {index: len(part) for index, part in parts.items()} == {0: 1, 1: 1}
    assert parts[0][0].known.lower == middle.lower
    assert parts[1][0].known is None
    assert taken(session, Delivered(outcome)) == []  # of the task that was called off


def test_a_sample_that_kills_its_workers_is_given_up(model: Model, samples: Samples) -> None:
    session = session_of(model, samples, 1)
    found: list[Outcome[Result]] = []
    for number in range(cluster.DEATHS + 1):
        session.tasks[number] = _Task([session.left[0]], "the future", begun=1)
        session.waiting.clear()
        found += session._taken(number, Stage.BEGUN)
    assert [type(one.error) for one in found] == [SolverError]
    assert "died" in str(found[0].error)
    assert not session.left


def test_tasks_that_never_began_are_not_to_blame(model: Model, samples: Samples) -> None:
    session = session_of(model, samples, 1)
    task = session.tasks[0]
    for number in range(3 * cluster.DEATHS):
        session.tasks[number] = task
        assert list(session._lost(number, task)) == []
    assert list(session.left) == [0]


def test_what_a_leaving_worker_ends_is_no_answer(model: Model, samples: Samples, outcome: Outcome[Result]) -> None:
    session = session_of(model, samples, 1)
    assert taken(session, Delivered(outcome, stopped=True)) == []
    session.stopped = 0.0
    assert taken(session, Delivered(outcome, stopped=True)) == [outcome]


def test_files_come_back_whole(model: Model, samples: Samples, outcome: Outcome[Result], tmp_path: Path) -> None:
    session = session_of(model, samples, 1)
    session.job = replace(JOB, folder=tmp_path)
    assert taken(session, Delivered(outcome, {"linf/0.proof": b"a proof"})) == [outcome]
    assert (tmp_path / "linf" / "0.proof").read_bytes() == b"a proof"
    assert taken(session, Delivered(outcome, {"linf/0.proof": b"of a task that ran twice, and proved less"})) == []
    assert (tmp_path / "linf" / "0.proof").read_bytes() == b"a proof"


@pytest.mark.parametrize(
    ("threads", "code", "told"),
    [(1, {"plumbline": "another", "Python": code_here()["Python"]}, "has plumbline another"),
     (1, {**code_here(), "Python": "2.7"}, "has Python 2.7"), (1, {}, "has plumbline None"),
     (4, code_here(), "--nthreads 1 --nworkers 4")],
)  # fmt: skip
def test_a_worker_that_is_not_as_it_must_be_is_refused_by_name(threads: int, code: dict[str, str], told: str) -> None:
    with pytest.raises(ClusterError, match=r"worker tcp://there:2 .*") as refused:
        check_worker("tcp://there:2", threads, code, code_here())
    assert told in str(refused.value)


def test_a_worker_that_is_as_it_must_be_is_taken() -> None:
    check_worker("tcp://there:2", 1, code_here(), code_here())


@pytest.mark.parametrize("address", ["", "here", "local:", "local:0", "local:x", "slurm:file"])
def test_what_is_no_cluster_is_refused(address: str) -> None:
    with pytest.raises(OptionError, match="cluster"):
        check_cluster(address)


def test_jobs_and_a_cluster_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["distance", str(NET), "--data", "digits", "--jobs", "2", "--cluster", "local:2"]) == 2
    assert "leave out one of the two" in capsys.readouterr().err


def test_no_scheduler_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed: there is no cluster to ask")
    monkeypatch.setattr(cluster, "FIRST_WAIT", 0.0)
    given = ["distance", str(NET), "--data", "digits", "--samples", "0:1"]
    assert main([*given, "--cluster", "tcp://127.0.0.1:9"]) == 2
    assert "no scheduler answers there" in capsys.readouterr().err
