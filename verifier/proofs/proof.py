"""The proof of a result: a file beside it, which `plumbline check` accepts without believing anything else of ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from bounds.nodes.node_bounds import NodeBounds
from bounds.propagation.device_graph import DeviceGraph
from bounds.propagation.neuron_bounds import NetworkBounds, device_graph_for, network_bounds
from bounds.reduced_net.reduced_net import Reduced, reduce
from encoders.arrays import FloatArray, IntArray
from encoders.deadline import Deadline, in_time
from encoders.files import write_whole
from encoders.grid import Grid
from encoders.input_constraints import InputConstraints
from encoders.question import CONVEX, Goal, Norm, Region, goals_for
from verifier.checker import UncheckableError, check
from verifier.goals import constrained_goals, goals_of
from verifier.margin_answer import TOLERANCE, GreatestLoss
from verifier.options import REAL, Options
from verifier.proofs.asked_line import asked_line, hexadecimal
from verifier.proofs.between_levels import leads_between
from verifier.proofs.int8_lines import int8_lines, int8_loss_lines
from verifier.proofs.proof_file import Line, TreeLines, packed, ranges_line
from verifier.proofs.proof_search import MARGIN, ProofSearch, exp2
from verifier.proofs.why_none import BETWEEN_LEVELS, MISCLASSIFIED, NEITHER_SIDE, NOT_FOUND, OUT_OF_TIME, RADIUS_ZERO
from verifier.question.input_shape import levels_for
from verifier.question.model import Model
from verifier.question.model_views import View
from verifier.question.results import Adversary, Basis, Result, Verdict
from verifier.regions import region_for, scale_of, viewed

RANGE_BITS = 40  # of a range's ends, of its size
SHORT, SHORTEST = 0.5, 0.95  # of the tolerance: how far short of an exact distance its proof may stop, or has to


@dataclass(frozen=True)
class ProofFile:
    """What became of a proof: the file and the radius that it proves free of adversaries, or why there is none."""

    path: Path | None = None
    radius: float | None = None
    claims: int = 0  # parts of it that rest on a solver's word
    why: str = ""


@dataclass(frozen=True, eq=False)
class Claim:
    """What a proof is to say: no goal is reached within the radius, and the witness reaches one."""

    region: Region
    goals: tuple[Goal, ...]
    against: int
    targets: tuple[int, ...] | None
    margin: float
    radii: tuple[float, ...]  # of balls without an adversary, the first of which that can be proven counts
    witness: Adversary | None
    basis: Basis
    engine: str
    about: Line  # for people
    rivals: tuple[int, ...] | None = None  # the only classes that count as others, where not all do


def unprovable(model: Model, options: Options) -> str | None:
    """Why no result of such a question has a proof; None where it may have one."""
    if model.quantised is not None:
        if options.change is not None or model.output is not None:
            return "of quantised networks, the proof format has no rules for changes and chosen outputs"
        return None
    if options.norm not in CONVEX:
        return f"{options.norm} has no rule in the proof format; linf, l1 and l2 have"
    if options.execution != REAL:
        return f"proofs are about real arithmetic, not execution {options.execution}"
    if isinstance(model, View):
        return "perturbations have no rules in the proof format"
    if model.threshold is not None or model.output is not None or options.change is not None or model.classes < 2:
        return "thresholds, changes and chosen outputs have no rules in the proof format"
    return None


def write_proof(
    path: Path | str,
    model: Model,
    x: ArrayLike,
    result: Result | GreatestLoss,
    *,
    mask: ArrayLike | None = None,
    proof_time_limit: float | None = None,
    **options: Any,
) -> ProofFile:
    """Write down why a result is true, in a file that `plumbline check` accepts; `options` are those it was asked with.

    Of a greatest loss the proof is about its `upper`. Costs a search of its own, on the ball that is known to hold no
    adversary: `proof_time_limit` is for that.
    """
    if isinstance(result, GreatestLoss):
        chosen = Options(**{"norm": result.norm, "tolerance": TOLERANCE, **options})
        return written_loss(Path(path), model, x, result, chosen, mask, Deadline(proof_time_limit))
    chosen = Options(**{"norm": result.norm, **options})
    return written(Path(path), model, x, result, chosen, mask, Deadline(proof_time_limit))


def written(
    path: Path, model: Model, x: ArrayLike, result: Result, options: Options, mask: ArrayLike | None, deadline: Deadline
) -> ProofFile:
    """The same with options that are checked already.

    Both sides are written as they are proven: the radius that holds no adversary may stop short of `result.lower` by
    half of the tolerance. On a grid it is that of the real ball which holds all points nearer than the level proven;
    where real inputs between the levels are adversaries, there is no proof. What is written is checked before it takes
    its place.
    """
    why = unprovable(model, options)
    if why is None and result.verdict is Verdict.MISCLASSIFIED:
        why = MISCLASSIFIED
    if why is not None:
        return ProofFile(why=why)
    region = region_for(model, x, mask, options)
    if model.quantised is not None:
        return _kept_on_grid(path, model, lambda: int8_lines(model, region, result, options, deadline), deadline)
    goals = goals_of(model, result.predicted, options)
    levels = None if options.grid is None else levels_for(model.input_shape, options.grid)
    radii = _radii(result, options) if levels is None else _radii_of_level(result, region, levels)
    if result.verdict is Verdict.CERTIFIED and radii == (0.0,):
        return ProofFile(why=RADIUS_ZERO)
    claim = Claim(
        region, goals, result.predicted, options.targets, options.margin, radii, result.adversary,
        result.basis, result.engine,
        {
            "verdict": str(result.verdict), "lower": repr(result.lower), "upper": repr(result.upper),
            **(options.record("grid") if levels is not None else {}),
        },
    )  # fmt: skip
    return _written(path, model, claim, options, deadline)


def written_loss(
    path: Path,
    model: Model,
    x: ArrayLike,
    loss: GreatestLoss,
    options: Options,
    mask: ArrayLike | None,
    deadline: Deadline,
) -> ProofFile:
    """A proof that no class leads within the radius by what is proven of the loss, or by half of the tolerance more.

    Of chosen targets it is about these alone, the format's rivals. On a grid it is about the real ball which holds all
    points within the radius; where real inputs between the levels lead by more, there is no proof. Of a quantised
    network it is about these points, and no class leads by more than what is proven of the loss.
    """
    why = unprovable(model, options)
    if why is not None:
        return ProofFile(why=why)
    region = region_for(model, x, mask, options)
    if model.quantised is not None:
        return _kept_on_grid(path, model, lambda: int8_loss_lines(model, region, loss, options, deadline), deadline)
    margin = loss.upper + SHORT * options.tolerance * max(1.0, abs(loss.upper))
    goals = goals_for(loss.against, model.classes, None, margin)
    if options.targets is not None:
        goals = tuple(goal for goal in goals if goal.target in options.targets)
    rivals = None if options.targets is None else tuple(goal.target for goal in goals)
    if options.constraints is not None:
        goals = constrained_goals(goals, options.constraints.count)
    radius = loss.radius
    if options.grid is not None:
        radius = _beyond(Grid.of(region, loss.norm, levels_for(model.input_shape, options.grid)), loss.radius)
    if radius == 0.0:
        return ProofFile(why=RADIUS_ZERO)
    claim = Claim(
        region, goals, loss.against, None, margin, (radius,), None, loss.basis, loss.engine,
        {
            "verdict": str(loss.verdict), "lower": repr(loss.lower), "upper": repr(loss.upper),
            **({} if options.grid is None else options.record("grid")),
        },
        rivals,
    )  # fmt: skip
    found = _written(path, model, claim, options, deadline)
    between = options.grid is not None and found.why == NOT_FOUND
    if between and leads_between(model, x, loss, margin, radius, options, mask, deadline):
        return replace(found, why=BETWEEN_LEVELS)
    return found


def _written(path: Path, model: Model, claim: Claim, options: Options, deadline: Deadline) -> ProofFile:
    """The proof of a claim, checked before it takes its place."""
    radii = [radius for radius in claim.radii if radius > 0.0]
    if not radii and claim.witness is None:
        return ProofFile(why=NEITHER_SIDE)
    radius, lines = _first_proven(model, claim, options, radii, deadline)
    proven = radius is not None or not radii
    return _kept(path, model, radius, [_statement(model, claim, options, radius), *lines] if proven else None, deadline)


def _kept_on_grid(
    path: Path, model: Model, made: Callable[[], tuple[float | None, list[Line] | None]], deadline: Deadline
) -> ProofFile:
    """The lines about a quantised network as a file; without a radius there are none where nothing is known."""
    try:
        radius, lines = made()
    except UncheckableError as error:
        return ProofFile(why=f"the checker cannot read the model: {error}")
    if lines is None and radius is None:
        return ProofFile(why=NEITHER_SIDE)
    return _kept(path, model, radius, lines, deadline)


def _kept(path: Path, model: Model, radius: float | None, lines: list[Line] | None, deadline: Deadline) -> ProofFile:
    """The lines as a file, once the checker accepts them; there may be none."""
    if lines is None:
        return ProofFile(why=OUT_OF_TIME if deadline.passed else NOT_FOUND)
    content = packed(lines)
    try:
        verdict = check(content, model.path, "float")
    except UncheckableError as error:
        return ProofFile(why=f"the checker cannot read the model: {error}")
    if not verdict.accepted:
        return ProofFile(why=f"the checker refuses it: {verdict.told()}")
    write_whole(path, content)
    return ProofFile(path, radius, verdict.claims)


def _first_proven(
    model: Model, claim: Claim, options: Options, radii: list[float], deadline: Deadline
) -> tuple[float | None, list[Line]]:
    """The first radius for which there are lines that prove it, and those; found on the CPU, node by node."""
    view, region, _ = viewed(model, claim.region, options)
    device_graph = device_graph_for(view.graph)
    # On a grid a solver's word is about its points alone, and claims nothing of the real ball.
    solver = claim.engine if claim.basis is Basis.SOLVER and options.grid is None else None
    for radius in radii:
        if np.isinf(radius):  # no adversary anywhere: the ball is the whole box
            radius = float(region.reach(options.norm)) * (1.0 + 1e-9)
        lines = proof_lines(
            device_graph, region, options.norm, claim.goals, radius, deadline, solver, options.scale is None
        )
        if lines is not None:
            return radius, lines
    return None, []


def _radii(result: Result, options: Options) -> tuple[float, ...]:
    """The balls that may be proven empty, infinite for the whole box; none where the sample's ball is not.

    Where a distance is proven to its last digits, a piece of the net can touch that ball; one that is smaller, and
    still within the tolerance, has room.
    """
    if result.verdict is Verdict.FALSIFIED:
        return ()
    if result.verdict is Verdict.CERTIFIED:
        return () if result.radius is None else (result.radius,)
    if np.isinf(result.lower):
        return (float("inf"),)
    short, shortest = (result.upper - share * options.tolerance * max(1.0, result.upper) for share in (SHORT, SHORTEST))
    first = min(result.lower, short)
    return (first, shortest) if result.verdict is Verdict.EXACT and shortest < first else (first,)


def _radii_of_level(result: Result, region: Region, levels: int | IntArray) -> tuple[float, ...]:
    """On a grid: the real ball in which all points lie that are nearer than the level that is proven."""
    if result.verdict is Verdict.FALSIFIED or (result.verdict is Verdict.CERTIFIED and result.radius is None):
        return ()
    grid = Grid.of(region, result.norm, levels)
    if result.verdict is Verdict.CERTIFIED and result.radius is not None:
        return (_beyond(grid, result.radius),)
    return (grid.beyond(grid.reach + 1 if np.isinf(result.lower) else grid.within(result.lower)),)


def _beyond(grid: Grid, radius: float) -> float:
    """The radius of a real ball in which all points lie that are within a radius on the grid."""
    return grid.beyond(1 + grid.within(radius))


def _statement(model: Model, claim: Claim, options: Options, radius: float | None) -> Line:
    witness, region = claim.witness, claim.region
    scale = None if options.scale is None else scale_of(model, options.scale)
    return {
        **asked_line(model, region, options.norm, claim.against, claim.targets, claim.margin),
        "radius": None if radius is None else float(radius).hex(),
        "witness": None if witness is None else _witness(witness, region, options.norm, scale),
        **({} if claim.rivals is None else {"rivals": list(claim.rivals)}),
        **({} if scale is None else {"scale": hexadecimal(scale)}),
        **({} if options.constraints is None else {"constraints": _constraints(options.constraints)}),
        "rests_on": str(claim.basis),
        "about": claim.about,
    }


def _constraints(constraints: InputConstraints) -> list[Any]:
    """Each row's inputs, its numbers there, and its bound."""
    rows = zip(constraints.matrix, constraints.bound, strict=True)
    return [[np.flatnonzero(row).tolist(), hexadecimal(row[row != 0]), float(bound).hex()] for row, bound in rows]


def _witness(witness: Adversary, region: Region, norm: Norm, scale: FloatArray | None) -> Line:
    """The input, and a number that is no less than its distance."""
    point = witness.input.astype(np.float64).reshape(-1)
    units = np.ones_like(point) if scale is None else scale
    moved = [
        abs(Fraction(float(p)) - Fraction(float(c))) / Fraction(float(unit))
        for p, c, unit in zip(point, region.center, units, strict=True)
    ]
    power = 2 if norm is Norm.L2 else 1
    exact = max(moved) if norm is Norm.LINF else sum((one**power for one in moved), Fraction(0))
    distance = max(float(witness.distance), float(exact) ** (1.0 / power))  # on a grid whole steps are told
    while Fraction(distance) ** power < exact:
        distance = float(np.nextafter(distance, np.inf))
    return {"input": hexadecimal(point), "distance": distance.hex()}


def proof_lines(
    device_graph: DeviceGraph,
    region: Region,
    norm: Norm,
    goals: tuple[Goal, ...],
    radius: float,
    deadline: Deadline,
    solver: str | None = None,
    curved: bool = True,
) -> list[Line] | None:
    """The lines that prove that the ball holds no adversary; None where none were found.

    What is left open when time is up is claimed by the `solver` that says the ball is empty, where there is one. Not
    `curved`, no node is closed by a quadratic function: its numbers are of inputs, not of moves in units of their own.
    """
    made = in_time(deadline, lambda: _net(device_graph, region, norm, goals, radius), None)
    if made is None:
        return None
    bounds, net = made
    tree = ProofSearch(NodeBounds(net), radius, deadline, solver, curved).run()
    if tree is None:
        return None
    relus = device_graph.graph.relus
    sides = [[side[i][0].cpu().numpy() for side in (bounds.lower, bounds.upper)] for i in relus]
    ranges = [ranges_line(k, lower, upper) for k, (lower, upper) in enumerate(sides)]
    return [*ranges, *TreeLines(net, relus).of(tree, [goal.target for goal in goals])]


def _net(
    device_graph: DeviceGraph, region: Region, norm: Norm, goals: tuple[Goal, ...], radius: float
) -> tuple[NetworkBounds, Reduced]:
    """Ranges that a checker finds, too, rounded outward; and the reduced net with those of its open neurons."""
    bounds = network_bounds(device_graph, region, norm, radius, outward=outward)
    return bounds, reduce(device_graph, bounds, goals)


def outward(low: Tensor, high: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Ranges of few bits, with room for what another arithmetic finds otherwise; what is stable stays so."""
    unit = exp2(high - low) * 2.0**-RANGE_BITS
    loose = MARGIN * (size + torch.maximum(low.abs(), high.abs()))
    lower, upper = torch.floor((low - loose) / unit) * unit, torch.ceil((high + loose) / unit) * unit
    # The bounds that are given leave room for more than is lost here.
    return torch.where(low >= 0, lower.clamp_min(0.0), lower), torch.where(high <= 0, upper.clamp_max(0.0), upper)
