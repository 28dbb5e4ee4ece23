"""The way to a cluster: a Dask scheduler that runs somewhere, or one of this machine for trying."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from encoders.deadline import EVERYTHING
from encoders.errors import ClusterError, OptionError
from encoders.interrupts import interrupts_blocked
from encoders.threads import one_thread_each

LOCAL = "local:"
FORMS = "tcp://HOST:PORT of a Dask scheduler, or local:N for N processes of this machine"
ONE_TRY = 2.0  # seconds for a connection, after which it is tried again
BETWEEN_TRIES = 0.2
HOW_TO_START = "`dask scheduler` and `dask worker ADDRESS --nthreads 1 --nworkers N`"


def check_cluster(address: str) -> None:
    """Refuse what is no address of a cluster, before anything is loaded."""
    if not ("://" in address or (address.startswith(LOCAL) and address.removeprefix(LOCAL).isdigit())):
        raise OptionError(f"cluster {address!r}: give {FORMS}")
    if address.startswith(LOCAL) and int(address.removeprefix(LOCAL)) < 1:
        raise OptionError(f"cluster {address!r}: it has no worker; give {FORMS}")
    if find_spec("distributed") is None:
        raise OptionError("a cluster needs distributed, which is not installed; pip install 'plumbline[cluster]'")


@contextmanager
def connected(address: str, patience: float) -> Iterator[Any]:
    """A client of the cluster, which is waited for so many seconds; an error says what to do where it is not there."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what it has to say is said by our errors
    with ExitStack() as stack:
        if address.startswith(LOCAL):
            address = stack.enter_context(_local(int(address.removeprefix(LOCAL))))
        client = _client(address, patience)
        try:
            yield client
        finally:
            client.close(timeout=ONE_TRY)


@contextmanager
def _local(workers: int) -> Iterator[str]:
    """A scheduler and so many workers on this machine, for as long as they are needed."""
    one_thread_each()
    with interrupts_blocked():  # a terminal's Ctrl-C is for this process alone
        cluster = _dask().LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=None,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )
    with cluster:
        yield cluster.scheduler_address


def _client(address: str, patience: float) -> Any:
    end = time.monotonic() + patience
    while True:
        try:
            return _dask().Client(address, timeout=ONE_TRY, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            if isinstance(error, ValueError):
                raise OptionError(f"cluster {address!r}: {error}; give {FORMS}") from None
            if time.monotonic() >= end or EVERYTHING.asked:
                raise ClusterError(
                    f"cluster {address}: no scheduler answers there; start one with {HOW_TO_START}, then the same "
                    "command with the same --json file: it goes on where this one ended"
                ) from None
            time.sleep(BETWEEN_TRIES)


def _dask() -> Any:
    """The library, imported where it is used: few commands need it."""
    return import_module("distributed")
