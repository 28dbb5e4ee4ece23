"""The adversaries of a journal, in a folder beside it: what a later run goes on from, or saves where `--out` is new.

`results.jsonl` has `results.jsonl.adversaries/INDEX.npz`, written before its line. Nothing in it is believed: inputs
are replayed before they count, and without the folder a run goes on from what its lines say is proven.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.files import replacing
from verifier.question.results import Adversary, PerturbedAdversary

FIELDS = ("input", "distance", "label", "scores", "found_by")
BROKEN = (
    OSError, ValueError, TypeError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What reading a file raises that is not, or no longer, what was written."""


@dataclass(frozen=True)
class KeptAdversaries:
    """The folder of one journal."""

    folder: Path

    @classmethod
    def beside(cls, journal: Path) -> KeptAdversaries:
        return cls(journal.with_name(f"{journal.name}.adversaries"))

    def write(self, index: int, found: Mapping[str, Adversary]) -> None:
        """Keep a sample's, by name, and nothing that was kept of it before: that may be of a file that is gone."""
        if not found:
            self._path(index).unlink(missing_ok=True)
            return
        self.folder.mkdir(exist_ok=True)
        arrays: dict[str, Any] = {}
        for name, one in found.items():
            arrays |= {f"{name}/{field}": np.asarray(getattr(one, field)) for field in FIELDS}
            if isinstance(one, PerturbedAdversary):
                arrays[f"{name}/variables"] = one.variables
        with replacing(self._path(index)) as file:
            np.savez_compressed(file, **arrays)

    def read(self, index: int, inputs: int) -> dict[str, Adversary]:
        """What is kept of a sample of so many inputs, by name; nothing where that cannot be read or is of another."""
        try:
            with np.load(self._path(index), allow_pickle=False) as arrays:
                held = dict(arrays)
            names = dict.fromkeys(key.rpartition("/")[0] for key in held)
            found = {name: _adversary(name, held) for name in names}
        except BROKEN:
            return {}
        return found if all(one.input.size == inputs for one in found.values()) else {}

    def _path(self, index: int) -> Path:
        return self.folder / f"{index}.npz"


def _adversary(name: str, held: Mapping[str, Any]) -> Adversary:
    about = (
        _numbers(held[f"{name}/input"]), float(held[f"{name}/distance"]), int(held[f"{name}/label"]),
        _numbers(held[f"{name}/scores"]), str(held[f"{name}/found_by"]),
    )  # fmt: skip
    variables = held.get(f"{name}/variables")
    return Adversary(*about) if variables is None else PerturbedAdversary(*about, variables=_numbers(variables))


def _numbers(held: NDArray[Any]) -> NDArray[Any]:
    if held.dtype.kind != "f":
        raise ValueError(f"{held.dtype} where inputs or scores should be")
    return held
