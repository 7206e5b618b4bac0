"""Metadata and arrays of a file, checked as they are read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from hntk.files.limits import CHARACTERS, COEFFICIENTS, LAYERS, LEVELS, shorten

FLOAT32 = np.finfo(np.float32)


class FieldReader:
    """One table of a file's metadata, with the file's arrays; every value is checked as it is read.

    All methods raise a ``ValueError``, ``TypeError`` or ``KeyError`` where the value is missing or not as described.

    Parameters
    ----------
    table : dict
        Metadata, such as parsed from JSON.
    arrays : mapping of str to numpy.ndarray
        The arrays of the file.

    Raises
    ------
    TypeError
        If the metadata are not a table.
    """

    def __init__(self, table: object, arrays: Mapping[str, np.ndarray]) -> None:
        if not isinstance(table, dict):
            raise TypeError(f"a table was expected, not {shorten(table)}")
        self.table: dict[str, Any] = table
        self.arrays = arrays

    def __contains__(self, name: str) -> bool:
        return name in self.table

    def subtable(self, name: str) -> FieldReader:
        """Return the table of a name."""
        return FieldReader(self.table[name], self.arrays)

    def subtables(self, name: str) -> list[FieldReader]:
        """Return a list of tables, at least one and at most as many as a network may have layers."""
        value = self.table[name]
        if not isinstance(value, list) or not 0 < len(value) <= LAYERS:
            raise TypeError(f"{name} must be a list of one to {LAYERS:,}, not {shorten(value)}")
        return [FieldReader(item, self.arrays) for item in value]

    def number(self, name: str, *, positive: bool = False) -> float:
        """Return a number within float32's range."""
        value = self.table[name]
        if not _is_float32(value):
            raise ValueError(f"{name} must be a finite number of float32's range, not {shorten(value)}")
        if positive and value < FLOAT32.tiny:
            raise ValueError(f"{name} must be positive, and not below float32's range, not {shorten(value)}")
        return float(value)

    def numbers(self, name: str, most: int = COEFFICIENTS) -> list[float]:
        """Return a list of numbers within float32's range, by default at most as many as polynomials' coefficients."""
        value = self.table[name]
        if not isinstance(value, list) or not 0 < len(value) <= most or not all(map(_is_float32, value)):
            raise ValueError(f"{name} must be one to {most:,} finite numbers of float32's range, not {shorten(value)}")
        return [float(number) for number in value]

    def flag(self, name: str) -> bool:
        """Return true or false; a missing name is false."""
        value = self.table.get(name, False)
        if value not in (True, False):
            raise ValueError(f"{name} must be true or false, not {shorten(value)}")
        return bool(value)

    def text(self, name: str, among: Collection[str] | None = None) -> str:
        """Return text, which must be one of ``among`` if that is given."""
        value = self.table[name]
        if not isinstance(value, str) or (among is not None and value not in among):
            raise ValueError(f"{name} cannot be {shorten(value)}")
        return _check_length(value, name)

    def texts(self, name: str) -> list[str]:
        """Return a list of texts, at least one."""
        value = self.table[name]
        if not isinstance(value, list) or not 0 < len(value) <= LAYERS or not all(isinstance(v, str) for v in value):
            raise TypeError(f"{name} must be a list of words, not {shorten(value)}")
        return [_check_length(text, name) for text in value]

    def whole_number(self, name: str) -> int:
        """Return a whole number that is not negative."""
        value = self.table[name]
        if type(value) is not int or value < 0:
            raise ValueError(f"{name} must be a whole number that is not negative, not {shorten(value)}")
        return value

    def count(self, name: str) -> int:
        """Return a positive whole number."""
        return _check_counts([self.table[name]], name)[0]

    def counts(self, name: str) -> list[int]:
        """Return a list of positive whole numbers, at least one."""
        return _check_counts(self.table[name], name)

    def shape(self, name: str) -> tuple[int, int]:
        """Return a matrix's shape, (outputs, inputs)."""
        value = self.counts(name)
        if len(value) != 2:
            raise ValueError(f"{name} must be two numbers, not {shorten(value)}")
        return value[0], value[1]

    def array(self, name: str, dtype: type, *shape: int | None) -> np.ndarray:
        """Return a finite array of a type and a shape, in which None stands for any size."""
        if name not in self.arrays:
            raise KeyError(f"the array {name}")
        array = self.arrays[name]
        fits = array.ndim == len(shape) and all(s in (None, d) for s, d in zip(shape, array.shape, strict=True))
        if array.dtype != dtype or not fits:
            sizes = ", ".join("any" if size is None else str(size) for size in shape)
            wanted = f"({sizes},)" if len(shape) == 1 else f"({sizes})"
            raise ValueError(f"{name} must be {np.dtype(dtype)} of shape {wanted}, not {array.dtype} of {array.shape}")
        if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
            raise ValueError(f"{name} has values that are not finite")
        return array

    def array_of_types(self, name: str, dtypes: Sequence[type], *shape: int | None) -> np.ndarray:
        """Return a finite array of a shape and of one of several types."""
        own = self.arrays[name].dtype if name in self.arrays else None
        return self.array(name, next((dtype for dtype in dtypes if dtype == own), dtypes[-1]), *shape)

    def thresholds(self, layer: str, dtype: type) -> np.ndarray:
        """Return the thresholds of a layer's staircase, at least one and fewer than a file may have levels."""
        thresholds = self.array(f"{layer}.thresholds", dtype, None)
        self.check_levels(layer, thresholds.size + 1)
        return thresholds

    @staticmethod
    def check_levels(layer: str, levels: int) -> None:
        """Refuse a staircase of one level, or of more than a file may have."""
        if not 2 <= levels <= LEVELS:
            raise ValueError(f"{layer} must have 2 to {LEVELS:,} levels, not {levels:,}")


def _is_float32(value: object) -> bool:
    """Return whether a value is a number within float32's range."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= float(FLOAT32.max)


def _check_length(text: str, name: str) -> str:
    if len(text) > CHARACTERS:
        raise ValueError(f"{name} has {len(text):,} characters, more than {CHARACTERS:,}: {shorten(text)}")
    return text


def _check_counts(value: object, name: str) -> list[int]:
    if not isinstance(value, list) or not value or not all(type(n) is int and n > 0 for n in value):
        raise ValueError(f"{name} must be positive whole numbers, not {shorten(value)}")
    return value
