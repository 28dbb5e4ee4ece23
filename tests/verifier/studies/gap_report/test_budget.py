"""A report's time: shares that stay within it, whatever order samples end in."""

from __future__ import annotations

import pytest

from encoders.errors import OptionError
from verifier.studies.gap_report.budget import Budget, OutOfBudgetError, measuring_time


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still unless a test moves it."""
    moment = [0.0]
    monkeypatch.setattr("verifier.studies.gap_report.budget.time.time", lambda: moment[0])
    return moment


def test_one_after_the_other_the_time_is_spent_and_no_more(now: list[float]) -> None:
    given = Budget(12.0, {7: 0, 8: 1, 9: 2})
    for index, wanted in ((7, 4.0), (8, 4.0), (9, 4.0)):
        share = given.share(index, 1)
        assert share == pytest.approx(wanted)
        now[0] += share
    with pytest.raises(OutOfBudgetError, match="sample 9"):
        given.share(9, 1)


def test_what_one_leaves_is_there_for_the_rest(now: list[float]) -> None:
    given = Budget(12.0, {0: 0, 1: 1, 2: 2})
    assert given.share(0, 1) == pytest.approx(4.0)
    now[0] = 2.0
    assert given.share(1, 1) == pytest.approx(5.0)


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize(("jobs", "beside"), [(1, 4), (2, 2), (4, 1)])
def test_side_by_side_they_share_what_all_processes_have(jobs: int, beside: int) -> None:
    given = Budget(12.0, {index: index for index in range(4)}, jobs)
    assert sum(given.share(index, beside) for index in range(4)) == pytest.approx(12.0 * jobs)


def test_too_little_is_refused() -> None:
    assert measuring_time(60.0, 2) < 60.0
    with pytest.raises(OptionError, match="give more"):
        measuring_time(5.0, 2)
