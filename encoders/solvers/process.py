"""A solver in a process of its own, and the line to it: it can be ended from outside, and its crash harms nobody."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from encoders.deadline import look, out_of_time
from encoders.errors import SolverError
from encoders.interrupts import interrupts_blocked

START_LIMIT = 120.0  # seconds for the process to come up, on however busy a machine
GRACE = 0.3  # seconds past a deadline in which a solver may still answer before it is ended from outside
BETWEEN_LOOKS = 0.1  # seconds between two looks at the clock
BETWEEN_LOOKS_AT_PARENT = 0.5


class Worker:
    """A running solver process and the line to it; it ends with this object.

    `module` has a function `serve(descriptor)`; `library` is what it needs to import.
    """

    def __init__(self, module: str, name: str, library: str) -> None:
        root = str(Path(__file__).resolve().parents[2])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        ours, theirs = Pipe()
        program = f"from {module} import serve; serve({theirs.fileno()})"
        # A plain child process rather than `multiprocessing`: callers need no main guard, and may be daemons.
        with interrupts_blocked():  # Ctrl-C is the parent's to handle
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", program],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
            )
        theirs.close()
        self.connection: Connection[Any, Any] = ours
        self._end = weakref.finalize(self, _end, self._process, ours)
        self._up = False
        self._failed = f"the {name} process did not start; check that `python -c 'import {library}'` works"

    def wait_until_up(self) -> None:
        """Where time is up first it goes on starting, for whoever asks next."""
        if self._up:
            return
        try:
            self._up = self.answers_within(START_LIMIT)
            if self._up:
                self.connection.recv()
                return
        except (EOFError, OSError):
            self._up = False
        else:
            look()
        self.end()
        raise SolverError(self._failed)

    def answers_within(self, seconds: float) -> bool:
        """Whether an answer is there within so many seconds, and not much later than the deadline of the work that
        waits for it."""
        end = time.monotonic() + seconds
        late = False
        while not self.connection.poll(min(max(0.0, end - time.monotonic()), BETWEEN_LOOKS)):
            if not late and out_of_time():
                late, end = True, min(end, time.monotonic() + GRACE)
            if time.monotonic() >= end:
                return False
        return True

    @property
    def alive(self) -> bool:
        return self._end.alive and self._process.poll() is None

    def end(self) -> None:
        self._end()


def serve_requests(
    descriptor: int, answer: Callable[[Any, Connection[Any, Any]], Any], failed: Callable[[Exception], Any]
) -> None:
    """In the worker's own process: answer requests from an open connection until the other side hangs up.

    Every failure of one request is that request's answer: `failed` makes it.
    """
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    connection: Connection[Any, Any] = Connection(descriptor)
    with suppress(EOFError, OSError):  # the other side hung up, perhaps before this one was up
        connection.send(None)
        while True:
            request = connection.recv()
            try:
                found = answer(request, connection)
            except Exception as error:
                found = failed(error)
            connection.send(found)


def _end_with_parent(parent: int) -> None:
    """However the parent ends, no solver goes on with what nobody will read."""
    while os.getppid() == parent:
        time.sleep(BETWEEN_LOOKS_AT_PARENT)
    os._exit(1)


class _Running(threading.local):
    """The workers of one thread: two that share a line would read each other's answers."""

    def __init__(self) -> None:
        self.workers: dict[tuple[int, str], Worker] = {}


_running = _Running()


def running(module: str, name: str, library: str) -> Worker:
    """This thread's one worker of a module, started anew only after it had to be ended: starting takes a third of a
    second, longer than many programs. Whoever talks to it does so to the end before anyone else does."""
    key = os.getpid(), module  # a forked child must not talk on its parent's line
    worker = _running.workers.get(key)
    if worker is None or not worker.alive:
        worker = _running.workers[key] = Worker(module, name, library)
    worker.wait_until_up()
    return worker


def _end(process: subprocess.Popen[bytes], connection: Connection) -> None:
    process.kill()
    process.wait()
    connection.close()
