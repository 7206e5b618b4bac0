"""``hntk compress DATA --kilobytes 64 --to c --out DIR``: from samples to a program of whole numbers."""

from __future__ import annotations

import argparse
import platform
import shlex
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

import hntk
from hntk._utils.arguments import as_count, as_positive, as_seed
from hntk._utils.atomic_file import replacing
from hntk._utils.extras import import_extra
from hntk.cli.data_files import DataFile, read_data
from hntk.cli.drawn import fit_drawn
from hntk.cli.fitted import Candidate, Fitted, candidate_columns
from hntk.cli.measured import Measured, agrees
from hntk.cli.output_folder import OutputFolder, name_for
from hntk.cli.report import report_page
from hntk.cli.samples import by_columns, reading_options
from hntk.cli.terminal import epochs_shown, shell_word, show, show_json, stages, table
from hntk.cli.trained import TrainingOptions, fit_trained, schedule_for
from hntk.deploy.c import CProgram, to_c
from hntk.deploy.c_literals import check_name
from hntk.deploy.onnx import write_onnx
from hntk.networks.summary import summarize


@dataclass(frozen=True, eq=False)
class Compressed:
    """What a run of the command has made.

    Attributes
    ----------
    command : str
        The command, as a shell takes it.
    kilobytes : float
        The budget.
    method : {"train", "random"}
        How hidden layers are made.
    data : DataFile
        The samples.
    fitted : Fitted
        The program, and what it was chosen from.
    measured : Measured
        What it reaches.
    folder : OutputFolder
        Where the files are.
    c_program : CProgram or None
        The program in C.
    compiled : int or None
        Number of test samples of which the compiled program has Python's scores; None if it was not compiled.
    """

    command: str
    kilobytes: float
    method: str
    data: DataFile
    fitted: Fitted
    measured: Measured
    folder: OutputFolder
    c_program: CProgram | None
    compiled: int | None

    @property
    def compile_line(self) -> str:
        """The command that builds the C program."""
        source, main = (self.folder.folder / f"{self.folder.name}{ending}" for ending in (".c", "_main.c"))
        out = self.folder.folder / self.folder.name
        return f"cc -std=c99 -O3 {shell_word(source)} {shell_word(main)} -o {shell_word(out)}"

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as dictionaries, lists, text and numbers."""
        data, program = self.data, self.c_program
        sizes = {} if program is None else {
            "table_bytes": program.table_bytes, "scratch_bytes": program.scratch_bytes, "layouts": program.layouts,
        }  # fmt: skip
        return {
            "command": self.command,
            "data": {
                "source": str(data.source), "training": len(data.x_train), "test": len(data.x_test),
                "features": data.x_train.shape[1], "bytes": data.pixels, "split": data.split, "label": data.label,
                "task": "regression" if data.regression else "classification", "classes": data.classes,
            },
            "kilobytes": self.kilobytes,
            "method": self.method,
            "candidates": [each._asdict() for each in self.fitted.candidates],
            "predicted": self.fitted.predicted,
            "predicted_by": self.fitted.predicted_by,
            "validation": self.fitted.validation,
            "measured": self.measured.to_dict(),
            "network": summarize(self.fitted.program).to_dict(),
            "c": sizes | {"compiled_and_compared": self.compiled, "compile": self.compile_line} if program else None,
            "files": [str(file) for file in self.folder.files],
            "versions": versions(),
        }  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return {"hntk": hntk.__version__, "jax": jax.__version__, "jaxlib": version("jaxlib"), "numpy": np.__version__,
            "python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Fit a program within the budget, measure it, and write its files."""
    as_positive(options.kilobytes, "--kilobytes")
    as_seed(options.seed)
    name = check_name(options.name or name_for(options.data))
    targets = ("c", "onnx") if options.to == "both" else (options.to,)
    folder = OutputFolder(options.out or Path(f"{name}_hntk"), name, targets)
    if folder.folder.resolve() == options.data.resolve():
        raise ValueError(f"{options.data} holds the samples: name another folder for the program with --out.")
    if "onnx" in targets:
        # before anything is trained
        import_extra("onnx", "export", "Writing ONNX files")
    folder.prepare(force=options.force)
    with stages(quiet=options.json) as tell:
        tell("reading")
        data = read_data(options.data, reading_options(options))
    if not options.json:
        show(f"{data}")
    fitted = _fitted(data, options, folder)
    if not options.json:
        show(candidates_text(fitted.candidates, options.kilobytes, data.score))
    made = _written(options, data, fitted, folder)
    show_json(made.to_dict()) if options.json else show(_as_text(made))


def _fitted(data: DataFile, options: argparse.Namespace, folder: OutputFolder) -> Fitted:
    columns = by_columns(data, options.scale)
    levels = None if options.levels is None else as_count(options.levels, "--levels", 2, 256)
    if options.method == "random":
        given = {"--epochs": options.epochs, "--augment": None if options.augment == "none" else options.augment}
        for option, value in given.items():
            if value is not None:
                raise ValueError(f"{option} has no effect on drawn layers: leave it out, or train with --method train.")
        with stages(quiet=options.json) as tell:
            return fit_drawn(data, options.kilobytes, levels=levels, seed=options.seed, columns=columns, progress=tell)
    how = TrainingOptions(
        options.kilobytes, levels, options.epochs, options.seed, columns, options.augment, folder.checkpoint
    )
    total = schedule_for(len(data.x_train), options.epochs).epochs
    with epochs_shown(total, quiet=options.json) as progress:
        return fit_trained(data, how, progress)


def _written(options: argparse.Namespace, data: DataFile, fitted: Fitted, folder: OutputFolder) -> Compressed:
    """Measure the program, and write its files and the page about it."""
    measured = Measured.of(fitted.program, data)
    c_program = to_c(fitted.program, folder.name, layouts=options.layouts) if "c" in folder.targets else None
    compiled = None if c_program is None else agrees(fitted.program, c_program, data)
    fitted.program.save(folder.network)
    if c_program is not None:
        c_program.write(folder.folder)
    if "onnx" in folder.targets:
        write_onnx(fitted.program, folder.onnx)
    command = shlex.join(["hntk", *(options.words or sys.argv[1:])])
    made = Compressed(command, options.kilobytes, options.method, data, fitted, measured, folder, c_program, compiled)
    with replacing(folder.report) as part:
        part.write_text(report_page(made.to_dict()), encoding="utf-8")
    for left in folder.folder.glob(f"{folder.checkpoint.name}*"):
        left.unlink()
    return made


def candidates_text(candidates: tuple[Candidate, ...], kilobytes: float, score: str) -> str:
    """Return the table of networks that fit."""
    headings, rows = candidate_columns(candidates, score)
    marked = [["→" if each.chosen else "", *row] for each, row in zip(candidates, rows, strict=True)]
    return f"\nnetworks that fit {kilobytes:g} kB:\n{table([['', *headings], *marked], left=(0, 1))}\n"


def _as_text(made: Compressed) -> str:
    score = made.data.score
    fitted, program = made.fitted, made.c_program
    lines = [f"{summarize(fitted.program)}", ""]
    if fitted.predicted is not None:
        lines.append(f"predicted {score}: {fitted.predicted:.4f}, {fitted.predicted_by}")
    if made.method == "random" and not made.data.regression and fitted.validation is not None:
        lines.append(f"validation {score}: {fitted.validation:.4f}, by which the ridge was chosen")
    lines.append(f"measured {score}: {made.measured}, in whole numbers as the program computes")
    if program is not None:
        lines.append(f"tables (flash): {program.table_bytes:,} bytes; scratch (RAM): {program.scratch_bytes:,} bytes")
        if made.compiled is None:
            lines.append("the C program was not compiled here: no C compiler is installed, or it failed")
        else:
            lines.append(
                f"compiled here, the C program has the same scores on all {made.compiled:,} test samples tried"
            )
    lines += ["", *map(str, made.folder.files)]
    return "\n".join([*lines, made.compile_line] if program else lines)
