"""Metadata that is checked as it is read."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from hntk.files.limits import CHARACTERS, COEFFICIENTS, LAYERS, shown

LARGEST = float(np.finfo(np.float32).max)


def _is_number(given: object) -> bool:
    """Whether this is a number that float32 has room for."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        return False
    return abs(given) <= LARGEST


def _short(word: str, name: str) -> str:
    if len(word) > CHARACTERS:
        raise ValueError(f"{name} has {len(word):,} characters, more than {CHARACTERS:,}: {shown(word)}")
    return word


class FieldReader:
    """Metadata that is checked as it is read, and the arrays."""

    def __init__(self, told: object, arrays: Mapping[str, np.ndarray]) -> None:
        if not isinstance(told, dict):
            raise TypeError(f"a table was expected, not {shown(told)}")
        self.told, self.arrays = told, arrays

    def __contains__(self, name: str) -> bool:
        return name in self.told

    def part(self, name: str) -> FieldReader:
        """A table within."""
        return FieldReader(self.told[name], self.arrays)

    def parts(self, name: str) -> list[FieldReader]:
        """A list of tables, at least one and no more than a network may have layers."""
        given = self.told[name]
        if not isinstance(given, list) or not 0 < len(given) <= LAYERS:
            raise TypeError(f"{name} must be a list of one to {LAYERS:,}, not {shown(given)}")
        return [FieldReader(item, self.arrays) for item in given]

    def number(self, name: str, *, positive: bool = False) -> float:
        """A number that float32 has room for."""
        given = self.told[name]
        if not _is_number(given):
            raise ValueError(f"{name} must be a finite number of float32's range, not {shown(given)}")
        if positive and given < np.finfo(np.float32).tiny:
            raise ValueError(f"{name} must be positive, and not below float32's range, not {shown(given)}")
        return float(given)

    def numbers(self, name: str) -> list[float]:
        """A list of numbers that float32 has room for, at least one and no more than a polynomial may have."""
        given = self.told[name]
        if not isinstance(given, list) or not 0 < len(given) <= COEFFICIENTS or not all(map(_is_number, given)):
            raise ValueError(
                f"{name} must be one to {COEFFICIENTS} finite numbers of float32's range, not {shown(given)}"
            )
        return [float(number) for number in given]

    def text(self, name: str, among: Collection[str] | None = None) -> str:
        """A word, one of those given."""
        given = self.told[name]
        if not isinstance(given, str) or (among is not None and given not in among):
            raise ValueError(f"{name} cannot be {shown(given)}")
        return _short(given, name)

    def texts(self, name: str) -> list[str]:
        """A list of words, at least one."""
        given = self.told[name]
        if not isinstance(given, list) or not 0 < len(given) <= LAYERS or not all(isinstance(v, str) for v in given):
            raise TypeError(f"{name} must be a list of words, not {shown(given)}")
        return [_short(word, name) for word in given]

    def count(self, name: str) -> int:
        """A positive whole number."""
        return self._counts(name, [self.told[name]])[0]

    def counts(self, name: str) -> list[int]:
        """A list of positive whole numbers, at least one."""
        return self._counts(name, self.told[name])

    def _counts(self, name: str, given: object) -> list[int]:
        if not isinstance(given, list) or not given or not all(type(n) is int and n > 0 for n in given):
            raise ValueError(f"{name} must be positive whole numbers, not {shown(given)}")
        return given

    def shape(self, name: str) -> tuple[int, int]:
        """(outputs, inputs)."""
        given = self.counts(name)
        if len(given) != 2:
            raise ValueError(f"{name} must be two numbers, not {shown(given)}")
        return given[0], given[1]

    def array(self, name: str, dtype: type, *shape: int | None) -> np.ndarray:
        """A finite array of a type and a shape; None stands for any size."""
        if name not in self.arrays:
            raise KeyError(f"the array {name}")
        given = self.arrays[name]
        fits = given.ndim == len(shape) and all(s in (None, d) for s, d in zip(shape, given.shape, strict=True))
        if given.dtype != dtype or not fits:
            wanted = tuple("any" if size is None else size for size in shape)
            raise ValueError(
                f"{name} must be {np.dtype(dtype)} of shape {wanted}, not {given.dtype} of {given.shape}".replace(
                    "'", ""
                )
            )
        if given.dtype.kind == "f" and not np.all(np.isfinite(given)):
            raise ValueError(f"{name} has values that are not finite")
        return given
