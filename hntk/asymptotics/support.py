r"""The support of a bulk's limiting spectrum: a few intervals, and the eigenvalue 0.

This is for bulks ZᵀZ/p, with W = I, H = 0 and no noise; of other bulks, such as those of finite sizes, only the right
end of the support is looked for. Inside the support, Δ(x) is complex. Outside, it is real and
ends, as x comes to an edge, where $\det(I - J) = 0$, J the Jacobian of the fixed point: two real solutions meet there.
An edge is therefore bracketed by whether Δ is real, and then polished to rounding as the solution (Δ, x) of
$\Delta = \mathrm{tr}C\bar E/p$, $\det(I - J) = 0$ (docs/theory.md, "Density").
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy
from jaxtyping import Bool, Float

from hntk._utils.pytree import array_dataclass
from hntk.asymptotics.bulk import Bulk
from hntk.asymptotics.covariances import CommutingCovariances
from hntk.asymptotics.resolvent import Resolvent

# The smallest edge that is told from 0, relative to the bound of the spectrum.
SMALLEST_EDGE = 1e-9
BISECTIONS = 14
# Points of the first scan: where resolvents are cheap, and where each inverts a matrix.
SCAN_POINTS, MATRIX_SCAN_POINTS = 600, 80
# Where the end of a bulk is looked for, in units of the distance of the end of a similar one from the least eigenvalue.
NEAR_AN_EDGE = np.geomspace(0.7, 1.5, 24)


@array_dataclass()
class Edge:
    """An end of an interval of the spectrum.

    Attributes
    ----------
    location : float
        Where it is, without γ.
    self_energy : array, shape (c, K), or None
        The real self-energies there; None where they are not known, as at 0.
    """

    location: float
    self_energy: Float[np.ndarray, "c K"] | None


@array_dataclass()
class Interval:
    """One interval of the support, between two edges.

    Attributes
    ----------
    left : Edge
        The lower end.
    right : Edge
        The upper end.
    """

    left: Edge
    right: Edge

    @property
    def ends(self) -> tuple[float, float]:
        """The two locations."""
        return self.left.location, self.right.location


def support_intervals(
    bulk: Bulk, fineness: int = 1, extra_points: Float[np.ndarray, " j"] | None = None
) -> tuple[Interval, ...]:
    """Return the intervals of the support, ascending, without the eigenvalue 0.

    Parameters
    ----------
    bulk : Bulk
        The bulk whose spectrum it is.
    fineness : int, optional
        Multiplies the points of the first scan. An interval or gap narrower than their spacing is missed.
    extra_points : array, shape (j,), optional
        Further points to scan.

    Returns
    -------
    tuple of Interval
        The intervals.
    """
    if bulk.gram_bound == 0:
        return ()
    count = fineness * (SCAN_POINTS if isinstance(bulk.law.algebra, CommutingCovariances) else MATRIX_SCAN_POINTS)
    grid = np.concatenate([np.geomspace(SMALLEST_EDGE, 1, count // 2), np.linspace(0, 1, count - count // 2 + 1)[1:]])
    # The scan must end outside the support, and off edges at round numbers: hence a little more than the bound.
    points = np.unique(np.concatenate([1.0137 * bulk.gram_bound * grid, [] if extra_points is None else extra_points]))
    inside = _inside(bulk, points)
    changes = np.flatnonzero(inside[1:] != inside[:-1])
    outer = np.where(inside[changes], points[changes + 1], points[changes])
    inner = np.where(inside[changes], points[changes], points[changes + 1])
    edges = _edges_between(bulk, outer, inner)
    if inside[0]:
        edges.insert(0, Edge(0.0, None))
    return tuple(Interval(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True))


def right_edge(bulk: Bulk, similar: Bulk | None = None) -> Edge:
    """Return the right end of the support of any bulk, whose law of norms has few points, from outside.

    Parameters
    ----------
    bulk : Bulk
        The bulk.
    similar : Bulk, optional
        A bulk that ends near to it and whose resolvents are cheap: it is scanned first.

    Returns
    -------
    Edge
        The end.
    """
    low = float(np.min(bulk.diagonal.shifts))
    if similar is None:
        steps = (1.0137 * bulk.scale - low) * np.geomspace(SMALLEST_EDGE, 1, SCAN_POINTS // 2)
    else:
        steps = (right_edge(similar).location - low) * NEAR_AN_EDGE
    points = low + steps
    inside = np.flatnonzero(_inside(bulk, points))
    if inside.size == 0:
        return Edge(float(np.max(bulk.diagonal.shifts)), None)
    last = inside[-1:]
    outer, _ = _bracketed(bulk, points[np.minimum(last + 1, len(points) - 1)], points[last])
    return Edge(float(outer[0]), np.real(Resolvent.at(bulk, outer).self_energy)[0])


def _inside(bulk: Bulk, x: Float[np.ndarray, " j"]) -> Bool[np.ndarray, " j"]:
    """Return which points lie inside the support."""
    return np.any(np.imag(Resolvent.at(bulk, x).self_energy) < 0, axis=(1, 2))


def _edges_between(bulk: Bulk, outer: Float[np.ndarray, " e"], inner: Float[np.ndarray, " e"]) -> list[Edge]:
    """Return the edges between points outside and inside the support."""
    outer, inner = _bracketed(bulk, outer, inner)
    starts = np.real(Resolvent.at(bulk, outer).self_energy)
    return [_polished(bulk, a, b, start) for a, b, start in zip(outer, inner, starts, strict=True)]


def _bracketed(
    bulk: Bulk, outer: Float[np.ndarray, " e"], inner: Float[np.ndarray, " e"]
) -> tuple[Float[np.ndarray, " e"], Float[np.ndarray, " e"]]:
    """Return points nearer to the edges between points outside and inside the support, by bisecting all at once."""
    for _ in range(BISECTIONS):
        middle = (outer + inner) / 2
        inside = _inside(bulk, middle)
        outer, inner = np.where(inside, outer, middle), np.where(inside, middle, inner)
    return outer, inner


def _polished(bulk: Bulk, outer: float, inner: float, start: Float[np.ndarray, "1 K"]) -> Edge:
    """Return the edge to rounding, or the outer point of its bracket if the equations are not solved near it."""
    scale = np.append(np.maximum(np.abs(start), 1e-12), outer)
    solution = scipy.optimize.root(_edge_equations(bulk, scale), np.append(start, outer) / scale, tol=1e-13)
    *self_energy, location = solution.x * scale
    if abs(location - outer) <= 2 * abs(inner - outer) and np.max(np.abs(solution.fun)) < 1e-8:
        return Edge(float(location), np.array([self_energy]))
    return Edge(float(outer), start)


def _edge_equations(bulk: Bulk, scale: Float[np.ndarray, " u"]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the equations Δ − map(Δ) = 0 and det(I − J) = 0, as a function of (Δ, x) in these units."""

    def equations(scaled: np.ndarray) -> np.ndarray:
        self_energy, x = (scaled * scale)[None, :-1], (scaled * scale)[-1]
        image, jacobian = bulk.map_and_jacobian(self_energy, x)
        residual = (self_energy - image)[0] / scale[:-1]
        return np.append(residual, np.linalg.det(np.eye(residual.size) - jacobian))

    return equations
