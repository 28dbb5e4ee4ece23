"""Branch and bound on one ball, of which every step can be written down.

The search of `verifier/engines/phase_search/` closes nodes by whatever is quickest, while the ball shrinks around it;
this one is given the ball, and uses what the proof format has a rule for: splits at phases, passes with slopes,
multipliers of signs and weights of rows, upper lines by shares, parabolas and products for which inputs and neurons
pay, and neurons bounded on the caps that such passes leave.
All of it is rounded to few bits before it counts, so that what is written is what closed the node.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from bounds.nodes.linear_program import NodeProgram
from bounds.nodes.node_bounds import NodeBounds, Touching
from bounds.nodes.output_constrained import AnyCap, costly
from bounds.nodes.records import Nodes, Pass, handing_on
from bounds.reduced_net.neurons_as_rows import Pairs, relaxed_rows
from bounds.semidefinite.all_layers_bound import Priced
from encoders.deadline import Deadline, in_time
from encoders.question import Norm
from verifier.engines.phase_search.branching import by_program, by_relaxation
from verifier.engines.phase_search.program_choice import ProgramChoice, program_of
from verifier.proofs.parabola_lines import OneLayerParabolas
from verifier.proofs.product_lines import AllLayersProducts
from verifier.proofs.proof_tree import (
    Bounded,
    Cap,
    Claimed,
    Close,
    Empty,
    Multipliers,
    ProofNode,
    ProofTree,
    Split,
    UpperShares,
)
from verifier.proofs.shared_lines import ShareAscent, Shares

BATCH = 128  # nodes at a time
STEPS, RATE = 8, 0.15  # of an ascent
TURNS = 3  # of ascents, with a cap between two
LINED_TURNS = 3  # the same with upper lines by shares
BITS = (10, 20, 40)  # of multipliers: the fewest that close the node
SHARE_BITS = (6, 9)  # of the shares of upper lines: likewise
CAP_BITS = 20  # of bounds on a cap, of the range's size
WEIGHT_BITS = 8  # of their weights
PROGRAM_WORTH = 0.02  # of the gap: a node less is worth more here than in a search, for whoever checks it
WORTH = 0.01  # of a range that a bound must take away, to be written down
MARGIN = 1e-9  # relative, and of the radius: what arithmetic in float64 and chords of 40 bits can differ by


@dataclass(eq=False)
class _Open:
    """Nodes that are not closed yet, and their numbers in the tree."""

    nodes: Nodes
    numbers: list[int]
    shares: list[Shares | None]  # of upper lines, by those of the nodes they were split from
    branches: dict[int, int] = field(default_factory=dict)  # where nodes are best split, by their numbers

    def at(self, kept: Tensor, nodes: Nodes | None = None) -> _Open:
        """Those at these places, as they are or as `nodes`."""
        places = kept.tolist()
        part = self.nodes.take(kept) if nodes is None else nodes
        return _Open(part, [self.numbers[k] for k in places], [self.shares[k] for k in places], self.branches)

    def parted(self, count: int) -> tuple[_Open, _Open | None]:
        """At most so many of them, and the others."""
        if len(self.nodes) <= count:
            return self, None
        every = torch.arange(len(self.nodes), device=self.nodes.goal.device)
        return self.at(every[:count]), self.at(every[count:])


class ProofSearch:
    """The tree that shows that a ball holds no adversary."""

    def __init__(
        self, engine: NodeBounds, radius: float, deadline: Deadline, solver: str | None = None, curved: bool = True
    ) -> None:
        self.engine, self.radius, self.deadline, self.solver = engine, radius, deadline, solver
        self.closed_at = radius * (1.0 + 10 * MARGIN) + 1e-12
        self.enough = radius * (1.0 + 100 * MARGIN) + 1e-11
        self.tree = ProofTree(0, [])
        self.ascent = ShareAscent(engine, radius) if ShareAscent.possible(engine) else None
        self.parabolas = OneLayerParabolas(engine, radius) if curved and OneLayerParabolas.possible(engine) else None
        self.products = AllLayersProducts(engine, radius) if curved and AllLayersProducts.possible(engine) else None
        self.programs = ProgramChoice(deadline.clock, worth=PROGRAM_WORTH)

    def run(self) -> ProofTree | None:
        """The tree; None where time was up before, or where a linear piece of the net could not be closed.

        Where a solver says that the ball is empty, what is left open then is its claim.
        """
        return self.tree if self._closed_all() else self._claimed()

    def _claimed(self) -> ProofTree | None:
        if self.solver is None:
            return None
        for node in self.tree.nodes:
            node.end = node.end or Claimed(self.solver)
        return self.tree

    def _closed_all(self) -> bool:
        """Whether every node was closed in time."""
        roots = self.engine.roots()
        self.tree = ProofTree(len(roots), [ProofNode() for _ in range(len(roots))])
        left = [_Open(roots, list(range(len(roots))), [None] * len(roots))]
        while left:
            chosen, rest = left.pop().parted(BATCH)
            if rest is not None:
                left.append(rest)
            if self.deadline.passed:
                return False
            children = in_time(self.deadline, partial(self._worked_on, chosen), None)
            if children is None:
                return False
            if children.numbers:
                left.append(children)
        return True

    def _worked_on(self, chosen: _Open) -> _Open | None:
        """The children of those that had to be split; None where one can be neither closed nor split."""
        nodes, seen = self.engine.optimise(chosen.nodes, STEPS, self.enough, RATE)
        left = replace(chosen, nodes=nodes)
        turns = TURNS if self.ascent is None else 1
        for turn in range(turns):
            left, seen = self._close(left, seen)
            if not left.numbers or turn + 1 == turns:
                break
            left = self._cap(left)
            if not left.numbers:
                break
            nodes, seen = self.engine.optimise(left.nodes, STEPS, self.enough, RATE)
            left = replace(left, nodes=nodes)
        if left.numbers and self.parabolas is not None:
            left, seen = self._curved(self.parabolas, left, seen)
        if left.numbers:
            left, seen = self._programmed(left, seen)
        if left.numbers and self.products is not None:
            left, seen = self._multiplied(self.products, left, seen)
        if left.numbers and self.ascent is not None:
            left, seen = self._lined(self.ascent, left, seen)
        return self._split(left, seen) if left.numbers else left

    def _close(self, chosen: _Open, seen: Pass) -> tuple[_Open, Pass]:
        """What is left once nodes that can be closed are, with the fewest bits."""
        for bits in BITS:
            plain = rounded(chosen.nodes, bits)
            closed = self.engine.evaluate(plain).distance > self.closed_at
            for k in torch.nonzero(closed).flatten().tolist():
                self.tree.nodes[chosen.numbers[k]].end = Close(multipliers_of(plain, k))
            kept = torch.nonzero(~closed).flatten()
            chosen, seen = chosen.at(kept), seen.take(kept)
            if not bool((seen.distance > self.closed_at).any()):
                break
        return chosen, seen

    def _curved(self, parabolas: OneLayerParabolas, chosen: _Open, seen: Pass) -> tuple[_Open, Pass]:
        """What is left once nodes are closed that parabolas close."""
        nodes, drawn = parabolas.drawn(chosen.nodes)
        kept: list[int] = []
        for k, (number, terms) in enumerate(zip(chosen.numbers, drawn, strict=True)):
            node = rounded(nodes.take(torch.tensor([k])), BITS[0])
            if terms is None or not self._closes(node, parabolas.touching(node, terms)):
                kept.append(k)
            else:
                self.tree.nodes[number].end = Close(replace(multipliers_of(node, 0), parabolas=terms))
        places = torch.tensor(kept, dtype=torch.int64)
        return chosen.at(places), seen.take(places)

    def _programmed(self, chosen: _Open, seen: Pass) -> tuple[_Open, Pass]:
        """What is left once nodes are closed that linear programs close, for as long as those gain much."""
        chosen = replace(chosen, branches={})
        # In L2 a program is curved, and costs more than splits.
        numbers = chosen.numbers if self.engine.net.norm is not Norm.L2 else []
        for k, number in enumerate(numbers):
            if self.deadline.passed or not self.programs.next():
                break
            place = torch.tensor([k])
            node = chosen.nodes.take(place)
            if bool((node.phase != 0).all()):
                continue  # a linear piece has one anyway
            with self.programs.timed():
                found = program_of(self.engine, node, self.enough, self.deadline.left)
            if found is None:
                continue
            lacks = self.enough - float(seen.distance[k])
            self.programs.saw(lacks, found.distance - float(seen.distance[k]))
            if found.distance > float(seen.distance[k]):
                chosen.nodes, seen = chosen.nodes.put(place, found.node), seen.put(place, found.seen)
            branch = by_program(found.cost)
            if branch is not None:
                chosen.branches[number] = branch
        return self._close(chosen, seen)

    def _multiplied(self, products: AllLayersProducts, chosen: _Open, seen: Pass) -> tuple[_Open, Pass]:
        """What is left once nodes are closed that products of neurons close. Each costs as much as a batch of plain
        ones; its children are split off by what its descent saw, and their descents go on from there."""
        kept: list[int] = []
        for k, number in enumerate(chosen.numbers):
            place = torch.tensor([k])
            for priced in products.priced(chosen.nodes.take(place), seen.take(place)):
                if self._product(products, priced, number):
                    break
                chosen.nodes, seen = chosen.nodes.put(place, priced.node), seen.put(place, priced.seen)
            else:
                kept.append(k)
        places = torch.tensor(kept, dtype=torch.int64)
        return chosen.at(places), seen.take(places)

    def _product(self, products: AllLayersProducts, priced: Priced, number: int) -> bool:
        """Whether products close the node."""
        found = products.drawn(priced)
        if found is None:
            return False
        node = rounded(found[0], BITS[0])
        if not products.closes(node, found[1], self.closed_at):
            return False
        self.tree.nodes[number].end = Close(replace(multipliers_of(node, 0), products=found[1].terms))
        return True

    def _closes(self, node: Nodes, touching: Touching) -> bool:
        return bool(self.engine.evaluate(node, touching=touching).distance > self.closed_at)

    def _lined(self, ascent: ShareAscent, chosen: _Open, seen: Pass) -> tuple[_Open, Pass]:
        """What is left once nodes are closed that upper lines by shares close, each by itself."""
        for turn in range(LINED_TURNS):
            kept: list[int] = []
            functions: list[Multipliers] = []
            for k, number in enumerate(chosen.numbers):
                place = torch.tensor([k])
                node, shares = ascent.raised(chosen.nodes.take(place), chosen.shares[k])
                for bits in SHARE_BITS:
                    plain, few = rounded(node, BITS[0]), shares.rounded(bits)
                    found = self.engine.evaluate(plain, touching=ascent.touching(few))
                    listed = torch.nonzero(few.lined & (found.behind[0] < 0)).flatten()
                    upper = UpperShares(few.bins, listed, few.share[listed])
                    function = replace(multipliers_of(plain, 0), upper=upper)
                    if bool(found.distance > self.closed_at):
                        self.tree.nodes[number].end = Close(function)
                        break
                else:
                    kept.append(k)
                    functions.append(function)
                    chosen.shares[k] = shares
                    chosen.nodes = chosen.nodes.put(place, handing_on(node, found))
                    seen = seen.put(place, ascent.seen_at(node, shares, found))
            places = torch.tensor(kept, dtype=torch.int64)
            chosen, seen = chosen.at(places), seen.take(places)
            if turn + 1 == LINED_TURNS or not kept:
                break
            numbers = chosen.numbers
            chosen = self._capped(chosen, seen, functions)
            seen = seen.take(torch.tensor([numbers.index(one) for one in chosen.numbers], dtype=torch.int64))
        return chosen, seen

    def _cap(self, chosen: _Open) -> _Open:
        """The nodes with the bounds that hold where their goal can be below zero, by one pass with chords."""
        nodes = rounded(chosen.nodes, BITS[0])
        functions = [multipliers_of(nodes, k) for k in range(len(nodes))]
        return self._capped(chosen, self.engine.evaluate(nodes), functions)

    def _capped(self, chosen: _Open, seen: Pass, functions: list[Multipliers]) -> _Open:
        """The same by the functions that passes ended in, which were made with these; nodes left empty are closed."""
        stack, nodes = self.engine.stack, chosen.nodes
        member = stack.member[nodes.goal]
        cap = AnyCap(stack, member, seen, seen.distance.new_tensor([self.radius]))
        lower, upper, phase = nodes.lower.clone(), nodes.upper.clone(), nodes.phase.clone()
        found: list[list[Bounded]] = [[] for _ in chosen.numbers]
        worthy = costly(nodes, seen) if len(stack.layers) == 1 else torch.ones_like(phase, dtype=torch.bool)
        for layer in stack.layers:
            node, neuron = torch.nonzero((phase[:, layer] == 0) & worthy[:, layer], as_tuple=True)
            if not len(node):
                continue
            neuron = neuron + layer.start
            width = (upper - lower)[node, neuron]
            for sign, bounds in ((1.0, lower), (-1.0, upper)):
                pairs = Pairs(sign, node, neuron, layer.start)
                rows = relaxed_rows(stack, member, pairs, lower, upper)
                weight = significant(cap.price(pairs, rows), WEIGHT_BITS)
                value = cap.priced(pairs, rows, weight)
                unit = exp2(width) * 2.0**-CAP_BITS
                loose = MARGIN * (value.abs() + width + weight * cap.reach[node])
                value = torch.floor((value - loose) / unit) * unit
                better = value - sign * bounds[node, neuron] > WORTH * width
                for k in torch.unique(node[better]).tolist():
                    of = better & (node == k)
                    found[k].append(Bounded(sign, neuron[of], sign * value[of], weight[of]))
                bounds[node[better], neuron[better]] = sign * value[better]
            known = torch.where(lower[:, layer] >= 0, 1, torch.where(upper[:, layer] <= 0, -1, 0)).to(phase.dtype)
            phase[:, layer] = torch.where(phase[:, layer] != 0, phase[:, layer], known)
        for k, bounded in enumerate(found):
            if bounded:
                node_of = self.tree.nodes[chosen.numbers[k]]
                node_of.caps.append(Cap(functions[k], tuple(bounded)))
        empty = lower > upper
        for k in torch.nonzero(empty.any(-1)).flatten().tolist():
            self.tree.nodes[chosen.numbers[k]].end = Empty(int(torch.nonzero(empty[k])[0]))
        kept = torch.nonzero(~empty.any(-1)).flatten()
        capped = replace(chosen.nodes.fixed(phase), lower=lower, upper=upper)
        return chosen.at(kept, capped.take(kept))

    def _split(self, chosen: _Open, seen: Pass) -> _Open | None:
        """The children of nodes with open phases; those without are linear pieces, closed by their programs."""
        fixed = (chosen.nodes.phase != 0).all(-1)
        for k in torch.nonzero(fixed).flatten().tolist():
            if not self._close_piece(chosen.nodes.take(torch.tensor([k], device=fixed.device)), chosen.numbers[k]):
                return None
        kept = torch.nonzero(~fixed).flatten()
        chosen = chosen.at(kept)
        nodes, numbers = chosen.nodes, chosen.numbers
        if not numbers:
            return chosen
        branch = by_relaxation(nodes, seen.take(kept))
        for k, number in enumerate(numbers):
            if number in chosen.branches and nodes.phase[k, chosen.branches[number]] == 0:  # caps may have fixed it
                branch[k] = chosen.branches[number]
        first = len(self.tree.nodes)
        children = list(range(first, first + 2 * len(numbers)))
        for k, number in enumerate(numbers):
            end = Split(int(branch[k]), children[k], children[len(numbers) + k])
            self.tree.nodes[number].end = end
        self.tree.nodes += [ProofNode() for _ in children]
        return _Open(nodes.split(branch), children, 2 * chosen.shares)

    def _close_piece(self, node: Nodes, number: int) -> bool:
        raised = NodeProgram(self.engine, node).raised(self.enough, self.deadline.left).node
        left, _ = self._close(_Open(raised, [number], [None]), self.engine.evaluate(raised))
        return not left.numbers


def rounded(nodes: Nodes, bits: int) -> Nodes:
    """The nodes with slopes, multipliers and weights of few bits; all are valid still."""
    scale = 2.0**bits
    known = torch.where(nodes.phase != 0, nodes.multiplier, 0.0)
    # A ball may leave no phase open: then there is nothing to take the greatest of.
    unit = exp2(torch.nn.functional.pad(known, (0, 1)).amax(-1, keepdim=True)) / scale
    weight = (nodes.row_weight * scale).round() / scale
    return replace(
        nodes,
        slope=(nodes.slope * scale).round() / scale,
        multiplier=(nodes.multiplier / unit).round() * unit,
        row_weight=torch.where(weight.sum(-1, keepdim=True) > 0, weight, 1.0),
    )


def exp2(size: Tensor) -> Tensor:
    """The power of two at or above each size, and not below the least that is of use."""
    return torch.exp2(size.clamp(1e-60, 1e60).log2().ceil())


def significant(numbers: Tensor, bits: int) -> Tensor:
    """Numbers ≥ 0 rounded to so many leading bits."""
    unit = exp2(numbers) * 2.0**-bits
    return (numbers / unit).round() * unit


def multipliers_of(nodes: Nodes, k: int) -> Multipliers:
    """Those of one node of a batch."""
    phase = nodes.phase[k]
    sign = phase.to(nodes.multiplier.dtype) * nodes.multiplier[k]
    return Multipliers(nodes.slope[k], phase == 0, sign, nodes.row_weight[k])
