"""The open nodes of a search: which come out first, and how much of the tree they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from bounds.nodes.records import Nodes
from verifier.engines.phase_search.open_nodes import OpenNodes


def nodes(count: int) -> Nodes:
    """Nodes told apart by their goal."""
    table = torch.zeros((count, 3), dtype=torch.float64)
    phase = torch.zeros((count, 3), dtype=torch.int8)
    goal, weight, none, zero = torch.arange(count), torch.ones((count, 1)), torch.zeros((count, 0)), torch.zeros(count)
    return Nodes(phase, table, table, table - 1, table + 1, goal, weight, none, none, zero, goal, zero, zero)


def test_lowest_and_highest_come_out() -> None:
    frontier = OpenNodes(nodes(1), capacity=2)
    frontier.push(nodes(5), torch.tensor([3.0, 1.0, 4.0, 2.0, 5.0]), torch.arange(5))
    assert (len(frontier), frontier.lowest, frontier.goal_of_lowest) == (5, 1.0, 1)
    each = frontier.bytes // 5
    low, bound, branch = frontier.pop_lowest(2)
    assert (bound.tolist(), branch.tolist(), low.goal.tolist()) == ([1.0, 2.0], [1, 3], [1, 3])
    high, bound, _ = frontier.pop_highest(1)
    assert (bound.tolist(), high.goal.tolist()) == ([5.0], [4])
    assert frontier.bytes == 2 * each
    assert frontier.drop_above(4.0) == 4.0
    assert (len(frontier), frontier.lowest) == (1, 3.0)
    assert frontier.pop_highest(9)[1].tolist() == [3.0]
    assert frontier.lowest == np.inf


def test_a_split_halves_its_part_of_the_tree() -> None:
    roots = replace(nodes(3), share=torch.ones(3, dtype=torch.float64))
    frontier = OpenNodes(roots)
    frontier.push(roots, torch.tensor([1.0, 2.0, 3.0]), torch.zeros(3, dtype=torch.int64))
    assert frontier.share == 3.0
    taken, bound, branch = frontier.pop_lowest(1)
    frontier.push(taken.split(branch), bound.repeat(2), branch.repeat(2))
    assert frontier.share == 3.0
    taken, _, _ = frontier.pop_lowest(1)  # and one child closes
    assert (taken.share.tolist(), frontier.share) == ([0.5], 2.5)
