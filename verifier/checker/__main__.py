"""`python -m verifier.checker PROOF… --model net.onnx`."""

from __future__ import annotations

import argparse
import sys

from verifier.checker.command import add_arguments, run


def main() -> int:
    """Read the arguments, and check."""
    parser = argparse.ArgumentParser(prog="python -m verifier.checker", allow_abbrev=False)
    add_arguments(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
