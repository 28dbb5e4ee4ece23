"""Whether the next node has its linear program: by what those closed of late, or for a part of the time."""

from __future__ import annotations

import pytest

from encoders.deadline import Clock
from verifier.engines.phase_search.program_choice import GAIN_RATE, ProgramChoice


class Told(Clock):
    """Tells the time that it is given."""

    seconds = 0.0

    def now(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Told:
    return Told()


def test_programs_that_close_nothing_have_a_share_of_the_time(clock: Told) -> None:
    choice = ProgramChoice(clock, share=0.25, worth=0.5)
    assert not choice.next(), "no time has passed"
    clock.seconds = 8.0
    with choice.timed():
        clock.seconds = 9.0
    assert choice.seconds == 1.0
    assert choice.next(), "1 s of 9 is less than a quarter"
    with choice.timed():
        clock.seconds = 11.0
    assert not choice.next(), "3 s of 11 are more"
    clock.seconds = 12.5
    assert choice.next()


def test_programs_that_close_much_are_solved_for_every_node(clock: Told) -> None:
    choice = ProgramChoice(clock, share=0.0, worth=2.5 * GAIN_RATE)
    choice.saw(gap=2.0, gained=2.0)
    choice.saw(gap=2.0, gained=5.0)  # beyond what was lacking counts as all of it
    assert choice.gain == pytest.approx(GAIN_RATE + GAIN_RATE * (1.0 - GAIN_RATE))
    assert not choice.next()
    choice.saw(gap=2.0, gained=1.9)
    assert choice.next()
    choice.saw(gap=2.0, gained=-1.0)  # what is no better is no gain, and no loss
    assert choice.gain == pytest.approx((1.0 - GAIN_RATE) * (GAIN_RATE * 0.95 + (1.0 - GAIN_RATE) * 0.19))
    choice.saw(gap=0.0, gained=0.0)
    assert not choice.pays
