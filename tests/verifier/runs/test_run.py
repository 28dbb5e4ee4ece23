"""One question, many samples: in this process and in several."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoders.errors import OptionError, SolverError, SoundnessError
from encoders.question import Norm
from trainers.datasets import digits
from verifier import answer as query
from verifier.options import Options
from verifier.question.model import Model, load
from verifier.question.problem import Running
from verifier.question.results import Basis, Result, Verdict
from verifier.runs import in_process
from verifier.runs.job import Job, Outcome
from verifier.runs.run import outcomes
from verifier.runs.samples import Samples

NET = Path(in_process.__file__).parents[2] / "trainers" / "nets" / "digits-64-32-32-10.onnx"
JOB = Job(Options(), radius=0.01)


@pytest.fixture(scope="module")
def model() -> Model:
    return load(NET)


@pytest.fixture(scope="module")
def samples() -> Samples:
    data = digits("test")
    return Samples("digits", data.x[:6], data.y[:6])


def ask_all(model: Model, samples: Samples, indices: list[int], jobs: int) -> list[Outcome[Result]]:
    return list(outcomes(model, JOB, samples, indices, jobs, lambda index, running: None))


def test_samples_are_answered_in_their_order_with_their_labels(model: Model, samples: Samples) -> None:
    found = ask_all(model, samples, [4, 1], 1)
    assert [outcome.index for outcome in found] == [4, 1]
    results = [outcome.result for outcome in found if outcome.result is not None]
    assert [result.index for result in results] == [4, 1]
    assert [result.label for result in results] == [samples.label(4), samples.label(1)]
    assert all(result.radius == 0.01 for result in results)


@pytest.mark.slow
@pytest.mark.usefixtures("warm_workers")
def test_two_processes_say_what_one_says(model: Model, samples: Samples) -> None:
    indices = [5, 0, 3]
    alone = {o.index: o.result for o in ask_all(model, samples, indices, 1)}
    shared = {o.index: o.result for o in ask_all(model, samples, indices, 2)}
    assert sorted(alone) == sorted(shared) == [0, 3, 5]
    for index, one in alone.items():
        two = shared[index]
        assert one is not None
        assert two is not None
        assert (one.verdict, one.predicted, one.label) == (two.verdict, two.predicted, two.label)
        assert one.verdict is not Verdict.UNRESOLVED


def test_progress_comes_with_its_sample(model: Model, samples: Samples) -> None:
    seen: list[tuple[int, Running]] = []
    job = Job(Options(time_limit=60.0))
    list(outcomes(model, job, samples, [2], 1, lambda index, running: seen.append((index, running))))
    assert seen
    assert {index for index, _ in seen} == {2}
    assert all(running.lower <= running.upper for _, running in seen)


@pytest.mark.slow
@pytest.mark.usefixtures("warm_workers")
def test_progress_crosses_processes(model: Model, samples: Samples) -> None:
    seen: list[int] = []
    job = Job(Options(time_limit=60.0))
    list(outcomes(model, job, samples, [1, 2], 2, lambda index, running: seen.append(index)))
    assert set(seen) <= {1, 2}
    assert seen


def test_an_error_is_the_outcome_of_its_sample_alone(
    model: Model, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = query.asked

    def failing(*arguments: object) -> object:
        if arguments[5] == 1:
            raise SolverError("out of paper")
        return honest(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("verifier.runs.job.asked", failing)
    found = {outcome.index: outcome for outcome in ask_all(model, samples, [0, 1, 2], 1)}
    assert [found[index].result is None for index in range(3)] == [False, True, False]
    assert isinstance(found[1].error, SolverError)


@pytest.mark.slow
@pytest.mark.usefixtures("warm_workers")
def test_an_error_in_a_worker_comes_back_as_itself(model: Model, samples: Samples) -> None:
    wrong = Samples("wrong", samples.x + np.float32(2), samples.y)
    found = ask_all(model, wrong, [0, 1], 2)
    assert sorted(outcome.index for outcome in found) == [0, 1]
    assert all("outside the box" in str(outcome.error) for outcome in found)


@pytest.mark.slow
@pytest.mark.usefixtures("warm_workers")
def test_closing_early_ends_the_workers(model: Model, samples: Samples) -> None:
    before = set(multiprocessing.active_children())
    stream = outcomes(model, JOB, samples, [0, 1, 2, 3], 2, lambda index, running: None)
    next(stream)
    ours = set(multiprocessing.active_children()) - before
    assert ours
    stream.close()
    # The pool's own thread waits for them too: until it has noted the end, a process that is gone counts as alive.
    deadline = time.monotonic() + 600
    while any(process.is_alive() for process in ours) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(process.is_alive() for process in ours)


@pytest.mark.parametrize("radius", [-0.1, float("nan"), float("inf")])
def test_a_bad_radius_is_refused(radius: float) -> None:
    with pytest.raises(OptionError, match="radius"):
        Job(Options(), radius)


def test_no_jobs_are_refused(model: Model, samples: Samples) -> None:
    with pytest.raises(OptionError, match="jobs 0"):
        ask_all(model, samples, [0], 0)


RESULT = Result(0, 3, 3, Norm.LINF, None, Verdict.UNRESOLVED, 0.25, 0.5, Basis.RIGOROUS, "search", 1.5)


def told(**changed: Any) -> Result:
    """A result as it comes out of a pickle: nothing of it was checked."""
    made: Result = object.__new__(Result)
    made.__dict__.update({**vars(RESULT), **changed})
    return made


def from_elsewhere(monkeypatch: pytest.MonkeyPatch, samples: Samples, *found: Outcome[Result]) -> list[Outcome[Result]]:
    """What comes of two samples where an executor hands over these outcomes."""

    class Elsewhere:
        def outcomes(self, *asked: Any) -> Iterator[Outcome[Result]]:
            yield from found

    monkeypatch.setattr("verifier.runs.run.executor_for", lambda jobs, slots: Elsewhere())
    stream = outcomes(load(NET), Job(Options()), samples, [0, 1], 1, lambda index, running: None)
    return list(stream)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"lower": 0.75}, "sample 0 has 0.75 for its lower side"),
        ({"lower": float("nan")}, "sample 0 has nan for its lower side"),
        ({"verdict": Verdict.EXACT}, "sample 0 is called exact, and its bracket is 0.25 to 0.5"),
        ({"verdict": Verdict.CERTIFIED, "radius": 0.25}, "sample 0 is called certified within 0.25"),
        ({"verdict": Verdict.FALSIFIED, "radius": 0.25}, "sample 0 is called falsified within 0.25"),
        ({"index": 1}, "what came for sample 0 is about sample 1"),
    ],
)
def test_what_an_executor_hands_over_must_hold_together(
    samples: Samples, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], said: str
) -> None:
    (found,) = from_elsewhere(monkeypatch, samples, Outcome(0, told(**changed)))
    assert found.result is None
    assert isinstance(found.error, SoundnessError)
    assert said in str(found.error)


def test_an_answer_that_nothing_waits_for_ends_the_run(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    for found in ([Outcome(7, told(index=7))], [Outcome(0, RESULT), Outcome(0, told(lower=0.3))]):
        with pytest.raises(SoundnessError, match=f"an answer came of sample {found[-1].index}, which waits for none"):
            from_elsewhere(monkeypatch, samples, *found)
