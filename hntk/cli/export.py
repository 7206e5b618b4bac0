"""``hntk export FILE --to c``: a saved classifier as ONNX or C."""

from __future__ import annotations

import argparse

from hntk.cli.terminal import shell_word, show, show_json
from hntk.deploy.c import to_c
from hntk.deploy.onnx import write_onnx
from hntk.deploy.rounding import to_integers
from hntk.networks.float_readout import FloatReadout
from hntk.networks.integer_classifier import IntegerClassifier
from hntk.networks.integer_regressor import IntegerRegressor
from hntk.networks.saving import Saved, load


def run(options: argparse.Namespace) -> None:
    """Write a saved classifier as an ONNX model, or as C99."""
    classifier = _integer_classifier(load(options.file), options)
    if options.to == "onnx":
        out = options.out or options.file.with_suffix(".onnx")
        size = write_onnx(classifier, out, options.weights, blocks=options.blocks, form=options.form)
        show_json({"files": [str(out)], "bytes": size}) if options.json else show(f"{out}: {size:,} bytes")
        return
    program = to_c(classifier, options.name, layouts=options.layouts)
    folder = options.out or options.file.parent
    folder.mkdir(parents=True, exist_ok=True)
    files = header, source, main_file = program.write(folder)
    if options.json:
        sizes = {"table_bytes": program.table_bytes, "scratch_bytes": program.scratch_bytes}
        show_json({"files": [str(file) for file in files], **sizes, "layouts": program.layouts})
        return
    show(
        f"{header}\n{source}\n{main_file}: reads samples from its standard input\n"
        f"tables (flash): {program.table_bytes:,} bytes; scratch (RAM): {program.scratch_bytes:,} bytes\n"
        f"cc -std=c99 -O3 -march=native {shell_word(source)} {shell_word(main_file)} -o {options.name}"
    )


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
