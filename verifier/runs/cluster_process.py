"""What a worker's process on a cluster must be, and whether what it does is still wanted."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from encoders.errors import ClusterError
from verifier.question.code_version import code_version

AT_WORK = ("running", "paused")  # what Dask calls a worker that is not about to end

Code = Mapping[str, str]
"""Which code runs in a process, by the names of its parts."""


def code_here() -> Code:
    """Which code runs in this process; in plain words, so that any other version can read it."""
    return {"plumbline": code_version(), "Python": f"{sys.version_info.major}.{sys.version_info.minor}"}


def check_worker(address: str, threads: int, code: Code, wanted: Code) -> None:
    """Refuse, by its name, a worker whose answers would be another code's, or that would have several tasks at once."""
    for part, version in wanted.items():
        if code.get(part) != version:
            raise ClusterError(
                f"worker {address} has {part} {code.get(part)}, and here it is {version}: what they answer could not "
                "be told apart; install the same on both, and start the worker again"
            )
    if threads > 1:
        raise ClusterError(
            f"worker {address} has {threads} threads, of which one would wait for the other; start it with "
            f"--nthreads 1 --nworkers {threads}"
        )


def wanted(worker: Any, task: Any) -> bool:
    """Whether somebody waits for a task of a worker: it was not called off, and no client, scheduler or worker went."""
    state = worker.state.tasks.get(task)
    return state is not None and state.state != "cancelled" and worker.status.name in AT_WORK
