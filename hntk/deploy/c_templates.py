"""Templates of C: files beside this one, whose @fields@ are filled in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

# columns of a line of C
WIDTH = 110


def filled(template: str, fields: Mapping[str, object]) -> str:
    """Return a template with its fields."""
    return _replaced(_text(template), fields)


def fragment(name: str, /, **fields: object) -> str:
    """Return one of the functions that programs are made of, with its fields."""
    found = re.search(rf"^//: {name}\n(.*?)(?=^//: |\Z)", _text("fragments.c.in"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return _replaced(found.group(1), fields).rstrip() + "\n"


def lines(items: Iterable[str]) -> str:
    """Return items with commas, as many on a line as fit."""
    texts = list(items)
    each = max(1, WIDTH // (max(map(len, texts), default=1) + 2))
    return ",\n".join("    " + ", ".join(texts[i : i + each]) for i in range(0, len(texts), each))


@cache
def _text(template: str) -> str:
    return files("hntk.deploy").joinpath(template).read_text(encoding="utf-8")


def _replaced(text: str, fields: Mapping[str, object]) -> str:
    return re.sub(r"@(\w+)@", lambda m: str(fields[m.group(1)]), text)
