"""Questions that a server answers: the same rows, files and exit status as when they are asked here."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from encoders.errors import OptionError
from encoders.files import write_whole

if TYPE_CHECKING:
    from verifier.cli.many_samples import Table
    from verifier.runs.journal import Journal, Record
    from verifier.service.client import Client, RemoteRun

OWN_WORKERS = "its workers are its own: plumbline serve --workers N, or --cluster A"
HERE: Mapping[str, str] = {
    "again": "it asks every sample anew",
    "shard": "its workers share the samples",
    "jobs": OWN_WORKERS, "cluster": OWN_WORKERS, "batch": OWN_WORKERS, "device": OWN_WORKERS,
    "budget": "it shares out the time of processes of this machine",
}  # fmt: skip
"""What means nothing to a server, and why."""
OPTIONS = (
    "norm", "target", "margin", "box", "time_limit", "tolerance", "engine", "seed", "grid", "count", "execution",
    "change", "direction", "output_index", "each", "mask", "scale", "constraints", "perturbation",
)  # fmt: skip
USUAL: Mapping[str, Any] = {
    "count": "inputs", "execution": "real", "direction": "either", "margin": 0.0, "each": False, "jobs": 1,
    "device": "auto",
}  # fmt: skip
SHOWN = {"margin": "worst"}  # what a question's witness is called where it is saved, if it is no adversary
Keep = Callable[[dict[str, Any], "Record"], None]
"""Called with a sample as the server tells it, and its record, before its row is shown."""


def add_server(group: argparse._ActionsContainer, runs: str = "URL/runs/ID comes back to a run") -> None:
    """`--server URL`."""
    group.add_argument(
        "--server", metavar="URL", help=f"ask a plumbline server, whose token is in PLUMBLINE_TOKEN; {runs}"
    )


def ask_server(arguments: argparse.Namespace, question: str, table: Table) -> int:
    """Ask a server and show what it answers; Ctrl-C leaves the run there."""
    options, proofs = options_of(arguments), arguments.proof is not None
    client, keys = connected(arguments, "runs")
    key = next(keys)
    run = asked_run(client, key, arguments, question, options, getattr(arguments, "radius", None), proofs)
    try:
        journal = _journal(arguments.json, run)
    except OptionError:  # nobody would see what it finds
        if key is None:
            run.cancel()
        raise
    with ExitStack() as stack:
        if journal is not None:
            stack.enter_context(journal)
        for folder in (arguments.out, arguments.proof):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)

        def keep(item: dict[str, Any], record: Record) -> None:
            if arguments.out is not None and item["has_adversary"]:
                name = SHOWN.get(question, "adversary")
                save_witness(arguments.out, name, item["index"], run.adversary(item["index"]), arguments.box)
            if arguments.proof is not None and item["has_proof"]:
                save(arguments.proof / f"{item['index']}.proof", run.proof(item["index"]))
            if journal is not None and journal.done.get(record["index"]) != record:
                journal.write(record)

        return watched(run, table, keep, arguments.ordered, proofs, _rows_beside(arguments.json))


def check_asked_there(arguments: argparse.Namespace) -> None:
    """Refuse, by its name, what means nothing to a server."""
    for name, why in HERE.items():
        if getattr(arguments, name, None) not in (None, USUAL.get(name)):
            raise OptionError(f"--{name} means nothing to a server: {why}; leave out one of the two")


def options_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of a question as a server takes them, files as their paths; what means nothing there is refused."""
    check_asked_there(arguments)
    given = {name: getattr(arguments, name) for name in OPTIONS if hasattr(arguments, name)}
    told = {name: value for name, value in given.items() if value is not None and value != USUAL.get(name)}
    if "target" in told:
        told["targets"] = told.pop("target")
    return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}


def connected(arguments: argparse.Namespace, what: str) -> tuple[Client, Iterator[str | None]]:
    """The server, and which of its `what` are meant, one after the other; None for each that is new."""
    from verifier.service.client import connect

    url, _, keys = arguments.server.partition(f"/{what}/")
    named = [key for key in keys.strip("/").split(",") if key]
    return connect(url), chain(named, repeat(None))


def asked_run(
    client: Client, key: str | None, arguments: argparse.Namespace, question: str, options: Mapping[str, Any],
    radius: float | None = None, proofs: bool = False,
) -> RemoteRun:  # fmt: skip
    """A new run; or the one that is come back to, which must be about the same."""
    about = {"question": question, "radius": radius, "samples": arguments.samples}
    scores = {"output": arguments.output, "threshold": arguments.threshold}
    if key is None:
        return client.ask(arguments.model, arguments.data, proofs=proofs, **about, **scores, **options)
    run = client.run(key)
    held = run.state()
    model, data = client.upload_model(arguments.model, **scores), client.upload_data(arguments.data)
    asked = {**about, "model": model, "data": data, "options": _lasting(client.with_arrays(options))}
    there = {name: held[name] for name in about}
    there |= {"model": held["model"]["id"], "data": held["data"]["id"], "options": _lasting(held["options"])}
    for name, value in asked.items():
        if there[name] != value:
            raise OptionError(f"{run.url} is about another {name}, {there[name]} and not {value}; use the same options")
    return run


def _lasting(options: Mapping[str, Any]) -> dict[str, Any]:
    """Without the time limit, which another one may have taken the place of."""
    return {name: value for name, value in options.items() if name != "time_limit"}


def watched(
    run: RemoteRun, table: Table, keep: Keep, ordered: bool = False, proofs: bool = False, out: TextIO | None = None
) -> int:
    """Rows as samples finish, then the last line; returns the exit status."""
    from verifier.cli.display import Display, Rows
    from verifier.cli.many_samples import ANSWERED, BAD_INPUT, UNRESOLVED
    from verifier.runs.summary import summary

    shown = out or sys.stdout
    print(table.header, file=shown, flush=True)
    total, records = run.state()["counts"]["total"], list[dict[str, Any]]()
    order = [item["index"] for item in run.samples()] if ordered else None
    with coming_back(run.url), Display(total, table.sides, shown) as display, Rows(display, order) as rows:
        for item in run.finished():
            if item["state"] == "failed":
                print(f"plumbline: sample {item['index']}: {item['why_open']}", file=sys.stderr)
                continue
            record = run.record(item["index"])
            keep(item, record)
            records.append(record)
            rows.finished(record["index"], table.row(record))
    run.check()
    print(summary(records, proofs), file=shown)
    if len(records) < total:
        return BAD_INPUT
    return UNRESOLVED if any(record["verdict"] == "unresolved" for record in records) else ANSWERED


@contextmanager
def coming_back(url: str) -> Iterator[None]:
    """Ctrl-C inside leaves what is asked at the server, and says how to come back."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"plumbline: the server goes on; the same command with --server {url} comes back", file=sys.stderr)
        raise


def _journal(path: Path | None, run: RemoteRun) -> Journal | None:
    """The file that `--json` names, refused where it is about something else."""
    from verifier.runs.journal import Journal

    return None if path is None else Journal(path, run.state()["record"])


def _rows_beside(json: Path | None) -> TextIO:
    """Where rows go, so that lines on standard output stay what they are."""
    from verifier.runs.journal import STANDARD_OUTPUT

    return sys.stderr if json == STANDARD_OUTPUT else sys.stdout


def save(path: Path, content: bytes) -> None:
    """A file as the server has it, as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)


def save_witness(folder: Path, name: str, index: int, content: bytes, box: tuple[float, float]) -> None:
    """NAME-INDEX.npz, and NAME-INDEX.png where the input looks like an image."""
    import numpy as np

    from verifier.runs.saved_adversary import save_strips

    save(folder / f"{name}-{index}.npz", content)
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        save_strips(folder / f"{name}-{index}.png", [arrays["original"]], [arrays["adversary"]], box)
