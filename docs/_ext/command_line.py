"""The directive `command-line`: every command of `plumbline` and every flag, from the parser itself."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from verifier.cli.parser import build_parser


class CommandLine(SphinxDirective):
    """A section for each command: its usage, its description, and each flag as a target of `option` references."""

    def run(self) -> list[nodes.Node]:
        text = "\n".join(described(build_parser()))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def described(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The whole parser as reStructuredText, the commands in the order of its help."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield from _section(name, command)


def _section(name: str, command: argparse.ArgumentParser) -> Iterator[str]:
    yield from (f".. program:: {command.prog}", "", name, "-" * len(name), "")
    yield from (_inline(command.description or ""), "", ".. code-block:: text", "")
    yield from (f"   {line}" for line in command.format_usage().splitlines())
    for group in command._action_groups:
        actions = [action for action in group._group_actions if not isinstance(action, argparse._HelpAction)]
        if actions:
            yield from ("", f".. rubric:: {(group.title or 'other').capitalize()}", "")
        for action in actions:
            yield from (f".. option:: {_signature(action)}", "")
            yield from (f"   {_inline((action.help or '') % {**vars(action), 'prog': command.prog})}", "")
    yield ""


def _signature(action: argparse.Action) -> str:
    """`--norm P`, or the name of what has no flag."""
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if not action.option_strings:
        return value
    return ", ".join(flag if action.nargs == 0 else f"{flag} {value}" for flag in action.option_strings)


def _inline(help_text: str) -> str:
    return help_text.replace("\\", "\\\\").replace("*", "\\*").replace("|", "\\|").replace("`", "``")


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True}
