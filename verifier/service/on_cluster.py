"""Workers of the service on a cluster of Dask: a task on each of its workers, with a process of the service beside it.

Dask is asked for nothing but to start them where its workers are, and to say who is there. Samples, leases and answers
go through the database as for any other worker: what Dask forgets or runs twice is of no consequence. A process is
told to end when its task is called off, when Dask's worker goes, and when whoever started it is no longer there.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from encoders.errors import ClusterError, OptionError
from encoders.threads import one_thread_each
from verifier.runs.cluster_connection import connected
from verifier.runs.cluster_process import Code, check_worker, code_here, wanted
from verifier.service.settings import Place

LOOK = 1.0  # seconds between two looks at who is there
PATIENCE = 6.0  # seconds that a worker has which is told to stop
PROGRAM = "from verifier.service.on_cluster import main; main()"


@dataclass(eq=False)
class ClusterWorkers:
    """One worker of the service on each worker of a cluster, for as long as the cluster has them."""

    address: str
    place: Place
    _tasks: dict[str, Any] = field(default_factory=dict)
    _refused: set[str] = field(default_factory=set)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """From now on they are looked for."""
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """They journal what they know and end."""
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        """A cluster that is away is waited for: samples wait in the database."""
        told = ""
        while not self._stopping.is_set():
            try:
                with connected(self.address, 0.0) as client:
                    told = ""
                    self._keep(client)
            except (ClusterError, OptionError, OSError) as error:
                if str(error) != told:
                    told = str(error)
                    _say(told)
            self._stopping.wait(LOOK)

    def _keep(self, client: Any) -> None:
        """A task on each worker that is there, until the scheduler is not."""
        self._tasks.clear()
        while client.status == "running" and not self._stopping.is_set():
            there = client.nthreads()
            for address, task in list(self._tasks.items()):
                if task.done():
                    self._ended(address, task)
            for address in set(there) - set(self._tasks) - self._refused:
                key = f"plumbline-service-{uuid.uuid4().hex[:12]}"
                self._tasks[address] = client.submit(
                    serve_here, self.place, code_here(), key=key, workers=[address], pure=False
                )
            self._stopping.wait(LOOK)
        if client.status == "running":
            client.cancel(list(self._tasks.values()))

    def _ended(self, address: str, task: Any) -> None:
        """A worker that is refused stays so; one that died is started again."""
        del self._tasks[address]
        error = task.exception() if task.status == "error" else None
        if error is not None and type(error).__name__ != "KilledWorker":
            self._refused.add(address)
            _say(str(error) if isinstance(error, ClusterError) else f"worker {address}: {error}")


def _say(text: str) -> None:
    print(f"plumbline: {text}", file=sys.stderr, flush=True)


def serve_here(place: Place, code: Code) -> int | None:
    """The task: a worker of the service in a process of its own, for as long as the task is wanted.

    Not in this process: a worker's limits and signals are those of a whole process.
    """
    from distributed import get_worker

    worker = get_worker()
    check_worker(worker.address, worker.state.nthreads, code_here(), code)
    place = replace(place, cache=Path(worker.local_directory) / "plumbline")
    one_thread_each()
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, env=dict(os.environ))
    assert process.stdin is not None  # it was asked for
    process.stdin.write(pickle.dumps(place))
    process.stdin.flush()
    task = worker.get_current_task()
    while wanted(worker, task):
        try:
            return process.wait(LOOK)
        except subprocess.TimeoutExpired:
            continue
    process.terminate()
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        return None


def main() -> None:
    """What the process runs: its place comes by standard input, whose end says that its parent is gone."""
    from verifier.service.worker import work

    place = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work(f"{socket.gethostname()[:40]}-{uuid.uuid4().hex[:12]}", place)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
