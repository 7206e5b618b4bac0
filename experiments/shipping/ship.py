"""One compressed classifier in every form it can be shipped in: their bytes, and that all predict the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import hntk
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, say, show_table, stage
from experiments.runner.from_config import raw_dataset
from experiments.runner.record import Record
from experiments.shipping import classifiers, microcontrollers, toolchain
from experiments.shipping.microcontrollers import DEVICES, Firmware
from hntk._utils.labels import accuracy_score
from hntk.deploy.c import CProgram, to_c
from hntk.deploy.onnx import write_onnx
from hntk.deploy.onnx_graph import WeightType
from hntk.deploy.onnx_weights import BlockForm
from hntk.weights.encodings import pack

COLUMNS = ["form", "bytes", "dense/bytes", "test accuracy", "same classes", "of"]
# Type of explicit weights by ONNX form, and what orthogonal blocks become.
ONNX_FORMS: dict[str, tuple[WeightType, BlockForm]] = {
    "ONNX, int2 weights": ("int2", "explicit"),
    "ONNX, int8 weights": ("int8", "explicit"),
    "ONNX, transforms": ("int2", "transform"),
}
# Encoding of the weights by packed form; None chooses the smallest one for every matrix.
ENCODINGS = {"packed, 2 bits": "bits2", "packed, base 3": "base3", "packed, the smallest": None}
# Forms in float32, which need not predict the same as those in whole numbers.
DENSE, GRID = FLOATS = ("dense float32", "float32 on a grid")


class DifferentError(ValueError):
    """A form that predicts another class than the network it was made of."""


@dataclass
class Form:
    """One form of the classifier.

    Attributes
    ----------
    name : str
        Its name in the table.
    bytes : int or None
        Size of the file; for a C program, of its tables.
    predicted : (m,) array or None
        Labels of the first m test samples; None where they were not computed.
    """

    name: str
    bytes: int | None
    predicted: np.ndarray | None


def run(cfg: Config, record: Record) -> None:
    """Make the classifier, write it in every form, and run each form on the test set."""
    with stage(f"loading {cfg.data.name}"):
        data = raw_dataset(cfg.data, cfg.seed)
    original = classifiers.dense(cfg, data)
    floats, whole = classifiers.compressed(cfg, data)
    say(f"\n{whole.summary()}\n")
    forms = [_dense(original, data, record.folder), Form(GRID, None, floats.predict(data.x_test))]
    del original
    raw = data.raw(data.x_test)
    forms += _packed(whole, raw, record.folder)
    forms += _onnx(whole, raw, record.folder)
    program = to_c(whole)
    forms += _compiled(program, whole, raw, record.folder)
    forms += _microcontroller(cfg, record, program, whole, raw)
    _report(cfg, record, forms, data)
    _report_hidden_weights(record, whole)


def _dense(original: hntk.Classifier, data: hntk.Dataset, folder: Path) -> Form:
    """Return the dense original, whose file is measured and not kept."""
    path = folder / "dense.safetensors"
    with stage("dense network: file and test set"):
        size = original.save(path)
        path.unlink()
        return Form(DENSE, size, original.predict(data.x_test))


def _packed(whole: hntk.IntegerClassifier, raw: np.ndarray, folder: Path) -> Iterator[Form]:
    for name, encoding in ENCODINGS.items():
        path = folder / f"net{'' if encoding is None else f'.{encoding}'}.safetensors"
        with stage(name):
            size = whole.save(path, encoding=encoding)
            loaded = hntk.load(path)
            assert isinstance(loaded, hntk.IntegerClassifier)
            yield Form(name, size, loaded.predict(raw))


def _onnx(whole: hntk.IntegerClassifier, raw: np.ndarray, folder: Path) -> Iterator[Form]:
    try:
        import onnxruntime
    except ImportError:
        toolchain.left_out("ONNX", "onnxruntime is not installed", "make setup")
        return
    blocks = any(isinstance(weights, hntk.OrthogonalMatrix) for weights in whole.network.weights)
    for name, (weights, form) in ONNX_FORMS.items():
        if form == "transform" and not blocks:
            continue
        path = folder / f"net.{weights if form == 'explicit' else form}.onnx"
        with stage(name):
            size = write_onnx(whole, path, weights, blocks=form)
            session = onnxruntime.InferenceSession(str(path))
            parts = [session.run(["label"], {"input": raw[i : i + 1000]})[0] for i in range(0, len(raw), 1000)]
            yield Form(name, size, np.concatenate([np.asarray(part) for part in parts]))


def _compiled(program: CProgram, whole: hntk.IntegerClassifier, raw: np.ndarray, folder: Path) -> Iterator[Form]:
    sources = folder / "c"
    sources.mkdir(exist_ok=True)
    for compiler in toolchain.installed(*toolchain.COMPILERS):
        with stage(f"C99, {compiler}"):
            executable = toolchain.compile_program(program, sources, compiler)
            yield Form(f"C99, {compiler}", program.table_bytes, whole.classes[toolchain.run_program(executable, raw)])


def _microcontroller(
    cfg: Config, record: Record, program: CProgram, whole: hntk.IntegerClassifier, raw: np.ndarray
) -> Iterator[Form]:
    device = DEVICES[cfg.experiment.device]
    if not list(toolchain.installed(microcontrollers.CROSS)):
        return
    if program.table_bytes > device.flash and cfg.experiment.flash is None:
        reason = f"the tables take more than {device.flash:,} bytes"
        toolchain.left_out(f"a {device.label}", reason, "compress.sparsity=0.99")
        return
    sources = record.folder / "firmware"
    sources.mkdir(exist_ok=True)
    with stage(f"{device.label}: linking"):
        sample_type = "float" if raw.dtype == np.float32 else "uint8_t"
        firmware = microcontrollers.link_firmware(program, sources, sample_type, device)
    CONSOLE.print(
        f"  flash {firmware.code:,} bytes of code and {firmware.constants:,} of tables, RAM {firmware.ram:,} bytes and "
        f"{microcontrollers.STACK:,} of stack, from the linker's map"
    )
    _check_memory(cfg, firmware)
    labels = None
    if list(toolchain.installed(microcontrollers.EMULATOR)):
        with stage(f"{device.label}: {min(cfg.experiment.emulated, len(raw)):,} samples on the emulator"):
            emulated = microcontrollers.emulate(firmware, raw[: cfg.experiment.emulated])
        labels = whole.classes[emulated.indices]
        CONSOLE.print(
            f"  {emulated.instructions:,} instructions an image, and {emulated.stack:,} bytes of stack in use"
        )
        record.add_metrics(**{f"instructions/{device.label}": emulated.instructions})
    ram = firmware.ram + microcontrollers.STACK
    record.add_metrics(**{f"flash/{device.label}": firmware.flash, f"ram/{device.label}": ram})
    yield Form(f"C99, {device.label} (flash)", firmware.flash, labels)


def _check_memory(cfg: Config, firmware: Firmware) -> None:
    """Raise an error if the program does not fit the configured memory."""
    ram = firmware.ram + microcontrollers.STACK
    for name, needed, limit, remedy in (
        ("flash", firmware.flash, cfg.experiment.flash, "lower net.widths, set experiment.readout_bits=8, or "
         "raise compress.sparsity"),
        ("RAM", ram, cfg.experiment.ram, "lower net.widths, or set experiment.level_bits=8"),
    ):  # fmt: skip
        if limit is not None and needed > limit:
            raise ValueError(f"the program needs {needed:,} bytes of {name}, and there are {limit:,.0f}: {remedy}.")


def _report(cfg: Config, record: Record, forms: list[Form], data: hntk.Dataset) -> None:
    """Report all forms.

    Raises
    ------
    DifferentError
        If a form in whole numbers predicts other classes than the first packed file.
    """
    by_name = {form.name: form for form in forms}
    size, reference = by_name[DENSE].bytes, next(form for form in forms if form.name in ENCODINGS).predicted
    assert size is not None
    assert reference is not None
    rows, different = [], []
    for form in forms:
        same = count = accuracy = None
        if form.predicted is not None:
            count = len(form.predicted)
            same = int(np.sum(form.predicted == reference[:count]))
            accuracy = accuracy_score(form.predicted, data.y_test) if count == len(data.y_test) else None
            if form.name not in FLOATS and same != count:
                different.append(f"{form.name} on {count - same:,} of {count:,}")
        ratio = None if form.bytes is None else round(size / form.bytes, 2)
        rows.append([form.name, form.bytes, ratio, accuracy, same, count])
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


def _report_hidden_weights(record: Record, whole: hntk.IntegerClassifier) -> None:
    """Report the bytes of the hidden weights alone, by encoding."""
    weights = whole.network.weights
    dense = 4 * sum(w.values.size for w in weights)
    for name, encoding in ENCODINGS.items():
        size = sum(pack(w, encoding).nbytes for w in weights)
        record.add_metrics(**{f"hidden/{name}": size})
        CONSOLE.print(f"[dim]hidden weights, {name}: {size:,} bytes, {dense / size:.2f} times fewer than float32[/]")
