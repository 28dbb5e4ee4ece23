"""Which ball a distance search asks about next.

Bounds on a ball far larger than the distance say nothing, and cost a large tree; a ball little larger than what is
proven closes at once, until it holds the adversary, which is then found. So what lies between the proven and a ball
that failed is halved; where little is left, that ball is tried again with more patience. The whole ball of the nearest
adversary is no such limit: it is tried again as soon as a smaller one is closed, and in place of one that is nearly as
large. (A tree that is seen to close has as much patience as it needs: `search.py`.)
"""

from __future__ import annotations

from dataclasses import dataclass

STAGE_GROWTH = 1.6
RETREAT = 0.5  # of the gap
CAREFUL = 0.25  # of what lies between a closed ball and the nearest adversary
ALMOST = 0.9  # of the nearest adversary's distance: what is beyond costs little more than this ball
NEARLY = 0.01  # of the nearest adversary's distance: where less is left, its whole ball is next
FINE = 0.125  # of what lies between the proven and the nearest adversary: nearer to a ball that failed is no use


@dataclass
class BallSchedule:
    """The ball that is searched, and how long. `reach` below is the distance of the nearest adversary known."""

    radius: float
    patience: float  # nodes without a nearer adversary before the tree is too large
    failed: float = float("inf")  # the least ball whose tree grew too large for the patience there was
    stride: float = 1.0  # at most, of what lies between a closed ball and the nearest adversary

    def after_closed(self, proven: float, reach: float) -> None:
        """On from a ball that is closed: it is behind us even where less is proven, since a leaf's adversary need not
        replay."""
        behind = max(proven, self.radius)
        if self.failed >= reach:
            careful = self.stride < 1.0 and reach - behind > NEARLY * reach
            farthest = behind + self.stride * (reach - behind) if careful else reach
            self.radius = min(farthest, self.radius * STAGE_GROWTH)
            if not careful and self.radius > ALMOST * reach:
                self.radius = reach
        elif self.failed - behind <= FINE * (reach - behind):
            self.patience *= 2.0
            self.radius, self.failed = self.failed, float("inf")
        else:
            self.radius = behind + RETREAT * (self.failed - behind)

    def after_failed(self, proven: float, reach: float) -> None:
        """Back from a ball whose tree grew too large."""
        self.failed = min(self.radius, reach)
        self.patience *= 1.2
        self.radius = proven + RETREAT * (self.failed - proven)

    def go_carefully(self, proven: float, failed: float, patience: float) -> None:
        """On from what was proven without a tree, below a ball that was not, where a tree's first nodes are dear."""
        self.patience, self.failed, self.stride = patience, failed, CAREFUL
        self.radius = proven + RETREAT * (failed - proven)

    def start_beyond(self, proven: float, ceiling: float) -> None:
        """On from what was proven without a tree, this ball and more."""
        self.radius = min(ceiling, STAGE_GROWTH * proven)
