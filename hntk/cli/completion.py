"""``hntk completion bash``: a script by which a shell completes commands and options."""

from __future__ import annotations

import argparse

from hntk.cli.parser import parser_of

# Arguments with these names are completed by files, or by folders.
FILES, FOLDERS = ("DATA", "FILE", "PATH"), ("DIR",)


def run(options: argparse.Namespace) -> None:
    """Print the script. It holds all options, so that completing does not start Python."""
    # needed here alone
    import shtab

    parser = parser_of("hntk")
    for action in _actions(parser):
        if action.metavar in FILES + FOLDERS:
            action.complete = shtab.FILE if action.metavar in FILES else shtab.DIRECTORY  # type: ignore[attr-defined]
    print(shtab.complete(parser, options.shell))


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the arguments of a parser and of those below it."""
    found = list[argparse.Action]()
    for action in parser._actions:
        found.append(action)
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                found += _actions(below)
    return found
