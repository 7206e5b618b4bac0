"""One compressed classifier in every form it can be shipped in: what each takes, and that all predict the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import hntk
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, show_table, stage
from experiments.runner.record import Record
from experiments.runner.setting import raw_dataset
from experiments.shipping import shipping, toolchain
from experiments.shipping.shipping import Made
from experiments.shipping.toolchain import Firmware
from hntk._utils.labels import accuracy_score
from hntk.deploy.c import CProgram, to_c
from hntk.deploy.onnx import write_onnx
from hntk.weights.encodings import pack

COLUMNS = ["form", "bytes", "dense/bytes", "test accuracy", "same classes", "of"]
COMPILERS = ("gcc", "clang")
ONNX_WEIGHTS = ("int2", "int8")
FILES = {"packed, 2 bits": "bits2", "packed, base 3": "base3", "packed, the smallest": None}


class DifferentError(ValueError):
    """A form that predicts another class than the network it was made of."""


@dataclass
class Form:
    """One way to ship.

    Attributes
    ----------
    name : in the table.
    bytes : of the file; of a C program, of its tables.
    predicted : labels of the test samples, or of the first of them; None where they were not computed.
    """

    name: str
    bytes: int | None
    predicted: np.ndarray | None


def run(cfg: Config, record: Record) -> None:
    """Make the classifier, write it in every form, and run each on the test set."""
    with stage(f"loading {cfg.data.name}"):
        data = raw_dataset(cfg.data, cfg.seed)
    original = shipping.dense(cfg, data)
    made = shipping.compressed(cfg, data)
    CONSOLE.print(f"\n{made.whole.summary()}\n", soft_wrap=True)
    forms = [_dense(original, data, record), Form("float32 on a grid", None, made.floats.predict(data.x_test))]
    del original
    raw = data.raw(data.x_test)
    for make in (_packed, _onnx, _compiled, _microcontroller):
        forms += make(cfg, made.whole, raw, record.folder)
    _report(cfg, record, forms, data)
    _add_hidden(record, made)


def _dense(original: hntk.Classifier, data: hntk.Dataset, record: Record) -> Form:
    """The file it takes is measured and not kept."""
    path = record.folder / "dense.safetensors"
    with stage("dense network: file and test set"):
        size = original.save(path)
        path.unlink()
        return Form("dense float32", size, original.predict(data.x_test))


def _packed(cfg: Config, whole: hntk.IntegerClassifier, raw: np.ndarray, folder: Path) -> Iterator[Form]:
    for name, encoding in FILES.items():
        path = folder / f"net{'' if encoding is None else f'.{encoding}'}.safetensors"
        with stage(name):
            size = whole.save(path, encoding=encoding)
            again = hntk.load(path)
            assert isinstance(again, hntk.IntegerClassifier)
            yield Form(name, size, again.predict(raw))


def _onnx(cfg: Config, whole: hntk.IntegerClassifier, raw: np.ndarray, folder: Path) -> Iterator[Form]:
    try:
        import onnxruntime
    except ImportError:
        _missing("ONNX", "onnxruntime is not installed", "make setup-export")
        return
    for weights in ONNX_WEIGHTS:
        path = folder / f"net.{weights}.onnx"
        with stage(f"ONNX, {weights}"):
            size = write_onnx(whole, path, weights)
            session = onnxruntime.InferenceSession(str(path))
            parts = [session.run(["label"], {"input": raw[i : i + 1000]})[0] for i in range(0, len(raw), 1000)]
            yield Form(f"ONNX, {weights} weights", size, np.concatenate([np.asarray(part) for part in parts]))


def _compiled(cfg: Config, whole: hntk.IntegerClassifier, raw: np.ndarray, folder: Path) -> Iterator[Form]:
    program = to_c(whole)
    for compiler in COMPILERS:
        if not toolchain.has(compiler):
            _missing(f"C99 with {compiler}", f"{compiler} is not installed", "make setup-tools")
            continue
        with stage(f"C99, {compiler}"):
            executable = toolchain.compile_program(program, _folder(folder / "c"), compiler)
            yield Form(f"C99, {compiler}", program.table_bytes, whole.classes[toolchain.run_program(executable, raw)])


def _microcontroller(cfg: Config, whole: hntk.IntegerClassifier, raw: np.ndarray, folder: Path) -> Iterator[Form]:
    if not toolchain.has(toolchain.CROSS):
        _missing("a microcontroller", f"{toolchain.CROSS} is not installed", "make setup-tools")
        return
    program = to_c(whole)
    if program.table_bytes > toolchain.MEMORY and cfg.experiment.flash is None:
        _missing("a microcontroller", f"the tables take more than {toolchain.MEMORY:,} bytes", "compress.sparsity=0.99")
        return
    kind = "float" if raw.dtype == np.float32 else "uint8_t"
    with stage("Cortex-M4: linking"):
        firmware = toolchain.link_firmware(program, _folder(folder / "firmware"), kind)
    CONSOLE.print(
        f"  flash {firmware.flash:,} bytes, RAM {firmware.ram:,} bytes and {toolchain.STACK:,} of stack, from the "
        "linker's map"
    )
    _check_memory(cfg, program, firmware)
    labels = None
    if toolchain.has(toolchain.EMULATOR):
        with stage(f"Cortex-M4: {min(cfg.experiment.emulated, len(raw)):,} samples on the emulator"):
            labels = whole.classes[toolchain.emulate(firmware, raw[: cfg.experiment.emulated])]
    else:
        _missing("the emulator", f"{toolchain.EMULATOR} is not installed", "make setup-tools")
    yield Form("C99, Cortex-M4 (flash)", firmware.flash, labels)


def _check_memory(cfg: Config, program: CProgram, firmware: Firmware) -> None:
    for what, needed, limit, remedy in (
        ("flash", firmware.flash, cfg.experiment.flash, "raise compress.sparsity, lower net.widths, or set "
         "experiment.readout_bits=8"),
        ("RAM", firmware.ram + toolchain.STACK, cfg.experiment.ram, "lower net.widths, or set experiment.level_bits=8"),
    ):  # fmt: skip
        if limit is not None and needed > limit:
            raise ValueError(f"the program needs {needed:,} bytes of {what}, and there are {limit:,.0f}: {remedy}.")


def _missing(what: str, why: str, remedy: str) -> None:
    CONSOLE.print(f"  [yellow]left out[/] {what}: {why} ({remedy})")


def _folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def _report(cfg: Config, record: Record, forms: list[Form], data: hntk.Dataset) -> None:
    """The table; forms of whole numbers must agree with the first packed file."""
    dense = forms[0].bytes
    reference = next(form for form in forms if form.name in FILES).predicted
    assert reference is not None
    assert dense is not None
    rows, different = [], []
    for form in forms:
        same = of = accuracy = None
        if form.predicted is not None:
            of = len(form.predicted)
            same = int(np.sum(form.predicted == reference[:of]))
            accuracy = accuracy_score(form.predicted, data.y_test) if of == len(data.y_test) else None
            if form not in forms[:2] and same != of:
                different.append(f"{form.name} on {of - same:,} of {of:,}")
        ratio = None if form.bytes is None else round(dense / form.bytes, 2)
        rows.append([form.name, form.bytes, ratio, accuracy, same, of])
        record.add_metrics(**{f"bytes/{form.name}": form.bytes, f"accuracy/{form.name}": accuracy,
                              f"same/{form.name}": same})  # fmt: skip
    record.add_table("forms", COLUMNS, rows)
    record.add_chart("bytes", "bar", "forms", "form", "bytes")
    widths = "-".join(map(str, cfg.net.widths))
    show_table(f"{data.name}, widths {widths}, ε = {cfg.compress.sparsity:g}", COLUMNS, rows)
    if different:
        raise DifferentError(
            f"other classes than the network predicts: {'; '.join(different)}. This is a defect of hntk or of a "
            f"compiler; everything that shows it is in {record.folder}."
        )


def _add_hidden(record: Record, made: Made) -> None:
    """Bytes of the hidden weights alone."""
    weights = made.whole.network.weights
    dense = 4 * sum(w.values.size for w in weights)
    for name, encoding in FILES.items():
        size = sum(pack(w, encoding).nbytes for w in weights)
        record.add_metrics(**{f"hidden/{name}": size})
        CONSOLE.print(f"[dim]hidden weights, {name}: {size:,} bytes, {dense / size:.2f} times fewer than float32[/]")
