"""Batch functions and the paths for vectors of each processor give the scores of the integer network, bit for bit."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.shipping import toolchain
from hntk.deploy import c_batch, to_c
from hntk.deploy.c import CProgram
from hntk.networks.integer_steps import Steps
from tests.deploy.test_exported_numbers import made_of
from tests.support.architectures import raw_samples, whole_classifier
from tests.support.compiled import SANITIZED, run_all
from tests.support.neuron_classifiers import neuron_sample

STAIRCASE = Steps((-900, -100, 0, 40, 1000), (-7, -2, 0, 1, 5, 11))
AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512vpopcntdq")
HAS_AVX512 = {"avx512f", "avx512bw", "avx512_vpopcntdq"}
QUICK = ("-O1",)
# By name, options of gcc, features that the processor must have, and the width of words.
X86: dict[str, tuple[tuple[str, ...], set[str], int]] = {
    "portable": (SANITIZED, set(), 64),
    "AVX2": ((*QUICK, "-mavx2"), {"avx2"}, 64),
    "AVX-512 with products of bytes": ((*QUICK, *AVX512, "-mavx512vnni"), {*HAS_AVX512, "avx512_vnni"}, 64),
}
NIGHTLY: dict[str, tuple[tuple[str, ...], set[str], int]] = {
    "portable in words of 32 bits": (SANITIZED, set(), 32),
    "portable by choice": ((*SANITIZED, *AVX512, "-mavx2", "-DHNTK_PORTABLE"), set(HAS_AVX512), 64),
    "popcnt": ((*SANITIZED, "-mpopcnt"), {"popcnt"}, 64),
    "AVX2, words of 32 bits": ((*SANITIZED, "-mavx2"), {"avx2"}, 32),
    "AVX2, sanitized": ((*SANITIZED, "-mavx2"), {"avx2"}, 64),
    "AVX-512, sanitized": ((*SANITIZED, *AVX512), HAS_AVX512, 64),
    "AVX-512 with products of bytes, sanitized": (
        (*SANITIZED, *AVX512, "-mavx512vnni"),
        {*HAS_AVX512, "avx512_vnni"},
        64,
    ),
    "all that this processor has, optimized": (("-O3", "-march=native"), set(), 64),
}
BUILDS = [*X86, *(pytest.param(name, marks=pytest.mark.nightly) for name in NIGHTLY)]


@cache
def cases() -> tuple[list[CProgram], list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Programs, the labels of their classes, samples, and the scores that Python gives them.

    Rows are longer than the counts of bytes add up, shorter than a vector, and neither: in all, layers of planes lie
    between others, all layers are read, and neurons have thresholds of their own.
    """
    rng = np.random.default_rng(0)
    pixels = whole_classifier(levels=4, widths=(100, 65, 33), pixels=True)
    own = neuron_sample(1)
    made: list[tuple[Any, Any, Any]] = [
        (made_of([STAIRCASE, STAIRCASE], 8200, 5), "planes", rng.integers(0, 256, (9, 8200)).astype(np.uint8)),
        (pixels, ["planes", "gaps", "planes"], raw_samples(pixels)[:70]),
        (own.classifier, "planes", own.raw),
    ]
    floats = whole_classifier(levels=3, widths=(70, 130), law="bernoulli", layers="all")
    made.append((floats, ["planes", "planes"], raw_samples(floats)[:40]))
    programs = [to_c(network, f"net{i}", layouts=layouts) for i, (network, layouts, _) in enumerate(made)]
    labels, samples = [network.classes for network, _, _ in made], [raw for _, _, raw in made]
    scores = [np.asarray(network.scores(raw)) for network, _, raw in made]
    return programs, labels, samples, scores


def check(
    folder: Path, options: tuple[str, ...], bits: int, compiler: str = "gcc", runner: tuple[str, ...] = ()
) -> None:
    programs, labels, samples, scores = cases()
    given = run_all(
        programs, labels, samples, folder, compiler, options, [bits] * len(programs), batch=True, runner=runner
    )
    for program, got, wanted in zip(programs, given, scores, strict=True):
        assert len(np.unique(wanted, axis=0)) > 1
        np.testing.assert_array_equal(got.scores, wanted, err_msg=program.name)
        np.testing.assert_array_equal(got.indices, np.argmax(wanted, axis=1), err_msg=program.name)


@pytest.mark.parametrize("build", BUILDS)
def test_batches_on_this_processor(tmp_path: Path, build: str) -> None:
    if not toolchain.has("gcc"):
        pytest.skip("gcc is not installed")
    options, needed, bits = (X86 | NIGHTLY)[build]
    if needed and platform.machine() != "x86_64":
        pytest.skip("these instructions are those of x86-64")
    if not needed <= _features():
        for program in cases()[0]:
            source = program.write(tmp_path)[1]
            batch = f"-D{program.name.upper()}_BATCH"
            toolchain.compile_files([source], tmp_path / "net.o", "gcc", (*options, batch, "-c"))
        pytest.skip(f"compiled only: this processor does not have {', '.join(sorted(needed - _features()))}")
    check(tmp_path, options, bits)


def test_batches_on_an_emulated_arm_with_neon(tmp_path: Path) -> None:
    compiler, emulator = "aarch64-linux-gnu-gcc", "qemu-aarch64"
    if not toolchain.has(compiler, emulator):
        pytest.skip(f"{compiler} or {emulator} is not installed")
    check(tmp_path, (*QUICK, "-static"), 64, compiler, (emulator,))


def _features() -> set[str]:
    """Return what this processor can do, as Linux names it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())


@pytest.mark.skipif(platform.machine() != "x86_64" or not toolchain.has("gcc"), reason="needs gcc for x86")
@pytest.mark.parametrize("name", X86)
def test_scratch_memory_is_counted_by_the_sizes_that_c_has(name: str) -> None:
    header = files("hntk.deploy").joinpath("hntk_batch.h")
    command = ["gcc", "-dM", "-E", *X86[name][0], str(header)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    sizes = {line.split()[1]: line.split()[2:] for line in told.splitlines()}
    assert sizes["BLOCK"] == [str(c_batch.BLOCK)]
    assert int(sizes.get("DOT_ROWS", ["0"])[0]) <= c_batch.ROWS
    assert name != "AVX-512 with products of bytes" or sizes["DOT_ROWS"] == [str(c_batch.ROWS)]
