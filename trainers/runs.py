"""Runs on the disk: the network as NAME.onnx and its record as NAME.json; what is finished is not trained again."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoders.errors import OptionError
from trainers.config import Run
from trainers.datasets import Dataset, Place, Source, source
from trainers.export import export
from trainers.training import Progress, train

PACKAGES = ("plumbline", "torch", "numpy", "onnx")
Record = dict[str, Any]


class Trainer:
    """Trains runs into a folder; each data set is read once."""

    def __init__(self, out: Path, place: Place | None = None) -> None:
        self.out = out
        self.place = place or Place()
        self._data: dict[tuple[str, int | None], tuple[Source, tuple[Dataset, Dataset], str]] = {}

    def finished(self, run: Run) -> Record | None:
        """The record of a run that was trained with the same options, data and torch, and whose file is intact."""
        path = self.out / f"{run.stem}.json"
        try:
            record = json.loads(path.read_text())
            same = (
                in_todays_words(record["options"]) == json.loads(json.dumps(run.options.record))
                and record["data"] == self._loaded(run)[2]
                and record["versions"]["torch"] == torch.__version__
                and record["sha256"] == _sha256(self.out / f"{run.stem}.onnx")
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return record if same else None

    def check_name(self, run: Run) -> None:
        """Refuse a name that a network with other options has: it would be written over."""
        path = self.out / f"{run.stem}.json"
        try:
            held = in_todays_words(json.loads(path.read_text())["options"])
        except (OSError, ValueError, KeyError, TypeError):
            return
        differing = [
            name for name, value in json.loads(json.dumps(run.options.record)).items() if held.get(name) != value
        ]
        if differing:
            raise OptionError(
                f"{path}: a network with other options ({', '.join(differing)}) has this name; give --name or another "
                f"--out, or delete the file"
            )

    def train(self, run: Run, progress: Progress | None = None) -> Record:
        """Train and save one run; the record is written last, so that a run with a record is complete."""
        chosen, splits, digest = self._loaded(run)
        started = time.monotonic()
        trained = train(run.options, chosen.input_shape, chosen.classes, splits, progress)
        path = self.out / f"{run.stem}.onnx"
        export(path, trained.module.cpu(), chosen.input_shape)
        record: Record = {
            "name": run.stem,
            "family": run.family,
            "variant": run.variant,
            "test_accuracy": trained.test_accuracy,
            "validation_accuracy": trained.validation_accuracy,
            "options": run.options.record,
            "data": digest,
            "versions": versions(),
            "threads": torch.get_num_threads(),
            "seconds": round(time.monotonic() - started, 3),
            "sha256": _sha256(path),
            "curves": [asdict(epoch) for epoch in trained.curves],
        }
        part = path.with_suffix(".json.part")
        part.write_text(json.dumps(record, indent=1) + "\n")
        part.replace(path.with_suffix(".json"))
        return record

    def _loaded(self, run: Run) -> tuple[Source, tuple[Dataset, Dataset], str]:
        key = (run.options.data, run.options.train_samples)
        if key not in self._data:
            chosen = source(*key)
            splits = (chosen.load("train", self.place), chosen.load("test", self.place))
            self._data[key] = (chosen, splits, _digest(splits))
        return self._data[key]


def in_todays_words(options: Record) -> Record:
    """The options of a record as they are written now: what an older one does not name had one way to be done."""
    if "optimiser" in options:
        return options
    regularisers = []
    for one in options["regularisers"]:
        if one["name"] == "cross-lipschitz-margin":
            one = {**one, "power": 1}
        if one["name"] == "dropout" and options["model"].startswith("resnet"):
            one = {**one, "where": "after every ReLU"}  # which is trained no more
        regularisers.append(one)
    fixed = {"optimiser": "adam", "momentum": None, "schedule": "cosine", "validation": None}
    return {**options, "regularisers": regularisers, **fixed}


def versions() -> dict[str, str]:
    """What a training depends on besides its options."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = torch.__version__ if name == "torch" else version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def _digest(splits: tuple[Dataset, Dataset]) -> str:
    sha = hashlib.sha256()
    for split in splits:
        sha.update(f"{split.x.shape}".encode())
        sha.update(np.ascontiguousarray(split.x).data)
        sha.update(np.ascontiguousarray(split.y).data)
    return sha.hexdigest()[:16]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
