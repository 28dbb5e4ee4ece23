"""What listeners are told, and how often what is new is looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from verifier.service.feed import LONGEST, LOOK, TELLING, Feed, pause_after
from verifier.service.store.records import Event
from verifier.service.store.store import Store


def test_looks_take_a_small_part_of_the_time() -> None:
    assert pause_after(0.0) == LOOK
    assert pause_after(0.1) == 0.1 / TELLING
    assert pause_after(60.0) == LONGEST  # a database that stood still is looked at again soon


@pytest.mark.fewer(1)
def test_how_a_run_is_is_made_once_for_all_who_come_before_anything_happens(store: Store) -> None:
    feed, made = Feed(store), list[str]()

    def render(run: str, events: Sequence[Event]) -> list[tuple[Event, str]]:
        made.append(run)
        return [(event, f'{{"state": "queued", "made": {len(made)}}}') for event in events]

    feed.render = render

    async def first(run: str, after: int | None = None) -> bytes:
        told = feed.listen(run, after)
        lines.append(told)
        return await anext(told)

    lines = list[object]()

    async def all_come() -> list[bytes]:
        found = [await first("a"), await first("a"), await first("b")]
        feed._position += 1  # something has happened
        found += [await first("a"), await first("b", after=0)]
        return found

    one, again, other, later, _ = asyncio.run(all_come())
    assert one == again
    assert b'"made": 1}' in one
    assert b'"made": 2}' in other
    assert b'"made": 3}' in later
    assert made == ["a", "b", "a", "b"]  # who comes back is told what was missed
