"""The table of regularisers: a new one is a class and a line here, or a plugin (`plumbline.regularisers`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from encoders.errors import OptionError
from encoders.plugins import PLACE, Table
from encoders.validation import built
from trainers.regularisers.base import Batch as Batch
from trainers.regularisers.base import Regulariser as Regulariser
from trainers.regularisers.certified_training import CrownIntervalTraining, IntervalTraining, ReluStability
from trainers.regularisers.cross_lipschitz import CrossLipschitz, MarginCrossLipschitz
from trainers.regularisers.maximum_margin import MaximumMargin, UniversalMaximumMargin
from trainers.regularisers.plain import Dropout, Nothing, WeightDecay, WeightSparsity

KINDS: Mapping[str, type[Regulariser]] = {
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
REGULARISERS: Table[type[Regulariser]] = Table("plumbline.regularisers", "regulariser", Regulariser, KINDS)


def regulariser(name: str, **options: Any) -> Regulariser:
    """A regulariser by name; options not given keep their defaults."""
    return built(f"regulariser {name}", REGULARISERS.found(name), options)


def as_table(chosen: Any) -> dict[str, Any]:
    """A regulariser as a config names it, as a table of its name and options."""
    if isinstance(chosen, str):
        name, options = parsed(chosen)
        return {"name": name, **options}
    if not isinstance(chosen, dict) or not isinstance(chosen.get("name"), str):
        raise OptionError(f'a regulariser is written as "NAME" or {{ name = "NAME", strength = … }}, not {chosen!r}')
    return dict(chosen)


def from_config(chosen: Any) -> Regulariser:
    """A regulariser that is one, or as a config names it."""
    return chosen if isinstance(chosen, Regulariser) else regulariser(**as_table(chosen))


def described(chosen: Regulariser) -> dict[str, Any]:
    """Name and options, as a training record holds them."""
    return {"name": chosen.name, **asdict(chosen)}


def parsed(text: str) -> tuple[str, dict[str, Any]]:
    """`mmr:norm=l2,decision_reach=0.2` as a name, which may be of the form module:Name, and its options."""
    place = re.match(rf"({PLACE.pattern})(?=:|$)", text)
    first = text.partition(":")[0]
    name = place[0] if place and first not in REGULARISERS else first
    rest = text[len(name) + 1 :]
    options: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise OptionError(f"regulariser {text!r}: write options as NAME:option=value,option=value")
        options[key.strip()] = _number(value.strip())
    return name, options


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text
