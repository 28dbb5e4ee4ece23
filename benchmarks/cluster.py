"""A cluster: the same digits on one and two workers, with one of them killed half-way, and what a task costs.

python -m benchmarks.cluster --parts one,two,killed,tasks --samples 0:300

`one`, `two`: `plumbline distance` with so many workers of a Dask cluster on this machine, without their start.
`killed`: two workers, of which one is killed by SIGKILL once half of the samples are answered.
`tasks`: what the scheduler and the asking process have to do for each sample, by tasks that answer at once.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.common import REPOSITORY, conditions
from encoders.deadline import Clock
from trainers.datasets import digits
from verifier.options import Options
from verifier.question.model import Model, load
from verifier.question.problem import Progress
from verifier.question.results import Result
from verifier.runs.job import Given, Job, Outcome
from verifier.runs.journalled import run_of
from verifier.runs.kept_adversaries import KeptAdversaries
from verifier.runs.run import outcomes
from verifier.runs.samples import Samples, parse_samples

NET = REPOSITORY / "trainers" / "nets" / "digits-64-32-32-10.onnx"
PARTS = ("one", "two", "killed", "tasks")
TASKS = 2000


class Nothing(Job):
    """A question that is answered at once, by an error: what is left is what a sample costs beside it."""

    async def outcome(
        self, model: Model, given: Given, progress: Progress, clock: Clock, share: int
    ) -> Outcome[Result]:
        return Outcome(given.index, error=ValueError("nothing was asked"))


@contextmanager
def workers(count: int) -> Iterator[tuple[str, Any]]:
    """A scheduler and so many workers on this machine: the address, and a client."""
    dask: Any = import_module("distributed")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    local = dask.LocalCluster(
        n_workers=count, threads_per_worker=1, processes=True, memory_limit=None, dashboard_address="127.0.0.1:0"
    )
    with local as cluster, dask.Client(cluster, set_as_default=False) as client:
        yield cluster.scheduler_address, client


def asked(
    job: Job, samples: Samples, indices: tuple[int, ...], address: str, batch: int | None, half: Callable[[], None]
) -> tuple[float, int, int]:
    """Seconds, and how many samples have an answer, of how many; `half` is called half-way."""
    model = load(NET)
    list(outcomes(model, job, samples, indices[:2], address, lambda index, running: None, batch))  # what starting costs
    began, found, answered = time.monotonic(), set[int](), 0
    last: Result | None = None
    for one in outcomes(model, job, samples, indices, address, lambda index, running: None, batch):
        found.add(one.index)
        answered += one.result is not None
        if len(found) == len(indices) // 2:
            half()
        last = one.result or last
    if last is not None:
        _tell_files(job, model, last, samples)
    return time.monotonic() - began, answered, len(found)


def _tell_files(job: Job, model: Model, result: Result, samples: Samples) -> None:
    """How large the last answer is where it is kept."""
    line = json.dumps(job.record(result, run_of("distance", model, samples, job).record))
    with tempfile.TemporaryDirectory() as folder:
        kept = KeptAdversaries(Path(folder))
        kept.write(result.index, job.witnesses(result))
        files = [path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()]
    print(f"a line of the journal: {len(line)} bytes; an adversary kept beside it: {sum(files)} bytes", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--samples", default="0:300")
    given = parser.parse_args()
    print(conditions(), flush=True)
    data = digits("test")
    samples = Samples("digits", data.x, data.y)
    indices = parse_samples(given.samples, samples.count)
    for part in given.parts.split(","):
        with workers(1 if part == "one" else 2) as (address, client):

            def kill(client: Any = client) -> None:
                os.kill(min(client.run(os.getpid).values()), signal.SIGKILL)

            if part == "tasks":
                many = tuple(index % samples.count for index in range(TASKS))
                repeated = Samples("digits", samples.x[list(many)], None)
                job, batch, half = Nothing(Options()), 1, _nothing
                seconds, _, count = asked(job, repeated, tuple(range(TASKS)), address, batch, half)
                print(f"tasks: {1000 * seconds / count:.2f} ms a sample of its own task, two workers", flush=True)
            else:
                half = kill if part == "killed" else _nothing
                seconds, answered, count = asked(Job(Options()), samples, indices, address, None, half)
                print(f"{part}: {answered} of {len(indices)} answered ({count} told), {seconds:.1f} s", flush=True)


def _nothing() -> None:
    return


if __name__ == "__main__":
    main()
