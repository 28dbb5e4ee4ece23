"""A node's distance bound by the all-layers semidefinite relaxation, where several layers have open neurons.

A descent on the ball of the target prices what `bounds/semidefinite/all_layers_quadratic.py` adds up; the tangent that
comes of it closes the node, or says where its adversaries can be. The same prices hold on smaller balls, where the
function is drawn again: how far the node's adversaries are at least. Costs fifteen to fifty steps of a descent a node,
fewer below a node that had one, two factorisations and a few draws.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bounds.nodes.node_bounds import NodeBounds
from bounds.nodes.records import Nodes, Pass, either, handing_on
from bounds.nodes.starts import Start
from bounds.semidefinite.all_layers_descent import STEP, Descent, Found
from bounds.semidefinite.all_layers_lagrangian import AugmentedLagrangian
from bounds.semidefinite.all_layers_quadratic import Line, Program, Quadratic
from bounds.semidefinite.one_layer_descent import draws, vectors_of
from encoders.deadline import OutOfTimeError, look, out_of_time

SMALLER_BALLS = 2  # at most, at the same prices
NEARER, LEAST_SHARE = 1.02, 0.3  # of the way to where the least value should be zero, and of the radius
LEAST = 1e-300
FIRST_STEPS, FIRST_RATE = 8, 0.15  # of plain passes
VALUES_AT_ONCE = {"cpu": 8_000_000, "cuda": 200_000_000}  # of [nodes, neurons, inputs and neurons]
FRESH = ((0.25, STEP), (0.6, 0.3))  # shares of a descent's steps, and their first length: most need the first alone
GOING_ON = ((0.15, 0.3), (0.25, 0.2))  # the same from where a parent's ended
PROMISING = 0.05  # of what the relaxation gains on plain passes: what the prices of first steps may lose
LIKELY = 0.7  # of the least that prices of nodes above lost: those of a node may lose as much
LAGRANGIAN_STEPS = 75  # of a round
LAGRANGIAN_ROUNDS = (3, 2, 2, 2)  # before each attempt at a proof: the first ones make up for what a descent left
WORTH = 0.2  # part of what is missing that an attempt must have brought for another one
HOPE = 0.1  # of what prices lose: a relaxation's value that is less above zero is not reached


@torch.no_grad()
def raised_by_all_layers(
    engine: NodeBounds, nodes: Nodes, seen: Pass, steps: int, target: float | Tensor, closing: bool = False
) -> tuple[Nodes, Pass]:
    """Raise bounds to `target`; each node keeps the best function known of it. Where only `closing` nodes counts, what
    is far from being closed keeps what it has, and says where to split alone."""
    goal = engine.enough(nodes, target)
    width = engine.stack.open_phases
    if not width:
        return nodes, seen
    live = torch.nonzero(seen.distance < goal).flatten()
    at_once = max(1, VALUES_AT_ONCE[live.device.type] // (width * (width + engine.stack.x.shape[2])))
    for chosen in torch.split(live, at_once) if len(live) else ():
        try:
            found = _raised(engine, nodes.take(chosen), seen.take(chosen), goal[chosen], steps, closing)
            for place, part, better in found:
                nodes, seen = nodes.put(chosen[place], part), seen.put(chosen[place], better)
        except OutOfTimeError:
            break
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
        (tried,) = _tried(engine, part, before, radius, steps, closing=True)
        if tried.drawn is None or not tried.drawn.closed:
            return _left(engine, part, tried.program, tried.found)
    return None


@torch.no_grad()
def likely_by_all_layers(engine: NodeBounds, steps: int, target: float) -> Iterator[Left]:
    """Where the adversaries of every goal that plain passes leave open are likely to be, the least proven first."""
    radius = engine.stack.x.new_full((1,), target)
    for part, before in _open_goals(engine, target):
        descent = _descent(engine, part, before, radius)
        yield _left(engine, part, descent.program, descent.run(max(1, round(FRESH[0][0] * steps))))


@dataclass(frozen=True, eq=False)
class Priced:
    """One node after a part of a descent: its function with prices that pay for themselves."""

    node: Nodes  # its children's descents go on from this one
    seen: Pass  # where to split it
    proof: _Proof
    radius: Tensor  # [1]

    @property
    def quadratic(self) -> Quadratic:
        return self.proof.quadratic

    def point(self, more: Tensor) -> Tensor:
        """[n + P] to draw its tangent at: near the least point, where inputs and neurons pay so much more [n + P]."""
        return replace(self.proof, quadratic=self.quadratic.paying(more[None])).drawn(self.radius)[0].point[0]


@torch.no_grad()
def priced_on_ball(engine: NodeBounds, node: Nodes, seen: Pass, radius: float, steps: int) -> Iterator[Priced]:
    """One node's functions, of every part of a descent that says that the ball may hold no adversary of it, and of the
    last part whatever it says."""
    target = node.slope.new_full((1,), radius)
    descent = _descent(engine, node, seen, target)
    parts = GOING_ON if descent.goes_on else FRESH
    for number, (share, pace) in enumerate(parts):
        found, last = descent.run(max(1, round(share * steps)), pace), number == len(parts) - 1
        if last or bool(found.value[0] > 0.0):
            start = torch.full_like(node.start, engine.starts.keep(descent.start(0)))
            behind = replace(seen, mean_before=found.before, mean_behind=found.relaxed, behind=found.behind)
            proof = _Proof.of(engine, node, descent.program, found)
            yield Priced(replace(node, start=start), behind, proof, target)


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


def _raised(
    engine: NodeBounds, nodes: Nodes, before: Pass, target: Tensor, steps: int, closing: bool
) -> Iterator[tuple[Tensor, Nodes, Pass]]:
    """One node after the other, with its place [1] among them and what is known of it now."""
    inherited = engine.through(nodes, before, nodes.normal, nodes.height)
    best = either(inherited.distance > before.distance, inherited, before)
    for tried in _tried(engine, nodes, before, target, steps, closing):
        place, found, program, drawn = tried.place, tried.found, tried.program, tried.drawn
        part, now = nodes.take(place), best.take(place)
        if drawn is not None:
            now = drawn.added_to(now, target[place])
            if drawn.closed:
                yield place, replace(part, normal=now.normal, height=now.height), now
                continue
        part = handing_on(part, before.take(place))
        now = replace(
            now, shift=engine.likeliest(part, _random(program, found)),
            mean_before=found.before, mean_behind=found.relaxed, behind=found.behind,
        )  # fmt: skip
        point = program.middle + program.half * found.vectors[..., 0].double().nan_to_num().clamp(-1.0, 1.0)
        start = torch.full_like(part.start, engine.starts.keep(tried.start))
        yield place, replace(part, point=point, normal=now.normal, height=now.height, start=start), now


@dataclass(frozen=True, eq=False)
class _Tried:
    """What a descent made of one node; nothing is drawn where that was not worth a factorisation."""

    place: Tensor  # [1] among the nodes
    found: Found
    program: Program
    start: Start  # for its children
    drawn: _Drawn | None


def _tried(
    engine: NodeBounds, nodes: Nodes, before: Pass, target: Tensor, steps: int, closing: bool
) -> Iterator[_Tried]:
    """Every node, by one descent of all of them in two parts: what the prices of the first close goes no further.

    Factorisations are each node's own, and the time limit is looked at before each. Where only `closing` counts, a
    node whose descent says that it stays open has none; its children go on from where it ended.
    """
    descent = _descent(engine, nodes, before, target)
    plain = _lowest(engine, nodes, target, before.normal, before.height)
    places = torch.arange(len(nodes), device=target.device)
    parts = GOING_ON if descent.goes_on else FRESH
    for number, (share, pace) in enumerate(parts):
        found, last = descent.run(max(1, round(share * steps)), pace), number == len(parts) - 1
        if descent.goes_on and closing:
            worth = found.value > LIKELY * descent.lost
        else:
            worth = (found.value > PROMISING * (found.value - plain[places])) | last
        left = []
        for k in range(len(places)):
            look()
            one = torch.tensor([k], device=places.device)
            place, own, program = places[one], found.take(one), descent.program.take(one)
            drawn = None
            if bool(worth[k]):
                drawn = _Drawn.of(engine, nodes.take(place), program, own, target[place])
                descent.lost[k] = torch.minimum(descent.lost[k], (own.value - drawn.lowest)[0])
            if last and drawn is not None and not drawn.closed:
                own, drawn = _polished(engine, nodes.take(place), program, own, drawn, target[place])
                descent.lost[k] = torch.minimum(descent.lost[k], (own.value - drawn.lowest)[0])
            if last or (drawn is not None and drawn.closed):
                yield _Tried(place, own, program, descent.start(k), drawn)
            else:
                left.append(k)
        if last or not left:
            break
        chosen = torch.tensor(left, device=places.device)
        descent, places = descent.take(chosen), places[chosen]


def _polished(
    engine: NodeBounds, node: Nodes, program: Program, found: Found, drawn: _Drawn, target: Tensor
) -> tuple[Found, _Drawn]:
    """One node's best prices after an augmented Lagrangian's, where the relaxation says that better ones may close it:
    as long as what is missing falls fast."""
    lagrangian = AugmentedLagrangian(program, found)
    hopeful = bool(found.value[0] > HOPE * (found.value - drawn.lowest)[0])
    for rounds in LAGRANGIAN_ROUNDS if hopeful else ():
        look()
        before = float(drawn.lowest[0])
        own = lagrangian.run(LAGRANGIAN_STEPS, rounds)
        better = _Drawn.of(engine, node, program, own, target)
        gained = float(better.lowest[0]) - before
        if gained > 0.0:
            found, drawn = own, better
        if drawn.closed or not gained > -WORTH * before:
            break
    return found, drawn


def _descent(engine: NodeBounds, nodes: Nodes, before: Pass, target: Tensor) -> Descent:
    """From where the descents of the nodes' parents ended; or where a tangent was drawn before, or else where a plain
    pass is least."""
    program = Program.of(engine, nodes, target)
    known = (nodes.height > -torch.inf).unsqueeze(-1)
    mean = (nodes.point - program.middle) / program.half.clamp_min(LEAST)
    descent = Descent(program, vectors_of(torch.where(known, mean, -0.5 * before.normal.sign())))
    starts = engine.starts.of(nodes.start)
    if starts is not None:
        descent.go_on(starts)
    return descent


def _room(engine: NodeBounds, nodes: Nodes, radius: Tensor) -> tuple[Tensor, Tensor]:
    """How far down and up inputs can go [N, n] on balls of `radius` [N]."""
    stack = engine.stack
    member, reach = stack.member[nodes.goal], radius.unsqueeze(-1)
    return torch.minimum(stack.below[member], reach), torch.minimum(stack.above[member], reach)


def _lowest(engine: NodeBounds, nodes: Nodes, radius: Tensor, normal: Tensor, height: Tensor) -> Tensor:
    """[N] the least values of normal · d + height on balls of `radius` [N]."""
    down, up = _room(engine, nodes, radius)
    return height - (normal.clamp_min(0.0) * down - normal.clamp_max(0.0) * up).sum(-1)


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

    def drawn(self, radius: Tensor) -> tuple[Line, Tensor]:
        """What holds on balls of `radius` [N], and smaller ones on which the least value should be just above zero; 0
        where it is above here."""
        program, reach = self.quadratic.program, radius.unsqueeze(-1)
        down, up = _room(self.engine, self.nodes, radius)
        low, high = program.within(down, up)
        line = self.quadratic.drawn(low, high, self.start)
        value = _lowest(self.engine, self.nodes, radius, line.normal, line.height)
        e = line.point[:, : low.shape[1]]
        moved = (high - e) * (down >= reach) + (e - low) * (up >= reach)
        rate = self.quadratic.prices.input * moved / program.half.clamp_min(LEAST)
        nearer = radius + NEARER * (value / rate.sum(-1).clamp_min(LEAST))
        nearer = torch.maximum(nearer, LEAST_SHARE * radius)
        return line, torch.where(torch.isfinite(nearer) & (value < 0), nearer, 0.0)


@dataclass(frozen=True, eq=False)
class _Drawn:
    """One node's proof on the ball of the target."""

    proof: _Proof
    line: Line
    nearer: Tensor  # [1] a smaller ball that it may close
    lowest: Tensor  # [1] the line's least value on the ball
    closed: bool

    @classmethod
    def of(cls, engine: NodeBounds, node: Nodes, program: Program, found: Found, target: Tensor) -> _Drawn:
        proof = _Proof.of(engine, node, program, found)
        line, nearer = proof.drawn(target)
        lowest = _lowest(engine, node, target, line.normal, line.height)
        return cls(proof, line, nearer, lowest, bool(engine.nearest(node, line.normal, line.height)[0] >= target))

    def added_to(self, known: Pass, target: Tensor) -> Pass:
        """What is known of the node, with this."""
        proof, line = self.proof, self.line
        now = proof.engine.through(proof.nodes, known, line.normal, line.height)
        if self.closed:
            return now
        # The function to keep is the one that leaves least of the ball, whatever it says of distances.
        before = _lowest(proof.engine, proof.nodes, target, known.normal, known.height)
        sound = torch.isfinite(line.height)
        farthest = torch.maximum(known.distance, torch.where(sound, now.distance, 0.0))
        kept = either(sound & (self.lowest > before), now, known)
        return replace(kept, distance=_farther(proof, farthest, self.nearer))


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
