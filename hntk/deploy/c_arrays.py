"""Constant arrays and structs as C spells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hntk.deploy.c_literals import as_lines, whole_number


@dataclass(frozen=True)
class Table:
    """A constant array.

    Attributes
    ----------
    name : str
        Its name in C.
    values : ndarray
        Its numbers, one-dimensional and of the type that C stores; words of bit planes are (k, 2) halves of 64 bits,
        the lower half first.
    """

    name: str
    values: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes of flash."""
        return self.values.nbytes

    @property
    def declaration(self) -> str:
        """The array's definition in C."""
        if self.values.ndim == 2:
            kind, size = "word", f"{len(self.values)} * (64 / WORD_BITS)"
            constants = [f"W({low:#x}, {high:#x})" for low, high in self.values.tolist()]
        elif self.values.dtype == np.float32:
            kind, size = "float", str(self.values.size)
            constants = [f"{float(value).hex()}f" for value in self.values]
        else:
            kind, size = f"{self.values.dtype.name}_t", str(self.values.size)
            constants = [whole_number(value) for value in self.values.tolist()]
        return f"static const {kind} {self.name}[{size}] = {{\n{as_lines(constants)}\n}};\n"


@dataclass(frozen=True)
class Struct:
    """A constant C struct, and the tables that it refers to."""

    declared: str
    tables: list[Table]
    fields: Mapping[str, object]

    @property
    def declaration(self) -> str:
        """The definition in C."""
        fields = "".join(f"    .{name} = {value},\n" for name, value in self.fields.items())
        return f"static const {self.declared} = {{\n{fields}}};\n"


def smallest_type(values: np.ndarray) -> np.ndarray:
    """Return whole numbers in the smallest signed type that holds them all."""
    least, most = int(values.min()), int(values.max())
    return values.astype(
        next(t for t in (np.int8, np.int16, np.int32) if np.iinfo(t).min <= least and most <= np.iinfo(t).max)
    )


def smallest_unsigned_type(values: np.ndarray) -> np.ndarray:
    """Return whole numbers that are not negative in the smallest unsigned type that holds them all."""
    most = int(values.max(initial=0))
    return values.astype(next(t for t in (np.uint8, np.uint16, np.uint32) if most <= np.iinfo(t).max))


def reference(table: Table) -> str:
    """Return the C struct ``table`` or ``unsigned_table`` that refers to an array."""
    return f"{{{table.name}, sizeof {table.name}[0]}}"


def braced(fields: Mapping[str, object]) -> str:
    """Return the fields of a C struct in one line."""
    return "{" + ", ".join(f".{name} = {value}" for name, value in fields.items()) + "}"
