"""The table of regularisers: a new one is a class and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from encoders.errors import OptionError
from trainers.regularisers.base import Batch as Batch
from trainers.regularisers.base import Regulariser as Regulariser
from trainers.regularisers.certified_training import CrownIntervalTraining, IntervalTraining, ReluStability
from trainers.regularisers.cross_lipschitz import CrossLipschitz, MarginCrossLipschitz
from trainers.regularisers.maximum_margin import MaximumMargin, UniversalMaximumMargin
from trainers.regularisers.plain import Dropout, Nothing, WeightDecay, WeightSparsity

REGULARISERS: Mapping[str, type[Regulariser]] = {
    kind.name: kind
    for kind in (
        Nothing,
        WeightDecay,
        WeightSparsity,
        Dropout,
        CrossLipschitz,
        MarginCrossLipschitz,
        MaximumMargin,
        UniversalMaximumMargin,
        ReluStability,
        IntervalTraining,
        CrownIntervalTraining,
    )
}


def regulariser(name: str, **options: Any) -> Regulariser:
    """A regulariser by name; options not given keep their defaults."""
    if name not in REGULARISERS:
        raise OptionError(f"no regulariser is called {name!r}; there are: {', '.join(REGULARISERS)}")
    kind = REGULARISERS[name]
    known = {field.name: field for field in fields(kind)}
    for key, value in options.items():
        if key not in known:
            raise OptionError(f"regulariser {name} has no option {key!r}; it has: {', '.join(known)}")
        if isinstance(known[key].default, float):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise OptionError(f"regulariser {name}: {key} is {value!r}; give a number")
            options[key] = float(value)
    return kind(**options)


def described(chosen: Regulariser) -> dict[str, Any]:
    """Name and options, as a training record holds them."""
    return {"name": chosen.name, **asdict(chosen)}


def parsed(text: str) -> tuple[str, dict[str, Any]]:
    """`mmr:norm=l2,decision_reach=0.2` as a name and its options."""
    name, _, rest = text.partition(":")
    options: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise OptionError(f"regulariser {text!r}: write options as NAME:option=value,option=value")
        try:
            options[key.strip()] = float(value)
        except ValueError:
            options[key.strip()] = value.strip()
    return name, options
