"""The options of ``hntk compress``. Nothing of the library is imported here."""

from __future__ import annotations

import argparse
from pathlib import Path

from hntk.cli.shared_options import add_data, add_json

# A test compares values that the library defines elsewhere.
AUGMENTATIONS = ("none", "digits")


def add_compress_options(command: argparse.ArgumentParser) -> None:
    """Add DATA, the budget, what is written and how it is fitted."""
    add_data(command)
    command.add_argument(
        "--kilobytes",
        metavar="KB",
        type=float,
        default=64.0,
        help="size of the program's tables, of 1000 bytes (default: 64)",
    )
    command.add_argument("--to", choices=("c", "onnx", "both"), default="c", help="what to write (default: c)")
    command.add_argument("--out", metavar="DIR", type=Path, help="folder of the files (default: NAME_hntk here)")
    command.add_argument("--name", help="name of the files and prefix of their functions (default: DATA's name)")
    command.add_argument("--force", action="store_true", help="replace files of these names in DIR")
    command.add_argument(
        "--test-share",
        metavar="SHARE",
        type=float,
        default=0.2,
        help="share of DATA kept for the test, where it has no test part of its own (default: 0.2)",
    )
    _add_fitting(command)
    add_json(command)


def _add_fitting(command: argparse.ArgumentParser) -> None:
    fitting = command.add_argument_group("fitting")
    fitting.add_argument(
        "--method",
        choices=("train", "random"),
        default="train",
        help="train all layers, or draw hidden layers of matched activations and fit the readout (default: train)",
    )
    fitting.add_argument(
        "--levels", metavar="N", type=int, help="levels of the activations (default: the method's choice)"
    )
    fitting.add_argument(
        "--epochs", metavar="N", type=int, help="epochs of training (default: by the number of samples)"
    )
    fitting.add_argument(
        "--augment", choices=AUGMENTATIONS, default="none", help="vary training images at random (default: none)"
    )
    fitting.add_argument(
        "--layouts",
        choices=("smallest", "fastest"),
        default="smallest",
        help="how C stores weights: in the fewest bytes, for which the budget is, or for the fewest instructions",
    )
