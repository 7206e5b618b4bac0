"""The C program on an emulated Cortex-M4 of 256 kB flash and 64 kB RAM."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest

import hntk
from hntk.export.c import CProgram, to_c
from tests.architectures import raw_samples, whole_classifier

FIRMWARE = Path(__file__).parent / "firmware"
CPU = ("-mcpu=cortex-m4", "-mthumb", "-O2", "-ffreestanding", "-ffunction-sections", "-fdata-sections")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
LINK = ("-nostdlib", "-Wl,--gc-sections", f"-Wl,-T,{FIRMWARE / 'link.ld'}", "-lgcc")
FLASH, RAM = 256 * 1024, 64 * 1024

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
        reason="needs gcc-arm-none-eabi and qemu-system-arm",
    ),
]


def built(program: CProgram, folder: Path, kind: str) -> dict[str, int]:
    """Compile, link, and return bytes of flash and RAM from the linker's map."""
    _, source, _ = program.write(folder)
    sources = [source, FIRMWARE / "main.c", FIRMWARE / "startup.c"]
    objects = []
    for path in sources:
        objects.append(folder / f"{path.stem}.o")
        # start-up is not ISO C: it talks to the processor
        strict = () if path.stem == "startup" else STRICT
        subprocess.run(
            ["arm-none-eabi-gcc", *CPU, *strict, f"-DSAMPLE_TYPE={kind}", f"-I{folder}", f"-I{FIRMWARE}"]
            + ["-c", str(path), "-o", str(objects[-1])],
            check=True,
        )
    subprocess.run(
        ["arm-none-eabi-gcc", *CPU, *map(str, objects), *LINK, f"-Wl,-Map={folder / 'map'}", "-o", str(folder / "elf")],
        check=True,
    )
    sections = dict(
        re.findall(r"^(\.text|\.data|\.bss)\s+0x[0-9a-f]+\s+(0x[0-9a-f]+)", (folder / "map").read_text(), re.M)
    )
    sizes = {name: int(sections.get(name, "0"), 16) for name in (".text", ".data", ".bss")}
    return {"flash": sizes[".text"] + sizes[".data"], "ram": sizes[".data"] + sizes[".bss"]}


def emulated(folder: Path, raw: np.ndarray) -> np.ndarray:
    """Classes that the firmware in a folder tells for samples."""
    (folder / "samples.bin").write_bytes(raw.tobytes())
    result = subprocess.run(
        ["qemu-system-arm", "-M", "mps2-an386", "-kernel", "elf", "-nographic", "-monitor", "none", "-serial", "none"]
        + ["-semihosting-config", "enable=on,target=native"],
        cwd=folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return np.array([ord(letter) - ord("a") for letter in (result.stdout or result.stderr).strip()])


@pytest.mark.parametrize("pixels", [True, False])
@pytest.mark.parametrize("layouts", ["planes", "gaps"])
def test_a_cortex_m4_predicts_the_same(tmp_path: Path, pixels: bool, layouts: str) -> None:
    made = whole_classifier(levels=4, widths=(129, 65, 33), pixels=pixels)
    program = to_c(made, layouts=layouts)  # type: ignore[arg-type]
    raw = raw_samples(made)
    sizes = built(program, tmp_path, "uint8_t" if pixels else "float")
    np.testing.assert_array_equal(made.classes[emulated(tmp_path, raw)], made.predict(raw))
    # what is stated is what the linker finds, but for code and the sample's own memory
    assert program.table_bytes < sizes["flash"] < program.table_bytes + 4096
    assert sizes["ram"] == program.scratch_bytes + -(-raw[0].nbytes // 4) * 4


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
    sizes = built(to_c(made), tmp_path, "uint8_t")
    assert sizes["flash"] <= FLASH
    assert sizes["ram"] <= RAM
    np.testing.assert_array_equal(made.classes[emulated(tmp_path, raw[300:])], made.predict(raw[300:]))
