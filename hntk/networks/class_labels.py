"""Class labels in files: they come back exactly as they were, with their type."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from hntk._utils.labels import label_array
from hntk.files.limits import CHARACTERS, CLASSES, LABEL_CHARACTERS, shorten
from hntk.files.reader import FieldReader

# Sizes in bytes of the types of labels; text has any size.
SIZES = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}
KINDS: dict[type, str] = {bool: "b", int: "iu", float: "f", str: "U"}
# Labels that a representation of a classifier shows.
SHOWN = 4


def labels_to_metadata(classes: object) -> dict[str, Any]:
    """Return labels and their type; arrays of Python objects get the type of the objects.

    Raises
    ------
    ValueError
        If labels are neither booleans, numbers nor text, or some are missing.
    """
    labels = label_array(classes, name="classes")
    if labels.dtype.kind == "U":
        labels = labels.astype(f"<U{max(1, max(map(len, labels.tolist()), default=1))}")
    return {"classes": labels.tolist(), "classes_type": labels.dtype.str}


def read_labels(fields: FieldReader) -> np.ndarray:
    """Return the labels of a file, all different and of the type that is declared.

    Raises
    ------
    TypeError, ValueError
        If they are not.
    """
    labels = fields.table["classes"]
    if not isinstance(labels, list) or not 0 < len(labels) <= CLASSES or not all(type(v) in KINDS for v in labels):
        raise TypeError(f"classes must be a list of labels, {CLASSES:,} at most, not {shorten(labels)}")
    if len(set(labels)) != len(labels):
        raise ValueError(f"classes must be different labels, not {shorten(labels)}")
    declared = fields.text("classes_type")
    array = _as_declared(labels, declared)
    if array is None or array.tolist() != labels:
        raise ValueError(f"classes are not all of the type {shorten(declared)} that is declared: {shorten(labels)}")
    return array


def labels_note(classes: object) -> str:
    """Return all labels as a line of a summary."""
    return f"classes: {', '.join(map(str, np.asarray(classes).tolist()))}"


def brief_labels(classes: object) -> str:
    """Return the number of classes and the first labels."""
    labels = np.asarray(classes).tolist()
    rest = ", …" if len(labels) > SHOWN else ""
    return f"{len(labels):,} classes: {', '.join(shorten(label) for label in labels[:SHOWN])}{rest}"


def _as_declared(labels: list, declared: str) -> np.ndarray | None:
    """Return labels in the type declared, or None if they are not of it; text gets the length of the longest."""
    parsed = re.fullmatch(r"[<>|=]?([biufU])(\d{1,9})", declared, re.ASCII)
    types = {type(label) for label in labels}
    if parsed is None or len(types) != 1 or parsed[1] not in KINDS[types.pop()]:
        return None
    kind, size = parsed[1], int(parsed[2])
    if kind != "U":
        return _numbers(labels, f"{kind}{size}") if size in SIZES[kind] else None
    longest = max(map(len, labels))
    if longest > CHARACTERS or longest * len(labels) > LABEL_CHARACTERS:
        raise ValueError(
            f"{len(labels):,} labels of up to {longest:,} characters are more than a file may have: {CHARACTERS:,} "
            f"each and {LABEL_CHARACTERS:,} where all are as long as the longest. Shorten them"
        )
    return np.array(labels) if longest <= size else None


def _numbers(labels: list, dtype: str) -> np.ndarray | None:
    """Return numeric labels in a type, or None if it cannot hold them."""
    if dtype[0] in "iu":
        limits = np.iinfo(dtype)
        return np.array(labels, dtype) if limits.min <= min(labels) and max(labels) <= limits.max else None
    array = np.array(labels)
    with np.errstate(over="ignore"):
        return array.astype(dtype) if np.all(np.isfinite(array)) else None
