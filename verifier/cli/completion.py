"""`plumbline completion`: a script that completes commands and flags, made from the parser itself."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`plumbline completion SHELL`."""
    parser.description = 'For this shell: eval "$(plumbline completion bash)"'
    parser.add_argument("shell", choices=("bash", "zsh"), metavar="SHELL", help="bash or zsh")


def run(arguments: argparse.Namespace) -> int:
    """Print the script; returns the exit status."""
    import shtab

    print(shtab.complete(arguments.grammar, shell=arguments.shell))
    return 0
