"""The glossary: what it says of the code is so, and no symbol stands twice in a section."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

import hntk
from hntk.theory.expansion import Expansion

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
ROWS = [line.strip("| ").split(" | ") for line in TEXT.splitlines() if line.startswith("| ") and "---" not in line]
NAMES = sorted({name for row in ROWS for name in re.findall(r"`([^`]+)`", row[1])} - {"in the code"})
SPACES = (hntk, hntk.asymptotics)


def class_of(name: str) -> type | None:
    if name == "Expansion":
        return Expansion
    return next((getattr(space, name) for space in SPACES if isinstance(getattr(space, name, None), type)), None)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_code_is_one(name: str) -> None:
    first, _, attribute = name.partition(".")
    if attribute:
        owner = class_of(first)
        assert owner is not None
        fields = {field.name for field in dataclasses.fields(owner)} if dataclasses.is_dataclass(owner) else set()
        assert attribute in fields or hasattr(owner, attribute)
    else:
        known = class_of(name) or any(hasattr(space, name) for space in SPACES)
        sources = (source.read_text(encoding="utf-8") for source in (ROOT / "hntk").rglob("*.py"))
        assert known or any(re.search(rf"^ +{name} : |\b{name}: ", source, re.M) for source in sources)


def test_functions_that_sentences_name_exist() -> None:
    names = set(re.findall(r"`hntk\.([\w.]+)`", TEXT))
    assert len(names) > 10
    for name in names - {"asymptotics"}:
        space, _, last = name.rpartition(".")
        assert hasattr(getattr(hntk, space) if space else hntk, last), name


def test_a_symbol_stands_once_in_a_section() -> None:
    for section in TEXT.split("\n## ")[1:]:
        symbols = [line.split(" | ")[0].strip("| ") for line in section.splitlines() if line.startswith("| ")]
        assert len(symbols) == len(set(symbols)), section[:30]
