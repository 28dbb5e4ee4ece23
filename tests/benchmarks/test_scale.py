"""The simulation of many workers keeps to what no arrangement of samples could beat."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.scale import SHARE, Load, mean, simulated

LOAD = Load(samples=round(2000 / SHARE), workers=20, median=1.0, ninth=2.0, central=0.0)


def test_workers_without_a_central_place_have_work_all_the_time() -> None:
    told = simulated(LOAD)
    assert told.hours == pytest.approx(LOAD.samples * mean(1.0, 2.0) / LOAD.workers / 3600.0, rel=0.1)
    assert told.solving > 0.9
    assert told.lost == 0.0


def test_the_end_of_a_run_weighs_no_more_than_it_does_with_all_samples() -> None:
    told = simulated(replace(LOAD, samples=round(60 / SHARE)))
    assert told.tail > 0.0
    assert 0.95 < told.solving <= 1.0


def test_no_run_is_shorter_than_what_its_central_place_has_to_do() -> None:
    told = simulated(replace(LOAD, central=0.5))
    assert told.hours >= 0.99 * LOAD.samples * 0.5 / 3600.0
    assert told.busy > 0.9
    assert told.solving < 0.2


def test_workers_that_die_lose_time_and_no_sample() -> None:
    lasting, dying = simulated(LOAD), simulated(replace(LOAD, life=30.0))
    assert dying.lost > 0.0
    assert dying.hours > lasting.hours
