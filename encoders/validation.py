"""Options checked where they enter: classes whose fields say what they may be, and refusals of one line.

Pydantic does the checking. Its errors, several lines about all inputs at once, become one `OptionError` about the
first: the option, what was given, and what it may be.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, fields
from difflib import get_close_matches
from functools import cache, wraps
from typing import Annotated, Any, TypeVar, dataclass_transform, get_type_hints

import numpy as np
from annotated_types import Ge, Gt, Lt
from pydantic import (
    AfterValidator,
    AllowInfNan,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    Strict,
    TypeAdapter,
    ValidationError,
)
from pydantic.dataclasses import dataclass as checked_dataclass

from encoders.errors import OptionError, PlumblineError
from encoders.question import Norm, convex_norm

T = TypeVar("T")


def plain(value: Any) -> Any:
    """Numbers and lists of numpy's and torch's as Python's own."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) or hasattr(value, "detach") else value


PLAIN = BeforeValidator(plain)
Whole = Annotated[int, Strict(), PLAIN]
NaturalWithZero = Annotated[int, Strict(), Ge(0), PLAIN]
Natural = Annotated[int, Strict(), Ge(1), PLAIN]
Number = Annotated[float, Strict(), AllowInfNan(False), PLAIN]
NonNegative = Annotated[float, Strict(), AllowInfNan(False), Ge(0), PLAIN]
Seconds = Annotated[float, Strict(), Ge(0), PLAIN]  # or inf
Positive = Annotated[float, Strict(), AllowInfNan(False), Gt(0), PLAIN]
Level = Annotated[float, Strict(), Gt(0), Lt(1), PLAIN]  # of confidence
ConvexNorm = Annotated[Norm, PlainValidator(convex_norm)]

WORDS = {
    "Input should be": "it should be", "a valid integer": "a whole number", "a valid number": "a number",
    "a valid string": "a text", "a valid tuple": "a list", "a valid list": "a list", "a valid dictionary": "a table",
    "Tuple should have": "it should have", " after validation": "",
}  # fmt: skip


def among(names: Iterable[str]) -> AfterValidator:
    """One of these names."""
    known = tuple(names)

    def checked_name(name: str) -> str:
        if name not in known:
            raise ValueError(f"choose from {', '.join(known)}")
        return name

    return AfterValidator(checked_name)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def validated(kind: type[T]) -> type[T]:
    """A frozen dataclass whose fields are checked by their annotations; what they may not be is an OptionError."""
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    made: Any = checked_dataclass(kind, frozen=True, config=config)
    plain: Callable[..., None] = made.__init__

    @wraps(plain)
    def refusing(self: Any, *arguments: Any, **options: Any) -> None:
        try:
            plain(self, *arguments, **options)
        except ValidationError as error:
            raise _refusal(error, names_of(made)) from None

    made.__init__ = refusing
    found: type[T] = made
    return found


def checked(key: str, kind: Any, value: Any, strict: bool | None = None) -> Any:
    """One value, as `kind` has it; refused under the name `key`. `strict`: no list for a tuple, no text for a norm."""
    try:
        return _adapter(kind).validate_python(value, strict=strict)
    except ValidationError as error:
        raise _refusal(error, (), key) from None


def built(what: str, kind: type[T], options: Mapping[str, Any]) -> T:
    """A dataclass from a table of options, each of the type that its field declares: no text for a number."""
    known, types = names_of(kind), get_type_hints(kind, include_extras=True)
    try:
        for key in options:
            refuse_unknown(key, known)
        checked_options = {key: checked(key, types[key], value, strict=True) for key, value in options.items()}
    except OptionError as error:
        raise OptionError(f"{what}: {error}") from None
    return kind(**checked_options)


def names_of(kind: Any) -> tuple[str, ...]:
    """The options of a class: its fields."""
    return tuple(one.name for one in fields(kind) if one.init)


def refuse_unknown(key: str, known: Iterable[str]) -> None:
    """An option that there is none of is refused with those that there are."""
    names = tuple(known)
    if key in names:
        return
    like = get_close_matches(key, names, 1)
    meant = f"did you mean {like[0]}? " if like else ""
    raise OptionError(f"option {key!r}: {meant}choose from {', '.join(names)}")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _refusal(error: ValidationError, known: tuple[str, ...], key: str = "") -> PlumblineError:
    """The first of pydantic's complaints in one line; one that is a line of ours already stays as it is."""
    first = error.errors(include_url=False)[0]
    told, place, given = first["msg"], list(first["loc"]), first["input"]
    context = first.get("ctx", {})
    cause = context.get("error")
    if isinstance(cause, PlumblineError):
        return cause
    if first["type"] == "unexpected_keyword_argument":
        try:
            refuse_unknown(str(place[0]), known)
        except OptionError as refused:
            return refused
    if place[-1:] == ["[key]"]:
        place = place[:-2]
    if first["type"] == "missing":
        *place, absent = place
        told = f"entry {absent} is missing"
    if place and isinstance(place[0], int) and place[0] < len(known):  # given by position
        place[0] = known[place[0]]
    if isinstance(cause, ValueError):
        told = str(cause)
    elif "expected" in context:
        told = f"choose from {context['expected'].replace(' or ', ', ')}".replace("'", "")
    for theirs, ours in WORDS.items():
        told = told.replace(theirs, ours)
    name = key + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return OptionError(f"{name.removeprefix('.')} {' '.join(_short.repr(given).split())}: {told}")


_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80
