"""Is a property of networks satisfied: by an input that replays, by none at all, or is that not known?

sat      a witness in the file's own number type satisfies some case with onnxruntime's outputs, and with the real
         network's as float64 computes them: without tolerance
unsat    it is proven that no input of the real network satisfies any case
timeout  time was up before either
unknown  neither, with time left: what separates both sides lies between float32 and real numbers
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from bounds.attacks import AttackOptions, AttackProblem
from bounds.attacks.box_descent import lowest_in_box
from bounds.device import pick_device
from bounds.propagation.device_graph import DeviceGraph
from bounds.propagation.neuron_bounds import device_graph_for
from encoders.arrays import FloatArray, Inputs
from encoders.deadline import Clock, Deadline, in_time, under
from encoders.properties.property import Part, Property, asked_of, in_float64, parts_of
from encoders.question import Norm, Region
from encoders.validation import Seconds, Whole, validated
from verifier.batching.first_pass_request import FirstPassRequest
from verifier.batching.request import Request, run_alone
from verifier.engines.input_splitting import InputSplitting
from verifier.engines.registry import check_engine_name, engine_for
from verifier.options import Device
from verifier.question.incumbent import Incumbent
from verifier.question.model import Model
from verifier.question.networks import Networks, networks_of
from verifier.question.problem import Problem
from verifier.question.results import Basis, weakest

A = TypeVar("A")
FEW_INPUTS = 16  # that may move: boxes are split then
ROUNDS = 10  # of random points that witnesses are looked for from
ATTACK_SHARE = 0.2  # of the time, at most
NEAR = 1e-6  # relative: rows that may hold are looked at without rounding


class Satisfied(StrEnum):
    """The four answers, in the words of the format's competition."""

    SAT = "sat"
    UNSAT = "unsat"
    TIMEOUT = "timeout"
    UNKNOWN = "unknown"


@validated
class PropertyOptions:
    """How a property is asked about: `time_limit` in seconds, the `engine` for what input splits do not close."""

    time_limit: Seconds | None = None
    engine: Annotated[str, AfterValidator(check_engine_name)] = "search"
    device: Device = "auto"
    seed: Whole = 0


@dataclass(frozen=True, eq=False)
class PropertyResult:
    """The answer; `witness` and its `outputs` (onnxruntime's) where it is sat, the `basis` of the proof where unsat.

    Of several networks, inputs and outputs stand one after the other, in the order in which the property declares them.
    """

    verdict: Satisfied
    seconds: float
    witness: Inputs | None = None
    outputs: FloatArray | None = None
    basis: Basis | None = None
    nodes: int = 0


def check_property(
    model: Model | Mapping[str, Model], asked: Property, options: PropertyOptions | None = None
) -> PropertyResult:
    """Whether some input satisfies the property; models come from `load_network`.

    A property of several networks takes a mapping from their names, without those that are equal to another one.
    """
    options = PropertyOptions() if options is None else options
    networks = networks_of(asked, model)
    clock = Clock()
    deadline = Deadline(options.time_limit, clock)
    nodes, open_, bases = 0, False, {Basis.RIGOROUS}
    parts = in_time(deadline, lambda: parts_of(asked, networks.input_type), None)
    if parts is None:
        return PropertyResult(Satisfied.TIMEOUT, clock.now())
    for part in parts:
        question = _Question(networks, part, options, deadline)
        closed, more, basis = question.answer()
        nodes += more
        best = question.incumbent.best
        if best is not None:
            witness, outputs = best.input[part.places], best.scores[: networks.classes]
            return PropertyResult(Satisfied.SAT, clock.now(), witness, outputs, nodes=nodes)
        open_ = open_ or not closed
        bases.add(basis)
        if deadline.passed and part is not parts[-1]:
            open_ = True
            break
    if not open_:
        return PropertyResult(Satisfied.UNSAT, clock.now(), basis=weakest(bases), nodes=nodes)
    return PropertyResult(Satisfied.TIMEOUT if deadline.passed else Satisfied.UNKNOWN, clock.now(), nodes=nodes)


class _Question:
    """One part being answered."""

    def __init__(self, networks: Networks, part: Part, options: PropertyOptions, deadline: Deadline) -> None:
        networks.check_reach(part.lower[part.places], part.upper[part.places])
        self.options, self.deadline = options, deadline
        self.device = pick_device(options.device)
        self.incumbent = _incumbent(networks, part)
        # Around the same center, so that what is proven and what is found are distances from one point.
        self.region = Region(self.incumbent.region.center, part.lower, part.upper)
        self.whole = any(not case for case in part.rows)  # a case that its box alone satisfies
        if not self.whole:
            built = asked_of(networks.graph(part.places), part)
            self.graph, self.goals, self.cases = built.graph, built.goals, built.cases
        self.ceiling = float(np.nextafter(self.region.reach(Norm.LINF) * (1.0 + 1e-9), np.inf)) + 1e-12

    def answer(self) -> tuple[bool, int, Basis]:
        """Whether no input of the part satisfies a case, the nodes that took, and what it rests on."""
        self.incumbent.offer(self.region.center, "center")
        if self.incumbent.best is not None or self.whole:
            return False, 0, Basis.RIGOROUS
        device_graph = device_graph_for(self.graph, self.device)
        if int((self.region.lower < self.region.upper).sum()) <= FEW_INPUTS:
            return self._split(device_graph)
        ask = FirstPassRequest(device_graph, self.region, Norm.LINF, self.goals, self.ceiling, self.deadline)
        if _answered(ask) >= self.ceiling:
            return True, 0, Basis.RIGOROUS
        self._attack()
        if self.incumbent.best is not None:
            return False, 0, Basis.RIGOROUS
        problem = Problem(
            self.graph, self.region, Norm.LINF, self.goals, self.ceiling, self.ceiling, 1e-6, self.deadline, self.device
        )
        proof = engine_for(self.options.engine).close(problem, self.incumbent, lambda running: None)
        return proof.lower >= self.ceiling, proof.nodes, proof.basis

    def _split(self, device_graph: DeviceGraph) -> tuple[bool, int, Basis]:
        """The same by boxes."""
        splits = in_time(
            self.deadline,
            lambda: InputSplitting.on(device_graph, self.cases, self.region, self.incumbent, self.options.seed),
            None,
        )
        if splits is None:
            return False, 0, Basis.RIGOROUS
        return splits.run(self.deadline), splits.visited, Basis.RIGOROUS

    def _attack(self) -> None:
        """Look for a witness anywhere in the box."""
        settings = AttackOptions(seed=self.options.seed, time_limit=_share(ATTACK_SHARE, self.deadline))
        device_graph = device_graph_for(self.graph, self.device)
        problem = AttackProblem(device_graph, self.region, Norm.LINF, self.goals, self.ceiling, settings)
        with under(self.deadline):
            found = lowest_in_box(problem, ROUNDS)
        if len(found.inputs):
            self.incumbent.offer(found.inputs, "box-descent")


def _share(share: float, deadline: Deadline) -> float | None:
    return None if deadline.left == float("inf") else share * deadline.left


def _answered(request: Request[A]) -> A:
    """One request by itself."""

    async def asking() -> A:
        return await request

    return run_alone(asking())


def _incumbent(networks: Networks, part: Part) -> Incumbent:
    """An empty incumbent: what counts satisfies the property in onnxruntime and in real numbers, without tolerance."""
    count, size = networks.classes, len(part.lower)
    least, greatest = part.inner
    region = Region(np.clip(least + 0.5 * (greatest - least), least, greatest), least, greatest)
    rows = np.zeros((sum(map(len, part.rows)), count + size))
    constants = np.zeros(len(rows))
    for number, row in enumerate(row for case in part.rows for row in case):
        for start, terms in ((0, row.outputs), (count, row.inputs)):
            for place, weight in terms.items():
                rows[number, start + place] = in_float64(weight)
        constants[number] = in_float64(row.constant)
    starts = np.cumsum([0, *map(len, part.rows)])[:-1]

    def wins(both: FloatArray) -> NDArray[np.bool_]:
        """Of [B, outputs and inputs], what may hold in floats is looked at in fractions."""
        slack = NEAR * (np.abs(both) @ np.abs(rows).T + np.abs(constants))
        if any(not case for case in part.rows):
            may: NDArray[np.bool_] = np.ones(len(both), dtype=bool)
        else:
            may = np.asarray(np.logical_and.reduceat(both @ rows.T + constants <= slack, starts, axis=1).any(axis=1))
        return np.array(
            [bool(m) and part.satisfied(one[count:], one[:count]) for m, one in zip(may, both, strict=True)]
        )

    def replay(inputs: Inputs) -> FloatArray:
        return np.concatenate([networks.scores(inputs[:, part.places]), np.asarray(inputs, dtype=np.float64)], axis=1)

    def real(inputs: FloatArray) -> FloatArray:
        return np.concatenate([networks.real(inputs[:, part.places]), inputs], axis=1)

    return Incumbent(region, Norm.LINF, replay=replay, real=real, wins=wins, type=networks.input_type)
