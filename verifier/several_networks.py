"""Questions about several networks at once, or one network at several inputs: exact transfer, universal perturbations,
and the greatest difference of two networks. Side by side they are one network, and every engine is as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.attacks import AttackOptions, AttackProblem
from bounds.attacks.portfolio import polished
from bounds.device import pick_device
from bounds.propagation.neuron_bounds import device_graph_for
from encoders.arrays import FloatArray, Inputs, InputType
from encoders.deadline import Clock, Deadline, under
from encoders.errors import DataError, OptionError
from encoders.layer_graph.beside import beside, with_leads
from encoders.layer_graph.graph import Graph
from encoders.question import Goal, Norm, Region
from verifier.batching.attack_request import AttackRequest
from verifier.batching.request import run_alone
from verifier.engines.registry import engine_for
from verifier.greatest_value import GreatestValue
from verifier.options import REAL, Options, check_convex, check_radius
from verifier.question.incumbent import Incumbent, round_into_box
from verifier.question.model import Model, load
from verifier.question.problem import Problem, Progress
from verifier.question.results import Adversary, Basis, Verdict, check_sandwich, meet
from verifier.regions import region_for

ATTACK_SHARE = 0.3  # of the time, at most
OFFERED = 32
MOST_GOALS = 100  # combinations of targets that are asked one by one; beyond, maxima are made part of the network


@dataclass(frozen=True, eq=False)
class JointDistance:
    """The least perturbation that fools all: lower ≤ exact ≤ upper; `perturbation` attains `upper`.

    `classes` are those of the unperturbed inputs, `fooled` what the networks read instead. A `witness` holds the
    perturbed inputs as they were replayed, one for each.
    """

    norm: Norm
    verdict: Verdict
    lower: float
    upper: float
    basis: Basis
    engine: str
    seconds: float
    classes: tuple[int, ...]
    fooled: tuple[int, ...] | None = None
    perturbation: FloatArray | None = None
    witness: tuple[Inputs, ...] | None = None
    nodes: int = 0
    open_phases: int = 0

    def __post_init__(self) -> None:
        check_sandwich(self.lower, self.upper, self.norm)


@dataclass(frozen=True, eq=False)
class GreatestDifference:
    """lower ≤ greatest abs(f_j - g_j) ≤ upper, over the ball and all outputs j; `lower` is attained at `worst`."""

    norm: Norm
    radius: float | None
    verdict: Verdict
    lower: float
    upper: float
    basis: Basis
    seconds: float
    output: int | None
    worst: Adversary | None
    nodes: int = 0


@dataclass(frozen=True, eq=False)
class SideBySide:
    """Networks that read one input: what an engine asks of a model.

    With `regions`, one for each, the input is a perturbation, and each network reads its own sample plus that.
    """

    models: tuple[Model, ...]
    regions: tuple[Region, ...] | None = None

    def __post_init__(self) -> None:
        for model in self.models:
            if model.quantised is not None:
                raise OptionError(f"{model.path}: quantised networks are asked about one by one")
        # (1, 8, 8) and (8, 8) are one order of the inputs, and flat ones are in whatever order they are given.
        shapes = {tuple(side for side in model.input_shape if side != 1) for model in self.models}
        if len({shape for shape in shapes if len(shape) > 1}) > 1:
            told = ", ".join(dict.fromkeys(str(model.input_shape) for model in self.models))
            raise DataError(f"networks side by side read inputs of one shape; these read {told}")
        kinds = {np.dtype(model.input_type).name for model in self.models}
        if len(kinds) > 1:
            raise DataError(f"networks side by side compute in the same numbers; these in {', '.join(sorted(kinds))}")

    @property
    def path(self) -> str:
        return ", ".join(dict.fromkeys(str(model.path) for model in self.models))

    @cached_property
    def graph(self) -> Graph:
        shifts = None if self.regions is None else [region.center for region in self.regions]
        return beside([model.graph for model in self.models], shifts)

    @property
    def guide(self) -> Graph:
        return self.graph

    @property
    def classes(self) -> int:
        return sum(model.classes for model in self.models)

    @property
    def input_type(self) -> InputType:
        """A perturbation is a real number; the perturbed samples are rounded, not that."""
        return self.models[0].input_type if self.regions is None else np.float64

    def replayed(self, inputs: NDArray[Any]) -> list[Inputs]:
        """What each file reads [B, n], in its own numbers and inside the box."""
        kind = self.models[0].input_type
        if self.regions is None:
            return [np.asarray(inputs, dtype=kind)] * len(self.models)
        return [round_into_box(inputs + region.center, region, kind) for region in self.regions]

    def scores(self, inputs: NDArray[Any]) -> FloatArray:
        """All scores [B, classes] by onnxruntime on the files."""
        return _joined(m.scores(part) for m, part in zip(self.models, self.replayed(inputs), strict=True))

    def outputs(self, inputs: NDArray[Any]) -> FloatArray:
        """The files' own outputs, with what is left out behind the scores."""
        return _joined(m.outputs(part) for m, part in zip(self.models, self.replayed(inputs), strict=True))

    def real(self, inputs: FloatArray) -> FloatArray:
        """The scores in float64, by the graphs that proofs are about."""
        if self.regions is None:
            return _joined(model.real(inputs) for model in self.models)
        moved = (inputs + region.center for region in self.regions)
        return _joined(model.real(part) for model, part in zip(self.models, moved, strict=True))


def transfer_distance(
    models: Sequence[Model | str | Path],
    x: ArrayLike,
    *,
    norm: str = "linf",
    mask: ArrayLike | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> JointDistance:
    """The least perturbation of one sample that changes the class of *every* network, bracketed.

    `options` are the fields of `Options`.
    """
    chosen, clock = Options(**{"norm": norm, **options}), Clock()
    loaded = tuple(model if isinstance(model, Model) else load(model) for model in models)
    if not loaded:
        raise DataError("models: give at least one network")
    _check(chosen)
    networks = SideBySide(loaded)
    regions = [region_for(model, x, mask, chosen) for model in loaded]
    return _closed(networks, regions[0], regions[0], chosen, clock, progress)


def universal_distance(
    model: Model | str | Path,
    xs: Sequence[ArrayLike] | NDArray[Any],
    *,
    norm: str = "linf",
    mask: ArrayLike | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> JointDistance:
    """The least perturbation that changes the class of *every* sample when it is added to each, bracketed.

    All perturbed samples stay in the box. A witness counts where the file classifies each perturbed sample, rounded to
    its numbers, otherwise, and the real network each as it is. `options` are the fields of `Options`.
    """
    chosen, clock = Options(**{"norm": norm, **options}), Clock()
    loaded = model if isinstance(model, Model) else load(model)
    _check(chosen)
    regions = tuple(region_for(loaded, x, mask, chosen) for x in xs)
    if not regions:
        raise DataError("xs: give at least one sample")
    networks = SideBySide((loaded,) * len(regions), regions)
    center = np.zeros_like(regions[0].center)
    below = np.min([region.center - region.lower for region in regions], axis=0)
    above = np.min([region.upper - region.center for region in regions], axis=0)
    # Differences may be rounded: what is proven is about a box no smaller, what is found in one no larger.
    outer = Region(center, -_up(below), _up(above))
    inner = Region(center, -_down(below), _down(above))
    return _closed(networks, outer, inner, chosen, clock, progress)


def difference(
    first: Model | str | Path,
    second: Model | str | Path,
    *,
    x: ArrayLike | None = None,
    radius: float | None = None,
    norm: str = "linf",
    mask: ArrayLike | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> GreatestDifference:
    """The greatest difference of two networks' scores, abs(f_j - g_j) over all outputs j, in a ball or the whole box.

    Without `x` the box is all there is, and without `radius` the ball has no end. `options` are the fields of
    `Options`.
    """
    chosen, clock = Options(**{"norm": norm, **options}), Clock()
    check_radius(radius)
    _check(chosen)
    if chosen.margin:
        raise OptionError("a difference is asked for without a margin; leave margin out")
    models = tuple(model if isinstance(model, Model) else load(model) for model in (first, second))
    networks, count = SideBySide(models), models[0].classes
    check_outputs(*models)
    if x is None:
        if radius is not None:
            raise OptionError("a radius is around a sample; give x, or leave radius out")
        x = np.full(models[0].input_shape, chosen.box[0] + 0.5 * (chosen.box[1] - chosen.box[0]))
    region, _ = (region_for(model, x, mask, chosen) for model in models)
    _finite_scores(networks, region)
    identity = np.eye(count)
    rows = np.concatenate([identity, -identity], axis=1)
    far = region.reach(chosen.norm) if radius is None else float(radius)
    deadline = Deadline(chosen.time_limit, clock)
    value = GreatestValue(networks, region, far, np.concatenate([rows, -rows]), chosen, deadline, progress=progress)
    run_alone(value.close())
    output = None if value.best is None else int(np.argmax(np.abs(rows @ value.best.scores)))
    verdict = Verdict.EXACT if value.exact else Verdict.UNRESOLVED
    return GreatestDifference(
        chosen.norm, radius, verdict, value.lower, value.upper, value.basis, clock.now(), output, value.best,
        value.nodes,
    )  # fmt: skip


def check_outputs(first: Model, second: Model) -> None:
    """Refuse two networks whose outputs cannot be compared one by one."""
    if first.classes != second.classes:
        counts = f"{first.classes}, {second.classes}"
        raise DataError(f"networks that are compared have as many outputs; these have {counts}")


def _check(options: Options) -> None:
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


def _closed(
    networks: SideBySide, region: Region, inner: Region, options: Options, clock: Clock, progress: Progress | None
) -> JointDistance:
    """The least perturbation that fools all networks: proven in `region`, found in `inner`."""
    for model in networks.models:
        model.check_classifier()
    starts = np.cumsum([0, *(model.classes for model in networks.models)])
    blocks = [np.arange(start, end) for start, end in pairwise(starts)]
    scores = _finite_scores(networks, inner)
    own = [int(block[0] + np.argmax(scores[block])) for block in blocks]
    classes = tuple(int(entry - block[0]) for entry, block in zip(own, blocks, strict=True))
    others = [[int(entry) for entry in block if entry != mine] for block, mine in zip(blocks, own, strict=True)]
    graph, goals = _asked(networks.graph, own, others, options.margin)

    def wins(found: FloatArray, margin: float = options.margin) -> NDArray[np.bool_]:
        leads = np.stack([found[:, rest].max(axis=1) - found[:, mine] for mine, rest in zip(own, others, strict=True)])
        least = leads.min(axis=0)
        return np.asarray((least > 0) & (least >= margin) & np.isfinite(found).all(axis=1))

    def shown(inputs: Inputs) -> NDArray[np.bool_]:
        return wins(networks.outputs(inputs), 0.0)  # a margin is one of scores

    incumbent = Incumbent(inner, options.norm, networks.scores, networks.real, wins, networks.input_type)
    if any(model.left_out for model in networks.models):
        incumbent.shown = shown
    deadline, device = Deadline(options.time_limit, clock), pick_device(options.device)
    reach = region.reach(options.norm)
    ceiling = float(np.nextafter(reach * (1.0 + 1e-9), np.inf)) + 1e-12
    limit = None if deadline.left == float("inf") else ATTACK_SHARE * deadline.left
    settings = AttackOptions(seed=options.seed, time_limit=limit)
    attacked = AttackProblem(device_graph_for(graph, device), region, options.norm, goals, ceiling, settings)

    async def asked() -> Any:
        walked = await AttackRequest(attacked, deadline)
        with under(deadline):
            found = polished(attacked.after(clock.now()), walked)
        if len(found.inputs):
            incumbent.offer_near(found.inputs[:OFFERED], found.by[:OFFERED])
        problem = Problem(graph, region, options.norm, goals, ceiling, None, options.tolerance, deadline, device)
        return await engine.solve(problem, incumbent, progress or (lambda running: None))

    engine = engine_for(options.engine)
    proof = run_alone(asked())
    lower = float("inf") if proof.lower >= ceiling else proof.lower
    upper, best = incumbent.upper, incumbent.best
    told: dict[str, Any] = {}
    if best is not None:
        fooled = tuple(int(np.argmax(best.scores[block])) for block in blocks)
        witness = tuple(part[0] for part in networks.replayed(best.input[None]))
        told = {"fooled": fooled, "perturbation": best.input.astype(np.float64) - inner.center, "witness": witness}
    return JointDistance(
        options.norm, Verdict.EXACT if meet(lower, upper, options.tolerance) else Verdict.UNRESOLVED,
        lower if lower == float("inf") else min(lower, upper), upper, proof.basis, engine.name, clock.now(), classes,
        nodes=proof.nodes, open_phases=proof.open_phases, **told,
    )  # fmt: skip


def _finite_scores(networks: SideBySide, region: Region) -> FloatArray:
    scores = networks.scores(region.center[None])[0]
    if not np.isfinite(scores).all():
        raise DataError(f"the scores of {networks.path} are not finite: {scores}")
    return np.asarray(scores)


def _joined(scores: Iterator[FloatArray]) -> FloatArray:
    """Scores of several networks as one row each."""
    return np.concatenate(list(scores), axis=1)


def _asked(
    graph: Graph, own: Sequence[int], others: Sequence[Sequence[int]], margin: float
) -> tuple[Graph, tuple[Goal, ...]]:
    """The graph and goals whose union is: every own score is reached by one of its others.

    While they are few, a goal for every combination of targets, with a row for each; else one goal about maxima.
    """
    if np.prod([float(len(rest)) for rest in others]) <= MOST_GOALS:
        identity = np.eye(graph.classes)
        return graph, tuple(
            Goal(
                k,
                np.stack([identity[m] - identity[t] for m, t in zip(own, to, strict=True)]),
                np.full(len(own), margin),
            )
            for k, to in enumerate(product(*others))
        )
    return with_leads(graph, own, others), (Goal(0, -np.eye(len(own)), np.full(len(own), margin)),)


def _up(size: FloatArray) -> FloatArray:
    return np.where(size > 0, np.nextafter(size, np.inf), 0.0)


def _down(size: FloatArray) -> FloatArray:
    return np.where(size > 0, np.nextafter(size, 0.0), 0.0)
