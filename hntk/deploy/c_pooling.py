r"""How a C program averages the pixels of an image over cells, in whole numbers.

The mean of a cell of area A whose pixels sum up to S is rounded to $\lfloor (2S + A) / (2A) \rfloor$, which is
$\lfloor n / A \rfloor$ with $n = S + \lfloor A/2 \rfloor$. Let $f = \lceil 2^k / A \rceil$ and $e = f A - 2^k$. Then

$$\frac{n f}{2^k} = \frac{n}{A} + \frac{n e}{A 2^k},$$

which has the same whole part as n/A wherever $n e < 2^k$: a fraction with denominator A is at least 1/A below the next
whole number.
"""

from __future__ import annotations

from math import gcd

from hntk.deploy.c_arrays import Struct
from hntk.networks.integer_inputs import PooledPixels

# What n f must stay below.
LIMIT = 2**32


def pooling(inputs: PooledPixels) -> Struct:
    """Return the struct of the cells that pixels are averaged over."""
    sides = zip(inputs.shape, inputs.pooled, strict=True)
    (row_part, row_cell), (column_part, column_cell) = ((h // gcd(s, h), s // gcd(s, h)) for s, h in sides)
    factor, shift = reciprocal(inputs.area)
    fields = {
        "rows": inputs.shape[0],
        "cells": inputs.pooled[1],
        "row_part": row_part,
        "row_cell": row_cell,
        "column_part": column_part,
        "column_cell": column_cell,
        "factor": f"{factor}u",
        "shift": shift,
    }
    return Struct("pooling cells", [], fields)


def reciprocal(area: int) -> tuple[int, int]:
    """Return f and k such that ⌊n f / 2ᵏ⌋ = ⌊n / A⌋ without leaving 32 bits, for all n of cells of an area A.

    They are (0, 0) if there are none; for A up to 128 there always are.
    """
    most = 255 * area + area // 2
    for shift in range(32):
        factor = -(-(2**shift) // area)
        if most * factor >= LIMIT:
            break
        if most * (factor * area - 2**shift) < 2**shift:
            return factor, shift
    return 0, 0
