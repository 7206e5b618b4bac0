"""The C program on an emulated Cortex-M4 of 256 kB flash and 64 kB RAM."""

from __future__ import annotations

import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest

import hntk
from experiments.shipping import toolchain
from hntk.deploy.c import to_c
from hntk.networks.integer_inputs import PooledPixels
from tests.support.architectures import raw_samples, whole_classifier
from tests.support.neuron_classifiers import neuron_sample

FLASH, RAM = 256 * 1024, 64 * 1024

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not toolchain.has(toolchain.CROSS, toolchain.EMULATOR), reason="needs gcc-arm-none-eabi and qemu-system-arm"
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layouts", "pixels"),
    [("planes", True), ("planes", False), ("gaps", True), ("indices", False), ("rice", True), ("base3", False)],
)
def test_a_cortex_m4_predicts_the_same(tmp_path: Path, layouts: str, pixels: bool) -> None:
    made = whole_classifier(levels=4, widths=(129, 65, 33), pixels=pixels)
    program = to_c(made, layouts=layouts)  # type: ignore[arg-type]
    raw = raw_samples(made)
    firmware = toolchain.link_firmware(program, tmp_path, "uint8_t" if pixels else "float", FLASH, RAM)
    np.testing.assert_array_equal(made.classes[toolchain.emulate(firmware, raw).indices], made.predict(raw))
    # The stated sizes are those of the linker, but for code and the memory of one sample.
    assert program.table_bytes < firmware.flash < program.table_bytes + 4096
    assert firmware.ram == program.scratch_bytes + -(-raw[0].nbytes // 4) * 4


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
    firmware = toolchain.link_firmware(to_c(made), tmp_path, "uint8_t", FLASH, RAM)
    assert firmware.flash <= FLASH
    assert firmware.ram <= RAM
    np.testing.assert_array_equal(made.classes[toolchain.emulate(firmware, raw[300:]).indices], made.predict(raw[300:]))


@pytest.mark.parametrize(("layers", "pixels"), [("last", False), ("all", True)])
def test_orthogonal_blocks_on_a_cortex_m4_predict_the_same(tmp_path: Path, layers: str, pixels: bool) -> None:
    made = whole_classifier(levels=4, widths=(129, 65, 33), pixels=pixels, law="orthogonal", layers=layers)
    raw = raw_samples(made)[:40]
    program = to_c(made)
    assert program.layouts == ("transform",) * 3
    firmware = toolchain.link_firmware(program, tmp_path, "uint8_t" if pixels else "float", FLASH, RAM)
    emulated = toolchain.emulate(firmware, raw)
    np.testing.assert_array_equal(made.classes[emulated.indices], made.predict(raw))
    assert program.table_bytes < firmware.flash < program.table_bytes + 8192
    # a pass takes some instructions for each of the additions, and for each weight of the readout
    additions = sum(sum(w.additions) for w in made.network.weights)
    assert additions < emulated.instructions < 100 * (additions + made.readout.size)


@pytest.mark.parametrize("layouts", ["indices", "rice"])
def test_thresholds_of_neurons_and_averaged_pixels_on_a_cortex_m4_predict_the_same(
    tmp_path: Path, layouts: str
) -> None:
    # a seed of pixels in cells, and of more than one class
    sample = neuron_sample(4)
    assert isinstance(sample.classifier.network.inputs, PooledPixels)
    assert len(set(sample.labels)) > 1
    program = to_c(sample.classifier, layouts=layouts)  # type: ignore[arg-type]
    firmware = toolchain.link_firmware(program, tmp_path, "uint8_t", FLASH, RAM)
    emulated = toolchain.emulate(firmware, sample.raw)
    np.testing.assert_array_equal(sample.classifier.classes[emulated.indices], sample.labels)


@pytest.mark.parametrize("processor", ["cortex-m0plus", "cortex-m3", "cortex-m4"])
def test_programs_of_every_layout_compile_for_cortex_m_without_a_warning(tmp_path: Path, processor: str) -> None:
    """Code takes at most two kilobytes and a half: what a program does not use is not in it."""
    for seed, layouts in enumerate(("planes", "gaps", "indices", "rice", "base3")):
        program = to_c(neuron_sample(4 * (seed % 2)).classifier, layouts=layouts)  # type: ignore[arg-type]
        _, source, _ = program.write(tmp_path)
        target = [f"-mcpu={processor}", "-mthumb", "-O2", "-ffreestanding", "-ffunction-sections", "-fdata-sections"]
        made = [toolchain.CROSS, *target, *toolchain.STRICT, "-Wconversion", "-c", str(source), "-o", f"{source}.o"]
        subprocess.run(made, check=True)
        listed = subprocess.run(["arm-none-eabi-size", f"{source}.o"], check=True, capture_output=True, text=True)
        code = int(listed.stdout.splitlines()[1].split()[0]) - program.table_bytes
        assert 0 < code < 2 * 2560


def test_instructions_do_not_depend_on_how_many_samples_there_are(tmp_path: Path) -> None:
    made = whole_classifier(levels=4, widths=(64,), pixels=True, law="orthogonal")
    firmware, raw = toolchain.link_firmware(to_c(made), tmp_path, "uint8_t"), raw_samples(made)[:1]
    once, again = (toolchain.emulate(firmware, np.repeat(raw, n, axis=0)).instructions for n in (1, 20))
    assert abs(once - again) <= toolchain.NANOSECONDS


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    program = to_c(whole_classifier(levels=4, widths=(129, 65, 33), pixels=True))
    needed = toolchain.link_firmware(program, tmp_path, "uint8_t")
    with pytest.raises(toolchain.ToolError, match="flash is full"):
        toolchain.link_firmware(program, tmp_path, "uint8_t", flash=needed.flash - 1)
    with pytest.raises(toolchain.ToolError, match="RAM is full"):
        toolchain.link_firmware(program, tmp_path, "uint8_t", ram=needed.ram + 1000)
