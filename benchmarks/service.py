"""The service: how soon it answers, what it costs beside the command line, and how it bears many readers.

python -m benchmarks.service --parts start,overhead,store,lists,readers
python -m benchmarks.service --parts store,lists --database postgresql+psycopg://USER@HOST/NAME

`start`: seconds from the command to the page, and from an upload of the digits net to its first closed bracket.
`overhead`: runs of the service with one worker, and the same by `plumbline verify`, by turns.
`store`: what a sample costs the database: taken, two heartbeats with a bracket, finished.
`lists`: pages and counts of a run of 100,000 finished samples.
`readers`: clients that watch runs and read them while workers solve.
`watching`: what clients take from the solving that watch alone, or read now and then: the same runs with and without
them, by turns; in seconds, and in seconds of processor, which a machine's pace changes less.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import httpx
import numpy as np

from benchmarks.common import REPOSITORY, conditions
from verifier.service.store.database import connected, migrate
from verifier.service.store.records import Finding, StoredModel, StoredRun
from verifier.service.store.store import Store

NET = REPOSITORY / "trainers" / "nets" / "digits-64-32-32-10.onnx"
PARTS = ("start", "overhead", "store", "lists", "readers", "watching")
PATIENCE = 600.0
TICKS = os.sysconf("SC_CLK_TCK")
CONNECTING = 2.0  # seconds
PAUSES = (
    float("inf"),
    float("inf"),
    float("inf"),
    10.0,
)  # seconds between reads of a client; who watches alone reads nothing
CLOSE = 0.01  # a radius at which one pass decides nearly every digit
WHOLE = {"index": 0, "verdict": "exact", "lower": 0.05, "upper": 0.05}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--database", help="of store and lists (default: SQLite in a temporary folder)")
    parser.add_argument("--turns", type=int, default=10, help="of overhead")
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30.0, help="that clients read for")
    given = parser.parse_args()
    print(conditions(), flush=True)
    for part in given.parts.split(","):
        with tempfile.TemporaryDirectory() as folder:
            MEASURES[part](Path(folder), given)


@dataclass(frozen=True)
class Served:
    """A server of its own."""

    client: httpx.Client
    process: int
    seconds: float  # until its page was there

    def processor(self) -> dict[str, float]:
        """Seconds of processor of the server and of all that it has started; other programs change them little."""
        spent = {"server": 0.0, "workers": 0.0}
        parents = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                held = path.read_text().rpartition(")")[2].split()
                parents[int(path.parent.name)] = int(held[1]), (int(held[11]) + int(held[12])) / TICKS
        of = {self.process: "server"}
        while more := {one: "workers" for one, (parent, _) in parents.items() if parent in of and one not in of}:
            of |= more
        for one, name in of.items():
            spent[name] += parents.get(one, (0, 0.0))[1]
        return spent


@contextmanager
def served(folder: Path, workers: int = 1) -> Iterator[Served]:
    """A server of its own, once its page is there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "verifier.cli.main", "serve", "--data-dir", str(folder / "service")]
    started = time.monotonic()
    process = subprocess.Popen([*command, "--port", str(port), "--workers", str(workers)], cwd=REPOSITORY)
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE)
    try:
        wait(lambda: there(client))
        yield Served(client, process.pid, time.monotonic() - started)
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


def asked(
    client: httpx.Client,
    model: str,
    samples: str | None,
    question: str = "distance",
    radius: float | None = None,
    **options: Any,
) -> str:
    """A run, and its id."""
    about = {"model": model, "data": "digits", "samples": samples, "radius": radius, "options": options}
    answer = client.post("/runs", json={**about, "question": question})
    answer.raise_for_status()
    return str(answer.json()["id"])


def finished(client: httpx.Client, run: str) -> bool:
    return str(client.get(f"/runs/{run}").json()["state"]) == "finished"


def start(folder: Path, given: argparse.Namespace) -> None:
    with served(folder) as server:
        client, began = server.client, time.monotonic()
        run = asked(client, uploaded(client), "0:5", norm="linf")
        wait(lambda: client.get(f"/runs/{run}").json()["counts"]["done"] > 0)
        took = time.monotonic() - began
        print(
            f"start: {server.seconds:.2f} s to the page, {took:.2f} s from the upload to a closed bracket", flush=True
        )


def lasted(client: httpx.Client, run: str) -> tuple[float, float]:
    """Seconds that a run waited for its worker, and that it took from there, by the server's own clock."""
    wait(lambda: finished(client, run), pause=0.5)  # looking more often would take from what is measured
    told = client.get(f"/runs/{run}").json()
    asked_at, started, ended = (
        datetime.fromisoformat(told[f"{name}_at"]) for name in ("created", "started", "finished")
    )
    return (started - asked_at).total_seconds(), (ended - started).total_seconds()


def overhead(folder: Path, given: argparse.Namespace) -> None:
    """Decisions that one pass makes, so that little but the overhead takes any time; by turns, both warm."""
    from verifier.cli.main import main as command_line

    journal, by_service, by_command = folder / "journal.jsonl", list[float](), list[float]()
    command = ["verify", str(NET), "--radius", f"{CLOSE:g}", "--data", "digits", "--json", str(journal)]
    with served(folder) as server:
        client = server.client
        model = uploaded(client)
        for turn in range(-1, given.turns):  # the first pays a worker's start, a model's first load, what is imported
            run = asked(client, model, None, question="verify", radius=CLOSE, norm="linf")
            waited, seconds = lasted(client, run)
            journal.unlink(missing_ok=True)
            began = time.monotonic()
            with redirect_stdout(io.StringIO()):
                command_line(command)
            lines = journal.read_text().splitlines()
            if turn >= 0:
                by_service.append(1000 * seconds / len(lines))
                by_command.append(1000 * (time.monotonic() - began) / len(lines))
            held = client.get(f"/runs/{run}/export.jsonl").text.splitlines()
            verdicts = [{one["index"]: one["verdict"] for one in map(json.loads, each)} for each in (held, lines)]
            if verdicts[0] != verdicts[1]:
                sys.exit("the service and the command line differ")
    more = np.subtract(by_service, by_command)
    print(
        f"overhead: {len(lines)} samples decided at {CLOSE:g}, {given.turns} turns, both warm, one process each: a "
        f"sample takes {np.median(by_service):.1f} ms by the service from its first sample, "
        f"{np.median(by_command):.1f} ms by the command line with its journal; {np.median(more):.1f} ms more in the "
        f"median turn ({more.min():.1f} to {more.max():.1f}); the last run waited {waited:.2f} s for its worker",
        flush=True,
    )


def stored(url: str, count: int) -> tuple[Store, StoredRun]:
    """A database, and in it a new run of so many samples."""
    migrate(url)
    name = token_hex(6)
    store, now = Store(connected(url)), time.time()
    store.add_model(StoredModel(name, "local", NET.name, "0" * 64, {NET.name: "0" * 64}, {}, now))
    run = StoredRun(
        name, "local", "", name, "digits", f"0:{count}", "distance", None, {"norm": "linf"}, False, None, 1e-6,
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
        claim = held.claim("worker", run.id)
        if claim is None:
            sys.exit("there is no sample left to take")
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
    with served(folder, workers=2) as server:
        client = server.client
        model = uploaded(client)
        runs = [asked(client, model, f"{20 * k % 380}:{20 * k % 380 + 17}", norm="l2") for k in range(given.runs)]
        before, own = server.processor(), time.process_time()
        end = time.monotonic() + given.seconds
        took, events = asyncio.run(
            watched(client.base_url.port or 80, runs, given.clients, lambda: time.monotonic() >= end)
        )
        own, now = time.process_time() - own, server.processor()
    began, all_took = np.array(sorted(took)).T
    p50, p99 = np.percentile(all_took[began >= CONNECTING], [50, 99])
    first = float(np.percentile(all_took[began < CONNECTING], 99))
    spent = {name: now[name] - before[name] for name in now}
    print(
        f"readers: {given.clients} clients that watch {given.runs} runs while two workers solve, {len(took)} reads in "
        f"{given.seconds:g} s: median {1000 * p50:.0f} ms, p99 {1000 * p99:.0f} ms (p99 of the first {CONNECTING:g} s, "
        f"in which all connect: {1000 * first:.0f} ms); {events} events seen; seconds of processor: server "
        f"{spent['server']:.1f} ({1000 * spent['server'] / len(took):.1f} ms a read), workers "
        f"{spent['workers']:.1f}, the clients' own {own:.1f}",
        flush=True,
    )


def watching(folder: Path, given: argparse.Namespace) -> None:
    """Each turn between two without clients, as a machine's pace changes by more than what is measured."""
    with served(folder, workers=0) as server:  # what is measured begins with everything asked
        model = uploaded(server.client)
        parts = [f"{19 * k}:{19 * k + 9}" for k in range(given.runs)]
        runs = [asked(server.client, model, part, norm="linf", engine="search") for part in parts]
    turns = [(0, 1.0)] + [turn for seconds in PAUSES for turn in ((given.clients, seconds), (0, 1.0))]
    lasted_for = list[float]()
    for clients, pause in turns:
        with tempfile.TemporaryDirectory() as again:
            shutil.copytree(folder / "service", Path(again) / "service")
            with served(Path(again), workers=2) as server:
                own, port = time.process_time(), server.client.base_url.port or 80
                took, events = asyncio.run(
                    watched(port, runs, clients, partial(all_finished, server.client, runs), pause)
                )
                own, spent = time.process_time() - own, server.processor()
                lasted_for.append(solved(server.client, runs))
        print(
            f"watching: {9 * given.runs} samples of {given.runs} runs by two workers beside {clients} clients that "
            f"watch and read every {pause:g} s: {lasted_for[-1]:.1f} s; of processor: server {spent['server']:.1f}, "
            f"workers {spent['workers']:.1f}, the clients' own {own:.1f}; {len(took)} reads, {events} events seen",
            flush=True,
        )
    alone = lasted_for[::2]
    for seconds, pause, before, after in zip(lasted_for[1::2], PAUSES, alone[:-1], alone[1:], strict=True):
        slower = 100 * (2 * seconds / (before + after) - 1)
        print(f"watching: slower by {slower:.1f}% beside clients that read every {pause:g} s", flush=True)


def solved(client: httpx.Client, runs: Sequence[str]) -> float:
    """Seconds from when the first of some runs was begun to when the last was finished, by the server's own clock."""
    told = [client.get(f"/runs/{run}").json() for run in runs]
    begun, ended = ([datetime.fromisoformat(one[f"{name}_at"]) for one in told] for name in ("started", "finished"))
    return (max(ended) - min(begun)).total_seconds()


def all_finished(client: httpx.Client, runs: Sequence[str]) -> bool:
    return all(finished(client, run) for run in reversed(runs))


async def watched(
    port: int, runs: list[str], clients: int, ended: Callable[[], bool], pause: float = 1.0
) -> tuple[list[tuple[float, float]], int]:
    """When each read began and what it took, each client having its run's events open beside; and how many events came.

    Each reads again after a pause, everything anew, over plain sockets, which leave the processor to the server.
    """
    took = list[tuple[float, float]]()
    events, opened = 0, time.monotonic()
    head = b"GET /runs/%s/%s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n"

    async def listen(run: str) -> None:
        nonlocal events
        answer, sending = await asyncio.open_connection("127.0.0.1", port)
        sending.write(head % (run.encode(), b"events", port))
        while piece := await answer.read(2**16):
            events += piece.count(b"event: ")

    async def read(run: str, k: int) -> None:
        answer, sending = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        if pause == float("inf"):  # who watches alone reads nothing
            return
        await asyncio.sleep(pause * k / clients)
        while True:
            began = time.monotonic()
            sending.write(head % (run.encode(), b"samples", port))
            told = (await answer.readuntil(b"\r\n\r\n")).lower()
            if not told.startswith(b"http/1.1 200 "):
                sys.exit(f"a read was refused: {told[:80]!r}")
            await answer.readexactly(int(told.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
            took.append((began - opened, time.monotonic() - began))
            await asyncio.sleep(pause)

    chosen = [(k, runs[k % len(runs)]) for k in range(clients)]
    tasks = [asyncio.create_task(listen(run)) for _, run in chosen]
    tasks += [asyncio.create_task(read(run, k)) for k, run in chosen]
    while not await asyncio.to_thread(ended):
        await asyncio.sleep(1.0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return took, events


MEASURES: dict[str, Callable[[Path, argparse.Namespace], None]] = {
    "start": start, "overhead": overhead, "store": store, "lists": lists, "readers": readers,
    "watching": watching,
}  # fmt: skip

if __name__ == "__main__":
    main()
