"""What every network and classifier can do with itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from hntk._utils.copies import Copyable

if TYPE_CHECKING:
    from hntk.networks.summary import Summary


class Storable(Copyable):
    """Saved by :func:`hntk.save`, told about by :func:`hntk.summarize`, which know all kinds and are imported late."""

    def save(self: Any, path: str | os.PathLike[str], *, encoding: str | None = None) -> int:
        """Write one file and return its bytes: :func:`hntk.save`."""
        from hntk.networks.saving import save

        return save(self, path, encoding=encoding)

    def summary(self: Any) -> Summary:
        """Bits, bytes and arithmetic of every layer: :func:`hntk.summarize`; ``print`` it."""
        from hntk.networks.summary import summarize

        return summarize(self)
