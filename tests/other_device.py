"""A device beside the CPU, on a machine that has none: its tensors say that they are on a GPU, and lie on the CPU.

Mixing the two raises where CUDA raises: what runs here without an error asks for its tensors where they belong. Numbers
are the CPU's. It cannot show what a GPU does otherwise: operators that it lacks, rounding, memory, speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

OTHER = torch.device("cuda:0")
CPU = torch.device("cpu")
INSIDE = torch.device("meta")  # what torch's own code takes the device for: one that needs no driver
INDEXED = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")
COPIES = ("copy_", "_to_copy")
FILLED = ("masked_fill", "masked_fill_")


class OtherTensor(Tensor):
    """A tensor on the other device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OtherTensor:
        strided = held.layout is torch.strided
        made: OtherTensor = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride() if strided else None,
            storage_offset=held.storage_offset() if strided else None,
            dtype=held.dtype,
            device=INSIDE,
        )
        made.held = held
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return OTHER

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return run(func, args, kwargs or {})


class Scalars(Enum):
    """Where an operator takes a number of the CPU beside tensors of the other device."""

    NOWHERE = 0
    BESIDE = 1  # never as what is written into
    AS_INDICES = 2  # and indices of any shape
    ANYWHERE = 3  # it copies between the two


@dataclass(frozen=True)
class Operator:
    """What is asked of an operator each time it runs: torch takes longer to say it than to run it on a small tensor."""

    name: str
    scalars: Scalars
    writes: bool
    reshapes: bool

    @staticmethod
    @cache
    def of(func: Any) -> Operator:
        name = func._schema.name.removeprefix("aten::")
        if name in COPIES:
            scalars = Scalars.ANYWHERE
        elif name in INDEXED:
            scalars = Scalars.AS_INDICES
        else:
            beside = torch.Tag.pointwise in func.tags or name in FILLED
            scalars = Scalars.BESIDE if beside else Scalars.NOWHERE
        return Operator(name, scalars, func._schema.is_mutable, torch.Tag.inplace_view in func.tags)

    def check(self, args: tuple[Any, ...], tensors: list[Tensor]) -> None:
        """Raise where CUDA would, some of the tensors being on the other device."""
        if self.scalars is Scalars.ANYWHERE:
            return
        if self.scalars is Scalars.AS_INDICES:
            tensors = [tensors[0], *(each for each in args[2:] if isinstance(each, Tensor) and each.dim())]
        for each in tensors:
            if isinstance(each, OtherTensor):
                continue
            if self.scalars is Scalars.BESIDE and not each.dim() and not (self.writes and each is args[0]):
                continue
            raise RuntimeError(
                f"{self.name}: expected all tensors to be on the same device, but some are on {OTHER}, some not"
            )


def run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """One operator on what its tensors hold; the results are where CUDA would leave them."""
    given: list[Tensor] = []
    inside = tuple([opened(each, given) for each in args])
    named = {name: opened(each, given) for name, each in kwargs.items()} if kwargs else kwargs
    there = any(isinstance(each, OtherTensor) for each in given)
    if there:
        operator = Operator.of(func)
        operator.check(args, given)
        if operator.reshapes:
            with no_dispatch():
                func(*args, **kwargs)  # the shape that is shown changes with that of what is held
    if named.get("device") is not None:
        there = named["device"] == INSIDE
        named["device"] = CPU
    found = func(*inside, **named)
    return placed(found, given, there)


def opened(value: Any, given: list[Tensor]) -> Any:
    """An argument with what its tensors hold in their place; the tensors themselves are added to those given."""
    if isinstance(value, Tensor):
        given.append(value)
        return held(value)
    if isinstance(value, list | tuple):
        return type(value)([opened(each, given) for each in value])
    return value


def placed(found: Any, given: list[Tensor], there: bool) -> Any:
    """A result with its tensors on the device they belong to; what was changed in place is what was given."""
    if isinstance(found, Tensor):
        for each in given:
            if found is held(each):
                return each
        return OtherTensor(found) if there else found
    if isinstance(found, list | tuple):
        return type(found)([placed(each, given, there) for each in found])
    return found


def held(tensor: Tensor) -> Tensor:
    return tensor.held if isinstance(tensor, OtherTensor) else tensor


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No compiler is about: keeping it off, which torch does at each call anew, would take as long as the rest."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """What is decided before there is an operator: where new tensors go, and what leaves torch."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if args and isinstance(args[0], OtherTensor):
            if func in (Tensor.numpy, Tensor.__array__):
                raise TypeError(f"can't convert {OTHER} device type tensor to numpy")
            if func is Tensor.tolist:
                return args[0].held.tolist()
            if func is Tensor.new_tensor:
                return args[0].held.new_tensor(*args[1:], **kwargs).to(INSIDE)
        if func is Tensor.to:
            args = tuple(INSIDE if is_other(each) else each for each in args)
            kwargs = {name: INSIDE if is_other(each) else each for name, each in kwargs.items()}
            return func(*args, **kwargs)
        if kwargs and is_other(kwargs.get("device")):
            elsewhere = {name: each for name, each in kwargs.items() if name != "device"}
            return func(*args, **elsewhere).to(INSIDE)
        return func(*args, **kwargs)


def is_other(device: object) -> bool:
    """Whether that is a name of the other device."""
    return isinstance(device, str | torch.device) and torch.device(device).type == OTHER.type


@contextmanager
def other_device() -> Iterator[str]:
    """There is another device while this lasts: its name."""
    operators: Any = _Operators  # torch gives its modes no types
    with patch("torch.cuda.is_available", return_value=True), operators(), _Functions():
        yield OTHER.type
