"""Dataclasses that are copied and pickled without their caches."""

from __future__ import annotations

from dataclasses import fields
from typing import Any


class Copyable:
    """Base of dataclasses whose copies and pickles hold their fields alone.

    Values of a ``cached_property`` are left out, for they can be computed again: compiled functions, which cannot be
    pickled, and matrices many times larger than the fields.
    """

    def __getstate__(self) -> dict[str, Any]:
        names = {field.name for field in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in self.__dict__.items() if name in names}
