"""Tables of parts that others can add to without editing the package: entry points, and `module:Name`.

A distribution offers a part under a name of its own, as an entry point of the table's group; a class in any module that
Python can import is named by where it is. Either is held to the table's base class, whose outer methods, those marked
final, keep it honest: a part that overrides one of them is refused. What the table holds itself is never replaced.
Parts travel between processes as names, and each process looks them up for itself.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import Any, TypeVar, cast

from encoders.errors import OptionError

T = TypeVar("T")
PLACE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")  # module:Name


class Table(dict[str, T]):
    """The parts of one kind that Plumbline has, by name; `found` knows those of others too.

    `word` is what errors call a part. `base` is the class that a part has to be a subclass of, or, where parts are no
    classes, an instance of. `reserved` are names that mean something without being a part, `renamed` names that parts
    once had, each with the one that it has now.
    """

    def __init__(
        self,
        group: str,
        word: str,
        base: type,
        parts: Mapping[str, T],
        reserved: Iterable[str] = (),
        renamed: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(parts)
        self.renamed = renamed or {}
        self.group, self.word, self.base, self.reserved = group, word, base, tuple(reserved)

    def found(self, name: str, *others: str) -> T:
        """The part of that name; a name that there is none of, or that names no such part, is refused.

        `others` are further names that the caller knows, for the refusal to tell.
        """
        offered = self._offered()
        if name in self:
            return self[name]
        if name in offered or PLACE.fullmatch(name):
            return self._checked(name, _loaded(offered.get(name, EntryPoint(name, name, self.group))))
        if name in self.renamed:
            raise OptionError(f"{self.word} {name!r} is called {self.renamed[name]} now")
        raise OptionError(f"{self.word} {name!r}: choose from {', '.join([*self.names(), *others])}, or module:Name")

    def check(self, name: str, *others: str) -> str:
        """The name itself, where there is such a part."""
        self.found(name, *others)
        return name

    def names(self) -> list[str]:
        """All names, those of installed plugins last."""
        return [*self, *self._offered()]

    def origins(self, names: Iterable[str]) -> dict[str, str]:
        """Where those come from that are not Plumbline's own: `distribution version`, or the digest of a file."""
        others = [name for name in names if name not in self and name not in self.reserved]
        offered = self._offered() if others else {}
        return {name: _origin(name, offered.get(name)) for name in others if name in offered or PLACE.fullmatch(name)}

    def origins_of(self, kinds: Iterable[type]) -> dict[str, str]:
        """The same of classes, by where they are defined."""
        others = [f"{kind.__module__}:{kind.__qualname__}" for kind in kinds if kind not in self.values()]
        offered = {point.value: point for point in self._offered().values()} if others else {}
        return {place: _origin(place, offered.get(place)) for place in others}

    def _offered(self) -> dict[str, EntryPoint]:
        offered: dict[str, EntryPoint] = {}
        for point in _installed(self.group, tuple(sys.path)):
            what = f"{self.word} {point.name!r} ({self.group}, from {_origin(point.name, point)})"
            if point.name in self or point.name in self.reserved:
                raise OptionError(f"{what} has a name of Plumbline's own; uninstall it, or have it renamed")
            if offered.setdefault(point.name, point).value != point.value:
                raise OptionError(f"{what} has the name of another plugin; uninstall one of the two")
        return offered

    def _checked(self, name: str, part: Any) -> T:
        what = f"{self.word} {name!r} ({self.group})"
        kind = part if isinstance(part, type) else type(part)
        if not issubclass(kind, self.base):
            raise OptionError(f"{what} is no {self.base.__name__}; derive it from {self.base.__module__}")
        for method, own in vars(self.base).items():
            if getattr(own, "__final__", False) and getattr(kind, method) is not own:
                raise OptionError(f"{what} overrides {method}, which {self.base.__name__} keeps to itself")
        called = getattr(part, "name", name)
        if not isinstance(called, str) or called in self or called in self.reserved:
            raise OptionError(f"{what} calls itself {called!r}; give it a name that is not Plumbline's own")
        return cast(T, part)


@cache
def _installed(group: str, path: tuple[str, ...]) -> EntryPoints:
    """The group's entry points on the path; read once for each."""
    del path
    return entry_points(group=group)


def _loaded(point: EntryPoint) -> Any:
    """What an entry point holds; modules in the current folder are found as well, if nowhere else."""
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.append(folder)  # workers inherit it
    try:
        return point.load()
    except Exception as error:  # whatever a module of somebody else's may raise
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise OptionError(f"{point.name!r} ({point.group}) cannot be imported from {point.value} ({told})") from error


@cache
def _origin(name: str, point: EntryPoint | None) -> str:
    if point is not None and point.dist is not None:
        return f"{point.dist.name} {point.dist.version}"
    file = getattr(import_module(name.partition(":")[0]), "__file__", None)
    return "sha256:" + hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16] if file else "unknown"


def taking_part(**found: Mapping[str, str]) -> dict[str, Any]:
    """The entry `plugins` of a record, by kind of part; none where all parts were Plumbline's own."""
    taken = {kind: dict(origins) for kind, origins in found.items() if origins}
    return {"plugins": taken} if taken else {}
