"""The commands of the documentation's page, run as they stand, and compared with what the page says they print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.support.commands import done

PAGE = Path(__file__).parents[2] / "docs" / "how_to" / "command_line.md"
NUMBER = re.compile(r"-?\d[\d,]*\.?\d*(?:e-?\d+)?")


def commands() -> dict[str, str]:
    """Return what the page says that each command prints."""
    blocks = re.findall(r"```console\n\$ hntk (.*?)\n(.*?)\n```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return dict(blocks)


def words_and_numbers(text: str) -> tuple[list[str], list[float]]:
    """Return a text's words without its numbers, and the numbers."""
    numbers = [float(number.replace(",", "")) for number in NUMBER.findall(text)]
    return NUMBER.sub("#", text).split(), numbers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the page's data by the page's own lines."""
    made = tmp_path_factory.mktemp("page")
    (source,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        exec(source, {})
    return made


@pytest.mark.parametrize("command", [c for c in commands() if c.split()[0] in ("check", "match", "spectrum")])
def test_the_page_shows_what_commands_print(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    words, numbers = words_and_numbers(done(*shlex.split(command)))
    shown, expected = words_and_numbers(commands()[command])
    assert words == shown
    # what is 0 up to rounding differs between processors
    assert numbers == pytest.approx(expected, rel=2e-3, abs=1e-9)


@pytest.mark.nightly
def test_the_page_shows_what_trainings_print(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for command in [c for c in commands() if c.split()[0] in ("compress", "inspect", "export")]:
        printed = done(*shlex.split(command))
        # a training on another processor may end with other numbers, and a table with other columns' widths
        assert len(printed.splitlines()) == pytest.approx(len(commands()[command].splitlines()), abs=2)
        for word in ("tables (flash)", "cc -std=c99", "trained: from uniform", "measured accuracy"):
            assert (word in printed) == (word in commands()[command])
        found = re.findall(r"measured accuracy: ([\d.]+)", printed)
        assert all(float(accuracy) > 0.95 for accuracy in found)
