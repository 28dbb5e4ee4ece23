"""A node's distance bound by the one-layer semidefinite relaxation.

A descent gives parabolas and prices, and these one linear function that is sound with all rounding. It holds on one
ball. On the ball of the target it closes the node, or says where its adversaries can be; on smaller balls, with the
same parabolas at the same prices, how far away they are: a line drawn on a large ball says little of distances, its
least value on a small one much. Costs some forty products with the first layer's rows a node,
most in single precision, and P²·n + P³ multiplications in double for P neurons with parabolas.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bounds.nodes.node_bounds import NodeBounds, Touching
from bounds.nodes.records import Nodes, Pass, either, handing_on
from bounds.propagation.sample_groups import Grouping
from bounds.semidefinite.one_layer_descent import AXES, Box, Found, Goal, Layer, descent, draws, least_point, vectors_of
from bounds.semidefinite.parabolas import Parabolas, Touch
from encoders.deadline import OutOfTimeError, out_of_time

SMALLER_BALLS = 3  # at most, with the same parabolas
NEARER, LEAST_SHARE = 1.02, 0.3  # of the way to where the least value should be zero, and of the radius
FAR = 0.93  # of the target: nodes that are nearer have a descent on a ball of their own
LEAST = 1e-300
VALUES_AT_ONCE = {"cpu": 2_000_000, "cuda": 400_000_000}  # of [inputs, nodes, axes]


@torch.no_grad()
def raised_by_one_layer(
    engine: NodeBounds, parabolas: Parabolas, nodes: Nodes, seen: Pass, steps: int, target: float | Tensor
) -> tuple[Nodes, Pass]:
    """Raise bounds to `target` by the first layer's relaxation; each node keeps the best function known of it."""
    goal = engine.enough(nodes, target)
    live = torch.nonzero(seen.distance < goal).flatten()
    at_once = max(1, VALUES_AT_ONCE[live.device.type] // (engine.stack.x.shape[2] * AXES))
    for chosen in torch.split(live, at_once) if len(live) else ():
        before = seen.take(chosen)
        try:
            part, found = _raised(engine, parabolas, nodes.take(chosen), goal[chosen], steps)
        except OutOfTimeError:
            break
        best = either((found.distance >= before.distance) & torch.isfinite(found.height), found, before, of=found)
        best = replace(best, distance=torch.maximum(found.distance, before.distance), shift=found.shift)
        nodes, seen = nodes.put(chosen, part), seen.put(chosen, best)
    return nodes, seen


@torch.no_grad()
def parabolas_on_ball(
    engine: NodeBounds, parabolas: Parabolas, nodes: Nodes, radius: float, steps: int
) -> tuple[Nodes, Touch]:
    """The nodes with slopes and multipliers, and parabolas at prices that pay for them, at points of the ball where the
    functions that they make are least: what a bound is made of, for those who write it down."""
    question = _Question.of(engine, parabolas, nodes)
    ball = question.on(engine.enough(nodes, radius))
    answer = question.descended(ball, question.start(ball), steps)
    return answer.question.nodes, answer.touch.drawn_at(answer.least(ball))


def _raised(engine: NodeBounds, parabolas: Parabolas, nodes: Nodes, target: Tensor, steps: int) -> tuple[Nodes, Pass]:
    question = _Question.of(engine, parabolas, nodes)
    plain, first = question.plain, question.first
    inherited = engine.through(nodes, plain, nodes.normal, nodes.height)
    ball = question.on(target)
    answer = question.descended(ball, question.start(ball), steps)
    found = answer.found
    seen, nearer = answer.drawn(ball)
    best = either(inherited.distance > seen.distance, inherited, seen)
    before, behind = plain.preactivation.clone(), plain.mean_behind.clone()
    before[:, first], behind[:, first] = found.mean.double(), found.relaxed.double()
    best = replace(
        best, mean_before=before, mean_behind=behind, shift=question.likeliest(ball, found),
        distance=_farther(question, answer, best.distance, nearer, target, steps),
    )  # fmt: skip
    point = ball.box.middle + ball.box.half * found.middle.nan_to_num().clamp(-1.0, 1.0)
    nodes = replace(answer.question.nodes, point=point, normal=best.normal, height=best.height)
    return handing_on(nodes, best), best


def _farther(
    question: _Question, answer: _Answer, distance: Tensor, nearer: Tensor, target: Tensor, steps: int
) -> Tensor:
    """[N] distances, raised by what holds on smaller balls. `nearer` [N] are the balls to begin with; 0 for none."""
    distance = distance.clone()
    live = torch.arange(len(distance), device=distance.device)
    for turn in range(SMALLER_BALLS):
        going = nearer > distance[live]
        if not bool(going.any()) or out_of_time():
            break
        live, radius, answer = live[going], nearer[going], answer.take(going)
        far = radius < FAR * target[live]
        ball = answer.question.on(radius)
        seen, nearer = answer.drawn(ball)
        distance[live] = torch.maximum(distance[live], torch.minimum(seen.distance, radius))
        if not turn and bool(far.any()):
            again, radius = question.take(live[far]), radius[far]
            ball = again.on(radius)
            try:
                seen, further = again.descended(ball, answer.found.vectors[far], steps).drawn(ball)
            except OutOfTimeError:
                break
            found = torch.minimum(seen.distance, radius)
            distance[live[far]] = torch.maximum(distance[live[far]], found)
            nearer[far] = torch.maximum(nearer[far], further)
    return distance


@dataclass(frozen=True, eq=False)
class _Ball:
    """A ball for each of N nodes."""

    radius: Tensor  # [N]
    down: Tensor  # [N, n] how far inputs can go
    up: Tensor
    box: Box
    goal: Goal


@dataclass(frozen=True, eq=False)
class _Question:
    """N nodes, and what a plain pass saw of them."""

    engine: NodeBounds
    parabolas: Parabolas
    nodes: Nodes
    plain: Pass

    @classmethod
    def of(cls, engine: NodeBounds, parabolas: Parabolas, nodes: Nodes) -> _Question:
        return cls(engine, parabolas, nodes, engine.evaluate(nodes))

    def take(self, index: Tensor) -> _Question:
        return replace(self, nodes=self.nodes.take(index), plain=self.plain.take(index))

    @property
    def first(self) -> slice:
        return self.engine.stack.layers[0]

    @property
    def group(self) -> Grouping:
        return self.engine.stack.grouped(self.nodes.goal)

    @property
    def concave(self) -> Tensor:
        """[N, R] weights of the neurons that have upper lines."""
        behind = self.plain.behind[:, self.first]
        return torch.where(self.nodes.phase[:, self.first] == 0, -behind, 0.0).clamp_min(0.0)

    def on(self, radius: Tensor) -> _Ball:
        """The nodes' goals on balls of `radius` [N]."""
        first, group, parabolas = self.first, self.group, self.parabolas
        down, up = parabolas.room(group, radius)
        box = Box.of(Layer.of(group, parabolas.rows, parabolas.constant), down, up)
        phase, behind, before = (part[:, first] for part in (self.nodes.phase, self.plain.behind, self.plain.before))
        chord, offset = (line[:, first] for line in self.nodes.lines)
        parts = (
            (self.plain.normal - group.times(before, parabolas.rows)) * box.half,
            torch.where(phase > 0, behind, 0.0),
            torch.where(phase == 0, behind, 0.0).clamp_min(0.0),
            self.concave,
            phase,
            chord,
            offset,
        )
        return _Ball(radius, down, up, box, Goal(*(box.layer.spread(part) for part in parts)))

    def start(self, ball: _Ball) -> Tensor:
        """The vectors from which a descent on the ball begins."""
        known = (self.nodes.height > -torch.inf).unsqueeze(-1)
        mean = (self.nodes.point - ball.box.middle) / ball.box.half.clamp_min(LEAST)
        return vectors_of(torch.where(known, mean, -0.5 * self.plain.normal.sign()))

    def descended(self, ball: _Ball, vectors: Tensor, steps: int) -> _Answer:
        """What a descent on the ball makes of the nodes."""
        first, nodes = self.first, self.nodes
        unit = self.engine.stack.goal_z[nodes.goal].abs().amax((-1, -2)).clamp_min(1e-12)
        found = descent(ball.box, ball.goal, vectors, nodes.slope[:, first], nodes.multiplier[:, first], unit, steps)
        slope, multiplier, is_open = nodes.slope.clone(), nodes.multiplier.clone(), nodes.phase[:, first] == 0
        # Whatever the descent says is made valid here; what is no number, as where single precision overflows, leaves
        # things as they were.
        slope[:, first] = _where_finite(is_open, found.slope.double().clamp(0.0, 1.0), slope[:, first])
        multiplier[:, first] = _where_finite(~is_open, found.multiplier.double().clamp_min(0.0), multiplier[:, first])
        chord, offset = (line[:, first] for line in nodes.lines)
        price = found.price / ball.box.half.square().clamp_min(LEAST)
        most = self.concave * (1.0 + 1e-12)
        share, spread = found.share.double(), found.spread.double()
        touch = Touch(found.relaxed, share, spread, chord, offset, price, ball.box.middle, most, ball.down, ball.up)
        touch = self.parabolas.priced(self.group, touch)
        return _Answer(replace(self, nodes=replace(nodes, slope=slope, multiplier=multiplier)), found, touch)

    def likeliest(self, ball: _Ball, found: Found) -> Tensor:
        """[N, n] the likeliest adversary of each node among random inputs with its moments."""
        shifts = ball.box.middle.unsqueeze(1) + ball.box.half.unsqueeze(1) * draws(found.vectors)
        return self.engine.likeliest(self.nodes, shifts)


@dataclass(frozen=True, eq=False)
class _Answer:
    """Slopes, multipliers and parabolas for N nodes, at prices that pay for them on any ball."""

    question: _Question
    found: Found
    touch: Touch

    def take(self, index: Tensor) -> _Answer:
        found = Found(*(part[index] for part in vars(self.found).values()))
        return _Answer(self.question.take(index), found, self.touch.take(index))

    def drawn(self, ball: _Ball) -> tuple[Pass, Tensor]:
        """What holds on the ball, and a smaller ball [N] on which the least value should be just above zero."""
        touch, least = replace(self.touch, down=ball.down, up=ball.up), self.least(ball)
        # On the way from the center to its least point the function falls to zero; drawn there, it says most of
        # distances.
        lowest = self._through(touch.drawn_at(least))
        share = self._crossing(touch, lowest, least)
        across = self._through(touch.drawn_at(least * share.unsqueeze(-1)))
        best = either(across.distance >= lowest.distance, across, lowest)
        return best, _nearer(touch, lowest, least, ball.radius)

    def least(self, ball: _Ball) -> Tensor:
        """[N, n] nearly where the function is least on the ball."""
        box = ball.box
        return box.middle + box.half * least_point(box, ball.goal, self.found, self.touch.price * box.half.square())

    def _through(self, touch: Touch) -> Pass:
        question = self.question
        touched = torch.zeros_like(question.nodes.phase, dtype=torch.bool)
        touched[:, question.first] = question.nodes.phase[:, question.first] == 0
        plain = question.plain
        touching = Touching(question.parabolas, touch, touched, plain.preactivation, plain.mean_behind)
        return question.engine.evaluate(question.nodes, None, touching)

    def _crossing(self, touch: Touch, lowest: Pass, way: Tensor) -> Tensor:
        """[N] the share of the way from center to least point at which the function is zero; 1 if it never is."""
        curvature = touch.most * touch.share / (4.0 * touch.spread)
        moved = self.question.group.times(way, self.question.parabolas.rows.transpose(1, 2))
        bend = (touch.price * way.square()).sum(-1) - (curvature * moved.square()).sum(-1)
        slope = (lowest.normal * way).sum(-1)
        end = lowest.height + slope
        # end + slope · t + bend · t² = 0 for t in [-1, 0], t = 0 being the least point.
        root = (slope.square() - 4.0 * bend.clamp_min(0.0) * end).clamp_min(0.0).sqrt()
        back = 2.0 * end / (root - slope).clamp_min(LEAST)
        return torch.where(end < 0, 1.0 + back, 1.0).nan_to_num(1.0).clamp(0.0, 1.0)


def _where_finite(chosen: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(chosen & torch.isfinite(new), new, old)


def _nearer(touch: Touch, lowest: Pass, least: Tensor, radius: Tensor) -> Tensor:
    """[N] the ball whose least value should be just above zero, at the rate at which it falls with the ball; 0 where
    this one's is above."""
    reach = radius.unsqueeze(-1)
    rate = touch.price * ((least + touch.down) * (touch.up >= reach) + (touch.up - least) * (touch.down >= reach))
    fall = lowest.normal.clamp_min(0.0) * touch.down - lowest.normal.clamp_max(0.0) * touch.up
    value = lowest.height - fall.sum(-1)
    found = radius + NEARER * (value / rate.sum(-1).clamp_min(LEAST))
    found = torch.maximum(found, LEAST_SHARE * radius)
    return torch.where(torch.isfinite(found) & (value < 0), found, 0.0)
