"""The tutorial, run as it is written, from scikit-learn's model and from PyTorch's."""

from __future__ import annotations

import doctest
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from experiments.shipping import microcontrollers, toolchain

ROOT = Path(__file__).parents[2]
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
TUTORIAL = "docs/tutorials/torch_to_cortex_m.md"
# Pages with firmware around a generated header, whose fence begins so.
PAGES = (TUTORIAL, "docs/how_to/train.md")
HEADER = """
#include <stdint.h>
typedef uint32_t digits_word;
#define DIGITS_INPUTS 64
#define DIGITS_SCRATCH_BYTES 128
extern const int32_t digits_labels[10];
int digits_predict(const uint8_t *input, digits_word *scratch);
"""


def fences(page: str, language: str) -> list[str]:
    """Return a page's blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.nightly
@pytest.mark.parametrize("framework", ["sklearn", "torch"])
def test_the_tutorial_runs_as_written(framework: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ("gcc", microcontrollers.CROSS, microcontrollers.EMULATOR)
    if find_spec(framework) is None or find_spec("sklearn") is None or not toolchain.has(*needed):
        pytest.skip(f"needs {framework}, scikit-learn, {', '.join(needed)}")
    monkeypatch.chdir(tmp_path)
    start, of_sklearn, of_torch, *rest = fences(TUTORIAL, "python")
    assert "sklearn.neural_network" in of_sklearn
    assert "import torch" in of_torch
    text = "".join([start, of_sklearn if framework == "sklearn" else of_torch, *rest])
    page = doctest.DocTestParser().get_doctest(text, {}, framework, TUTORIAL, 0)
    told: list[str] = []
    result = doctest.DocTestRunner(optionflags=FLAGS).run(page, out=told.append)
    assert result.attempted > 15
    assert not result.failed, "".join(told)


@pytest.mark.skipif(not toolchain.has(microcontrollers.CROSS), reason="needs gcc-arm-none-eabi")
@pytest.mark.parametrize("processor", ["cortex-m4", "cortex-m0plus"])
def test_the_firmware_around_a_header_compiles(processor: str, tmp_path: Path) -> None:
    (tmp_path / "digits.h").write_text(HEADER)
    blocks = [block for page in PAGES for block in fences(page, "c")]
    assert blocks
    for number, block in enumerate(blocks):
        source = tmp_path / f"firmware{number}.c"
        source.write_text(block)
        options = (f"-mcpu={processor}", "-mthumb", "-O2", "-ffreestanding", f"-I{tmp_path}", "-c")
        toolchain.compile_files([source], tmp_path / "firmware.o", microcontrollers.CROSS, options)
