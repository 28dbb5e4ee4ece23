"""A node's distance bound by the all-layers semidefinite relaxation, where several layers have open neurons.

A descent on the ball of the target prices what `bounds/semidefinite/all_layers_quadratic.py` adds up; the tangent that
comes of it closes the node, or says where its adversaries can be. The same prices hold on smaller balls, where the
function is drawn again: how far the node's adversaries are at least. Costs a descent of some sixty steps a node, two
factorisations and a few draws.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes, Pass, either, handing_on
from bounds.semidefinite.all_layers_descent import Found, descent
from bounds.semidefinite.all_layers_quadratic import Line, Program, Quadratic
from bounds.semidefinite.one_layer_descent import draws, vectors_of
from encoders.deadline import OutOfTimeError, look, out_of_time

SMALLER_BALLS = 2  # at most, at the same prices
NEARER, LEAST_SHARE = 1.02, 0.3  # of the way to where the least value should be zero, and of the radius
LEAST = 1e-300
FIRST_STEPS, FIRST_RATE = 8, 0.15  # of plain passes
VALUES_AT_ONCE = {"cpu": 1_000_000, "cuda": 200_000_000}  # of [nodes, neurons, inputs and neurons]


@torch.no_grad()
def raised_by_all_layers(
    engine: NodeBounds, nodes: Nodes, seen: Pass, steps: int, target: float | Tensor
) -> tuple[Nodes, Pass]:
    """Raise bounds to `target`; each node keeps the best function known of it."""
    goal = engine.enough(nodes, target)
    width = engine.stack.open_phases
    if not width:
        return nodes, seen
    live = torch.nonzero(seen.distance < goal).flatten()
    at_once = max(1, VALUES_AT_ONCE[live.device.type] // (width * (width + engine.stack.x.shape[2])))
    for chosen in torch.split(live, at_once) if len(live) else ():
        try:
            part, better = _raised(engine, nodes.take(chosen), seen.take(chosen), goal[chosen], steps)
        except OutOfTimeError:
            break
        nodes, seen = nodes.put(chosen, part), seen.put(chosen, better)
    return nodes, seen


@dataclass(frozen=True, eq=False)
class Left:
    """A goal that may have an adversary within the ball that was asked about, and where that is likely to be."""

    goal: int
    shifts: Tensor  # [D, n] from the likeliest on
    value: float = 0.0  # about the least value of the goal within the ball


@torch.no_grad()
def left_by_all_layers(
    engine: NodeBounds,
    steps: int,
    target: float,
    goals: Collection[int] | None = None,
) -> Left | None:
    """The first of these goals, or of all, that may have an adversary within `target`; None where none has. Plain
    passes come first, then all layers goal by goal, the least proven first."""
    radius = engine.stack.x.new_full((1,), target)
    for part, before in _open_goals(engine, target):
        if goals is not None and int(part.goal[0]) not in goals:
            continue
        look()
        program, found = _descended(engine, part, before, radius, steps)
        drawn, _ = _Proof.of(engine, part, program, found).drawn(radius)
        if not bool(engine.nearest(part, drawn.normal, drawn.height)[0] >= radius):
            return _left(engine, part, program, found)
    return None


@torch.no_grad()
def likely_by_all_layers(engine: NodeBounds, steps: int, target: float) -> Iterator[Left]:
    """Where the adversaries of every goal that plain passes leave open are likely to be, the least proven first."""
    radius = engine.stack.x.new_full((1,), target)
    for part, before in _open_goals(engine, target):
        yield _left(engine, part, *_descended(engine, part, before, radius, steps))


@torch.no_grad()
def products_on_ball(engine: NodeBounds, node: Nodes, radius: float, steps: int) -> tuple[Quadratic, Tensor]:
    """One node's function with prices that pay for themselves, and the point [1, n + P] to draw its tangent at."""
    target = node.slope.new_full((1,), radius)
    program, found = _descended(engine, node, engine.evaluate(node), target, steps)
    proof = _Proof.of(engine, node, program, found)
    return proof.quadratic, proof.drawn(target)[0].point


def _open_goals(engine: NodeBounds, target: float) -> list[tuple[Nodes, Pass]]:
    """The roots that plain passes leave open, the least proven first."""
    nodes, seen = engine.optimise(engine.roots(), FIRST_STEPS, target, FIRST_RATE)
    down, up = (side[0].clamp_max(target) for side in (engine.stack.below, engine.stack.above))
    lowest = seen.height - seen.normal.clamp_min(0.0) @ down + seen.normal.clamp_max(0.0) @ up
    order = lowest.argsort()
    order = order[seen.distance[order].argsort(stable=True)]
    return [(nodes.take(k[None]), seen.take(k[None])) for k in order if not bool(seen.distance[k] >= target)]


def _left(engine: NodeBounds, part: Nodes, program: Program, found: Found) -> Left:
    shifts = _random(program, found)
    return Left(int(part.goal[0]), shifts[0, engine.values(part, shifts)[0].argsort()], float(found.value[0]))


def _raised(engine: NodeBounds, nodes: Nodes, before: Pass, target: Tensor, steps: int) -> tuple[Nodes, Pass]:
    inherited = engine.through(nodes, before, nodes.normal, nodes.height)
    best = either(inherited.distance > before.distance, inherited, before)
    program, found = _descended(engine, nodes, before, target, steps)
    proof = _Proof.of(engine, nodes, program, found)
    drawn, nearer = proof.drawn(target)
    now = engine.through(nodes, best, drawn.normal, drawn.height)
    # The function to keep is the one that leaves least of the ball, whatever it says of distances.
    low, high = (proof.lowest(target, of.normal, of.height) for of in (best, drawn))
    farthest = torch.maximum(best.distance, torch.where(torch.isfinite(drawn.height), now.distance, 0.0))
    best = either(torch.isfinite(drawn.height) & (high > low), now, best)
    nodes = handing_on(nodes, before)
    best = replace(
        best, distance=_farther(proof, farthest, nearer), shift=engine.likeliest(nodes, _random(program, found)),
        mean_before=found.before, mean_behind=found.relaxed, behind=found.behind,
    )  # fmt: skip
    point = program.middle + program.half * found.vectors[..., 0].double().nan_to_num().clamp(-1.0, 1.0)
    return replace(nodes, point=point, normal=best.normal, height=best.height), best


def _descended(engine: NodeBounds, nodes: Nodes, before: Pass, target: Tensor, steps: int) -> tuple[Program, Found]:
    program = Program.of(engine, nodes, target)
    known = (nodes.height > -torch.inf).unsqueeze(-1)
    mean = (nodes.point - program.middle) / program.half.clamp_min(LEAST)
    return program, descent(program, vectors_of(torch.where(known, mean, -0.5 * before.normal.sign())), steps)


def _random(program: Program, found: Found) -> Tensor:
    """[N, D, n] random inputs with each node's moments."""
    return program.middle.unsqueeze(1) + program.half.unsqueeze(1) * draws(found.vectors)


@dataclass(frozen=True, eq=False)
class _Proof:
    """Prices for N nodes, which hold on balls of any radius up to the target."""

    engine: NodeBounds
    nodes: Nodes
    quadratic: Quadratic
    start: Tensor  # [N, n + P] near the least point

    @classmethod
    def of(cls, engine: NodeBounds, nodes: Nodes, program: Program, found: Found) -> _Proof:
        start = torch.cat([found.vectors[..., 0].double(), found.inner], dim=-1)
        return cls(engine, nodes, Quadratic.of(program, found.prices), start)

    def take(self, index: Tensor) -> _Proof:
        return _Proof(self.engine, self.nodes.take(index), self.quadratic.take(index), self.start[index])

    def room(self, radius: Tensor) -> tuple[Tensor, Tensor]:
        """How far down and up inputs can go [N, n] on balls of `radius` [N]."""
        stack = self.engine.stack
        member, reach = stack.member[self.nodes.goal], radius.unsqueeze(-1)
        return torch.minimum(stack.below[member], reach), torch.minimum(stack.above[member], reach)

    def lowest(self, radius: Tensor, normal: Tensor, height: Tensor) -> Tensor:
        """[N] the least values of normal · d + height on balls of `radius` [N]."""
        down, up = self.room(radius)
        return height - (normal.clamp_min(0.0) * down - normal.clamp_max(0.0) * up).sum(-1)

    def drawn(self, radius: Tensor) -> tuple[Line, Tensor]:
        """What holds on balls of `radius` [N], and smaller ones on which the least value should be just above zero; 0
        where it is above here."""
        program, reach = self.quadratic.program, radius.unsqueeze(-1)
        down, up = self.room(radius)
        low, high = program.within(down, up)
        line = self.quadratic.drawn(low, high, self.start)
        value = self.lowest(radius, line.normal, line.height)
        e = line.point[:, : low.shape[1]]
        moved = (high - e) * (down >= reach) + (e - low) * (up >= reach)
        rate = self.quadratic.prices.input * moved / program.half.clamp_min(LEAST)
        nearer = radius + NEARER * (value / rate.sum(-1).clamp_min(LEAST))
        nearer = torch.maximum(nearer, LEAST_SHARE * radius)
        return line, torch.where(torch.isfinite(nearer) & (value < 0), nearer, 0.0)


def _farther(proof: _Proof, distance: Tensor, nearer: Tensor) -> Tensor:
    """[N] distances, raised by what holds on smaller balls. `nearer` [N] are the balls to begin with; 0 for none."""
    distance = distance.clone()
    live = torch.arange(len(distance), device=distance.device)
    for _ in range(SMALLER_BALLS):
        going = nearer > distance[live]
        if not bool(going.any()) or out_of_time():
            break
        live, radius, proof = live[going], nearer[going], proof.take(torch.nonzero(going).flatten())
        line, nearer = proof.drawn(radius)
        found = proof.engine.nearest(proof.nodes, line.normal, line.height)[0]
        distance[live] = torch.maximum(distance[live], torch.minimum(found, radius))
    return distance
