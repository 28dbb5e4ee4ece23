"""Which variants of each family go on: chosen by accuracy on the validation split, never on the test split."""

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
    """One family: its variants in the order of the file with their mean validation accuracies, and those chosen.

    `variant` is chosen beside its own family, `matched` beside the baseline; there is none where all cost more.
    """

    family: str
    accuracies: Mapping[str, float]
    variant: str
    matched: str | None = None


def choices(study: Study, folder: Path | None = None, baseline: str = "") -> tuple[Choice, ...]:
    """For each family the last variant whose accuracy, a mean over seeds, is within `cost` of the family's best.

    Sweeps are written from weak to strong, so that this is the strongest that costs no more. `matched` is the last one
    within `cost` of the best of the family called `baseline`.
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
    means = {family: {name: fmean(one) for name, one in variants.items()} for family, variants in held.items()}
    for family, accuracies in means.items():
        variant = _last_within(accuracies, max(accuracies.values()) - study.cost)
        beside = max(means.get(baseline, {}).values(), default=None)
        matched = None if beside is None else _last_within(accuracies, beside - study.cost)
        found.append(Choice(family, accuracies, str(variant), matched))
    return tuple(found)


def _last_within(accuracies: dict[str, float], enough: float) -> str | None:
    return next((name for name, mean in reversed(accuracies.items()) if mean >= enough - 1e-12), None)
