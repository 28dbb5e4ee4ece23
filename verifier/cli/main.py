"""The command `plumbline`: reads the arguments, hands over, and turns every failure into one line and a status."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Sequence

from encoders.errors import PlumblineError, SoundnessError
from encoders.interrupts import interrupted, interrupts_stop
from verifier.cli.parser import parse

BAD_INPUT, ALARM, INTERRUPTED = 2, 3, 130
INTERRUPTED_LINE = "interrupted; what was finished is kept"

atexit.register(gc.freeze)  # else every command ends with a second of collecting what torch holds


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    with interrupts_stop():
        return _run(sys.argv[1:] if argv is None else argv)


def _run(argv: Sequence[str]) -> int:
    try:
        arguments = parse(argv)
        status: int = arguments.run(arguments)
        return status if interrupted() is None else _say(INTERRUPTED_LINE, interrupted() or INTERRUPTED)
    except KeyboardInterrupt:
        return _say(INTERRUPTED_LINE, interrupted() or INTERRUPTED)
    except BrokenPipeError:  # the reader of our output left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BAD_INPUT
    except SoundnessError as error:
        return _say(f"SOUNDNESS ALARM: {error}", ALARM)
    except PlumblineError as error:  # of a stopped run, that there is nothing to tell yet
        return _say(str(error), interrupted() or BAD_INPUT)
    except OSError as error:
        return _say(_without_number(error), BAD_INPUT)
    except Exception as error:
        if os.environ.get("PLUMBLINE_TRACEBACK"):
            raise
        hint = "an error inside plumbline; set PLUMBLINE_TRACEBACK=1 to see where"
        return _say(f"{type(error).__name__}: {error} ({hint})", BAD_INPUT)


def _without_number(error: OSError) -> str:
    """What the system says of a file, without its number for it; some of Python's own errors have neither."""
    if error.strerror is None:
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror.lower()}"


def _say(message: str, status: int) -> int:
    print(f"plumbline: {' '.join(message.split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
