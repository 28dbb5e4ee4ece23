"""Prices of the all-layers relaxation from an augmented Lagrangian: better ones, dearer, from where a descent ended.

A descent's inputs and outputs are near their ends, its prices less so: what they miss is lost where the function is
drawn. Here inputs e and outputs y, as vectors of K axes [Burer & Monteiro 2003], are moved together to where

    goal + Σ ((max(0, π + ρ·f))² - π²) / 2ρ      over the facts f ≤ 0 of `bounds/semidefinite/all_layers_quadratic.py`

is least (of y·(y - h) = 0 without the max), by L-BFGS; then prices π become max(0, π + ρ·f) [Hestenes, Powell 1969].
At such a point S has the vectors in its null space, so that little is missing from no negative eigenvalue. Nothing here
is proven. A step costs two products of rows with vectors, 4·(n + P)·P·K multiplications.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import fmin_l_bfgs_b
from torch import Tensor

from bounds.semidefinite.all_layers_descent import Found
from bounds.semidefinite.all_layers_quadratic import Prices, Program
from encoders.arrays import FloatArray
from encoders.deadline import look

PENALTY = 0.3  # ρ, in units of a fact's price by its size
LEAST = 0.05  # of the mean: prices that are less count as that much
REMEMBERED = 30  # steps, by L-BFGS
TINY = 1e-6

Parts = dict[str, Tensor]


class AugmentedLagrangian:
    """One node's inputs, outputs and prices; `run` may be called again to go on."""

    def __init__(self, program: Program, found: Found) -> None:
        self.found, self.program = found, program
        single = program.changed(lambda part: part[0].float() if part.is_floating_point() else part[0])
        self.single, self.rows = single, torch.cat([single.input, single.inner], dim=-1)
        self.goal = torch.cat([single.goal_input, single.goal_inner])
        self.inputs = len(single.goal_input)
        self.is_open, self.moves = single.sign == 0, single.half > 0
        self.two_sided = self.is_open & program.whole
        self.vectors = torch.cat([found.vectors[0], found.outputs[0]]).float()
        self.prices = {name: price[0].float() for name, price in vars(found.prices.of(program)).items()}
        most, wide = (torch.where(self.is_open, size, 1.0).clamp_min(TINY) for size in (single.most, single.wide))
        self.scale = torch.cat([torch.ones_like(single.goal_input), most]).unsqueeze(-1)
        self.penalties = self._penalties(most, wide)

    def _penalties(self, most: Tensor, wide: Tensor) -> Parts:
        """ρ of every fact: what it is priced at, about, by its size."""
        prices, is_open = self.prices, self.is_open
        worth = (prices["square"] + prices["bound"]) * most.square() + prices["other"] * wide.square()
        worth = worth.clamp_min(LEAST * float(worth[is_open].mean()) if bool(is_open.any()) else TINY)
        far = torch.where(is_open, most, most[is_open].mean() if bool(is_open.any()) else 1.0)
        sizes = {"square": most.square(), "bound": most.square(), "other": wide.square()}
        found = {
            name: PENALTY * worth / sizes.get(name, far).square()
            for name in ("square", "bound", "other", "zero", "above", "below", "sign")
        }
        return found | {"input": PENALTY * prices["input"].clamp_min(LEAST * float(prices["input"].mean()) + TINY)}

    def facts(self, vectors: Tensor) -> tuple[Tensor, Parts]:
        """h [P, K], and every fact's left side, which should not be above 0."""
        program, e, y = self.single, vectors[: self.inputs], vectors[self.inputs :]
        h = self.rows @ vectors
        h[:, 0] += program.constant
        y_one, h_one = y[:, 0], h[:, 0]
        yy, yh, hh = y.square().sum(-1), (y * h).sum(-1), h.square().sum(-1)
        return h, {
            "input": e.square().sum(-1) - 1.0,
            "square": yy - yh,
            "bound": yy - program.most * y_one,
            "other": hh - yh + program.wide * (h_one - y_one),
            "zero": -y_one,
            "above": h_one - y_one,
            "below": y_one - program.chord * h_one - program.offset,
            "sign": -program.sign * h_one,
        }

    def priced(self, facts: Parts) -> Parts:
        """What prices become where facts are missed by so much."""
        found = {}
        for name, fact in facts.items():
            price = self.prices[name] + self.penalties[name] * fact
            there = {"input": self.moves, "sign": ~self.is_open, "other": self.two_sided}.get(name, self.is_open)
            found[name] = torch.where(there, price if name == "square" else price.clamp_min(0.0), 0.0)
        return found

    def value(self, vectors: Tensor) -> tuple[float, Tensor]:
        """The function above, and its gradient."""
        look()
        program, inputs = self.single, self.inputs
        h, facts = self.facts(vectors)
        p, y = self.priced(facts), vectors[inputs:]
        value = (self.goal * vectors[:, 0]).double().sum()
        for name, price in p.items():
            value += ((price.square() - self.prices[name].square()) / (2.0 * self.penalties[name])).double().sum()
        of_h = p["other"].unsqueeze(-1) * (2.0 * h - y) - p["square"].unsqueeze(-1) * y
        of_h[:, 0] += p["other"] * program.wide + p["above"] - program.chord * p["below"] - program.sign * p["sign"]
        gradient = self.rows.T @ of_h
        gradient[:inputs] += 2.0 * p["input"].unsqueeze(-1) * vectors[:inputs]
        square, mixed = p["square"] + p["bound"], p["square"] + p["other"]
        gradient[inputs:] += 2.0 * square.unsqueeze(-1) * y - mixed.unsqueeze(-1) * h
        own = p["below"] - p["bound"] * program.most - p["other"] * program.wide - p["zero"] - p["above"]
        gradient[inputs:, 0] += own
        gradient[:, 0] += self.goal
        return float(value), gradient

    @torch.no_grad()
    def run(self, steps: int, rounds: int) -> Found:
        """So many rounds of `steps` steps: where vectors and prices are then."""
        shape, like = self.vectors.shape, self.vectors

        def at(flat: FloatArray) -> tuple[float, FloatArray]:
            vectors = torch.from_numpy(flat).to(like).reshape(shape) * self.scale
            value, gradient = self.value(vectors)
            return value, (gradient * self.scale).double().flatten().cpu().numpy()

        for _ in range(rounds):
            start = (self.vectors / self.scale).double().flatten().cpu().numpy()
            flat, _, _ = fmin_l_bfgs_b(at, start, m=REMEMBERED, maxiter=steps, maxfun=2 * steps, factr=0.0)
            vectors = torch.from_numpy(np.nan_to_num(flat)).to(like).reshape(shape) * self.scale
            self.vectors, self.prices = vectors, self.priced(self.facts(vectors)[1])
        vectors = self.vectors.unsqueeze(0)
        inner = vectors[:, self.inputs :, 0].double()
        prices = Prices(**{name: price.unsqueeze(0) for name, price in self.prices.items()})
        return replace(
            self.found, prices=prices, vectors=vectors[:, : self.inputs], outputs=vectors[:, self.inputs :], inner=inner
        )
