"""What an ordinary run leaves out, by hand."""

from __future__ import annotations

import pytest

from tests.selection import chosen, ordinary

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnknownMarkWarning")  # in the run within
NORMS, SEEDS = 3, 4
PRODUCT = [frozenset({("norm", norm), ("seed", seed)}) for norm in range(NORMS) for seed in range(SEEDS)]


def test_every_value_occurs() -> None:
    """Twelve cases of three norms and four seeds: four hold every norm and every seed."""
    kept = chosen(PRODUCT, None)
    assert len(kept) == SEEDS
    assert {choice for place in kept for choice in PRODUCT[place]} == {choice for case in PRODUCT for choice in case}


def test_no_more_than_asked_for() -> None:
    assert chosen(PRODUCT, 3) == [0, 5, 10]


def test_a_case_without_parameters_is_left_out() -> None:
    assert chosen([frozenset()], None) == []


def test_a_run(pytester: pytest.Pytester) -> None:
    items = pytester.getitems(
        """
        import pytest
        @pytest.mark.slow
        def test_slow(): pass
        @pytest.mark.release
        def test_release(): pass
        @pytest.mark.fewer(2)
        @pytest.mark.parametrize("one", range(4))
        def test_swept(one): pass
        def test_plain(): pass
        """
    )
    held, left = ordinary(items)
    assert [item.name for item in held] == ["test_swept[0]", "test_swept[1]", "test_plain"]
    assert {item.name for item in left} == {"test_slow", "test_release", "test_swept[2]", "test_swept[3]"}
    held, left = ordinary(items, slow=True)
    assert [item.name for item in held] == ["test_slow", "test_swept[0]", "test_swept[1]", "test_plain"]
    assert {item.name for item in left} == {"test_release", "test_swept[2]", "test_swept[3]"}
