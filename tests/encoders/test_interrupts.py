"""Signals: what they ask of running work, and that processes which are being started see none of them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from encoders.deadline import EVERYTHING
from encoders.interrupts import ONE_BREATH, Interrupted, cooperative, interrupted, interrupts_blocked, interrupts_stop

SURVIVE = "import os, signal; os.kill(os.getpid(), signal.SIGINT); print('alive')"


def test_a_signal_waits_until_the_end() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    reached = []

    def interrupted() -> None:
        with interrupts_blocked():
            signal.raise_signal(signal.SIGINT)
            reached.append("the end")

    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    finally:
        signal.signal(signal.SIGINT, before)
    assert reached == ["the end"]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_process_that_is_started_does_not_see_it() -> None:
    with interrupts_blocked():
        found = subprocess.run([sys.executable, "-c", SURVIVE], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "alive\n", "")


STUBBORN = """
import time
from encoders.deadline import EVERYTHING
from encoders.interrupts import cooperative, interrupts_stop
with interrupts_stop(), cooperative():
    print("on", flush=True)
    end = time.monotonic() + 60
    while not EVERYTHING.asked and time.monotonic() < end:
        time.sleep(0.01)
    print("asked" if EVERYTHING.asked else "deaf", flush=True)
    time.sleep(120)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_a_second_one_ends_at_once(number: int) -> None:
    with subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "on\n"
            process.send_signal(number)
            assert process.stdout.readline() == "asked\n"
            process.send_signal(number)  # what is sent twice in one breath, as `timeout` does, is one signal
            time.sleep(1.2 * ONE_BREATH)
            assert process.poll() is None
            process.send_signal(number)
            assert process.wait(60) == -number
        finally:
            process.kill()


def test_work_that_cannot_be_asked_is_interrupted_where_it_is() -> None:
    def interrupt() -> None:
        with interrupts_stop():
            assert interrupted() is None
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted):
        interrupt()
    assert interrupted() == 128 + signal.SIGTERM
    assert not EVERYTHING.asked


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_stop(), cooperative():
            signal.raise_signal(signal.SIGINT)
            assert not EVERYTHING.asked
            assert interrupted() is None
    finally:
        signal.signal(signal.SIGINT, before)
