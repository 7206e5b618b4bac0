r"""Starts of the joint problem: a dynamic programme over layers on the library.

With $x = q/p$ and $y = r^2/4p$, $A_3/A_1 = a_1$ and $2A_2/A_1 = b_1$ follow backwards over the layers, $a_l = w_lx_l +
p_l a_{l+1}$ and $b_l = v_lx_l + y_l b_{l+1}$ from $a_{L+1} = b_{L+1} = 0$ with $w = v = 1$, and the aim is the largest
$\prod p_l$. With $w_l = L + 1 + l$ and $v_l = L + 1 - l$ they are $B_3/A_1$ and $2B_2/A_1$. The plane of (a, b) is
divided into cells on a logarithmic scale, and the best partial network of each cell is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from hntk.activations.step_function import StepFunction
from hntk.matching.library import Library

# width of a cell in log a and log b
CELL = 0.15
# partial networks kept after each layer, and whole ones that are looked at
MOST_STATES = 600
MOST_CANDIDATES = 400


class _States(NamedTuple):
    """Partial networks, from some layer to the last."""

    a: np.ndarray
    b: np.ndarray
    log_p: np.ndarray
    chosen: np.ndarray  # (states, layers so far), entries of the library


def assemble(
    libraries: Sequence[Library],
    a: float | None,
    b: float | None,
    count: int,
    weights: Float[np.ndarray, "L 2"] | None = None,
) -> list[tuple[float, list[StepFunction]]]:
    """Return networks of library functions near the target (a, b), the most promising first.

    Parameters
    ----------
    libraries : sequence of Library
        One per layer.
    a, b : float or None
        A_3/A_1 and 2A_2/A_1 (or of B) to come close to; None where they do not matter.
    count : int
        Number of networks.
    weights : array of shape (L, 2), optional
        Weights w and v of every layer; by default 1.

    Returns
    -------
    list of (float, list of StepFunction)
        An estimate of log Π p that the solver will reach, and the functions.
    """
    states = _States(np.zeros(1), np.zeros(1), np.zeros(1), np.zeros((1, 0), dtype=int))
    floor = (0.02 * (a or 1.0), 0.02 * (b or 1.0))
    layers = np.ones((len(libraries), 2)) if weights is None else weights
    for position, (entries, own) in enumerate(zip(libraries[::-1], layers[::-1], strict=True)):
        is_first_layer = position == len(libraries) - 1
        states = _prepend(states, entries, own, floor, with_b=b is not None, keep_all=is_first_layer)
    distance = np.zeros(states.a.size)
    for reached, wanted in ((states.a, a), (states.b, b)):
        if wanted is not None:
            distance += np.log(reached / wanted + 1e-12) ** 2
    estimate = states.log_p - 2.0 * distance
    # a miss of 10 % costs the solver little, one of a factor a lot
    order = np.argsort(0.3 * np.sqrt(distance) - estimate)[:MOST_CANDIDATES]
    # np.unique sorts, but the first occurrences, sorted again, keep the order of promise
    _, first = np.unique(states.chosen[order], axis=0, return_index=True)
    return [
        (float(estimate[i]), [lib.functions[e] for lib, e in zip(libraries, states.chosen[i], strict=True)])
        for i in order[np.sort(first)[:count]]
    ]


def _prepend(
    states: _States,
    entries: Library,
    weights: Float[np.ndarray, " 2"],
    floor: tuple[float, float],
    *,
    with_b: bool,
    keep_all: bool,
) -> _States:
    """Put every usable entry before every state, and keep the best of each cell."""
    usable = np.flatnonzero(entries.shares[:, 0] > 1e-6)
    p, q, r = entries.shares[usable].T
    x, y = q / p, r**2 / (4 * p)
    a = (weights[0] * x[:, None] + p[:, None] * states.a).ravel()
    b = (weights[1] * x[:, None] + y[:, None] * states.b).ravel()
    log_p = (np.log(p)[:, None] + states.log_p).ravel()
    entry, tail = (index.ravel() for index in np.indices((usable.size, states.a.size)))
    kept = np.arange(a.size) if keep_all else _best_of_cells(a, b if with_b else None, log_p, floor)
    chosen = np.column_stack([usable[entry[kept]], states.chosen[tail[kept]]])
    return _States(a[kept], b[kept], log_p[kept], chosen)


def _best_of_cells(
    a: Float[np.ndarray, " n"],
    b: Float[np.ndarray, " n"] | None,
    log_p: Float[np.ndarray, " n"],
    floor: tuple[float, float],
) -> Int[np.ndarray, " kept"]:
    """Return the indices of the largest log Π p of every cell, the largest first."""
    cell = np.round(np.log(a + floor[0]) / CELL).astype(int)
    if b is not None:
        cell = cell * 100_003 + np.round(np.log(b + floor[1]) / CELL).astype(int)
    order = np.argsort(-log_p, kind="stable")
    _, first = np.unique(cell[order], return_index=True)
    return order[np.sort(first)][:MOST_STATES]
