"""Spaced thresholds of neurons that hardly ever change, which would cost every neuron of a layer a byte.

Multipliers of spaced thresholds have one type for a layer, in which the largest is that of the smallest distance. The
sums of a neuron that sees dark pixels only do not change at all: its thresholds are 10⁴ times as close as those of
others, which are left with two or three bits of their multipliers of 16.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

# Smallest multiplier of coarse thresholds in a byte, whose rounding moves them by up to a 16th of their distance for
# each level; and the largest one.
COARSE_MULTIPLIER, BYTE = 8, 255
# Largest share of neurons whose thresholds are changed for that.
MOST_STILL = 1 / 16


def spread_thresholds(
    first: Float[np.ndarray, " d"],
    distance: Float[np.ndarray, " d"],
    mean: Float[np.ndarray, " d"],
    levels: int,
    bound: int,
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    """Return spaced thresholds whose multipliers take a byte, where a few neurons would make them take two.

    Those are neurons whose sums hardly ever change, such as those of a sparse layer whose weights are at the dark rim
    of images. They get a larger distance of thresholds, and keep the level that they have at their mean sum.

    Parameters
    ----------
    first, distance : (d,) arrays
        Smallest threshold of each neuron, and the distance of its thresholds.
    mean : (d,) array
        Mean sum of each neuron.
    levels : int
        Number of levels.
    bound : int
        Largest magnitude of a sum, beyond which distances do not matter.

    Returns
    -------
    first : (d,) array
        Smallest thresholds.
    distance : (d,) array
        Distances; all are as they were if more than a sixteenth of the neurons are such.
    """
    least = min(distance.max(), 2.0 * bound + 1.0) * COARSE_MULTIPLIER / BYTE * (1 + 1e-9)
    still = distance < least
    if still.mean() > MOST_STILL:
        return first, distance
    level = np.clip(np.floor((mean - first) / distance), -1, levels - 2)
    return np.where(still, mean - (level + 0.5) * least, first), np.where(still, least, distance)
