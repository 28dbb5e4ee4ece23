"""Servers and workers that are killed at random while a run goes on, and what must be true in the end."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from typing import Any

from sqlalchemy import text

from verifier.service.errors import UnavailableError
from verifier.service.inspection import warm
from verifier.service.service import Service
from verifier.service.settings import Place, Settings
from verifier.service.store.records import RunState
from verifier.service.store.store import Store

SHORT, LONG = 0.1, 0.5  # seconds between two faults
PATIENCE = 300.0  # in which at least one more sample is answered


def look_after(settings: Settings) -> None:
    """A server without its interface: what watches leases, and gives back what the dead held."""
    service = Service.of(settings)
    service.supervisor.start()
    while True:
        signal.pause()


def work_for(name: str, place: Place) -> None:
    """A worker; its modules were imported by the process that it is a fork of."""
    from verifier.service.worker import work

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # as in a fork of what was started while it was blocked
    work(name, place)


@dataclass(eq=False)
class Chaos:
    """One server and some workers, and a hand that kills them."""

    settings: Settings
    store: Store
    workers: int
    random: random.Random
    faults: list[str] = field(default_factory=list)
    _server: BaseProcess | None = None
    _workers: list[BaseProcess] = field(default_factory=list)
    _started: int = 0

    def until_finished(self, run: str, rounds: int) -> None:
        """Faults, one after the other, as long as there are rounds left; then peace until the run has ended."""
        answered, until = 0, time.monotonic() + PATIENCE
        try:
            while self._state(run) not in (RunState.FINISHED, RunState.FAILED):
                if (done := self._done(run)) > answered:
                    answered, until = done, time.monotonic() + PATIENCE
                assert time.monotonic() < until, (answered, self.faults)
                self._begin()
                time.sleep(self.random.uniform(SHORT, LONG))
                if len(self.faults) < rounds:
                    self._one_fault()
        finally:
            for process in (*self._workers, *([self._server] if self._server else [])):
                _kill(process)

    def _state(self, run: str) -> str:
        try:
            return self.store.run("local", run).state
        except UnavailableError:  # its connection was cut
            return ""

    def _done(self, run: str) -> int:
        try:
            return self.store.counts([run])[run].done
        except UnavailableError:
            return 0

    def _begin(self) -> None:
        if self._server is None or not self._server.is_alive():
            self._server = self._process(look_after, self.settings)
        self._workers = [one for one in self._workers if one.is_alive()]
        while len(self._workers) < self.workers:
            self._started += 1
            self._workers.append(self._process(work_for, f"w{self._started}", self.settings.place))

    def _process(self, target: Callable[..., None], *arguments: Any) -> BaseProcess:
        process: BaseProcess = warm().Process(target=target, args=arguments, daemon=True)
        process.start()
        return process

    def _one_fault(self) -> None:
        faults = {
            "server": self._kill_server, "worker": self._kill_worker, "all": self._kill_all,
            "told": self._tell_worker, "asleep": self._put_worker_to_sleep,
        }  # fmt: skip
        if self.store.engine.dialect.name == "postgresql":
            faults["connections"] = self._cut_connections
        name = self.random.choice(sorted(faults))
        self.faults.append(name)
        faults[name]()

    def _kill_server(self) -> None:
        if self._server is not None:
            _kill(self._server)

    def _kill_worker(self) -> None:
        _kill(self.random.choice(self._workers))

    def _kill_all(self) -> None:
        self._kill_server()
        for worker in self._workers:
            _kill(worker)

    def _tell_worker(self) -> None:
        """SIGTERM: it writes down what it knows."""
        worker = self.random.choice(self._workers)
        worker.terminate()
        worker.join(10.0)
        assert not worker.is_alive()

    def _put_worker_to_sleep(self) -> None:
        """Longer than its lease: its samples are another's when it wakes, and what it says then comes late."""
        worker = self.random.choice(self._workers)
        if worker.pid is not None and worker.is_alive():
            os.kill(worker.pid, signal.SIGSTOP)
            time.sleep(1.5 * self.settings.lease)
            os.kill(worker.pid, signal.SIGCONT)

    def _cut_connections(self) -> None:
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        try:
            with self.store.engine.begin() as connection:
                connection.execute(text(f"{query} AND pid <> pg_backend_pid()"))
        except Exception:  # it may have cut its own first
            self.store.engine.dispose()


def _kill(process: BaseProcess) -> None:
    """As `kill -9` does, with all that a worker has started."""
    try:
        if process.pid is not None:
            os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.join()
