r"""The limiting distribution of an equivalent kernel's eigenvalues.

The density at $x + \gamma$ is $\mathrm{Im}\,m(x + i0)/\pi$, where m is the Stieltjes transform of the bulk
(docs/theory.md, "Density"). It is interpolated on every interval of the support (:mod:`hntk.asymptotics.support`,
:mod:`hntk.asymptotics.interval_density`), and the total mass is checked to be 1.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from hntk._utils.arguments import as_count
from hntk._utils.arrays import check_result
from hntk._utils.pytree import array_dataclass
from hntk.asymptotics.bulk import Bulk
from hntk.asymptotics.covariances import CommutingCovariances
from hntk.asymptotics.distribution import EigenvalueDistribution
from hntk.asymptotics.interval_density import IntervalDensity
from hntk.asymptotics.resolvent import Resolvent
from hntk.asymptotics.spiked_kernel import SpikedKernel
from hntk.asymptotics.support import Interval, support_intervals

# Nodes of an interval, at first and at most: where resolvents are cheap, and where each inverts a matrix.
NODES, MATRIX_NODES = (64, 4096), (32, 512)
# The last eighth of a series that has converged, relative to its first coefficient.
SERIES_TOLERANCE = 1e-9
# By how much the total mass may differ from 1.
MASS_TOLERANCE = 1e-6
# Scans for the support, each twice as fine as the one before.
SCANS = 4


@array_dataclass()
class LimitingDensity(EigenvalueDistribution):
    """A limiting distribution of eigenvalues.

    Attributes
    ----------
    pieces : tuple of IntervalDensity
        Its continuous part, one density an interval of the support, ascending.
    atoms : tuple of (float, float)
        The locations, and masses, of eigenvalues that a share of all are equal to.
    """

    pieces: tuple[IntervalDensity, ...]
    atoms: tuple[tuple[float, float], ...]

    def __repr__(self) -> str:
        intervals = " ∪ ".join(f"[{a:.6g}, {b:.6g}]" for a, b in self.edges[:4]) + " ∪ …" * (len(self.pieces) > 4)
        atoms = ", ".join(f"{mass:.4g} at {location:.6g}" for location, mass in self.atoms)
        return f"LimitingDensity(support {intervals or 'empty'}; atoms: {atoms or 'none'})"

    @property
    def edges(self) -> Float[np.ndarray, "i 2"]:
        """The ends of the intervals of the continuous part, of shape (i, 2)."""
        return np.array([np.add(piece.ends, piece.shift) for piece in self.pieces]).reshape(-1, 2)

    def _density_at(self, x: Float[np.ndarray, " j"]) -> Float[np.ndarray, " j"]:
        return sum((piece.density(x) for piece in self.pieces), np.zeros(x.shape))

    def _cdf_at(self, x: Float[np.ndarray, " j"]) -> Float[np.ndarray, " j"]:
        atoms = sum((mass * (x >= location) for location, mass in self.atoms), np.zeros(x.shape))
        return sum((piece.cdf(x) for piece in self.pieces), atoms)

    def _quantiles_at(self, levels: Float[np.ndarray, " j"]) -> Float[np.ndarray, " j"]:
        """Return quantiles by bisection."""
        ends = [*self.edges.ravel(), *(location for location, _ in self.atoms)]
        low, high = np.full(levels.shape, min(ends)), np.full(levels.shape, max(ends))
        for _ in range(60):
            middle = (low + high) / 2
            enough = self._cdf_at(middle) >= levels
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        return high

    def moments(self, k: int) -> float:
        """Return the limit of tr(K̃ᵏ)/n, without the share of the spikes.

        Parameters
        ----------
        k : int
            The order, at least 0.

        Returns
        -------
        float
            The moment.

        Raises
        ------
        ValueError
            If k is not a whole number of at least 0, or the moment overflows.
        """
        k = as_count(k, "k", least=0)
        with np.errstate(all="ignore"):
            parts = [piece.moment(k) for piece in self.pieces]
            parts += [mass * np.power(location, k) for location, mass in self.atoms]
        check_result(np.array(parts), f"the moment of order {k}")
        return float(sum(parts))


def density_in_the_limit(kernel: SpikedKernel) -> LimitingDensity:
    """Return the limiting density of a kernel's eigenvalues, without spikes; its mass must be 1 within 1e-6."""
    bulk, shift = kernel.bulk, kernel.coefficients.shift
    if bulk.gram_bound == 0:
        return LimitingDensity((), ((shift, 1.0),))
    atom = max(0.0, 1 - bulk.law.algebra.rank_share / kernel.ratios.sum())
    mass, outside = np.nan, np.zeros(0)
    for scan in range(SCANS):
        try:
            pieces = tuple(_on_interval(bulk, one, shift) for one in support_intervals(bulk, 2**scan, outside))
        except _PointsOutside as gap:
            outside = np.append(outside, gap.points)
            continue
        mass = atom + sum(piece.mass for piece in pieces)
        if abs(mass - 1) <= MASS_TOLERANCE:
            return LimitingDensity(pieces, ((shift, float(atom)),) if atom > 0 else ())
    raise ArithmeticError(
        f"the limiting density has mass {mass:.9g}, not 1: it has parts too narrow to find, or a class covariance is "
        "singular and spans fewer dimensions than its class has samples; add a small multiple of the identity to it."
    )


class _PointsOutside(Exception):
    """Points of an interval of the support that turn out to lie in a gap, which the scan has missed."""

    def __init__(self, points: Float[np.ndarray, " j"]) -> None:
        super().__init__(points)
        self.points = points


def _on_interval(bulk: Bulk, interval: Interval, shift: float) -> IntervalDensity:
    """Return the density on one interval of the support."""

    def density(x: Float[np.ndarray, " j"]) -> Float[np.ndarray, " j"]:
        at = Resolvent.at(bulk, x)
        in_gap = np.all(np.imag(at.self_energy) == 0, axis=(1, 2))
        in_gap[[0, -1]] = False  # next to an edge, rounding decides
        if np.any(in_gap):
            raise _PointsOutside(x[in_gap])
        return np.imag(at.stieltjes) / np.pi

    nodes = NODES if isinstance(bulk.law.algebra, CommutingCovariances) else MATRIX_NODES
    return IntervalDensity.interpolating(interval.ends, shift, density, *nodes, SERIES_TOLERANCE)
