"""``python -m hntk inspect FILE`` and ``python -m hntk export FILE --to c``."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from hntk.deploy.c import to_c
from hntk.deploy.onnx import write_onnx
from hntk.deploy.rounding import to_integers
from hntk.networks.classifier import Classifier
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.saving import Saved, load, load_packed
from hntk.networks.summary import summarize


def main(words: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status; an error is one line on stderr."""
    parser = argparse.ArgumentParser(prog="python -m hntk", description="Look at saved networks, and export them.")
    commands = parser.add_subparsers(required=True)
    inspect = commands.add_parser("inspect", help="what a file holds: shapes, bits, bytes, arithmetic")
    inspect.add_argument("file", type=Path)
    inspect.add_argument("--json", action="store_true", help="the same as JSON")
    inspect.set_defaults(run=_inspect)
    export = commands.add_parser("export", help="a saved classifier as ONNX or as C99")
    export.add_argument("file", type=Path)
    export.add_argument("--to", choices=("onnx", "c"), required=True)
    export.add_argument("--out", type=Path, help="file (onnx) or folder (c); beside FILE by default")
    export.add_argument("--name", default="hntk_net", help="prefix of everything in C (default: %(default)s)")
    export.add_argument("--layouts", choices=("planes", "gaps"), help="of all matrices in C; the smaller by default")
    export.add_argument("--weights", choices=("int2", "int8"), default="int2", help="type of ONNX weights")
    export.add_argument("--pixels", action="store_true", help="raw samples of a float classifier are bytes, 0 to 255")
    export.set_defaults(run=_export)
    given = parser.parse_args(words)
    try:
        given.run(given)
    except (ValueError, OSError, ImportError) as error:
        print(_printable(f"{type(error).__name__}: {error}", sys.stderr), file=sys.stderr)
        return 1
    return 0


def _printable(text: str, stream: TextIO) -> str:
    """Return text without what a terminal would take for commands, in the characters that a stream has.

    Names and labels are those of a file, which anybody may have made.
    """
    shown = "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
    encoding = stream.encoding or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def _inspect(given: argparse.Namespace) -> None:
    found, size = summarize(*load_packed(given.file)), given.file.stat().st_size
    if given.json:
        print(json.dumps({"file": str(given.file), "file_bytes": size, **found.to_dict()}, indent=2))
        return
    told = f"{given.file}: {size:,} bytes, {found.float_bytes / size:.1f} times fewer than its matrices in float32"
    print(_printable(f"{told}\n{found}", sys.stdout))


def _export(given: argparse.Namespace) -> None:
    classifier = _whole(load(given.file), given)
    if given.to == "onnx":
        out = given.out or given.file.with_suffix(".onnx")
        size = write_onnx(classifier, out, given.weights)
        print(f"{out}: {size:,} bytes")
        return
    program = to_c(classifier, given.name, layouts=given.layouts)
    folder = given.out or given.file.parent
    folder.mkdir(parents=True, exist_ok=True)
    header, source, main_file = program.write(folder)
    print(
        f"{header}\n{source}\n{main_file}: reads samples from its standard input\n"
        f"tables (flash): {program.table_bytes:,} bytes; scratch (RAM): {program.scratch_bytes:,} bytes\n"
        f"cc -std=c99 -O3 -march=native {_word(source)} {_word(main_file)} -o {given.name}"
    )


def _word(path: Path) -> str:
    """A path as one word of a shell's command, and not an option of it."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def _whole(what: Saved, given: argparse.Namespace) -> IntegerClassifier:
    if isinstance(what, IntegerClassifier):
        return what
    if not isinstance(what, Classifier):
        raise ValueError(f"{given.file} holds a network without a readout, which predicts nothing: save a classifier.")
    if not given.pixels:
        raise ValueError(
            f"{given.file} is in float32. Where raw samples are bytes, add --pixels; otherwise save "
            "hntk.to_integers(classifier, x=samples), whose unit those samples set."
        )
    return to_integers(what, pixels=True)  # type: ignore[return-value]


if __name__ == "__main__":
    sys.exit(main())
