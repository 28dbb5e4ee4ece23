"""Options are checked where they enter, and refused in one line that names the option, its value and the valid ones."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass, field, replace
from typing import Annotated, Any

import numpy as np
import pytest

from encoders.errors import DataError, OptionError
from encoders.question import Norm
from encoders.validation import PLAIN, ConvexNorm, Natural, NonNegative, Number, among, built, checked, validated


@validated
class Settings:
    """Options of every sort."""

    norm: Norm = Norm.LINF
    colour: Annotated[str, among(("red", "blue"))] = "red"
    pair: Annotated[tuple[Number, Number], PLAIN] = (0.0, 1.0)
    radii: dict[ConvexNorm, tuple[NonNegative, ...]] = field(default_factory=dict)
    count: Natural | None = None

    def __post_init__(self) -> None:
        if self.pair[0] > self.pair[1]:
            raise DataError("pair: the lower number comes first")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"norm": "l7"}, "norm 'l7': choose from linf, l1, l2, l0"),
        ({"norm": 3}, "norm 3: choose from linf, l1, l2, l0"),
        ({"colour": "green"}, "colour 'green': choose from red, blue"),
        ({"colours": "red"}, "option 'colours': did you mean colour? choose from norm, colour, pair, radii, count"),
        ({"pair": 1}, "pair 1: it should be a list"),
        ({"pair": (1,)}, "pair (1,): entry 1 is missing"),
        ({"pair": (1, 2, 3)}, "pair (1, 2, 3): it should have at most 2 items, not 3"),
        ({"pair": (0, "x")}, "pair[1] 'x': it should be a number"),
        ({"pair": (0, float("nan"))}, "pair[1] nan: it should be a finite number"),
        ({"pair": (1, 0)}, "pair: the lower number comes first"),
        ({"radii": {"l0": [1]}}, "norm 'l0': choose from linf, l1, l2"),
        ({"radii": {"l1": [1, -1]}}, "radii.l1[1] -1: it should be greater than or equal to 0"),
        ({"radii": 3}, "radii 3: it should be a table"),
        ({"count": 0}, "count 0: it should be greater than or equal to 1"),
        ({"count": True}, "count True: it should be a whole number"),
        ({"count": "3"}, "count '3': it should be a whole number"),
        ({"count": "a\nb"}, r"count 'a\nb': it should be a whole number"),
    ],
)
def test_what_is_refused_and_in_which_words(given: dict[str, Any], told: str) -> None:
    with pytest.raises((OptionError, DataError)) as caught:
        Settings(**given)
    assert str(caught.value) == told
    assert caught.value.__cause__ is None


def test_by_position_and_too_long_to_be_shown_whole() -> None:
    with pytest.raises(OptionError, match=r"^colour 'green'"):
        Settings(Norm.L1, "green")
    with pytest.raises(OptionError) as caught:
        Settings(count="x" * 10_000)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 160


def test_numbers_of_numpys_are_numbers() -> None:
    made = Settings(pair=np.array([0, 2]), count=np.int64(3))  # type: ignore[arg-type]
    assert (made.pair, made.count) == ((0.0, 2.0), 3)
    assert type(made.count) is int


def test_validated_options_are_frozen_dataclasses_that_travel() -> None:
    made = Settings("l1", radii={"l2": [1]})  # type: ignore[arg-type, dict-item]
    assert pickle.loads(pickle.dumps(made)) == made
    assert replace(made, count=2).radii == {Norm.L2: (1.0,)}
    with pytest.raises(OptionError, match="count 0"):
        replace(made, count=0)
    with pytest.raises(FrozenInstanceError):
        made.count = 3  # type: ignore[misc]


@dataclass(frozen=True)
class Plain:
    """Any dataclass, as a regulariser of somebody else's is."""

    rate: float = 1.0
    rounds: int = 3


def test_a_plain_dataclass_from_a_table() -> None:
    made = built("part p", Plain, {"rate": 2})
    assert made == Plain(2.0)
    assert type(made.rate) is float
    for table, told in (({"rounds": 1.5}, "part p: rounds 1.5: it"), ({"rat": 1}, "part p: option 'rat': did")):
        with pytest.raises(OptionError, match=told):
            built("part p", Plain, table)


def test_one_value() -> None:
    assert checked("seeds", list[Natural], (1, 2)) == [1, 2]
    with pytest.raises(OptionError, match=r"^seeds\[1\] 0: "):
        checked("seeds", list[Natural], [1, 0])


@pytest.mark.parametrize("code", ["import verifier", "import verifier.cli.main as c; c.parse(['--help'])"])
def test_pydantic_costs_nothing_where_nothing_is_asked(code: str) -> None:
    program = f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nassert 'pydantic' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
