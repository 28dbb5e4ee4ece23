"""The least perturbation that fools several networks, or one network at several inputs: transfer, universal.

Side by side they are one network, and every engine is as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bounds.attacks import AttackOptions, AttackProblem
from bounds.attacks.portfolio import polished
from bounds.device import pick_device
from bounds.propagation.neuron_bounds import device_graph_for
from encoders.arrays import FloatArray, Inputs
from encoders.deadline import Clock, Deadline, under
from encoders.errors import DataError
from encoders.layer_graph.beside import with_leads
from encoders.layer_graph.graph import Graph
from encoders.question import Goal, Norm, Region
from verifier.batching.attack_request import AttackRequest
from verifier.batching.request import run_alone
from verifier.engines.base import Proof
from verifier.engines.registry import engine_for
from verifier.options import Options, check_several
from verifier.question.incumbent import Incumbent
from verifier.question.model import Model, load
from verifier.question.problem import NOTHING, Known, Problem, Progress, Running
from verifier.question.results import Adversary, Basis, PerturbedAdversary, Verdict, check_sandwich, meet
from verifier.question.side_by_side import SideBySide
from verifier.regions import region_for
from verifier.why_open import Moves, why_open

ATTACK_SHARE = 0.3  # of the time, at most
OFFERED = 32
ATTACK = "attack"
MOST_GOALS = 100  # combinations of targets that are asked one by one; beyond, maxima are made part of the network


@dataclass(frozen=True, eq=False)
class JointDistance:
    """The least perturbation that fools all: lower ≤ exact ≤ upper; `perturbation` attains `upper`.

    `classes` are those of the unperturbed inputs, `fooled` what the networks read instead. A `witness` holds the
    perturbed inputs as they were replayed, one for each; `adversary` is the one that all read, or all of them with the
    perturbation as its variables. `why_open` says in a sentence what stands in the way of an unresolved one.
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
    adversary: Adversary | None = None
    why_open: str | None = None

    def __post_init__(self) -> None:
        check_sandwich(self.lower, self.upper, self.norm)


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
    chosen = Options(**{"norm": norm, **options})
    loaded = tuple(model if isinstance(model, Model) else load(model) for model in models)
    if not loaded:
        raise DataError("models: give at least one network")
    return run_alone(transfer_asked(SideBySide(loaded), x, chosen, mask, progress))


async def transfer_asked(
    networks: SideBySide,
    x: ArrayLike,
    options: Options,
    mask: ArrayLike | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
    known: Known = NOTHING,
) -> JointDistance:
    """The same in turns, with a clock that may have started before; what is `known` is where it goes on."""
    check_several(options)
    region, *_ = (region_for(model, x, mask, options) for model in networks.models)
    return await _closed(networks, region, region, options, Clock() if clock is None else clock, progress, known)


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
    chosen = Options(**{"norm": norm, **options})
    loaded = model if isinstance(model, Model) else load(model)
    return run_alone(universal_asked(loaded, xs, chosen, mask, progress))


async def universal_asked(
    model: Model,
    xs: Sequence[ArrayLike] | NDArray[Any],
    options: Options,
    mask: ArrayLike | None = None,
    progress: Progress | None = None,
    clock: Clock | None = None,
    known: Known = NOTHING,
) -> JointDistance:
    """The same in turns; what is known to fool all samples is a perturbation."""
    check_several(options)
    regions = tuple(region_for(model, x, mask, options) for x in xs)
    if not regions:
        raise DataError("xs: give at least one sample")
    networks = SideBySide((model,) * len(regions), regions)
    center = np.zeros_like(regions[0].center)
    below = np.min([region.center - region.lower for region in regions], axis=0)
    above = np.min([region.upper - region.center for region in regions], axis=0)
    # Differences may be rounded: what is proven is about a box no smaller, what is found in one no larger.
    outer = Region(center, -_up(below), _up(above))
    inner = Region(center, -_down(below), _down(above))
    return await _closed(networks, outer, inner, options, Clock() if clock is None else clock, progress, known)


async def _closed(
    networks: SideBySide,
    region: Region,
    inner: Region,
    options: Options,
    clock: Clock,
    progress: Progress | None,
    known: Known,
) -> JointDistance:
    """The least perturbation that fools all networks: proven in `region`, found in `inner`."""
    for model in networks.models:
        model.check_classifier()
    blocks, scores = networks.blocks, networks.finite_scores(inner.center)
    own = [int(block[0] + np.argmax(scores[block])) for block in blocks]
    classes = tuple(int(entry - block[0]) for entry, block in zip(own, blocks, strict=True))
    others = [[int(entry) for entry in block if entry != mine] for block, mine in zip(blocks, own, strict=True)]
    graph, goals = _asked(networks.graph, own, others, options.margin)
    incumbent = _incumbent(networks, inner, options, own, others)
    engine, device = engine_for(options.engine), pick_device(options.device)
    deadline = Deadline(options.time_limit, clock)
    reach, moves = region.reach(options.norm), Moves()
    ceiling = float(np.nextafter(reach * (1.0 + 1e-9), np.inf)) + 1e-12

    def found(proof: Proof, why: str | None = None) -> JointDistance:
        """The answer that a proof and the best perturbation come to."""
        lower, upper, best = float("inf") if proof.lower >= ceiling else proof.lower, incumbent.upper, incumbent.best
        told: dict[str, Any] = {}
        if best is not None:
            witness = tuple(part[0] for part in networks.replayed(best.input[None]))
            told = {
                "fooled": tuple(int(np.argmax(best.scores[block])) for block in blocks), "witness": witness,
                "perturbation": best.input.astype(np.float64) - inner.center,
                "adversary": _told(networks, best, witness),
            }  # fmt: skip
        return JointDistance(
            options.norm, Verdict.EXACT if meet(lower, upper, options.tolerance) else Verdict.UNRESOLVED,
            lower if lower == float("inf") else min(lower, upper), upper, proof.basis, engine.name, clock.now(),
            classes, nodes=proof.nodes, open_phases=proof.open_phases, why_open=why, **told,
        )  # fmt: skip

    def tell(running: Running) -> None:
        if known.lower > running.lower:
            running = replace(running, lower=known.lower, basis=known.basis)
        running = replace(running, lower=min(running.lower, incumbent.upper), upper=incumbent.upper)
        moves.see(clock.now(), running.lower, running.upper)
        if progress is not None:
            proof = Proof(running.lower, running.basis, running.nodes, running.open_phases)
            progress(replace(running, answer=found(proof)))

    _offer_known(incumbent, known)
    tell(Running(0.0, incumbent.upper, technique=ATTACK))
    limit = None if deadline.left == float("inf") else ATTACK_SHARE * deadline.left
    settings = AttackOptions(seed=options.seed, time_limit=limit)
    attacked = AttackProblem(device_graph_for(graph, device), region, options.norm, goals, ceiling, settings)
    started = clock.now()
    walked = await AttackRequest(attacked, deadline)
    with under(deadline):
        near = polished(attacked.after(clock.now() - started), walked)
    if len(near.inputs):
        incumbent.offer_near(near.inputs[:OFFERED], near.by[:OFFERED])
    check_sandwich(known.lower, incumbent.upper, options.norm)
    proof = Proof(known.lower, known.basis)
    if not (known.lower > 0.0 and meet(known.lower, incumbent.upper, options.tolerance)):
        problem = Problem(
            graph, region, options.norm, goals, ceiling, None, options.tolerance, deadline, device, known=known
        )
        tell(Running(0.0, incumbent.upper, technique=engine.name))
        proof = await engine.solve(problem, incumbent, tell)
    answer = found(proof)
    if answer.verdict is not Verdict.UNRESOLVED:
        return answer
    why = why_open(
        moves, clock.now(), proof.open_phases, options.engine, device, deadline.passed, clock.stopped
    )  # fmt: skip
    return replace(answer, why_open=why)


def _incumbent(
    networks: SideBySide, region: Region, options: Options, own: Sequence[int], others: Sequence[Sequence[int]]
) -> Incumbent:
    """Empty: what counts leads in every network, by the margin."""

    def wins(found: FloatArray, margin: float = options.margin) -> NDArray[np.bool_]:
        leads = np.stack([found[:, rest].max(axis=1) - found[:, mine] for mine, rest in zip(own, others, strict=True)])
        least = leads.min(axis=0)
        return np.asarray((least > 0) & (least >= margin) & np.isfinite(found).all(axis=1))

    def shown(inputs: Inputs) -> NDArray[np.bool_]:
        return wins(networks.outputs(inputs), 0.0)  # a margin is one of scores

    incumbent = Incumbent(region, options.norm, networks.scores, networks.real, wins, networks.input_type)
    if any(model.left_out for model in networks.models):
        incumbent.shown = shown
    return incumbent


def _offer_known(incumbent: Incumbent, known: Known) -> None:
    """A perturbation from before is a candidate like any other; nearer than what was proven, it is an alarm."""
    if known.adversary is not None:
        candidate, inputs = np.asarray(known.adversary, dtype=np.float64).reshape(1, -1), incumbent.region.center.size
        if candidate.size != inputs:
            raise DataError(
                f"known: an adversary of {candidate.size} inputs does not fit the {inputs} that are asked about; "
                "leave it out"
            )
        incumbent.offer(candidate, known.found_by)
    check_sandwich(known.lower, incumbent.upper, incumbent.norm)


def _told(networks: SideBySide, best: Adversary, witness: tuple[Inputs, ...]) -> Adversary:
    """The input that all read, or what the perturbation makes of each sample, with it beside."""
    if networks.regions is None:
        return best
    return PerturbedAdversary(**{**vars(best), "input": np.stack(witness)}, variables=best.input.astype(np.float64))


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
