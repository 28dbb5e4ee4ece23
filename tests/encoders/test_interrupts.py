"""Ctrl-C while processes start: none of them sees it, and it is not lost."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from encoders.interrupts import interrupts_blocked

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
