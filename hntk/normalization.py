"""What raw samples go through before a network sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32


@dataclass(frozen=True)
class Normalization:
    """What raw samples go through before the network: (raw − centre)/scale.

    Attributes
    ----------
    centre : (p,) what is subtracted.
    scale : what is then divided by.
    """

    centre: Float32[np.ndarray, " p"]
    scale: float

    def __call__(self, raw: object) -> Float32[np.ndarray, "n p"]:
        """Samples as the network takes them."""
        return ((np.asarray(raw) - self.centre) / self.scale).astype(np.float32)
