"""`plumbline completion`: a script that completes commands and flags, made from the parser itself."""

from __future__ import annotations

import argparse

import shtab

from verifier.cli.parser import build_parser


def run(arguments: argparse.Namespace) -> int:
    """Print the script; returns the exit status."""
    print(shtab.complete(build_parser(), shell=arguments.shell))
    return 0
