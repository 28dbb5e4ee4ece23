"""Starts of descents: kept by key, forgotten when memory is short, and never one net's in another."""

from __future__ import annotations

import pytest
import torch

from bounds.nodes.starts import NONE, Starts


def test_each_node_has_its_parent_s_start() -> None:
    starts = Starts()
    keys = [starts.keep({"vectors": torch.full((2,), float(k))}) for k in range(3)]
    found = starts.of(torch.tensor([keys[2], keys[0], keys[2]]))
    assert found is not None
    assert [start["vectors"][0].item() for start in found] == [2.0, 0.0, 2.0]


def test_nodes_of_which_one_has_none_start_afresh() -> None:
    starts, others = Starts(), Starts()
    key, other = starts.keep({}), others.keep({})
    assert starts.of(torch.tensor([key])) == [{}]
    assert starts.of(torch.tensor([key, NONE])) is None
    assert starts.of(torch.tensor([other])) is None  # of another net


def test_what_is_no_number_is_no_start() -> None:
    starts = Starts()
    assert starts.keep({"vectors": torch.zeros(2), "gain": torch.tensor([1.0, torch.nan])}) == NONE
    assert not starts.known


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bounds.nodes.starts.MOST_BYTES", 100)
    starts = Starts()
    first, second, third = (starts.keep({"vectors": torch.zeros(12)}) for _ in range(3))  # 48 bytes each
    assert starts.of(torch.tensor([first])) is None
    assert starts.of(torch.tensor([second, third])) is not None
