"""A TOML file that names several runs: defaults at the top, one [[runs]] table each, lists where values are swept."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from annotated_types import MinLen

from encoders.errors import OptionError, PlumblineError
from encoders.validation import NonNegative, Whole, built, checked, names_of, refuse_unknown
from trainers.regularisers import as_table
from trainers.training import TrainOptions
from trainers.validation_split import Validation

OF_ALL_RUNS = ("seed", "validation")
SETTINGS = ("name", *(name for name in names_of(TrainOptions) if name not in OF_ALL_RUNS), "seeds")
SWEPT = ("adversarial", "augmentation")  # besides every option of a regulariser: a list of them is a sweep
Seeds = Annotated[list[Whole], MinLen(1)]


@dataclass(frozen=True)
class Run:
    """One network to train. `family` is the run's name in the file; `variant` adds the values of what is swept."""

    family: str
    variant: str
    options: TrainOptions

    @property
    def stem(self) -> str:
        """The name of its files."""
        return f"{re.sub(r'[^A-Za-z0-9.+-]+', '-', self.variant)}-seed{self.options.seed}"


@dataclass(frozen=True)
class Study:
    """A whole file: its runs, where they go, and what `plumbline compare` shall do with them.

    `cost`: how much validation accuracy a stronger variant of a family may lose and still be chosen.
    """

    path: Path
    out: Path
    runs: tuple[Run, ...]
    compare: Mapping[str, Any] = field(default_factory=dict)
    validation: Validation | None = None
    cost: float = 0.0


def read_study(path: Path) -> Study:
    """The study that a TOML file describes; whatever it says wrong is named with the file."""
    try:
        held = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OptionError(f"{path}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: not a TOML file ({error})") from None
    tables, compare = held.pop("runs", None), held.pop("compare", {})
    if not isinstance(tables, list) or not tables or not isinstance(compare, dict):
        raise OptionError(f"{path}: give each network to train as a [[runs]] table, and the comparison as [compare]")
    try:
        out = Path(checked("out", str, held.pop("out", f"out/{path.stem}")))
        validation, cost = _validation(held.pop("validation", None))
        runs = tuple(run for table in tables for run in _expanded({**held, **checked("runs", dict, table)}, validation))
    except PlumblineError as error:
        raise type(error)(f"{path}: {error}") from None
    stems = [run.stem for run in runs]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise OptionError(f"{path}: two runs are called {twice[0]}; give them names of their own")
    return Study(path, out, runs, compare, validation, cost)


def _validation(table: Any) -> tuple[Validation | None, float]:
    """The [validation] table: the split, and what a choice by it may cost."""
    if table is None:
        return None, 0.0
    settings = dict(checked("validation", dict, table))
    cost = checked("validation.cost", NonNegative, settings.pop("cost", 0.0))
    if "share" not in settings:
        raise OptionError("validation: give the share of the training samples to set aside, such as share = 0.2")
    return built("validation", Validation, settings), cost


def _expanded(settings: dict[str, Any], validation: Validation | None) -> Iterator[Run]:
    """The runs of one table: every combination of the values that are lists, with every seed."""
    for key in settings:
        refuse_unknown(key, SETTINGS)
    chosen = [as_table(one) for one in checked("regularisers", list, settings.pop("regularisers", []))]
    name = checked("name", str, settings.pop("name", "+".join(one["name"] for one in chosen) or "none"))
    seeds = checked("seeds", Seeds, settings.pop("seeds", [0]))
    sweeps = [
        [(one["name"], key, value) for value in values]
        for one in chosen
        for key, values in one.items()
        if isinstance(values, list)
    ]
    for key in SWEPT:
        if isinstance(settings.get(key), list):
            sweeps.append([("", key, value) for value in settings.pop(key)])
    if not all(sweeps):
        raise OptionError(f"run {name}: a list of values is empty; give at least one")
    for combination in itertools.product(*sweeps):
        picked = {(owner, key): value for owner, key, value in combination}
        regularisers: Any = [{key: picked.get((one["name"], key), one[key]) for key in one} for one in chosen]
        own = {key: value for (owner, key), value in picked.items() if not owner}
        variant = " ".join([name, *(str(value) for value in picked.values())])
        for seed in seeds:
            options = TrainOptions(**settings, **own, regularisers=regularisers, seed=seed, validation=validation)
            yield Run(name, variant, options)
