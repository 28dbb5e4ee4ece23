"""What `report` and `compare` measure, measured by a server: pages and tables of it are written here, as always."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.errors import OptionError
from verifier.cli.remote import asked_run, check_asked_there, coming_back, connected, options_of, save, watched

if TYPE_CHECKING:
    from encoders.question import Norm
    from verifier.runs.journal import Record
    from verifier.service.client import Client, RemoteComparison, RemoteRun
    from verifier.studies.comparison.measure import Measured, Progress
    from verifier.studies.comparison.options import CompareOptions, Subject
    from verifier.studies.comparison.test_data import TestData


def report_measured(arguments: argparse.Namespace) -> Callable[[Norm, dict[int, Record]], None]:
    """What measures one norm of a report, one after the other: records by their samples' indices, files in `--out`."""
    from verifier.cli.display import HEADER, row
    from verifier.cli.many_samples import Table

    options = options_of(argparse.Namespace(**{**vars(arguments), "norm": None}))
    for name in ("bounds", "attacks"):
        named = getattr(arguments, name)
        if named is not None:
            options[name] = [part.strip() for part in named.split(",")]
    client, keys = connected(arguments, "runs")

    def measured(norm: Norm, done: dict[int, Record]) -> None:
        asked = options | {"norm": str(norm)}
        run = asked_run(client, next(keys), arguments, "report", asked, proofs=arguments.proofs)

        def keep(item: dict[str, Any], record: Record) -> None:
            _save_files(run, item, record, arguments.out)
            done[record["index"]] = record

        watched(run, Table(HEADER, row), keep, proofs=arguments.proofs)

    return measured


def _save_files(run: RemoteRun, item: Mapping[str, Any], record: Record, out: Path) -> None:
    """The adversary and the proof of a sample, where its record says."""
    proof = (record.get("proof") or {}).get("file")
    if item["has_adversary"] and record.get("adversary") is not None:
        save(out / record["adversary"], run.adversary(item["index"]))
    if item["has_proof"] and proof is not None:
        save(out / proof, run.proof(item["index"]))


@dataclass(frozen=True, eq=False)
class ComparedThere:
    """The comparisons of a server, one for each norm, which go on whether anybody looks or not."""

    comparisons: Mapping[Norm, RemoteComparison]
    url: str

    @classmethod
    def asked(
        cls, arguments: argparse.Namespace, subjects: tuple[Subject, ...], options: CompareOptions, data: TestData
    ) -> ComparedThere:
        """New ones; or those that are come back to, which must be about the same."""
        check_asked_there(argparse.Namespace(jobs=options.jobs, cluster=options.cluster, device=options.device))
        if data.train_samples is not None:
            raise OptionError(
                f"--data {data.name}: what is left of it for tests is this study's own; save it as an .npz, and give "
                "that with --data beside --server"
            )
        client, keys = connected(arguments, "comparisons")
        found = {norm: _asked(client, next(keys), subjects, options, data, norm) for norm in options.norms}
        url = str(client.http.base_url).rstrip("/")
        return cls(found, f"{url}/comparisons/{','.join(one.key for one in found.values())}")

    def measured(
        self, subjects: tuple[Subject, ...], options: CompareOptions, data: TestData, indices: tuple[int, ...],
        progress: Progress,
    ) -> Iterator[Measured]:  # fmt: skip
        """All networks in all norms, as they are there; a sample that failed is open, with what is known of it."""
        from verifier.studies.comparison.measure import accuracy, collected

        for place, subject in enumerate(subjects):
            model = subject.model()
            right = accuracy(model, data.samples(model))
            for norm, comparison in self.comparisons.items():
                run = comparison.runs()[place]
                records: dict[int, Record] = {}
                with coming_back(self.url):
                    for item in run.finished():
                        records[item["index"]] = _record(run, item)
                        progress(subject, norm, len(records))
                run.check()
                ordered = [records[index] for index in indices if index in records]
                yield collected(subject, norm, right, ordered, options)


def _asked(
    client: Client, key: str | None, subjects: tuple[Subject, ...], options: CompareOptions, data: TestData, norm: Norm
) -> RemoteComparison:
    names = ("time_limit", "tolerance", "engine", "seed", "attack", "pictures")
    asked = {"norm": str(norm), "radii": list(options.radii[norm])} | {name: getattr(options, name) for name in names}
    first, paths = subjects[0], [subject.path for subject in subjects]
    scores: dict[str, Any] = {"output": first.output, "threshold": first.threshold}
    if key is None:
        return client.compare(paths, data.name, samples=options.samples, **scores, **asked)
    comparison = client.comparison(key)
    models, about = [client.upload_model(path, **scores) for path in paths], client.upload_data(data.name)
    lasting = ("norm", "tolerance", "seed", "attack")
    wanted = [(model, about, options.samples, *(asked[name] for name in lasting)) for model in models]
    there = [
        (run["model"]["id"], run["data"]["id"], run["samples"], *(run["options"].get(name) for name in lasting))
        for run in comparison.state()["runs"]
    ]
    if there != wanted:
        raise OptionError(
            f"comparison {key} is about other networks, samples or options in {norm}; ask with those that it began with"
        )
    return comparison


def _record(run: RemoteRun, item: Mapping[str, Any]) -> Record:
    """A sample as a line of this study's journal holds it: its adversary is in it, and no file of a server's."""
    import numpy as np

    from verifier.studies.comparison.measure import unknown, written

    index = int(item["index"])
    if item["state"] == "failed":
        record = unknown(index, float(item["lower"]), float(item["upper"]), item["basis"], item["engine"])
    else:
        record = {**unknown(index), **run.record(index)}
    if item["has_adversary"]:
        with np.load(io.BytesIO(run.adversary(index)), allow_pickle=False) as arrays:
            record |= written(arrays["adversary"].reshape(-1))
    return record
