"""The service: how soon it answers, what it costs beside the command line, and how it bears many readers.

python -m benchmarks.service --parts start,overhead,store,lists,readers
python -m benchmarks.service --parts store,lists --database postgresql+psycopg://USER@HOST/NAME

`start`: seconds from the command to the page, and from an upload of the digits net to its first closed bracket.
`overhead`: a run of the service with one worker, and the same samples by `plumbline distance`.
`store`: what a sample costs the database: taken, two heartbeats with a bracket, finished.
`lists`: pages and counts of a run of 100,000 finished samples.
`readers`: clients that watch runs and read them while workers solve.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.common import REPOSITORY, conditions
from verifier.service.store.database import connected, migrate
from verifier.service.store.records import Finding, StoredModel, StoredRun
from verifier.service.store.store import Store

NET = REPOSITORY / "trainers" / "nets" / "digits-64-32-32-10.onnx"
PARTS = ("start", "overhead", "store", "lists", "readers")
PATIENCE = 600.0
WHOLE = {"index": 0, "verdict": "exact", "lower": 0.05, "upper": 0.05}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--database", help="of store and lists (default: SQLite in a temporary folder)")
    parser.add_argument("--samples", type=int, default=100, help="of the run whose overhead is measured")
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0, help="that clients read for")
    given = parser.parse_args()
    print(conditions(), flush=True)
    for part in given.parts.split(","):
        with tempfile.TemporaryDirectory() as folder:
            MEASURES[part](Path(folder), given)


@contextmanager
def served(folder: Path, workers: int = 1) -> Iterator[tuple[httpx.Client, float]]:
    """A server of its own, and the seconds until its page was there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "verifier.cli.main", "serve", "--data-dir", str(folder / "service")]
    started = time.monotonic()
    process = subprocess.Popen([*command, "--port", str(port), "--workers", str(workers)], cwd=REPOSITORY)
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60.0)
    try:
        wait(lambda: there(client))
        yield client, time.monotonic() - started
    finally:
        client.close()
        process.terminate()
        process.wait()


def there(client: httpx.Client) -> bool:
    try:
        return client.get("/").status_code == 200
    except httpx.TransportError:
        return False


def wait(done: Callable[[], bool], pause: float = 0.02) -> None:
    """Until it is so."""
    end = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > end:
            sys.exit("the service did not come to it in ten minutes")
        time.sleep(pause)


def uploaded(client: httpx.Client) -> str:
    """The digits net, and its id."""
    with NET.open("rb") as file:
        answer = client.post("/models", files={"files": (NET.name, file)})
    answer.raise_for_status()
    return str(answer.json()["id"])


def asked(client: httpx.Client, model: str, samples: str, **options: Any) -> str:
    """A run, and its id."""
    question = {"model": model, "data": "digits", "samples": samples, "question": "distance", "options": options}
    answer = client.post("/runs", json=question)
    answer.raise_for_status()
    return str(answer.json()["id"])


def finished(client: httpx.Client, run: str) -> bool:
    return str(client.get(f"/runs/{run}").json()["state"]) == "finished"


def start(folder: Path, given: argparse.Namespace) -> None:
    with served(folder) as (client, seconds):
        began = time.monotonic()
        run = asked(client, uploaded(client), "0:5", norm="linf")
        wait(lambda: client.get(f"/runs/{run}").json()["counts"]["done"] > 0)
        print(
            f"start: {seconds:.2f} s to the page, {time.monotonic() - began:.2f} s from the upload to a closed bracket"
        )


def overhead(folder: Path, given: argparse.Namespace) -> None:
    with served(folder) as (client, _):
        model = uploaded(client)
        warm = asked(client, model, "0:2", norm="linf")
        wait(lambda: finished(client, warm))
        began = time.monotonic()
        run = asked(client, model, f"0:{given.samples}", norm="linf")
        wait(lambda: finished(client, run))
        by_service = time.monotonic() - began
        held = [json.loads(line) for line in client.get(f"/runs/{run}/export.jsonl").text.splitlines()]
    journal = folder / "journal.jsonl"
    command = [sys.executable, "-m", "verifier.cli.main", "distance", str(NET), "--data", "digits", "--jobs", "1"]
    seconds = []
    for samples in ("0:2", f"0:{given.samples}"):  # the first is what starting costs
        journal.unlink(missing_ok=True)
        began = time.monotonic()
        subprocess.run(
            [*command, "--samples", samples, "--json", str(journal)], cwd=REPOSITORY, check=False, capture_output=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        seconds.append(time.monotonic() - began)
    alone = {record["index"]: record for record in map(json.loads, journal.read_text().splitlines())}
    apart = max(abs(one["upper"] - alone[one["index"]]["upper"]) for one in held if one["verdict"] == "exact")
    by_command = seconds[1] - seconds[0]
    more = 1000 * (by_service - by_command) / given.samples
    print(
        f"overhead: {given.samples} samples, {by_service:.1f} s by the service, {by_command:.1f} s by the command line "
        f"without its start: {more:.0f} ms a sample; exact distances apart by {apart:.1g} at most"
    )


def stored(url: str, count: int) -> tuple[Store, StoredRun]:
    """A database with a run of so many samples."""
    migrate(url)
    store, now = Store(connected(url)), time.time()
    store.add_model(StoredModel("model", "local", NET.name, "0" * 64, {NET.name: "0" * 64}, {}, now))
    run = StoredRun(
        "run", "local", "", "model", "digits", f"0:{count}", "distance", None, {"norm": "linf"}, False, None, 1e-6,
        "queued", None, count, {}, {}, now, None, None,
    )  # fmt: skip
    store.add_run(run, None, "", [(k, None) for k in range(count)])
    store.register("worker")
    return store, run


def url_of(folder: Path, given: argparse.Namespace) -> str:
    return given.database or f"sqlite:///{folder / 'plumbline.db'}"


def store(folder: Path, given: argparse.Namespace) -> None:
    count = 1000
    held, run = stored(url_of(folder, given), count)
    bracket = Finding(0.04, 0.06, 0.1, 5, 10, "rigorous", "auto", "search")
    began = time.monotonic()
    for _ in range(count):
        (claim,) = held.claim("worker", {})
        for lower in (0.04, 0.045):
            held.beat("worker", {(run.id, claim.number): replace(bracket, lower=lower)})
        held.finish("worker", run.id, claim.number, replace(bracket, lower=0.05, upper=0.05, record=WHOLE))
    each = 1000 * (time.monotonic() - began) / count
    print(f"store, {held.engine.dialect.name}: {each:.2f} ms a sample (taken, two heartbeats, finished), one worker")
    held.close()


def lists(folder: Path, given: argparse.Namespace) -> None:
    count = 100_000
    held, run = stored(url_of(folder, given), count)
    from sqlalchemy import text

    with held.engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE samples SET state='done', verdict='exact', lower=0.001*(number % 97), "
                "upper=0.001*(number % 97), gap=0, seconds=number % 13"
            )
        )
    for name, read in (
        ("a page by index", lambda: held.samples(run.id, 100)),
        ("a page by the greatest lower", lambda: held.samples(run.id, 100, sort="lower", descending=True)),
        ("counts", lambda: held.counts([run.id])),
        ("runs", lambda: held.runs("local", 100)),
    ):
        took = []
        for _ in range(20):
            began = time.monotonic()
            read()
            took.append(1000 * (time.monotonic() - began))
        said = f"median {np.median(took):.1f} ms, worst of 20 {max(took):.1f} ms"
        print(f"lists, {held.engine.dialect.name}, 100,000 finished samples, {name}: {said}", flush=True)
    held.close()


def readers(folder: Path, given: argparse.Namespace) -> None:
    with served(folder, workers=2) as (client, _):
        model = uploaded(client)
        runs = [asked(client, model, f"{20 * k % 380}:{20 * k % 380 + 17}", norm="l2") for k in range(given.runs)]
        took, events = asyncio.run(watched(str(client.base_url), runs, given.clients, given.seconds))
    p50, p99 = np.percentile(took, [50, 99])
    print(
        f"readers: {given.clients} clients that watch {given.runs} runs while two workers solve, {len(took)} reads in "
        f"{given.seconds:g} s: median {1000 * p50:.0f} ms, p99 {1000 * p99:.0f} ms; {events} events seen"
    )


async def watched(base: str, runs: list[str], clients: int, seconds: float) -> tuple[list[float], int]:
    """What every read took, each client having its run's events open beside them; and how many events came."""
    took: list[float] = []
    events = 0
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)

    async def listen(client: httpx.AsyncClient, run: str) -> None:
        nonlocal events
        async with client.stream("GET", f"/runs/{run}/events", timeout=None) as lines:
            async for line in lines.aiter_lines():
                events += line.startswith("data:")

    async def read(client: httpx.AsyncClient, run: str, k: int) -> None:
        await asyncio.sleep(k / clients)
        while True:
            began = time.monotonic()
            (await client.get(f"/runs/{run}/samples")).raise_for_status()
            took.append(time.monotonic() - began)
            await asyncio.sleep(1.0)

    async with httpx.AsyncClient(base_url=base, timeout=60.0, limits=limits) as client:
        chosen = [(k, runs[k % len(runs)]) for k in range(clients)]
        tasks = [asyncio.create_task(listen(client, run)) for _, run in chosen]
        tasks += [asyncio.create_task(read(client, run, k)) for k, run in chosen]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return took, events


MEASURES: dict[str, Callable[[Path, argparse.Namespace], None]] = {
    "start": start, "overhead": overhead, "store": store, "lists": lists, "readers": readers
}  # fmt: skip

if __name__ == "__main__":
    main()
