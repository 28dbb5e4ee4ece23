"""Wilson's interval against its own definition, and by hand where all or none count."""

from __future__ import annotations

import numpy as np
import pytest

from verifier.studies.wilson import WITHIN, Share, wilson


@pytest.mark.parametrize(("count", "samples"), [(1, 6), (3, 6), (50, 100), (99, 100)])
def test_its_ends_are_the_shares_that_lie_as_far_from_the_sample_as_chance_allows(count: int, samples: int) -> None:
    for end in wilson(count / samples, samples):
        spread = np.sqrt(end * (1 - end) / samples)
        assert abs(count / samples - end) == pytest.approx(WITHIN * spread)


def test_all_and_none_still_say_something() -> None:
    low, high = wilson(np.array([0.0, 1.0]), 6)
    assert low.tolist() == [0.0, pytest.approx(1 / (1 + WITHIN**2 / 6))]
    assert high.tolist() == [pytest.approx(1 - 1 / (1 + WITHIN**2 / 6)), 1.0]
    assert [float(end) for end in wilson(0.0, 0)] == [0.0, 1.0]


def test_undecided_samples_widen_a_share_on_both_sides() -> None:
    share = Share(3, 5, 8)
    assert share.told() == "37.5% to 62.5%"
    assert list(share.interval) == pytest.approx([float(wilson(3 / 8, 8)[0]), float(wilson(5 / 8, 8)[1])])
    assert Share(0, 0, 0).told() == Share(0, 0, 0).interval_told() == "–"
