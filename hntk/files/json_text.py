"""JSON that one reader takes one way: no repeated names, no numbers that are none, no halves of characters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from hntk.files.limits import CONTAINERS, shown

# digits of 64 bits, and a sign
DIGITS = 20


def dumps(metadata: Mapping[str, Any]) -> str:
    """Return tables, lists, text and finite numbers as JSON; scalars of NumPy are the numbers they hold.

    Raises
    ------
    ValueError, TypeError
        For anything else.
    """
    text = json.dumps(metadata, sort_keys=True, allow_nan=False, default=_plain)
    _check_characters(metadata, text)
    return text


def loads(text: str) -> Any:
    """Return what JSON says.

    Raises
    ------
    ValueError
        If it is none, repeats a name in a table, or holds NaN, Infinity, whole numbers beyond 64 bits, half of a
        surrogate pair, or more tables and lists than a file may.
    RecursionError
        If it is nested too deeply.
    """
    _check_containers(text)
    made = json.loads(text, parse_int=_whole, parse_constant=_no_number, object_pairs_hook=_table)
    _check_characters(made, text)
    return made


def _plain(given: object) -> object:
    if isinstance(given, np.generic):
        return given.item()
    raise TypeError(f"{shown(given)} of the type {type(given).__name__} cannot be kept in a file")


def _whole(digits: str) -> int:
    if len(digits.lstrip("-")) > DIGITS:
        raise ValueError(f"a whole number has {len(digits)} digits, more than 64 bits have")
    return int(digits)


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is not a finite number")


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError(f"a table has {len(pairs)} entries of {len(made)} names: one occurs twice")
    return made


def _check_containers(text: str) -> None:
    """Refuse many small tables and lists, which take twenty times the memory of their text."""
    outside = text.replace("\\\\", "").replace('\\"', "").split('"')[::2]
    count = sum(part.count("[") + part.count("{") for part in outside)
    if count > CONTAINERS:
        raise ValueError(f"there are {count:,} tables and lists, more than {CONTAINERS:,}")


def _check_characters(made: object, text: str) -> None:
    if "\\ud" not in text.casefold():
        return
    try:
        json.dumps(made, ensure_ascii=False, default=_plain).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{shown(error.object[error.start : error.end])} is half of a surrogate pair, and no Unicode text"
        ) from error
