"""The constant part of every C program, compiled by itself."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from importlib.resources import as_file, files
from itertools import product
from pathlib import Path
from typing import Any

import pytest

import hntk.deploy
from experiments.shipping import toolchain
from hntk.deploy.c import to_c
from tests.support.architectures import whole_classifier
from tests.support.compiled import SANITIZED

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wpedantic", "-Wshadow", "-Wcast-qual", "-Werror")
CHECKS = Path(__file__).with_name("kernels.c")


LANGUAGES = (("gcc", "-std=c99"), ("clang", "-std=c99"), ("g++", "-xc++", "-std=c++11"))
OPTIONS = (
    (), ("-DFLOAT_INPUT", "-DFEW_INSTRUCTIONS"), ("-DFLOAT_INPUT", "-mpopcnt"), ("-DFLOAT_INPUT", "-O2", "-mpopcnt"),
)  # fmt: skip


def _builds() -> Iterator[Any]:
    """Yield all builds; three of them, one of each language and of each options without -O2, are not nightly's."""
    for (i, language), (j, word_bits), (k, options) in product(*map(enumerate, (LANGUAGES, (32, 64), OPTIONS))):
        name = " ".join((*language, str(word_bits), *options))
        marks = [] if i == k and j == i % 2 else [pytest.mark.nightly]
        yield pytest.param(language, word_bits, options, marks=marks, id=name)


@pytest.mark.parametrize(("language", "word_bits", "options"), list(_builds()))
def test_kernels_compute_what_is_computed_directly(
    tmp_path: Path, language: tuple[str, ...], word_bits: int, options: tuple[str, ...]
) -> None:
    if not toolchain.has(language[0]):
        pytest.skip(f"{language[0]} is not installed")
    built = tmp_path / "kernels"
    with as_file(files("hntk.deploy").joinpath("hntk_kernels.h")) as header:
        command = [*language, *WARNINGS, *SANITIZED, *options, f"-DWORD_BITS={word_bits}", f"-I{header.parent}"]
        subprocess.run([*command, str(CHECKS), "-o", str(built), "-lm"], check=True)
    checked = subprocess.run([built], capture_output=True, text=True)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_programs_hold_the_kernels_and_compile_without_a_warning(tmp_path: Path, compiler: str) -> None:
    if not toolchain.has(compiler):
        pytest.skip(f"{compiler} is not installed")
    words, kernels = (files("hntk.deploy").joinpath(f"hntk_{part}.h").read_text() for part in ("words", "kernels"))
    kernels = kernels.replace('#include "hntk_words.h"\n\n', "")
    for pixels in (False, True):
        made = whole_classifier(levels=4, widths=(100, 65, 33), pixels=pixels)
        program = to_c(made, layouts=["planes", "gaps", "planes"])
        assert program.source.count(words) == program.source.count(kernels) == 1
        _, source, _ = program.write(tmp_path)
        subprocess.run([compiler, "-std=c99", *WARNINGS, "-c", str(source), "-o", str(tmp_path / "net.o")], check=True)


def test_bytes_are_those_of_the_tables() -> None:
    program = to_c(whole_classifier(levels=4, widths=(100, 65), pixels=True), layouts="planes")
    sizes = {"int8_t": 1, "int16_t": 2, "int32_t": 4, "word": 8}
    tables = program.source.split("/* The tables of this network. */")[1].split("static const layer")[0]
    counted = 0
    for line in tables.splitlines():
        if line.startswith("static const"):
            kind, array = line.split()[2:4]
            counted += sizes[kind] * int(array.split("[")[1].rstrip("]"))
    assert counted == program.table_bytes
    assert f"HNTK_NET_TABLE_BYTES {counted}\n" in program.header


def test_programs_print_their_sizes_and_not_their_text() -> None:
    program = to_c(whole_classifier(levels=4, widths=(100, 65), pixels=True))
    assert len(repr(program)) < 200
    assert f"table_bytes={program.table_bytes}" in repr(program)


def test_the_package_gives_what_exports() -> None:
    assert {"to_c", "to_onnx", "write_onnx"} <= set(hntk.deploy.__all__)
    assert hntk.deploy.to_c is to_c
