"""How a question is asked: options, validated once where they enter, and whether a model can be asked so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BeforeValidator, PlainSerializer, PlainValidator, TypeAdapter

from bounds.execution_error import ARITHMETICS
from encoders.arrays import FloatArray, IntArray, digest
from encoders.errors import ModelError, OptionError
from encoders.grid import checked_grid
from encoders.input_constraints import InputConstraints, checked_constraints, checked_scale
from encoders.question import CONVEX, Norm
from encoders.validation import PLAIN, NonNegative, Number, Positive, Whole, among, checked, plain, validated
from verifier.engines.registry import ENGINES, PYOMO_PREFIX, check_engine_name
from verifier.question.model import Model
from verifier.question.output_change import DIRECTIONS, EITHER

COUNTS = ("inputs", "pixels")
REAL = "real"
EXECUTIONS = (REAL, *ARITHMETICS)
FARTHEST = 1e30  # sums of squares of larger inputs leave even float64's range in large nets


def _side(value: float) -> float:
    if abs(value) > FARTHEST:
        raise ValueError(f"give a number of at most {FARTHEST:g} in size")
    return value


Side = Annotated[Number, AfterValidator(_side)]
Size = Annotated[Positive, AfterValidator(_side)]


def _several(targets: Any) -> Any:
    """One class alone is a list of one."""
    targets = plain(targets)
    return (targets,) if isinstance(targets, int) else targets


def _each_once(targets: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if targets == ():
        raise ValueError("name at least one class, or leave targets out")
    return None if targets is None else tuple(sorted(set(targets)))


def _device(name: str) -> str:
    if name not in ("auto", "cpu") and not name.startswith("cuda"):
        raise ValueError("choose from auto, cpu, cuda")
    return name


Device = Annotated[str, AfterValidator(_device)]


def _unless_none(check: Callable[[Any], Any]) -> PlainValidator:
    return PlainValidator(lambda given: None if given is None else check(given))


def _constraints_record(constraints: InputConstraints | None) -> str | None:
    return None if constraints is None else constraints.digest


def _grid_record(grid: int | IntArray | FloatArray | None) -> int | str | None:
    return digest(grid) if isinstance(grid, np.ndarray) else grid


@validated
class Options:
    """How a question is asked. Validated once; part of every resume key.

    `execution` says what an adversary is: `real`, an input that the real-valued network of the file's numbers
    classifies otherwise; `float32` or `float64`, the type that the file computes in, one that the file classifies
    otherwise as it is executed, with every rounding on the way (`bounds/execution_error.py`).
    """

    norm: Norm = Norm.LINF
    targets: Annotated[tuple[Whole, ...] | None, PLAIN, BeforeValidator(_several), AfterValidator(_each_once)] = None
    margin: NonNegative = 0.0
    box: Annotated[tuple[Side, Side], PLAIN] = (0.0, 1.0)
    time_limit: Positive | None = None
    tolerance: Positive = 1e-6
    engine: Annotated[str, AfterValidator(check_engine_name)] = "auto"
    device: Device = "auto"
    seed: Whole = 0
    # Levels per unit: of all inputs, or of each. Records hold the digest of an array.
    grid: Annotated[int | IntArray | None, PlainValidator(checked_grid), PlainSerializer(_grid_record)] = None
    count: Annotated[str, among(COUNTS)] = "inputs"  # what L0 counts
    execution: Annotated[str, among(EXECUTIONS)] = REAL
    # The unit that each input's moves are counted in, and A x ≤ b; records hold their digests.
    scale: Annotated[FloatArray | None, _unless_none(checked_scale), PlainSerializer(_grid_record)] = None
    constraints: Annotated[
        InputConstraints | None, _unless_none(checked_constraints), PlainSerializer(_constraints_record)
    ] = None
    # By more than how much an adversary moves an output, instead of another class; which way, and which output.
    change: Size | None = None
    direction: Annotated[str, among(DIRECTIONS)] = EITHER
    output_index: Whole | None = None

    def __post_init__(self) -> None:
        low, high = self.box
        if low > high:
            raise OptionError(f"box {low},{high}: give the lower number first")
        if self.count != "inputs" and self.norm is not Norm.L0:
            raise OptionError(f"count {self.count} is about how many differ: ask for it with norm l0")
        for name in ("scale", "constraints"):
            if getattr(self, name) is not None and (self.grid is not None or self.execution != REAL):
                raise OptionError(f"{name} is for real inputs and real arithmetic: leave out grid and execution")
        if self.scale is not None and self.norm is Norm.L0:
            raise OptionError("scale is the unit of moves, and l0 counts none of them; leave out one of the two")
        if self.change is None and (self.direction != EITHER or self.output_index is not None):
            raise OptionError("direction and output_index are about a change of an output: give change, too")
        if self.change is not None and (self.targets is not None or self.margin):
            raise OptionError("targets and margin are about classes, a change is of an output; leave out one of them")

    def record(self, *names: str) -> dict[str, Any]:
        """What records and resume keys hold of these options; of all, where none is named."""
        held: dict[str, Any] = _OPTIONS.dump_python(self, mode="json", include=set(names) or None)
        return held

    @property
    def plugins(self) -> dict[str, str]:
        """Where the engine comes from, if it is not Plumbline's own."""
        return {} if self.engine.startswith(PYOMO_PREFIX) else ENGINES.origins([self.engine])


_OPTIONS = TypeAdapter(Options)


def check_radius(radius: float | None) -> float | None:
    """A radius that means something, or none."""
    found: float | None = checked("radius", NonNegative | None, radius)
    return found


def checked_radius(radius: float) -> float:
    """A radius where there must be one."""
    found: float = checked("radius", NonNegative, radius)
    return found


def check_model(model: Model, options: Options) -> None:
    """Refuse to ask a model what it has no answer to."""
    if options.change is None:
        model.check_classifier()
    else:
        output_of(model, options)
    check_execution(model, options)


def check_quantised(model: Model, options: Options) -> None:
    """Refuse to ask a quantised network off a grid, or on one that its integers do not know."""
    if model.quantised is None:
        return
    if options.grid is None:
        raise OptionError(f"{model.path}: a quantised network is asked about on a grid: ask with grid N")
    if options.count != "inputs" or not isinstance(options.grid, int | np.integer):
        raise OptionError(
            f"{model.path}: a quantised network takes one N for all inputs, and L0 counts its inputs; "
            "give grid N and leave out count"
        )


def output_of(model: Model, options: Options) -> int:
    """The output whose change is asked about; refused where the scores are not what the file gives."""
    if model.quantised is not None:
        raise OptionError(
            f"{model.path}: the engines of a quantised network know only how classes compare; leave change out"
        )
    if model.threshold is not None:
        raise OptionError(f"{model.path}: a change is of the output as it is; leave threshold out")
    if model.left_out:
        raise ModelError(
            f"{model.path}: a change behind its final {', '.join(model.left_out)} is not piecewise linear; name the "
            "scores before it with output NAME, or export the model without it"
        )
    count, index = model.classes, options.output_index
    if index is None and count > 1:
        raise OptionError(f"{model.path}: it has {count} outputs; say which one with output_index, 0 to {count - 1}")
    if index is not None and not 0 <= index < count:
        raise OptionError(f"output_index {index}: {model.path} has the outputs 0 to {count - 1}")
    return index or 0


def check_execution(model: Model, options: Options) -> None:
    """Refuse to ask about an execution that is not the file's, or that proofs know nothing of."""
    if options.execution == REAL:
        return
    if model.quantised is not None:
        raise OptionError(
            f"{model.path}: a quantised network is answered as it is executed, to the bit; leave out execution"
        )
    own = np.dtype(model.input_type).name
    if options.execution != own:
        raise OptionError(f"{model.path}: it computes in {own}; give execution {own} or leave it out")
    if model.rounded_after:
        raise OptionError(
            f"{model.path}: executed, its final {' and '.join(model.rounded_after)} may make different scores equal; "
            "export it without, or leave out execution"
        )
    if options.grid is not None:
        raise OptionError(
            f"execution {options.execution}: proofs on a grid are about real arithmetic; leave out one of the two"
        )


def check_convex(options: Options) -> None:
    """Attacks and bounds know norms with balls alone."""
    if options.norm not in CONVEX:
        known = ", ".join(CONVEX)
        raise OptionError(f"norm {options.norm}: choose from {known} here (l0 is for distance, verify and attack)")


def check_several(options: Options) -> None:
    """Refuse to ask several networks what they are asked one by one alone."""
    check_convex(options)
    if options.execution != REAL:
        raise OptionError("several networks are asked about in real arithmetic; leave execution out")
    if options.grid is not None:
        raise OptionError("several networks are not asked about on a grid; leave grid out")
    if options.scale is not None or options.constraints is not None:
        raise OptionError("several networks are asked without scale and constraints; leave them out")
    if options.targets is not None:
        raise OptionError("several networks are fooled into any other class; leave targets out")
    if options.change is not None:
        raise OptionError("several networks are not asked for a change of one output; leave change out")
