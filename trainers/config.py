"""A TOML file that names several runs: defaults at the top, one [[runs]] table each, lists where values are swept."""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from encoders.errors import OptionError
from trainers.adversarial import Adversarial
from trainers.augmentation import Augmentation
from trainers.regularisers import Regulariser, parsed, regulariser
from trainers.training import TrainOptions

SCALARS: Mapping[str, type] = {
    "data": str, "train_samples": int, "model": str, "epochs": int, "batch": int, "learning_rate": float, "device": str,
}  # fmt: skip
OTHERS = ("widths", "regularisers", "adversarial", "augmentation", "seeds")


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
    """A whole file: its runs, where they go, and what `plumbline compare` shall do with them."""

    path: Path
    out: Path
    runs: tuple[Run, ...]
    compare: Mapping[str, Any] = field(default_factory=dict)


def read_study(path: Path) -> Study:
    """The study that a TOML file describes; whatever it says wrong is named with the file."""
    try:
        held = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OptionError(f"{path}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: not a TOML file ({error})") from None
    tables, compare = held.pop("runs", None), held.pop("compare", {})
    out = Path(held.pop("out", Path("out") / path.stem))
    if not isinstance(tables, list) or not tables or not isinstance(compare, dict):
        raise OptionError(f"{path}: give each network to train as a [[runs]] table, and the comparison as [compare]")
    try:
        runs = tuple(run for table in tables for run in _expanded(held, table))
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from None
    stems = [run.stem for run in runs]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise OptionError(f"{path}: two runs are called {twice[0]}; give them names of their own")
    return Study(path, out, runs, compare)


def _expanded(defaults: Mapping[str, Any], table: Mapping[str, Any]) -> Iterator[Run]:
    """The runs of one table: every combination of the values that are lists, with every seed."""
    settings = {**defaults, **table}
    chosen = [_as_table(one) for one in settings.pop("regularisers", [])]
    name = settings.pop("name", None) or "+".join(one["name"] for one in chosen) or "none"
    unknown = sorted({*settings} - {*SCALARS, *OTHERS})
    if unknown:
        raise OptionError(f"run {name}: unknown setting {unknown[0]!r}; there are: {', '.join((*SCALARS, *OTHERS))}")
    sweeps = [
        [(one["name"], key, value) for value in values]
        for one in chosen
        for key, values in one.items()
        if isinstance(values, list)
    ]
    adversarial = settings.pop("adversarial", None)
    if isinstance(adversarial, list):
        sweeps.append([("", "adversarial", value) for value in adversarial])
    for combination in itertools.product(*sweeps):
        picked = {(owner, key): value for owner, key, value in combination}
        regularisers = tuple(_built(one, picked) for one in chosen)
        setting = picked.get(("", "adversarial"), adversarial)
        variant = " ".join([name, *(str(value) for value in picked.values())])
        for seed in settings.get("seeds", [0]):
            yield Run(name, variant, _options({**settings, "adversarial": setting}, regularisers, seed))


def _as_table(one: Any) -> dict[str, Any]:
    if isinstance(one, str):
        name, options = parsed(one)
        return {"name": name, **options}
    if not isinstance(one, dict) or not isinstance(one.get("name"), str):
        raise OptionError(f'a regulariser is written as "NAME" or {{ name = "NAME", strength = … }}, not {one!r}')
    return dict(one)


def _built(one: Mapping[str, Any], picked: Mapping[tuple[str, str], Any]) -> Regulariser:
    options = {key: picked.get((one["name"], key), value) for key, value in one.items() if key != "name"}
    return regulariser(one["name"], **options)


def _options(settings: Mapping[str, Any], regularisers: tuple[Regulariser, ...], seed: Any) -> TrainOptions:
    given: dict[str, Any] = {}
    for key, kind in SCALARS.items():
        if key in settings:
            given[key] = _typed(key, settings[key], kind)
    adversarial = settings.get("adversarial")
    return TrainOptions(
        **given,
        widths=tuple(_typed("widths", width, int) for width in settings.get("widths", [])),
        regularisers=regularisers,
        adversarial=None if adversarial is None else Adversarial.parsed(_typed("adversarial", adversarial, str)),
        augmentation=Augmentation.parsed(_typed("augmentation", settings.get("augmentation", ""), str)),
        seed=_typed("seeds", seed, int),
    )


def _typed(key: str, value: Any, kind: type) -> Any:
    accepted = (int, float) if kind is float else kind
    if isinstance(value, bool) or not isinstance(value, accepted):
        raise OptionError(
            f"{key} is {value!r}; give {'a number' if kind is float else f'a value of type {kind.__name__}'}"
        )
    return kind(value)
