r"""Noise of quadratic functions of random weights, which orthogonal rows do not have.

A full block of m orthogonal rows has $\sum_r w_rw_r^\top = mI$, whatever the draw. Of m rows of a block, r rows are a
sample without replacement, of noise $(m - r)/(m - 1)$.
"""

from __future__ import annotations

import numpy as np

from hntk.weights.laws import WeightLaw
from hntk.weights.orthogonal_layout import block_size


def rows_of_block(law: WeightLaw, inputs: float) -> float:
    """Return the rows m of a full orthogonal block of weights for so many inputs; infinite for independent rows."""
    if not law.orthogonal or not np.isfinite(inputs):
        return np.inf
    whole = int(np.ceil(inputs))
    return float(whole if law.name == "orthogonal_gaussian" else block_size(whole, law.groups))


def quadratic_noise(law: WeightLaw, outputs: float, inputs: float) -> float:
    """Return the noise of quadratic functions of the weights, relative to that of as many independent rows.

    Parameters
    ----------
    law : WeightLaw
        The law of the weights.
    outputs, inputs : float
        Shape of the matrix.

    Returns
    -------
    float
        1 for independent rows, 0 for full orthogonal blocks, and between for parts of blocks.
    """
    m = rows_of_block(law, inputs)
    if not np.isfinite(m):
        return 1.0
    if not np.isfinite(outputs):
        return 0.0
    rows = outputs % m
    return float(rows * (m - rows) / (outputs * max(m - 1, 1)))
