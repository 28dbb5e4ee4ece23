"""What a worker of a cluster runs: a few samples of a run, with all that is known of them told on the way.

Whoever asks is in `cluster.py`. A worker is a process with one thread, so that it has one task at a time, and to stop
everything in it is to stop that task. A task of Dask that is cancelled runs on; here a thread beside it sees that
nobody wants it any more, whoever has gone, and asks its questions to end as at a time limit.
"""

from __future__ import annotations

import pickle
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from encoders.deadline import EVERYTHING
from encoders.errors import ClusterError
from encoders.files import replacing
from verifier.question.model import Model, Reference, reopened
from verifier.question.problem import Running
from verifier.runs.cluster_process import Code, check_worker, code_here, wanted
from verifier.runs.in_process import InProcess
from verifier.runs.job import Asking, Given, Outcome
from verifier.runs.processes import sendable

LOOK = 0.25  # seconds between two looks at whether a task is still wanted
AS_MESSAGE = 100_000  # bytes: the scheduler keeps the last thousand messages, and is spared what is larger
MODELS = 4  # that a worker keeps open


class Stage(StrEnum):
    """What a task says of itself."""

    BEGUN = "begun"
    ENDED = "ended"


@dataclass(frozen=True, eq=False)
class Delivered:
    """One sample's outcome with the files that were written of it; `stopped` where somebody ended it."""

    outcome: Outcome[Any]
    files: Mapping[str, bytes] = field(default_factory=dict)
    stopped: bool = False


Message = Stage | Delivered | tuple[int, Running]
"""What a task tells: its stages, outcomes, and the brackets of its samples on the way."""


@dataclass(frozen=True, eq=False)
class Shipment:
    """All that a worker needs of a run, which it fetches once: the model's files, the question, and by what code."""

    topic: str  # of the messages
    reference: Reference
    files: Mapping[str, bytes]
    job: bytes
    slots: int
    interval: float  # seconds between two messages about one sample
    code: Code

    @classmethod
    def of(cls, topic: str, model: Model, job: Asking[Any], slots: int, interval: float) -> Shipment:
        """The files are read again, and are to be what was loaded: the worker holds them against the digest."""
        folder = model.path.parent
        files = {name: (folder / name if name else model.path).read_bytes() for name in model.files}
        return cls(topic, model.reference, files, pickle.dumps(job), slots, interval, code_here())


@lru_cache(maxsize=MODELS)
def unpacked(shipment: bytes) -> Shipment:
    """What was sent, the same object for each of a run's tasks."""
    held: Shipment = pickle.loads(shipment)
    return held


def work(sent: bytes, number: int, part: Sequence[Given]) -> list[bytes]:
    """The task of that number: everything goes back as messages, but for outcomes that are too large, the result."""
    from distributed import get_worker

    worker, shipment = get_worker(), unpacked(sent)
    check_worker(worker.address, worker.state.nthreads, code_here(), shipment.code)
    large: list[bytes] = []

    def tell(message: Message) -> None:
        content = pickle.dumps((number, message))
        if len(content) > AS_MESSAGE and isinstance(message, Delivered) and not message.stopped:
            large.append(content)
        else:
            worker.log_event(shipment.topic, content)

    EVERYTHING.forget()
    over = threading.Event()
    watching = threading.Thread(target=_stop_when_unwanted, args=(worker, worker.get_current_task(), over), daemon=True)
    watching.start()
    tell(Stage.BEGUN)
    try:
        with tempfile.TemporaryDirectory(prefix="plumbline-") as folder:
            _ask(shipment, part, Path(folder), Path(worker.local_directory), tell)
    finally:
        over.set()
        watching.join()
        EVERYTHING.forget()
        tell(Stage.ENDED)
    return large


def _stop_when_unwanted(worker: Any, task: Any, over: threading.Event) -> None:
    while not over.wait(LOOK):
        if not wanted(worker, task):
            EVERYTHING.ask()
            return


def _ask(shipment: Shipment, part: Sequence[Given], folder: Path, place: Path, tell: Any) -> None:
    """Outcomes as they are there; files are collected from the folder that the job writes them to."""
    import torch

    torch.set_num_threads(1)
    last: dict[int, float] = {}

    def progress(index: int, running: Running) -> None:
        if time.monotonic() >= last.get(index, 0.0) + shipment.interval:
            last[index] = time.monotonic()
            tell((index, running))

    try:
        model, job = _opened(shipment, place)
    except Exception as error:
        for given in part:
            tell(Delivered(sendable(Outcome(given.index, error=error))))
        return
    if job.folder is not None:
        job = replace(job, folder=folder)
    for outcome in InProcess(shipment.slots).outcomes(model, job, part, progress):
        # Another sample's files that lie there already are whole, and are wanted too.
        written = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        files = {name: path.read_bytes() for name, path in written.items()}
        for path in written.values():
            path.unlink()
        tell(Delivered(sendable(outcome), files, EVERYTHING.asked))


@lru_cache(maxsize=MODELS)
def _opened(shipment: Shipment, place: Path) -> tuple[Model, Asking[Any]]:
    """The job, and the model from files of this worker's own, held against the digest and the onnxruntime here."""
    told = shipment.reference
    folder = place / "plumbline" / (told.digest or "none")
    path = folder / told.path.name
    for name, content in shipment.files.items():
        target = (folder / name if name else path).resolve()
        if not target.is_relative_to(folder.resolve()):
            raise ClusterError(f"{told.path}: its data {name!r} lies outside of its folder; put all into one folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as file:
            file.write(content)
    return reopened(replace(told, path=path, comparison=None)), pickle.loads(shipment.job)
