"""Objects that are copied and pickled by what they are, without what they keep to be fast."""

from __future__ import annotations

from dataclasses import fields
from typing import Any


class Copyable:
    """A dataclass whose copies and pickles hold its fields alone.

    What a ``cached_property`` keeps is left out, for it can be computed again: compiled functions, which cannot be
    pickled, and matrices many times larger than the fields.
    """

    def __getstate__(self) -> dict[str, Any]:
        kept = {field.name for field in fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in self.__dict__.items() if name in kept}
