r"""Where the eigenvalues of ZᵀZ/p lie in the limit: a few intervals, and 0.

Inside, Δ(x) is complex; outside it is real and ends, as an edge is approached, where det(I − J) = 0, J the Jacobian of
the fixed point: there the two real solutions that the fixed point has outside meet. So an edge is bracketed by whether
Δ is real, and then found to rounding as the solution (Δ, x) of $\Delta = \mathrm{tr}C\bar E/p$, det(I − J) = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import root

from hntk.asymptotics.covariances import Spectral
from hntk.asymptotics.resolvent import Bulk

# relative to the bound of the spectrum: below it, no edge is told from 0
LEAST = 1e-9
BISECTIONS = 14
# points of the first look where resolvents are cheap, and where each inverts a matrix
LOOK, DEAR_LOOK = 600, 80


@dataclass(frozen=True)
class Edge:
    """An end of an interval of the spectrum: its place, and Δ there, which is real (None at 0)."""

    place: float
    self_energy: Float[np.ndarray, "1 K"] | None


@dataclass(frozen=True)
class Interval:
    """Of the support."""

    left: Edge
    right: Edge


def support(bulk: Bulk, fineness: int = 1, beside: Float[np.ndarray, " j"] | None = None) -> tuple[Interval, ...]:
    """The intervals of the support off the eigenvalue 0, ascending.

    Parameters
    ----------
    bulk : whose spectrum it is.
    fineness : multiplies the points of the first look; an interval or a gap narrower than their spacing is missed.
    beside : points to look at besides.
    """
    if bulk.bound == 0:
        return ()
    count = fineness * (LOOK if isinstance(bulk.law.algebra, Spectral) else DEAR_LOOK)
    grid = np.concatenate([np.geomspace(LEAST, 1, count // 2), np.linspace(0, 1, count - count // 2 + 1)[1:]])
    grid = np.unique(np.concatenate([1.0137 * bulk.bound * grid, [] if beside is None else beside]))
    inside = _inside(bulk, grid)
    changes = np.flatnonzero(inside[1:] != inside[:-1])
    outer = np.where(inside[changes], grid[changes + 1], grid[changes])
    inner = np.where(inside[changes], grid[changes], grid[changes + 1])
    edges = list(_edges(bulk, outer, inner))
    if inside[0]:
        edges.insert(0, Edge(0.0, None))
    return tuple(Interval(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True))


def _inside(bulk: Bulk, x: Float[np.ndarray, " j"]) -> Float[np.ndarray, " j"]:
    return np.any(np.imag(bulk.at(x).self_energy) < 0, axis=(1, 2))


def _edges(bulk: Bulk, outer: np.ndarray, inner: np.ndarray) -> list[Edge]:
    """Between points outside and inside, all at once."""
    for _ in range(BISECTIONS):
        middle = (outer + inner) / 2
        within = _inside(bulk, middle)
        outer, inner = np.where(within, outer, middle), np.where(within, middle, inner)
    start = np.real(bulk.at(outer).self_energy)
    return [_polished(bulk, a, b, d) for a, b, d in zip(outer, inner, start, strict=True)]


def _polished(bulk: Bulk, outer: float, inner: float, start: Float[np.ndarray, "1 K"]) -> Edge:
    scale = np.append(np.maximum(np.abs(start), 1e-12), outer)
    solution = root(_gap_and_determinant(bulk, scale), np.append(start, outer) / scale, tol=1e-13)
    found = solution.x * scale
    if abs(found[-1] - outer) <= 2 * abs(inner - outer) and np.max(np.abs(solution.fun)) < 1e-8:
        return Edge(float(found[-1]), found[None, :-1])
    return Edge(float(outer), start)


def _gap_and_determinant(bulk: Bulk, scale: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    def equations(unknown: np.ndarray) -> np.ndarray:
        self_energy, x = (unknown * scale)[None, :-1], (unknown * scale)[-1]
        image, jacobian = bulk.image_and_jacobian(self_energy, x)
        gap = (self_energy - image)[0] / scale[:-1]
        return np.append(gap, np.linalg.det(np.eye(gap.size) - jacobian))

    return equations
