"""Options that several commands have. Nothing of the library is imported here."""

from __future__ import annotations

import argparse
from pathlib import Path

# A test compares values that the library defines elsewhere.
NORMALIZATIONS = ("scale", "unit_norm", "whiten", "none")


def add_json(command: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    command.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def add_data(command: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """Add DATA, and how it is read."""
    more = " (default: a reference mixture of two classes)" if optional else ""
    command.add_argument(
        "data", metavar="DATA", type=Path, nargs="?" if optional else None, help=f"samples with labels{more}"
    )
    reading = command.add_argument_group("reading DATA")
    reading.add_argument(
        "--label",
        metavar="COLUMN",
        help="column of the labels in a table, by name or place from 0 (default: one called label, class, target or y, "
        "or else the last)",
    )
    reading.add_argument(
        "--header",
        choices=("auto", "yes", "no"),
        default="auto",
        help="whether a CSV's first row has names (default: auto)",
    )
    reading.add_argument(
        "--scale",
        choices=("auto", "columns", "one"),
        default="auto",
        help="bring each column to the same size, or all together; bytes stay as they are (default: columns in tables)",
    )
    reading.add_argument(
        "--task",
        choices=("auto", "classification", "regression"),
        default="auto",
        help="whether labels are classes or quantities (default: numbers with fractions are quantities)",
    )
    reading.add_argument("--seed", metavar="N", type=int, default=0, help="seed of all that is random (default: 0)")


def add_normalize(command: argparse.ArgumentParser) -> None:
    """Add how samples are brought to the scale of the theory."""
    command.add_argument(
        "--normalize",
        choices=NORMALIZATIONS,
        default="scale",
        help="how samples are brought to the scale of the theory (default: scale, by their mean and one factor)",
    )


def add_scales(command: argparse.ArgumentParser) -> None:
    """Add the scales of a network that is not the paper's."""
    scales = command.add_argument_group("networks with biases or other scales")
    scales.add_argument("--weight-std", metavar="S", type=float, help="standard deviation of the weights (default: 1)")
    scales.add_argument("--bias-std", metavar="S", type=float, help="standard deviation of the biases (default: 0)")
    scales.add_argument("--not-centred", action="store_true", help="keep the mean of the activations")
