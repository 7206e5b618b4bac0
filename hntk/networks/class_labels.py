"""Labels in a file, which come back exactly as they were, type and all."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from hntk._utils.labels import label_array
from hntk.files.limits import CHARACTERS, CLASSES, LABEL_CHARACTERS, shown
from hntk.files.reader import FieldReader

# sizes in bytes of the types of labels; text has any
SIZES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}
KINDS: dict[type, str] = {bool: "b", int: "iu", float: "f", str: "U"}


def describe_classes(classes: object) -> dict[str, Any]:
    """Return labels and their type; labels in arrays of Python objects are taken for what they are.

    Raises
    ------
    ValueError
        If they are neither booleans, numbers nor text, or some are missing.
    """
    given = label_array(classes, name="classes")
    if given.dtype.kind == "U":
        given = given.astype(f"<U{max(1, max(map(len, given.tolist()), default=1))}")
    return {"classes": given.tolist(), "classes_type": given.dtype.str}


def classes_of(part: FieldReader) -> np.ndarray:
    """Return labels, all different and of one type, which is the one declared.

    Raises
    ------
    TypeError, ValueError
        If they are not.
    """
    given = part.told["classes"]
    if not isinstance(given, list) or not 0 < len(given) <= CLASSES or not all(type(v) in KINDS for v in given):
        raise TypeError(f"classes must be a list of labels, {CLASSES:,} at most, not {shown(given)}")
    if len(set(given)) != len(given):
        raise ValueError(f"classes must be different labels, not {shown(given)}")
    declared = part.text("classes_type")
    made = _array(given, declared)
    if made is None or made.tolist() != given:
        raise ValueError(f"classes are not all of the type {shown(declared)} that is declared: {shown(given)}")
    return made


def _array(given: list, declared: str) -> np.ndarray | None:
    """Return labels in the type declared, None where that is not theirs; text gets the length of the longest."""
    found = re.fullmatch(r"[<>|=]?([biufU])(\d{1,9})", declared, re.ASCII)
    types = {type(label) for label in given}
    if found is None or len(types) != 1 or found[1] not in KINDS[types.pop()]:
        return None
    kind, size = found[1], int(found[2])
    if kind != "U":
        return _numbers(given, f"{kind}{size}") if size in SIZES[kind] else None
    longest = max(map(len, given))
    if longest > CHARACTERS or longest * len(given) > LABEL_CHARACTERS:
        raise ValueError(
            f"{len(given):,} labels of up to {longest:,} characters are more than a file may have: {CHARACTERS:,} each "
            f"and {LABEL_CHARACTERS:,} where all are as long as the longest. Shorten them"
        )
    return np.array(given) if longest <= size else None


def _numbers(given: list, dtype: str) -> np.ndarray | None:
    if dtype[0] in "iu":
        limits = np.iinfo(dtype)
        return np.array(given, dtype) if limits.min <= min(given) and max(given) <= limits.max else None
    made = np.array(given)
    with np.errstate(over="ignore"):
        return made.astype(dtype) if np.all(np.isfinite(made)) else None
