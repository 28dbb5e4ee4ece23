"""A device beside the CPU, on a machine that has none: its tensors say that they are on a GPU, and lie on the CPU.

Mixing the two raises where CUDA raises: what runs here without an error asks for its tensors where they belong. Numbers
are the CPU's. It cannot show what a GPU does otherwise: operators that it lacks, rounding, memory, speed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

OTHER = torch.device("cuda:0")
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
        made = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride() if strided else None,
            storage_offset=held.storage_offset() if strided else None,
            dtype=held.dtype,
            device=INSIDE,
        )
        made.held = held
        assert isinstance(made, OtherTensor)
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


def run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """One operator on what its tensors hold; the results are where CUDA would leave them."""
    given: list[Tensor] = []

    def noted(tensor: Tensor) -> Tensor:
        given.append(tensor)
        return held(tensor)

    inside = changed((args, kwargs), noted)
    there = any(isinstance(each, OtherTensor) for each in given)
    if there:
        check(func, args, given)
    if kwargs.get("device") is not None:
        there = kwargs["device"] == INSIDE
        inside[1]["device"] = torch.device("cpu")
    if there and torch.Tag.inplace_view in func.tags:
        with no_dispatch():
            func(*args, **kwargs)  # the shape that is shown changes with that of what is held
    found = func(*inside[0], **inside[1])
    same = {id(held(each)): each for each in given}  # what an operator changes in place is what it was given
    place = OtherTensor if there else held
    return changed(found, lambda tensor: same[id(tensor)] if id(tensor) in same else place(tensor))


def changed(values: Any, change: Callable[[Tensor], Any]) -> Any:
    """Nested values with every tensor changed."""
    if isinstance(values, Tensor):
        return change(values)
    if isinstance(values, list | tuple):
        return type(values)([changed(each, change) for each in values])
    return {name: changed(each, change) for name, each in values.items()} if isinstance(values, dict) else values


def held(tensor: Tensor) -> Tensor:
    return tensor.held if isinstance(tensor, OtherTensor) else tensor


def check(func: Any, args: tuple[Any, ...], tensors: list[Tensor]) -> None:
    """Raise where an operator of CUDA would, some of whose tensors are on the other device."""
    name = func._schema.name.removeprefix("aten::")
    if name in COPIES:
        return
    first = args[0] if args and isinstance(args[0], Tensor) else None
    if name in INDEXED:  # by indices of the CPU, too
        tensors = [tensors[0], *(each for each in args[2:] if isinstance(each, Tensor) and each.dim())]
    elif torch.Tag.pointwise in func.tags or name in FILLED:  # with numbers of the CPU, too, but never into them
        kept = first if func._schema.is_mutable else None
        tensors = [each for each in tensors if each.dim() or each is kept]
    if any(not isinstance(each, OtherTensor) for each in tensors):
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, but some are on {OTHER}, some not")


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """What is decided before there is an operator: where new tensors go, and what leaves torch."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        first = args[0] if args else None
        if isinstance(first, OtherTensor) and func in (Tensor.numpy, Tensor.__array__):
            raise TypeError(f"can't convert {OTHER} device type tensor to numpy")
        if isinstance(first, OtherTensor) and func is Tensor.tolist:
            return first.held.tolist()
        if isinstance(first, OtherTensor) and func is Tensor.new_tensor:
            return first.held.new_tensor(*args[1:], **kwargs).to(INSIDE)
        if func is Tensor.to:
            args = tuple(INSIDE if is_other(each) else each for each in args)
            kwargs = {name: INSIDE if is_other(each) else each for name, each in kwargs.items()}
            return func(*args, **kwargs)
        if is_other(kwargs.get("device")):
            del kwargs["device"]
            return func(*args, **kwargs).to(INSIDE)
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
