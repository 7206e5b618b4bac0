"""JSON that every reader understands alike: no repeated names, no NaN or Infinity, no half characters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from hntk.files.limits import CONTAINERS, shorten

# The digits of a 64-bit number, and a sign.
DIGITS = 20


def dumps(metadata: Mapping[str, Any]) -> str:
    """Write tables, lists, text and finite numbers as JSON; NumPy scalars count as the numbers they hold.

    Raises
    ------
    ValueError, TypeError
        If the metadata hold anything else.
    """
    text = json.dumps(metadata, sort_keys=True, allow_nan=False, default=_python_scalar)
    _check_surrogates(metadata, text)
    return text


def loads(text: str) -> Any:
    """Parse JSON.

    Raises
    ------
    ValueError
        If the text is not JSON, repeats a name in a table, or holds NaN, Infinity, whole numbers beyond 64 bits, half
        of a surrogate pair, or more tables and lists than a file may.
    RecursionError
        If it is nested too deeply.
    """
    _check_containers(text)
    value = json.loads(text, parse_int=_parse_int, parse_constant=_refuse_constant, object_pairs_hook=_unique_names)
    _check_surrogates(value, text)
    return value


def _python_scalar(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{shorten(value)} of the type {type(value).__name__} cannot be kept in a file")


def _parse_int(digits: str) -> int:
    if len(digits.lstrip("-")) > DIGITS:
        raise ValueError(f"a whole number has {len(digits)} digits, more than 64 bits have")
    return int(digits)


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not a finite number")


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError(f"a table has {len(pairs)} entries of {len(table)} names: one occurs twice")
    return table


def _check_containers(text: str) -> None:
    """Refuse text with many small tables and lists, which take twenty times the memory of their text."""
    outside_strings = text.replace("\\\\", "").replace('\\"', "").split('"')[::2]
    count = sum(part.count("[") + part.count("{") for part in outside_strings)
    if count > CONTAINERS:
        raise ValueError(f"there are {count:,} tables and lists, more than {CONTAINERS:,}")


def _check_surrogates(value: object, text: str) -> None:
    """Refuse text that holds half of a surrogate pair, which is no Unicode text."""
    if "\\ud" not in text.casefold():
        return
    try:
        json.dumps(value, ensure_ascii=False, default=_python_scalar).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{shorten(error.object[error.start : error.end])} is half of a surrogate pair, and no Unicode text"
        ) from error
