"""The command line: ``hntk inspect FILE`` and ``hntk export FILE --to c``; also as ``python -m hntk``."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import hntk
from hntk.deploy.c import to_c
from hntk.deploy.c_choice import CHOICES
from hntk.deploy.onnx import write_onnx
from hntk.deploy.onnx_weights import BLOCK_FORMS
from hntk.deploy.rounding import to_integers
from hntk.networks.float_readout import FloatReadout
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_regressor import IntegerRegressor
from hntk.networks.saving import Saved, load, load_packed
from hntk.networks.summary import summarize

EXAMPLES = """\
examples:
  {prog} inspect net.safetensors
  {prog} export net.safetensors --to onnx
  {prog} export net.safetensors --to c --pixels --out firmware/

FILE is what hntk.save(network, FILE) wrote. '{prog} COMMAND --help' describes a command's options.
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    words : sequence of str, optional
        Command and options; by default those of the process.

    Returns
    -------
    int
        Exit status. After an error it is 1, and one line on stderr says what to do.
    """
    parser = _parser(_program_name(sys.argv[0]))
    options = parser.parse_args(words)
    if options.run is None:
        parser.print_help()
        return 0
    try:
        options.run(options)
    except (ValueError, OSError, ImportError) as error:
        print(_printable(f"{type(error).__name__}: {error}", sys.stderr), file=sys.stderr)
        return 1
    return 0


def _program_name(path: str) -> str:
    """Return how the program was called: ``hntk`` or ``python -m hntk``."""
    return "python -m hntk" if Path(path).name == "__main__.py" else "hntk"


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description="Inspect saved networks, and export them to ONNX or C.",
        epilog=EXAMPLES.format(prog=program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"hntk {hntk.__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_inspect(commands)
    _add_export(commands)
    return parser


def _add_inspect(commands: argparse._SubParsersAction) -> None:
    about = "Print a saved network's layers: shapes, encodings, bits a weight, bytes and arithmetic."
    inspect = commands.add_parser("inspect", help="print what a file holds", description=about)
    inspect.add_argument("file", metavar="FILE", type=Path, help="a file that hntk.save wrote")
    inspect.add_argument("--json", action="store_true", help="print JSON instead of a table")
    inspect.set_defaults(run=_inspect)


def _add_export(commands: argparse._SubParsersAction) -> None:
    about = (
        "Write a saved classifier as an ONNX model, or as C99: a header, a source and a main program. It predicts what "
        "the integer classifier predicts, to the bit."
    )
    export = commands.add_parser("export", help="write a classifier as ONNX or C", description=about)
    export.add_argument("file", metavar="FILE", type=Path, help="a classifier that hntk.save wrote")
    export.add_argument("--to", choices=("onnx", "c"), required=True, help="what to write")
    export.add_argument(
        "--out", metavar="PATH", type=Path, help="the ONNX file, or the folder for C (default: beside FILE)"
    )
    export.add_argument(
        "--pixels",
        action="store_true",
        help="for a float classifier: its raw samples are bytes from 0 to 255, and the exported one takes these",
    )
    onnx, c = export.add_argument_group("ONNX"), export.add_argument_group("C")
    onnx.add_argument(
        "--weights",
        choices=("int2", "int8"),
        default="int2",
        help="type of the weights; int2 needs a runtime of opset 25 (default: %(default)s)",
    )
    onnx.add_argument(
        "--blocks",
        choices=BLOCK_FORMS,
        default="smaller",
        help="what orthogonal blocks become: transforms or explicit weights (default: the smaller one of each)",
    )
    c.add_argument(
        "--name", default="hntk_net", help="name of the files and prefix of their functions (default: %(default)s)"
    )
    c.add_argument(
        "--layouts",
        choices=CHOICES,
        default="smallest",
        help="how weights are stored: in the fewest bytes or for the fewest instructions on a Cortex-M4, or all in one "
        "layout (default: %(default)s)",
    )
    export.set_defaults(run=_export)


def _printable(text: str, stream: TextIO) -> str:
    """Return text in the characters that a stream has, without control characters that a terminal would act on.

    Names and labels come from a file, which anybody may have made.
    """
    shown = "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
    encoding = stream.encoding or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def _inspect(options: argparse.Namespace) -> None:
    summary, size = summarize(*load_packed(options.file)), options.file.stat().st_size
    if options.json:
        print(json.dumps({"file": str(options.file), "file_bytes": size, **summary.to_dict()}, indent=2))
        return
    ratio = summary.float_bytes / size
    heading = f"{options.file}: {size:,} bytes; in float32 its matrices take {ratio:.1f} times as many"
    print(_printable(f"{heading}\n{summary}", sys.stdout))


def _export(options: argparse.Namespace) -> None:
    classifier = _integer_classifier(load(options.file), options)
    if options.to == "onnx":
        out = options.out or options.file.with_suffix(".onnx")
        size = write_onnx(classifier, out, options.weights, blocks=options.blocks)
        print(f"{out}: {size:,} bytes")
        return
    program = to_c(classifier, options.name, layouts=options.layouts)
    folder = options.out or options.file.parent
    folder.mkdir(parents=True, exist_ok=True)
    header, source, main_file = program.write(folder)
    print(
        f"{header}\n{source}\n{main_file}: reads samples from its standard input\n"
        f"tables (flash): {program.table_bytes:,} bytes; scratch (RAM): {program.scratch_bytes:,} bytes\n"
        f"cc -std=c99 -O3 -march=native {_shell_word(source)} {_shell_word(main_file)} -o {options.name}"
    )


def _shell_word(path: Path) -> str:
    """Return a path as one word of a shell command that cannot be taken for an option."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def _integer_classifier(saved: Saved, options: argparse.Namespace) -> IntegerClassifier | IntegerRegressor:
    """Return the classifier or regressor of a file in whole numbers.

    Raises
    ------
    ValueError
        If the file holds no classifier, or one whose input the options do not say how to round.
    """
    if isinstance(saved, IntegerClassifier | IntegerRegressor):
        return saved
    if not isinstance(saved, FloatReadout):
        raise ValueError(
            f"{options.file} holds a network without a readout, which predicts nothing: save a classifier, such as "
            "hntk.fit_ridge returns."
        )
    if not options.pixels:
        raise ValueError(
            f"{options.file} holds a float32 classifier. If its raw samples are bytes, add --pixels; otherwise save "
            "hntk.to_integers(classifier, x=samples), where the samples set the unit of the input."
        )
    return to_integers(saved, pixels=True)  # type: ignore[return-value]


if __name__ == "__main__":
    sys.exit(main())
