"""One network of few levels, trained for a number of kilobytes and written in every form that ships it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import hntk
from experiments.runner import metrics
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, say, stage
from experiments.runner.record import Record
from experiments.shipping import microcontrollers, toolchain
from experiments.training.samples import SplitSamples, dataset_of, split_samples
from experiments.training.trained_arm import remove_checkpoints, train_seeds
from hntk.deploy.c import CProgram, to_c
from hntk.deploy.onnx import write_onnx

COLUMNS = ["form", "bytes", "test accuracy", "instructions", "same classes", "of"]


def run(cfg: Config, record: Record) -> None:
    """Train one seed, write packed file, C99 and ONNX, and run each form that this machine can run."""
    samples = split_samples(cfg, dataset_of(cfg))
    history: list[list[Any]] = []

    def keep(snapshot: Any) -> None:
        history[:] = [list(epoch) for epoch in snapshot.members[0].history]

    (network,) = train_seeds(cfg, samples, [int(cfg.seed)], record.folder, snapshot=keep)
    record.add_history(metrics.TRAINING, metrics.TRAINING_COLUMNS, history)
    say(f"\n{network.summary()}\n")
    program = to_c(network, layouts=cfg.experiment.layouts)
    _check_size(cfg, program)
    predicted = network.predict(samples.x_test)
    forms = _forms(cfg, record, network, program, samples, predicted)
    record.add_table("forms", COLUMNS, forms, title=f"{cfg.data.name}: every form of the network")
    record.add_metrics(
        validation=network.accuracy(samples.x_held, samples.y_held),
        test=float(np.mean(predicted == samples.y_test)),
        bytes=program.table_bytes,
    )
    record.headline.update(kB=program.table_bytes / 1e3, test=record.metrics["test"])
    CONSOLE.print(f"  {program.table_bytes:,} bytes of tables, test accuracy {record.metrics['test']:.4f}")
    remove_checkpoints(record.folder)
    different = [row[0] for row in forms if row[-2] != row[-1]]
    if different:
        raise ValueError(
            f"other classes than the network predicts: {', '.join(different)}. This is a defect of hntk or of a "
            f"compiler; everything that shows it is in {record.folder}."
        )


def _check_size(cfg: Config, program: CProgram) -> None:
    """Say so where tables exceed their budget, as the bytes of coded weights are known after training only."""
    limit = cfg.experiment.kilobytes
    if limit is not None and program.table_bytes > 1e3 * limit:
        say(
            f"[yellow]larger than asked for[/]: {program.table_bytes / 1e3:.4g} kB of tables instead of {limit:g}; "
            f"try experiment.kilobytes={limit * 0.95 * limit * 1e3 / program.table_bytes:.3g}"
        )


def _forms(
    cfg: Config,
    record: Record,
    network: hntk.IntegerClassifier,
    program: CProgram,
    samples: SplitSamples,
    predicted: np.ndarray,
) -> list[list[Any]]:
    """Write every form, and return a row of the table for each."""

    def row(name: str, size: int, labels: np.ndarray, instructions: int | None = None) -> list[Any]:
        count = len(labels)
        accuracy = float(np.mean(labels == samples.y_test)) if count == len(predicted) else None
        return [name, size, accuracy, instructions, int(np.sum(labels == predicted[:count])), count]

    path = record.folder / "net.safetensors"
    size = network.save(path)
    loaded = hntk.load(path)
    assert isinstance(loaded, hntk.IntegerClassifier)
    rows = [row("packed file", size, loaded.predict(samples.x_test))]
    rows += [row(*form) for form in _onnx(network, samples.x_test, record.folder)]
    sources = record.folder / "c"
    sources.mkdir(exist_ok=True)
    program.write(sources)
    for compiler in toolchain.installed(*toolchain.COMPILERS):
        with stage(f"C99, {compiler}"):
            executable = toolchain.compile_program(program, sources, compiler)
            indices = toolchain.run_program(executable, samples.x_test)
        rows.append(row(f"C99, {compiler}", program.table_bytes, network.classes[indices]))
    emulated = _emulated(cfg, record, program, samples.x_test)
    if emulated is not None:
        flash, done = emulated
        rows.append(row("C99, Cortex-M4 (flash)", flash, network.classes[done.indices], done.instructions))
        record.add_metrics(instructions=done.instructions)
        CONSOLE.print(f"  {done.instructions:,} instructions an image on a Cortex-M4")
    return rows


def _onnx(network: hntk.IntegerClassifier, raw: np.ndarray, folder: Path) -> Sequence[tuple[str, int, np.ndarray]]:
    """Write the network as ONNX, and return its form where onnxruntime is installed."""
    path = folder / "net.onnx"
    try:
        size = write_onnx(network, path)
        import onnxruntime
    except ImportError:
        toolchain.left_out("ONNX", "onnx or onnxruntime is not installed", "make setup")
        return []
    with stage("ONNX"):
        session = onnxruntime.InferenceSession(str(path))
        parts = [session.run(["label"], {"input": raw[i : i + 1000]})[0] for i in range(0, len(raw), 1000)]
    return [("ONNX", size, np.concatenate([np.asarray(part) for part in parts]))]


def _emulated(
    cfg: Config, record: Record, program: CProgram, raw: np.ndarray
) -> tuple[int, microcontrollers.Emulated] | None:  # fmt: skip
    """Link the program for a Cortex-M4 and run it on an emulated one, where the tools are installed."""
    device = microcontrollers.DEVICES["cortex-m4"]
    if not list(toolchain.installed(microcontrollers.CROSS)) or program.table_bytes > device.flash:
        return None
    folder = record.folder / "firmware"
    folder.mkdir(exist_ok=True)
    kind = "uint8_t" if raw.dtype == np.uint8 else "float"
    firmware = microcontrollers.link_firmware(program, folder, kind, device)
    record.add_metrics(flash=firmware.flash, ram=firmware.ram + microcontrollers.STACK)
    if not list(toolchain.installed(microcontrollers.EMULATOR)):
        return None
    with stage("Cortex-M4, emulated"):
        return firmware.flash, microcontrollers.emulate(firmware, raw[: cfg.experiment.emulated])
