"""One thread for each process of many: those that compete for cores wait for one another."""

from __future__ import annotations

import os


def one_thread_each() -> None:
    """Processes started from now on inherit it."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
