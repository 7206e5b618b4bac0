"""A trained classifier on microcontrollers, beside int8 networks of the same data: flash, RAM and instructions.

Every program is compiled by the same compiler with the same options, and predicts every test image on this machine and
on each microcontroller. The int8 networks are the baseline: plain dense kernels of this repository, as a loop and in
the way that CMSIS-NN has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Any

import jax
import numpy as np

import hntk
from experiments.runner.config import Config
from experiments.runner.console import CONSOLE, progress, say, show_table, stage
from experiments.runner.from_config import raw_dataset
from experiments.runner.record import Record
from experiments.shipping import microcontrollers, toolchain
from experiments.shipping.dense_training import train_dense
from experiments.shipping.int8_network import quantised
from experiments.shipping.int8_program import int8_program
from experiments.shipping.microcontrollers import DEVICES, Device
from experiments.shipping.ship import DifferentError
from hntk._utils.labels import accuracy_score
from hntk.deploy.c import CProgram, to_c
from hntk.networks.integer_inputs import Pixels, PooledPixels

COLUMNS = [
    "program", "device", "test accuracy", "code", "tables", "flash", "RAM", "stack", "instructions an image",
    "most of an image", "same classes", "of",
]  # fmt: skip
HNTK, BASELINE = "hntk", "int8"
# The baseline's kernels on each device, the plain loop first: SMLAD is an instruction of the Cortex-M4.
KERNELS = {"cortex-m4": ("loop", "columns", "blocks"), "cortex-m0plus": ("loop", "columns")}
KERNEL_NAMES = {"loop": "a plain loop", "columns": "4 sums at a time", "blocks": "4 sums at a time, SMLAD"}
# Deformations of the images that networks are trained on here.
AUGMENTATION = hntk.Augmentation(rotation=10, scale=0.1, shear=0.1, shift=1.5, elastic=0.5)
LEARNING_RATE, BATCH = 2e-3, 128


@dataclass(frozen=True, eq=False)
class Contender:
    """A network, and its programs.

    Attributes
    ----------
    kind : str
        ``"hntk"`` or ``"int8"``.
    name : str
        Its name in the table.
    predicted : (n,) array
        Labels of the test images, by Python.
    classes : (K,) array
        Labels in the order of the programs' indices.
    accuracy : float
        Test accuracy.
    programs : dict
        Programs by the device's name and by what tells them apart.
    """

    kind: str
    name: str
    predicted: np.ndarray
    classes: np.ndarray
    accuracy: float
    programs: dict[tuple[str, str], CProgram]


@dataclass(frozen=True)
class Measured:
    """A program on a device: the table's row, and what is compared."""

    kind: str
    device: str
    accuracy: float
    instructions: int
    flash: int
    row: list[Any]


def run(cfg: Config, record: Record) -> None:
    """Make the networks and their programs, run each, and compare."""
    with stage(f"loading {cfg.data.name}"):
        data = raw_dataset(cfg.data, cfg.seed)
    raw = data.raw(data.x_test)
    if raw.dtype != np.uint8:
        raise ValueError(
            f"the int8 networks read bytes, and {data.name} has none: use data=mnist, or an .npz of bytes."
        )
    contenders = [_hntk(cfg, record, data, raw)]
    contenders += [_int8(cfg, data, raw, tuple(map(int, widths))) for widths in cfg.experiment.baselines]
    found = []
    for contender in contenders:
        found += _measured(cfg, record.folder, contender, raw)
    record.add_table("devices", COLUMNS, [each.row for each in found])
    show_table(f"{data.name}, {len(raw):,} test images", COLUMNS, [each.row for each in found])
    _compare(cfg, record, found, len(raw))


def _hntk(cfg: Config, record: Record, data: hntk.Dataset, raw: np.ndarray) -> Contender:
    """Return the classifier of the file, or one that is trained here."""
    settings = cfg.experiment
    if settings.file is None:
        made = _trained(cfg, data)
        made.save(record.folder / "net.safetensors")
    else:
        made = hntk.load(Path(settings.file))
        if not isinstance(made, hntk.IntegerClassifier):
            raise ValueError(
                f"{settings.file} holds no classifier of whole numbers: save one that hntk.train returned."
            )
    say(f"\n{made.summary()}\n")
    programs = {
        (device, layouts): to_c(made, layouts=layouts) for device in settings.devices for layouts in settings.layouts
    }
    predicted = made.predict(raw)
    name = "-".join(map(str, made.network.widths))
    return Contender(HNTK, name, predicted, made.classes, accuracy_score(predicted, data.y_test), programs)


def _trained(cfg: Config, data: hntk.Dataset) -> hntk.IntegerClassifier:
    settings = cfg.experiment
    schedule = hntk.Schedule(epochs=settings.epochs, batch=BATCH, learning_rate=LEARNING_RATE, patience=settings.epochs)
    with progress("hntk.train: epochs", settings.epochs) as advance:
        return hntk.train(
            data.raw(data.x_train), data.y_train, list(settings.widths), levels=settings.levels,
            sparsity=list(settings.sparsity), pool=tuple(settings.pool), augment=_augmentation(cfg), schedule=schedule,
            key=jax.random.key(cfg.seed), progress=lambda _: advance(1),
        )  # fmt: skip


def _int8(cfg: Config, data: hntk.Dataset, raw: np.ndarray, widths: tuple[int, ...]) -> Contender:
    """Train a dense network, and return it in 8 bits."""
    settings, side = cfg.experiment, isqrt(raw.shape[1])
    inputs = Pixels() if settings.pool is None else PooledPixels((side, side), tuple(settings.pool))
    name = "-".join(map(str, widths))
    schedule = hntk.Schedule(epochs=settings.epochs, batch=BATCH, learning_rate=LEARNING_RATE, warmup=1.0)
    with progress(f"dense {name}: epochs", settings.epochs) as advance:
        trained = train_dense(
            data.raw(data.x_train), np.searchsorted(data.classes, data.y_train), widths, inputs=inputs,
            shape=(side, side), augment=_augmentation(cfg), schedule=schedule, seed=cfg.seed,
            progress=lambda _: advance(1),
        )  # fmt: skip
    made = quantised(trained.layers, trained.values, data.classes, inputs)
    floats = accuracy_score(trained.predict(np.asarray(inputs(raw)), data.classes), data.y_test)
    predicted = made.predict(raw)
    accuracy = accuracy_score(predicted, data.y_test)
    CONSOLE.print(f"  float32 {floats:.4f}, int8 {accuracy:.4f}")
    programs = {
        (device, kernel): int8_program(made, layout=kernel) for device in settings.devices for kernel in KERNELS[device]
    }
    return Contender(BASELINE, name, predicted, data.classes, accuracy, programs)


def _augmentation(cfg: Config) -> hntk.Augmentation | None:
    return AUGMENTATION if cfg.experiment.augmented else None


def _measured(cfg: Config, folder: Path, contender: Contender, raw: np.ndarray) -> list[Measured]:
    """Run every program of a network on this machine and on its device."""
    found, seen = [], set()
    for (device, form), program in contender.programs.items():
        sources = folder / f"{contender.kind}-{contender.name}-{form}-{device}"
        sources.mkdir(exist_ok=True)
        if form not in seen and list(toolchain.installed("gcc")):
            with stage(f"{contender.kind} {contender.name}, {form}: {len(raw):,} images on this machine"):
                indices = toolchain.run_program(toolchain.compile_program(program, sources), raw)
            _check(contender, indices, f"gcc, {form}")
        seen.add(form)
        if list(toolchain.installed(microcontrollers.CROSS, microcontrollers.EMULATOR)) == [
            microcontrollers.CROSS, microcontrollers.EMULATOR,
        ]:  # fmt: skip
            found.append(_emulated(cfg, sources, contender, DEVICES[device], form, program, raw))
    return found


def _emulated(
    cfg: Config, folder: Path, contender: Contender, device: Device, form: str, program: CProgram, raw: np.ndarray
) -> Measured:
    some = raw[: cfg.experiment.emulated]
    firmware = microcontrollers.link_firmware(program, folder, "uint8_t", device)
    with stage(f"{contender.kind} {contender.name}, {form}: {len(some):,} images on a {device.label}"):
        emulated = microcontrollers.emulate(firmware, some)
    _check(contender, emulated.indices, f"{device.label}, {form}")
    name = f"{contender.kind} {contender.name}, {KERNEL_NAMES.get(form, form)}"
    row = [
        name, device.label, contender.accuracy, firmware.code, firmware.constants, firmware.flash, firmware.ram,
        emulated.stack, emulated.instructions, int(emulated.executed.max()), len(some), len(some),
    ]  # fmt: skip
    return Measured(
        contender.kind, device.label, contender.accuracy, emulated.instructions, firmware.flash, row
    )  # fmt: skip


def _check(contender: Contender, indices: np.ndarray, where: str) -> None:
    """Raise an error if a program predicts other classes than Python."""
    different = int(np.sum(contender.classes[indices] != contender.predicted[: len(indices)]))
    if different:
        raise DifferentError(
            f"{contender.kind} {contender.name} predicts other classes on {different:,} of {len(indices):,} images "
            f"({where}): a defect of this project or of a compiler."
        )


def _compare(cfg: Config, record: Record, found: Sequence[Measured], count: int) -> None:
    """Say how many instructions the cheapest int8 program that is as accurate takes, relative to hntk's."""
    for device in dict.fromkeys(each.device for each in found):
        here = [each for each in found if each.device == device]
        ours = min((each for each in here if each.kind == HNTK), key=lambda each: each.instructions)
        # one standard error of an accuracy
        error = (ours.accuracy * (1 - ours.accuracy) / count) ** 0.5
        equal = [each for each in here if each.kind == BASELINE and each.accuracy >= ours.accuracy - error]
        if not equal:
            told = f"no int8 network is as accurate as {ours.accuracy:.4f}: add wider ones to experiment.baselines"
            say(f"{device}: {told}")
            continue
        theirs = min(equal, key=lambda each: each.instructions)
        ratio = theirs.instructions / ours.instructions
        record.add_metrics(**{f"ratio/{device}": ratio})
        say(
            f"{device}: {theirs.row[0]} ({theirs.accuracy:.4f}) takes {ratio:.2f} times the instructions of "
            f"{ours.row[0]} ({ours.accuracy:.4f}), and {theirs.flash / ours.flash:.2f} times the flash"
        )
    for each in found:
        record.add_metrics(**{f"instructions/{each.row[0]}/{each.device}": each.instructions,
                              f"flash/{each.row[0]}/{each.device}": each.flash})  # fmt: skip
