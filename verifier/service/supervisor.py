"""Starts the workers of this machine, starts those again that die, and gives back what dead workers held."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import uuid
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess

from encoders.threads import one_thread_each
from verifier.service.errors import UnavailableError
from verifier.service.inspection import warm
from verifier.service.on_cluster import ClusterWorkers
from verifier.service.settings import Place
from verifier.service.store.store import Store

LOOK = 0.25  # seconds between two looks at the workers
PATIENCE = 6.0  # seconds that workers which are told to stop have


@dataclass(eq=False)
class Supervisor:
    """One server's workers, here and elsewhere. A lease is over when heartbeats stand still, by a clock nobody sets."""

    store: Store
    place: Place
    workers: int
    lease: float
    attempts: int
    elsewhere: ClusterWorkers | None = None
    _processes: dict[str, BaseProcess] = field(default_factory=dict)
    _seen: dict[str, tuple[int, float]] = field(default_factory=dict)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """From now on there are workers."""
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        if self.elsewhere is not None:
            self.elsewhere.start()

    def stop(self) -> None:
        """Workers journal what they know and end; those that do not are ended."""
        self._stopping.set()
        self._thread.join()
        if self.elsewhere is not None:
            self.elsewhere.stop()
        processes = list(self._processes.values())
        for process in processes:
            process.terminate()
        until = time.monotonic() + PATIENCE
        for process in processes:
            process.join(max(0.0, until - time.monotonic()))
        for name, process in self._processes.items():
            _kill(process)
            self._abandon(name)

    def _watch(self) -> None:
        one_thread_each()
        while not self._stopping.is_set():
            for name, process in list(self._processes.items()):
                if not process.is_alive() and self._abandon(name):
                    _kill(process)
                    del self._processes[name]
            while len(self._processes) < self.workers and not self._stopping.is_set():
                self._begin()
            self._look()
            self._stopping.wait(LOOK)

    def _begin(self) -> None:
        name = f"{socket.gethostname()[:40]}-{uuid.uuid4().hex[:12]}"
        process = warm().Process(target=_work, args=(name, self.place), name=f"plumbline worker {name}")
        process.start()
        self._processes[name] = process

    def _look(self) -> None:
        """Whose heartbeats stand still for longer than a lease is taken for dead."""
        try:
            beats = self.store.beats()
        except UnavailableError:
            self._seen.clear()  # who cannot tell may live
            return
        now = time.monotonic()
        self._seen = {
            name: (count, now) if self._seen.get(name, (-1, now))[0] != count else self._seen[name]
            for name, count in beats.items()
        }
        for name, (_, since) in self._seen.items():
            if now - since > self.lease:
                self._abandon(name)

    def _abandon(self, name: str) -> bool:
        try:
            self.store.abandon(name, self.attempts)
        except UnavailableError:
            return False
        return True


def _work(name: str, place: Place) -> None:
    from verifier.service.worker import work

    work(name, place)


def _kill(process: BaseProcess) -> None:
    """A worker's process, and those that it started."""
    if process.pid is not None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            process.kill()
    process.join()
