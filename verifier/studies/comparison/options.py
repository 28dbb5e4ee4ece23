"""What is compared, and how: networks from a study or from files, and the options of the comparison."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from encoders.errors import ModelError, OptionError
from encoders.question import CONVEX, Norm, convex_norm
from trainers.config import Study
from verifier.question.model import Model, load
from verifier.studies.comparison.attack_distance import ATTACK_NAMES

RADII: Mapping[Norm, tuple[float, ...]] = {
    Norm.LINF: (0.02, 0.05, 0.1), Norm.L1: (0.25, 0.5, 1.0), Norm.L2: (0.1, 0.25, 0.5),
}  # fmt: skip


@dataclass(frozen=True)
class CompareOptions:
    """`radii` are where robust accuracy is told; `attack` draws the curve that the exact one is set against.

    `baseline` is the family that the others are drawn beside. `resamples` of seeds and samples give the intervals,
    `level` is their confidence.
    """

    norms: tuple[Norm, ...] = (Norm.LINF, Norm.L1)
    samples: str | None = "0:100"
    radii: Mapping[Norm, tuple[float, ...]] = field(default_factory=lambda: RADII)
    time_limit: float | None = 60.0
    tolerance: float = 1e-5
    engine: str = "auto"
    device: str = "auto"
    seed: int = 0
    jobs: int = 1
    attack: str = "pgd-by-radius"
    baseline: str = "none"
    pictures: int = 3
    resamples: int = 2000
    level: float = 0.95

    def __post_init__(self) -> None:
        if not self.norms or len(set(self.norms)) < len(self.norms):
            raise OptionError(f"norms {', '.join(self.norms) or 'none'}: give each at most once, and at least one")
        if any(radius < 0 for chosen in self.radii.values() for radius in chosen):
            raise OptionError("a radius is below zero; give numbers of zero or more")
        if self.attack not in ATTACK_NAMES:
            raise OptionError(f"attack {self.attack!r}: choose from {', '.join(ATTACK_NAMES)}")
        if self.jobs < 1 or self.pictures < 0 or self.resamples < 1 or not 0 < self.level < 1:
            raise OptionError("jobs and resamples are one or more, pictures zero or more, level between 0 and 1")

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> CompareOptions:
        """From a [compare] table or from flags; `norms` is a list, `radii` a table of lists by norm."""
        known = {one.name for one in fields(cls)}
        unknown = sorted({*table} - known)
        if unknown:
            raise OptionError(f"[compare] has no setting {unknown[0]!r}; there are: {', '.join(sorted(known))}")
        given = dict(table)
        try:
            if "norms" in given:
                given["norms"] = tuple(convex_norm(norm) for norm in given["norms"])
            if "radii" in given:
                chosen = {convex_norm(norm): tuple(float(r) for r in radii) for norm, radii in given["radii"].items()}
                given["radii"] = {**RADII, **chosen}
        except (ValueError, TypeError, AttributeError) as error:
            raise OptionError(
                f"[compare]: norms are some of {', '.join(CONVEX)}, radii lists of numbers ({error})"
            ) from None
        return cls(**given)


@dataclass(frozen=True)
class Subject:
    """One trained network. Those of one variant differ in their seed alone."""

    family: str
    variant: str
    seed: int
    path: Path
    output: str | None = None
    threshold: float | None = None

    @property
    def stem(self) -> str:
        return self.path.stem

    def model(self) -> Model:
        """The network itself."""
        return load(self.path, self.output, self.threshold)


def subjects_of_study(study: Study) -> tuple[Subject, ...]:
    """The networks that a study's runs have left; one that is missing is named."""
    found = []
    for run in study.runs:
        path = study.out / f"{run.stem}.onnx"
        if not path.is_file():
            raise ModelError(f"{path}: not trained yet; run: plumbline train {study.path}")
        found.append(Subject(run.family, run.variant, run.options.seed, path))
    return tuple(found)


def subjects_of_files(paths: Sequence[Path]) -> tuple[Subject, ...]:
    """Model files; the training record beside one says its family, variant and seed, else its name does."""
    found = []
    for path in paths:
        try:
            record = json.loads(path.with_suffix(".json").read_text())
            found.append(Subject(record["family"], record["variant"], int(record["options"]["seed"]), path))
        except (OSError, ValueError, KeyError, TypeError):
            name, seed = _split_name(path.stem)
            found.append(Subject(name, name, seed, path))
    return tuple(found)


def _split_name(stem: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.+)-seed(\d+)", stem)
    return (match[1], int(match[2])) if match else (stem, 0)


def check_subjects(subjects: Sequence[Subject]) -> None:
    """Every network has a name of its own, and every variant each seed once."""
    for what, keys in (
        ("files are called", [subject.stem for subject in subjects]),
        ("networks are", [f"{subject.variant}, seed {subject.seed}" for subject in subjects]),
    ):
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise OptionError(f"two {what} {twice[0]}; rename one")
