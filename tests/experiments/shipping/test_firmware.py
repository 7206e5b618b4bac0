"""The C program on emulated microcontrollers: the same classes, its memory, and exact counts of instructions."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

import hntk
from experiments.shipping import microcontrollers, toolchain
from experiments.shipping.microcontrollers import DEVICES, Device
from hntk.deploy.c import CProgram, to_c
from hntk.networks.integer_inputs import PooledPixels
from tests.support.architectures import raw_samples, whole_classifier
from tests.support.neuron_classifiers import neuron_sample

FLASH, RAM = 256 * 1024, 64 * 1024
# A program whose instructions are known: 2 for each unit of its input, and 2 more.
COUNTED_HEADER = """
#include <stdint.h>
typedef uint32_t counted_word;
#define COUNTED_SCRATCH_BYTES 4
#define COUNTED_INPUTS 1
int counted_predict(const float *input, counted_word *scratch);
"""
COUNTED_SOURCE = """
#include "counted.h"
__asm__(".syntax unified\\n .section .text.counted\\n .thumb_func\\n .global counted_predict\\n counted_predict:\\n"
        "ldr r0, [r0]\\n 1: subs r0, #1\\n bne 1b\\n bx lr\\n .previous");
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not toolchain.has(microcontrollers.CROSS, microcontrollers.EMULATOR),
        reason="needs gcc-arm-none-eabi and qemu-system-arm",
    ),
]


@pytest.mark.often("cortex-m4-planes-True", "cortex-m0plus-gaps-True", "cortex-m4-indices-False", "cortex-m4-rice-True")
@pytest.mark.often(
    "cortex-m4-planes-True",
    "cortex-m0plus-gaps-True",
    "cortex-m4-indices-False",
    "cortex-m0plus-indices16-False",
    "cortex-m4-rice-True",
    "cortex-m0plus-base3-True",
)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "layouts", "pixels"),
    [
        ("cortex-m4", "planes", True), ("cortex-m0plus", "planes", False), ("cortex-m0plus", "gaps", True),
        ("cortex-m4", "indices", False), ("cortex-m0plus", "indices", True), ("cortex-m4", "indices16", True),
        ("cortex-m0plus", "indices16", False), ("cortex-m4", "rice", True), ("cortex-m0plus", "rice", False),
        ("cortex-m4", "base3", False), ("cortex-m0plus", "base3", True),
    ],
)  # fmt: skip
def test_a_microcontroller_predicts_the_same(tmp_path: Path, device: str, layouts: str, pixels: bool) -> None:
    made = whole_classifier(levels=4, widths=(129, 65, 33), pixels=pixels)
    program = to_c(made, layouts=layouts)  # type: ignore[arg-type]
    raw = raw_samples(made)
    firmware = microcontrollers.link_firmware(program, tmp_path, "uint8_t" if pixels else "float", DEVICES[device])
    emulated = microcontrollers.emulate(firmware, raw)
    np.testing.assert_array_equal(made.classes[emulated.indices], made.predict(raw))
    # The stated sizes are those of the linker; the compiler leaves out tables of one number.
    assert 0.95 * program.table_bytes < firmware.constants < program.table_bytes + 200
    assert 500 < firmware.code < 4096
    assert firmware.ram == program.scratch_bytes + raw[0].nbytes
    assert 64 < emulated.stack < microcontrollers.STACK


def counted_program() -> CProgram:
    return CProgram("counted", COUNTED_HEADER, COUNTED_SOURCE, "", (), 0, 4)


@pytest.mark.parametrize("device", DEVICES.values(), ids=list(DEVICES))
def test_instructions_are_counted_one_by_one(tmp_path: Path, device: Device) -> None:
    counts = np.array([1, 2, 3, 1000, 1001, 10_000_000])
    firmware = microcontrollers.link_firmware(counted_program(), tmp_path, "float", device)
    executed = microcontrollers.emulate(firmware, counts.astype(np.uint32).view(np.float32)[:, None]).executed
    # what a function that does nothing takes, 2 instructions, is not counted
    np.testing.assert_array_equal(executed[:5], 2 * counts[:5])
    # the clock's interrupt takes a few every 2^24 ticks
    assert 0 <= executed[5] - 2 * counts[5] < 200


@pytest.mark.slow
def test_a_wide_network_for_images_fits_256_kb_of_flash_and_64_kb_of_ram(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 10
    means = rng.integers(60, 190, (10, 28 * 28))
    raw = np.clip(means[labels] + 80 * rng.standard_normal((400, 28 * 28)), 0, 255).astype(np.uint8)
    centre = raw.mean(axis=0, dtype=np.float64).astype(np.float32)
    normalization = hntk.Normalization(centre, float(np.sqrt(np.mean(np.sum((raw - centre) ** 2, axis=1)))))
    net = hntk.compress(
        ["relu"] * 3, [2000, 2000, 1000], normalization(raw), levels=4, sparsity=0.99, alpha2=False,
        key=jax.random.key(0),
    )  # fmt: skip
    fitted = hntk.fit_ridge(net, normalization(raw[:300]), labels[:300])
    made = hntk.to_integers(fitted, pixels=True, normalization=normalization)
    assert isinstance(made, hntk.IntegerClassifier)
    assert made.accuracy(raw[300:], labels[300:]) > 0.9
    firmware = microcontrollers.link_firmware(to_c(made), tmp_path, "uint8_t", flash=FLASH, ram=RAM)
    assert firmware.flash <= FLASH
    assert firmware.ram <= RAM
    np.testing.assert_array_equal(
        made.classes[microcontrollers.emulate(firmware, raw[300:]).indices], made.predict(raw[300:])
    )


@pytest.mark.often("all-True")
@pytest.mark.parametrize(("layers", "pixels"), [("last", False), ("all", True)])
def test_orthogonal_blocks_on_a_cortex_m4_predict_the_same(tmp_path: Path, layers: str, pixels: bool) -> None:
    made = whole_classifier(levels=4, widths=(129, 65, 33), pixels=pixels, law="orthogonal", layers=layers)
    raw = raw_samples(made)[:40]
    program = to_c(made)
    assert program.layouts == ("transform",) * 3
    firmware = microcontrollers.link_firmware(program, tmp_path, "uint8_t" if pixels else "float", flash=FLASH, ram=RAM)
    emulated = microcontrollers.emulate(firmware, raw)
    np.testing.assert_array_equal(made.classes[emulated.indices], made.predict(raw))
    assert program.table_bytes < firmware.flash < program.table_bytes + 8192
    # a pass takes some instructions for each of the additions, and for each weight of the readout
    additions = sum(sum(w.additions) for w in made.network.weights)
    assert additions < emulated.instructions < 100 * (additions + made.readout.size)


@pytest.mark.parametrize(("device", "layouts"), [("cortex-m4", "indices"), ("cortex-m0plus", "rice")])
def test_thresholds_of_neurons_and_averaged_pixels_on_a_microcontroller_predict_the_same(
    tmp_path: Path, device: str, layouts: str
) -> None:
    # a seed of pixels in cells, and of more than one class
    sample = neuron_sample(4)
    assert isinstance(sample.classifier.network.inputs, PooledPixels)
    assert len(set(sample.labels)) > 1
    program = to_c(sample.classifier, layouts=layouts)  # type: ignore[arg-type]
    firmware = microcontrollers.link_firmware(program, tmp_path, "uint8_t", DEVICES[device])
    emulated = microcontrollers.emulate(firmware, sample.raw)
    np.testing.assert_array_equal(sample.classifier.classes[emulated.indices], sample.labels)


@pytest.mark.often("cortex-m0plus")
@pytest.mark.parametrize("processor", ["cortex-m0plus", "cortex-m3", "cortex-m4"])
def test_programs_of_every_layout_compile_for_cortex_m_without_a_warning(tmp_path: Path, processor: str) -> None:
    """Code takes at most two kilobytes and a half: what a program does not use is not in it."""
    for seed, layouts in enumerate(("planes", "gaps", "indices", "indices16", "rice", "base3")):
        program = to_c(neuron_sample(4 * (seed % 2)).classifier, layouts=layouts)  # type: ignore[arg-type]
        _, source, _ = program.write(tmp_path)
        target = [f"-mcpu={processor}", "-mthumb", "-O2", "-ffreestanding", "-ffunction-sections", "-fdata-sections"]
        made = [
            microcontrollers.CROSS,
            *target,
            *toolchain.STRICT,
            "-Wconversion",
            "-c",
            str(source),
            "-o",
            f"{source}.o",
        ]
        subprocess.run(made, check=True)
        listed = subprocess.run(["arm-none-eabi-size", f"{source}.o"], check=True, capture_output=True, text=True)
        code = int(listed.stdout.splitlines()[1].split()[0]) - program.table_bytes
        assert 0 < code < 2 * 2560


def test_instructions_do_not_depend_on_how_many_samples_there_are(tmp_path: Path) -> None:
    made = whole_classifier(levels=4, widths=(64,), pixels=True, law="orthogonal")
    firmware, raw = microcontrollers.link_firmware(to_c(made), tmp_path, "uint8_t"), raw_samples(made)[:1]
    once, again = (microcontrollers.emulate(firmware, np.repeat(raw, n, axis=0)).instructions for n in (1, 20))
    assert once == again


@pytest.mark.often("cortex-m0plus")
@pytest.mark.parametrize("device", DEVICES.values(), ids=list(DEVICES))
def test_what_does_not_fit_is_refused(tmp_path: Path, device: Device) -> None:
    program = to_c(whole_classifier(levels=4, widths=(129, 65, 33), pixels=True))
    needed = microcontrollers.link_firmware(program, tmp_path, "uint8_t", device)
    with pytest.raises(toolchain.ToolError, match=rf"^flash is full: .* on {re.escape(device.label)} .* fewer neurons"):
        microcontrollers.link_firmware(program, tmp_path, "uint8_t", device, flash=needed.flash)
    with pytest.raises(toolchain.ToolError, match="RAM is full: there are 1,024 bytes of it with 1,024 of them for"):
        microcontrollers.link_firmware(program, tmp_path, "uint8_t", device, ram=microcontrollers.STACK)


def test_a_program_too_large_for_the_machine_says_what_there_is(tmp_path: Path) -> None:
    made = whole_classifier(levels=4, widths=(8,), pixels=True)
    large = replace(to_c(made), header=to_c(made).header.replace("_SCRATCH_BYTES ", "_SCRATCH_BYTES 20000 + "))
    with pytest.raises(toolchain.ToolError, match=r"RAM is full: there are 16,384 bytes of it .*QEMU's microbit"):
        microcontrollers.link_firmware(large, tmp_path, "uint8_t", DEVICES["cortex-m0plus"])
    microcontrollers.link_firmware(large, tmp_path, "uint8_t", DEVICES["cortex-m4"])
