"""Which variant of each family goes on: chosen by accuracy on the validation split, never on the test split."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from encoders.errors import ModelError
from trainers.config import Study


@dataclass(frozen=True)
class Choice:
    """One family: its variants in the order of the file with their mean validation accuracies, and the one chosen."""

    family: str
    accuracies: Mapping[str, float]
    variant: str


def choices(study: Study, folder: Path | None = None) -> tuple[Choice, ...]:
    """For each family the last variant whose accuracy, a mean over seeds, is within `cost` of the family's best.

    Sweeps are written from weak to strong, so that this is the strongest that costs no more.
    """
    held: dict[str, dict[str, list[float]]] = {}
    for run in study.runs:
        path = (folder or study.out) / f"{run.stem}.json"
        try:
            accuracy = float(json.loads(path.read_text())["validation_accuracy"])
        except (OSError, ValueError, KeyError, TypeError):
            raise ModelError(f"{path}: no validation accuracy; run: plumbline train {study.path}") from None
        held.setdefault(run.family, {}).setdefault(run.variant, []).append(accuracy)
    found = []
    for family, variants in held.items():
        accuracies = {variant: fmean(values) for variant, values in variants.items()}
        enough = max(accuracies.values()) - study.cost - 1e-12
        found.append(Choice(family, accuracies, [name for name, mean in accuracies.items() if mean >= enough][-1]))
    return tuple(found)
