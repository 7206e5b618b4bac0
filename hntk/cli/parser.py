"""The options of all commands. Nothing of the library is imported here: a command's module is, when it runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from hntk.cli.compress_options import add_compress_options
from hntk.cli.shared_options import add_data, add_json, add_normalize, add_scales

SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")
# Values of options that commands share; a test compares those that the library defines elsewhere.
LAYOUTS = ("smallest", "fastest", "planes", "gaps", "indices", "indices16", "rice", "base3", "transform")
BLOCKS = ("smaller", "transform", "explicit")
FORMS = ("fastest", "portable")

EXAMPLES = """\
examples:
  {prog} compress digits.csv --kilobytes 16
  {prog} compress mnist/ --kilobytes 64 --to c --out firmware/
  {prog} check mnist/
  {prog} match relu relu relu --levels 4
  {prog} spectrum --network relu relu relu
  {prog} inspect net.safetensors
  {prog} export net.safetensors --to c --pixels --out firmware/

DATA is a folder of IDX files such as MNIST's, an .npz of x and y or of x_train, y_train, x_test and y_test, or a .csv
or .parquet with a column of labels. FILE is what hntk.save(network, FILE) or '{prog} compress' wrote.
'{prog} COMMAND --help' describes a command's options.
"""


def parser_of(program: str, version: str = "") -> argparse.ArgumentParser:
    """Return the parser of the command line.

    Parameters
    ----------
    program : str
        How it was called.
    version : str
        Version that ``--version`` prints.

    Returns
    -------
    argparse.ArgumentParser
        The parser. What it parses has ``run``, the function of the command, or None without one.
    """
    parser = argparse.ArgumentParser(
        prog=program,
        description="From data to a program of ternary weights for a microcontroller, and the kernels behind it.",
        epilog=EXAMPLES.format(prog=program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"hntk {version}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for add in (_add_compress, _add_check, _add_match, _add_spectrum, _add_inspect, _add_export, _add_completion):
        add(commands)
    return parser


def _command(commands: argparse._SubParsersAction, name: str, brief: str, about: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=brief, description=about)
    command.set_defaults(run=_runner(name))
    return command


def _runner(name: str) -> Callable[[argparse.Namespace], None]:
    """Return a function that imports the command's module and runs it."""
    return lambda options: import_module(f"hntk.cli.{name}").run(options)


def _add_compress(commands: argparse._SubParsersAction) -> None:
    command = _command(
        commands,
        "compress",
        "make a program that fits so many kilobytes from data",
        "Train a network of ternary weights and few levels, or draw one and fit its readout, so that the tables of its "
        "C program fit a budget; measure it on test samples, and write the packed file, the program and a page about "
        "both. An interrupted training goes on where it was by the same command.",
    )
    add_compress_options(command)


def _add_check(commands: argparse._SubParsersAction) -> None:
    command = _command(
        commands,
        "check",
        "check whether the theory applies to data",
        "Measure every assumption of the theory on the training samples of DATA, with a remedy for each that fails.",
    )
    add_data(command)
    add_normalize(command)
    command.add_argument(
        "--network",
        metavar="ACTIVATION",
        nargs="+",
        help="compare the kernels of this network too, one activation a layer",
    )
    add_scales(command)
    add_json(command)


def _add_match(commands: argparse._SubParsersAction) -> None:
    command = _command(
        commands,
        "match",
        "solve for activations of few levels with a network's kernel",
        "Find step functions of few levels with which a network has the kernel coefficients of the given one, and "
        "print them with the coefficients, the identity shift δ and the bound that no other such functions can beat.",
    )
    command.add_argument("activations", metavar="ACTIVATION", nargs="+", help="activation of each layer, such as relu")
    command.add_argument(
        "--levels",
        metavar="N",
        nargs="+",
        type=_levels,
        help="levels of all layers or of each, or 'paper' (default: 4)",
    )
    command.add_argument("--bits", metavar="N", type=int, help="bits to spend on all layers, in place of levels")
    command.add_argument("--tau0", metavar="T", type=float, default=1.0, help="scale of the samples (default: 1)")
    command.add_argument(
        "--depth", metavar="L", type=int, help="layers of the network of few levels (default: as given)"
    )
    command.add_argument("--method", choices=("joint", "layerwise"), help="solve for all layers at once, or one by one")
    command.add_argument("--no-alpha2", action="store_true", help="leave out α₂, which weighs deviations of norms")
    add_scales(command)
    add_json(command)


def _levels(text: str) -> int | str:
    return text if text == "paper" else int(text)


def _add_spectrum(commands: argparse._SubParsersAction) -> None:
    command = _command(
        commands,
        "spectrum",
        "print eigenvalues of exact and equivalent kernels",
        "Compute the exact kernel of an infinitely wide network on samples of DATA, or on a Gaussian mixture, and its "
        "deterministic equivalent; print eigenvalues of both and their distance.",
    )
    add_data(command, optional=True)
    add_normalize(command)
    command.add_argument(
        "--network", metavar="ACTIVATION", nargs="+", default=["relu"] * 3,
        help="activation of each layer (default: relu relu relu)",
    )  # fmt: skip
    command.add_argument(
        "--kernel", choices=("ck", "ntk"), default="ck", help="conjugate or neural tangent kernel (default: ck)"
    )
    command.add_argument(
        "--samples", metavar="N", type=int, default=800, help="number of samples at most (default: 800)"
    )
    command.add_argument(
        "--dimensions", metavar="P", type=int, help="dimensions of the mixture (default: half of its samples)"
    )
    command.add_argument("--top", metavar="K", type=int, default=5, help="largest eigenvalues to print (default: 5)")
    command.add_argument(
        "--figure", metavar="PATH", type=Path, help="draw both spectra into this file, .svg, .png or .pdf"
    )
    add_scales(command)
    add_json(command)


def _add_inspect(commands: argparse._SubParsersAction) -> None:
    about = "Print a saved network's layers: shapes, encodings, bits a weight, bytes and arithmetic."
    command = _command(commands, "inspect", "print what a file holds", about)
    command.add_argument("file", metavar="FILE", type=Path, help="a file that hntk.save wrote")
    add_json(command)


def _add_onnx_options(onnx: argparse._ArgumentGroup) -> None:
    onnx.add_argument(
        "--weights",
        choices=("int2", "int8"),
        default="int2",
        help="type of the weights; int2 needs a runtime of opset 25 (default: %(default)s)",
    )
    onnx.add_argument(
        "--blocks",
        choices=BLOCKS,
        default="smaller",
        help="what orthogonal blocks become: transforms or explicit weights (default: the smaller one of each)",
    )
    onnx.add_argument(
        "--form",
        choices=FORMS,
        default="fastest",
        help="how whole numbers are multiplied: as bytes, or in float32 for runtimes without MatMulInteger (default: "
        "%(default)s)",
    )


def _add_export(commands: argparse._SubParsersAction) -> None:
    about = (
        "Write a saved classifier as an ONNX model, or as C99: a header, a source and a main program. It predicts what "
        "the integer classifier predicts, to the bit."
    )
    command = _command(commands, "export", "write a classifier as ONNX or C", about)
    command.add_argument("file", metavar="FILE", type=Path, help="a classifier that hntk.save wrote")
    command.add_argument("--to", choices=("onnx", "c"), required=True, help="what to write")
    command.add_argument(
        "--out", metavar="PATH", type=Path, help="the ONNX file, or the folder for C (default: beside FILE)"
    )
    command.add_argument(
        "--pixels",
        action="store_true",
        help="for a float classifier: its raw samples are bytes from 0 to 255, and the exported one takes these",
    )
    add_json(command)
    _add_onnx_options(command.add_argument_group("ONNX"))
    c = command.add_argument_group("C")
    c.add_argument(
        "--name", default="hntk_net", help="name of the files and prefix of their functions (default: %(default)s)"
    )
    c.add_argument(
        "--layouts",
        choices=LAYOUTS,
        default="smallest",
        help="how weights are stored: in the fewest bytes or for the fewest instructions on a Cortex-M4, or all in one "
        "layout (default: %(default)s)",
    )


def _add_completion(commands: argparse._SubParsersAction) -> None:
    about = (
        "Print a script by which a shell completes commands and options. For bash: hntk completion bash > "
        "~/.local/share/bash-completion/completions/hntk"
    )
    command = _command(commands, "completion", "print a script that completes commands in a shell", about)
    command.add_argument("shell", choices=SHELLS, help="the shell")
