"""Branch and bound on inputs, for nets of few inputs and questions about whole boxes.

A box is closed where a pass over it excludes every goal; else it shrinks to what its linear functions leave of the
goals, and is halved by the input whose halves promise to be closed first. Many boxes are bounded in one batch, the most
promising last seen first, and points of each are tried as witnesses. Halves share the face between them, so that they
cover their parent. Everything is float64 with its rounding accounted for: the basis is `rigorous`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bounds.boxes.box_bounds import Bounded, BoxBounds, Boxes
from bounds.boxes.cuts import halves
from bounds.boxes.narrowing import narrowed
from bounds.propagation.device_graph import DeviceGraph
from encoders.deadline import Deadline, OutOfTimeError, under
from encoders.question import Region
from verifier.question.incumbent import Incumbent

BOXES = 128  # bounded at a time
NUMBERS = 4_000_000  # that their rows' coefficients may take
POINTS = 1024  # tried as witnesses of each batch
OFFERED = 4  # of those, the nearest
SIDES = 0.4  # beyond a box's width: random points leave it there, and are put on its faces
MOST_WHOLE = 64  # boxes that cannot be halved: from there on no witness is waited for


@dataclass(eq=False)
class InputSplitting:
    """Boxes that are not closed yet."""

    bounds: BoxBounds
    incumbent: Incumbent
    boxes: Boxes
    generator: torch.Generator
    visited: int = 0
    whole: int = 0  # boxes that floats cannot halve, and one pass does not close: they stay open for good

    @classmethod
    def on(
        cls,
        device_graph: DeviceGraph,
        cases: Sequence[Sequence[int]],
        region: Region,
        incumbent: Incumbent,
        seed: int = 0,
    ) -> InputSplitting:
        """The whole box; each case is some outputs of the graph, and is reached where all of them are at most zero."""
        bounds = BoxBounds(device_graph, region, cases)
        return cls(bounds, incumbent, bounds.whole, torch.Generator().manual_seed(seed))

    @property
    def closed(self) -> bool:
        """Whether every box is closed: then no input of the whole box reaches a goal."""
        return not len(self.boxes) and not self.whole

    def run(self, deadline: Deadline) -> bool:
        """Go on until every box is closed, a witness is known, or time is up; says whether every box is closed."""
        most = max(1, min(BOXES, NUMBERS // (1 + self.bounds.neurons * self.bounds.rows)))
        while len(self.boxes) and self.whole < MOST_WHOLE and self.incumbent.best is None and not deadline.passed:
            chosen = self.boxes.take(slice(-most, None))
            try:
                with under(deadline):
                    left = self._left_of(chosen)
            except OutOfTimeError:
                break
            self.visited += len(chosen)
            self.boxes = Boxes.joined([self.boxes.take(slice(0, -most)), left])
        return self.closed

    @torch.no_grad()
    def _left_of(self, boxes: Boxes) -> Boxes:
        """What one pass leaves of boxes, in halves, the most promising last; what cannot be halved is counted."""
        bounded = self.bounds.bounded(boxes)
        lower, upper, left = narrowed(bounded.rows, self.bounds.of_goal, boxes.lower, boxes.upper, boxes.left)
        open_ = left.any(1)
        if not open_.any():
            return boxes.take(open_)
        bounded = bounded.take(open_)
        parts = bounded.on(lower[open_], upper[open_], left[open_])
        row = self.bounds.hardest(bounded.rows.least(parts), parts.left)
        self._offer(bounded, parts, row)
        found = halves(bounded, parts, row)
        self.whole += found.whole
        return found.boxes

    def _offer(self, bounded: Bounded, parts: Boxes, row: Tensor) -> None:
        """The middles, the corners that the hardest rows point to, and random points, many of them on faces."""
        normal = bounded.rows.normal[torch.arange(len(row), device=row.device), row]
        corner = torch.where(normal > 0, parts.lower, parts.upper)
        copies = max(1, POINTS // len(parts))
        share = torch.rand((copies, *corner.shape), generator=self.generator, dtype=torch.float64).to(corner)
        share = ((1.0 + 2.0 * SIDES) * share - SIDES).clamp(0.0, 1.0)
        random = parts.lower + share * (parts.upper - parts.lower)
        points = torch.cat([parts.middle, corner, random.flatten(0, 1)])
        value = self.bounds.nearest(points)
        best = points[value.topk(min(OFFERED, len(value)), largest=False).indices]
        self.incumbent.offer(self.bounds.inputs(best).cpu().numpy(), "input-splits")
