"""Questions that a server answers: the same rows, files and exit status as when they are asked here."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.errors import OptionError

if TYPE_CHECKING:
    from verifier.cli.many_samples import Table
    from verifier.service.client import Client, RemoteRun

HERE = ("mask", "scale", "constraints", "perturbation", "again")  # what is read and kept on this machine alone
OPTIONS = (
    "norm", "target", "margin", "box", "time_limit", "tolerance", "engine", "seed", "grid", "count", "execution",
    "change", "direction", "output_index", "each",
)  # fmt: skip
USUAL: Mapping[str, Any] = {"count": "inputs", "execution": "real", "direction": "either", "margin": 0.0, "each": False}


def add_server(group: argparse._ActionsContainer) -> None:
    """`--server URL`."""
    group.add_argument(
        "--server", metavar="URL",
        help="ask a plumbline server, whose token is in PLUMBLINE_TOKEN; URL/runs/ID comes back to a run",
    )  # fmt: skip


def ask_server(arguments: argparse.Namespace, question: str, table: Table) -> int:
    """Ask a server and show what it answers; Ctrl-C leaves the run there."""
    run = _run(arguments, question, options_of(arguments), proofs=arguments.proof is not None)
    return watched(run, table, arguments.json, arguments.out, arguments.proof)


def options_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of a question as a server takes them; what only this machine knows is refused."""
    for name in HERE:
        if getattr(arguments, name, None) is not None:
            raise OptionError(f"--{name} is read on this machine; leave out --server, or --{name}")
    if isinstance(getattr(arguments, "grid", None), Path):
        raise OptionError("--grid FILE is read on this machine; give a number, or leave out --server")
    given = {name: getattr(arguments, name) for name in OPTIONS if hasattr(arguments, name)}
    told = {name: value for name, value in given.items() if value is not None and value != USUAL.get(name)}
    if "target" in told:
        told["targets"] = told.pop("target")
    return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}


def connected(arguments: argparse.Namespace) -> tuple[Client, str | None]:
    """The server, and which of its runs is meant, if one is."""
    from verifier.service.client import connect

    url, _, key = arguments.server.partition("/runs/")
    return connect(url), key.strip("/") or None


def _run(arguments: argparse.Namespace, question: str, options: dict[str, Any], proofs: bool) -> RemoteRun:
    client, key = connected(arguments)
    if key is not None:
        return client.run(key)
    return client.ask(
        arguments.model, arguments.data, question, radius=getattr(arguments, "radius", None),
        samples=arguments.samples, output=arguments.output, threshold=arguments.threshold, proofs=proofs, **options,
    )  # fmt: skip


def watched(
    run: RemoteRun, table: Table, journal: Path | None = None, out: Path | None = None, proofs: Path | None = None
) -> int:
    """Rows as samples finish, then the last line; returns the exit status."""
    from verifier.cli.display import Display
    from verifier.cli.many_samples import ANSWERED, BAD_INPUT, UNRESOLVED
    from verifier.runs.journal import STANDARD_OUTPUT
    from verifier.runs.summary import summary

    shown = sys.stderr if journal == STANDARD_OUTPUT else sys.stdout
    print(table.header, file=shown, flush=True)
    for folder in (out, proofs):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    records: list[dict[str, Any]] = []
    failed = 0
    try:
        with Display(run.state()["counts"]["total"], table.sides, shown) as display:
            for item in run.finished():
                if item["state"] == "failed":
                    failed += 1
                    print(f"plumbline: sample {item['index']}: {item['why_open']}", file=sys.stderr)
                    continue
                record = run.record(item["index"])
                _save(run, item, record, journal, out, proofs)
                records.append(record)
                display.finished(record["index"], table.row(record))
    except KeyboardInterrupt:
        print(
            f"plumbline: the run goes on without you; the same command with --server {run.url} comes back to it",
            file=sys.stderr,
        )
        raise
    run.check()
    print(summary(records, (), proofs is not None), file=shown)
    if failed or len(records) < run.state()["counts"]["total"]:
        return BAD_INPUT
    return UNRESOLVED if any(record["verdict"] == "unresolved" for record in records) else ANSWERED


def _save(
    run: RemoteRun, item: dict[str, Any], record: dict[str, Any], journal: Path | None, out: Path | None,
    proofs: Path | None,
) -> None:  # fmt: skip
    """What the flags say where to keep."""
    from verifier.runs.journal import STANDARD_OUTPUT

    if journal == STANDARD_OUTPUT:
        print(json.dumps(record, allow_nan=False), flush=True)
    elif journal is not None:
        with open(journal, "a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")
    if out is not None and item["has_adversary"]:
        (out / f"adversary-{item['index']}.npz").write_bytes(run.adversary(item["index"]))
    if proofs is not None and item["has_proof"]:
        (proofs / f"{item['index']}.proof").write_bytes(run.proof(item["index"]))


def report_from_server(arguments: argparse.Namespace) -> int:
    """The report of a server, norm by norm, each as a page in `--out`."""
    from verifier.cli.display import HEADER, row
    from verifier.cli.many_samples import Table

    options = options_of(argparse.Namespace(**{**vars(arguments), "norm": None}))
    for name in ("bounds", "attacks"):
        named = getattr(arguments, name)
        if named is not None:
            options[name] = [part.strip() for part in named.split(",")]
    status = 0
    for norm in arguments.norm or ["linf"]:
        run = _run(arguments, "report", options | {"norm": norm}, proofs=False)
        print(f"{norm}:", flush=True)
        status = max(status, watched(run, Table(HEADER, row)))
        arguments.out.mkdir(parents=True, exist_ok=True)
        page = arguments.out / f"report-{norm}.html"
        page.write_text(run.report(), encoding="utf-8")
        print(page)
    return status
