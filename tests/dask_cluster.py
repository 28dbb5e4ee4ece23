"""A Dask cluster as a user starts one: a scheduler and workers, each a process of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE = 300.0  # seconds for processes to start, on however busy a machine


@contextmanager
def dask_cluster(folder: Path, *workers: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """As a user starts one."""
    pytest.importorskip("distributed", reason="distributed is not installed: there is no cluster to ask")
    dask = [sys.executable, "-m", "dask"]
    file = folder / "scheduler.json"
    scheduler = subprocess.Popen(
        [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)],
        cwd=folder, text=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    started = [scheduler]
    try:
        wait_for(file.exists)
        wait_for(lambda: file.read_text().rstrip().endswith("}"))
        address = json.loads(file.read_text())["address"]
        started.append(
            subprocess.Popen(
                [*dask, "worker", address, "--nthreads", "1", "--no-dashboard", "--memory-limit", "0", *workers],
                cwd=folder, text=True, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        )  # fmt: skip
        yield address, scheduler
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            try:
                process.wait(30.0)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_for(there: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not there():
        if time.monotonic() > end:
            pytest.fail("a process of the cluster did not start")
        time.sleep(0.1)
