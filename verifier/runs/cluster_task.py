"""Tasks as Dask knows them: in bytes, so that a scheduler, which reads tasks, need not import what they hold."""

from __future__ import annotations

import pickle


def run_task(shipment: bytes, number: int, part: bytes) -> list[bytes]:
    """Some samples of a run, asked by a worker; what is too large for a message is the result."""
    from verifier.runs.cluster_worker import work

    return work(shipment, number, pickle.loads(part))


def as_it_is(content: bytes) -> bytes:
    """A task that is its data: workers fetch it from one another, and what is lost is made again."""
    return content
